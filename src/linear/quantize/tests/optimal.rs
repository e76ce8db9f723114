//! Optimality of seeds and splits against oracles that price every run by definition.

use proptest::prelude::*;

use super::super::Method;
use super::super::row::Worker;
use super::super::split::Runs;
use super::{cost, heavy, norm, sorted};

fn loaded(x: &[f32], s: Option<&[f32]>) -> Worker {
    let mut worker = Worker::default();
    worker.row.load(x, s);
    worker.inverses.fit(x.len());
    worker
}

/// The runs of `borders`, which count distinct values, cut from all sorted values.
fn runs<'a>(worker: &Worker, borders: &[u32], all: &'a [(f64, f64)]) -> Vec<&'a [(f64, f64)]> {
    let position = |b: u32| worker.row.columns(0, b as usize).len();
    borders.windows(2).map(|b| &all[position(b[0])..position(b[1])]).collect()
}

fn total(runs: &[&[(f64, f64)]]) -> f64 {
    runs.iter().map(|run| cost(run)).sum()
}

/// Least cost over all partitions into at most `k` runs, by trying them all.
fn brute(all: &[(f64, f64)], k: usize) -> f64 {
    if k == 1 {
        return cost(all);
    }
    (0..=all.len()).map(|d| cost(&all[..d]) + brute(&all[d..], k - 1)).fold(f64::MAX, f64::min)
}

/// The same in O(k n^2) with running means.
fn quadratic(all: &[(f64, f64)], k: usize) -> f64 {
    let n = all.len();
    let mut least = vec![f64::INFINITY; n + 1];
    least[0] = 0.0;
    for _ in 0..k {
        let before = least.clone();
        for i in 0..n {
            let (mut mass, mut mean, mut cost) = (0.0, 0.0, 0.0);
            for j in i + 1..=n {
                let (x, w) = all[j - 1];
                if w > 0.0 {
                    let off = x - mean;
                    mass += w;
                    mean += off * w / mass;
                    cost += w * off * (x - mean);
                }
                least[j] = least[j].min(before[i] + cost);
            }
        }
    }
    least[n]
}

fn seed_cost(x: &[f32], s: Option<&[f32]>, k: usize, method: Method) -> f64 {
    let all = sorted(x, s);
    let mut worker = loaded(x, s);
    let borders = worker.seed(method, k).borders.clone();
    assert_eq!((borders[0], borders.len()), (0, k + 1));
    assert!(borders.is_sorted());
    assert_eq!(borders[k] as usize, worker.row.len());
    total(&runs(&worker, &borders, &all))
}

/// The brief of every comparison: relative to the least cost, or to what `f64` sums can resolve.
fn assert_least(found: f64, least: f64, norm: f64, n: usize) {
    let tolerance = 1e-12 * least + f64::EPSILON * n as f64 * norm;
    assert!(found <= least + tolerance, "{found} against {least}, norm {norm}");
    assert!(found >= least - tolerance, "{found} beats the oracle's {least}");
}

