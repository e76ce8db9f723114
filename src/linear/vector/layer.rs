//! A layer of paired weights in host memory.

use crate::linear::layer::check_bias;
use crate::linear::planes::{pack_row, unpack_row, words_for};
use crate::linear::tables::{Entries, check_bits};
use crate::linear::{BitplaneShape, TableElement};
use crate::{Error, Result};

/// Widest code: tables of a row's own become too large beyond it.
const MOST_BITS: u8 = 6;

/// Shape of a layer of paired weights, and the width of its codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VectorShape {
    /// Outputs.
    pub rows: usize,
    /// Inputs; where they are odd the last code stands for one weight.
    pub cols: usize,
    /// Bits of a code, which stands for two weights: 2 to 6.
    pub code_bits: u8,
}

impl VectorShape {
    /// Codes of one row.
    pub fn codes_per_row(&self) -> usize {
        self.cols.div_ceil(2)
    }

    /// Scalars of one row's table, two an entry.
    pub(super) fn table_len(&self) -> usize {
        2 << self.code_bits
    }

    pub(super) fn check(&self) -> Result<()> {
        check_bits("code bits", self.code_bits, 2, MOST_BITS)?;
        let Self { rows, cols, .. } = *self;
        let found = || format!("{rows} x {cols}");
        if rows == 0 || cols == 0 {
            return Err(Error::shape("layer", "rows > 0 and cols > 0", found()));
        }
        if self.plane_words().is_none() || rows.checked_mul(cols).is_none() {
            return Err(Error::shape("layer", "planes and tables within usize", found()));
        }
        Ok(())
    }

    fn words(&self) -> usize {
        words_for(self.codes_per_row())
    }

    /// Words of all planes, where they can be counted.
    fn plane_words(&self) -> Option<usize> {
        let (seed_bits, parent_bits) = (self.code_bits, self.code_bits);
        let (rows, cols) = (self.rows, self.codes_per_row());
        BitplaneShape { rows, cols, seed_bits, parent_bits }.plane_words()
    }
}

/// Weights in pairs: planes of codes, a table of pairs for every row, an optional bias.
///
/// The format is described in [`crate::linear::vector`].
#[derive(Debug, Clone, PartialEq)]
pub struct VectorLayer {
    shape: VectorShape,
    /// `[code_bits, rows, words]`.
    planes: Vec<u32>,
    element: TableElement,
    /// `[rows, 2^code_bits, 2]`.
    tables: Entries,
    bias: Option<Vec<f32>>,
}

impl VectorLayer {
    /// Packs codes, row-major `[rows, ceil(cols / 2)]`, each below `2^code_bits`, with tables
    /// `[rows, 2^code_bits, 2]` from values that the element can hold.
    ///
    /// # Errors
    /// [`Error::Range`] for a width outside 2..=6, [`Error::Shape`] where lengths disagree,
    /// [`Error::Value`] for a code that needs more bits, a table entry that is not finite or that
    /// rounds to infinity, or a bias that is not finite.
    pub fn from_codes(
        shape: VectorShape,
        codes: &[u8],
        element: TableElement,
        tables: &[f32],
        bias: Option<Vec<f32>>,
    ) -> Result<Self> {
        shape.check()?;
        let per_row = shape.codes_per_row();
        if shape.rows.checked_mul(per_row) != Some(codes.len()) {
            let expected = format!("{} x {per_row}", shape.rows);
            return Err(Error::shape("codes", expected, codes.len()));
        }
        let top = u8::MAX >> (8 - shape.code_bits);
        if let Some(at) = codes.iter().position(|&code| code > top) {
            return Err(Error::Value {
                what: "code".to_owned(),
                row: at / per_row,
                col: at % per_row,
                value: codes[at].into(),
                rule: "must be below 2^code_bits",
            });
        }
        let entries = Entries::rounded(element, tables);
        check_tables(&shape, element, &entries, Some(tables))?;
        check_bias(shape.rows, bias.as_deref())?;
        let words = shape.words();
        let plane = shape.rows * words;
        let mut planes = vec![0u32; plane * usize::from(shape.code_bits)];
        for (row, codes) in codes.chunks_exact(per_row).enumerate() {
            pack_row(codes, shape.code_bits.into(), |j, word, value| {
                planes[j * plane + row * words + word] = value;
            });
        }
        Ok(Self { shape, planes, element, tables: entries, bias })
    }

