//! As many rows for every head.

use super::HeadRows;
use crate::attention::CacheShape;
use crate::{Error, Result};

/// Head `h` owns rows `h capacity .. (h + 1) capacity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlainLayout {
    heads: u32,
    capacity: u32,
    kept: u32,
}

impl PlainLayout {
    /// `kept` rows of every head, of the `capacity` that it has room for.
    ///
    /// # Errors
    /// [`Error::Range`] for more kept rows than that, or more rows than a tensor can have.
    pub(in super::super) fn new(shape: &CacheShape, kept: u32, capacity: u32) -> Result<Self> {
        if kept > capacity {
            return Err(Error::range("kept rows", format!("0..={capacity}"), kept));
        }
        shape.checked_rows(shape.kv_heads() as u64 * u64::from(capacity))?;
        // At most 65,535.
        Ok(Self { heads: shape.kv_heads() as u32, capacity, kept })
    }

    /// Rows that a head has room for.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    pub(super) fn rows(&self) -> u32 {
        self.heads * self.capacity
    }

    pub(super) fn kept(&self, head: usize) -> u32 {
        if head < self.heads as usize { self.kept } else { 0 }
    }

    /// Rows beyond the kept ones.
    pub(super) fn slack(&self) -> u32 {
        self.capacity - self.kept
    }

    pub(super) fn view(&self) -> Vec<HeadRows> {
        let firsts = (0..self.heads).map(|head| head * self.capacity);
        firsts.map(|first| HeadRows { first, kept: self.kept }).collect()
    }
}
