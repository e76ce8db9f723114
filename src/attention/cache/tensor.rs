//! The rows of keys, or of values, of a cache.

use crate::attention::{CacheShape, KvElement, decode_row, encode_row};
use crate::{Error, Result};
use half::f16;

/// Rows as they are stored: words `[rows, row_words]`, and params `[rows]` where the element has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvTensor {
    shape: CacheShape,
    rows: usize,
    words: Vec<u32>,
    params: Vec<u32>,
}

impl KvTensor {
    /// `rows` rows of zeros.
    ///
    /// # Errors
    /// [`Error::Range`] for more than a tensor can have.
    pub fn zeros(shape: CacheShape, rows: usize) -> Result<Self> {
        shape.checked_rows(rows as u64)?;
        // Machines of 32 bits cannot hold all that a tensor may.
        let words = rows.checked_mul(shape.row_words()).filter(|n| n.checked_mul(4).is_some());
        let words = words.ok_or_else(|| {
            let limit = format!("0..={}", usize::MAX / 4 / shape.row_words());
            Error::range("rows of a cache", limit, rows)
        })?;
        let (words, params) = (vec![0; words], vec![0; rows * shape.row_params()]);
        Ok(Self { shape, rows, words, params })
    }

    /// Rows of numbers `[rows, head_dim]`; `what` stands for them in errors.
    ///
    /// # Errors
    /// [`Error::Shape`] for a length that is not whole rows, [`Error::Range`] for more rows than a
    /// tensor can have, and what [`encode_row`] finds.
    pub fn encode(shape: CacheShape, what: &str, values: &[f32]) -> Result<Self> {
        let dim = shape.head_dim();
        if !values.len().is_multiple_of(dim) {
            let expected = format!("a multiple of {dim}");
            return Err(Error::shape(format!("length of {what}"), expected, values.len()));
        }
        let mut tensor = Self::zeros(shape, values.len() / dim)?;
        let words = tensor.words.chunks_exact_mut(shape.row_words());
        for (row, (values, words)) in values.chunks_exact(dim).zip(words).enumerate() {
            let params = encode_row(&shape, what, row, values, words)?;
            if let Some(stored) = tensor.params.get_mut(row) {
                *stored = params;
            }
        }
        Ok(tensor)
    }

    /// Wraps words and params that are in the format already; `what` stands for them in errors.
    ///
    /// # Errors
    /// [`Error::Shape`] for lengths that are not whole rows or not of one number of rows;
    /// [`Error::Range`] for more rows than a tensor can have; [`Error::Value`] for padding, of words or
    /// of params, that is not 0, and for a scale that is negative or a scale or zero that is not finite.
    pub fn from_parts(
        shape: CacheShape,
        what: &str,
        words: Vec<u32>,
        params: Vec<u32>,
    ) -> Result<Self> {
        let row_words = shape.row_words();
        if !words.len().is_multiple_of(row_words) {
            let expected = format!("a multiple of {row_words}");
            return Err(Error::shape(format!("words of {what}"), expected, words.len()));
        }
        let rows = words.len() / row_words;
        shape.checked_rows(rows as u64)?;
        if params.len() != rows * shape.row_params() {
            let expected = rows * shape.row_params();
            return Err(Error::shape(format!("params of {what}"), expected, params.len()));
        }
        let tensor = Self { shape, rows, words, params };
        tensor.check_padding(what)?;
        tensor.check_params(what)?;
        Ok(tensor)
    }

    /// Heads, their dimension and element.
    pub fn shape(&self) -> &CacheShape {
        &self.shape
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The words, `[rows, row_words]`.
    pub fn words(&self) -> &[u32] {
        &self.words
    }

    /// The params, `[rows]`; none for elements without.
    pub fn params(&self) -> &[u32] {
        &self.params
    }

    /// Words and word of parameters of one row, where there is such a row.
    pub fn row(&self, row: usize) -> Option<(&[u32], u32)> {
        let words = self.words.chunks_exact(self.shape.row_words()).nth(row)?;
        Some((words, self.params.get(row).copied().unwrap_or(0)))
    }

    /// Adds the numbers of one row to `values`.
    ///
    /// # Errors
    /// [`Error::Range`] where there is no such row.
    pub fn decode_into(&self, row: usize, values: &mut Vec<f32>) -> Result<()> {
        let (words, params) = self.row(row).ok_or_else(|| self.no_row(row))?;
        let from = values.len();
        values.resize(from + self.shape.head_dim(), 0.0);
        decode_row(&self.shape, words, params, &mut values[from..])
    }

    /// Takes a row of another tensor of the same shape over, as it is stored.
    pub(super) fn copy_row(&mut self, to: usize, other: &Self, from: usize) -> Result<()> {
        let (words, params) = other.row(from).ok_or_else(|| other.no_row(from))?;
        let missing = self.no_row(to);
        let mut rows = self.words.chunks_exact_mut(self.shape.row_words());
        rows.nth(to).ok_or(missing)?.copy_from_slice(words);
        if let Some(stored) = self.params.get_mut(to) {
            *stored = params;
        }
        Ok(())
    }

    fn no_row(&self, row: usize) -> Error {
        Error::range("row of a cache", format!("0..{}", self.rows), row)
    }

    fn check_padding(&self, what: &str) -> Result<()> {
        let used = self.shape.used_words();
        if used == self.shape.row_words() {
            return Ok(());
        }
        for (row, words) in self.words.chunks_exact(self.shape.row_words()).enumerate() {
            if let Some(at) = words[used..].iter().position(|word| *word != 0) {
                let (what, col) = (format!("word of {what}"), used + at);
                let (value, rule) = (words[col].into(), "padding must be 0");
                return Err(Error::Value { what, row, col, value, rule });
            }
        }
        Ok(())
    }

    fn check_params(&self, what: &str) -> Result<()> {
        let int8 = self.shape.element() == KvElement::Int8;
        for (row, &params) in self.params.iter().enumerate() {
            // Both halves are 16 bits.
            let [scale, upper] = [params, params >> 16].map(|half| f16::from_bits(half as u16));
            let refuse = |part: &str, value: f64, rule| {
                Err(Error::Value { what: format!("{part} of {what}"), row, col: 0, value, rule })
            };
            if !scale.is_finite() || scale < f16::ZERO {
                return refuse("scale", scale.to_f64(), "must be finite and not negative");
            }
            if int8 && params >> 16 != 0 {
                return refuse("params", params.into(), "the high half must be 0");
            }
            if !int8 && !upper.is_finite() {
                return refuse("zero", upper.to_f64(), "must be finite");
            }
        }
        Ok(())
    }
}
