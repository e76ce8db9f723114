//! A layer of any-precision weights in host memory.

use super::planes::{pack_row, skew, unpack_row, unskew, words_for};
use super::tables::{check_bits, list_widths};
use super::{TableElement, Tables};
use crate::{Error, Result};

/// Any-precision weights: bit-planes, a table for every row and width, an optional bias.
///
/// A `parent_bits`-bit parent is stored as planes, most significant first. The `b`-bit weights are
/// the first `b` planes together with `table(b)`, so that every width from `seed_bits` on is read
/// from one copy. Source: "Any-Precision LLM", arXiv 2402.10517.
#[derive(Debug, Clone, PartialEq)]
pub struct BitplaneLayer {
    shape: BitplaneShape,
    /// `[parent_bits, rows, words]`, our skewed layout.
    planes: Vec<u32>,
    tables: Tables,
    bias: Option<Vec<f32>>,
}

/// Shape and widths of a layer, checked together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BitplaneShape {
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub cols: usize,
    /// Narrowest width.
    pub seed_bits: u8,
    /// Widest width, which is the number of planes.
    pub parent_bits: u8,
}

impl BitplaneShape {
    /// Shape and widths by themselves, and that tables of `widths` can go with them.
    pub(crate) fn check_widths(&self, widths: &[u8]) -> Result<()> {
        check_bits("parent bits", self.parent_bits, 2, 8)?;
        check_bits("seed bits", self.seed_bits, 2, self.parent_bits)?;
        let found = || format!("{} x {}", self.rows, self.cols);
        if self.rows == 0 || self.cols == 0 {
            return Err(Error::shape("layer", "rows > 0 and cols > 0", found()));
        }
        if self.plane_words().is_none() {
            return Err(Error::shape("layer", "planes and tables within usize", found()));
        }
        if widths.is_empty() {
            return Err(Error::shape("tables", "at least one width", "none"));
        }
        widths
            .iter()
            .try_for_each(|&b| check_bits("table width", b, self.seed_bits, self.parent_bits))
    }

    fn check(&self, tables: &Tables, bias: Option<&[f32]>) -> Result<()> {
        self.check_widths(&tables.widths().collect::<Vec<_>>())?;
        if tables.rows() != self.rows {
            return Err(Error::shape("rows of the tables", self.rows, tables.rows()));
        }
        check_bias(self.rows, bias)
    }

    /// Words of all planes, where their bytes, and those of any row's tables, can be counted.
    pub(super) fn plane_words(&self) -> Option<usize> {
        let words =
            words_for(self.cols).checked_mul(self.rows)?.checked_mul(self.parent_bits.into())?;
        // Half of the range, so that paddings can be added without a thought.
        let countable = |bytes: Option<usize>| bytes.filter(|&bytes| bytes <= usize::MAX / 2);
        countable(words.checked_mul(4))?;
        countable(self.rows.checked_mul(2048))?;
        Some(words)
    }
}

impl BitplaneLayer {
    /// Packs codes, row-major `[rows, cols]`, each below `2^parent_bits`.
    ///
    /// # Errors
    /// [`Error::Range`] for widths outside `2 <= seed <= parent <= 8`, [`Error::Shape`] where
    /// lengths disagree, [`Error::Value`] for a code that needs more bits or a bias that is not
    /// finite.
    pub fn from_codes(
        shape: BitplaneShape,
        codes: &[u8],
        tables: Tables,
        bias: Option<Vec<f32>>,
    ) -> Result<Self> {
        shape.check(&tables, bias.as_deref())?;
        if shape.rows.checked_mul(shape.cols) != Some(codes.len()) {
            let expected = format!("{} x {}", shape.rows, shape.cols);
            return Err(Error::shape("codes", expected, codes.len()));
        }
        let top = u8::MAX >> (8 - shape.parent_bits);
        if let Some(at) = codes.iter().position(|&code| code > top) {
            return Err(Error::Value {
                what: "code".to_owned(),
                row: at / shape.cols,
                col: at % shape.cols,
                value: codes[at].into(),
                rule: "must be below 2^parent_bits",
            });
        }
        let words = words_for(shape.cols);
        let plane = shape.rows * words;
        let mut planes = vec![0u32; plane * usize::from(shape.parent_bits)];
        for (row, codes) in codes.chunks_exact(shape.cols).enumerate() {
            pack_row(codes, shape.parent_bits.into(), |j, word, value| {
                planes[j * plane + row * words + word] = value;
            });
        }
        Ok(Self { shape, planes, tables, bias })
    }

    /// Wraps planes that are already in our layout, `[parent_bits, rows, ceil(cols / 32)]`.
    ///
    /// # Errors
    /// As [`BitplaneLayer::from_codes`].
    pub fn from_planes(
        shape: BitplaneShape,
        planes: Vec<u32>,
        tables: Tables,
        bias: Option<Vec<f32>>,
    ) -> Result<Self> {
        shape.check(&tables, bias.as_deref())?;
        check_planes(&shape, planes.len())?;
        Ok(Self { shape, planes, tables, bias })
    }

