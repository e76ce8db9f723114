//! Attention to the rows that a search finds, on the host: by plain loops in f64, from the definition.
//!
//! For each [list](super#lists) rows are found as the [`Selection`](super::Selection) says, by the numbers
//! of the index; the logits of listed rows are those of the keys themselves. Each query row then attends to
//! the rows of its list, under a share `T` to those whose weight is at least `T` of the largest listed one.
//!
//! - A greedy search is made for each query row; a list has the candidates of all of its query rows.
//! - [`Selection::TopK`](super::Selection) ranks all rows that a token sees by exact logits, and needs neither
//!   index nor sinks; of several query rows by the largest logit, each less the largest of its query row.
//!   A greedy search's candidates are ranked so among themselves.
//! - Components are chosen for each token and KV head, by the sum of `|q_j|` over its query heads; of equal
//!   ones the first. Rows from the sinks on are ranked by the read components of the logit; of several query rows
//!   by the logarithm of the sum of `exp(x - e)`, `x` those components and `e` what
//!   [the rest's](super#the-rest) estimate makes of them, so that no query row counts more because its
//!   logits are spread wider.
//! - Of equal rows the first is better, and what is no number is best.
//! - A list takes all rows, and no share applies, where a search needs the index of a head that is flagged, and
//!   for a greedy search where a query row cannot be searched for or nothing is found for any.
//!
//! A softcap is part of logits, and of what is estimated of rows that a greedy search did not find; parts of
//! logits are ranked and estimated without.
//!
//! With [`Tail::Mean`] a row that is listed but not attended to has its own weight and the mean value.

mod products;
mod search;
#[cfg(test)]
mod tests;

use super::sorted::KeyIndex;
use super::{Lists, Mode, Tail};
use crate::attention::reference::{Logits, State};
use crate::attention::{HeadData, NO_KEY};
use crate::{Error, Result};
use search::{Find, Found, log_sum};

/// Queries, and how they search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SparseQueries<'a> {
    /// `[T, H G, D]`; query head `h G + g` reads KV head `h`.
    pub q: &'a [f32],
    /// Who has a list, of which rows. Lists are as long as they need to be, whatever their capacity.
    pub lists: Lists,
    /// How logits are made; the scale is above 0.
    pub logits: Logits,
    /// How rows are found, and whether the others count.
    pub mode: Mode,
}

/// The rows of one KV head.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeadSlices<'a> {
    /// `[len, D]`.
    pub keys: &'a [f32],
    /// `[len, D]`.
    pub values: &'a [f32],
}

impl<'a> From<&'a HeadData> for HeadSlices<'a> {
    fn from(data: &'a HeadData) -> Self {
        Self { keys: &data.keys, values: &data.values }
    }
}

/// What attention gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// `[T, H G, D]`; 0 for a query that sees no row.
    pub o: Vec<f64>,
    /// `[T, H G]`: the natural logarithm of the sum of `exp(logit)`, with [`Tail::Mean`] that of the others
    /// included; [`NO_KEY`] for a query that sees no row.
    pub lse: Vec<f64>,
    /// `[L]`.
    pub lists: Vec<Listed>,
    /// `[T, H G]`.
    pub stats: Vec<RowStats>,
}

/// A list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Rows as the head numbers them: sinks, those beyond the index, those found, each ascending.
    pub rows: Vec<u32>,
    /// Sinks and rows beyond the index among them.
    pub always: u32,
    /// Rows whose exact logits were made.
    pub scored: u32,
    /// Whether all rows were taken because nothing could be searched.
    pub fallback: bool,
}

/// What became of the rows that a query row sees.
#[derive(Debug, Clone, PartialEq)]
pub struct RowStats {
    /// Rows that it sees.
    pub seen: u32,
    /// Rows that its own search pointed at, before any were dropped; those of its list where only that is
    /// searched for.
    pub candidates: u32,
    /// Entries of sorted columns that its own search took.
    pub entries: u64,
    /// Rows that it attended to, in the order of its list.
    pub kept: Vec<u32>,
    /// Their share of the weight of all rows seen; 1 where none is.
    pub mass: f64,
    /// Whether its list has all rows because nothing could be searched.
    pub fallback: bool,
}

