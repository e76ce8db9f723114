//! Weights in pairs through the ops: products and dense matrices of what a small vector quantizer made.

use crate::device::open;
use crate::{activations, bit_patterns, matrix};
use fewbytes::Knobs;
use fewbytes::linear::gemv_vector::reference;
use fewbytes::linear::{Activation, TableElement, VectorLayer, VectorShape};
use fewbytes_wgpu::Features;
use fewbytes_wgpu::ops::{VectorWeights, dequantize_vector, gemv_vector};

fn distance(a: [f32; 2], b: [f32; 2]) -> f32 {
    (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2)
}

fn nearest(table: &[[f32; 2]], pair: [f32; 2]) -> usize {
    let order =
        |a: &usize, b: &usize| distance(table[*a], pair).total_cmp(&distance(table[*b], pair));
    (0..table.len()).min_by(order).unwrap()
}

/// A layer by plain k-means on the pairs of every row, and the weights it was made from.
fn quantized(seed: u64, shape: VectorShape) -> (VectorLayer, Vec<f32>) {
    let (weights, _) = matrix::heavy_tailed(seed, shape.rows * shape.cols);
    let (mut codes, mut tables) = (Vec::new(), Vec::new());
    for row in weights.chunks_exact(shape.cols) {
        let pair = |pair: &[f32]| [pair[0], *pair.get(1).unwrap_or(&0.0)];
        let pairs: Vec<[f32; 2]> = row.chunks(2).map(pair).collect();
        let mut table: Vec<[f32; 2]> =
            (0..1 << shape.code_bits).map(|i| pairs[i * 7 % pairs.len()]).collect();
        for _ in 0..8 {
            let mut sums = vec![([0.0f32; 2], 0.0f32); table.len()];
            for &pair in &pairs {
                let (sum, count) = &mut sums[nearest(&table, pair)];
                *count += 1.0;
                sum[0] += pair[0];
                sum[1] += pair[1];
            }
            for (entry, (sum, count)) in table.iter_mut().zip(sums) {
                if count > 0.0 {
                    *entry = [sum[0] / count, sum[1] / count];
                }
            }
        }
        codes.extend(pairs.iter().map(|&pair| nearest(&table, pair) as u8));
        tables.extend(table);
    }
    let bias = Some((0..shape.rows).map(|row| row as f32 / 8.0).collect());
    let (element, tables) = (TableElement::F16, tables.as_flattened());
    (VectorLayer::from_codes(shape, &codes, element, tables, bias).unwrap(), weights)
}

#[test]
fn more_bits_a_pair_are_closer_to_the_weights() {
    let error = |code_bits| {
        let shape = VectorShape { rows: 6, cols: 2047, code_bits };
        let (layer, weights) = quantized(5, shape);
        let off = |(a, b): (&f32, &f32)| f64::from(a - b).powi(2);
        let sum: f64 = layer.dequantize().iter().zip(&weights).map(off).sum();
        sum / weights.iter().map(|w| f64::from(*w).powi(2)).sum::<f64>()
    };
    let errors: Vec<f64> = (2..=6).map(error).collect();
    assert!(errors.windows(2).all(|pair| pair[1] < 0.8 * pair[0]), "{errors:?}");
}

#[test]
fn products_and_dense_matrices_are_those_of_the_cpu() {
    for features in [Features::Full, Features::Baseline] {
        let ctx = open(features);
        for (rows, cols, code_bits, slices) in [(37, 131, 4, 1), (64, 192, 5, 3)] {
            let (layer, _) = quantized(7, VectorShape { rows, cols, code_bits });
            let weights = VectorWeights::upload(&ctx, &layer).unwrap();
            let knobs = Knobs { slices: Some(slices), ..Knobs::DEFAULT };
            let options = gemv_vector::Options { knobs, ..Default::default() };
            let plan = gemv_vector::plan(&ctx, &weights, options).unwrap();
            let host = activations(9, cols);
            let x = ctx.upload(&host).unwrap();
            let y = ctx.upload(&vec![f32::NAN; rows]).unwrap();
            let scratch = ctx.alloc::<u8>(plan.scratch_bytes().max(4) as usize).unwrap();
            let bound = plan.bind_with(&weights, &x, &y, Some(&scratch)).unwrap();
            ctx.submit(|pass| bound.record(pass)).unwrap();
            let found = ctx.block_on(ctx.read::<f32>(&y)).unwrap();
            let expected = reference(&layer, &host, true).unwrap();
            // Each product passes through its own rounding, the sums of a word, over the lanes and
            // slices, and the bias.
            let gamma = f64::from(1 + 64 + 64 + slices + 1) * f64::from(f32::EPSILON) * 1.001;
            for (row, found) in found.into_iter().enumerate() {
                let off = (f64::from(found) - expected.y[row]).abs();
                assert!(off <= gamma * expected.condition[row], "row {row}: {found}");
            }

            let element = Activation::F32;
            let dense = dequantize_vector::plan(&ctx, &weights, element, &Knobs::DEFAULT).unwrap();
            assert_eq!((dense.stride(), dense.dst_len()), (cols, rows * cols));
            let dst = ctx.upload(&vec![f32::NAN; rows * cols]).unwrap();
            ctx.submit(|pass| dense.record(pass, &weights, &dst)).unwrap();
            let found = ctx.block_on(ctx.read::<f32>(&dst)).unwrap();
            assert_eq!(bit_patterns(&found), bit_patterns(&layer.dequantize()));
        }
    }
}
