//! Whether a row that a query is all about is found among others.

use anyhow::Result;
use fewbytes::attention::HeadData;
use fewbytes::attention::reference::Logits;
use fewbytes::attention::sparse::attend::{SparseQueries, attend};
use fewbytes::attention::sparse::sorted::{KeyIndex, TAIL_ROWS};
use fewbytes::attention::sparse::{Amount, Lists, Mode, Selection, Share};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};
use serde::Serialize;

const ROWS: usize = 2048;
/// Logits of needles and of other rows are this many of their deviations apart, on average.
const HEIGHTS: [f32; 2] = [6.0, 10.0];

/// How often a search found it.
#[derive(Serialize)]
pub(crate) struct Needles {
    pub(crate) setting: &'static str,
    /// Deviations of logits that the needle is above the mean.
    pub(crate) height: f32,
    /// Of each dimension.
    pub(crate) found: Vec<u32>,
}

pub(crate) const TRIES: u32 = 20;
pub(crate) const DIMS: [usize; 5] = [32, 64, 96, 128, 256];

/// Needles `c q / |q|` with some noise, among normal rows.
pub(crate) fn needles() -> Result<Vec<Needles>> {
    let k = Amount::Fraction(1.0 / 16.0);
    let greedy = |part: f64| {
        let steps = Amount::Fraction(part);
        Selection::Greedy { steps, keep: 0.0, exact: false }
    };
    let settings = [
        ("greedy, M n/8", greedy(0.125)),
        ("greedy, M n/2", greedy(0.5)),
        ("top k n/16", Selection::TopK { k }),
        ("components r 8, k n/16", Selection::ComponentTopR { r: 8, k }),
        ("components r 16, k n/16", Selection::ComponentTopR { r: 16, k }),
    ];
    let mut all: Vec<Needles> = Vec::new();
    for height in HEIGHTS {
        for (setting, _) in settings {
            all.push(Needles { setting, height, found: vec![0; DIMS.len()] });
        }
    }
    let mut rng = ChaCha8Rng::seed_from_u64(17);
    for (column, dim) in DIMS.into_iter().enumerate() {
        for _ in 0..TRIES {
            let mut normal = |count: usize| -> Vec<f32> {
                (0..count).map(|_| StandardNormal.sample(&mut rng)).collect()
            };
            let (q, keys, values) = (normal(dim), normal(ROWS * dim), normal(ROWS * dim));
            let norm = q.iter().map(|q| q * q).sum::<f32>().sqrt();
            let needle = rng.random_range(0..ROWS);
            for (at, height) in HEIGHTS.into_iter().enumerate() {
                let mut data = HeadData { keys: keys.clone(), values: values.clone() };
                let row = &mut data.keys[needle * dim..(needle + 1) * dim];
                // What it was is the noise.
                row.iter_mut().zip(&q).for_each(|(k, q)| *k += height * q / norm);
                let index = KeyIndex::build(dim, std::slice::from_ref(&data), TAIL_ROWS)?;
                for (line, (_, selection)) in settings.into_iter().enumerate() {
                    let (share, capacity) = (Share::Query, 4);
                    let lists = Lists {
                        tokens: 1,
                        heads: 1,
                        group: 1,
                        share,
                        capacity,
                        sinks: 0,
                        causal: false,
                    };
                    let logits = Logits::scaled((dim as f64).sqrt().recip());
                    let queries =
                        SparseQueries { q: &q, lists, logits, mode: Mode::new(selection) };
                    let outcome = attend(&queries, &index, &[(&data).into()])?;
                    let is = outcome.lists[0].rows.contains(&(needle as u32));
                    all[at * settings.len() + line].found[column] += u32::from(is);
                }
            }
        }
    }
    Ok(all)
}
