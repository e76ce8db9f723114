//! Table quantization steered by a Hessian: LNQ.
//!
//! Every row gets the labels `P` and the table `c[2^bits]` that make
//! `(w - c[P])^T H (w - c[P])` small, `H` being that of its group ([`Hessian`]). From clusters of
//! the weights, two half steps alternate: the best table for the labels (a small linear system),
//! and the labels for the table, by coordinate descent or by rounding in order. Neither makes a
//! row's objective worse. Source: "GuidedQuant", Kim et al., ICML 2025, arXiv 2505.07004.

mod cholesky;
mod feedback;
mod job;
mod problem;
mod report;
mod run;
mod state;
#[cfg(test)]
mod tests;

pub(in crate::linear) use cholesky::solve_damped;
pub use job::LnqJob;
pub use report::{Lnq, LnqReport, LnqStep, Phase};

use super::quantize::{Method, Quantized, seed};
use super::{Hessian, TableElement, Weights};
use crate::{Error, Result};

/// The most iterations and cycles. Rows come to rest after some tens.
const MOST: usize = 1000;

/// How labels are found for a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
pub enum LabelStep {
    /// Cyclic coordinate descent: each input in turn takes the best entry, the others held.
    #[default]
    Descent,
    /// Once through the inputs in order, each error made up for by the inputs after it, as in GPTQ
    /// (arXiv 2210.17323). The errors are mostly larger. It passes on every error where descent
    /// passes on changes of labels alone, and so is no faster on a CPU.
    Feedback,
}

/// What sums are made in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
pub enum Precision {
    /// `f32`. A row's objective may rise by up to 1e-6 of itself in a half step; that is judged in
    /// `f64` from labels and tables, as sums in `f32` are not good enough for it where inputs have a
    /// large mean.
    #[default]
    F32,
    /// `f64`, at about half the speed. No objective ever rises.
    F64,
}

/// Settings of [`lnq`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct LnqOptions {
    /// Width of the codes: 1 to 8; 3 by default. Kernels begin at 2.
    pub bits: u8,
    /// How often tables and then labels are improved, before tables are once more: 2 by default,
    /// as in the paper, which has 1 for its largest models. At most 1000. Where a whole iteration
    /// changes nothing in a block of rows, later ones are not computed, and reported as it was.
    pub iterations: usize,
    /// Cycles of coordinate descent in every iteration, 1 to 1000; 4 by default.
    pub cycles: usize,
    /// How labels are found for a table.
    pub labels: LabelStep,
    /// How the clusters to start from are found. They are weighted with the sensitivities of the
    /// weights, or with the diagonal of the Hessian where there are none.
    pub start: Method,
    /// What table entries are rounded to in the end.
    pub table: TableElement,
    /// What sums are made in.
    pub precision: Precision,
    /// One more cycle of descent once tables are rounded: a little less error, not in the paper;
    /// off by default.
    pub final_cycle: bool,
}

impl Default for LnqOptions {
    fn default() -> Self {
        Self {
            bits: 3,
            iterations: 2,
            cycles: 4,
            labels: LabelStep::default(),
            start: Method::default(),
            table: TableElement::default(),
            precision: Precision::default(),
            final_cycle: false,
        }
    }
}

impl LnqOptions {
    /// Half steps that a row goes through, and so what progress is told in: tables and labels
    /// `iterations` times, and tables once more.
    #[must_use]
    pub fn half_steps(&self) -> usize {
        self.iterations.saturating_mul(2).saturating_add(1)
    }

    fn check(&self) -> Result<()> {
        if !(1..=8).contains(&self.bits) {
            return Err(Error::range("bits", "1..=8", self.bits));
        }
        if self.iterations > MOST {
            return Err(Error::range("iterations", format!("0..={MOST}"), self.iterations));
        }
        if !(1..=MOST).contains(&self.cycles) {
            return Err(Error::range("cycles", format!("1..={MOST}"), self.cycles));
        }
        Ok(())
    }
}

