//! What stays.

use super::KeepMask;
use crate::attention::KeepLists;
use crate::{Error, Result};

/// The pairs that stay, of every layer and head: a [`KeepMask`] and what is known of it. A bit a pair: 12.5
/// MB for 10^8 of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    mask: KeepMask,
    /// `[layers, heads]`.
    kept: Vec<u32>,
    threshold: Option<f32>,
    nan: u64,
}

impl Selection {
    pub(super) fn new(mask: KeepMask, threshold: Option<f32>, nan: u64) -> Self {
        let heads = |layer| (0..mask.heads()).map(move |head| (layer, head));
        let all = (0..mask.layers()).flat_map(heads);
        let kept = all.map(|(layer, head)| mask.kept(layer, head)).collect();
        Self { mask, kept, threshold, nan }
    }

    /// What somebody else selected, a device perhaps, and what it tells of
    /// [`threshold`](Self::threshold) and [`nan`](Self::nan).
    pub fn from_parts(mask: KeepMask, threshold: Option<f32>, nan: u64) -> Self {
        Self::new(mask, threshold, nan)
    }

    /// Layers.
    pub fn layers(&self) -> usize {
        self.mask.layers()
    }

    /// KV heads of a layer.
    pub fn heads(&self) -> usize {
        self.mask.heads()
    }

    /// Positions of the context.
    pub fn n(&self) -> u32 {
        self.mask.n()
    }

    /// A bit for every pair.
    pub fn mask(&self) -> &KeepMask {
        &self.mask
    }

    /// The same without its counts.
    pub fn into_mask(self) -> KeepMask {
        self.mask
    }

    /// How many positions of every head stay, `[layers, heads]`.
    pub fn kept(&self) -> &[u32] {
        &self.kept
    }

    /// How many pairs stay.
    pub fn total(&self) -> u64 {
        self.kept.iter().map(|kept| u64::from(*kept)).sum()
    }

    /// Positions of a head that stay, ascending; none where there is no such head.
    pub fn positions(&self, layer: usize, head: usize) -> impl Iterator<Item = u32> + '_ {
        self.mask.positions(layer, head)
    }

    /// The score that divides, of rules that have one budget: the smallest that stays of its own by
    /// [`PairRule::Exact`](super::PairRule::Exact), the largest that goes by
    /// [`PairRule::RefStrict`](super::PairRule::RefStrict). None where nothing stays by its score, where
    /// everything does by a ratio of 1, and for rules of many budgets.
    pub fn threshold(&self) -> Option<f32> {
        self.threshold
    }

    /// How many scores were NaN, and counted as 0.
    pub fn nan(&self) -> u64 {
        self.nan
    }

    /// The rows of one layer's cache that stay: those of the system prefix, `0..prefix`; of the context
    /// behind it those selected, `prefix + p`; and those appended after it, from `prefix + n` to `rows`.
    /// `rows` is how many every head has.
    ///
    /// # Errors
    /// [`Error::Range`] where there is no such layer, or `rows` are fewer than prefix and context.
    pub fn keep_lists(&self, layer: usize, prefix: u32, rows: u32) -> Result<KeepLists> {
        if layer >= self.layers() {
            return Err(Error::range(
                "layer of a selection",
                format!("0..{}", self.layers()),
                layer,
            ));
        }
        let least = u64::from(prefix) + u64::from(self.n());
        if u64::from(rows) < least {
            let what = format!("rows of the cache of layer {layer}");
            return Err(Error::range(what, format!("{least}.."), rows));
        }
        let list = |head| {
            let context = self.positions(layer, head).map(|position| prefix + position);
            let after = prefix + self.n()..rows;
            (0..prefix).chain(context).chain(after).collect::<Vec<u32>>()
        };
        let lists: Vec<Vec<u32>> = (0..self.heads()).map(list).collect();
        KeepLists::new(&lists, &vec![rows; self.heads()])
    }
}
