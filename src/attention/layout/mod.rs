//! Where the rows of a cache lie: one view for three layouts.

mod groups;
mod keep;
mod paged;
mod plain;
mod ragged;
#[cfg(test)]
mod tests;

pub use keep::KeepLists;
pub use paged::{PAGE_ROWS, PagePool, PagedLayout};
pub use plain::PlainLayout;
pub use ragged::{RESERVE, RaggedLayout};

use super::CacheShape;
use crate::{Error, Result};

/// How rows are placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// As many rows for every head.
    Plain(PlainLayout),
    /// A segment for each head, with slack at its end.
    Ragged(RaggedLayout),
    /// Pages of a pool.
    Paged(PagedLayout),
}

/// Where one head's rows are, as kernels read it: two words a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HeadRows {
    /// The head's first row; in a paged layout its first entry of the page table.
    pub first: u32,
    /// Rows that it has besides the appended ones.
    pub kept: u32,
}

/// What kernels are given of a layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayoutView {
    /// One for each head.
    pub heads: Vec<HeadRows>,
    /// Page numbers, head after head; empty unless the layout is paged.
    pub page_table: Vec<u32>,
    /// Rows of a page; 0 unless the layout is paged.
    pub page_rows: u32,
    /// Rows that every head has besides its kept ones.
    pub appended: u32,
}

impl LayoutView {
    /// [`LayoutView::heads`] as kernels bind them: `first, kept` of every head.
    pub fn head_words(&self) -> Vec<u32> {
        self.heads.iter().flat_map(|head| [head.first, head.kept]).collect()
    }

    /// The row of the tensors in which row `row` of a head lies, by the rule that kernels follow.
    /// Nothing where there is no such row.
    pub fn row(&self, head: usize, row: u32) -> Option<u32> {
        let HeadRows { first, kept } = *self.heads.get(head)?;
        if row >= kept.checked_add(self.appended)? {
            return None;
        }
        match self.page_rows {
            0 => first.checked_add(row),
            page_rows => {
                let entry = first.checked_add(row / page_rows)?;
                let page = self.page_table.get(entry as usize)?;
                page.checked_mul(page_rows)?.checked_add(row % page_rows)
            }
        }
    }
}

/// Rows that have to move when a cache is laid out anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RowCopy {
    /// Whose rows they are.
    pub head: u32,
    /// The first of them in the tensors as they were.
    pub from: u32,
    /// The first of them in the tensors as they are to be.
    pub to: u32,
    /// How many.
    pub rows: u32,
}

/// Sizes and places of a cache, without its data: what a host keeps beside its buffers.
///
/// A head has the rows that were kept, each head its own number, and after them those that were
/// appended, as many for every head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    shape: CacheShape,
    placement: Placement,
    appended: u32,
    /// Position of the first appended row.
    origin: u32,
    generation: u64,
    version: u64,
}

impl Layout {
    pub(super) fn new(shape: CacheShape, placement: Placement, origin: u32) -> Self {
        Self { shape, placement, appended: 0, origin, generation: 0, version: 0 }
    }

    /// No rows yet, and room for `capacity` of every head.
    ///
    /// # Errors
    /// [`Error::Range`] where those are more rows than a tensor can have.
    pub fn plain(shape: CacheShape, capacity: u32) -> Result<Self> {
        let plain = PlainLayout::new(&shape, 0, capacity)?;
        Ok(Self::new(shape, Placement::Plain(plain), 0))
    }

    /// `kept` rows of every head, room for `reserve` more ([`RESERVE`] is usual), and `origin` the
    /// position of the next token.
    ///
    /// # Errors
    /// [`Error::Shape`] for a `kept` that has not one number a head; [`Error::Range`] for a reserve of
    /// 0, more kept rows than there were tokens, or more rows than a tensor can have.
    pub fn ragged(shape: CacheShape, kept: &[u32], reserve: u32, origin: u32) -> Result<Self> {
        check_kept(&shape, kept, origin)?;
        let ragged = RaggedLayout::new(&shape, kept, reserve)?;
        Ok(Self::new(shape, Placement::Ragged(ragged), origin))
    }

