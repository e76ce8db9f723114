//! Layers of tables: LNQ's weights on the kernels of any-precision weights.

use crate::device::open;
use crate::{activations, assert_product, bit_patterns, matrix, product};
use fewbytes::Knobs;
use fewbytes::linear::{Activation, HessianAccumulator, LnqOptions, TableElement, Weights, lnq};
use fewbytes_wgpu::Features;
use fewbytes_wgpu::ops::{BitplaneWeights, dequantize_bitplane, gemv_bitplane};

#[test]
fn what_lnq_makes_is_multiplied_and_dequantized_as_it_is() {
    let (rows, cols) = (19, 131);
    let (values, _) = matrix::heavy_tailed(21, rows * cols);
    let (bias, _) = matrix::heavy_tailed(22, rows);
    let weights = Weights::new("layer", rows, cols, &values, None).unwrap();
    let mut sums = HessianAccumulator::new("layer", cols, 1).unwrap();
    sums.add_batch(&activations(23, 300 * cols), None).unwrap();
    let hessian = sums.finish().unwrap();
    let ctx = open(Features::Full);
    let x = activations(24, cols);
    let x_view = ctx.upload(&x).unwrap();
    for (bits, table) in [(2, TableElement::F16), (3, TableElement::F32), (4, TableElement::F16)] {
        let options = LnqOptions { bits, table, ..LnqOptions::default() };
        let layer = lnq(&weights, &hessian, &options).unwrap().pack(Some(bias.clone())).unwrap();
        let uploaded = BitplaneWeights::upload(&ctx, &layer, bits).unwrap();
        let gemv = gemv_bitplane::plan(&ctx, &uploaded, Default::default()).unwrap();
        let y = product(&ctx, &gemv, bits, &uploaded, &x_view);
        assert_product(&layer, bits, &x, &y);

        let knobs = Knobs::default();
        let dense =
            dequantize_bitplane::plan(&ctx, &uploaded, bits, Activation::F32, &knobs).unwrap();
        let dst = ctx.upload(&vec![f32::NAN; dense.dst_len()]).unwrap();
        ctx.submit(|pass| dense.record(pass, &uploaded, &dst)).unwrap();
        let found = ctx.block_on(ctx.read::<f32>(&dst)).unwrap();
        assert_eq!(bit_patterns(&found), bit_patterns(&layer.dequantize(bits).unwrap()));
    }
}
