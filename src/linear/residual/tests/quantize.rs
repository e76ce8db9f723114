//! What quantizing promises.

use super::super::quantize_residual;
use super::super::scale::{search, squared_error};
use super::{ResidualElement, ResidualLayer, refused};
use crate::Error;
use crate::linear::Weights;
use half::f16;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const CODED: [ResidualElement; 3] =
    [ResidualElement::Int2, ResidualElement::Int4, ResidualElement::Int8];

/// Weights and base whose differences have some outliers, rows of very different magnitudes.
fn matrices(seed: u64, rows: usize, cols: usize) -> (Vec<f32>, Vec<f32>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut weights = Vec::new();
    let mut base = Vec::new();
    for _ in 0..rows {
        let magnitude = 2f32.powi(rng.random_range(-22..8));
        for _ in 0..cols {
            let outlier = if rng.random_bool(0.02) { 20.0 } else { 1.0 };
            let weight = rng.random_range(-1.0f32..1.0) * magnitude * outlier;
            weights.push(weight);
            base.push(weight + rng.random_range(-0.3f32..0.3) * magnitude * outlier);
        }
    }
    (weights, base)
}

fn residuals(weights: &[f32], base: &[f32]) -> Vec<f32> {
    weights.iter().zip(base).map(|(w, b)| w - b).collect()
}

fn quantized(
    rows: usize,
    weights: &[f32],
    base: &[f32],
    element: ResidualElement,
) -> (ResidualLayer, super::super::ResidualReport) {
    let cols = weights.len() / rows;
    let weights = Weights::new("l", rows, cols, weights, None).unwrap();
    quantize_residual(&weights, base, element).unwrap()
}

/// By the definition, one number after another: scale and codes of one output.
fn by_definition(residuals: &[f32], element: ResidualElement) -> (f16, Vec<i32>, f64) {
    let p = element.largest() as f32;
    let a = residuals.iter().fold(0.0f32, |a, r| a.max(r.abs()));
    let codes = |scale: f16| -> Vec<i32> {
        let q = |r: &f32| (r / scale.to_f32()).round_ties_even().clamp(-p, p) as i32;
        if scale == f16::ZERO {
            vec![0; residuals.len()]
        } else {
            residuals.iter().map(q).collect()
        }
    };
    let mut best: Option<(f16, Vec<i32>, f64)> = None;
    for t in 1..=32 {
        let scale = f16::from_f32(a / p * t as f32 / 32.0);
        let codes = codes(scale);
        let errors = residuals.iter().zip(&codes);
        let error = errors.map(|(&r, &q)| (f64::from(r) - scale.to_f64() * f64::from(q)).powi(2));
        let error: f64 = error.sum();
        if best.as_ref().is_none_or(|best| error < best.2) {
            best = Some((scale, codes, error));
        }
    }
    best.unwrap()
}

#[test]
fn a_small_layer_comes_out_as_by_hand() {
    // First output: with s = t / 32 below 1 every code is 1, the error (1 - s)^2 + 3 (1/2 - s)^2, least
    // at s = 5/8 = 20/32, where it is 9/64 + 3/64 and 1 / s rounds to 2, beyond the largest code.
    // Second output: only s = 3/4 leaves nothing.
    let weights = [1.0, 0.5, 0.5, 0.5, -0.75, 0.0, 0.0, 0.0];
    let (layer, report) = quantized(2, &weights, &[0.0; 8], ResidualElement::Int2);
    assert_eq!(layer.scales()[..3], [0.625, 0.75, 0.0].map(f16::from_f32));
    let words: Vec<u32> = (0..4).map(|at| layer.channel(at).unwrap()[0]).collect();
    assert_eq!(words, [0b01_11, 0b10_11, 0b10_11, 0b10_11]);
    assert_eq!((report.before.squared, report.after.squared), (2.3125, 0.1875));
    assert_eq!((report.before.relative, report.clipped), (1.0, 0.125));
    assert_eq!(report.after.relative, (0.1875f64 / 2.3125).sqrt());
    assert_eq!(report.underflown_rows, 0);

    // Only s = 1/8, t = 32, has 7 s = 7/8. The next, s = 31/256, is 7/256 off there, forty times, which
    // is more than the 2/256 that two ties cost. Base weights are taken off, and ties go to even codes:
    // 5/16 is 2.5 s, 3/16 is 1.5 s.
    let mut weights = vec![1.875; 40];
    weights.extend([0.75, 1.125, 1.3125, 1.1875]);
    let (layer, report) = quantized(1, &weights, &[1.0; 44], ResidualElement::Int4);
    assert_eq!(layer.scales()[0], f16::from_f32(0.125));
    let codes: Vec<u16> = (39..44).map(|at| layer.code(0, at).unwrap()).collect();
    assert_eq!(codes, [8 + 7, 8 - 2, 8 + 1, 8 + 2, 8 + 2]);
    assert_eq!((report.after.squared, report.clipped), (2.0 / 256.0, 0.0));
}