    /// `kept` rows of every head in pages of `page_rows` rows, of a pool of `pages`.
    ///
    /// # Errors
    /// As [`Layout::ragged`], and [`Error::Range`] for pages of other sizes than [`PAGE_ROWS`] or where
    /// the pool has too few.
    pub fn paged(
        shape: CacheShape,
        kept: &[u32],
        page_rows: u32,
        pages: u32,
        origin: u32,
    ) -> Result<Self> {
        check_kept(&shape, kept, origin)?;
        let paged = PagedLayout::new(&shape, kept, page_rows, pages)?;
        Ok(Self::new(shape, Placement::Paged(paged), origin))
    }

    /// What an eviction leaves of this layout: as many rows as `keep` lists of every head, in segments
    /// with room for `reserve` more. All of them are kept rows then, and the next token keeps its
    /// position. Plans for this layout are stale.
    ///
    /// # Errors
    /// [`Error::Shape`] for lists of other heads, [`Error::Range`] for a row that there is not and as
    /// [`Layout::ragged`].
    pub fn compacted(&self, keep: &KeepLists, reserve: u32) -> Result<Self> {
        let heads = self.shape.kv_heads();
        if keep.heads() != heads {
            return Err(Error::shape("lists of kept rows", heads, keep.heads()));
        }
        for head in 0..heads {
            let len = self.len(head);
            if let Some(&row) = keep.head(head).last().filter(|row| **row >= len) {
                return Err(Error::range(
                    format!("kept row of head {head}"),
                    format!("0..{len}"),
                    row,
                ));
            }
        }
        self.compacted_to(&keep.lengths(), reserve)
    }

    /// As [`Layout::compacted`] where only the lengths of lists are known, one for each head.
    ///
    /// # Errors
    /// [`Error::Shape`] for lengths of other heads, [`Error::Range`] for a head that would get longer and
    /// as [`Layout::ragged`].
    pub fn compacted_to(&self, lengths: &[u32], reserve: u32) -> Result<Self> {
        let pairs = lengths.iter().zip(self.lengths()).enumerate();
        if let Some((head, (kept, len))) = pairs.into_iter().find(|(_, (kept, len))| *kept > len) {
            let what = format!("kept rows of head {head}");
            return Err(Error::range(what, format!("0..={len}"), kept));
        }
        let layout = Self::ragged(self.shape, lengths, reserve, self.next_position())?;
        Ok(layout.replacing(self))
    }

    /// Heads, their dimension and element.
    pub fn shape(&self) -> &CacheShape {
        &self.shape
    }

    /// How rows are placed.
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// Rows of the tensors, those that hold nothing included.
    pub fn rows(&self) -> u32 {
        match &self.placement {
            Placement::Plain(plain) => plain.rows(),
            Placement::Ragged(ragged) => ragged.rows(),
            Placement::Paged(paged) => paged.rows(),
        }
    }

    /// Rows of a head besides the appended ones; 0 where there is no such head.
    pub fn kept(&self, head: usize) -> u32 {
        match &self.placement {
            Placement::Plain(plain) => plain.kept(head),
            Placement::Ragged(ragged) => ragged.kept(head),
            Placement::Paged(paged) => paged.kept(head),
        }
    }

    /// Rows that every head has besides its kept ones.
    pub fn appended(&self) -> u32 {
        self.appended
    }

    /// All rows of a head; 0 where there is no such head.
    pub fn len(&self, head: usize) -> u32 {
        if head < self.shape.kv_heads() { self.kept(head) + self.appended } else { 0 }
    }

    /// Rows of every head.
    pub fn lengths(&self) -> Vec<u32> {
        (0..self.shape.kv_heads()).map(|head| self.len(head)).collect()
    }

    /// Whether no head has a row.
    pub fn is_empty(&self) -> bool {
        (0..self.shape.kv_heads()).all(|head| self.len(head) == 0)
    }

    /// The true position of the next token, which is not its row: rows may have been removed.
    pub fn next_position(&self) -> u32 {
        self.origin + self.appended
    }

    /// The position of the first appended row.
    pub fn origin(&self) -> u32 {
        self.origin
    }

