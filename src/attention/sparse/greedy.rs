//! The greedy search of A^3: which rows the largest and smallest products of single components point at.
//!
//! `P[i][j] = q[j] K[i][j]`, rounded once to a [`Grid`] of integers: every order, tie and sum below is that
//! of integers, so that no two devices can disagree. A *walk* of a column goes from its largest product to
//! its smallest; the other walk goes the other way. Total orders:
//! - of the largest: products descending, then columns ascending, then along the walk;
//! - of the smallest: products ascending, then columns ascending, then along the other walk.
//!
//! [`search`] is the definition, with a priority queue over the columns' heads; equal numbers of a column
//! are in the order of their rows, so the walk over a column that `q[j]` is negative for meets them
//! ascending, the other one descending.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The bits of products on a grid, and of their sums over a row: below `2^29`.
const BITS: i32 = 29;

/// Integers that products are rounded to: multiples of `2^-exponent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Products are multiplied by two to the power of it.
    pub exponent: i32,
}

impl Grid {
    /// The grid of a query, from the largest magnitude of every column: the finest on which a row's sum
    /// stays below `2^29`. None where all products are 0 (below 2^-126 in magnitude) or one may not be
    /// finite.
    pub fn of(q: &[f32], largest: &[f32]) -> Option<Self> {
        let products = q.iter().zip(largest).map(|(q, largest)| (q * largest).abs());
        let bound = products.fold(0.0f32, |a, b| if b > a || b.is_nan() { b } else { a });
        if !q.iter().all(|q| q.is_finite()) || !bound.is_finite() || !bound.is_normal() {
            return None;
        }
        let exponent = (bound.to_bits() >> 23) as i32 - 127;
        // 256 columns at most.
        let columns = q.len().next_power_of_two().trailing_zeros() as i32;
        Some(Self { exponent: (BITS - columns - 1 - exponent).min(126) })
    }

    /// What a column's numbers are multiplied by; 0 where all of them are.
    pub fn factor(&self, q: f32, largest: f32) -> f32 {
        // A power of two within f32: both bounds of the exponent are.
        let scale = f32::from_bits(((self.exponent + 127) as u32) << 23);
        if largest == 0.0 { 0.0 } else { q * scale }
    }

    /// A product: one rounding of f32, one to the nearest integer, ties to even.
    pub fn product(factor: f32, number: f32) -> i32 {
        (factor * number).round_ties_even() as i32
    }
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// What each row has got. Candidates are the rows above 0.
    pub hits: Vec<i64>,
    /// Elements of each column that were taken from the end of the largest products, positive ones only.
    pub highest: Vec<u32>,
    /// And from the other end, negative ones only.
    pub lowest: Vec<u32>,
    /// Steps on the side of the smallest products, those without effect included.
    pub low_steps: u64,
}

impl Found {
    /// Rows above 0, ascending.
    pub fn candidates(&self) -> Vec<u32> {
        let rows = self.hits.iter().enumerate().filter(|(_, hit)| **hit > 0);
        // Rows are counted by u32.
        rows.map(|(row, _)| row as u32).collect()
    }
}

/// The search, one step after the other. `columns[j]` are products and rows, from the largest product to the
/// smallest; `rows` is how many rows there are. Whether the low side may step is asked after the high side
/// has, in the same step.
pub fn search(columns: &[Vec<(i64, u32)>], rows: usize, steps: u64) -> Found {
    let mut found = Found {
        hits: vec![0; rows],
        highest: vec![0; columns.len()],
        lowest: vec![0; columns.len()],
        low_steps: 0,
    };
    let mut sum = 0i64;
    // A side's queue: the next product of every column, the best first, then columns ascending.
    let mut high: BinaryHeap<_> = (0..columns.len())
        .filter_map(|j| columns[j].first().map(|&(product, _)| (product, Reverse(j), 0usize)))
        .collect();
    let mut low: BinaryHeap<_> = (0..columns.len())
        .filter_map(|j| columns[j].last().map(|&(product, _)| (-product, Reverse(j), 0usize)))
        .collect();
    for _ in 0..steps {
        if high.is_empty() && low.is_empty() {
            break;
        }
        if let Some((product, Reverse(j), at)) = high.pop() {
            if product > 0 {
                found.hits[columns[j][at].1 as usize] += product;
                found.highest[j] += 1;
                sum += product;
            }
            if let Some(&(next, _)) = columns[j].get(at + 1) {
                high.push((next, Reverse(j), at + 1));
            }
        }
        if sum < 0 {
            continue;
        }
        if let Some((magnitude, Reverse(j), at)) = low.pop() {
            found.low_steps += 1;
            let column = &columns[j];
            if magnitude > 0 {
                found.hits[column[column.len() - 1 - at].1 as usize] -= magnitude;
                found.lowest[j] += 1;
                sum -= magnitude;
            }
            if let Some(&(next, _)) = column.len().checked_sub(at + 2).and_then(|i| column.get(i)) {
                low.push((-next, Reverse(j), at + 1));
            }
        }
    }
    found
}