    /// Imports the published layout: `qweight` is `[parent_bits, rows, cols / 32]`.
    ///
    /// Only bits within words move, so the import is exact.
    ///
    /// # Errors
    /// As [`BitplaneLayer::from_codes`], and [`Error::Alignment`] when `cols` is not a multiple
    /// of 32, which that layout cannot express.
    pub fn from_reference(
        shape: BitplaneShape,
        qweight: &[u32],
        tables: Tables,
        bias: Option<Vec<f32>>,
    ) -> Result<Self> {
        check_reference_cols(shape.cols)?;
        shape.check(&tables, bias.as_deref())?;
        check_planes(&shape, qweight.len())?;
        let plane = qweight.len() / usize::from(shape.parent_bits);
        let planes = qweight.iter().enumerate().map(|(at, &word)| skew(word, at / plane)).collect();
        Ok(Self { shape, planes, tables, bias })
    }

    /// Exports the published layout: `qweight`, `[parent_bits, rows, cols / 32]`.
    ///
    /// # Errors
    /// [`Error::Alignment`] when `cols` is not a multiple of 32.
    pub fn to_reference(&self) -> Result<Vec<u32>> {
        check_reference_cols(self.shape.cols)?;
        let plane = self.shape.rows * self.words();
        Ok(self.planes.iter().enumerate().map(|(at, &word)| unskew(word, at / plane)).collect())
    }

    /// Outputs.
    pub fn rows(&self) -> usize {
        self.shape.rows
    }

    /// Inputs.
    pub fn cols(&self) -> usize {
        self.shape.cols
    }

    /// Narrowest width.
    pub fn seed_bits(&self) -> u8 {
        self.shape.seed_bits
    }

    /// Widest width, which is the number of planes.
    pub fn parent_bits(&self) -> u8 {
        self.shape.parent_bits
    }

    /// Shape and widths together.
    pub fn shape(&self) -> BitplaneShape {
        self.shape
    }

    /// The tables.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// The tables' element type.
    pub fn table_element(&self) -> TableElement {
        self.tables.element()
    }

    /// The bias, one number a row.
    pub fn bias(&self) -> Option<&[f32]> {
        self.bias.as_deref()
    }

    /// The packed planes, `[parent_bits, rows, ceil(cols / 32)]`.
    pub fn planes(&self) -> &[u32] {
        &self.planes
    }

    /// One row of one plane.
    pub(crate) fn plane_row(&self, plane: usize, row: usize) -> &[u32] {
        let words = self.words();
        let start = (plane * self.shape.rows + row) * words;
        &self.planes[start..start + words]
    }

    /// Words of one row in one plane.
    pub(crate) fn words(&self) -> usize {
        words_for(self.shape.cols)
    }

    /// The `bits`-bit codes, row-major `[rows, cols]`.
    ///
    /// # Errors
    /// [`Error::Range`] for a width outside 1 to `parent_bits`.
    pub fn codes(&self, bits: u8) -> Result<Vec<u8>> {
        check_bits("bits", bits, 1, self.shape.parent_bits)?;
        let mut codes = vec![0; self.shape.rows * self.shape.cols];
        for (row, codes) in codes.chunks_exact_mut(self.shape.cols).enumerate() {
            unpack_row(codes, bits.into(), |plane, word| self.plane_row(plane, row)[word]);
        }
        Ok(codes)
    }

    /// The dense `bits`-bit weights, row-major `[rows, cols]`: table entries, unchanged.
    ///
    /// # Errors
    /// As [`BitplaneLayer::check_width`].
    pub fn dequantize(&self, bits: u8) -> Result<Vec<f32>> {
        self.check_width(bits)?;
        let codes = self.codes(bits)?;
        let mut weights = Vec::with_capacity(codes.len());
        for (row, codes) in codes.chunks_exact(self.shape.cols).enumerate() {
            let table = self.tables.row(bits, row).unwrap_or_default();
            weights.extend(codes.iter().map(|&code| table[usize::from(code)]));
        }
        Ok(weights)
    }

    /// Whether the layer can be used at `bits` bits.
    ///
    /// # Errors
    /// [`Error::Range`] for a width outside `seed_bits..=parent_bits`, [`Error::Unsupported`]
    /// where the tables of that width were not shipped, listing those that were.
    pub fn check_width(&self, bits: u8) -> Result<()> {
        check_bits("bits", bits, self.shape.seed_bits, self.shape.parent_bits)?;
        if self.tables.bytes(bits).is_none() {
            return Err(Error::unsupported(
                format!("width {bits}"),
                format!("the layer has tables for {}", list_widths(self.tables.widths())),
            ));
        }
        Ok(())
    }
}

/// Whether a bias, where there is one, has a finite number for every row.
pub(super) fn check_bias(rows: usize, bias: Option<&[f32]>) -> Result<()> {
    let Some(bias) = bias else { return Ok(()) };
    if bias.len() != rows {
        return Err(Error::shape("length of the bias", rows, bias.len()));
    }
    match bias.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(row) => {
            let (what, value) = ("bias".to_owned(), f64::from(bias[row]));
            Err(Error::Value { what, row, col: 0, value, rule: "must be finite" })
        }
    }
}

fn check_planes(shape: &BitplaneShape, found: usize) -> Result<()> {
    if shape.plane_words() == Some(found) {
        return Ok(());
    }
    let expected = format!("{} x {} x {}", shape.parent_bits, shape.rows, words_for(shape.cols));
    Err(Error::shape("words of the planes", expected, found))
}

fn check_reference_cols(cols: usize) -> Result<()> {
    if cols.is_multiple_of(32) {
        return Ok(());
    }
    let what = "columns in the published layout".to_owned();
    Err(Error::Alignment { what, multiple: 32, value: cols as u64 })
}
