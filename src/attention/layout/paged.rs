//! Pages of a pool.

use super::HeadRows;
use crate::attention::CacheShape;
use crate::{Error, Result};

/// Rows that a page may have.
pub const PAGE_ROWS: [u32; 2] = [16, 32];

/// The pages of a cache that are free and that are taken. Page `p` is rows `p page_rows ..
/// (p + 1) page_rows` of the tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PagePool {
    pages: u32,
    /// The next one to take is the last.
    free: Vec<u32>,
}

impl PagePool {
    /// `pages` pages, all of them free. The first to be taken is page 0.
    pub fn new(pages: u32) -> Self {
        Self { pages, free: (0..pages).rev().collect() }
    }

    /// Pages, free or taken.
    pub fn pages(&self) -> u32 {
        self.pages
    }

    /// Pages that are free.
    pub fn free(&self) -> u32 {
        // Never more than there are.
        self.free.len() as u32
    }

    /// Takes a page, the one that was released last.
    fn allocate(&mut self) -> Option<u32> {
        self.free.pop()
    }

    fn release(&mut self, page: u32) {
        self.free.push(page);
    }
}

/// Row `r` of head `h` is row `r % page_rows` of page `table[h][r / page_rows]`. Every head has pages
/// of its own, so heads of different lengths hold no more than they need.
///
/// With `u` rows appended a head holds pages for `kept + u` rows, `u` rounded up to whole pages: tables
/// change for all heads at the same tokens, once in `page_rows`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PagedLayout {
    page_rows: u32,
    kept: Vec<u32>,
    tables: Vec<Vec<u32>>,
    pool: PagePool,
}

impl PagedLayout {
    pub(super) fn new(
        shape: &CacheShape,
        kept: &[u32],
        page_rows: u32,
        pages: u32,
    ) -> Result<Self> {
        if !PAGE_ROWS.contains(&page_rows) {
            return Err(Error::range("rows of a page", format!("{PAGE_ROWS:?}"), page_rows));
        }
        shape.checked_rows(u64::from(pages) * u64::from(page_rows))?;
        let needed: u64 = kept.iter().map(|kept| u64::from(kept.div_ceil(page_rows))).sum();
        if needed > u64::from(pages) {
            return Err(Error::range("pages of the pool", format!("{needed}.."), pages));
        }
        let (kept, tables) = (kept.to_vec(), vec![Vec::new(); kept.len()]);
        let mut layout = Self { page_rows, kept, tables, pool: PagePool::new(pages) };
        layout.grow(0)?;
        Ok(layout)
    }

    /// Rows of a page.
    pub fn page_rows(&self) -> u32 {
        self.page_rows
    }

    /// The pages of a head, in the order of its rows; none where there is no such head.
    pub fn pages(&self, head: usize) -> &[u32] {
        self.tables.get(head).map_or(&[], Vec::as_slice)
    }

    /// The pool.
    pub fn pool(&self) -> &PagePool {
        &self.pool
    }

    pub(super) fn rows(&self) -> u32 {
        self.pool.pages() * self.page_rows
    }

    pub(super) fn kept(&self, head: usize) -> u32 {
        self.kept.get(head).copied().unwrap_or(0)
    }

    /// Pages of a head with so many kept rows, once `appended` more have been appended.
    fn held(&self, kept: u32, appended: u32) -> u64 {
        let page_rows = u64::from(self.page_rows);
        let appended = u64::from(appended).next_multiple_of(page_rows);
        (u64::from(kept) + appended).div_ceil(page_rows)
    }

    /// Rows that can be appended after `appended`.
    pub(super) fn room(&self, appended: u32) -> u32 {
        let started = appended.next_multiple_of(self.page_rows) - appended;
        // Each page of rows takes a page of every head. Rows of the pool are within u32.
        let more = self.pool.free() / self.kept.len() as u32 * self.page_rows;
        started.saturating_add(more)
    }

    /// Takes the pages for `appended` rows; whether there were any to take.
    pub(super) fn grow(&mut self, appended: u32) -> Result<bool> {
        let mut changed = false;
        for head in 0..self.tables.len() {
            let held = self.held(self.kept[head], appended);
            while (self.tables[head].len() as u64) < held {
                let empty = || Error::range("pages of the pool", "more than are taken", "none");
                let page = self.pool.allocate().ok_or_else(empty)?;
                self.tables[head].push(page);
                changed = true;
            }
        }
        Ok(changed)
    }

    /// Releases pages that `appended` rows do not need; whether there were any.
    pub(super) fn shrink(&mut self, appended: u32) -> bool {
        let mut changed = false;
        for head in (0..self.tables.len()).rev() {
            let held = self.held(self.kept[head], appended);
            while self.tables[head].len() as u64 > held {
                let Some(page) = self.tables[head].pop() else { break };
                self.pool.release(page);
                changed = true;
            }
        }
        changed
    }

    pub(super) fn view(&self) -> (Vec<HeadRows>, Vec<u32>) {
        let table = self.tables.concat();
        let mut first = 0;
        let heads = self.kept.iter().zip(&self.tables).map(|(&kept, pages)| {
            let head = HeadRows { first, kept };
            // No more entries than the pool has pages.
            first += pages.len() as u32;
            head
        });
        (heads.collect(), table)
    }
}
