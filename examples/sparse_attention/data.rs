//! Keys, values and queries that are made up.

use fewbytes::attention::{CacheShape, KvCache, Layout};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};

/// Rows of a cluster, on average.
const CLUSTER: usize = 400;

/// Draws of one seed.
pub(crate) struct Source(ChaCha8Rng);

impl Source {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Numbers of mean 0 and variance 1.
    pub(crate) fn normal(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| StandardNormal.sample(&mut self.0)).collect()
    }

    pub(crate) fn below(&mut self, count: usize) -> usize {
        self.0.random_range(0..count)
    }

    /// From 0 to 1.
    pub(crate) fn part(&mut self) -> f32 {
        self.0.random()
    }

    /// A query for a row of a cache of `rows` rows: its key, with some noise, so long that the row has most of
    /// the weight.
    pub(crate) fn ask(&mut self, key: &[f32], rows: usize) -> Vec<f32> {
        let logit = (rows as f32).ln() + 9.0;
        let length = key.iter().map(|k| k * k).sum::<f32>();
        let long = logit * (key.len() as f32).sqrt() / length.max(f32::MIN_POSITIVE);
        let noise = self.normal(key.len());
        key.iter().zip(noise).map(|(k, noise)| long * (k + 0.25 * noise)).collect()
    }
}

/// A memory of rows in clusters. Values are words of -1 and 1: an output that has the signs of one is of a query
/// that found it.
pub(crate) fn memory(
    source: &mut Source,
    shape: CacheShape,
    rows: usize,
) -> fewbytes::Result<KvCache> {
    let (heads, dim) = (shape.kv_heads(), shape.head_dim());
    let clusters = rows.div_ceil(CLUSTER);
    let centers = source.normal(clusters * heads * dim);
    // `[rows, heads, dim]`, as rows are appended.
    let mut keys = source.normal(rows * heads * dim);
    for row in keys.chunks_exact_mut(heads * dim) {
        let center = source.below(clusters) * heads * dim;
        row.iter_mut().zip(&centers[center..]).for_each(|(k, center)| *k += 0.5 * center);
    }
    let sign = |x: f32| if x < 0.0 { -1.0 } else { 1.0 };
    let values: Vec<f32> = source.normal(rows * heads * dim).into_iter().map(sign).collect();
    let mut cache = KvCache::new(Layout::plain(shape, shape.checked_rows(rows as u64)?)?)?;
    cache.append(&keys, &values)?;
    Ok(cache)
}
