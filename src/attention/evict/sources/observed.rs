//! Attention that real queries pay.

use crate::attention::KvCache;
use crate::attention::reference::Logits;
use crate::{Error, Result};
use std::ops::Range;

/// Queries of one layer, and the rows of its cache that are to be scored by them.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed<'a> {
    /// `[q_len, query_heads, head_dim]`, with the rotary embedding applied; query head `h G + g` reads KV
    /// head `h`.
    pub q: &'a [f32],
    /// Tokens that ask; at least one.
    pub q_len: usize,
    /// A multiple of the KV heads.
    pub query_heads: usize,
    /// The row of the first query's own token: query `i` sees rows `0..=first + i`.
    pub first: u32,
    /// The rows of the context.
    pub context: Range<u32>,
    /// How logits are made.
    pub logits: Logits,
}

/// How weights of many queries make one score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Accumulate {
    /// The largest: how KVzip's authors compare H2O, by prefill attention.
    Max,
    /// The sum: "H2O: Heavy-Hitter Oracle", Zhang et al., NeurIPS 2023, arXiv 2306.14048.
    Sum,
}

impl Observed<'_> {
    /// Query heads of a KV head, once everything fits the cache.
    pub(super) fn check(&self, cache: &KvCache) -> Result<usize> {
        self.logits.check()?;
        let (heads, dim) = (cache.shape().kv_heads(), cache.shape().head_dim());
        if self.query_heads == 0 || !self.query_heads.is_multiple_of(heads) {
            let expected = format!("a multiple of {heads} KV heads");
            return Err(Error::shape("query heads", expected, self.query_heads));
        }
        let expected = self.q_len.checked_mul(self.query_heads).and_then(|n| n.checked_mul(dim));
        if expected != Some(self.q.len()) || self.q_len == 0 {
            let expected = format!("{} x {} x {dim}, not 0", self.q_len.max(1), self.query_heads);
            return Err(Error::shape("length of queries", expected, self.q.len()));
        }
        let least = cache.layout().lengths().into_iter().min().unwrap_or(0);
        let end = u64::from(self.first) + self.q_len as u64;
        if end > u64::from(least) {
            return Err(Error::range("end of the queries' rows", format!("0..={least}"), end));
        }
        if self.context.start > self.context.end || self.context.end > least {
            let range = format!("{:?}", self.context);
            return Err(Error::range("rows of the context", format!("within 0..{least}"), range));
        }
        Ok(self.query_heads / heads)
    }

    /// One query.
    pub(super) fn row(&self, token: usize, query_head: usize) -> &[f32] {
        let dim = self.q.len() / (self.q_len * self.query_heads).max(1);
        let at = (token * self.query_heads + query_head) * dim;
        &self.q[at..at + dim]
    }

    /// The weights of a query over the rows of the context; 0 for those that it does not see.
    pub(super) fn weights(&self, keys: &[f32], token: usize, query_head: usize) -> Vec<f64> {
        let q = self.row(token, query_head);
        let seen = (self.first as usize + token + 1) * q.len();
        let weights = crate::attention::reference::weights(q, &keys[..seen], &self.logits);
        let rows = self.context.start as usize..self.context.end as usize;
        rows.map(|row| weights.get(row).copied().unwrap_or(0.0)).collect()
    }
}

/// `[kv_heads, context]`: the weights that rows have for all queries, of full softmaxes, put together over
/// queries and the query heads that share a KV head.
///
/// # Errors
/// [`Error::Shape`] for queries that do not fit the cache; [`Error::Range`] for rows that there are not,
/// and for a scale or a softcap that is none.
pub fn observed_attention(
    observed: &Observed<'_>,
    cache: &KvCache,
    accumulate: Accumulate,
) -> Result<Vec<f32>> {
    let group = observed.check(cache)?;
    let mut scores = Vec::new();
    for head in 0..cache.shape().kv_heads() {
        let keys = cache.head(head)?.keys;
        let mut own = vec![0.0f64; observed.context.len()];
        for token in 0..observed.q_len {
            for query_head in head * group..(head + 1) * group {
                let weights = observed.weights(&keys, token, query_head);
                own.iter_mut().zip(weights).for_each(|(own, weight)| match accumulate {
                    Accumulate::Max => *own = own.max(weight),
                    Accumulate::Sum => *own += weight,
                });
            }
        }
        scores.extend(own.into_iter().map(|score| score as f32));
    }
    Ok(scores)
}