#[test]
fn rows_without_a_residual_have_none() {
    for element in ResidualElement::ALL {
        let weights: Vec<f32> = (0..30).map(|at| at as f32 / 7.0).collect();
        let mut base = weights.clone();
        base[14] += 0.5;
        let (layer, report) = quantized(3, &weights, &base, element);
        let dense = layer.dequantize();
        assert!(dense[..10].iter().chain(&dense[20..]).all(|&v| v == 0.0));
        assert!((dense[14] + 0.5).abs() < 1e-3, "{}", dense[14]);
        if element.scaled() {
            assert_eq!([layer.scales()[0], layer.scales()[2]], [f16::ZERO; 2]);
            // The code of 0, not the word of 0.
            assert_eq!(layer.code(0, 0), Some(1 << (element.bits() - 1)));
        }
        assert_eq!(report.underflown_rows, 0);
    }
}

#[test]
fn scales_below_halves_are_zero() {
    // a / P is 2^-25, which rounds to even, 0; a little more is 2^-24.
    let least = 2f32.powi(-25);
    for element in CODED {
        let p = element.largest() as f32;
        let weights = [least * p, 0.0, least * p * 1.01, 0.0];
        let (layer, report) = quantized(2, &weights, &[0.0; 4], element);
        assert_eq!(layer.scales()[..2], [f16::ZERO, f16::from_bits(1)]);
        let zero = 1 << (element.bits() - 1);
        assert_eq!([layer.code(0, 0), layer.code(0, 1)], [Some(zero); 2]);
        assert!(layer.value(1, 0).unwrap() > 0.0);
        assert_eq!((report.underflown_rows, report.clipped), (1, 0.0));
        assert!(report.after.squared < report.before.squared);
    }
    let (layer, report) = quantized(2, &[1e-9, 0.0, 1.0, 1e-9], &[0.0; 4], ResidualElement::F16);
    assert_eq!(layer.dequantize(), [0.0, 0.0, 1.0, 0.0]);
    assert_eq!(report.underflown_rows, 1);
}

#[test]
fn halves_overflow_where_they_should() {
    let quantize = |value: f32, base: f32, element| {
        let weights = [0.0, 0.0, 0.5, value];
        let weights = Weights::new("blk.0.down", 2, 2, &weights, None).unwrap();
        quantize_residual(&weights, &[0.0, 0.0, 0.0, base], element)
    };
    for element in ResidualElement::ALL {
        let most = 65519.0 * element.largest().max(1) as f32;
        quantize(-most, 0.0, element).unwrap();
        for (value, base) in [(most * 1.001, 0.0), (0.0, most * 1.001), (f32::MAX, f32::MIN)] {
            let error = refused(quantize(value, base, element), &["layer blk.0.down", "65520"]);
            let Error::Layer { error, .. } = error else { panic!("{error}") };
            assert!(matches!(*error, Error::Value { row: 1, col: 1, .. }), "{error}");
        }
    }
}

#[test]
fn bad_bases_are_named() {
    let weights = vec![1.0; 40];
    let weights = Weights::new("q", 20, 2, &weights, None).unwrap();
    for element in ResidualElement::ALL {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut base = vec![1.0; 40];
            (base[35], base[38]) = (bad, bad);
            let result = quantize_residual(&weights, &base, element);
            refused(result, &["layer q", "base weight at row 17, column 1", "finite"]);
        }
        let result = quantize_residual(&weights, &[1.0; 39], element);
        refused(result, &["layer q", "base weights", "20 x 2", "39"]);
    }
}

#[test]
fn what_was_lost_does_not_depend_on_what_is_kept() {
    let (weights, base) = matrices(6, 40, 50);
    let before = ResidualElement::ALL.map(|e| quantized(40, &weights, &base, e).1.before);
    assert_eq!(before, [before[0]; 4]);
    let weights = Weights::new("l", 40, 50, &weights, None).unwrap();
    let sum: f64 = residuals(weights.values(), &base).iter().map(|&r| f64::from(r).powi(2)).sum();
    assert!((before[0].squared - sum).abs() <= 1e-12 * sum);
    // Base weights that are the original leave nothing.
    let (_, report) = quantize_residual(&weights, weights.values(), ResidualElement::F16).unwrap();
    assert_eq!((report.before.relative, report.after.relative), (0.0, 0.0));
}