/// Quantizes a layer to one width so that the error which `hessian` measures is small.
///
/// Rows stand alone. The result depends on the arguments alone, not on the number of threads.
/// [`Lnq::pack`] makes a [`TableLayer`](super::TableLayer) of the one width, which every kernel
/// multiplies as any other layer (from 2 bits on).
///
/// An input that was never active (its diagonal is below 1e-12 of the mean, or below the normal
/// numbers of `f32`) gets the entry nearest to its weight; so do all weights of a group whose matrix
/// is zero. Table entries that no weight
/// uses stay as they are and may come into use again.
///
/// The matrix that is solved with is `H + 2^-23 trace(H) I`, the ridge on active inputs alone; products
/// of inactive inputs count as 0. `H` is rounded to f32, so that below full rank it is slightly
/// indefinite, and without a ridge tables would grow along those directions and objectives fall below
/// 0: the paper has none. All objectives that are reported have it. New table entries that would lie
/// farther outside the row's weights than four times their range are damped more.
///
/// Takes `4 * inputs^2` bytes for the matrix of one group. [`LabelStep::Feedback`] takes as much for its
/// factor, and `4 * inputs^2` more while that is made, from a triangle in f64. Every thread takes some
/// `3 KiB` for every input, and for tables `512 * 4^bits + 16384 * 2^bits` bytes, which at 8 bits are
/// 33 and 4 MB.
///
/// ```
/// use fewbytes::linear::{HessianAccumulator, LnqOptions, Weights, lnq};
///
/// # fn main() -> fewbytes::Result<()> {
/// let (rows, cols, tokens) = (4, 64, 256);
/// let wave = |n: usize, f: f32| (0..n).map(|i| (i as f32 * f).sin()).collect::<Vec<_>>();
/// let values = wave(rows * cols, 12.9);
/// let weights = Weights::new("blk.0.up", rows, cols, &values, None)?;
/// let mut hessian = HessianAccumulator::new("blk.0.up", cols, 1)?;
/// hessian.add_batch(&wave(tokens * cols, 0.37), None)?;
///
/// let done = lnq(&weights, &hessian.finish()?, &LnqOptions { bits: 2, ..Default::default() })?;
/// assert!(done.report.after() < done.report.before());
/// let layer = done.pack(None)?;
/// assert_eq!((layer.bits(), layer.average_bits()), (2, 3.0));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::Layer`], naming the layer, around [`Error::Range`] for a setting out of its range,
/// around [`Error::Shape`] when the Hessian is one of other inputs or its groups do not divide the
/// rows, and around [`Error::Value`] at the first table entry that would be infinite as `f16`
/// ([`TableElement::F32`] holds it).
pub fn lnq(weights: &Weights<'_>, hessian: &Hessian, options: &LnqOptions) -> Result<Lnq> {
    lnq_with_progress(weights, hessian, options, &|_| {})
}

