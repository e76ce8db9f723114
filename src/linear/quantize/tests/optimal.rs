//! Optimality of seeds and splits against oracles that price every run by definition.

use proptest::prelude::*;

use super::super::Method;
use super::super::row::Worker;
use super::super::split::Runs;
use super::{centroid, cost, heavy, norm, sorted};

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
        for (i, start) in before[..n].iter().enumerate() {
            let (mut mass, mut mean, mut cost) = (0.0, 0.0, 0.0);
            for j in i + 1..=n {
                let (x, w) = all[j - 1];
                if w > 0.0 {
                    let off = x - mean;
                    mass += w;
                    mean += off * w / mass;
                    cost += w * off * (x - mean);
                }
                least[j] = least[j].min(start + cost);
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

/// How every comparison is made: relative to the least cost, or to what `f64` sums can resolve.
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

/// Nor must an offset: these differ from 1000 by a few units in the last place.
#[test]
fn an_offset_leaves_differences_exact() {
    for sign in [1.0, -1.0] {
        let unit = f32::powi(2.0, -14);
        let x: Vec<f32> = (0..60).map(|i| sign * (1000.0 + (i * 37 % 101) as f32 * unit)).collect();
        let s: Vec<f32> = (0..60).map(|i| 1.0 + 0.37 * (i % 7) as f32).collect();
        for s in [None, Some(&s[..])] {
            // The oracle sees exact integers instead.
            let about = |p: &(f64, f64)| ((p.0 - f64::from(sign) * 1000.0) * 16384.0, p.1);
            let all: Vec<_> = sorted(&x, s).iter().map(about).collect();
            for k in 2..20 {
                let found = seed_cost(&x, s, k, Method::Exact) * 16384.0 * 16384.0;
                let least = quadratic(&all, k);
                assert!((found - least).abs() <= 1e-12 * least, "{found} {least}");
            }
        }
    }
}

proptest! {
    /// Runs without any weight are split as if every column weighed 1.
    #[test]
    fn runs_without_weight_are_split_best(idle in prop::collection::vec(1_i8..60, 3..50)) {
        let mut x: Vec<f32> = idle.iter().map(|&v| f32::from(v)).collect();
        let mut s = vec![0.0; x.len()];
        x.extend([-5.0, -4.0]);
        s.extend([1.0, 2.0]);
        let worker = loaded(&x, Some(&s));
        let n = worker.row.len() as u32;
        prop_assume!(n >= 5);
        let mut parent = Runs { borders: vec![0, 2, n], centroids: Vec::new() };
        parent.seeded(&worker.row);
        let all: Vec<_> = sorted(&x[..idle.len()], None);
        let (found, mean) = (parent.centroids[1], centroid(&all));
        prop_assert!((found - mean).abs() <= f64::EPSILON * 50.0 * mean, "{found} {mean}");
        for method in [Method::Exact, Method::Fast] {
            let mut child = Runs::default();
            child.split(&worker.row, &worker.inverses, method, &parent);
            let found = worker.row.columns(2, child.borders[3] as usize).len();
            let least = (1..all.len())
                .map(|d| cost(&all[..d]) + cost(&all[d..]))
                .fold(f64::INFINITY, f64::min);
            let found = cost(&all[..found]) + cost(&all[found..]);
            prop_assert!((found - least).abs() <= 1e-12 * least, "{found} {least}");
        }
    }
}

/// Weights this small leave few digits of a run's sums: the centroid may be imprecise, but never
/// outside its run, and exact where a single value weighs.
#[test]
fn centroids_stay_inside_their_runs() {
    let x = [-1.0, 1.0, 1e4, 1e4_f32.next_up()];
    for i in 1..500 {
        let light = 2.8e-9 + 1e-12 * i as f32;
        for s in [[1e-3, 3.0, light, 1e-14], [1e-3, 3.0, 1e-14, light], [1e-3, 3.0, light, 0.0]] {
            let row = loaded(&x, Some(&s)).row;
            let mean = row.centroid(2, 4);
            assert!((row.x[2]..=row.x[3]).contains(&mean), "{mean}");
            if s[3] == 0.0 {
                assert_eq!(mean, 1e4);
            }
        }
    }
}

/// Where Lloyd's steps end, no border can move: it lies between its values' midpoint neighbours.
#[test]
fn fast_seeds_are_fixed_points() {
    for seed in 0..30 {
        let (x, mut s) = heavy(seed, 60);
        // A border among values without weight is at rest wherever it is.
        s.iter_mut().for_each(|s| *s = s.max(1e-9));
        for s in [None, Some(&s[..])] {
            let mut worker = loaded(&x, s);
            let Runs { borders, centroids } = worker.seed(Method::Fast, 8);
            let (borders, centroids) = (borders.clone(), centroids.clone());
            for (q, &b) in borders[1..8].iter().enumerate() {
                let middle = f64::midpoint(centroids[q], centroids[q + 1]);
                let (left, right) = (worker.row.x[b as usize - 1], worker.row.x[b as usize]);
                assert!(left <= middle && middle <= right, "{left} {middle} {right}");
            }
        }
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
