//! Caches laid out in another way, and with fewer rows.

use super::{KvCache, no_row};
use crate::attention::layout::{Placement, PlainLayout};
use crate::attention::{KeepLists, Layout};
use crate::{Error, Result};
use std::ops::Range;

impl KvCache {
    /// What an eviction leaves: the rows that `keep` lists, in their order, as a ragged cache with
    /// room for `reserve` more. All of them are kept rows then, and the next token keeps its position.
    /// Positions are there if they were before.
    ///
    /// # Errors
    /// [`Error::Shape`] for lists of other heads, [`Error::Range`] for a row that there is not and as
    /// [`Layout::ragged`].
    pub fn compact(&self, keep: &KeepLists, reserve: u32) -> Result<Self> {
        let layout = self.layout.compacted(keep, reserve)?;
        self.gather(layout, |head, row| keep.head(head).get(row as usize).copied())
    }

    /// Some of the heads as a cache by themselves, as [`Layout::of_heads`] lays them out.
    ///
    /// # Errors
    /// As [`Layout::of_heads`].
    pub fn of_heads(&self, heads: Range<usize>) -> Result<Self> {
        let layout = self.layout.of_heads(heads.clone())?;
        self.copied(layout, |head, row| Some((heads.start + head, row)))
    }

    /// All rows in segments with room for `reserve` more. Appended rows become kept ones.
    ///
    /// # Errors
    /// As [`Layout::ragged`].
    pub fn to_ragged(&self, reserve: u32) -> Result<Self> {
        let layout = Layout::ragged(*self.shape(), &self.layout.lengths(), reserve, self.next())?;
        self.gather(layout, |_, row| Some(row))
    }

    /// All rows with room for `capacity` of every head. Appended rows become kept ones.
    ///
    /// # Errors
    /// [`Error::Shape`] where heads are not of one length, [`Error::Range`] for less room than they
    /// need or more rows than a tensor can have.
    pub fn to_plain(&self, capacity: u32) -> Result<Self> {
        let lengths = self.layout.lengths();
        let kept = self.layout.len(0);
        if let Some(head) = lengths.iter().position(|length| *length != kept) {
            let what = format!("rows of head {head} of a plain cache");
            return Err(Error::shape(what, kept, lengths[head]));
        }
        let plain = PlainLayout::new(self.shape(), kept, capacity)?;
        let layout = Layout::new(*self.shape(), Placement::Plain(plain), self.next());
        self.gather(layout, |_, row| Some(row))
    }

    /// All rows in pages of `page_rows` rows, of a pool of `pages`. Appended rows become kept ones.
    ///
    /// # Errors
    /// As [`Layout::paged`].
    pub fn to_paged(&self, page_rows: u32, pages: u32) -> Result<Self> {
        let (lengths, next) = (self.layout.lengths(), self.next());
        let layout = Layout::paged(*self.shape(), &lengths, page_rows, pages, next)?;
        self.gather(layout, |_, row| Some(row))
    }

    fn next(&self) -> u32 {
        self.layout.next_position()
    }

    /// Rows of this cache in a layout that takes the place of its own: `source(head, row)` is the row
    /// of the head that becomes `row`.
    fn gather(&self, layout: Layout, source: impl Fn(usize, u32) -> Option<u32>) -> Result<Self> {
        let cache = self.copied(layout, |head, row| Some((head, source(head, row)?)))?;
        Ok(Self { layout: cache.layout.replacing(&self.layout), ..cache })
    }

    /// A layout with rows of this cache: `source(head, row)` is the head and its row that becomes `row`.
    fn copied(
        &self,
        layout: Layout,
        source: impl Fn(usize, u32) -> Option<(usize, u32)>,
    ) -> Result<Self> {
        let (shape, rows) = (*layout.shape(), layout.rows() as usize);
        let mut cache = Self::new(layout)?;
        cache.positions = self.positions.as_ref().map(|_| vec![0; rows]);
        let (from_view, to_view) = (self.layout.view(), cache.layout.view());
        for head in 0..shape.kv_heads() {
            for row in 0..cache.layout.len(head) {
                let from = source(head, row).and_then(|(head, row)| from_view.row(head, row));
                let from = from.ok_or_else(|| no_row(head, row))? as usize;
                let to = to_view.row(head, row).ok_or_else(|| no_row(head, row))? as usize;
                cache.keys.copy_row(to, &self.keys, from)?;
                cache.values.copy_row(to, &self.values, from)?;
                if let (Some(to_positions), Some(of)) = (&mut cache.positions, &self.positions) {
                    to_positions[to] = of[from];
                }
            }
        }
        Ok(cache)
    }

    /// A layout that has its appended rows already, and its rows without the room between them, head
    /// after head.
    #[cfg(feature = "safetensors")]
    pub(in super::super) fn from_packed(
        layout: Layout,
        keys: &super::KvTensor,
        values: &super::KvTensor,
        positions: Option<&[u32]>,
    ) -> Result<Self> {
        let mut cache = Self::new(layout)?;
        let rows: Vec<usize> = cache.packed_rows().collect();
        let mut spread = positions.map(|_| vec![0; cache.keys.rows()]);
        for (from, &to) in rows.iter().enumerate() {
            cache.keys.copy_row(to, keys, from)?;
            cache.values.copy_row(to, values, from)?;
            if let (Some(spread), Some(positions)) = (&mut spread, positions) {
                spread[to] = positions[from];
            }
        }
        Self::from_parts(cache.layout, cache.keys, cache.values, spread)
    }

    /// The rows of the tensors that heads have, head after head.
    #[cfg(feature = "safetensors")]
    pub(in super::super) fn packed_rows(&self) -> impl Iterator<Item = usize> + '_ {
        let view = self.layout.view();
        let heads = 0..self.shape().kv_heads();
        let rows = heads.flat_map(|head| (0..self.layout.len(head)).map(move |row| (head, row)));
        rows.filter_map(move |(head, row)| view.row(head, row)).map(|row| row as usize)
    }

    /// Lays a ragged cache out anew until `tokens` more rows fit.
    pub(super) fn make_room(&mut self, tokens: u32) -> Result<()> {
        let mut layout = self.layout.clone();
        while tokens > layout.room() && matches!(layout.placement(), Placement::Ragged(_)) {
            layout.relayout()?;
        }
        if layout.generation() == self.layout.generation() {
            return Ok(());
        }
        let moved = self.gather(layout.clone(), |_, row| Some(row))?;
        *self = Self { layout, ..moved };
        Ok(())
    }
}
