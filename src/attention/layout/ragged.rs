//! A segment for each head, with slack at its end.

use super::{HeadRows, RowCopy};
use crate::attention::CacheShape;
use crate::{Error, Result};

/// Rows that heads usually have room for besides their kept ones.
pub const RESERVE: u32 = 512;

/// Segments begin and end at multiples of so many rows.
const GRAIN: u64 = 16;

/// Head `h` owns rows `first[h] .. first[h] + capacity[h]`, one head after the other, with
/// `capacity[h] = kept[h] + reserve`, rounded up to a multiple of 16.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaggedLayout {
    heads: Vec<HeadRows>,
    rows: u32,
    reserve: u32,
}

impl RaggedLayout {
    pub(super) fn new(shape: &CacheShape, kept: &[u32], reserve: u32) -> Result<Self> {
        if reserve == 0 {
            return Err(Error::range("reserve", "1..", reserve));
        }
        let mut rows = 0u64;
        let mut heads = Vec::with_capacity(kept.len());
        for &kept in kept {
            // 65,535 heads of 2^33 rows are far from the limits of u64.
            heads.push((rows, kept));
            rows += (u64::from(kept) + u64::from(reserve)).next_multiple_of(GRAIN);
        }
        let rows = shape.checked_rows(rows)?;
        // No first row is beyond the last.
        let heads = heads.iter().map(|&(first, kept)| HeadRows { first: first as u32, kept });
        Ok(Self { heads: heads.collect(), rows, reserve })
    }

    /// Rows that every head has room for besides its kept ones.
    pub fn reserve(&self) -> u32 {
        self.reserve
    }

    /// Rows of a head's segment; 0 where there is no such head.
    pub fn capacity(&self, head: usize) -> u32 {
        let first = |head: &HeadRows| head.first;
        let end = self.heads.get(head + 1).map_or(self.rows, first);
        self.heads.get(head).map_or(0, |head| end - head.first)
    }

    pub(super) fn rows(&self) -> u32 {
        self.rows
    }

    pub(super) fn kept(&self, head: usize) -> u32 {
        self.heads.get(head).map_or(0, |head| head.kept)
    }

    pub(super) fn view(&self) -> Vec<HeadRows> {
        self.heads.clone()
    }

    /// The same heads with twice the reserve.
    pub(super) fn doubled(&self, shape: &CacheShape) -> Result<Self> {
        let kept: Vec<u32> = self.heads.iter().map(|head| head.kept).collect();
        let limit = || Error::range("reserve", format!("1..={}", u32::MAX), "twice as much");
        Self::new(shape, &kept, self.reserve.checked_mul(2).ok_or_else(limit)?)
    }

    /// The rows that move from here to `to`, `appended` of them beyond those that are kept.
    pub(super) fn copies(&self, to: &Self, appended: u32) -> Vec<RowCopy> {
        let pairs = self.heads.iter().zip(&to.heads).enumerate();
        let copies = pairs.map(|(head, (from, to))| RowCopy {
            // At most 65,535.
            head: head as u32,
            from: from.first,
            to: to.first,
            rows: from.kept + appended,
        });
        copies.filter(|copy| copy.rows > 0).collect()
    }
}
