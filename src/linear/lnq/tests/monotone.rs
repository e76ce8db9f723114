//! No half step makes any row worse.

use super::*;

/// Objectives never rise, are what the definition says in the end, and are not merely kept from
/// rising by taking steps back.
fn assert_falls(case: &Case, given: &Quantized, options: &LnqOptions, restores: usize) {
    let done = lnq_from(&case.weights(), &case.hessian, given, options, &|_| {}).unwrap();
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
    let start = row_objectives(case, given);
    let last = done.report.steps.last().unwrap();
    // By labels and tables as they are after each number of iterations, whatever is reported.
    let mut before = start.clone();
    for iterations in 0..=options.iterations {
        let options = LnqOptions { iterations, ..*options };
        let done = lnq_from(&case.weights(), &case.hessian, given, &options, &|_| {}).unwrap();
        let after = row_objectives(case, &done.quantized);
        for ((after, before), start) in after.iter().zip(&before).zip(&start) {
            // f32 tables are rounded once more in the end.
            assert!(*after <= before * (1.0 + 1e-5) + 1e-9 * start, "{before} to {after}");
            assert!(*after >= 0.0, "{after}");
        }
        assert_bounded(case, given, &done.quantized);
        before = after;
    }
    for ((found, expected), start) in last.rows.iter().zip(&expected).zip(&start) {
        assert!((found - expected).abs() <= 1e-9 * start, "{found} is not {expected}");
        assert!(*expected <= start * (1.0 + 1e-5), "{start} became {expected}");
    }
}

/// No entry lies farther outside the weights than four times their range, but for those of the start.
fn assert_bounded(case: &Case, start: &Quantized, done: &Quantized) {
    let levels = 1 << done.parent_bits;
    let rows = case.values.chunks_exact(case.cols).zip(done.tables[0].1.chunks_exact(levels));
    for ((w, table), old) in rows.zip(start.tables[0].1.chunks_exact(levels)) {
        let least = |v: &[f32]| v.iter().copied().fold(f32::INFINITY, f32::min);
        let most = |v: &[f32]| v.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let room = 4.04 * (most(w) - least(w)) + 1e-2 * most(w).abs();
        assert!(least(table) >= least(old).min(least(w)) - room, "{table:?} for {w:?}");
        assert!(most(table) <= most(old).max(most(w)) + room, "{table:?} for {w:?}");
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
            // What is restored is converged: rises in the last digit of f64, or of f32. Of 36.
            assert_falls(&case, &start, &schedule(bits, Precision::F64), 18);
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

/// Tokens `mean + scale * N(0, 1)` in `rank` directions, or in all if that is 0.
fn from_tokens(seed: u64, cols: usize, tokens: usize, rank: usize, mean: f32) -> Case {
    let mut case = case(seed, 8, cols, 4, 1);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut normal = |count: usize| -> Vec<f32> {
        (0..count).map(|_| StandardNormal.sample(&mut rng)).collect()
    };
    let x: Vec<f32> = if rank == 0 {
        normal(tokens * cols).iter().map(|x| mean + x).collect()
    } else {
        let (a, b) = (normal(tokens * rank), normal(rank * cols));
        let entry = |at: usize| -> f32 {
            (0..rank).map(|k| a[at / cols * rank + k] * b[k * cols + at % cols]).sum()
        };
        (0..tokens * cols).map(entry).collect()
    };
    let mut sums = HessianAccumulator::new("case", cols, 1).unwrap();
    sums.add_batch(&x, None).unwrap();
    case.hessian = sums.finish().unwrap();
    case
}

#[test]
fn low_rank_lets_no_table_grow_and_no_objective_fall_below_zero() {
    for (seed, (cols, tokens, rank)) in
        [(64, 200, 2), (128, 300, 6), (64, 2, 0), (96, 4, 0)].into_iter().enumerate()
    {
        let case = from_tokens(300 + seed as u64, cols, tokens, rank, 0.0);
        for bits in [2, 3] {
            let start = case.start(bits);
            for precision in [Precision::F32, Precision::F64] {
                for table in [TableElement::F32, TableElement::F16] {
                    let options = LnqOptions { bits, precision, table, ..options() };
                    let done = lnq_from(&case.weights(), &case.hessian, &start, &options, &|_| {});
                    let done = done.unwrap();
                    assert_bounded(&case, &start, &done.quantized);
                    for step in &done.report.steps {
                        assert!(step.rows.iter().all(|row| *row >= 0.0), "{:?}", step.rows);
                    }
                }
            }
        }
    }
}

#[test]
fn inputs_of_a_large_mean_rise_in_no_half_step() {
    let case = from_tokens(310, 128, 400, 0, 100.0);
    for bits in [2, 3, 4] {
        assert_falls(&case, &case.start(bits), &schedule(bits, Precision::F32), usize::MAX);
    }
}

#[test]
fn many_iterations_end_as_soon_as_nothing_changes() {
    let case = case(320, 4, 40, 200, 1);
    let run = |iterations| run(&case, &LnqOptions { iterations, ..options() });
    let (some, most) = (run(60), run(1000));
    assert_eq!(most.report.steps.len(), 2003);
    assert_eq!(most.report.steps[..121], some.report.steps[..121]);
    assert_eq!(most.quantized, some.quantized);
}
