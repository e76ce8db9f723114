//! Products of many vectors, through the ops, on a real device.

use crate::device::open;
use crate::{activations, quantized, with_widths};
use fewbytes::Knobs;
use fewbytes::launch::Route;
use fewbytes::linear::gemm::Block;
use fewbytes::linear::{Activation, BitplaneLayout, Gemm, GemmBitplane, gemm_bitplane::reference};
use fewbytes_wgpu::ops::gemm::{self, Tensors};
use fewbytes_wgpu::ops::{BitplaneWeights, gemm_bitplane, matmul_bitplane};
use fewbytes_wgpu::{Context, Features};

#[test]
fn every_route_gives_the_product_at_every_width_and_batch() {
    let (rows, cols) = (37, 70);
    let layer = with_widths(&quantized(21, rows, cols), &[3, 8]);
    let ctx = open(Features::Full);
    let weights = BitplaneWeights::upload(&ctx, &layer, 8).unwrap();
    for batch in [8, 9, 300] {
        let x_host: Vec<f32> =
            (0..batch as u64).flat_map(|vector| activations(70 + vector, cols)).collect();
        let x = ctx.upload(&x_host).unwrap();
        for route in [None, Some(Route::Gemv), Some(Route::Gemm), Some(Route::Dense)] {
            let knobs = Knobs { route, ..Knobs::DEFAULT };
            let options = gemm_bitplane::Options { knobs, ..gemm_bitplane::Options::new(batch) };
            let planned = matmul_bitplane::plan(&ctx, &weights, options);
            if route == Some(Route::Gemv) && batch > 8 {
                assert!(planned.is_err());
                continue;
            }
            let plan = planned.unwrap();
            let dense = route == Some(Route::Dense) || route.is_none() && batch == 300;
            assert_eq!(plan.scratch_bytes(), if dense { (rows * cols * 2) as u64 } else { 0 });
            for bits in [3, 8] {
                let y = run(&ctx, &plan, bits, &weights, &x);
                assert_products(weights.layout(), &layer, bits, &x_host, &y);
            }
        }
    }
}

fn run(
    ctx: &Context,
    plan: &matmul_bitplane::Plan,
    bits: u8,
    weights: &BitplaneWeights,
    x: &fewbytes_wgpu::View,
) -> Vec<f32> {
    let y = ctx.upload(&vec![f32::NAN; plan.y_len()]).unwrap();
    let scratch = ctx.upload(&vec![f32::NAN; plan.scratch_bytes() as usize / 4 + 1]).unwrap();
    let bound = plan.bind_with(weights, x, &y, Some(&scratch)).unwrap();
    ctx.submit(|pass| bound.record(pass, bits)).unwrap();
    ctx.block_on(ctx.read::<f32>(&y)).unwrap()
}

/// One rounding a column at most, and one each for the product and the bias.
#[track_caller]
fn assert_products(
    layout: &BitplaneLayout,
    layer: &fewbytes::linear::BitplaneLayer,
    bits: u8,
    x: &[f32],
    y: &[f32],
) {
    let batch = x.len() / layer.cols();
    let spec = GemmBitplane::new(layout.clone(), bits, batch);
    let expected = reference(&spec, layer, x).unwrap();
    let lost = (layer.cols().next_multiple_of(32) + 2) as f64 * f64::from(f32::EPSILON);
    let gamma = lost / (1.0 - lost);
    assert_eq!(y.len(), expected.y.len());
    for (at, (&found, (y, condition))) in
        y.iter().zip(expected.y.iter().zip(&expected.condition)).enumerate()
    {
        let off = (f64::from(found) - y).abs();
        assert!(off <= gamma * condition, "{at} of {batch} at {bits} bits: {found}, expected {y}");
    }
}

/// What a blocked solver does: `C[2.., 1..] -= A[2.., ..2] B[1.., ..2]^T`, the factors within one
/// tensor, with the sign in a factor.
#[test]
fn a_block_of_a_matrix_is_updated_from_blocks_of_another() {
    let ctx = open(Features::Full);
    let a: Vec<f32> = (0..20).map(|i| -(i as f32)).collect();
    let b: Vec<f32> = (0..20).map(|i| (i % 7) as f32).collect();
    let spec = Gemm {
        x: Block { element: Activation::F32, offset: 2 * 5, stride: 5 },
        w: Block { element: Activation::F32, offset: 5 + 1, stride: 5 },
        y: Block { element: Activation::F32, offset: 2 * 4 + 1, stride: 4 },
        accumulate: true,
        ..Gemm::new(2, 3, 2)
    };
    let plan = gemm::plan(&ctx, spec, &Knobs::DEFAULT).unwrap();
    let c: Vec<f32> = (0..16).map(|i| 100.0 * i as f32).collect();
    let (w, x, y) = (ctx.upload(&b).unwrap(), ctx.upload(&a).unwrap(), ctx.upload(&c).unwrap());
    let tensors = Tensors { w: &w, x: &x, y: &y, bias: None, scratch: None };
    // Twice, in one pass.
    ctx.submit(|pass| {
        plan.record(pass, &tensors)?;
        plan.record(pass, &tensors)
    })
    .unwrap();
    let mut expected = c;
    for (i, j, k) in (0..2).flat_map(|i| (0..3).flat_map(move |j| (0..2).map(move |k| (i, j, k)))) {
        expected[(2 + i) * 4 + 1 + j] += 2.0 * a[(2 + i) * 5 + k] * b[(1 + j) * 5 + 1 + k];
    }
    assert_eq!(ctx.block_on(ctx.read::<f32>(&y)).unwrap(), expected);
}
