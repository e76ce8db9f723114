//! Several vectors at once: the products of each alone, to the bit.

use crate::device::open;
use crate::{activations, assert_product, bit_patterns, quantized, with_widths};
use fewbytes::Knobs;
use fewbytes::launch::{Lookup, Masks, Reduce};
use fewbytes::linear::{Activation, BitplaneLayer};
use fewbytes_wgpu::ops::{BitplaneWeights, gemv_bitplane};
use fewbytes_wgpu::{Context, Features, Scalar, View};
use half::f16;

fn options(batch: usize, activation: Activation, knobs: Knobs) -> gemv_bitplane::Options {
    gemv_bitplane::Options { batch, activation, knobs, ..Default::default() }
}

/// Runs a product, with scratch memory where it wants some, into memory that is NaN beforehand.
fn run<T: Scalar>(
    ctx: &Context,
    plan: &gemv_bitplane::Plan,
    bits: u8,
    weights: &BitplaneWeights,
    x: &View,
) -> Vec<T> {
    let y = ctx.alloc::<T>(plan.y_len()).unwrap();
    // All ones: NaN as f32 and as f16.
    ctx.queue().write_buffer(y.buffer(), 0, &vec![0xff; y.buffer().size() as usize]);
    // NaN as well: what is read of it has to be written before.
    let scratch = ctx.upload(&vec![f32::NAN; plan.scratch_bytes() as usize / 4]).unwrap();
    let bound = plan.bind_with(weights, x, &y, Some(&scratch)).unwrap();
    ctx.submit(|pass| bound.record(pass, bits)).unwrap();
    ctx.block_on(ctx.read::<T>(&y)).unwrap()
}

/// Vectors one after the other.
fn vectors(batch: usize, cols: usize) -> Vec<f32> {
    (0..batch as u64).flat_map(|vector| activations(70 + vector, cols)).collect()
}

/// Knobs under which one vector and several go through the same sums in the same order. A
/// reduce-scatter is none of them: its order depends on the number of sums.
fn same_order(bits: u8, f16: bool) -> Vec<Knobs> {
    let rows = |rows| Knobs { rows: Some(rows), ..Knobs::DEFAULT };
    // Fewer lanes with eight rows: the tree's sums have to fit a browser's workgroup memory.
    let mut all = vec![rows(2), rows(4), Knobs { workgroup: Some(32), ..rows(8) }];
    all.push(Knobs { reduce: Some(Reduce::Workgroup), ..rows(4) });
    all.push(Knobs { workgroup: Some(8), masks: Some(Masks::Hidden), ..rows(4) });
    all.push(Knobs { unroll: Some(false), ..rows(2) });
    all.push(Knobs { slices: Some(3), ..rows(4) });
    if bits <= 4 {
        all.extend([Lookup::Single, Lookup::Pair].map(|l| Knobs { lookup: Some(l), ..rows(2) }));
    } else if f16 {
        all.push(Knobs { lookup: Some(Lookup::Half), ..rows(2) });
    }
    all
}

#[test]
fn a_batch_is_the_products_of_its_vectors_to_the_bit() {
    let (rows, cols) = (37, 1100);
    let layer = quantized(21, rows, cols);
    // Every form at one width, and some of them at the others: what takes time is compiling them.
    for (features, bits, batch, step) in [
        (Features::Full, 3, 8, 1),
        (Features::Full, 4, 2, 3),
        (Features::Full, 8, 5, 4),
        (Features::Baseline, 6, 3, 3),
    ] {
        let ctx = open(features);
        let weights = BitplaneWeights::upload(&ctx, &with_widths(&layer, &[bits]), bits).unwrap();
        let host = vectors(batch, cols);
        let x = ctx.upload(&host).unwrap();
        for knobs in same_order(bits, ctx.caps().f16).into_iter().step_by(step) {
            // Sums depend on the lanes, whose default depends on the number of vectors.
            let knobs = Knobs { workgroup: knobs.workgroup.or(Some(64)), ..knobs };
            let plan = |batch| {
                let options = options(batch, Activation::F32, knobs);
                gemv_bitplane::plan(&ctx, &weights, options).unwrap()
            };
            let [single, several] = [1, batch].map(plan);
            assert_eq!((several.x_len(), several.y_len()), (batch * cols, batch * rows));
            let all = run::<f32>(&ctx, &several, bits, &weights, &x);
            for (vector, y) in all.chunks_exact(rows).enumerate() {
                let x = ctx.upload(&host[vector * cols..][..cols]).unwrap();
                let own = run::<f32>(&ctx, &single, bits, &weights, &x);
                let what = format!("vector {vector} of {batch} at {bits} bits, {knobs:?}");
                assert_eq!(bit_patterns(y), bit_patterns(&own), "{what}");
                assert_product(&layer, bits, &host[vector * cols..][..cols], y);
            }
        }
    }
}

