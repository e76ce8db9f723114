//! Attention that queries to come would pay in the mean, in closed form.

use crate::attention::KvCache;
use crate::attention::append_kv::Rotary;
use crate::attention::reference::Logits;
use crate::{Error, Result};
use std::ops::Range;

/// Where queries were turned to, and where those to come will be.
#[derive(Debug, Clone, PartialEq)]
pub struct Turns {
    /// Which numbers are turned together. `angle_rows` is not looked at.
    pub rotary: Rotary,
    /// The base of the angles, 10000 as published.
    pub theta: f64,
    /// Position of the first query; the others follow.
    pub first: u32,
    /// Positions of queries to come, 512 of them as published; at least one.
    pub future: Range<u32>,
}

/// Mean and covariance of the queries of one layer, each query head by itself.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryStatistics {
    query_heads: usize,
    dim: usize,
    /// `[query_heads, dim]`.
    mean: Vec<f64>,
    /// `[query_heads, dim, dim]`.
    covariance: Vec<f64>,
}

impl QueryStatistics {
    /// Of `q [q_len, query_heads, dim]`. With `turns` queries are turned back to position 0 first, and their
    /// mean and covariance then by the mean of the rotations of the positions to come; without they are
    /// taken as they are.
    ///
    /// # Errors
    /// [`Error::Shape`] for no queries, or a length that is not whole ones; [`Error::Range`] for rotated
    /// numbers that are odd or more than there are, a base that is none, or no positions to come.
    pub fn of(q: &[f32], query_heads: usize, dim: usize, turns: Option<&Turns>) -> Result<Self> {
        let token = query_heads.saturating_mul(dim);
        if token == 0 || q.is_empty() || !q.len().is_multiple_of(token) {
            let expected = format!("a multiple of {query_heads} x {dim}, not 0");
            return Err(Error::shape("length of queries", expected, q.len()));
        }
        turns.map_or(Ok(()), |turns| turns.check(dim))?;
        let count = (q.len() / token) as f64;
        let [mut mean, mut covariance] = [Vec::new(), Vec::new()];
        for head in 0..query_heads {
            let rows: Vec<Vec<f64>> = q
                .chunks_exact(token)
                .enumerate()
                .map(|(at, token)| {
                    let row = &token[head * dim..(head + 1) * dim];
                    let mut row: Vec<f64> = row.iter().map(|q| f64::from(*q)).collect();
                    if let Some(turns) = turns {
                        turns.back(&mut row, at);
                    }
                    row
                })
                .collect();
            let mut own = vec![0.0; dim];
            for row in &rows {
                own.iter_mut().zip(row).for_each(|(sum, q)| *sum += q / count);
            }
            let mut spread = vec![0.0; dim * dim];
            for row in &rows {
                let off: Vec<f64> = row.iter().zip(&own).map(|(q, mean)| q - mean).collect();
                for (line, a) in spread.chunks_exact_mut(dim).zip(&off) {
                    line.iter_mut().zip(&off).for_each(|(sum, b)| *sum += a * b / count);
                }
            }
            if let Some(turns) = turns {
                // R mean, and R C R^T: the rows of C, then, as it is symmetric, its columns.
                let by = turns.forth();
                turns.apply(&by, &mut own);
                for _ in 0..2 {
                    spread.chunks_exact_mut(dim).for_each(|line| turns.apply(&by, line));
                    let lines = spread.clone();
                    for (at, value) in spread.iter_mut().enumerate() {
                        *value = lines[at % dim * dim + at / dim];
                    }
                }
            }
            mean.extend(own);
            covariance.extend(spread);
        }
        Ok(Self { query_heads, dim, mean, covariance })
    }

    /// The mean query of every query head, `[query_heads, dim]`.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// The logarithm of the expected exponential of a logit: `scale mean.k + scale^2 k.C k / 2`.
    fn logit(&self, query_head: usize, key: &[f32], scale: f64) -> f64 {
        let dim = self.dim;
        let mean = &self.mean[query_head * dim..(query_head + 1) * dim];
        let spread = &self.covariance[query_head * dim * dim..(query_head + 1) * dim * dim];
        let dot =
            |row: &[f64]| -> f64 { row.iter().zip(key).map(|(a, k)| a * f64::from(*k)).sum() };
        let lines = spread.chunks_exact(dim).zip(key);
        let square: f64 = lines.map(|(line, k)| f64::from(*k) * dot(line)).sum();
        scale * dot(mean) + scale * scale * square / 2.0
    }
}

impl Turns {
    fn check(&self, dim: usize) -> Result<()> {
        let dims = self.rotary.dims;
        if dims > dim || !dims.is_multiple_of(2) {
            return Err(Error::range("rotated numbers of a row", format!("even, 0..={dim}"), dims));
        }
        if !(self.theta.is_finite() && self.theta > 0.0) {
            return Err(Error::range("base of rotary angles", "finite, above 0", self.theta));
        }
        if self.future.is_empty() {
            let found = format!("{:?}", self.future);
            return Err(Error::range("positions of queries to come", "at least one", found));
        }
        Ok(())
    }

