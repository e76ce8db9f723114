//! Attention in the arithmetic of A^3's hardware, bit for bit: to see what its few bits cost, and for processors
//! that would rather not multiply floats. It is no faster on a GPU, whose `exp2` is native.
//!
//! One query and one head. The query is scaled already.
//! 1. Queries, keys and values are rounded to [`FixedPoint`] numbers of `i` bits before the point, `f` after it
//!    and a sign, to nearest, ties to even, saturating; the paper's `i` and `f` are 4.
//! 2. The greedy search is [`search`] with the products of these integers.
//! 3. Logits of candidates are exact sums of products: `2 f` bits after the point. A candidate stays whose
//!    logit is below the largest by no more than `floor(2^(2 f) ln(1 / T))`; `T` = 0 keeps all. Without
//!    candidates all rows are attended to.
//! 4. `x`, the largest logit less the row's, is rounded to Q8.8, half up, and is at most 65,535 / 256: the
//!    rounding moves `e^-x` by a relative `e^(2^-9) - 1` = 0.2 % at most.
//! 5. `w = e^-x` is a product of two table entries, [`FloatTables`] or [`IntegerTables`].
//! 6. The output is the sum of `w v` over the sum of `w`, rows ascending: in f32, each step rounded; or in
//!    integers, `(sum of w v) 2^f / (sum of w)` rounded toward 0, with `2 f` bits after the point. Sums of
//!    integers are of 64 bits (their product with `2^f` of more): at `i = f = 4` 32 are not enough for more than 128 rows of equal weight.
//!
//! Source: "A^3: Accelerating Attention Mechanisms in Neural Networks with Approximation", Ham et al., HPCA
//! 2020, arXiv 2002.10941; roundings that the paper leaves open are this project's.

mod exponent;
#[cfg(test)]
mod tests;

pub use exponent::{FloatTables, IntegerTables};

use super::greedy::search;
use super::{Amount, Selection};
use crate::{Error, Result};

/// Numbers of a sign and so many bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FixedPoint {
    /// Bits before the point: `i`.
    pub integer: u32,
    /// Bits after it: `f`.
    pub fraction: u32,
}

/// The paper's.
impl Default for FixedPoint {
    fn default() -> Self {
        Self { integer: 4, fraction: 4 }
    }
}

impl FixedPoint {
    fn check(&self) -> Result<()> {
        let bits = self.integer.saturating_add(self.fraction);
        match (1..=15).contains(&bits) {
            true => Ok(()),
            false => Err(Error::range("bits of fixed-point numbers", "1..=15", bits)),
        }
    }

    /// The integer that a number is rounded to; its value is that over `2^f`. NaN is 0.
    pub fn round(&self, x: f32) -> i32 {
        let [integer, fraction] = [self.integer, self.fraction].map(f64::from);
        // Powers of two are exact; beyond 31 bits i32 saturates.
        let largest = (integer + fraction).exp2() - 1.0;
        let x = f64::from(x) * fraction.exp2();
        x.round_ties_even().clamp(-largest, largest) as i32
    }

    fn rows(&self, what: &str, dim: usize, of: &[f32]) -> Result<Vec<i32>> {
        if let Some(at) = of.iter().position(|x| x.is_nan()) {
            let (row, col, rule) = (at / dim, at % dim, "must be a number");
            return Err(Error::Value { what: what.to_owned(), row, col, value: f64::NAN, rule });
        }
        Ok(of.iter().map(|x| self.round(*x)).collect())
    }
}

/// What weights and sums are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Exponent {
    /// f32.
    #[default]
    Float,
    /// Integers alone.
    Integer,
}

/// Attention of one head in fixed point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hardware {
    /// Of queries, keys and values.
    pub format: FixedPoint,
    /// Iterations of the search.
    pub steps: Amount,
    /// The share of the largest weight that a row must have to stay, 0 to 1.
    pub keep: f64,
    /// What weights and sums are made of.
    pub exponent: Exponent,
}

/// What it gives.
#[derive(Debug, Clone, PartialEq)]
pub struct HardwareOutcome {
    /// `[D]`.
    pub o: Vec<f32>,
    /// Rows that were scored, ascending.
    pub candidates: Vec<u32>,
    /// Rows that were attended to, ascending.
    pub kept: Vec<u32>,
    /// Whether nothing was found, and all rows were scored.
    pub fallback: bool,
}