#[test]
fn a_scattered_batch_is_right_if_not_to_the_bit() {
    let ctx = open(Features::Full);
    let caps = ctx.caps();
    // Four rows of two vectors are eight sums.
    if !caps.subgroups || caps.subgroup_min < 8 || caps.subgroup_max > 128 {
        let layer = quantized(21, 4, 64);
        let weights = BitplaneWeights::upload(&ctx, &layer, 8).unwrap();
        let knobs = Knobs { reduce: Some(Reduce::Scatter), rows: Some(4), ..Knobs::DEFAULT };
        let refused = gemv_bitplane::plan(&ctx, &weights, options(2, Activation::F32, knobs));
        assert!(matches!(refused, Err(fewbytes::Error::Unsupported { .. })));
        return;
    }
    let (rows, cols) = (37, 1100);
    let layer = with_widths(&quantized(21, rows, cols), &[3, 8]);
    let weights = BitplaneWeights::upload(&ctx, &layer, 8).unwrap();
    let host = vectors(2, cols);
    let x = ctx.upload(&host).unwrap();
    let (reduce, workgroup) = (Some(Reduce::Scatter), Some(128));
    let knobs = Knobs { reduce, workgroup, rows: Some(4), ..Knobs::DEFAULT };
    let plan = gemv_bitplane::plan(&ctx, &weights, options(2, Activation::F32, knobs)).unwrap();
    for bits in [3, 8] {
        let y = run::<f32>(&ctx, &plan, bits, &weights, &x);
        for (x, y) in host.chunks_exact(cols).zip(y.chunks_exact(rows)) {
            assert_product(&layer, bits, x, y);
        }
    }
}

#[test]
fn vectors_of_halves_start_at_whole_words_with_zeros_between() {
    let (rows, cols, batch) = (37, 131, 4);
    let layer = with_widths(&quantized(21, rows, cols), &[3, 8]);
    let ctx = open(Features::Full);
    let weights = BitplaneWeights::upload(&ctx, &layer, 8).unwrap();
    let host: Vec<f16> = vectors(batch, cols).into_iter().map(f16::from_f32).collect();
    let x = ctx.upload(&host).unwrap();
    for slices in [1, 2] {
        let knobs = Knobs { rows: Some(4), slices: Some(slices), ..Knobs::DEFAULT };
        let plan = |batch| {
            let options = options(batch, Activation::F16, knobs);
            gemv_bitplane::plan(&ctx, &weights, options).unwrap()
        };
        let [single, several] = [1, batch].map(plan);
        assert_eq!((single.y_len(), several.y_len()), (rows, batch * (rows + 1)));
        for bits in [3, 8] {
            let all = run::<f16>(&ctx, &several, bits, &weights, &x);
            for (vector, y) in all.chunks_exact(rows + 1).enumerate() {
                let x = ctx.upload(&host[vector * cols..][..cols]).unwrap();
                let own = run::<f16>(&ctx, &single, bits, &weights, &x);
                assert_eq!(y[..rows], own, "vector {vector} at {bits} bits, {slices} slices");
                assert_eq!(y[rows].to_bits(), 0);
            }
        }
    }
}

#[test]
fn a_batch_through_a_joined_layer_is_the_batches_of_its_parts() {
    for features in [Features::Full, Features::Baseline] {
        let ctx = open(features);
        let (cols, batch) = (160, 4);
        // Rows that are no multiple of what a workgroup computes, so that the parts' rows sit
        // elsewhere in their workgroups than before.
        let parts = [(1, 130), (2, 33), (3, 1)]
            .map(|(seed, rows)| with_widths(&quantized(seed, rows, cols), &[3, 5, 8]));
        let fused = BitplaneLayer::concat_rows(&parts.each_ref()).unwrap();
        let x = ctx.upload(&vectors(batch, cols)).unwrap();
        let knobs = Knobs { workgroup: Some(64), rows: Some(4), ..Knobs::DEFAULT };
        for knobs in [knobs, Knobs { slices: Some(2), ..knobs }] {
            let multiply = |layer: &BitplaneLayer, bits| {
                let weights = BitplaneWeights::upload(&ctx, layer, 8).unwrap();
                let options = options(batch, Activation::F32, knobs);
                let plan = gemv_bitplane::plan(&ctx, &weights, options).unwrap();
                run::<f32>(&ctx, &plan, bits, &weights, &x)
            };
            for bits in [3, 5, 8] {
                let y = multiply(&fused.layer, bits);
                for (part, rows) in parts.iter().zip(&fused.parts) {
                    let own = multiply(part, bits);
                    // A part of the rows is no run of elements: every vector has its own.
                    for vector in 0..batch {
                        let start = vector * fused.layer.rows();
                        let there = &y[start + rows.start..start + rows.end];
                        let own = &own[vector * part.rows()..][..part.rows()];
                        let what = format!("{rows:?} of vector {vector}, {bits} bits, {knobs:?}");
                        assert_eq!(bit_patterns(there), bit_patterns(own), "{what}");
                    }
                }
            }
        }
    }
}

#[test]
fn no_vectors_are_no_work() {
    let ctx = open(Features::Full);
    let weights = BitplaneWeights::upload(&ctx, &quantized(21, 9, 96), 8).unwrap();
    let options = options(0, Activation::F32, Knobs { slices: Some(2), ..Knobs::DEFAULT });
    let plan = gemv_bitplane::plan(&ctx, &weights, options).unwrap();
    assert_eq!((plan.x_len(), plan.y_len(), plan.scratch_bytes()), (0, 0, 0));
    assert_eq!(ctx.pipelines(), 0);
    let (x, y) = (ctx.alloc::<f32>(0).unwrap(), ctx.alloc::<f32>(0).unwrap());
    let bound = plan.bind(&weights, &x, &y).unwrap();
    ctx.submit(|pass| bound.record(pass, 4)).unwrap();
    // A width that is not there is refused all the same.
    assert!(ctx.submit(|pass| bound.record(pass, 2)).is_err());
}