impl SparseQueries<'_> {
    fn check(&self, index: &KeyIndex, data: &[HeadSlices<'_>]) -> Result<()> {
        let (lists, dim) = (&self.lists, index.shape().dim);
        lists.check()?;
        self.logits.check()?;
        self.mode.selection.check(dim)?;
        if self.logits.scale <= 0.0 {
            let what = "scale of a search";
            return Err(Error::range(what, "numbers above 0", self.logits.scale));
        }
        for (what, heads) in [
            ("KV heads of an index", index.shape().heads as usize),
            ("KV heads with rows", data.len()),
        ] {
            if heads != lists.heads as usize {
                return Err(Error::shape(what, lists.heads, heads));
            }
        }
        let expected = lists.query_rows() as usize * dim as usize;
        if self.q.len() != expected {
            return Err(Error::shape("length of queries", expected, self.q.len()));
        }
        for (head, data) in data.iter().enumerate() {
            if !data.keys.len().is_multiple_of(dim as usize) {
                let expected = format!("a multiple of {dim}");
                return Err(Error::shape("length of a head's keys", expected, data.keys.len()));
            }
            if data.values.len() != data.keys.len() {
                let (expected, found) = (data.keys.len(), data.values.len());
                return Err(Error::shape("length of a head's values", expected, found));
            }
            let least = lists.seen(0, rows_of(data, dim)?);
            if index.rows(head) > least {
                let what = format!("rows of head {head} that an index covers");
                return Err(Error::range(what, format!("0..={least}"), index.rows(head)));
            }
        }
        Ok(())
    }
}

fn rows_of(data: &HeadSlices<'_>, dim: u32) -> Result<u32> {
    let rows = data.keys.len() / dim as usize;
    let limit = format!("0..={}", u32::MAX);
    u32::try_from(rows).map_err(|_| Error::range("rows of a head", limit, rows))
}

/// Attention to the rows of `data [H]`, of which `index` covers the first ones.
///
/// ```
/// use fewbytes::attention::HeadData;
/// use fewbytes::attention::reference::Logits;
/// use fewbytes::attention::sparse::attend::{SparseQueries, attend};
/// use fewbytes::attention::sparse::sorted::KeyIndex;
/// use fewbytes::attention::sparse::{Lists, Mode, Share};
///
/// # fn main() -> fewbytes::Result<()> {
/// let keys = vec![1.0, 0.0, -1.0, 0.5, 0.0, 1.0, 4.0, 4.0];
/// let data = HeadData { values: keys.clone(), keys };
/// let index = KeyIndex::build(2, std::slice::from_ref(&data), 0)?;
/// let (share, capacity) = (Share::Query, 4);
/// let lists = Lists { tokens: 1, heads: 1, group: 1, share, capacity, sinks: 0, causal: false };
/// let (logits, mode) = (Logits::scaled(1.0), Mode::conservative());
/// let queries = SparseQueries { q: &[1.0, 2.0], lists, logits, mode };
/// let outcome = attend(&queries, &index, &[(&data).into()])?;
/// // Its products are the largest of both columns.
/// assert_eq!(outcome.stats[0].kept, [3]);
/// assert_eq!(outcome.o, [4.0, 4.0]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::Range`] for lists, logits or a mode that cannot be, a scale that is not above 0, and an index that
/// covers rows that the first token does not see; [`Error::Shape`] for lengths that do not fit.
pub fn attend(
    queries: &SparseQueries<'_>,
    index: &KeyIndex,
    data: &[HeadSlices<'_>],
) -> Result<Outcome> {
    queries.check(index, data)?;
    let (lists, dim) = (&queries.lists, index.shape().dim as usize);
    let mut outcome = Outcome {
        o: Vec::with_capacity(queries.q.len()),
        lse: Vec::new(),
        lists: Vec::new(),
        stats: Vec::new(),
    };
    let sums = index.sums();
    for list in 0..lists.count() {
        let head = lists.head_of(list) as usize;
        let seen = lists.seen(list, rows_of(&data[head], dim as u32)?);
        let row = |row: u32| &queries.q[row as usize * dim..(row as usize + 1) * dim];
        let token = lists.token_of(list);
        let first = (token * lists.heads + head as u32) * lists.group;
        let find = Find {
            index,
            head,
            sinks: lists.sinks,
            sums: &sums[head * 3 * dim..(head + 1) * 3 * dim],
            logits: &queries.logits,
            queries: lists.rows_of(list).map(row).collect(),
            group: (first..first + lists.group).map(row).collect(),
        };
        let keys = data[head].keys.chunks_exact(dim).take(seen as usize);
        let logits: Vec<Vec<f64>> = find
            .queries
            .iter()
            .map(|q| keys.clone().map(|k| queries.logits.of(q, k)).collect())
            .collect();
        let found = find.rows(&queries.mode.selection, &logits);
        let listed = listed(lists, &found, seen, index.rows(head));
        let mean = find.mean_value();
        for (at, logits) in logits.iter().enumerate() {
            let one = One { logits, estimates: &found.estimates[at], listed: &listed };
            let values = data[head].values;
            let (state, kept, mass) = one.attend(&queries.mode, values, mean.as_deref(), dim);
            let (o, lse) = state.finish();
            outcome.o.extend(o);
            outcome.lse.push(lse);
            outcome.stats.push(RowStats {
                seen,
                candidates: found.candidates[at],
                entries: found.entries[at],
                kept,
                mass,
                fallback: listed.fallback,
            });
        }
        outcome.lists.push(listed);
    }
    Ok(outcome)
}

/// Sinks, rows beyond the index, and rows found.
fn listed(lists: &Lists, found: &Found, seen: u32, covered: u32) -> Listed {
    if !found.always {
        return Listed { rows: found.rows.clone(), always: 0, scored: seen, fallback: false };
    }
    let sinks = lists.sinks.min(seen);
    let mut rows: Vec<u32> = (0..sinks).chain(covered.max(sinks)..seen).collect();
    // Counted by u32.
    let always = rows.len() as u32;
    rows.extend(found.rows.iter().filter(|row| **row >= sinks));
    let scored = found.ranked.map_or(rows.len() as u32, |ranked| always + ranked);
    Listed { rows, always, scored, fallback: found.fallback }
}

/// One query row of a list.
struct One<'a> {
    /// Of all rows seen.
    logits: &'a [f64],
    /// Of the first rows, as far as they are known: those that the index covers, or all.
    estimates: &'a [f64],
    listed: &'a Listed,
}

