//! The least of many values, as loops that vectorise without `unsafe`.

use super::prefix::{Row, run_cost};

/// Values made at a time: independent, so that divisions overlap.
pub(super) const LANES: usize = 8;

/// Values to choose from. A trait rather than closures: only functions can insist on being inlined.
trait Costs {
    /// Values `LANES * k ..`, the same to the bit as `one` makes them.
    fn block(&self, k: usize) -> [f64; LANES];

    /// Value `i`.
    fn one(&self, i: usize) -> f64;
}

/// The smallest of `len` values and the lowest index that has it; `(0, infinity)` if none is
/// finite.
#[inline(always)]
fn argmin(len: usize, costs: &impl Costs) -> (usize, f64) {
    let mut best = f64::INFINITY;
    let mut at = 0;
    let blocks = len / LANES;
    for k in 0..blocks {
        let [p, q, r, s, t, u, v, w] = costs.block(k);
        let low = lower(lower(lower(p, t), lower(r, v)), lower(lower(q, u), lower(s, w)));
        at = if low < best { k } else { at };
        best = lower(low, best);
    }
    if blocks > 0 {
        // Only the block is known so far. Making it anew is cheaper than keeping positions.
        let block = costs.block(at);
        at *= LANES;
        at += (0..LANES).rev().fold(0, |low, l| if block[l] == best { l } else { low });
    }
    for i in blocks * LANES..len {
        let v = costs.one(i);
        if v < best {
            best = v;
            at = i;
        }
    }
    (at, best)
}

#[inline(always)]
fn lower(a: f64, b: f64) -> f64 {
    if a < b { a } else { b }
}

/// Reciprocals of run lengths, so that rows without weights need no division.
#[derive(Default)]
pub(super) struct Inverses {
    /// `up[i]` is 1 / i.
    up: Vec<f64>,
    /// `down[i]` is 1 / (len - i).
    down: Vec<f64>,
}

impl Inverses {
    /// Makes ready for runs of up to `len` values.
    pub(super) fn fit(&mut self, len: usize) {
        if self.up.len() <= len {
            self.up = (0..=len).map(|i| 1.0 / i as f64).collect();
            self.down = self.up.iter().rev().copied().collect();
        }
    }

    /// 1 / (i - a) for i in `from..to`, a < from.
    fn rising(&self, a: usize, from: usize, to: usize) -> &[f64] {
        &self.up[from - a..to - a]
    }

    /// 1 / (c - i) for i in `from..to`, to <= c.
    fn falling(&self, c: usize, from: usize, to: usize) -> &[f64] {
        let len = self.down.len() - 1;
        &self.down[len - (c - from)..len - (c - to)]
    }
}

/// The best start `i` in `[from, to)` of a last run `[i, end)`: least `before[i]` + cost, and that
/// sum. Lowest `i` on ties.
#[inline]
pub(super) fn best_start(
    row: &Row,
    inverses: &Inverses,
    before: &[f64],
    (from, to): (usize, usize),
    end: usize,
) -> (usize, f64) {
    let (i, cost) = if row.unit {
        let mass = inverses.falling(end, from, to);
        start_in::<true>(row, mass, before, (from, to), end)
    } else {
        start_in::<false>(row, &row.mass[from..to], before, (from, to), end)
    };
    (from + i, cost)
}

#[inline(always)]
fn start_in<const UNIT: bool>(
    row: &Row,
    mass: &[f64],
    before: &[f64],
    (from, to): (usize, usize),
    end: usize,
) -> (usize, f64) {
    let (m1, f1, s1) = (row.mass[end], row.first[end], row.second[end]);
    let len = to - from;
    let (before, mass) = (&before[from..to], &mass[..len]);
    let (first, second) = (&row.first[from..to], &row.second[from..to]);
    let (b8, m8) = (before.as_chunks().0, mass.as_chunks().0);
    let (f8, s8) = (first.as_chunks().0, second.as_chunks().0);
    let costs = Starts::<UNIT> {
        end: [m1, f1, s1],
        one: (before, mass, first, second),
        block: (b8, m8, f8, s8),
    };
    argmin(len, &costs)
}

/// Values of one kind for each candidate, and the same in blocks.
type Column<'a> = &'a [f64];
type Blocks<'a> = &'a [[f64; LANES]];

/// Costs up to `end` by the last run's start.
struct Starts<'a, const UNIT: bool> {
    end: [f64; 3],
    one: (Column<'a>, Column<'a>, Column<'a>, Column<'a>),
    block: (Blocks<'a>, Blocks<'a>, Blocks<'a>, Blocks<'a>),
}

impl<const UNIT: bool> Starts<'_, UNIT> {
    #[inline(always)]
    fn cost(&self, before: f64, mass: f64, first: f64, second: f64) -> f64 {
        let [m, f, s] = self.end;
        before + run_cost::<UNIT>(if UNIT { mass } else { m - mass }, f - first, s - second)
    }
}

impl<const UNIT: bool> Costs for Starts<'_, UNIT> {
    #[inline(always)]
    fn block(&self, k: usize) -> [f64; LANES] {
        let (b, m, f, s) = self.block;
        let (b, m, f, s) = (&b[k], &m[k], &f[k], &s[k]);
        std::array::from_fn(|l| self.cost(b[l], m[l], f[l], s[l]))
    }

    #[inline(always)]
    fn one(&self, i: usize) -> f64 {
        let (b, m, f, s) = self.one;
        self.cost(b[i], m[i], f[i], s[i])
    }
}

