//! How rows are placed, as kernels are made for it.

use super::{Layout, Placement};
use crate::launch::{Caps, Operand};
use crate::{Error, Result};

/// Sizes that stay the same while rows are appended to a cache and taken back: a kernel that is
/// planned for them needs no new plan until the cache is laid out anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Places {
    /// Rows of the tensors.
    pub rows: u32,
    /// Rows of a page; 0 unless the layout is paged.
    pub page_rows: u32,
    /// Entries that the page table may come to have: pages of the pool; 0 unless the layout is paged.
    pub entries: u32,
}

impl Places {
    /// Those of a layout.
    pub fn of(layout: &Layout) -> Self {
        let (page_rows, entries) = match layout.placement() {
            Placement::Plain(_) | Placement::Ragged(_) => (0, 0),
            Placement::Paged(paged) => (paged.page_rows(), paged.pool().pages()),
        };
        Self { rows: layout.rows(), page_rows, entries }
    }

    /// Whether there are rows, and pages for all of them.
    pub(super) fn check(&self, what: &str) -> Result<()> {
        if self.rows == 0 {
            return Err(Error::range(format!("rows of {what}"), "1..", self.rows));
        }
        let pages = u64::from(self.page_rows) * u64::from(self.entries);
        if self.page_rows > 0 && pages != u64::from(self.rows) {
            return Err(Error::shape(format!("rows of all pages of {what}"), self.rows, pages));
        }
        Ok(())
    }
}

/// A tensor of `words` words that is bound whole.
pub(super) fn whole(binding: u32, what: &str, words: u64, caps: &Caps) -> Result<Operand> {
    let (bytes, limit) = (words.saturating_mul(4), caps.bindable_bytes());
    if bytes > limit {
        return Err(Error::BindingTooLarge { what: what.to_owned(), bytes, limit });
    }
    Ok(Operand { binding, piece: 0, offset: 0, bytes })
}

/// Bytes of the largest operand.
pub(super) fn largest(operands: &[Operand]) -> u64 {
    operands.iter().map(|operand| operand.bytes).max().unwrap_or(0)
}
