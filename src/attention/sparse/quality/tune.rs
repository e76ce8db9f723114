//! Which mode is good enough, for each KV head.

use super::{Exact, HeadSlices, HeadTraffic, KeyIndex, Mode, Selection, SparseQueries, Tail};
use super::{attend, compare, quantile, traffic};
use crate::attention::sparse::Amount;
use crate::{Error, Result};

/// Queries of a run, with what they asked.
#[derive(Debug, Clone, Copy)]
pub struct Recorded<'a> {
    /// Whatever their mode.
    pub queries: SparseQueries<'a>,
    /// The index of the rows.
    pub index: &'a KeyIndex,
    /// `[H]`.
    pub data: &'a [HeadSlices<'a>],
}

/// What a KV head should do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// None where attention to all rows is as cheap, or nothing else is good enough.
    pub mode: Option<Mode>,
    /// The quantile of [`relative`](super::RowQuality::relative) that the mode was chosen by; 0 without.
    pub error: f64,
    /// Bytes that [it reads](traffic()), of those of attention to all rows.
    pub traffic: f64,
}

/// Greedy searches of `n / 8` to `2 n` steps with shares of 0 to 10 %.
pub fn grid(tail: Tail) -> Vec<Mode> {
    let steps = [0.125, 0.25, 0.5, 1.0, 2.0];
    let modes = steps.into_iter().flat_map(|steps| {
        [0.0, 0.01, 0.02, 0.05, 0.1].map(|keep| {
            let steps = Amount::Fraction(steps);
            Mode { selection: Selection::Greedy { steps, keep, exact: false }, tail }
        })
    });
    modes.collect()
}

/// For each KV head, of `modes` the one that reads least of those whose error the `share` of all its query rows
/// do not exceed `target`: of equal ones the first.
///
/// # Errors
/// [`Error::Range`] for a share outside 0 to 1 or a target that is negative or no number; [`Error::Shape`]
/// where what was recorded is not of as many KV heads; what [`attend`](super::attend()) refuses.
pub fn tune(
    recorded: &[Recorded<'_>],
    modes: &[Mode],
    target: f64,
    share: f64,
) -> Result<Vec<Choice>> {
    if !(0.0..=1.0).contains(&share) {
        return Err(Error::range("share of query rows", "0..=1", share));
    }
    if target.is_nan() || target < 0.0 {
        return Err(Error::range("error of outputs", "numbers from 0", target));
    }
    let heads = recorded.first().map_or(0, |one| one.queries.lists.heads as usize);
    if let Some(other) = recorded.iter().find(|one| one.queries.lists.heads as usize != heads) {
        return Err(Error::shape("KV heads recorded", heads, other.queries.lists.heads));
    }
    let exact: Result<Vec<Exact>> =
        recorded.iter().map(|one| Exact::of(&one.queries, one.index, one.data)).collect();
    let exact = exact?;
    let mut choices = vec![Choice { mode: None, error: 0.0, traffic: 1.0 }; heads];
    for &mode in modes {
        let mut errors = vec![Vec::new(); heads];
        let mut bytes = vec![HeadTraffic::default(); heads];
        for (one, exact) in recorded.iter().zip(&exact) {
            let queries = SparseQueries { mode, ..one.queries };
            let outcome = attend(&queries, one.index, one.data)?;
            let group = queries.lists.group as usize;
            for (row, quality) in compare(&outcome, exact)?.iter().enumerate() {
                errors[row / group % heads].push(quality.relative);
            }
            for (sum, head) in bytes.iter_mut().zip(traffic(&queries, one.index, &outcome)) {
                sum.read += head.read;
                sum.dense += head.dense;
            }
        }
        for ((choice, errors), bytes) in choices.iter_mut().zip(&errors).zip(&bytes) {
            let error = quantile(errors, share);
            let traffic = bytes.read as f64 / bytes.dense.max(1) as f64;
            if error <= target && traffic < choice.traffic {
                *choice = Choice { mode: Some(mode), error, traffic };
            }
        }
    }
    Ok(choices)
}
