//! What became of every row, half step by half step.

use crate::linear::Quantized;

/// A layer's codes and tables with the account of how they came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Lnq {
    /// Codes and tables, `seed_bits` and `parent_bits` both the width asked for.
    pub quantized: Quantized,
    /// The objective after every half step, and what was out of the ordinary.
    pub report: LnqReport,
}

/// When an objective was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
pub enum Phase {
    /// Before anything was done: the clusters, or what was given to start from.
    Start,
    /// After new tables for the labels.
    Tables,
    /// After new labels for the tables.
    Labels,
    /// With tables as rounded and stored.
    Rounded,
    /// After the final cycle of descent on rounded tables.
    Final,
}

/// The objective `(w - q)^T H (w - q)` of all rows at one moment, `H` with its ridge (see
/// [`lnq`](super::lnq)).
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct LnqStep {
    /// The moment.
    pub phase: Phase,
    /// One objective a row, in `f64` from labels and tables; of solvers elsewhere before `Rounded` as
    /// they told it.
    pub rows: Vec<f64>,
    /// Rows for which the half step was taken back, as it would have made them worse.
    pub restored: usize,
}

impl LnqStep {
    /// The layer's objective, the sum over its rows.
    #[must_use]
    pub fn objective(&self) -> f64 {
        self.rows.iter().sum()
    }
}

/// What happened to a layer.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct LnqReport {
    /// The start, every half step, and the rounding, in order.
    pub steps: Vec<LnqStep>,
    /// Times that a row kept its table because its linear system could not be solved, with all
    /// damping.
    pub unsolved: usize,
    /// The rows that this happened to, each once, in order. A solver elsewhere may give their number
    /// alone, see [`LnqJob::finish`](super::LnqJob::finish).
    pub unsolved_rows: Vec<usize>,
    /// Inputs that were never active, over all groups; their weights got the nearest entry.
    pub inactive_inputs: usize,
    /// Groups whose matrix is zero: nearest entries throughout.
    pub zero_groups: usize,
    /// Groups for which [`LabelStep::Feedback`](super::LabelStep::Feedback) found no factor and
    /// left labels as they were.
    pub groups_without_factor: usize,
    /// The largest damping that a factor took, relative to the mean diagonal; 0 with descent.
    pub damping: f64,
}

impl LnqReport {
    /// The layer's objective before anything was done.
    #[must_use]
    pub fn before(&self) -> f64 {
        self.steps.first().map_or(0.0, LnqStep::objective)
    }

    /// The layer's objective in the end.
    #[must_use]
    pub fn after(&self) -> f64 {
        self.steps.last().map_or(0.0, LnqStep::objective)
    }
}