#[cfg(feature = "rayon")]
#[test]
fn threads_change_nothing() {
    let (weights, base) = matrices(5, 70, 90);
    let mut first = None;
    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let found = pool.install(|| quantized(70, &weights, &base, ResidualElement::Int4));
        assert_eq!(first.get_or_insert_with(|| found.clone()), &found);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn codes_are_those_of_the_definition(seed: u64, rows in 1_usize..40, cols in 1_usize..150) {
        let (weights, base) = matrices(seed, rows, cols);
        let residuals = residuals(&weights, &base);
        for element in CODED {
            let (layer, _) = quantized(rows, &weights, &base, element);
            let p = element.largest();
            for (row, residuals) in residuals.chunks_exact(cols).enumerate() {
                let (scale, codes, least) = by_definition(residuals, element);
                let found = layer.scales()[row];
                let q = |col| i32::from(layer.code(row, col).unwrap()) - p - 1;
                if found == scale {
                    for (col, &code) in codes.iter().enumerate() {
                        prop_assert_eq!(q(col), code);
                    }
                }
                // Sums in another order may tell candidates apart that are as good as equal.
                let error = |col: usize| {
                    (f64::from(residuals[col]) - found.to_f64() * f64::from(q(col))).powi(2)
                };
                let error: f64 = (0..cols).map(error).sum();
                prop_assert!(error <= least * (1.0 + 1e-6), "{} for {}", error, least);
            }
        }
    }

    #[test]
    fn errors_are_half_a_step_where_nothing_is_clipped(seed: u64, cols in 1_usize..300) {
        let (weights, base) = matrices(seed, 5, cols);
        let residuals = residuals(&weights, &base);
        for element in CODED {
            let (layer, report) = quantized(5, &weights, &base, element);
            let p = f64::from(element.largest());
            let mut clipped = 0;
            for (at, &residual) in residuals.iter().enumerate() {
                let (row, residual) = (at / cols, f64::from(residual));
                let scale = layer.scales()[row].to_f64();
                let value = f64::from(layer.value(row, at % cols).unwrap());
                let largest = layer.code(row, at % cols).map(|c| (f64::from(c) - p - 1.0).abs());
                prop_assert!(largest <= Some(p));
                if scale > 0.0 && residual.abs() > (p + 0.5) * scale {
                    clipped += 1;
                    prop_assert_eq!(value, residual.signum() * p * scale);
                } else if scale > 0.0 {
                    // The quotient is rounded to f32 before it is to an integer.
                    let step = scale * (0.5 + (p + 1.0) * 2f64.powi(-24));
                    prop_assert!((residual - value).abs() <= step);
                }
            }
            // A quotient of P + 1/2 by rounding alone counts on one side only.
            let share = f64::from(clipped) / residuals.len() as f64;
            prop_assert!((report.clipped - share).abs() <= 2.0 / residuals.len() as f64);
            prop_assert!(report.after.squared <= report.before.squared);
        }
    }

    #[test]
    fn searching_is_never_worse_than_the_largest_scale(seed: u64, cols in 1_usize..300) {
        let (weights, base) = matrices(seed, 3, cols);
        for residuals in residuals(&weights, &base).chunks_exact(cols) {
            let a = residuals.iter().fold(0.0f32, |a, r| a.max(r.abs()));
            for element in CODED {
                let p = element.largest() as f32;
                let found = squared_error(residuals, search(residuals, a, p), p);
                prop_assert!(found <= squared_error(residuals, f16::from_f32(a / p), p));
            }
        }
    }

    #[test]
    fn halves_are_rounded_residuals(seed: u64, rows in 1_usize..70, cols in 1_usize..40) {
        let (weights, base) = matrices(seed, rows, cols);
        let (layer, report) = quantized(rows, &weights, &base, ResidualElement::F16);
        let halves = residuals(&weights, &base).into_iter().map(|r| f16::from_f32(r).to_f32());
        prop_assert_eq!(layer.dequantize(), halves.collect::<Vec<_>>());
        prop_assert_eq!(report.clipped, 0.0);
    }
}