/// Every split of every level is the best one, and no level costs more than the one before.
fn check_splits(x: &[f32], s: Option<&[f32]>, k: usize, levels: usize) {
    let all = sorted(x, s);
    let mut worker = loaded(x, s);
    let Runs { borders, centroids } = worker.seed(Method::Exact, k);
    let mut parent = Runs { borders: borders.clone(), centroids: centroids.clone() };
    for _ in 0..levels {
        let mut child = Runs::default();
        child.split(&worker.row, &worker.inverses, Method::Exact, &parent);
        let whole = runs(&worker, &parent.borders, &all);
        let halves = runs(&worker, &child.borders, &all);
        for (run, pair) in whole.iter().zip(halves.chunks_exact(2)) {
            let found = total(pair);
            let least = (0..=run.len())
                .map(|d| cost(&run[..d]) + cost(&run[d..]))
                .fold(f64::INFINITY, f64::min);
            assert_least(found, least, norm(&all), all.len());
            assert!(found <= cost(run), "{found} after, {} before", cost(run));
        }
        parent = child;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Small integers: every sum is exact, so the seed must be exactly the best one.
    #[test]
    fn seeds_of_integers_equal_brute_force(
        row in prop::collection::vec((-20_i8..20, 0_u8..6), 1..13),
        k in 1_usize..5,
    ) {
        let x: Vec<f32> = row.iter().map(|p| f32::from(p.0)).collect();
        let s: Vec<f32> = row.iter().map(|p| f32::from(p.1)).collect();
        for s in [None, Some(&s[..])] {
            let least = brute(&sorted(&x, s), k);
            let found = seed_cost(&x, s, k, Method::Exact);
            // The oracle's own rounding squared is all that may be left where the cost is 0.
            prop_assert!(found - least <= 1e-12 * least + 1e-26, "{found} {least}");
            prop_assert!(least - found <= 1e-12 * least + 1e-26, "{found} {least}");
        }
    }

    #[test]
    fn seeds_of_reals_equal_brute_force(
        row in prop::collection::vec((-1_f32..1.0, 0_f32..1.0), 1..13),
        offset in prop::sample::select(vec![0.0_f32, 3.0, -1000.0]),
        k in 1_usize..5,
    ) {
        let x: Vec<f32> = row.iter().map(|p| p.0 + offset).collect();
        let s: Vec<f32> = row.iter().map(|p| p.1).collect();
        for s in [None, Some(&s[..])] {
            let all = sorted(&x, s);
            let found = seed_cost(&x, s, k, Method::Exact);
            assert_least(found, brute(&all, k), norm(&all), all.len());
        }
    }

    #[test]
    fn splits_of_small_rows_are_best(
        row in prop::collection::vec((-20_i8..20, 0_u8..4), 1..40),
        k in 2_usize..6,
    ) {
        let x: Vec<f32> = row.iter().map(|p| f32::from(p.0)).collect();
        let s: Vec<f32> = row.iter().map(|p| f32::from(p.1)).collect();
        check_splits(&x, None, k, 4);
        check_splits(&x, Some(&s), k, 4);
    }

    /// Long enough for whole blocks of lanes and several strides.
    #[test]
    fn seeds_of_long_rows_equal_the_quadratic_program(
        seed: u64, n in 30_usize..400, k in 2_usize..17, steps in 1_u32..8,
    ) {
        let (mut x, s) = heavy(seed, n);
        if steps < 4 {
            // Coarse values: many equal ones, and zeros.
            let unit = f32::powi(10.0, steps as i32);
            x.iter_mut().for_each(|x| *x = (*x * unit).round() / unit);
        }
        for s in [None, Some(&s[..])] {
            let all = sorted(&x, s);
            let least = quadratic(&all, k);
            let found = seed_cost(&x, s, k, Method::Exact);
            assert_least(found, least, norm(&all), n);
            let fast = seed_cost(&x, s, k, Method::Fast);
            assert!(fast >= found - f64::EPSILON * n as f64 * norm(&all), "{fast} {found}");
        }
    }
}

#[test]
fn seeds_and_splits_of_rows_as_long_as_real_ones() {
    for n in [1024, 3000] {
        let (x, s) = heavy(n as u64, n);
        for s in [None, Some(&s[..])] {
            let all = sorted(&x, s);
            for k in [4, 8] {
                let found = seed_cost(&x, s, k, Method::Exact);
                assert_least(found, quadratic(&all, k), norm(&all), n);
                check_splits(&x, s, k, 5);
            }
        }
    }
}

/// Both ends of the precision that prefix sums have: a spike must not cost the rest its digits.
#[test]
fn a_spike_leaves_small_values_exact() {
    let (small, _) = heavy(5, 400);
    for spike in [1e4, -1e4] {
        let mut x: Vec<f32> = small.iter().map(|x| x * 5e-3).collect();
        x.push(spike);
        let mut rest = sorted(&x, None);
        rest.retain(|p| p.0.abs() < 1.0);
        // The spike is alone in its cluster, and the others are the best seven of the rest.
        let found = seed_cost(&x, None, 8, Method::Exact);
        let least = quadratic(&rest, 7);
        assert!((found - least).abs() <= 1e-12 * least, "{found} {least}");
    }
}

/// The rule of the fast splits: the midpoint of both centroids lies between the border's values.
#[test]
fn fast_splits_are_fixed_points() {
    let mut interior = 0;
    for seed in 0..20 {
        let (x, s) = heavy(seed, 500);
        for s in [None, Some(&s[..])] {
            let mut worker = loaded(&x, s);
            let Runs { borders, centroids } = worker.seed(Method::Fast, 8);
            let parent = Runs { borders: borders.clone(), centroids: centroids.clone() };
            let mut child = Runs::default();
            child.split(&worker.row, &worker.inverses, Method::Fast, &parent);
            for (d, c) in child.borders[1..].iter().zip(child.centroids.windows(2)).step_by(2) {
                let d = *d as usize;
                let middle = f64::midpoint(c[0], c[1]);
                if c[0] < c[1] {
                    assert!(worker.row.x[d - 1] <= middle && middle <= worker.row.x[d]);
                    interior += 1;
                }
            }
        }
    }
    assert!(interior > 200, "only {interior} splits were looked at");
}
