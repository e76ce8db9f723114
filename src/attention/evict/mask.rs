//! A bit for every pair.

use super::scores::len;
use crate::{Error, Result};

/// One bit a pair, set for those that stay: `[layers, heads, row_words]`, u32. A head's `n` bits begin
/// at the lowest of a word; bits beyond the last are 0.
///
/// With it a cache can stay whole while attention leaves out what an eviction would have removed: many
/// ratios from one prefill. Bits are of context positions: bit `p` is that of row `s + p` behind a system
/// prefix of `s` rows. Rows before and after the context are always seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeepMask {
    layers: usize,
    heads: usize,
    n: u32,
    words: Vec<u32>,
}

impl KeepMask {
    /// Nothing stays yet.
    ///
    /// # Errors
    /// [`Error::Range`] for no layers or no heads, or more than 65,535 of them.
    pub fn new(layers: usize, heads: usize, n: u32) -> Result<Self> {
        let words = vec![0; len(layers, heads, n.div_ceil(32))?];
        Ok(Self { layers, heads, n, words })
    }

    /// From words, read back from a device perhaps.
    ///
    /// # Errors
    /// As [`KeepMask::new`]; [`Error::Shape`] for another number of words, [`Error::Value`] for a bit beyond
    /// a head's last.
    pub fn from_words(layers: usize, heads: usize, n: u32, words: Vec<u32>) -> Result<Self> {
        let row_words = n.div_ceil(32);
        if words.len() != len(layers, heads, row_words)? {
            let expected = format!("{layers} x {heads} x {row_words}");
            return Err(Error::shape("words of a mask of pairs", expected, words.len()));
        }
        let mask = Self { layers, heads, n, words };
        if !n.is_multiple_of(32) {
            let rows = mask.words.chunks_exact(row_words as usize);
            for (row, last) in rows.filter_map(<[u32]>::last).enumerate() {
                if last >> (n % 32) != 0 {
                    let (what, rule) = ("word of a mask of pairs".to_owned(), "padding must be 0");
                    let (value, col) = ((*last).into(), row_words as usize - 1);
                    return Err(Error::Value { what, row, col, value, rule });
                }
            }
        }
        Ok(mask)
    }

    /// Layers.
    pub fn layers(&self) -> usize {
        self.layers
    }

    /// KV heads of a layer.
    pub fn heads(&self) -> usize {
        self.heads
    }

    /// Bits of a head: positions of the context.
    pub fn n(&self) -> u32 {
        self.n
    }

    /// Words of a head.
    pub fn row_words(&self) -> usize {
        self.n.div_ceil(32) as usize
    }

    /// All words, `[layers, heads, row_words]`.
    pub fn words(&self) -> &[u32] {
        &self.words
    }

    /// Words of one head; empty where there is no such head.
    pub fn head(&self, layer: usize, head: usize) -> &[u32] {
        match self.row(layer, head) {
            Some(from) => &self.words[from..from + self.row_words()],
            None => &[],
        }
    }

    /// Whether a pair stays; not where there is no such pair.
    pub fn get(&self, layer: usize, head: usize, position: u32) -> bool {
        let words = self.head(layer, head);
        words.get(position as usize / 32).is_some_and(|word| word >> (position % 32) & 1 == 1)
    }

    /// Positions of a head that stay, ascending.
    pub fn positions(&self, layer: usize, head: usize) -> impl Iterator<Item = u32> + '_ {
        let words = (0u32..).zip(self.head(layer, head));
        words.flat_map(|(at, &word)| {
            // Clears the lowest bit that is set, until none is.
            let rest =
                std::iter::successors(Some(word), |rest: &u32| Some(rest & rest.wrapping_sub(1)));
            rest.take_while(|rest| *rest != 0).map(move |rest| 32 * at + rest.trailing_zeros())
        })
    }

    /// How many positions of a head stay.
    pub fn kept(&self, layer: usize, head: usize) -> u32 {
        self.head(layer, head).iter().map(|word| word.count_ones()).sum()
    }

    /// Sets the bits of one head's positions `from..`, one for each item, where it is true.
    pub(super) fn set(&mut self, row: usize, from: usize, stay: impl Iterator<Item = bool>) {
        let row = row * self.row_words();
        for (position, stay) in (from..).zip(stay) {
            self.words[row + position / 32] |= u32::from(stay) << (position % 32);
        }
    }

    fn row(&self, layer: usize, head: usize) -> Option<usize> {
        let there = layer < self.layers && head < self.heads;
        there.then(|| (layer * self.heads + head) * self.row_words())
    }
}
