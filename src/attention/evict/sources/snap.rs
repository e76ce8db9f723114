//! Attention of the last queries, pooled; and budgets that shrink from layer to layer.

use super::Observed;
use crate::attention::KvCache;
use crate::attention::evict::share;
use crate::{Error, Result};

/// Last tokens whose queries are asked, as published.
pub const SNAP_WINDOW: usize = 32;
/// Neighbours that are pooled, as published.
pub const SNAP_POOL: usize = 7;

/// `[kv_heads, context]`: the weights that rows have for the last `window` queries, their mean, pooled by
/// the largest of `pool` neighbours, and then the mean of the query heads that share a KV head.
///
/// Where the window's own tokens are of the context they have to stay by their place:
/// [`Eviction::n_recent`](crate::attention::evict::Eviction::n_recent). Pooling looks at them too.
///
/// Source: "SnapKV: LLM Knows What You are Looking for Before Generation", Li et al., NeurIPS 2024, arXiv
/// 2404.14469.
///
/// # Errors
/// As [`observed_attention`](super::observed_attention); [`Error::Range`] for a window of no query or more
/// than there are, and for a pool that is not odd.
pub fn snap_kv(
    observed: &Observed<'_>,
    cache: &KvCache,
    window: usize,
    pool: usize,
) -> Result<Vec<f32>> {
    let group = observed.check(cache)?;
    if !(1..=observed.q_len).contains(&window) {
        let limit = format!("1..={}, the queries", observed.q_len);
        return Err(Error::range("observation window", limit, window));
    }
    if pool.is_multiple_of(2) {
        return Err(Error::range("pooled neighbours", "odd numbers", pool));
    }
    let mut scores = Vec::new();
    for head in 0..cache.shape().kv_heads() {
        let keys = cache.head(head)?.keys;
        let mut own = vec![0.0f64; observed.context.len()];
        for query_head in head * group..(head + 1) * group {
            let mut mean = vec![0.0f64; own.len()];
            for token in observed.q_len - window..observed.q_len {
                let weights = observed.weights(&keys, token, query_head);
                mean.iter_mut().zip(weights).for_each(|(mean, weight)| *mean += weight);
            }
            let each = (window * group) as f64;
            own.iter_mut().zip(pooled(&mean, pool)).for_each(|(own, sum)| *own += sum / each);
        }
        scores.extend(own.into_iter().map(|score| score as f32));
    }
    Ok(scores)
}

/// The largest of every number and the `pool / 2` on either side.
fn pooled(values: &[f64], pool: usize) -> Vec<f64> {
    let around = |at: usize| {
        let to = at.saturating_add(pool / 2 + 1).min(values.len());
        values[at.saturating_sub(pool / 2)..to].iter().copied().fold(f64::NEG_INFINITY, f64::max)
    };
    (0..values.len()).map(around).collect()
}

/// Positions of every head that stay, layer by layer: linear, most in the first layer. Besides `window`
/// positions for all layers, the last has a `beta`-th of what layers have in the mean, 20 as published, and
/// the first as much above the mean as that is below. Where the first would have more than `n`, it has `n`
/// and the last what is left. Rounded down, so that never more than the ratio stays.
///
/// Source: "PyramidKV: Dynamic KV Cache Compression based on Pyramidal Information Funneling", Cai et al.,
/// arXiv 2406.02069.
///
/// # Errors
/// [`Error::Range`] for a ratio outside 0 to 1, or NaN, and for a beta below 1.
pub fn pyramid_budgets(
    layers: usize,
    n: u32,
    ratio: f64,
    window: u32,
    beta: f64,
) -> Result<Vec<u32>> {
    crate::attention::evict::Eviction::new(ratio).check()?;
    if !(beta.is_finite() && beta >= 1.0) {
        return Err(Error::range("beta of a pyramid of budgets", "1 or more", beta));
    }
    let window = window.min(n);
    let (all, most) = (share(n.into(), ratio), f64::from(n - window));
    let mean = all.saturating_sub(window.into()) as f64;
    let least = mean / beta;
    let (first, last) = match 2.0 * mean - least {
        first if first > most => (most, 2.0 * mean - most),
        first => (first, least),
    };
    let step = if layers > 1 { (first - last) / (layers - 1) as f64 } else { 0.0 };
    let of = |layer: usize| {
        let own = if layers == 1 { mean } else { first - layer as f64 * step };
        // Within 0 to n.
        (own + 1e-9).floor() as u32 + window.min(all as u32)
    };
    Ok((0..layers).map(of).collect())
}
