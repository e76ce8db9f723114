//! Upscaling by one bit: every run is split once.

use super::Method;
use super::argmin::{Inverses, best_split};
use super::prefix::Row;

/// The runs of one width: `2^bits + 1` borders and `2^bits` centroids, both never decreasing.
#[derive(Default)]
pub(super) struct Runs {
    pub(super) borders: Vec<u32>,
    pub(super) centroids: Vec<f64>,
}

impl Runs {
    /// Sets the centroids of seed runs; an empty run takes that of the run before it.
    pub(super) fn seeded(&mut self, row: &Row) {
        let mut last = row.x[0];
        self.centroids.clear();
        self.centroids.extend(self.borders.iter().zip(&self.borders[1..]).map(|(&a, &c)| {
            if a < c {
                last = row.centroid(a as usize, c as usize);
            }
            last
        }));
    }

    /// Splits every run of `parent` once: cluster q becomes 2q and 2q + 1.
    pub(super) fn split(&mut self, row: &Row, inverses: &Inverses, method: Method, parent: &Self) {
        self.borders.clear();
        self.centroids.clear();
        self.borders.push(0);
        let runs = parent.borders.iter().zip(&parent.borders[1..]);
        for ((&a, &c), &inherited) in runs.zip(&parent.centroids) {
            let (a, c) = (a as usize, c as usize);
            let d = border(row, inverses, method, a, c);
            let left = if a < d { row.centroid(a, d) } else { inherited };
            let right = if d < c { row.centroid(d, c) } else { inherited };
            self.borders.extend([d as u32, c as u32]);
            self.centroids.extend([left, right]);
        }
    }
}

/// Where to split `[a, c)`: `a` or `c` when one child stays empty.
fn border(row: &Row, inverses: &Inverses, method: Method, a: usize, c: usize) -> usize {
    match (c - a, row.solid(a, c)) {
        (0, _) => a,
        (1, _) => c,
        (2, _) => a + 1,
        (_, 0) => plain_border(row, a, c),
        // A second entry would serve only values that do not matter.
        (_, 1) => c,
        _ => match method {
            Method::Exact => best_split(row, inverses, a, c).0,
            Method::Fast => midpoint_border(row, a, c),
        },
    }
}

/// The reference's rule: a border with the midpoint of both centroids between its neighbours, a
/// fixed point of Lloyd's step, found by bisection.
fn midpoint_border(row: &Row, a: usize, c: usize) -> usize {
    let (mut low, mut high) = (a + 1, c - 1);
    while low < high {
        let d = low.midpoint(high);
        let middle = f64::midpoint(row.centroid(a, d), row.centroid(d, c));
        if middle < row.x[d - 1] {
            // d > low here: the left run would be the single value x[low - 1] otherwise, and no
            // midpoint lies below that.
            high = d - 1;
        } else if middle > row.x[d] {
            low = d + 1;
        } else {
            return d;
        }
    }
    low
}

/// The best border of a run without weight, as if every column weighed 1.
fn plain_border(row: &Row, a: usize, c: usize) -> usize {
    // Rare enough (a run of pruned or never activated inputs) for sums of its own.
    let origin = row.x[a];
    let grow = |(mass, first): (f64, f64), at: usize| {
        (mass + row.copies(at), first + row.copies(at) * (row.x[at] - origin))
    };
    let (mass, first) = (a..c).fold((0.0, 0.0), grow);
    let mut left = (0.0, 0.0);
    let mut best = (f64::NEG_INFINITY, a + 1);
    for d in a + 1..c {
        left = grow(left, d - 1);
        // The squares of the values are in every candidate; what the centroids explain differs.
        let right = (mass - left.0, first - left.1);
        let explained = left.1 * left.1 / left.0 + right.1 * right.1 / right.0;
        if explained > best.0 {
            best = (explained, d);
        }
    }
    best.1
}
