//! What attention to few rows loses against attention to all, and which mode loses little enough.
//!
//! A *row* here is one query row. [`Exact`] is what it should have been; [`compare`] measures each row of an
//! [`Outcome`] by it; [`Summary`] tells of many rows, of one head or of all. [`tune`] chooses a mode for each
//! KV head.

#[cfg(test)]
mod tests;
mod traffic;
mod tune;

pub use traffic::{HeadTraffic, traffic};
pub use tune::{Choice, Recorded, grid, tune};

use super::attend::{HeadSlices, Outcome, RowStats, SparseQueries, attend};
use super::sorted::KeyIndex;
use super::{Lists, Mode, Selection, Share, Tail};
use crate::{Error, Result};

/// How many of the largest weights recall is asked of.
pub const RECALLS: [usize; 3] = [1, 5, 16];

/// Attention to all rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Exact {
    /// `[T, H G, D]`.
    pub o: Vec<f64>,
    /// `[T, H G]`: the rows of the 16 largest logits, the largest first, of equal ones the first row.
    pub best: Vec<Vec<u32>>,
}

impl Exact {
    /// For the same queries, whatever their mode.
    ///
    /// # Errors
    /// What [`attend`] refuses.
    pub fn of(
        queries: &SparseQueries<'_>,
        index: &KeyIndex,
        data: &[HeadSlices<'_>],
    ) -> Result<Self> {
        let most = RECALLS.into_iter().max().unwrap_or(0);
        let mode = Mode::new(Selection::Threshold { keep: 0.0 });
        let lists = Lists { share: Share::Query, ..queries.lists };
        let o = attend(&SparseQueries { lists, mode, ..*queries }, index, data)?.o;
        let dim = index.shape().dim as usize;
        let best = (0..lists.count()).zip(queries.q.chunks_exact(dim)).map(|(list, q)| {
            let keys = data[lists.head_of(list) as usize].keys.chunks_exact(dim);
            // Rows are counted by u32.
            let seen = lists.seen(list, keys.len() as u32);
            let logits: Vec<f64> =
                keys.take(seen as usize).map(|k| queries.logits.of(q, k)).collect();
            let mut rows: Vec<u32> = (0..seen).collect();
            let order = |a: &u32, b: &u32| {
                logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b))
            };
            if rows.len() > most {
                rows.select_nth_unstable_by(most, order);
                rows.truncate(most);
            }
            rows.sort_by(order);
            rows
        });
        Ok(Self { o, best: best.collect() })
    }
}

/// What one query row has lost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowQuality {
    /// Rows that its search pointed at, of those seen.
    pub candidates: f64,
    /// Rows attended to, of those seen.
    pub kept: f64,
    /// Their share of all weight.
    pub mass: f64,
    /// For each of [`RECALLS`] the share of the rows with so many largest weights that were attended to.
    pub recall: [f64; RECALLS.len()],
    /// The norm of the difference of outputs, over that of the exact one.
    pub relative: f64,
    /// The cosine between both outputs; 1 where both are 0.
    pub cosine: f64,
    /// The largest difference of a number of the output.
    pub largest: f64,
    /// Whether all rows were taken because nothing could be searched.
    pub fallback: bool,
}

/// Every query row, `[T, H G]`.
///
/// # Errors
/// [`Error::Shape`] where both are not of the same queries.
pub fn compare(outcome: &Outcome, exact: &Exact) -> Result<Vec<RowQuality>> {
    if outcome.o.len() != exact.o.len() || outcome.stats.len() != exact.best.len() {
        return Err(Error::shape("numbers of outputs", exact.o.len(), outcome.o.len()));
    }
    let dim = (exact.o.len() / exact.best.len().max(1)).max(1);
    let outputs = outcome.o.chunks_exact(dim).zip(exact.o.chunks_exact(dim));
    let rows = outputs.zip(&outcome.stats).zip(&exact.best);
    Ok(rows.map(|((outputs, stats), best)| row(outputs, stats, best)).collect())
}

