//! What a model has to be able to do.

use crate::attention::CacheShape;
use crate::attention::reference::Logits;
use crate::{Error, Result};
use std::ops::Range;

/// Sizes of a model, as far as scoring asks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ModelSizes {
    /// Layers that are scored: of a hybrid model the global ones only.
    pub layers: usize,
    /// KV heads, their dimension, and what the cache's numbers are stored as; all scored layers alike.
    pub shape: CacheShape,
    /// Query heads that share a KV head.
    pub group: usize,
    /// Positions that the model has: a token's is below.
    pub positions: u32,
    /// How the model makes logits: its own scale, and its softcap if it has one.
    pub logits: Logits,
}

impl ModelSizes {
    pub(super) fn check(&self) -> Result<()> {
        self.logits.check()?;
        for (what, count) in [("scored layers", self.layers), ("query heads a KV head", self.group)]
        {
            if !(1..=0xffff).contains(&count) {
                return Err(Error::range(what, "1..=65535", count));
            }
        }
        Ok(())
    }
}

/// One pass over a chunk, to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepeatPass {
    /// Which chunk of the context it is, from 0.
    pub number: usize,
    /// What the model reads.
    pub tokens: Vec<u32>,
    /// Position, and row, of the first of them: `s + n`; the others follow.
    pub position: u32,
    /// Rows `0..sink` are in the denominator of the softmax besides the chunk's.
    pub sink: u32,
    /// Rows of the chunk, `s + start .. s + end`.
    pub chunk: Range<u32>,
    /// The first of the chunk's positions within the context: where its scores belong.
    pub start: u32,
}

impl RepeatPass {
    /// Rows of the new tokens.
    pub fn new_rows(&self) -> Range<u32> {
        // The driver has counted them against the model's positions.
        self.position..self.position + self.tokens.len() as u32
    }
}

/// A model with its cache, in which system prefix and context are prefilled and nothing after them.
pub trait Engine {
    /// What a scorer is given of one layer: slices of the host's, as [`HostLayer`](super::HostLayer), or
    /// buffers of a device.
    type Layer<'a>;
    /// Errors of the engine's own.
    type Error: From<Error>;

    /// Its sizes.
    fn sizes(&self) -> ModelSizes;

    /// Runs a pass: its tokens at its positions, each seeing the whole cache and the pass's tokens up to
    /// itself. Every scored layer is visited once, from 0, with the queries of all tokens, after rotary
    /// embedding and norms of queries, and the keys of cache and new tokens. When it returns the cache is as
    /// it was before, in error too. Logits of tokens are not needed.
    ///
    /// # Errors
    /// The engine's own, and whatever `visit` returns.
    fn repeat_pass(
        &mut self,
        pass: &RepeatPass,
        visit: impl FnMut(usize, Self::Layer<'_>) -> Result<()>,
    ) -> Result<(), Self::Error>;
}
