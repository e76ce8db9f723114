//! The least of many values, as loops that vectorise without `unsafe`.

use super::prefix::{Row, run_cost};

/// Values made at a time: independent, so that divisions overlap.
pub(super) const LANES: usize = 8;

/// The smallest of `len` values and the lowest index that has it; `(0, infinity)` if none is
/// finite.
///
/// `block(b)` makes the values `LANES * b ..`, `single(i)` one value; both must agree to the bit.
#[inline(always)]
fn argmin(
    len: usize,
    block: impl Fn(usize) -> [f64; LANES],
    single: impl Fn(usize) -> f64,
) -> (usize, f64) {
    let mut best = f64::INFINITY;
    let mut at = 0;
    let blocks = len / LANES;
    for b in 0..blocks {
        let [p, q, r, s, t, u, v, w] = block(b);
        let low = lower(lower(lower(p, t), lower(r, v)), lower(lower(q, u), lower(s, w)));
        if low < best {
            best = low;
            at = b * LANES;
        }
    }
    if best < f64::INFINITY {
        // Only the block is known so far. Making it anew is cheaper than keeping positions.
        at = (at..at + LANES).find(|&i| single(i) == best).unwrap_or(at);
    }
    for i in blocks * LANES..len {
        let v = single(i);
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
    let cost = |b: f64, m: f64, f: f64, s: f64| {
        b + run_cost::<UNIT>(if UNIT { m } else { m1 - m }, f1 - f, s1 - s)
    };
    let (b8, m8) = (before.as_chunks::<LANES>().0, mass.as_chunks::<LANES>().0);
    let (f8, s8) = (first.as_chunks::<LANES>().0, second.as_chunks::<LANES>().0);
    let block = |k: usize| {
        let (b, m, f, s) = (&b8[k], &m8[k], &f8[k], &s8[k]);
        std::array::from_fn(|l| cost(b[l], m[l], f[l], s[l]))
    };
    argmin(len, block, |i| cost(before[i], mass[i], first[i], second[i]))
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
    let cost = |l: f64, r: f64, f: f64, s: f64| {
        run_cost::<UNIT>(if UNIT { l } else { l - m0 }, f - f0, s - s0)
            + run_cost::<UNIT>(if UNIT { r } else { m1 - r }, f1 - f, s1 - s)
    };
    let (l8, r8) = (left.as_chunks::<LANES>().0, right.as_chunks::<LANES>().0);
    let (f8, s8) = (first.as_chunks::<LANES>().0, second.as_chunks::<LANES>().0);
    let block = |k: usize| {
        let (l, r, f, s) = (&l8[k], &r8[k], &f8[k], &s8[k]);
        std::array::from_fn(|i| cost(l[i], r[i], f[i], s[i]))
    };
    argmin(len, block, |i| cost(left[i], right[i], first[i], second[i]))
}
