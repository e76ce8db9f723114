//! Queries, keys and values of some layers: a real model's, or seeded ones.

use anyhow::{Context as _, Result};
use fewbytes::attention::HeadData;
use half::f16;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};
use safetensors::SafeTensors;
use std::path::Path;

/// KV heads.
pub(crate) const HEADS: usize = 3;
/// Query heads of each.
pub(crate) const GROUP: usize = 3;
/// Numbers of a row.
pub(crate) const DIM: usize = 64;
/// Tokens whose queries are known, the last ones.
pub(crate) const ASKED: usize = 256;
/// Where a real model's are.
pub(crate) const FILE: &str = "traces/smollm2_wikitext2_4096_l9_l29.safetensors";

/// One layer.
pub(crate) struct Layer {
    pub(crate) name: &'static str,
    /// All rows of every KV head.
    pub(crate) heads: Vec<HeadData>,
    /// `[ASKED, HEADS GROUP, DIM]`.
    pub(crate) q: Vec<f32>,
}

impl Layer {
    fn new(name: &'static str, [keys, values]: [&[f32]; 2], q: Vec<f32>) -> Self {
        let rows_of = |of: &[f32], head: usize| -> Vec<f32> {
            of.chunks_exact(DIM).skip(head).step_by(HEADS).flatten().copied().collect()
        };
        let head = |head| HeadData { keys: rows_of(keys, head), values: rows_of(values, head) };
        Self { name, heads: (0..HEADS).map(head).collect(), q }
    }

    /// Rows of a head, those of the tokens that ask included.
    pub(crate) fn rows(&self) -> usize {
        self.heads.first().map_or(0, |head| head.keys.len() / DIM)
    }
}

/// Layers 9 and 29 of SmolLM2-135M over 4096 tokens.
pub(crate) fn read(path: &Path) -> Result<Vec<Layer>> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    let file = SafeTensors::deserialize(&bytes)?;
    let tensor = |name: String, heads: usize| -> Result<Vec<f32>> {
        let view = file.tensor(&name)?;
        anyhow::ensure!(view.shape()[1..] == [heads, DIM], "{name} is {:?}", view.shape());
        let halves = view.data().chunks_exact(2);
        Ok(halves.map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect())
    };
    let layer = |name: &'static str| {
        let [keys, values] = ["k", "v"].map(|part| tensor(format!("{name}.{part}"), HEADS));
        let q = tensor(format!("{name}.q"), HEADS * GROUP)?;
        anyhow::ensure!(q.len() == ASKED * HEADS * GROUP * DIM, "{name}.q is of other tokens");
        Ok(Layer::new(name, [&keys?, &values?], q))
    };
    ["l9", "l29"].into_iter().map(layer).collect()
}

/// Rows whose components differ in mean and spread, and queries that lean on few of them.
pub(crate) fn seeded() -> Layer {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let mut normal = |count: usize| -> Vec<f32> {
        (0..count).map(|_| StandardNormal.sample(&mut rng)).collect()
    };
    let spread: Vec<f32> = normal(HEADS * DIM).iter().map(|x: &f32| x.exp()).collect();
    let mean = normal(HEADS * DIM);
    let rows = 1024 + ASKED;
    let mut keys = normal(rows * HEADS * DIM);
    for (at, k) in keys.iter_mut().enumerate() {
        let column = at % (HEADS * DIM);
        *k = f16::from_f32(*k * spread[column] + mean[column]).to_f32();
    }
    let values = normal(rows * HEADS * DIM);
    let q: Vec<f32> = normal(ASKED * HEADS * GROUP * DIM).iter().map(|x| x * x.abs()).collect();
    Layer::new("seeded", [&keys, &values], q)
}
