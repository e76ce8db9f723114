//! Hessians of a layer's output error, one for each group of outputs.
//!
//! The squared error that quantizing a row `w` of a linear layer causes at its output, over
//! calibration inputs `X[n, in]`, is `(w - q)^T H (w - q)` with `H = X^T X`. Weighting token `t` by
//! `s[t, k]`, the mean over the outputs of group `k` of the squared gradient of the end loss, makes
//! that the change of the end loss to second order: `H_k = X^T diag(s_k) X`. Source: "GuidedQuant:
//! Large Language Model Quantization via Exploiting End Loss Guidance", arXiv 2505.07004.

mod accumulate;
#[cfg(test)]
mod tests;

pub use accumulate::HessianAccumulator;
pub(crate) use accumulate::check_tokens;

use super::tiled_matrix::{SIDE, Tiles};
use crate::{Error, Result};

/// How far apart `H[i, j]` and `H[j, i]` may be, relative to `sqrt(H[i, i] * H[j, j])`.
const ASYMMETRY: f64 = 1e-3;

/// Symmetric matrices `H[groups, inputs, inputs]` of one layer.
///
/// Group `k` of `g` is that of the outputs `k * rows / g .. (k + 1) * rows / g`. Only upper
/// triangles are held, `inputs * (inputs + 1) / 2` numbers a group. A power of two common to all of
/// a layer's groups changes no codes and no tables; another factor may, by its rounding alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Hessian {
    name: String,
    inputs: usize,
    groups: usize,
    tokens: u64,
    /// `[groups, inputs * (inputs + 1) / 2]`: of row `i` the columns from `i` on.
    packed: Vec<f32>,
}

/// Numbers in one upper triangle.
pub(crate) fn triangle(inputs: usize) -> Option<usize> {
    inputs.checked_add(1)?.checked_mul(inputs).map(|twice| twice / 2)
}

fn group_name(group: usize) -> String {
    format!("Hessian of group {group}")
}

impl Hessian {
    /// Takes full matrices, row-major `[groups, inputs, inputs]`; `name` is the layer's name in
    /// every later error. Where a matrix is slightly asymmetric, `(H + H^T) / 2` counts.
    ///
    /// # Errors
    /// [`Error::Layer`] around [`Error::Shape`] for a size of 0 or matrices that are not square,
    /// and around [`Error::Value`], naming the group, for a number that is not finite, a negative
    /// diagonal, an asymmetry above a thousandth of `sqrt(H[i, i] * H[j, j])`, or a number beside a
    /// diagonal of 0 that is above a thousandth of the largest diagonal.
    pub fn from_full(name: &str, inputs: usize, groups: usize, full: &[f32]) -> Result<Self> {
        let checked = || {
            let count = inputs.checked_mul(inputs).and_then(|each| each.checked_mul(groups));
            check_length(inputs, groups, count, full.len())?;
            let mut packed = Vec::with_capacity(full.len() / 2 + groups * inputs);
            for (group, h) in full.chunks_exact(inputs * inputs).enumerate() {
                check_finite(group, h, |at| (at / inputs, at % inputs))?;
                for i in 0..inputs {
                    let upper = &h[i * inputs + i..(i + 1) * inputs];
                    for (j, &above) in (i..).zip(upper) {
                        let below = h[j * inputs + i];
                        let diagonal = |at: usize| f64::from(h[at * inputs + at]).abs();
                        let scale = (diagonal(i) * diagonal(j)).sqrt();
                        if (f64::from(above) - f64::from(below)).abs() > ASYMMETRY * scale {
                            let what = group_name(group);
                            let rule = "must equal its mirror image to 1e-3 of the diagonal";
                            let value = above.into();
                            return Err(Error::Value { what, row: i, col: j, value, rule });
                        }
                        packed.push(f32::midpoint(above, below));
                    }
                }
            }
            Ok(packed)
        };
        let packed = checked().map_err(|e: Error| e.in_layer(name))?;
        Self::from_packed(name, inputs, groups, 0, packed)
    }

