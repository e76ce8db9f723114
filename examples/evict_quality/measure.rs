//! Outputs of held-out queries, with pairs left out.

use crate::trace::{ASKED, DIM, HEADS, Layer, N, PREFIX, QUERY_HEADS, logits};
use fewbytes::Result;
use fewbytes::attention::evict::Selection;

/// Weights of one query over the rows that it sees, not yet divided by their sum.
struct Query {
    head: usize,
    powers: Vec<f64>,
    /// From the full cache.
    o: Vec<f64>,
}

/// The held-out queries of one layer.
pub(crate) struct Held {
    /// Of every KV head, `[rows, DIM]`.
    values: Vec<Vec<f64>>,
    queries: Vec<Query>,
}

impl Held {
    pub(crate) fn new(layer: &Layer) -> Result<Self> {
        let heads: Result<Vec<_>> = (0..HEADS).map(|head| layer.cache.head(head)).collect();
        let heads = heads?;
        let values: Vec<Vec<f64>> =
            heads.iter().map(|data| data.values.iter().map(|v| f64::from(*v)).collect()).collect();
        let logits = logits();
        let query = |(at, q): (usize, &[f32])| {
            let head = at % QUERY_HEADS / (QUERY_HEADS / HEADS);
            let seen = (PREFIX + N) as usize + ASKED + at / QUERY_HEADS + 1;
            let keys = heads[head].keys.chunks_exact(DIM).take(seen);
            let x: Vec<f64> = keys.map(|key| logits.of(q, key)).collect();
            let largest = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let powers: Vec<f64> = x.into_iter().map(|x| (x - largest).exp()).collect();
            let o = output(&powers, &values[head], |_| true);
            Query { head, powers, o }
        };
        let queries = layer.held().chunks_exact(DIM).enumerate().map(query).collect();
        Ok(Self { values, queries })
    }

    /// How far outputs move, relative, by the pairs that a layer of a selection leaves out.
    pub(crate) fn moved(&self, selection: &Selection, layer: usize) -> f64 {
        let stays: Vec<Vec<bool>> = (0..HEADS)
            .map(|head| {
                let bit = |position| selection.mask().get(layer, head, position);
                (0..N).map(bit).collect()
            })
            .collect();
        let (mut off, mut all) = (0.0, 0.0);
        for query in &self.queries {
            let context = PREFIX as usize..(PREFIX + N) as usize;
            let stays = &stays[query.head];
            let found = output(&query.powers, &self.values[query.head], |row| {
                !context.contains(&row) || stays[row - context.start]
            });
            off += query.o.iter().zip(&found).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
            all += query.o.iter().map(|o| o.powi(2)).sum::<f64>();
        }
        (off / all).sqrt()
    }
}

/// Attention to the rows that stay.
fn output(powers: &[f64], values: &[f64], stays: impl Fn(usize) -> bool) -> Vec<f64> {
    let (mut sum, mut o) = (0.0, vec![0.0; DIM]);
    for (row, (power, v)) in powers.iter().zip(values.chunks_exact(DIM)).enumerate() {
        if stays(row) {
            sum += power;
            o.iter_mut().zip(v).for_each(|(o, v)| *o += power * v);
        }
    }
    o.iter_mut().for_each(|o| *o /= sum);
    o
}