    /// Counts what makes plans stale: segments laid out anew, and rows evicted or moved to another
    /// layout. Plans name it; that rows were taken back they see from [`Layout::appended`].
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Counts changes of [`LayoutView::heads`] and [`LayoutView::page_table`], so that a host knows
    /// when to upload them again. Appended rows change them in paged layouts only.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Rows that can still be appended without laying out anew; in a paged layout as many as the pool
    /// has pages for.
    pub fn room(&self) -> u32 {
        let more = match &self.placement {
            Placement::Plain(plain) => plain.slack() - self.appended,
            Placement::Ragged(ragged) => ragged.reserve() - self.appended,
            Placement::Paged(paged) => paged.room(self.appended),
        };
        more.min(u32::MAX - self.next_position())
    }

    /// Whether not one row more can be appended.
    pub fn is_full(&self) -> bool {
        self.room() == 0
    }

    /// Makes place for `rows` rows of every head: row `kept + u + i` is the new row `i`, of the `u`
    /// appended before, which is what comes back.
    ///
    /// # Errors
    /// [`Error::Range`] for more than there is room for; nothing has changed then.
    pub fn append(&mut self, rows: u32) -> Result<u32> {
        let room = self.room();
        if rows > room {
            return Err(Error::range("appended rows", format!("0..={room}, the room"), rows));
        }
        let before = self.appended;
        if let Placement::Paged(paged) = &mut self.placement
            && paged.grow(before + rows)?
        {
            self.version += 1;
        }
        self.appended = before + rows;
        Ok(before)
    }

    /// Goes back to when `appended` rows had been appended. Plans for more rows are stale then, as
    /// [`Plan::check`](crate::attention::Plan::check) says; those for as many or fewer stay good.
    ///
    /// # Errors
    /// [`Error::Range`] for more than there are.
    pub fn truncate(&mut self, appended: u32) -> Result<()> {
        if appended > self.appended {
            let limit = format!("0..={}", self.appended);
            return Err(Error::range("appended rows after truncation", limit, appended));
        }
        self.appended = appended;
        if let Placement::Paged(paged) = &mut self.placement
            && paged.shrink(appended)
        {
            self.version += 1;
        }
        Ok(())
    }

    /// Lays a ragged cache out anew with twice the reserve, and tells which rows move. Kept rows stay
    /// kept and appended ones appended, so [`Layout::truncate`] still goes back to the first of them.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for plain and paged layouts, whose sizes are given; [`Error::Range`] where
    /// twice the reserve are more rows than a tensor can have. Nothing has changed then.
    pub fn relayout(&mut self) -> Result<Vec<RowCopy>> {
        let Placement::Ragged(ragged) = &mut self.placement else {
            let why = "its size is fixed; copy the rows into another layout";
            return Err(Error::unsupported("more room in a plain or paged cache", why));
        };
        let doubled = ragged.doubled(&self.shape)?;
        let copies = ragged.copies(&doubled, self.appended);
        *ragged = doubled;
        self.generation += 1;
        self.version += 1;
        Ok(copies)
    }

    /// What kernels are given.
    pub fn view(&self) -> LayoutView {
        let (appended, no_pages) = (self.appended, Vec::new);
        match &self.placement {
            Placement::Plain(plain) => {
                let heads = plain.view();
                LayoutView { heads, page_table: no_pages(), page_rows: 0, appended }
            }
            Placement::Ragged(ragged) => {
                LayoutView { heads: ragged.view(), page_table: no_pages(), page_rows: 0, appended }
            }
            Placement::Paged(paged) => {
                let (heads, page_table) = paged.view();
                LayoutView { heads, page_table, page_rows: paged.page_rows(), appended }
            }
        }
    }

    /// A layout that takes the place of `before`: plans for that one are stale.
    pub(super) fn replacing(mut self, before: &Self) -> Self {
        self.generation = before.generation + 1;
        self.version = before.version + 1;
        self
    }
}

fn check_kept(shape: &CacheShape, kept: &[u32], origin: u32) -> Result<()> {
    if kept.len() != shape.kv_heads() {
        return Err(Error::shape("kept rows, one number a head", shape.kv_heads(), kept.len()));
    }
    match kept.iter().position(|kept| *kept > origin) {
        None => Ok(()),
        Some(head) => {
            let limit = format!("0..={origin}, the tokens there were");
            Err(Error::range(format!("kept rows of head {head}"), limit, kept[head]))
        }
    }
}