    /// Wraps planes that are already in our layout, `[code_bits, rows, ceil(ceil(cols / 2) / 32)]`,
    /// and the stored little-endian bytes of the tables, `[rows, 2^code_bits, 2]`. Bits of codes
    /// past the last column may be anything.
    ///
    /// # Errors
    /// As [`VectorLayer::from_codes`], and [`Error::Alignment`] for bytes of no whole number of
    /// elements.
    pub fn from_planes(
        shape: VectorShape,
        planes: Vec<u32>,
        element: TableElement,
        tables: &[u8],
        bias: Option<Vec<f32>>,
    ) -> Result<Self> {
        shape.check()?;
        if shape.plane_words() != Some(planes.len()) {
            let expected = format!("{} x {} x {}", shape.code_bits, shape.rows, shape.words());
            return Err(Error::shape("words of the planes", expected, planes.len()));
        }
        let tables = Entries::stored(element, tables, || "bytes of the vector tables".to_owned())?;
        check_tables(&shape, element, &tables, None)?;
        check_bias(shape.rows, bias.as_deref())?;
        Ok(Self { shape, planes, element, tables, bias })
    }

    /// Outputs.
    pub fn rows(&self) -> usize {
        self.shape.rows
    }

    /// Inputs.
    pub fn cols(&self) -> usize {
        self.shape.cols
    }

    /// Bits of a code.
    pub fn code_bits(&self) -> u8 {
        self.shape.code_bits
    }

    /// Shape and width together.
    pub fn shape(&self) -> VectorShape {
        self.shape
    }

    /// The tables' element type.
    pub fn table_element(&self) -> TableElement {
        self.element
    }

    /// The table of one row, `[2^code_bits]` pairs, widened to f32.
    pub fn table(&self, row: usize) -> Option<Vec<[f32; 2]>> {
        let len = self.shape.table_len();
        let pair = |at| [self.tables.value(at), self.tables.value(at + 1)];
        (row < self.shape.rows).then(|| (row * len..(row + 1) * len).step_by(2).map(pair).collect())
    }

    /// The stored bytes of all tables, `[rows, 2^code_bits, 2]`, little-endian.
    pub fn table_bytes(&self) -> &[u8] {
        self.tables.bytes()
    }

    /// The bias, one number a row.
    pub fn bias(&self) -> Option<&[f32]> {
        self.bias.as_deref()
    }

    /// The packed planes, `[code_bits, rows, ceil(ceil(cols / 2) / 32)]`.
    pub fn planes(&self) -> &[u32] {
        &self.planes
    }

    /// One row of one plane.
    pub(super) fn plane_row(&self, plane: usize, row: usize) -> &[u32] {
        let words = self.words();
        let start = (plane * self.shape.rows + row) * words;
        &self.planes[start..start + words]
    }

    /// Words of one row in one plane.
    pub(crate) fn words(&self) -> usize {
        self.shape.words()
    }

    /// The codes, row-major `[rows, ceil(cols / 2)]`.
    pub fn codes(&self) -> Vec<u8> {
        let per_row = self.shape.codes_per_row();
        let mut codes = vec![0; self.shape.rows * per_row];
        for (row, codes) in codes.chunks_exact_mut(per_row).enumerate() {
            let get = |plane, word: usize| self.plane_row(plane, row)[word];
            unpack_row(codes, self.shape.code_bits.into(), get);
        }
        codes
    }

    /// The dense weights, row-major `[rows, cols]`: table entries, unchanged.
    pub fn dequantize(&self) -> Vec<f32> {
        let VectorShape { rows, cols, .. } = self.shape;
        let len = self.shape.table_len();
        let mut weights = Vec::with_capacity(rows * cols);
        for (row, codes) in self.codes().chunks_exact(self.shape.codes_per_row()).enumerate() {
            let entry = |col: usize| row * len + 2 * usize::from(codes[col / 2]) + col % 2;
            weights.extend((0..cols).map(|col| self.tables.value(entry(col))));
        }
        weights
    }

    /// Bits a weight that codes and tables take together, without padding and bias.
    pub fn average_bits(&self) -> f64 {
        // Rows are alike.
        let codes = usize::from(self.shape.code_bits) * self.shape.codes_per_row();
        let table = 8 * self.element.bytes() * self.shape.table_len();
        (codes + table) as f64 / self.shape.cols as f64
    }
}

fn check_tables(
    shape: &VectorShape,
    element: TableElement,
    tables: &Entries,
    given: Option<&[f32]>,
) -> Result<()> {
    let (len, count) = (shape.table_len(), tables.len());
    if count / len != shape.rows || !count.is_multiple_of(len) {
        let expected = format!("{} x {} x 2", shape.rows, len / 2);
        return Err(Error::shape("entries of the vector tables", expected, count));
    }
    tables.check_finite(|| format!("{} vector table", element.name()), len, given)
}
