//! The importance of cached pairs by the largest attention that a pass pays them, from the definition.
//!
//! Source: "KVzip: Query-Agnostic KV Cache Compression with Context Reconstruction", Kim et al.,
//! NeurIPS 2025, arXiv 2505.23416, section 3.

use super::Logits;
use crate::attention::{Denominator, HeadData, KvCache};
use crate::{Error, Result};
use std::ops::Range;

/// One chunk of one layer to be scored: the queries of a pass over new tokens, whose rows have been
/// appended to the cache already, and which rows there are.
///
/// Query `i` sees rows `0 .. new.start + i + 1` of its head, `i` from 0: the causal rule only cuts the
/// new rows.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreProblem<'a> {
    /// `[q_len, query_heads, head_dim]`, with the rotary embedding applied; query head `h G + g` reads KV
    /// head `h`.
    pub q: &'a [f32],
    /// New tokens, all of which ask; at least one.
    pub q_len: usize,
    /// A multiple of the KV heads.
    pub query_heads: usize,
    /// Rows `0..sink` are in the denominator of [`Denominator::Subset`].
    pub sink: u32,
    /// The rows that are scored; none before the sink's end.
    pub chunk: Range<u32>,
    /// The rows of the new tokens, one for each query, none before the chunk's end.
    pub new: Range<u32>,
    /// What the exponentials are divided by.
    pub denominator: Denominator,
    /// For [`Denominator::Full`]: the natural logarithm of every query's sum over all rows that it sees,
    /// `[q_len, query_heads]`, as the pass's attention had it. Worked out from all of them where absent.
    pub lse: Option<&'a [f64]>,
    /// How logits are made.
    pub logits: Logits,
}

impl ScoreProblem<'_> {
    /// Query heads of a KV head, once everything fits the cache.
    fn check(&self, cache: &KvCache) -> Result<usize> {
        self.logits.check()?;
        let (heads, dim) = (cache.shape().kv_heads(), cache.shape().head_dim());
        if self.query_heads == 0 || !self.query_heads.is_multiple_of(heads) {
            let expected = format!("a multiple of {heads} KV heads");
            return Err(Error::shape("query heads", expected, self.query_heads));
        }
        if self.q_len == 0 {
            return Err(Error::range("queries of a scoring pass", "1..", 0));
        }
        let expected = self.q_len.checked_mul(self.query_heads).and_then(|n| n.checked_mul(dim));
        if expected != Some(self.q.len()) {
            let expected = format!("{} x {} x {dim}", self.q_len, self.query_heads);
            return Err(Error::shape("length of queries", expected, self.q.len()));
        }
        let (chunk, new) = (&self.chunk, &self.new);
        if chunk.start < self.sink || chunk.end < chunk.start || chunk.end > new.start {
            let limit = format!("rows from {} to {}", self.sink, new.start);
            return Err(Error::range("chunk to score", limit, format!("{chunk:?}")));
        }
        if new.len() != self.q_len {
            return Err(Error::shape("rows of the new tokens", self.q_len, new.len()));
        }
        for head in 0..heads {
            let len = cache.layout().len(head);
            if new.end > len {
                let what = format!("end of the new rows of head {head}");
                return Err(Error::range(what, format!("0..={len}"), new.end));
            }
        }
        match self.lse {
            Some(lse) if lse.len() != self.q_len * self.query_heads => {
                let expected = self.q_len * self.query_heads;
                Err(Error::shape("logarithms of sums of queries", expected, lse.len()))
            }
            _ => Ok(self.query_heads / heads),
        }
    }

    /// One query.
    fn row(&self, token: usize, query_head: usize) -> &[f32] {
        let dim = self.q.len() / (self.q_len * self.query_heads).max(1);
        let at = (token * self.query_heads + query_head) * dim;
        &self.q[at..at + dim]
    }

    /// The logarithm of the sum of exponentials by which a query's are divided; 0 for
    /// [`Denominator::None`].
    fn lse_of(&self, data: &HeadData, token: usize, query_head: usize) -> f64 {
        let end = self.new.start + token as u32 + 1;
        let q = self.row(token, query_head);
        let over = |rows: &mut dyn Iterator<Item = u32>| {
            let logits: Vec<f64> = rows.map(|row| self.logit(data, q, row)).collect();
            let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            largest + logits.iter().map(|x| (x - largest).exp()).sum::<f64>().ln()
        };
        match (self.denominator, self.lse) {
            (Denominator::None, _) => 0.0,
            (Denominator::Full, Some(lse)) => lse[token * self.query_heads + query_head],
            (Denominator::Full, None) => over(&mut (0..end)),
            (Denominator::Subset, _) => {
                over(&mut (0..self.sink).chain(self.chunk.clone()).chain(self.new.start..end))
            }
        }
    }

    fn logit(&self, data: &HeadData, q: &[f32], row: u32) -> f64 {
        let at = row as usize * q.len();
        self.logits.of(q, &data.keys[at..at + q.len()])
    }
}

/// The natural logarithm of every query's denominator, `[q_len, query_heads]`: of the sum of `exp(x)` over
/// the keys that the [`Denominator`] names and the query sees; 0 for [`Denominator::None`].
///
/// # Errors
/// As [`score_max`].
pub fn score_lse(problem: &ScoreProblem<'_>, cache: &KvCache) -> Result<Vec<f64>> {
    let group = problem.check(cache)?;
    let mut lse = vec![0.0; problem.q_len * problem.query_heads];
    for head in 0..cache.shape().kv_heads() {
        let data = cache.head(head)?;
        for token in 0..problem.q_len {
            for query_head in head * group..(head + 1) * group {
                lse[token * problem.query_heads + query_head] =
                    problem.lse_of(&data, token, query_head);
            }
        }
    }
    Ok(lse)
}

/// `[kv_heads, chunk]`: the largest `exp(x - lse)` of every pair of the chunk over the queries of all new
/// tokens and of the query heads that share its KV head; the largest logit `x` itself for
/// [`Denominator::None`]. A pair whose every weight is a number has a number; one weight that is none makes
/// the score NaN.
///
/// # Errors
/// [`Error::Shape`] for queries, new rows or logarithms that do not fit the cache or each other;
/// [`Error::Range`] for no queries, rows that there are not or in another order than sink, chunk, new
/// rows, and for a scale or a softcap that is none.
pub fn score_max(problem: &ScoreProblem<'_>, cache: &KvCache) -> Result<Vec<f64>> {
    let lse = score_lse(problem, cache)?;
    let group = problem.query_heads / cache.shape().kv_heads();
    let mut scores = Vec::with_capacity(cache.shape().kv_heads() * problem.chunk.len());
    for head in 0..cache.shape().kv_heads() {
        let data = cache.head(head)?;
        for row in problem.chunk.clone() {
            let mut best = f64::NEG_INFINITY;
            for token in 0..problem.q_len {
                for query_head in head * group..(head + 1) * group {
                    let x = problem.logit(&data, problem.row(token, query_head), row);
                    let over = x - lse[token * problem.query_heads + query_head];
                    best = if over.is_nan() || over > best { over } else { best };
                    if best.is_nan() {
                        break;
                    }
                }
                if best.is_nan() {
                    break;
                }
            }
            scores.push(match problem.denominator {
                Denominator::None => best,
                _ => best.exp(),
            });
        }
    }
    Ok(scores)
}
