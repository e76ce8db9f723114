//! What two layers of a real model computed for one text.

use anyhow::{Context as _, Result};
use fewbytes::attention::reference::Logits;
use fewbytes::attention::{CacheShape, KvCache, KvElement, Layout};
use half::f16;
use safetensors::SafeTensors;
use std::path::Path;

/// KV heads.
pub(crate) const HEADS: usize = 3;
/// All query heads.
pub(crate) const QUERY_HEADS: usize = 9;
/// Numbers of a row.
pub(crate) const DIM: usize = 64;
/// Rows before the context: a sink for every method alike.
pub(crate) const PREFIX: u32 = 4;
/// Positions of the context, which may go.
pub(crate) const N: u32 = 3836;
/// Rows after the context: those of the tokens whose queries are known.
pub(crate) const AFTER: u32 = 256;
/// Of these the queries of the first so many make scores; those of the others are held out.
pub(crate) const ASKED: usize = 128;
/// Which layers of 30 they are.
pub(crate) const LAYERS: [(&str, usize); 2] = [("l9", 9), ("l29", 29)];

/// One layer.
pub(crate) struct Layer {
    pub(crate) name: &'static str,
    pub(crate) cache: KvCache,
    /// `[AFTER, QUERY_HEADS, DIM]`: of the last tokens.
    pub(crate) q: Vec<f32>,
}

impl Layer {
    /// Queries that scores may be made of.
    pub(crate) fn asked(&self) -> &[f32] {
        &self.q[..ASKED * QUERY_HEADS * DIM]
    }

    /// Queries that are held out.
    pub(crate) fn held(&self) -> &[f32] {
        &self.q[ASKED * QUERY_HEADS * DIM..]
    }
}

pub(crate) fn logits() -> Logits {
    Logits::scaled(1.0 / (DIM as f64).sqrt())
}

/// Both layers.
pub(crate) fn read(data: &Path) -> Result<Vec<Layer>> {
    let path = data.join("traces/smollm2_wikitext2_4096_l9_l29.safetensors");
    let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
    let file = SafeTensors::deserialize(&bytes)?;
    let tensor = |name: String, rows: usize, heads: usize| -> Result<Vec<f32>> {
        let view = file.tensor(&name)?;
        anyhow::ensure!(view.shape() == [rows, heads, DIM], "{name} is {:?}", view.shape());
        let halves = view.data().chunks_exact(2);
        Ok(halves.map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect())
    };
    let rows = PREFIX + N + AFTER;
    let layer = |(name, _)| {
        let [keys, values] =
            ["k", "v"].map(|part| tensor(format!("{name}.{part}"), rows as usize, HEADS));
        let shape = CacheShape::new(HEADS, DIM, KvElement::F16)?;
        let mut cache = KvCache::new(Layout::plain(shape, rows)?)?;
        cache.append(&keys?, &values?)?;
        let q = tensor(format!("{name}.q"), AFTER as usize, QUERY_HEADS)?;
        Ok(Layer { name, cache, q })
    };
    LAYERS.into_iter().map(layer).collect()
}
