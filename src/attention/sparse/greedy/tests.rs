use super::*;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use rand_distr::{Distribution as _, StandardNormal};
use std::collections::BTreeSet;

type Columns = Vec<Vec<(i64, u32)>>;

/// Columns of products of every row, from the largest.
fn sorted(products: &[Vec<i64>]) -> Columns {
    let column = |products: &Vec<i64>| {
        let mut column: Vec<_> = products.iter().copied().zip(0u32..).collect();
        column.sort_by_key(|(product, row)| (std::cmp::Reverse(*product), *row));
        column
    };
    products.iter().map(column).collect()
}

/// Small integers of one of several kinds, so that there are ties and zeros.
fn random(rng: &mut StdRng) -> (Columns, usize, u64) {
    let (rows, dim) = (rng.random_range(0..9usize), rng.random_range(1..5usize));
    let kind = rng.random_range(0..7);
    let equal = rng.random_range(-3..=3i64);
    let mut product = || match kind {
        0 => rng.random_range(-3..=3i64),
        1 => rng.random_range(-1000..=1000),
        2 => rng.random_range(-2..=9),
        3 => rng.random_range(-9..=2),
        4 => equal,
        5 => -rng.random_range(1..=5),
        _ => rng.random_range(-1..=1) * rng.random_range(0..=1) * 7,
    };
    let columns: Vec<Vec<_>> = (0..dim).map(|_| (0..rows).map(|_| product()).collect()).collect();
    // Beyond all elements too.
    let steps = rng.random_range(0..(rows * dim + 4) as u64);
    (sorted(&columns), rows, steps)
}

#[test]
fn thresholds_find_what_the_queue_finds() {
    let mut rng = StdRng::seed_from_u64(1);
    let (mut skipped, mut beyond, mut cheaper) = (0, 0, 0);
    for instance in 0..20_000 {
        let (columns, rows, steps) = random(&mut rng);
        let expected = search(&columns, rows, steps);
        let taken = plan(&columns, steps, Low::Exact);
        assert_eq!(taken.found(&columns, rows), expected, "{instance}: {steps} of {columns:?}");
        let cheap = plan(&columns, steps, Low::Cheap);
        assert!(cheap.low_steps >= expected.low_steps, "{instance}: {steps} of {columns:?}");
        assert_eq!(cheap.highest, expected.highest);
        let elements = (columns.len() * rows) as u64;
        assert!(cheap.low_steps <= steps.min(elements));
        skipped += usize::from(expected.low_steps < steps.min(elements));
        beyond += usize::from(steps > elements);
        cheaper += usize::from(cheap.low_steps > expected.low_steps);
    }
    // All of it occurs.
    assert!(skipped > 1000 && beyond > 1000 && cheaper > 10, "{skipped} {beyond} {cheaper}");
}

/// The cheap form from its definition: all elements in order, and sums of them.
#[test]
fn the_cheap_form_is_what_the_total_allows() {
    let mut rng = StdRng::seed_from_u64(2);
    for _ in 0..5000 {
        let (columns, _, steps) = random(&mut rng);
        let elements = columns.iter().flatten().map(|(product, _)| *product);
        let mut magnitudes: Vec<_> = elements.clone().map(|product| (-product).max(0)).collect();
        magnitudes.sort_unstable_by(|a, b| b.cmp(a));
        let mut largest: Vec<_> = elements.map(|product| product.max(0)).collect();
        largest.sort_unstable_by(|a, b| b.cmp(a));
        let sum: i64 = largest.iter().take(steps as usize).sum();
        let allowed = |m: &usize| magnitudes[..m - 1].iter().sum::<i64>() <= sum;
        let most = (1..=magnitudes.len()).rev().find(allowed).unwrap_or(0) as u64;
        assert_eq!(plan(&columns, steps, Low::Cheap).low_steps, most.min(steps));
    }
}

#[test]
fn without_the_rule_all_elements_make_dot_products() {
    let mut rng = StdRng::seed_from_u64(3);
    for _ in 0..500 {
        let (columns, rows, _) = random(&mut rng);
        let steps = (columns.len() * rows) as u64;
        let found = plan(&columns, steps, Low::All).found(&columns, rows);
        let mut dots = vec![0; rows];
        columns.iter().flatten().for_each(|(product, row)| dots[*row as usize] += product);
        assert_eq!(found.hits, dots);
        assert_eq!(found.low_steps, steps);
    }
}

