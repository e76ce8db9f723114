//! Layers joined by rows multiply as their parts do, to the bit.

use crate::device::open;
use crate::{activations, bit_patterns, quantized};
use fewbytes::Knobs;
use fewbytes::linear::BitplaneLayer;
use fewbytes_wgpu::ops::{BitplaneWeights, gemv_bitplane};
use fewbytes_wgpu::{Context, Features, View};

/// The same shape of workgroups whatever the number of rows: only then are sums in one order.
fn plan(ctx: &Context, weights: &BitplaneWeights) -> gemv_bitplane::Plan {
    let knobs = Knobs { workgroup: Some(64), rows: Some(4), ..Knobs::default() };
    let options = gemv_bitplane::Options { knobs, ..Default::default() };
    gemv_bitplane::plan(ctx, weights, options).unwrap()
}

fn multiply(ctx: &Context, layer: &BitplaneLayer, bits: u8, x: &View) -> View {
    let weights = BitplaneWeights::upload(ctx, layer, 8).unwrap();
    let y = ctx.upload(&vec![f32::NAN; layer.rows()]).unwrap();
    let gemv = plan(ctx, &weights);
    ctx.submit(|pass| gemv.record(pass, bits, &weights, x, &y)).unwrap();
    y
}

fn read(ctx: &Context, view: &View) -> Vec<f32> {
    ctx.block_on(ctx.read(view)).unwrap()
}

#[test]
fn one_product_of_a_joined_layer_is_the_products_of_its_parts() {
    for features in [Features::Full, Features::Baseline] {
        let ctx = open(features);
        // Rows that are no multiple of what a workgroup computes, so that the parts' rows sit
        // elsewhere in their workgroups than before.
        let mut parts = [(1, 130), (2, 33), (3, 1)].map(|(seed, rows)| quantized(seed, rows, 160));
        let unbiased = BitplaneLayer::from_planes(
            parts[1].shape(),
            parts[1].planes().to_vec(),
            parts[1].tables().clone(),
            None,
        );
        parts[1] = unbiased.unwrap();
        let fused = BitplaneLayer::concat_rows(&parts.each_ref()).unwrap();
        let x = ctx.upload(&activations(8, 160)).unwrap();
        for bits in 3..=8 {
            let y = read(&ctx, &multiply(&ctx, &fused.layer, bits, &x));
            for (part, rows) in parts.iter().zip(&fused.parts) {
                let own = read(&ctx, &multiply(&ctx, part, bits, &x));
                assert_eq!(bit_patterns(&y[rows.clone()]), bit_patterns(&own), "{rows:?}, {bits}");
            }
        }
    }
}

#[test]
fn a_part_of_the_product_is_bound_where_it_lies() {
    let ctx = open(Features::Full);
    // 64 rows of f32 are 256 bytes: every part starts where a binding may start.
    let parts = [(1, 64), (2, 128)].map(|(seed, rows)| quantized(seed, rows, 96));
    let fused = BitplaneLayer::concat_rows(&parts.each_ref()).unwrap();
    let next = quantized(4, 40, 128);
    let x = ctx.upload(&activations(8, 96)).unwrap();
    let y = multiply(&ctx, &fused.layer, 4, &x);
    let part = y.slice(fused.parts[1].clone()).unwrap();
    assert_eq!((part.offset(), part.len()), (256, 128));
    let there = read(&ctx, &multiply(&ctx, &next, 4, &part));
    let copied = ctx.upload(&read(&ctx, &y)[64..]).unwrap();
    assert_eq!(bit_patterns(&there), bit_patterns(&read(&ctx, &multiply(&ctx, &next, 4, &copied))));
}