impl Hardware {
    /// Attention of `q [D]`, scaled, to `keys [n, D]` and `values [n, D]`; 0 without rows.
    ///
    /// # Errors
    /// [`Error::Range`] for fixed-point numbers of no bits or more than 15, a share outside 0 to 1 and a
    /// fraction of steps that is none; [`Error::Shape`] for no columns and lengths that are not whole rows or
    /// differ; [`Error::Value`] for NaN.
    pub fn attend(&self, q: &[f32], keys: &[f32], values: &[f32]) -> Result<HardwareOutcome> {
        let Self { format, steps, keep, .. } = *self;
        format.check()?;
        let dim = q.len();
        Selection::Greedy { steps, keep, exact: true }.check(0)?;
        if dim == 0 || !keys.len().is_multiple_of(dim) {
            return Err(Error::shape("length of keys", format!("a multiple of {dim}"), keys.len()));
        }
        if values.len() != keys.len() {
            return Err(Error::shape("length of values", keys.len(), values.len()));
        }
        let rows = u32::try_from(keys.len() / dim)
            .map_err(|_| Error::range("rows", format!("0..={}", u32::MAX), keys.len() / dim))?;
        let q = format.rows("queries", dim, q)?;
        let keys = format.rows("keys", dim, keys)?;
        let values = format.rows("values", dim, values)?;
        let walks: Vec<Vec<(i64, u32)>> = (0..dim).map(|j| walk(&q, &keys, j)).collect();
        let mut candidates = search(&walks, rows as usize, steps.of(rows)).candidates();
        let fallback = candidates.is_empty();
        if fallback {
            candidates = (0..rows).collect();
        }
        let logit = |row: &u32| -> i64 {
            let key = &keys[*row as usize * dim..(*row as usize + 1) * dim];
            key.iter().zip(&q).map(|(k, q)| i64::from(*k) * i64::from(*q)).sum()
        };
        let logits: Vec<i64> = candidates.iter().map(logit).collect();
        let largest = logits.iter().copied().max().unwrap_or(0);
        let most = match keep > 0.0 && !fallback {
            // Saturates.
            true => (-keep.ln() * f64::from(1u32 << (2 * format.fraction))).floor() as i64,
            false => i64::MAX,
        };
        let kept = candidates.iter().zip(&logits).filter(|(_, x)| largest - **x <= most);
        let kept: Vec<(u32, u16)> =
            kept.map(|(row, x)| (*row, to_q8_8(largest - x, 2 * format.fraction))).collect();
        let o = self.output(&kept, &values, dim);
        let kept = kept.into_iter().map(|(row, _)| row).collect();
        Ok(HardwareOutcome { o, candidates, kept, fallback })
    }

    fn output(&self, kept: &[(u32, u16)], values: &[i32], dim: usize) -> Vec<f32> {
        if kept.is_empty() {
            return vec![0.0; dim];
        }
        let row = |row: u32| &values[row as usize * dim..(row as usize + 1) * dim];
        match self.exponent {
            Exponent::Float => {
                let tables = FloatTables::new();
                let unit = (1u32 << self.format.fraction) as f32;
                let (mut sum, mut o) = (0.0f32, vec![0.0f32; dim]);
                for &(at, x) in kept {
                    let weight = tables.power(x);
                    sum += weight;
                    o.iter_mut().zip(row(at)).for_each(|(o, v)| *o += weight * (*v as f32 / unit));
                }
                o.iter().map(|o| o / sum).collect()
            }
            Exponent::Integer => {
                let tables = IntegerTables::new();
                let (mut sum, mut o) = (0i64, vec![0i64; dim]);
                for &(at, x) in kept {
                    let weight = i64::from(tables.power(x));
                    sum += weight;
                    o.iter_mut().zip(row(at)).for_each(|(o, v)| *o += weight * i64::from(*v));
                }
                // The row with the largest logit has a weight of 65,534.
                let unit = (1u64 << (2 * self.format.fraction)) as f32;
                // Sums of 2^17 rows and more leave no room for the fraction in 64 bits.
                let over = |o: &i64| (i128::from(*o) << self.format.fraction) / i128::from(sum);
                o.iter().map(|o| over(o) as f32 / unit).collect()
            }
        }
    }
}

/// Products and rows of a column, from the largest product to the smallest, equal ones as an index has them.
fn walk(q: &[i32], keys: &[i32], j: usize) -> Vec<(i64, u32)> {
    let mut column: Vec<(i32, u32)> =
        keys.iter().skip(j).step_by(q.len()).copied().zip(0..).collect();
    column.sort_unstable();
    if q[j] >= 0 {
        column.reverse();
    }
    column.iter().map(|(k, row)| (i64::from(*k) * i64::from(q[j]), *row)).collect()
}

/// Q8.8 of a difference from 0 with so many bits after the point.
fn to_q8_8(x: i64, fraction: u32) -> u16 {
    let x = match fraction.checked_sub(8) {
        None => x << (8 - fraction),
        Some(0) => x,
        Some(shift) => (x + (1 << (shift - 1))) >> shift,
    };
    // At most 65,535.
    x.min(0xffff) as u16
}