impl One<'_> {
    /// The state, the rows attended to, and their share of all weight.
    fn attend(
        &self,
        mode: &Mode,
        values: &[f32],
        mean: Option<&[f64]>,
        dim: usize,
    ) -> (State, Vec<u32>, f64) {
        let logit = |row: &u32| self.logits[*row as usize];
        let rows = &self.listed.rows;
        let largest = rows.iter().map(logit).fold(f64::NEG_INFINITY, f64::max);
        let keep = mode.selection.keep();
        let most = if keep > 0.0 && !self.listed.fallback { -keep.ln() } else { f64::INFINITY };
        // What is no number stays.
        let (dropped, kept): (Vec<u32>, Vec<u32>) =
            rows.iter().partition(|row| largest - logit(row) > most);
        let mut states = vec![over(&kept, logit, values, dim)];
        if let (Tail::Mean, Some(mean)) = (mode.tail, mean) {
            let weight = |m: f64| match m == f64::from(NO_KEY) {
                true => State::empty(dim),
                false => State { m, l: 1.0, o: mean.to_vec() },
            };
            states.push(weight(log_sum(dropped.iter().map(logit))));
            let mut rest = vec![true; self.estimates.len()];
            rows.iter().for_each(|row| {
                if let Some(rest) = rest.get_mut(*row as usize) {
                    *rest = false;
                }
            });
            let rest = rest.iter().zip(self.estimates).filter(|(rest, _)| **rest);
            states.push(weight(log_sum(rest.map(|(_, estimate)| *estimate))));
        }
        let all = log_sum(self.logits.iter().copied());
        let mass = match self.logits.is_empty() {
            true => 1.0,
            false => (log_sum(kept.iter().map(logit)) - all).exp(),
        };
        (State::merge(&states, dim), kept, mass)
    }
}

fn over(rows: &[u32], logit: impl Fn(&u32) -> f64, values: &[f32], dim: usize) -> State {
    let m = rows.iter().map(&logit).fold(f64::NEG_INFINITY, f64::max);
    if rows.is_empty() {
        return State::empty(dim);
    }
    let mut state = State { m, l: 0.0, o: vec![0.0; dim] };
    for row in rows {
        let weight = (logit(row) - m).exp();
        state.l += weight;
        let values = &values[*row as usize * dim..(*row as usize + 1) * dim];
        state.o.iter_mut().zip(values).for_each(|(o, v)| *o += weight * f64::from(*v));
    }
    state
}