    /// Takes upper triangles, `[groups, inputs * (inputs + 1) / 2]`, of row `i` the columns from
    /// `i` on. `tokens` says how many inputs they are sums over, 0 where that is not known.
    ///
    /// # Errors
    /// As [`Hessian::from_full`].
    pub fn from_packed(
        name: &str,
        inputs: usize,
        groups: usize,
        tokens: u64,
        packed: Vec<f32>,
    ) -> Result<Self> {
        let checked = || {
            let count = triangle(inputs).and_then(|each| each.checked_mul(groups));
            check_length(inputs, groups, count, packed.len())?;
            for (group, h) in packed.chunks_exact(packed.len() / groups).enumerate() {
                check_finite(group, h, |at| place(inputs, at))?;
                check_diagonal(group, inputs, h)?;
            }
            Ok(())
        };
        checked().map_err(|e: Error| e.in_layer(name))?;
        Ok(Self { name: name.to_owned(), inputs, groups, tokens, packed })
    }

    /// The layer's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Inputs of the layer.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Groups of outputs.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Calibration inputs that the matrices are sums over; 0 where that is not known.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// The same matrices, known to be sums over so many calibration inputs.
    #[cfg(feature = "safetensors")]
    pub(crate) fn with_tokens(self, tokens: u64) -> Self {
        Self { tokens, ..self }
    }

    /// All upper triangles, `[groups, inputs * (inputs + 1) / 2]`.
    pub fn packed(&self) -> &[f32] {
        &self.packed
    }

    /// One number, where the place exists.
    pub fn get(&self, group: usize, row: usize, col: usize) -> Option<f32> {
        let (i, j) = (row.min(col), row.max(col));
        let inside = group < self.groups && j < self.inputs;
        inside.then(|| self.group(group)[start(self.inputs, i) + j - i])
    }

    /// The diagonal of one group: how much a weight's squared error costs by itself. Empty where
    /// there is no such group.
    pub fn diagonal(&self, group: usize) -> Vec<f32> {
        (0..self.inputs).filter_map(|i| self.get(group, i, i)).collect()
    }

    /// The same layer with fewer groups: each is the mean of neighbours, which is what coarser
    /// sensitivities would have given.
    ///
    /// # Errors
    /// [`Error::Layer`] around [`Error::Shape`] when `groups` does not divide the groups there are.
    pub fn merge(&self, groups: usize) -> Result<Self> {
        if groups == 0 || !self.groups.is_multiple_of(groups) {
            let expected = format!("a divisor of {}: {}", self.groups, divisors(self.groups));
            return Err(Error::shape("groups", expected, groups).in_layer(&self.name));
        }
        let each = self.packed.len() / self.groups;
        let share = self.groups / groups;
        let mut packed = Vec::with_capacity(each * groups);
        for part in self.packed.chunks_exact(each * share) {
            packed.extend((0..each).map(|at| {
                let sum: f64 = part[at..].iter().step_by(each).map(|&v| f64::from(v)).sum();
                (sum / share as f64) as f32
            }));
        }
        Ok(Self { name: self.name.clone(), groups, packed, ..*self })
    }

    /// The same matrices with `share` of each group's mean diagonal added to the diagonal: as if
    /// every input were also active by itself.
    ///
    /// Sums over fewer tokens than there are inputs are blind to most directions, and what
    /// quantizing pushes there comes back on other tokens: with 96 tokens for 1536 inputs the error
    /// on tokens left out was up to twice that of clusters, and with a share of 1 below it
    /// (`docs/lnq.md`).
    ///
    /// # Errors
    /// [`Error::Layer`] around [`Error::Range`] for a share that is negative or not finite, and
    /// around [`Error::Value`] where the diagonal leaves the range of f32.
    pub fn damped(&self, share: f32) -> Result<Self> {
        if !(share >= 0.0 && share.is_finite()) {
            return Err(Error::range("share of the diagonal", "0.0..", share).in_layer(&self.name));
        }
        let mut packed = self.packed.clone();
        for (group, h) in packed.chunks_exact_mut(self.packed.len() / self.groups).enumerate() {
            let sum: f64 = self.diagonal(group).iter().map(|&h| f64::from(h)).sum();
            let more = f64::from(share) * sum / self.inputs as f64;
            for i in 0..self.inputs {
                let value = &mut h[start(self.inputs, i)];
                *value = (f64::from(*value) + more) as f32;
            }
        }
        Self::from_packed(&self.name, self.inputs, self.groups, self.tokens, packed)
    }