/// [`best_start`] for each of the ends `end..end + LANES`, all with starts in `[from, to)`,
/// `to <= end`. Positions are whole numbers in `f64`, to be selected in the same registers.
#[inline]
pub(super) fn best_starts(
    row: &Row,
    inverses: &Inverses,
    before: &[f64],
    range: (usize, usize),
    end: usize,
) -> ([f64; LANES], [f64; LANES]) {
    if row.unit {
        starts_in::<true>(row, &inverses.up, before, range, end)
    } else {
        starts_in::<false>(row, &row.mass, before, range, end)
    }
}

#[inline(always)]
fn starts_in<const UNIT: bool>(
    row: &Row,
    mass: &[f64],
    before: &[f64],
    (from, to): (usize, usize),
    end: usize,
) -> ([f64; LANES], [f64; LANES]) {
    let mut at = [0.0; LANES];
    let mut best = [f64::INFINITY; LANES];
    let (before, first) = (&before[from..to], &row.first[from..to]);
    let second = &row.second[from..to];
    // Two at a time, which is what a baseline register holds.
    for (pair, (at, best)) in
        at.as_chunks_mut::<2>().0.iter_mut().zip(best.as_chunks_mut::<2>().0).enumerate()
    {
        let end = end + 2 * pair;
        let two = |sums: &[f64]| [sums[end], sums[end + 1]];
        let (m1, f1, s1) = (two(&row.mass), two(&row.first), two(&row.second));
        // Reciprocals of both lengths: the further the start, the shorter.
        let mass = if UNIT { &mass[end + 1 - to..end + 2 - from] } else { &mass[from..to] };
        let (mut a, mut b) = ([0.0; 2], [f64::INFINITY; 2]);
        let mut position = from as f64;
        for (i, ((&d, &f), &s)) in before.iter().zip(first).zip(second).enumerate() {
            for l in 0..2 {
                let m = if UNIT { mass[mass.len() - 2 - i + l] } else { m1[l] - mass[i] };
                let v = d + run_cost::<UNIT>(m, f1[l] - f, s1[l] - s);
                let less = v < b[l];
                b[l] = if less { v } else { b[l] };
                a[l] = if less { position } else { a[l] };
            }
            position += 1.0;
        }
        (*at, *best) = (a, b);
    }
    (at, best)
}

/// The best border `d` in `(a, c)`: least cost of `[a, d)` and `[d, c)` together, and that sum.
/// Lowest `d` on ties; the run holds at least two values.
#[inline]
pub(super) fn best_split(row: &Row, inverses: &Inverses, a: usize, c: usize) -> (usize, f64) {
    let (from, to) = (a + 1, c);
    let (d, cost) = if row.unit {
        let left = inverses.rising(a, from, to);
        let right = inverses.falling(c, from, to);
        split_in::<true>(row, left, right, a, c)
    } else {
        let mass = &row.mass[from..to];
        split_in::<false>(row, mass, mass, a, c)
    };
    (from + d, cost)
}

#[inline(always)]
fn split_in<const UNIT: bool>(
    row: &Row,
    left: &[f64],
    right: &[f64],
    a: usize,
    c: usize,
) -> (usize, f64) {
    let (m0, f0, s0) = (row.mass[a], row.first[a], row.second[a]);
    let (m1, f1, s1) = (row.mass[c], row.first[c], row.second[c]);
    let len = c - a - 1;
    let (left, right) = (&left[..len], &right[..len]);
    let (first, second) = (&row.first[a + 1..c], &row.second[a + 1..c]);
    let (l8, r8) = (left.as_chunks().0, right.as_chunks().0);
    let (f8, s8) = (first.as_chunks().0, second.as_chunks().0);
    let costs = Splits::<UNIT> {
        start: [m0, f0, s0],
        end: [m1, f1, s1],
        one: (left, right, first, second),
        block: (l8, r8, f8, s8),
    };
    argmin(len, &costs)
}

/// Costs of a run's two children by the border between them.
struct Splits<'a, const UNIT: bool> {
    start: [f64; 3],
    end: [f64; 3],
    one: (Column<'a>, Column<'a>, Column<'a>, Column<'a>),
    block: (Blocks<'a>, Blocks<'a>, Blocks<'a>, Blocks<'a>),
}

impl<const UNIT: bool> Splits<'_, UNIT> {
    #[inline(always)]
    fn cost(&self, left: f64, right: f64, first: f64, second: f64) -> f64 {
        let ([m0, f0, s0], [m1, f1, s1]) = (self.start, self.end);
        run_cost::<UNIT>(if UNIT { left } else { left - m0 }, first - f0, second - s0)
            + run_cost::<UNIT>(if UNIT { right } else { m1 - right }, f1 - first, s1 - second)
    }
}

impl<const UNIT: bool> Costs for Splits<'_, UNIT> {
    #[inline(always)]
    fn block(&self, k: usize) -> [f64; LANES] {
        let (l, r, f, s) = self.block;
        let (l, r, f, s) = (&l[k], &r[k], &f[k], &s[k]);
        std::array::from_fn(|i| self.cost(l[i], r[i], f[i], s[i]))
    }

    #[inline(always)]
    fn one(&self, i: usize) -> f64 {
        let (l, r, f, s) = self.one;
        self.cost(l[i], r[i], f[i], s[i])
    }
}
