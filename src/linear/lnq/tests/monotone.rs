//! No half step makes any row worse.

use super::*;

/// Objectives never rise, are what the definition says in the end, and are not merely kept from
/// rising by taking steps back.
fn assert_falls(case: &Case, start: &Quantized, options: &LnqOptions, restores: usize) {
    let done = lnq_from(&case.weights(), &case.hessian, start, options, &|_| {}).unwrap();
    let slack = if options.precision == Precision::F64 { 0.0 } else { 1e-6 };
    let halves: Vec<&LnqStep> =
        done.report.steps.iter().filter(|s| s.phase != Phase::Rounded).collect();
    assert_eq!(halves.len(), options.half_steps() + 1);
    for pair in halves.windows(2) {
        for (before, after) in pair[0].rows.iter().zip(&pair[1].rows) {
            assert!(*after <= before + slack * before.abs(), "{before} to {after}");
        }
    }
    let restored: usize = halves.iter().map(|s| s.restored).sum();
    assert!(restored <= restores, "{restored} half steps were taken back");
    let expected = row_objectives(case, &done.quantized);
    let start = row_objectives(case, start);
    let last = done.report.steps.last().unwrap();
    for ((found, expected), start) in last.rows.iter().zip(&expected).zip(&start) {
        assert!((found - expected).abs() <= 1e-9 * start, "{found} is not {expected}");
        assert!(*expected <= start * (1.0 + 1e-5), "{start} became {expected}");
    }
}

fn schedule(bits: u8, precision: Precision) -> LnqOptions {
    LnqOptions { bits, iterations: 4, precision, ..options() }
}

/// A Hessian whose eigenvalues fall from 1 to `least` evenly on a logarithmic scale.
fn conditioned(seed: u64, rows: usize, cols: usize, least: f64) -> Case {
    let mut case = case(seed, rows, cols, cols, 1);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut vectors: Vec<Vec<f64>> = Vec::new();
    for _ in 0..cols {
        let mut v: Vec<f64> = (0..cols).map(|_| StandardNormal.sample(&mut rng)).collect();
        for other in &vectors {
            let dot: f64 = v.iter().zip(other).map(|(a, b)| a * b).sum();
            v.iter_mut().zip(other).for_each(|(v, o)| *v -= dot * o);
        }
        let norm = v.iter().map(|v| v * v).sum::<f64>().sqrt();
        v.iter_mut().for_each(|v| *v /= norm);
        vectors.push(v);
    }
    let mut full = vec![0.0f64; cols * cols];
    for (at, v) in vectors.iter().enumerate() {
        let value = least.powf(at as f64 / (cols - 1) as f64);
        for i in 0..cols {
            for j in 0..cols {
                full[i * cols + j] += value * v[i] * v[j];
            }
        }
    }
    let full: Vec<f32> = full.into_iter().map(|v| v as f32).collect();
    case.hessian = Hessian::from_full("case", cols, 1, &full).unwrap();
    case
}

#[test]
fn no_half_step_makes_a_row_worse() {
    for (seed, bits) in [(1, 1), (2, 2), (3, 4), (4, 6), (5, 8)] {
        let case = case(60 + seed, 4, 96, 400, 2);
        for start in [case.start(bits), case.random_start(seed, bits), case.same_label(bits)] {
            // What is restored is converged: rises in the last digit of f64, or of f32.
            assert_falls(&case, &start, &schedule(bits, Precision::F64), 12);
            assert_falls(&case, &start, &schedule(bits, Precision::F32), 12);
        }
    }
}

#[test]
fn no_half_step_makes_a_row_worse_whatever_the_rank() {
    for (seed, cols, tokens) in [(1, 100, 20), (2, 100, 1), (3, 65, 40)] {
        let case = case(70 + seed, 3, cols, tokens, 1);
        for bits in [2, 4] {
            for start in [case.start(bits), case.random_start(seed, bits)] {
                assert_falls(&case, &start, &schedule(bits, Precision::F64), usize::MAX);
                assert_falls(&case, &start, &schedule(bits, Precision::F32), usize::MAX);
            }
        }
    }
}

#[test]
fn no_half_step_makes_a_row_worse_whatever_the_condition() {
    for (seed, least) in [(1, 1e-2), (2, 1e-5), (3, 1e-8)] {
        let case = conditioned(80 + seed, 3, 96, least);
        for bits in [2, 3] {
            for start in [case.start(bits), case.same_label(bits)] {
                assert_falls(&case, &start, &schedule(bits, Precision::F64), usize::MAX);
                assert_falls(&case, &start, &schedule(bits, Precision::F32), usize::MAX);
            }
        }
    }
}

#[test]
fn feedback_makes_no_row_worse() {
    let case = case(90, 4, 96, 300, 2);
    for start in [case.start(2), case.random_start(1, 3)] {
        let bits = start.parent_bits;
        let options = LnqOptions { labels: LabelStep::Feedback, ..schedule(bits, Precision::F32) };
        assert_falls(&case, &start, &options, usize::MAX);
    }
}
