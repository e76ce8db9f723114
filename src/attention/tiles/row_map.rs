//! Where the rows of a cache lie, and from where on new tokens see them: one buffer.

use crate::attention::{Layout, LayoutView};
use crate::{Error, Result};
use std::ops::Range;

/// Words before the first array: the appended rows, and three that mean nothing.
const HEADER: u64 = 4;

/// How long the arrays of a [`RowMap`] are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RowMapShape {
    /// KV heads.
    pub heads: u32,
    /// New tokens that have a start in every head, under a sliding window; else 0.
    pub starts: u32,
    /// Rows of a page; 0 where the layout is not paged.
    pub page_rows: u32,
    /// Entries of the page table, those that may come included.
    pub entries: u32,
}

/// What kernels over tiles read of a layout, in words of u32:
///
/// | array | words |
/// |---|---|
/// | the appended rows; 3 unused | 4 |
/// | [`LayoutView::head_words`] | `2 H` |
/// | under a sliding window, the first row that each new token sees of each head | `q_len H` |
/// | the page table, with room for all pages of the pool | |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowMap {
    shape: RowMapShape,
    words: Vec<u32>,
    generation: u64,
    version: u64,
    appended: u32,
}

impl RowMapShape {
    fn starts_at(&self) -> u64 {
        HEADER + 2 * u64::from(self.heads)
    }

    fn pages_at(&self) -> u64 {
        self.starts_at() + u64::from(self.starts) * u64::from(self.heads)
    }

    /// Words of all arrays.
    pub fn words(&self) -> u64 {
        self.pages_at() + u64::from(self.entries)
    }

    /// Where starts and page table begin.
    pub(in crate::attention) fn places(&self) -> Result<[u32; 2]> {
        let limit = u64::from(u32::MAX);
        if self.words() > limit {
            return Err(Error::range("words of a row map", format!("0..={limit}"), self.words()));
        }
        // Both at most the number of words.
        Ok([self.starts_at() as u32, self.pages_at() as u32])
    }
}

impl RowMap {
    /// The map of a layout to which the new rows have been appended. `starts [q_len, H]` are, under a
    /// sliding window, the first rows that new tokens see, for no token before those of the token before
    /// it: [`KvCache::window_starts`](crate::attention::KvCache::window_starts) of `q_len - i` for token
    /// `i`. Without a window there are none.
    ///
    /// # Errors
    /// [`Error::Shape`] for starts that are not whole tokens; [`Error::Range`] for more arrays than u32
    /// can count.
    pub fn new(layout: &Layout, starts: &[u32]) -> Result<Self> {
        let heads = layout.shape().kv_heads();
        if !starts.len().is_multiple_of(heads) {
            let expected = format!("a multiple of {heads}");
            return Err(Error::shape("starts of a window", expected, starts.len()));
        }
        let view = layout.view();
        let tokens = u32::try_from(starts.len() / heads).map_err(|_| {
            Error::range("starts of a window", format!("0..={}", u32::MAX), starts.len())
        })?;
        let shape = RowMapShape {
            // At most 65,535.
            heads: heads as u32,
            starts: tokens,
            page_rows: view.page_rows,
            entries: layout.rows().checked_div(view.page_rows).unwrap_or(0),
        };
        shape.places()?;
        // As many as u32 counts.
        let words = vec![0; shape.words() as usize];
        let mut map = Self { shape, words, generation: 0, version: 0, appended: 0 };
        map.put(layout, &view, starts);
        Ok(map)
    }

    /// Brings the map up to date, and tells which words may have changed.
    ///
    /// # Errors
    /// [`Error::Shape`] for a layout of another kind, or other than as many starts as before. Nothing has
    /// changed then.
    pub fn update(&mut self, layout: &Layout, starts: &[u32]) -> Result<Vec<Range<usize>>> {
        let fresh = Self::new(layout, starts)?;
        if fresh.shape != self.shape {
            let (expected, found) = (format!("{:?}", self.shape), format!("{:?}", fresh.shape));
            return Err(Error::shape("row map of another layout", expected, found));
        }
        let pages = self.shape.pages_at() as usize;
        let mut changed = Vec::new();
        for range in [0..pages, pages..self.words.len()] {
            if fresh.words.get(range.clone()) != self.words.get(range.clone()) {
                changed.push(range);
            }
        }
        *self = fresh;
        Ok(changed)
    }

    /// Whether this is the map of a layout as it is now.
    ///
    /// # Errors
    /// [`Error::Shape`] where [`RowMap::update`] has not been called since the layout changed.
    pub fn check(&self, layout: &Layout) -> Result<()> {
        for (what, expected, found) in [
            ("layout's generation", self.generation, layout.generation()),
            ("layout's version", self.version, layout.version()),
            ("appended rows", self.appended.into(), layout.appended().into()),
            ("KV heads", self.shape.heads.into(), layout.shape().kv_heads() as u64),
        ] {
            if expected != found {
                return Err(Error::shape(format!("stale row map: {what}"), expected, found));
            }
        }
        Ok(())
    }

    /// How long the arrays are.
    pub fn shape(&self) -> &RowMapShape {
        &self.shape
    }

    /// The words.
    pub fn words(&self) -> &[u32] {
        &self.words
    }

    /// The rows of a head that a new token sees, of `q_len`.
    pub(in crate::attention) fn seen(&self, head: usize, token: usize, q_len: usize) -> Range<u64> {
        let word = |at: usize| u64::from(self.words.get(at).copied().unwrap_or(0));
        let len = word(HEADER as usize + 2 * head + 1) + word(0);
        let end = (len + token as u64 + 1).saturating_sub(q_len as u64);
        let heads = self.shape.heads as usize;
        match self.shape.starts {
            0 => 0..end,
            _ => word(self.shape.starts_at() as usize + token * heads + head)..end,
        }
    }

    fn put(&mut self, layout: &Layout, view: &LayoutView, starts: &[u32]) {
        self.words[0] = view.appended;
        for (at, words) in [
            (HEADER, view.head_words().as_slice()),
            (self.shape.starts_at(), starts),
            (self.shape.pages_at(), view.page_table.as_slice()),
        ] {
            // Within the words that were counted.
            let at = at as usize;
            self.words[at..at + words.len()].copy_from_slice(words);
        }
        self.generation = layout.generation();
        (self.version, self.appended) = (layout.version(), layout.appended());
    }
}