    fn angle(&self, pair: usize, position: u32) -> f64 {
        f64::from(position) * self.theta.powf(-2.0 * pair as f64 / self.rotary.dims as f64)
    }

    /// Turns the query of token `at` back to position 0.
    fn back(&self, row: &mut [f64], at: usize) {
        let position = self.first.saturating_add(at as u32);
        let pairs = 0..self.rotary.dims / 2;
        let by: Vec<(f64, f64)> = pairs
            .map(|pair| self.angle(pair, position).sin_cos())
            .map(|(sin, cos)| (cos, -sin))
            .collect();
        self.apply(&by, row);
    }

    /// The mean over the positions to come of cosine and sine, for every pair.
    fn forth(&self) -> Vec<(f64, f64)> {
        let count = self.future.len() as f64;
        let of = |pair| {
            let angles = self.future.clone().map(|position| self.angle(pair, position).sin_cos());
            let (sin, cos) = angles.fold((0.0, 0.0), |sum, (sin, cos)| (sum.0 + sin, sum.1 + cos));
            (cos / count, sin / count)
        };
        (0..self.rotary.dims / 2).map(of).collect()
    }

    fn apply(&self, by: &[(f64, f64)], row: &mut [f64]) {
        for (pair, (cos, sin)) in by.iter().enumerate() {
            let (a, b) = self.rotary.pair(pair);
            (row[a], row[b]) = (row[a] * cos - row[b] * sin, row[a] * sin + row[b] * cos);
        }
    }
}

/// `[kv_heads, context]`: the expected weight of every row of the context, where queries are normally
/// distributed, and where `epsilon` is given, `(weight + epsilon) |v|` of it. Weights are of the softmax over
/// the context of the logarithms of expected exponentials; the mean of the query heads that share a KV head
/// counts. The paper takes the norm of a value once it is projected: pass a cache of projected values for
/// that.
///
/// The expectation knows no softcap: one is an error.
///
/// Source: "Expected Attention: KV Cache Compression by Estimating Attention from Future Queries
/// Distribution", Devoto et al., arXiv 2510.00636.
///
/// # Errors
/// [`Error::Shape`] for queries of other heads or of another dimension; [`Error::Range`] for rows that there
/// are not or a scale that is none; [`Error::Unsupported`] under a softcap.
pub fn expected_attention(
    statistics: &QueryStatistics,
    cache: &KvCache,
    context: Range<u32>,
    logits: &Logits,
    epsilon: Option<f64>,
) -> Result<Vec<f32>> {
    logits.check()?;
    if logits.softcap.is_some() {
        let why = "expected exponentials have a closed form without one only";
        return Err(Error::unsupported("expected attention under a softcap", why));
    }
    let (heads, dim) = (cache.shape().kv_heads(), cache.shape().head_dim());
    let fits = statistics.query_heads.is_multiple_of(heads) && statistics.dim == dim;
    if !fits {
        let expected = format!("a multiple of {heads} heads of {dim}");
        let found = format!("{} of {}", statistics.query_heads, statistics.dim);
        return Err(Error::shape("heads of statistics of queries", expected, found));
    }
    let least = cache.layout().lengths().into_iter().min().unwrap_or(0);
    if context.start > context.end || context.end > least {
        let limit = format!("within 0..{least}");
        return Err(Error::range("rows of the context", limit, format!("{context:?}")));
    }
    let group = statistics.query_heads / heads;
    let rows = context.start as usize * dim..context.end as usize * dim;
    let mut scores = Vec::new();
    for head in 0..heads {
        let data = cache.head(head)?;
        let (keys, values) = (&data.keys[rows.clone()], &data.values[rows.clone()]);
        let mut own = vec![0.0f64; context.len()];
        for query_head in head * group..(head + 1) * group {
            let of = |key| statistics.logit(query_head, key, logits.scale);
            let of: Vec<f64> = keys.chunks_exact(dim).map(of).collect();
            let largest = of.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = of.iter().map(|x| (x - largest).exp()).sum();
            let each = sum * group as f64;
            own.iter_mut().zip(of).for_each(|(own, x)| *own += (x - largest).exp() / each);
        }
        if let Some(epsilon) = epsilon {
            let norm = |v: &[f32]| v.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
            let norms = values.chunks_exact(dim).map(norm);
            own.iter_mut().zip(norms).for_each(|(own, norm)| *own = (*own + epsilon) * norm);
        }
        scores.extend(own.into_iter().map(|score| score as f32));
    }
    Ok(scores)
}
