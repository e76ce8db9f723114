//! Which rows of every head stay.

use crate::{Error, Result};

/// Rows to keep, ascending within each head: one list after the other, as a kernel that gathers them
/// reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeepLists {
    /// Where each head's list begins, `[heads + 1]`.
    first: Vec<u32>,
    rows: Vec<u32>,
}

impl KeepLists {
    /// `lists[h]` are the rows of head `h` that stay, of the `lengths[h]` that it has.
    ///
    /// # Errors
    /// [`Error::Shape`] for other than one list a head or rows that do not ascend, [`Error::Range`] for a
    /// row that there is not or more rows than u32 counts; each names the head.
    pub fn new<L: AsRef<[u32]>>(lists: &[L], lengths: &[u32]) -> Result<Self> {
        if lists.len() != lengths.len() {
            return Err(Error::shape("lists of kept rows", lengths.len(), lists.len()));
        }
        let mut keep = Self { first: vec![0], rows: Vec::new() };
        for (head, (list, &length)) in lists.iter().zip(lengths).enumerate() {
            let list = list.as_ref();
            if let Some(at) = list.windows(2).position(|pair| pair[0] >= pair[1]) {
                let what = format!("kept row number {} of head {head}", at + 1);
                return Err(Error::shape(what, format!("above {}", list[at]), list[at + 1]));
            }
            if let Some(&last) = list.last().filter(|last| **last >= length) {
                let what = format!("kept row of head {head}");
                return Err(Error::range(what, format!("0..{length}"), last));
            }
            keep.rows.extend(list);
            let end = u32::try_from(keep.rows.len()).map_err(|_| {
                Error::range("kept rows", format!("0..={}", u32::MAX), keep.rows.len())
            })?;
            keep.first.push(end);
        }
        Ok(keep)
    }

    /// Heads.
    pub fn heads(&self) -> usize {
        self.first.len() - 1
    }

    /// Where each head's list begins and, last, the number of all rows: `[heads + 1]`.
    pub fn first(&self) -> &[u32] {
        &self.first
    }

    /// All lists, head after head.
    pub fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// One head's list; empty where there is no such head.
    pub fn head(&self, head: usize) -> &[u32] {
        match self.first.get(head..head.saturating_add(2)) {
            Some(&[from, to]) => &self.rows[from as usize..to as usize],
            _ => &[],
        }
    }

    /// Rows that stay of every head.
    pub fn lengths(&self) -> Vec<u32> {
        self.first.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }
}
