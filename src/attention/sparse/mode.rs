//! Which rows a query attends to, and what becomes of the others.

use super::Tail;
use crate::{Error, Result};

/// A number of rows, or of steps, for an index of `n` rows; for [`Selection::TopK`] `n` rows are seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Amount {
    /// So many.
    Count(u32),
    /// This share of `n`, rounded up.
    Fraction(f64),
}

impl Amount {
    /// How many they are of `rows` rows.
    pub fn of(&self, rows: u32) -> u64 {
        match *self {
            Self::Count(count) => count.into(),
            // Saturates.
            Self::Fraction(fraction) => (fraction * f64::from(rows)).ceil() as u64,
        }
    }

    fn check(&self, what: &str) -> Result<()> {
        match *self {
            Self::Fraction(fraction) if !(fraction.is_finite() && fraction >= 0.0) => {
                Err(Error::range(what, "finite fractions from 0", fraction))
            }
            _ => Ok(()),
        }
    }
}

/// How rows are found. Those that are listed whatever was found, sinks and rows beyond the index, come on top.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Selection {
    /// The candidates of a greedy search, of which those stay whose weight is at least `keep` of the
    /// largest listed one's: A^3's two stages.
    Greedy {
        /// Iterations of the search, for each query row: `M`.
        steps: Amount,
        /// The share, 0 to 1: `T`. 0 keeps all.
        keep: f64,
        /// Whether the side of the smallest products takes exactly the steps that the sequential search
        /// takes; without, as many as its totals allow, which is never fewer and seldom more.
        exact: bool,
    },
    /// The rows with the `k` largest logits: all keys are read, and few values.
    TopK {
        /// Rows to find, for each list.
        k: Amount,
    },
    /// Of a greedy search's candidates those with the `k` largest logits.
    TopKApprox {
        /// Rows to find, for each list.
        k: Amount,
        /// Iterations of the search, for each query row.
        steps: Amount,
    },
    /// The `k` rows that are best by the `r` components with the largest queries: SparQ's first step. It needs
    /// no sorting.
    ComponentTopR {
        /// Components that are read, for each token and KV head.
        r: u32,
        /// Rows to find, for each list.
        k: Amount,
    },
    /// All rows, of which those stay whose weight is at least `keep` of the largest one's: the best that a
    /// search could do for that share. Every key is read, and few values.
    Threshold {
        /// The share, 0 to 1. 0 keeps all, which is exact attention.
        keep: f64,
    },
}

/// How rows are found, and whether the others count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mode {
    /// How rows are found.
    pub selection: Selection,
    /// Whether the others count.
    pub tail: Tail,
}

impl Selection {
    /// Whether it can be, for keys of `dim` numbers.
    ///
    /// # Errors
    /// [`Error::Range`] for a fraction that is negative or not finite, a share outside 0 to 1, and no components
    /// or more than there are.
    pub fn check(&self, dim: u32) -> Result<()> {
        const STEPS: &str = "steps of a greedy search";
        const FOUND: &str = "rows to find";
        match self {
            Self::Greedy { steps, keep, .. } => {
                steps.check(STEPS)?;
                check_share(*keep)
            }
            Self::TopK { k } => k.check(FOUND),
            Self::TopKApprox { k, steps } => {
                steps.check(STEPS)?;
                k.check(FOUND)
            }
            Self::ComponentTopR { r, .. } if !(1..=dim).contains(r) => {
                Err(Error::range("components to read", format!("1..={dim}"), r))
            }
            Self::ComponentTopR { k, .. } => k.check(FOUND),
            Self::Threshold { keep } => check_share(*keep),
        }
    }

    /// The share of the largest weight that a row must have to stay; 0 where that is not asked.
    pub fn keep(&self) -> f64 {
        match *self {
            Self::Greedy { keep, .. } | Self::Threshold { keep } => keep,
            _ => 0.0,
        }
    }
}

impl Mode {
    /// Rows that are not attended to do not count.
    pub fn new(selection: Selection) -> Self {
        Self { selection, tail: Tail::None }
    }

    /// A^3's conservative setting: `n / 2` steps, and a share of 5 %.
    pub fn conservative() -> Self {
        Self::new(greedy(0.5, 0.05))
    }

    /// A^3's aggressive setting: `n / 8` steps, and a share of 10 %.
    pub fn aggressive() -> Self {
        Self::new(greedy(0.125, 0.1))
    }

    /// The conservative setting with [the rest](super#the-rest) estimated.
    pub fn balanced() -> Self {
        Self { tail: Tail::Mean, ..Self::conservative() }
    }
}

fn greedy(fraction: f64, keep: f64) -> Selection {
    Selection::Greedy { steps: Amount::Fraction(fraction), keep, exact: false }
}

fn check_share(keep: f64) -> Result<()> {
    match (0.0..=1.0).contains(&keep) {
        true => Ok(()),
        false => Err(Error::range("share of the largest weight", "0..=1", keep)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_counts_or_shares_rounded_up() {
        assert_eq!(Amount::Count(7).of(3), 7);
        assert_eq!([0, 1, 8, 9].map(|n| Amount::Fraction(0.125).of(n)), [0, 1, 1, 2]);
        assert_eq!(Amount::Fraction(2.0).of(u32::MAX), 2 * u64::from(u32::MAX));
    }

    #[test]
    fn modes_that_cannot_be_are_refused() {
        let (count, none) = (Amount::Count(4), Amount::Fraction(f64::NAN));
        for selection in [
            Selection::Greedy { steps: none, keep: 0.0, exact: false },
            Selection::Greedy { steps: Amount::Fraction(-0.1), keep: 0.0, exact: false },
            Selection::Greedy { steps: count, keep: 1.1, exact: true },
            Selection::Greedy { steps: count, keep: f64::NAN, exact: true },
            Selection::TopK { k: none },
            Selection::TopKApprox { k: none, steps: count },
            Selection::TopKApprox { k: count, steps: Amount::Fraction(f64::INFINITY) },
            Selection::ComponentTopR { r: 0, k: count },
            Selection::ComponentTopR { r: 65, k: count },
            Selection::ComponentTopR { r: 64, k: none },
            Selection::Threshold { keep: -0.1 },
        ] {
            assert!(matches!(selection.check(64), Err(Error::Range { .. })), "{selection:?}");
        }
        Selection::ComponentTopR { r: 64, k: count }.check(64).unwrap();
        for mode in [Mode::conservative(), Mode::aggressive(), Mode::balanced()] {
            mode.selection.check(2).unwrap();
        }
    }
}
