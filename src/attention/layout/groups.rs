//! Layouts of some of the heads: what is done where a layer does not fit a binding.

use super::{Layout, PagedLayout, Placement, PlainLayout, RaggedLayout};
use crate::attention::CacheShape;
use crate::{Error, Result};
use std::ops::Range;

impl Layout {
    /// The layout of some of the heads by themselves, with the same rows, room and counts. Of a paged
    /// layout the heads have the pages that they hold, and their share of those that are free.
    ///
    /// # Errors
    /// [`Error::Range`] for heads that there are not, or none.
    pub fn of_heads(&self, heads: Range<usize>) -> Result<Self> {
        let all = self.shape.kv_heads();
        if heads.start >= heads.end || heads.end > all {
            return Err(Error::range(
                "KV heads of a group",
                format!("0..{all}"),
                format!("{heads:?}"),
            ));
        }
        let shape = CacheShape::new(heads.len(), self.shape.head_dim(), self.shape.element())?;
        let kept: Vec<u32> = heads.clone().map(|head| self.kept(head)).collect();
        let placement = match &self.placement {
            Placement::Plain(plain) => Placement::Plain(PlainLayout::new(
                &shape,
                plain.kept(heads.start),
                plain.capacity(),
            )?),
            Placement::Ragged(ragged) => {
                Placement::Ragged(RaggedLayout::new(&shape, &kept, ragged.reserve())?)
            }
            Placement::Paged(paged) => {
                // No more than the pool has, which u32 counts.
                let held: usize = heads.clone().map(|head| paged.pages(head).len()).sum();
                let free = paged.pool().free() as usize / all * heads.len();
                let pages = (held + free) as u32;
                let mut group = PagedLayout::new(&shape, &kept, paged.page_rows(), pages)?;
                group.grow(self.appended)?;
                Placement::Paged(group)
            }
        };
        Ok(Self { shape, placement, ..self.clone() })
    }

    /// Heads in their order in as few groups as keep the words of keys, and of values, of each group within
    /// `limit` bytes; one group where all fit.
    ///
    /// # Errors
    /// [`Error::BindingTooLarge`] naming a head that does not fit alone.
    pub fn head_groups(&self, limit: u64) -> Result<Vec<Range<usize>>> {
        let row_bytes = 4 * self.shape.row_words() as u64;
        let bytes = |heads: Range<usize>| {
            self.of_heads(heads).map(|group| u64::from(group.rows()) * row_bytes)
        };
        let (mut groups, mut start) = (Vec::new(), 0);
        for head in 0..self.shape.kv_heads() {
            let alone = bytes(head..head + 1)?;
            if alone > limit {
                let what = format!("keys of head {head} of a cache");
                return Err(Error::BindingTooLarge { what, bytes: alone, limit });
            }
            if bytes(start..head + 1)? > limit {
                groups.push(start..head);
                start = head;
            }
        }
        groups.push(start..self.shape.kv_heads());
        Ok(groups)
    }
}
