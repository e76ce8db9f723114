//! The dense matrix, which has to be that of the CPU bit by bit.

use crate::device::open;
use crate::{bit_patterns, quantized};
use fewbytes::Knobs;
use fewbytes::linear::Activation;
use fewbytes_wgpu::Features;
use fewbytes_wgpu::ops::{BitplaneWeights, dequantize_bitplane};
use half::f16;

#[test]
fn dense_matrices_equal_those_of_the_cpu() {
    for features in [Features::Full, Features::Baseline] {
        let ctx = open(features);
        for (rows, cols) in [(256, 160), (37, 131)] {
            let layer = quantized(11, rows, cols);
            let weights = BitplaneWeights::upload(&ctx, &layer, 8).unwrap();
            for bits in 3..=8 {
                let expected = layer.dequantize(bits).unwrap();
                let plan = |element| {
                    let knobs = Knobs::default();
                    dequantize_bitplane::plan(&ctx, &weights, bits, element, &knobs).unwrap()
                };
                let single = plan(Activation::F32);
                assert_eq!((single.stride(), single.dst_len()), (cols, rows * cols));
                let dst = ctx.upload(&vec![f32::NAN; single.dst_len()]).unwrap();
                ctx.submit(|pass| single.record(pass, &weights, &dst)).unwrap();
                let found = ctx.block_on(ctx.read::<f32>(&dst)).unwrap();
                assert_eq!(
                    bit_patterns(&found),
                    bit_patterns(&expected),
                    "{rows} x {cols} b{bits}"
                );

                let half = plan(Activation::F16);
                let stride = cols.next_multiple_of(2);
                assert_eq!((half.stride(), half.dst_len()), (stride, rows * stride));
                let dst = ctx.upload(&vec![f16::NAN; half.dst_len()]).unwrap();
                ctx.submit(|pass| half.record(pass, &weights, &dst)).unwrap();
                let found = ctx.block_on(ctx.read::<f16>(&dst)).unwrap();
                let rows_of = found.chunks_exact(stride).zip(expected.chunks_exact(cols));
                for (row, (found, expected)) in rows_of.enumerate() {
                    // Tables are f16, so nothing is rounded on the way.
                    let bits_of = |v: &f16| v.to_f32().to_bits();
                    let found_bits: Vec<u32> = found[..cols].iter().map(bits_of).collect();
                    assert_eq!(found_bits, bit_patterns(expected), "row {row} b{bits}");
                    assert!(found[cols..].iter().all(|v| v.to_bits() == 0), "padding of row {row}");
                }
            }
        }
    }
}
