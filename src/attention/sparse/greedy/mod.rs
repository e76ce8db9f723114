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
//! ascending, the other one descending. [`plan`] finds the same without a queue, as kernels do: of every
//! column a run at either end.

mod parallel;
mod queue;
#[cfg(test)]
mod tests;

pub use parallel::{Low, Taken, plan};
pub use queue::{Found, search};

/// Bits of a row's sum of products on a grid: it is at most `2^29`.
pub(in crate::attention) const BITS: i32 = 29;

/// Bits of the number of columns, 256 at most: that of a row's products.
pub(in crate::attention) fn column_bits(columns: usize) -> i32 {
    columns.next_power_of_two().trailing_zeros() as i32
}

/// A component of a query: subnormal ones count as 0, as devices may take them.
fn flushed(q: f32) -> f32 {
    if q.is_subnormal() { 0.0 } else { q }
}

/// Integers that products are rounded to: multiples of `2^-exponent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Products are multiplied by two to the power of it.
    pub exponent: i32,
}

impl Grid {
    /// The grid of a query, from the largest magnitude of every column: the finest on which a row's sum
    /// is at most `2^29`. None where all products are 0 (below 2^-126 in magnitude) or one may not be
    /// finite.
    pub fn of(q: &[f32], largest: &[f32]) -> Option<Self> {
        let mut bound = 0.0f64;
        for (&q, &largest) in q.iter().zip(largest) {
            // Exact: 48 bits at most.
            let product = (f64::from(flushed(q)) * f64::from(largest)).abs();
            if !q.is_finite() || !product.is_finite() {
                return None;
            }
            bound = bound.max(product);
        }
        // No product of f32 is subnormal in f64.
        let exponent = (bound.to_bits() >> 52) as i32 - 1023;
        if !(-126..=127).contains(&exponent) {
            return None;
        }
        Some(Self { exponent: (BITS - column_bits(q.len()) - 1 - exponent).min(126) })
    }

    /// What a column's numbers are multiplied by; 0 where all of them are.
    pub fn factor(&self, q: f32, largest: f32) -> f32 {
        // A power of two within f32: both bounds of the exponent are.
        let scale = f32::from_bits(((self.exponent + 127) as u32) << 23);
        if largest == 0.0 { 0.0 } else { flushed(q) * scale }
    }

    /// A product: one rounding of f32, one to the nearest integer, ties to even.
    pub fn product(factor: f32, number: f32) -> i32 {
        (factor * number).round_ties_even() as i32
    }
}