    /// Whether a layer of this shape goes with these matrices.
    ///
    /// # Errors
    /// [`Error::Layer`] around [`Error::Shape`] when `cols` is not the number of inputs, or `rows`
    /// is not a multiple of the groups; the message lists the numbers of groups that would do.
    pub fn check_layer(&self, rows: usize, cols: usize) -> Result<()> {
        let error = if cols != self.inputs {
            Error::shape("inputs of the Hessian", cols, self.inputs)
        } else if !rows.is_multiple_of(self.groups) {
            let expected = format!("a divisor of the {rows} rows: {}", divisors(rows));
            Error::shape("groups of the Hessian", expected, self.groups)
        } else {
            return Ok(());
        };
        Err(error.in_layer(&self.name))
    }

    /// One group's upper triangle.
    pub(crate) fn group(&self, group: usize) -> &[f32] {
        let each = self.packed.len() / self.groups;
        &self.packed[group * each..(group + 1) * each]
    }

    /// One group's full matrix in tiles.
    pub(crate) fn tiles(&self, group: usize) -> Tiles {
        let (inputs, h) = (self.inputs, self.group(group));
        Tiles::new(inputs, |row, column, tile| {
            // Read along rows of the triangle, whichever side of the diagonal the tile is on.
            let (low, high) = (row.min(column) * SIDE, row.max(column) * SIDE);
            for i in low..inputs.min(low + SIDE) {
                let from = high.max(i);
                let to = inputs.min(high + SIDE);
                let values = &h[start(inputs, i) + from - i..start(inputs, i) + to - i];
                for (j, &value) in (from..to).zip(values) {
                    if row <= column {
                        tile[i - low][j - high] = value;
                    }
                    if row >= column {
                        tile[j - high][i - low] = value;
                    }
                }
            }
        })
    }
}

/// Where row `i` begins in a triangle.
fn start(inputs: usize, i: usize) -> usize {
    i * inputs - i * i.saturating_sub(1) / 2
}

/// Row and column of number `at` of a triangle.
fn place(inputs: usize, at: usize) -> (usize, usize) {
    let (mut row, mut rest) = (0, at);
    while rest >= inputs - row {
        rest -= inputs - row;
        row += 1;
    }
    (row, row + rest)
}

fn check_length(inputs: usize, groups: usize, count: Option<usize>, found: usize) -> Result<()> {
    if inputs == 0 || groups == 0 {
        let found = format!("{groups} x {inputs} x {inputs}");
        return Err(Error::shape("Hessian", "groups > 0 and inputs > 0", found));
    }
    if count != Some(found) {
        let expected = match count {
            Some(count) => format!("{count} for {groups} x {inputs} x {inputs}"),
            None => format!("{groups} x {inputs} x {inputs} within usize"),
        };
        return Err(Error::shape("numbers of the Hessian", expected, found));
    }
    Ok(())
}

/// A diagonal holds sums of squares: none is negative, and where one is 0 the input was, so that its
/// products with others are 0 too (or so small that squares of them vanish).
fn check_diagonal(group: usize, inputs: usize, h: &[f32]) -> Result<()> {
    let at = |i: usize| h[start(inputs, i)];
    let bad = |row, col, value: f32, rule| {
        let (what, value) = (group_name(group), value.into());
        Err(Error::Value { what, row, col, value, rule })
    };
    if let Some(i) = (0..inputs).find(|&i| at(i) < 0.0) {
        return bad(i, i, at(i), "a diagonal must not be negative");
    }
    let most = ASYMMETRY * (0..inputs).map(|i| f64::from(at(i))).fold(0.0, f64::max);
    for i in (0..inputs).filter(|&i| at(i) == 0.0) {
        let product = |j: usize| h[start(inputs, i.min(j)) + i.abs_diff(j)];
        if let Some(j) = (0..inputs).find(|&j| f64::from(product(j).abs()) > most) {
            return bad(i, j, product(j), "must be 0 where the diagonal is 0");
        }
    }
    Ok(())
}

fn check_finite(
    group: usize,
    values: &[f32],
    place: impl Fn(usize) -> (usize, usize),
) -> Result<()> {
    match values.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(at) => {
            let (row, col) = place(at);
            let (what, value) = (group_name(group), values[at].into());
            Err(Error::Value { what, row, col, value, rule: "must be finite" })
        }
    }
}

pub(crate) fn divisors(of: usize) -> String {
    let mut low: Vec<usize> = (1..).take_while(|d| d * d <= of).collect();
    low.retain(|d| of.is_multiple_of(*d));
    let high = low.iter().rev().map(|d| of / d).filter(|d| d * d > of).collect::<Vec<_>>();
    low.iter().chain(&high).map(usize::to_string).collect::<Vec<_>>().join(", ")
}
