//! Decode attention, and the scores of cached pairs, by plain loops in f64, from the definition.
//!
//! Rows are those that a cache stores, decoded; so against what was encoded, a cache's own error is
//! there besides. NaN and infinities go where IEEE arithmetic takes them, and no head's reach another.

mod score_max;
#[cfg(test)]
mod score_tests;
mod split;
mod state;
#[cfg(test)]
mod tests;

pub use score_max::{ScoreProblem, score_lse, score_max};
pub use split::{decode_merge, decode_split};
pub use state::State;

use super::KvCache;
use crate::{Error, Result};

/// How a query and a key make a logit: `scale q.k`, then `c tanh(x / c)` under a softcap `c`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Logits {
    /// Usually `1 / sqrt(head_dim)`.
    pub scale: f64,
    /// The bound of logits, if they have one.
    pub softcap: Option<f64>,
}

impl Logits {
    /// Without a softcap.
    pub fn scaled(scale: f64) -> Self {
        Self { scale, softcap: None }
    }

    /// The logit of a query and a key.
    pub fn of(&self, q: &[f32], k: &[f32]) -> f64 {
        let dot: f64 = q.iter().zip(k).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum();
        let x = self.scale * dot;
        self.softcap.map_or(x, |c| c * (x / c).tanh())
    }

    pub(in crate::attention) fn check(&self) -> Result<()> {
        if !self.scale.is_finite() {
            return Err(Error::range("attention scale", "finite numbers", self.scale));
        }
        match self.softcap {
            Some(c) if !(c.is_finite() && c > 0.0) => {
                Err(Error::range("softcap", "finite numbers above 0", c))
            }
            _ => Ok(()),
        }
    }
}

/// Queries of the newest tokens, whose rows have been appended already.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Queries<'a> {
    /// `[q_len, query_heads, head_dim]`; query head `h G + g` reads KV head `h`.
    pub q: &'a [f32],
    /// New tokens.
    pub q_len: usize,
    /// A multiple of the KV heads.
    pub query_heads: usize,
    /// How logits are made.
    pub logits: Logits,
    /// Rows are seen whose position is above the query's less so many, if there is a sliding window.
    pub window: Option<u32>,
}

/// What attention gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Attended {
    /// `[q_len, query_heads, head_dim]`; 0 for a query that sees no row.
    pub o: Vec<f64>,
    /// `[q_len, query_heads]`: the natural logarithm of the sum of `exp(logit)`;
    /// [`NO_KEY`](crate::attention::NO_KEY) for a query that sees no row.
    pub lse: Vec<f64>,
}

impl<'a> Queries<'a> {
    /// Query heads of a KV head, once everything fits the cache.
    fn check(&self, cache: &KvCache) -> Result<usize> {
        self.logits.check()?;
        let (heads, dim) = (cache.shape().kv_heads(), cache.shape().head_dim());
        if self.query_heads == 0 || !self.query_heads.is_multiple_of(heads) {
            let expected = format!("a multiple of {heads} KV heads");
            return Err(Error::shape("query heads", expected, self.query_heads));
        }
        let expected = self.q_len.checked_mul(self.query_heads).and_then(|n| n.checked_mul(dim));
        if expected != Some(self.q.len()) {
            let expected = format!("{} x {} x {dim}", self.q_len, self.query_heads);
            return Err(Error::shape("length of queries", expected, self.q.len()));
        }
        if self.window == Some(0) {
            return Err(Error::range("sliding window", "1..", 0));
        }
        Ok(self.query_heads / heads)
    }

    /// One query.
    fn row(&self, token: usize, query_head: usize) -> &'a [f32] {
        let dim = self.q.len() / (self.q_len * self.query_heads).max(1);
        let at = (token * self.query_heads + query_head) * dim;
        &self.q[at..at + dim]
    }

    /// The rows of a KV head that a new token's queries see, ascending.
    fn seen(&self, cache: &KvCache, head: usize, token: usize) -> Result<Vec<u32>> {
        let len = cache.layout().len(head) as usize;
        // The newest rows are hidden from all but the newest token.
        let end = (len + token + 1).saturating_sub(self.q_len).min(len) as u32;
        let Some(window) = self.window else { return Ok((0..end).collect()) };
        let why = "rows were removed without keeping them";
        let unknown = || Error::unsupported("positions of rows for a sliding window", why);
        let positions = cache.head_positions(head).ok_or_else(unknown)?;
        let position = i64::from(cache.layout().next_position()) + token as i64 - self.q_len as i64;
        let seen = (0..end).zip(positions);
        let seen = seen.filter(|(_, of)| i64::from(*of) > position - i64::from(window));
        Ok(seen.map(|(row, _)| row).collect())
    }
}

/// Attention of the newest tokens to the rows of a cache: token `i` of `q_len` sees the first
/// `len[h] - q_len + i + 1` rows of a head, of those the ones within its window.
///
/// # Errors
/// [`Error::Shape`] for queries that do not fit the cache or its heads; [`Error::Range`] for a scale,
/// softcap or window that is none; [`Error::Unsupported`] for a window over rows whose positions nobody
/// knows.
pub fn decode_attention(queries: &Queries<'_>, cache: &KvCache) -> Result<Attended> {
    let group = queries.check(cache)?;
    let mut attended = Attended::zeros(queries);
    for head in 0..cache.shape().kv_heads() {
        let data = cache.head(head)?;
        for token in 0..queries.q_len {
            let seen = queries.seen(cache, head, token)?;
            for query_head in head * group..(head + 1) * group {
                let q = queries.row(token, query_head);
                let state = State::over(q, &data, &seen, &queries.logits);
                attended.put(queries, (token, query_head), &state);
            }
        }
    }
    Ok(attended)
}

/// The weight of every row of `keys [rows, head_dim]` for one query: its softmax. Removing rows of weight
/// `e` together moves no number of the output by more than `2 e max |v|`.
pub fn weights(q: &[f32], keys: &[f32], logits: &Logits) -> Vec<f64> {
    let logits: Vec<f64> = keys.chunks_exact(q.len().max(1)).map(|k| logits.of(q, k)).collect();
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = logits.iter().map(|x| (x - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}

impl Attended {
    fn zeros(queries: &Queries<'_>) -> Self {
        let rows = queries.q_len * queries.query_heads;
        Self { o: vec![0.0; queries.q.len()], lse: vec![0.0; rows] }
    }

    /// The output of one query from the state over all rows that it sees.
    fn put(&mut self, queries: &Queries<'_>, (token, query_head): (usize, usize), state: &State) {
        let (o, lse) = state.finish();
        let row = token * queries.query_heads + query_head;
        self.o[row * o.len()..(row + 1) * o.len()].copy_from_slice(&o);
        self.lse[row] = lse;
    }
}
