//! Sizes that every layer of a cache has.

use super::KvElement;
use crate::{Error, Result};

/// Head dimensions that there are kernels for.
pub const HEAD_DIMS: [usize; 5] = [64, 80, 96, 128, 256];

/// Words of a piece of 16 bytes, what a lane loads at once.
pub const PIECE: usize = 4;

/// KV heads, their dimension and their element: what all layouts of a cache share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CacheShape {
    kv_heads: usize,
    head_dim: usize,
    element: KvElement,
}

impl CacheShape {
    /// A cache of `kv_heads` heads of `head_dim` numbers for each of key and value.
    ///
    /// # Errors
    /// [`Error::Range`] for no heads, more than 65,535 (a kernel's grid counts them), or a dimension
    /// that is not one of [`HEAD_DIMS`].
    pub fn new(kv_heads: usize, head_dim: usize, element: KvElement) -> Result<Self> {
        if !(1..=0xffff).contains(&kv_heads) {
            return Err(Error::range("KV heads", "1..=65535", kv_heads));
        }
        if !HEAD_DIMS.contains(&head_dim) {
            return Err(Error::range("head dimension", format!("{HEAD_DIMS:?}"), head_dim));
        }
        Ok(Self { kv_heads, head_dim, element })
    }

    /// KV heads.
    pub fn kv_heads(&self) -> usize {
        self.kv_heads
    }

    /// Numbers of a row.
    pub fn head_dim(&self) -> usize {
        self.head_dim
    }

    /// What numbers are stored as.
    pub fn element(&self) -> KvElement {
        self.element
    }

    /// Words of a row, padding included: a multiple of [`PIECE`].
    pub fn row_words(&self) -> usize {
        self.used_words().next_multiple_of(PIECE)
    }

    /// Words of a row that hold numbers; the others are 0.
    pub fn used_words(&self) -> usize {
        // Every head dimension is a multiple of the numbers of a word.
        self.head_dim / self.element.per_word()
    }

    /// Words of parameters of a row: 1 with a scale, else 0.
    pub fn row_params(&self) -> usize {
        usize::from(self.element.scaled())
    }

    /// Bytes of `rows` rows of keys and of values together, parameters included.
    pub fn bytes(&self, rows: u32) -> u64 {
        8 * (self.row_words() + self.row_params()) as u64 * u64::from(rows)
    }

    /// Most rows that a tensor can have: pieces of 16 bytes are counted by u32.
    pub fn max_rows(&self) -> u32 {
        u32::MAX / (self.row_words() / PIECE) as u32
    }

    /// A number of rows that was counted in u64, where a tensor can have so many.
    ///
    /// # Errors
    /// [`Error::Range`] beyond [`CacheShape::max_rows`].
    pub fn checked_rows(&self, rows: u64) -> Result<u32> {
        let limit = self.max_rows();
        let fitting = u32::try_from(rows).ok().filter(|rows| *rows <= limit);
        fitting.ok_or_else(|| Error::range("rows of a cache", format!("0..={limit}"), rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_whole_pieces() {
        let words = |dim, element| CacheShape::new(3, dim, element).unwrap().row_words();
        let of = |element| HEAD_DIMS.map(|dim| words(dim, element));
        assert_eq!(of(KvElement::F32), [64, 80, 96, 128, 256]);
        assert_eq!(of(KvElement::F16), [32, 40, 48, 64, 128]);
        assert_eq!(of(KvElement::Bf16), of(KvElement::F16));
        assert_eq!(of(KvElement::Int8), [16, 20, 24, 32, 64]);
        assert_eq!(of(KvElement::Int4), [8, 12, 12, 16, 32]);
        let shape = CacheShape::new(8, 128, KvElement::F16).unwrap();
        assert_eq!(shape.bytes(170_000 * 8), 2 * 348_160_000);
        let shape = CacheShape::new(8, 80, KvElement::Int4).unwrap();
        assert_eq!((shape.used_words(), shape.bytes(1)), (10, 104));
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        for (heads, dim) in [(0, 64), (65_536, 64), (1, 0), (1, 63), (1, 512), (1, usize::MAX)] {
            let error = CacheShape::new(heads, dim, KvElement::F16).unwrap_err();
            assert!(matches!(error, Error::Range { .. }), "{error}");
        }
        let shape = CacheShape::new(1, 256, KvElement::F32).unwrap();
        assert_eq!(shape.max_rows(), u32::MAX / 64);
        assert_eq!(shape.checked_rows(67_108_863).unwrap(), 67_108_863);
        for rows in [67_108_864, 1 << 32, u64::MAX] {
            assert!(matches!(shape.checked_rows(rows), Err(Error::Range { .. })), "{rows}");
        }
    }
}
