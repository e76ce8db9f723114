//! How much is gained, and how near to the best possible.

use super::*;

#[test]
fn the_gain_over_clusters_is_of_the_expected_size() {
    for (bits, seed) in [(2, 1), (3, 2), (4, 3)] {
        let case = case(seed, 16, 256, 2048, 1);
        let done = run(&case, &LnqOptions { bits, ..options() });
        let steps: Vec<f64> = done.report.steps.iter().map(LnqStep::objective).collect();
        let share: Vec<f64> = steps.iter().map(|step| step / steps[0]).collect();
        println!("{bits} bits, relative to clusters: {share:.3?}");
        assert!(share[1] < 1.0 && share[2] < share[1]);
        assert!(share[share.len() - 1] <= 0.6, "{share:?}");
    }
}

/// The least objective of any labels and table of two entries, by trying all labels.
fn exhaustive(h: &[f64], w: &[f32]) -> f64 {
    let n = w.len();
    let mut least = f64::INFINITY;
    for labels in 0..1u32 << (n - 1) {
        let side = |i: usize| (labels >> i & 1) as usize;
        let (mut g, mut v) = ([[0.0; 2]; 2], [0.0; 2]);
        for i in 0..n {
            for j in 0..n {
                g[side(i)][side(j)] += h[i * n + j];
                v[side(i)] += h[i * n + j] * f64::from(w[j]);
            }
        }
        let det = g[0][0] * g[1][1] - g[0][1] * g[1][0];
        let c = if labels == 0 {
            [v[0] / g[0][0]; 2]
        } else {
            [(v[0] * g[1][1] - v[1] * g[0][1]) / det, (v[1] * g[0][0] - v[0] * g[1][0]) / det]
        };
        let q: Vec<f64> = (0..n).map(|i| c[side(i)]).collect();
        least = least.min(objective(h, w, &q));
    }
    least
}

#[test]
fn tiny_rows_come_to_the_best_there_is_and_never_beyond() {
    let (mut best, mut trials) = (0, 0);
    for cols in [2, 4, 6, 8] {
        for seed in 0..5 {
            let case = case(100 + seed, 1, cols, 40, 1);
            let least = exhaustive(&case.solved(0), &case.values);
            let schedule = LnqOptions { bits: 1, iterations: 6, ..options() };
            let found = (0..20).map(|at| {
                let start = case.random_start(at, 1);
                let done = lnq_from(&case.weights(), &case.hessian, &start, &schedule, &|_| {});
                row_objectives(&case, &done.unwrap().quantized)[0]
            });
            let found = found.fold(f64::INFINITY, f64::min);
            let scale = case.full(0).iter().step_by(cols + 1).sum::<f64>() * 1e-3;
            assert!(found >= least - 1e-9 * scale, "{found} is below the least, {least}");
            trials += 1;
            best += usize::from(found <= least + 1e-6 * scale);
        }
    }
    assert!(best * 4 >= trials * 3, "{best} of {trials} reached the least");
}

#[test]
fn the_objective_is_the_weighted_error_at_the_output() {
    let (rows, cols, tokens) = (6, 30, 50);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut normal = |count: usize| -> Vec<f32> {
        (0..count).map(|_| StandardNormal.sample(&mut rng)).collect()
    };
    let (x, w, gradient) = (normal(tokens * cols), normal(rows * cols), normal(tokens * rows));
    let squared: Vec<f32> = gradient.iter().map(|g| g * g).collect();
    let weights = Weights::new("o", rows, cols, &w, None).unwrap();
    let quantized = seed(&weights, 2, Method::Exact).unwrap();
    let error = |token: usize, row: usize| -> f64 {
        let q = values_of(&quantized, row);
        let x = &x[token * cols..(token + 1) * cols];
        let off = |i: usize| (q[i] - f64::from(w[row * cols + i])) * f64::from(x[i]);
        (0..cols).map(off).sum()
    };
    let hessian = |groups: usize, s: &[f32]| {
        let mut sums = HessianAccumulator::new("o", cols, groups).unwrap();
        sums.add_batch(&x, Some(s)).unwrap();
        sums.finish().unwrap()
    };
    // A group for every row: the exact second-order model.
    let exact = objectives(&weights, &hessian(rows, &squared), &quantized).unwrap();
    for (row, found) in exact.iter().enumerate() {
        let terms = (0..tokens).map(|t| f64::from(squared[t * rows + row]) * error(t, row).powi(2));
        let expected: f64 = terms.sum();
        assert!((found - expected).abs() <= 1e-5 * expected, "{found} {expected}");
    }
    // Three rows a group: their mean.
    let means: Vec<f32> = squared.chunks_exact(3).map(|g| g.iter().sum::<f32>() / 3.0).collect();
    let coarse = hessian(2, &means);
    let found = objectives(&weights, &coarse, &quantized).unwrap();
    let merged = hessian(rows, &squared).merge(2).unwrap();
    let commuted = objectives(&weights, &merged, &quantized).unwrap();
    for row in 0..rows {
        let terms = (0..tokens).map(|t| f64::from(means[t * 2 + row / 3]) * error(t, row).powi(2));
        let expected: f64 = terms.sum();
        assert!((found[row] - expected).abs() <= 1e-5 * expected);
        assert!((commuted[row] - expected).abs() <= 1e-5 * expected);
    }
}