fn row((o, exact): (&[f64], &[f64]), stats: &RowStats, best: &[u32]) -> RowQuality {
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let off: Vec<f64> = o.iter().zip(exact).map(|(a, b)| a - b).collect();
    let norms = (product(o, o) * product(exact, exact)).sqrt();
    let of = |count: f64| count / f64::from(stats.seen.max(1));
    let recall = |most: usize| {
        let best = &best[..best.len().min(most)];
        let kept = best.iter().filter(|row| stats.kept.contains(row)).count();
        if best.is_empty() { 1.0 } else { kept as f64 / best.len() as f64 }
    };
    let both_zero = norms == 0.0 && off.iter().all(|x| *x == 0.0);
    RowQuality {
        candidates: of(stats.candidates.into()),
        kept: of(stats.kept.len() as f64),
        mass: stats.mass,
        recall: RECALLS.map(recall),
        relative: share(product(&off, &off).sqrt(), product(exact, exact).sqrt()),
        cosine: if both_zero { 1.0 } else { product(o, exact) / norms },
        largest: off.iter().fold(0.0, |a, x| if x.abs() <= a { a } else { x.abs() }),
        fallback: stats.fallback,
    }
}

/// `part / whole`; 0 where both are.
fn share(part: f64, whole: f64) -> f64 {
    if part == 0.0 { 0.0 } else { part / whole }
}

/// What many query rows have lost. Of none every figure is 0.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Summary {
    /// Query rows.
    pub rows: usize,
    /// Mean of [`RowQuality::candidates`].
    pub candidates: f64,
    /// Mean of [`RowQuality::kept`].
    pub kept: f64,
    /// Mean of [`RowQuality::mass`].
    pub mass: f64,
    /// Means of [`RowQuality::recall`].
    pub recall: [f64; RECALLS.len()],
    /// Median of [`RowQuality::relative`].
    pub median: f64,
    /// What nine of ten rows do not exceed of it.
    pub p90: f64,
    /// Median of [`RowQuality::cosine`].
    pub cosine: f64,
    /// Largest of [`RowQuality::largest`].
    pub largest: f64,
    /// Rows that took all rows because nothing could be searched.
    pub fallbacks: usize,
}

impl Summary {
    /// Of some rows.
    pub fn of<'a>(rows: impl Iterator<Item = &'a RowQuality> + Clone) -> Self {
        let count = rows.clone().count();
        let mean = |what: &dyn Fn(&RowQuality) -> f64| {
            rows.clone().map(what).sum::<f64>() / count.max(1) as f64
        };
        let relative: Vec<f64> = rows.clone().map(|row| row.relative).collect();
        let cosine: Vec<f64> = rows.clone().map(|row| row.cosine).collect();
        let worse = |a: f64, b: f64| if b <= a { a } else { b };
        Self {
            rows: count,
            candidates: mean(&|row| row.candidates),
            kept: mean(&|row| row.kept),
            mass: mean(&|row| row.mass),
            recall: std::array::from_fn(|at| mean(&|row| row.recall[at])),
            median: quantile(&relative, 0.5),
            p90: quantile(&relative, 0.9),
            cosine: quantile(&cosine, 0.5),
            largest: rows.clone().map(|row| row.largest).fold(0.0, worse),
            fallbacks: rows.filter(|row| row.fallback).count(),
        }
    }

    /// Of every query head of `rows [T, H G]`.
    pub fn heads(rows: &[RowQuality], query_heads: usize) -> Vec<Self> {
        let step = query_heads.max(1);
        (0..query_heads).map(|head| Self::of(rows.iter().skip(head).step_by(step))).collect()
    }
}

/// The least number that a share of all do not exceed, NaN above all; 0 of none.
pub fn quantile(of: &[f64], share: f64) -> f64 {
    let mut sorted: Vec<f64> = of.iter().map(|x| if x.is_nan() { f64::NAN } else { *x }).collect();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or(0.0)
}