#[test]
fn both_forms_find_the_same_rows_of_normal_numbers() {
    let mut rng = StdRng::seed_from_u64(4);
    let normal = |rng: &mut StdRng| -> f32 { StandardNormal.sample(rng) };
    let (mut common, mut all) = (0, 0);
    for (rows, dim, share) in [(400, 32, 2), (400, 32, 8), (1000, 64, 2), (1000, 64, 8)] {
        for _ in 0..10 {
            let q: Vec<f32> = (0..dim).map(|_| normal(&mut rng)).collect();
            let keys: Vec<Vec<f32>> =
                (0..dim).map(|_| (0..rows).map(|_| normal(&mut rng)).collect()).collect();
            let largest = |column: &Vec<f32>| column.iter().fold(0.0f32, |a, k| a.max(k.abs()));
            let bounds: Vec<f32> = keys.iter().map(largest).collect();
            let grid = Grid::of(&q, &bounds).unwrap();
            let products = |(j, column): (usize, &Vec<f32>)| {
                let factor = grid.factor(q[j], bounds[j]);
                column.iter().map(|k| i64::from(Grid::product(factor, *k))).collect()
            };
            let columns = sorted(&keys.iter().enumerate().map(products).collect::<Vec<_>>());
            let [exact, cheap] = [Low::Exact, Low::Cheap].map(|low| {
                let taken = plan(&columns, rows as u64 / share, low);
                let found = taken.found(&columns, rows as usize).candidates();
                found.into_iter().collect::<BTreeSet<_>>()
            });
            common += exact.intersection(&cheap).count();
            all += exact.union(&cheap).count();
        }
    }
    assert!(common as f64 >= 0.999 * all as f64, "{common} of {all}");
}

#[test]
fn grids_are_as_fine_as_sums_allow() {
    // The largest product of all columns is 6, in 4..8: below 2^26 each of 8 columns.
    let grid = Grid::of(&[2.0, -1.0, 0.5, 0.0, 1.0, 1.0, 1.0, 1.0], &[3.0; 8]).unwrap();
    assert_eq!(grid.exponent, 23);
    assert_eq!(Grid::product(grid.factor(2.0, 3.0), -3.0), -6 << 23);
    assert_eq!(grid.factor(2.0, 0.0), 0.0);
    // Ties to even.
    assert_eq!([0.5, 1.5, 2.5, -0.5, -1.5].map(|k| Grid::product(1.0, k)), [0, 2, 2, 0, -2]);
    // What is not searched.
    for (q, largest) in [
        ([0.0, 0.0], [1.0, 1.0]),
        ([1.0, 1.0], [0.0, 0.0]),
        ([f32::NAN, 1.0], [1.0, 1.0]),
        ([f32::INFINITY, 1.0], [0.0, 1.0]),
        ([f32::MAX, 1.0], [2.0, 1.0]),
        ([1.0, 1.0], [f32::INFINITY, 1.0]),
        // Subnormal, though the product is not; and a product that is.
        ([f32::MIN_POSITIVE / 4.0, 0.0], [1024.0, 1.0]),
        ([f32::MIN_POSITIVE, 0.0], [0.75, 1.0]),
    ] {
        assert_eq!(Grid::of(&q, &largest), None, "{q:?} {largest:?}");
    }
    assert_eq!(Grid::of(&[f32::MAX, 1.0], &[1.0; 2]), Some(Grid { exponent: 27 - 127 }));
    assert_eq!(Grid::of(&[f32::MIN_POSITIVE, 0.0], &[1.0; 2]), Some(Grid { exponent: 126 }));
    let tiny = Grid { exponent: 126 };
    assert_eq!(tiny.factor(f32::MIN_POSITIVE / 2.0, 1.0), 0.0);
}

/// The sum stays below 0, so that the low side waits for ever.
#[test]
fn a_search_ends_however_many_steps_it_may_take() {
    let columns = vec![vec![(1, 0), (-5, 1), (-9, 2)]];
    let found = search(&columns, 3, u64::MAX);
    assert_eq!((&found.hits[..], found.low_steps), (&[1, 0, -9][..], 1));
    assert_eq!(plan(&columns, u64::MAX, Low::Exact).found(&columns, 3), found);
}