/// [`lnq`], telling how much is done.
///
/// `progress` is called from any thread with a number that ends at `rows *
/// options.half_steps()`; numbers do not always come in order.
///
/// # Errors
/// As [`lnq`].
pub fn lnq_with_progress(
    weights: &Weights<'_>,
    hessian: &Hessian,
    options: &LnqOptions,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Lnq> {
    let run = || {
        options.check()?;
        check_layer(weights, hessian)?;
        let start = clusters(weights, hessian, options)?;
        run::layer(weights, hessian, &start, options, progress)
    };
    run().map_err(|e: Error| e.in_layer(weights.name()))
}

/// [`lnq`] from given labels and tables instead of clusters: any that [`Quantized`] can hold at
/// `options.bits`. `options.start` counts for nothing.
///
/// # Errors
/// As [`lnq`]; also [`Error::Layer`] around [`Error::Shape`] when `start` is of another shape or
/// has no table of `options.bits`, and around [`Error::Value`] at the first label that is not below
/// `2^bits` or table entry that is not finite.
pub fn lnq_from(
    weights: &Weights<'_>,
    hessian: &Hessian,
    start: &Quantized,
    options: &LnqOptions,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Lnq> {
    let run = || {
        options.check()?;
        check_layer(weights, hessian)?;
        check_start(weights, start, options.bits)?;
        run::layer(weights, hessian, start, options, progress)
    };
    run().map_err(|e: Error| e.in_layer(weights.name()))
}

/// Rounds every weight to an entry of the tables of `start`, in order of inputs, each error made up
/// for by the inputs after it: GPTQ (arXiv 2210.17323) on given tables. Tables keep their entries, in
/// ascending order, and a row may come out worse than it was.
///
/// [`lnq`] with [`LabelStep::Feedback`] does this in turn with the tables, and keeps a row only
/// where that helps.
///
/// # Errors
/// As [`lnq_from`]; also [`Error::Layer`] around [`Error::Unsupported`] where a group's matrix has
/// no Cholesky factor, with all of its mean diagonal added to it.
pub fn round_with_feedback(
    weights: &Weights<'_>,
    hessian: &Hessian,
    start: &Quantized,
) -> Result<Quantized> {
    let run = || {
        check_layer(weights, hessian)?;
        check_start(weights, start, start.parent_bits)?;
        run::round(weights, hessian, start)
    };
    run().map_err(|e: Error| e.in_layer(weights.name()))
}

/// `(w - q)^T H (w - q)` of every row, `q` being a row of `quantized` at its full width and `H` the matrix
/// that [`lnq`] solves with, ridge included; in `f64`.
///
/// # Errors
/// As [`lnq_from`] for its `start`.
pub fn objectives(
    weights: &Weights<'_>,
    hessian: &Hessian,
    quantized: &Quantized,
) -> Result<Vec<f64>> {
    let run = || {
        check_layer(weights, hessian)?;
        check_start(weights, quantized, quantized.parent_bits)?;
        run::objectives(weights, hessian, quantized)
    };
    run().map_err(|e: Error| e.in_layer(weights.name()))
}

/// The layer's name is around the error already in the Hessian's own check.
fn check_layer(weights: &Weights<'_>, hessian: &Hessian) -> Result<()> {
    match hessian.check_layer(weights.rows(), weights.cols()) {
        Err(Error::Layer { error, layer }) if layer == weights.name() => Err(*error),
        other => other,
    }
}

/// Weighted k-means at the one width.
fn clusters(weights: &Weights<'_>, hessian: &Hessian, options: &LnqOptions) -> Result<Quantized> {
    if weights.sensitivities().is_some() {
        return seed(weights, options.bits, options.start);
    }
    let share = weights.rows() / hessian.groups();
    let diagonals = (0..hessian.groups()).flat_map(|k| hessian.diagonal(k).repeat(share));
    let diagonals: Vec<f32> = diagonals.collect();
    let (rows, cols, values) = (weights.rows(), weights.cols(), weights.values());
    let weighted = Weights::new(weights.name(), rows, cols, values, Some(&diagonals))?;
    seed(&weighted, options.bits, options.start)
}

fn check_start(weights: &Weights<'_>, start: &Quantized, bits: u8) -> Result<()> {
    let (rows, cols) = (weights.rows(), weights.cols());
    if (start.rows, start.cols, start.codes.len()) != (rows, cols, rows * cols) {
        let found = format!("{} x {}, {} codes", start.rows, start.cols, start.codes.len());
        return Err(Error::shape("start", format!("{rows} x {cols}"), found));
    }
    if bits == 0 || bits > 8 || start.parent_bits != bits {
        return Err(Error::shape("bits of the start", bits, start.parent_bits));
    }
    let table = start.table(bits).unwrap_or_default();
    if table.len() != rows << bits {
        let expected = format!("{rows} x {}", 1 << bits);
        return Err(Error::shape("entries of the start's table", expected, table.len()));
    }
    let bad = |what: &str, at: Option<usize>, width, value: &dyn Fn(usize) -> f64, rule| {
        at.map_or(Ok(()), |at| {
            let (what, value) = (what.to_owned(), value(at));
            Err(Error::Value { what, row: at / width, col: at % width, value, rule })
        })
    };
    let label = start.codes.iter().position(|&code| usize::from(code) >> bits != 0);
    let of_label = |at: usize| start.codes[at].into();
    bad("label of the start", label, cols, &of_label, "must be below 2^bits")?;
    let entry = table.iter().position(|v| !v.is_finite());
    bad("table of the start", entry, 1 << bits, &|at| table[at].into(), "must be finite")
}
