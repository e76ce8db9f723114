//! The seed: exact weighted one-dimensional k-means by dynamic programming.

use super::argmin::{Inverses, LANES, best_start, best_starts};
use super::prefix::Row;

/// Most starts that a block of positions tries one and all.
const NARROW: usize = 24;

/// Reusable memory of the dynamic program.
#[derive(Default)]
pub(super) struct Seeder {
    /// Least cost of the first `j` values in the clusters so far.
    cost: Vec<f64>,
    /// The same with one cluster less.
    before: Vec<f64>,
    /// Start of the last cluster, `layers x (values + 1)`.
    opt: Vec<u32>,
}

impl Seeder {
    /// Fills `borders` (`k + 1` of them, first 0, last `row.len()`) with the runs of least total
    /// cost. A row of no more than `k` distinct values gets one run each and empty runs after.
    ///
    /// With `D_q[j]` the least cost of the first `j` values in `q` runs,
    /// `D_q[j] = min_i D_(q-1)[i] + cost(i, j)`. The best `i` never decreases with `j`, nor with
    /// `q`, so each layer is filled coarse to fine with every search fenced in by its neighbours:
    /// O(k n log n), see arXiv 2412.15295 and the works it builds on.
    pub(super) fn exact(&mut self, row: &Row, inverses: &Inverses, borders: &mut [u32]) {
        let (n, k) = (row.len(), borders.len() - 1);
        if n <= k || k == 1 {
            one_value_each(n, borders);
            return;
        }
        let width = n + 1;
        self.opt.resize(self.opt.len().max((k + 1) * width), 0);
        for costs in [&mut self.cost, &mut self.before] {
            costs.resize(costs.len().max(width), 0.0);
        }
        for j in 1..=n {
            self.cost[j] = row.cost(0, j);
        }
        self.opt[width..2 * width].fill(0);
        for q in 2..k {
            std::mem::swap(&mut self.cost, &mut self.before);
            // Later runs need one value each.
            self.layer(row, inverses, q, n - (k - q));
        }
        borders[0] = 0;
        borders[k] = n as u32;
        let from = (self.opt[(k - 1) * width + n] as usize).max(k - 1);
        let mut end = best_start(row, inverses, &self.cost, (from, n), n).0;
        for q in (1..k).rev() {
            borders[q] = end as u32;
            end = self.opt[q * width + end] as usize;
        }
    }

    /// Fills layer `q` for the prefixes `q..=top`, and `opt` one further as the next layer's fence.
    fn layer(&mut self, row: &Row, inverses: &Inverses, q: usize, top: usize) {
        let width = row.len() + 1;
        let (past, here) = self.opt.split_at_mut(q * width);
        let mut layer = Layer {
            row,
            inverses,
            before: &self.before,
            past: &past[(q - 1) * width..],
            cost: &mut self.cost,
            here: &mut here[..width],
            q,
            count: top - q + 1,
        };
        // Largest power of two that fits, then halves: at each stride both neighbours one stride
        // away are known, if they exist.
        let mut stride = 1 << layer.count.ilog2();
        while stride >= LANES {
            for at in (stride - 1..layer.count).step_by(2 * stride) {
                layer.one(at, stride);
            }
            stride /= 2;
        }
        for block in (0..layer.count).step_by(LANES) {
            layer.block(block);
        }
        here[top + 1] = here[top];
    }
}

/// One layer of the program while it is being filled. Positions count its prefixes from 0.
struct Layer<'a> {
    row: &'a Row,
    inverses: &'a Inverses,
    before: &'a [f64],
    past: &'a [u32],
    cost: &'a mut [f64],
    here: &'a mut [u32],
    q: usize,
    count: usize,
}

impl Layer<'_> {
    /// The starts worth trying for positions between two that are known, `first - 1` and `next`.
    fn fences(&self, first: usize, next: usize) -> (usize, usize) {
        let left = if first > 0 { self.here[self.q + first - 1] } else { 0 };
        let from = (left.max(self.past[self.q + first]) as usize).max(self.q - 1);
        let to = if next < self.count { self.here[self.q + next] as usize + 1 } else { usize::MAX };
        (from, to)
    }

    fn one(&mut self, at: usize, stride: usize) {
        let j = self.q + at;
        let (left, to) = self.fences(at + 1 - stride, at + stride);
        let from = left.max(self.past[j] as usize);
        // Rounding can cross the fences where costs tie; the lower one is a legal start.
        let to = to.min(j).max(from + 1);
        // Starts outside the fences are legal too, only worse; whole blocks are faster.
        let whole = to.saturating_sub((to - from).next_multiple_of(LANES));
        let from = whole.max(self.q - 1);
        let (i, cost) = best_start(self.row, self.inverses, self.before, (from, to), j);
        self.here[j] = i as u32;
        self.cost[j] = cost;
    }

    /// Fills positions `first..first + LANES`, of which the last is known already if it exists.
    fn block(&mut self, first: usize) {
        let j = self.q + first;
        if first + LANES <= self.count {
            // Most starts lie so close together that trying them all for all positions at once is
            // faster than the few that each position needs by itself.
            let (from, to) = self.fences(first, first + LANES - 1);
            if to <= j && from < to && to - from <= NARROW {
                let (i, cost) = best_starts(self.row, self.inverses, self.before, (from, to), j);
                for (here, i) in self.here[j..j + LANES].iter_mut().zip(i) {
                    *here = i as u32;
                }
                self.cost[j..j + LANES].copy_from_slice(&cost);
                return;
            }
        }
        let mut stride = LANES / 2;
        while stride > 0 {
            for at in (first + stride - 1..self.count.min(first + LANES - 1)).step_by(2 * stride) {
                self.one(at, stride);
            }
            stride /= 2;
        }
    }
}

/// One run for each of the `n <= k` values, then empty ones.
pub(super) fn one_value_each(n: usize, borders: &mut [u32]) {
    let last = borders.len() - 1;
    for (q, border) in borders.iter_mut().enumerate() {
        *border = if q == last { n as u32 } else { q.min(n) as u32 };
    }
}
