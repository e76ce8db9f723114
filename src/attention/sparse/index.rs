//! Where the columns of an index lie, and how many rows they cover.

use crate::{Error, Result};

/// Words of a head in an [`IndexMap`].
const WORDS: usize = 8;
/// Elements that columns begin at multiples of: eight vectors of four words of two.
const ALIGN: u32 = 64;

/// Sizes that stay the same while an index grows within its room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IndexShape {
    /// KV heads.
    pub heads: u32,
    /// Columns of each: the head dimension.
    pub dim: u32,
    /// Elements of each tensor.
    pub elements: u32,
    /// Rows that the head with most room has room for.
    pub most: u32,
}

/// The columns of one head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct HeadColumns {
    /// Element at which the first column begins, a multiple of 64.
    pub first: u32,
    /// Elements from a column to the next, which is the room: a multiple of 64.
    pub stride: u32,
    /// Rows covered.
    pub rows: u32,
    /// Rows covered before the last extension: what builds an index works on rows `from .. rows`.
    pub from: u32,
    /// What a search may take: steps of a greedy search, or rows to find.
    pub budget: u32,
    /// Not used.
    pub unused: [u32; 3],
}

/// What kernels read of an index, `[H][8]` words of u32: [`HeadColumns`] of every head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexMap {
    shape: IndexShape,
    heads: Vec<HeadColumns>,
}

impl IndexShape {
    /// Whether rows fit u16.
    pub fn narrow(&self) -> bool {
        self.most <= 1 << 16
    }

    /// Words of `columns`, and of `sorted`.
    pub fn words(&self) -> u64 {
        u64::from(self.elements) / 2
    }

    /// Words of `order`.
    pub fn order_words(&self) -> u64 {
        let elements = u64::from(self.elements);
        if self.narrow() { elements / 2 } else { elements }
    }

    /// Elements of `sums`, f32.
    pub fn sums_len(&self) -> u64 {
        3 * u64::from(self.heads) * u64::from(self.dim)
    }

    /// Words of the map.
    pub fn map_words(&self) -> u64 {
        WORDS as u64 * u64::from(self.heads)
    }
}

impl IndexMap {
    /// An index of no rows, with room for so many of each head, rounded up to 64.
    ///
    /// # Errors
    /// [`Error::Range`] for no heads, more than 65,535, a dimension that is 0, odd or above 256, and more
    /// elements than u32 counts.
    pub fn new(dim: usize, room: &[u32]) -> Result<Self> {
        if !(1..=0xffff).contains(&room.len()) {
            return Err(Error::range("KV heads of an index", "1..=65535", room.len()));
        }
        if !(1..=256).contains(&dim) || !dim.is_multiple_of(2) {
            return Err(Error::range("columns of an index", "even numbers, 2..=256", dim));
        }
        let mut heads = Vec::new();
        let mut elements = 0u64;
        for &rows in room {
            let stride = u64::from(rows.max(1)).next_multiple_of(ALIGN.into());
            let first = elements;
            elements += stride * dim as u64;
            if elements > u32::MAX.into() {
                let limit = format!("0..={}", u32::MAX);
                return Err(Error::range("elements of an index", limit, elements));
            }
            let (first, stride) = (first as u32, stride as u32);
            heads.push(HeadColumns { first, stride, ..bytemuck::Zeroable::zeroed() });
        }
        let most = heads.iter().map(|head| head.stride).max().unwrap_or(0);
        // All counted by u32.
        let (count, elements) = (heads.len() as u32, elements as u32);
        let shape = IndexShape { heads: count, dim: dim as u32, elements, most };
        Ok(Self { shape, heads })
    }

    /// Covers rows up to `rows[h]` of each head: what kernels work on next is what has come since.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of heads, [`Error::Range`] for fewer rows than are covered or
    /// more than there is room for. Nothing has changed then.
    pub fn extend(&mut self, rows: &[u32]) -> Result<()> {
        if rows.len() != self.heads.len() {
            return Err(Error::shape("KV heads of an index", self.heads.len(), rows.len()));
        }
        for (head, (columns, &rows)) in self.heads.iter().zip(rows).enumerate() {
            if !(columns.rows..=columns.stride).contains(&rows) {
                let limit = format!("{}..={}", columns.rows, columns.stride);
                return Err(Error::range(format!("rows of head {head} of an index"), limit, rows));
            }
        }
        for (columns, &rows) in self.heads.iter_mut().zip(rows) {
            (columns.from, columns.rows) = (columns.rows, rows);
        }
        Ok(())
    }

    /// Forgets all rows.
    pub fn clear(&mut self) {
        for columns in &mut self.heads {
            (columns.from, columns.rows) = (0, 0);
        }
    }

    /// Sets what a search may take of each head.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of heads.
    pub fn set_budgets(&mut self, budgets: &[u32]) -> Result<()> {
        if budgets.len() != self.heads.len() {
            return Err(Error::shape("budgets of an index", self.heads.len(), budgets.len()));
        }
        for (columns, &budget) in self.heads.iter_mut().zip(budgets) {
            columns.budget = budget;
        }
        Ok(())
    }

    /// How large everything is.
    pub fn shape(&self) -> &IndexShape {
        &self.shape
    }

    /// The columns of every head.
    pub fn heads(&self) -> &[HeadColumns] {
        &self.heads
    }

    /// The words.
    pub fn words(&self) -> &[u32] {
        bytemuck::cast_slice(&self.heads)
    }
}
