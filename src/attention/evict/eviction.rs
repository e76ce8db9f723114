//! How much goes, and by which rule.

use crate::{Error, Result};

/// Which pairs of one budget stay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum PairRule {
    /// Exactly the budget: `floor(N ratio)` pairs.
    #[default]
    Exact,
    /// As KVzip's released code does: those strictly above the score at index `max(trunc(N ratio) - 1, 0)`
    /// of the descending order, `N ratio` as f64 has it. That is one less than the budget, fewer where
    /// scores are equal, and nothing at small ratios.
    RefStrict,
}

/// Among which pairs scores are compared: [the rules](crate::attention::evict).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Among all of them.
    Pair(PairRule),
    /// Within every head.
    PairUniform,
    /// Within every layer.
    PairPerLayer,
    /// Heads are compared by their largest score, and stay or go whole. Of a head that goes the sink and
    /// the recent positions stay, if any are asked for: the form of "DuoAttention", Xiao et al., ICLR
    /// 2025, arXiv 2410.10819.
    Head(PairRule),
}

impl Default for Rule {
    fn default() -> Self {
        Self::Pair(PairRule::Exact)
    }
}

/// An eviction, described. [The rules](crate::attention::evict) tell what counts.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Eviction {
    /// The fraction of pairs that stays, 0 to 1.
    pub ratio: f64,
    /// Among which pairs scores are compared.
    pub rule: Rule,
    /// First positions of every head that stay whatever their scores.
    pub n_sink: u32,
    /// Last positions of every head that stay whatever their scores.
    pub n_recent: u32,
}

impl Eviction {
    /// The best pairs of all layers and heads; no position stays by its place.
    pub fn new(ratio: f64) -> Self {
        Self { ratio, ..Self::default() }
    }

    /// Whether the ratio is one.
    ///
    /// # Errors
    /// [`Error::Range`] for a ratio outside 0 to 1, or NaN.
    pub fn check(&self) -> Result<()> {
        if (0.0..=1.0).contains(&self.ratio) {
            return Ok(());
        }
        Err(Error::range("ratio of kept pairs", "0..=1", self.ratio))
    }

    /// How many of `pairs` that share a budget stay, those that stay by their place perhaps apart: what a
    /// device that selects is told. [`share`], but `trunc(pairs ratio)` for [`PairRule::RefStrict`], from
    /// which that rule takes one more; all at a ratio of 1.
    pub fn budget(&self, pairs: u64) -> u64 {
        match self.rule {
            _ if self.ratio == 1.0 => pairs,
            Rule::Pair(PairRule::RefStrict) | Rule::Head(PairRule::RefStrict) => {
                // A cast cuts towards 0, as the released code's `int` does.
                ((pairs as f64 * self.ratio) as u64).min(pairs)
            }
            _ => share(pairs, self.ratio),
        }
    }

    /// The positions of `n` that stay by their place: those before the first number and those from the
    /// second.
    pub(super) fn free(&self, n: usize) -> (usize, usize) {
        let from = (self.n_sink as usize).min(n);
        (from, n.saturating_sub(self.n_recent as usize).max(from))
    }
}

/// How many of `total` pairs a ratio is: `floor(total ratio)`, where a product below a whole number by
/// no more than the rounding of both factors' product, 4 parts in 2^52, is that number. The ratio is
/// within 0 to 1; below 2^53 pairs counts are exact.
pub fn share(total: u64, ratio: f64) -> u64 {
    let product = total as f64 * ratio;
    let raised = product + product * (4.0 * f64::EPSILON);
    // Casts of floats saturate, and NaN is 0.
    (raised.floor() as u64).min(total)
}
