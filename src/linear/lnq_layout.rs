//! How the kernels of LNQ hold a layer and its Hessian.
//!
//! Everything lies row by row, and rows are padded to [`LnqLayout::stride`] inputs, a multiple of
//! 64, with zeros: weights, offsets and products as f32, labels as bytes, four in a word, the first
//! one lowest. Padding has label 0, and its rows and columns of the Hessian are 0. Tables are
//! `[rows, 2^bits]` of f32.

use super::bitplane::{count, whole};
use crate::launch::{Caps, Operand};
use crate::{Error, Result};
use std::ops::Range;

/// Rows are padded to a multiple of this many inputs, and pieces and panels of the Hessian are.
pub(super) const ALIGNMENT: usize = 64;

/// Number of the Hessian's binding.
pub(super) const HESSIAN: u32 = 1;
/// Number of the offsets' binding.
pub(super) const OFF: u32 = 2;
/// Number of the products' binding.
pub(super) const PULL: u32 = 3;
/// Number of the labels' binding.
pub(super) const LABELS: u32 = 4;
/// Number of the tables' binding.
pub(super) const TABLES: u32 = 5;
/// Number of the weights' binding.
pub(super) const WEIGHTS: u32 = 6;
/// Number of the binding of the diagonal's reciprocals.
pub(super) const INVERSE: u32 = 7;
/// Number of the binding of the sums over pairs of labels.
pub(super) const GRAM: u32 = 8;
/// Number of the binding of the marks of unsolved rows.
pub(super) const UNSOLVED: u32 = 9;
/// Number of the objectives' binding.
pub(super) const OBJECTIVES: u32 = 10;
/// Number of the binding of what a panel's inputs changed by.
pub(super) const CHANGES: u32 = 11;

/// Rows of a layer as the kernels of LNQ hold them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LnqLayout {
    /// Rows that are worked on together.
    pub rows: usize,
    /// Inputs of the layer.
    pub cols: usize,
    /// Width of the labels, 1 to 4.
    pub bits: u8,
}

impl LnqLayout {
    /// The widest labels: tables of more entries do not fit workgroup memory.
    pub const MAX_BITS: u8 = 4;

    /// Inputs of a row with its padding.
    pub fn stride(&self) -> usize {
        // What nothing can hold is refused later, by its bytes.
        self.cols.checked_next_multiple_of(ALIGNMENT).unwrap_or(self.cols)
    }

    /// Entries of one row's table; `usize::MAX` for more than can be counted.
    pub fn levels(&self) -> usize {
        1usize.checked_shl(self.bits.into()).unwrap_or(usize::MAX)
    }

    /// The Hessian's rows, padding included, in pieces that can each be bound.
    ///
    /// # Errors
    /// [`Error::Range`] where there are no columns, [`Error::BindingTooLarge`] where not even 64
    /// rows can be bound.
    pub fn pieces(&self, caps: &Caps) -> Result<Vec<HessianPiece>> {
        if self.cols == 0 {
            return Err(Error::range("columns of the Hessian", "at least 1", 0));
        }
        let (stride, limit) = (self.stride(), caps.bindable_bytes());
        let row = 4u64.saturating_mul(stride as u64);
        let fitting = usize::try_from(limit / row.max(1)).unwrap_or(usize::MAX);
        let each = fitting.min(stride) / ALIGNMENT * ALIGNMENT;
        if each == 0 {
            let what = format!("{ALIGNMENT} rows of the Hessian");
            let bytes = row.saturating_mul(ALIGNMENT as u64);
            return Err(Error::BindingTooLarge { what, bytes, limit });
        }
        let numbered = (0..stride).step_by(each).enumerate();
        let piece = |(number, first)| HessianPiece { number, first, len: each.min(stride - first) };
        Ok(numbered.map(piece).collect())
    }

    /// The most rows whose every tensor can be bound.
    pub fn most_rows(&self, caps: &Caps) -> usize {
        let most = self.stride().max(self.levels().saturating_mul(self.levels()));
        let row = 4u64.saturating_mul(most as u64);
        usize::try_from(caps.bindable_bytes() / row.max(1)).unwrap_or(usize::MAX)
    }

    /// `[rows, cols]` labels as the kernels hold them, `[rows, stride / 4]` words.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of labels.
    pub fn pack_labels(&self, labels: &[u8]) -> Result<Vec<u32>> {
        self.counted("labels", self.cols, labels.len())?;
        let padded = self.padded(labels);
        Ok(padded.as_chunks().0.iter().map(|&word| u32::from_le_bytes(word)).collect())
    }

    /// The labels `[rows, cols]` in words of the kernels.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of words.
    pub fn unpack_labels(&self, words: &[u32]) -> Result<Vec<u8>> {
        self.counted("words of labels", self.stride() / 4, words.len())?;
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        // Without columns there are no bytes either.
        let rows = bytes.chunks_exact(self.stride().max(1));
        Ok(rows.flat_map(|row| &row[..self.cols]).copied().collect())
    }

    fn counted(&self, what: &str, each: usize, found: usize) -> Result<()> {
        match self.rows.checked_mul(each) {
            Some(expected) if expected == found => Ok(()),
            Some(expected) => Err(Error::shape(what, expected, found)),
            None => Err(Error::shape(what, format!("{} x {each}", self.rows), found)),
        }
    }

    /// Values `[rows, cols]` as `[rows, stride]`. Of other numbers of values whole rows, at most
    /// [`LnqLayout::rows`].
    pub fn padded<T: Copy + Default>(&self, values: &[T]) -> Vec<T> {
        let stride = self.stride();
        // Without columns there is nothing to give.
        let rows =
            values.chunks_exact(self.cols.max(1)).take(if self.cols > 0 { self.rows } else { 0 });
        let mut all = Vec::with_capacity(rows.len().saturating_mul(stride));
        for row in rows {
            all.extend_from_slice(row);
            all.resize(all.len() + stride - self.cols, T::default());
        }
        all
    }

    pub(super) fn check(&self, kernel: &str) -> Result<()> {
        if self.rows == 0 || self.cols == 0 {
            let what = if self.rows == 0 { "rows" } else { "columns" };
            return Err(Error::range(format!("{what} of {kernel}"), "at least 1", 0));
        }
        if !(1..=Self::MAX_BITS).contains(&self.bits) {
            let limit = format!("1..={}", Self::MAX_BITS);
            return Err(Error::range(format!("bits of {kernel}"), limit, self.bits));
        }
        let widest = self.stride().max(self.levels() * self.levels());
        if self.rows.checked_mul(widest).is_none() {
            let limit = format!("0..={}", usize::MAX / widest);
            return Err(Error::range(format!("rows of {kernel}"), limit, self.rows));
        }
        Ok(())
    }

    /// Whether every label has an entry in its table.
    pub(super) fn check_labels(&self, labels: &[u8]) -> Result<()> {
        let past = |&&label: &&u8| usize::from(label) >= self.levels();
        match labels.iter().find(past) {
            Some(label) => Err(Error::range("label", format!("0..{}", self.levels()), label)),
            None => Ok(()),
        }
    }

    /// Binds a tensor whole.
    pub(super) fn whole(
        &self,
        name: &str,
        binding: u32,
        each: usize,
        caps: &Caps,
    ) -> Result<Operand> {
        let bytes = whole(name, self.rows.saturating_mul(each), 4, caps)?;
        Ok(Operand { binding, piece: 0, offset: 0, bytes })
    }

    /// Binds a tensor of one f32 for each input.
    pub(super) fn inputs(&self, name: &str, binding: u32, caps: &Caps) -> Result<Operand> {
        self.whole(name, binding, self.stride(), caps)
    }

    pub(super) fn quads(&self) -> Result<u32> {
        count("quads of a row", self.stride() / 4)
    }

    pub(super) fn preamble(&self) -> String {
        format!("const LEVELS: u32 = {}u;\n", self.levels())
    }
}

/// Neighbouring rows of the Hessian that lie in one buffer, `[len, stride]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HessianPiece {
    /// Which buffer of the tensor.
    pub number: usize,
    /// The first row, a multiple of 64.
    pub first: usize,
    /// Rows, a multiple of 64.
    pub len: usize,
}

impl HessianPiece {
    /// The rows.
    pub fn rows(&self) -> Range<usize> {
        self.first..self.first.saturating_add(self.len)
    }

    pub(super) fn check(&self, kernel: &str, layout: &LnqLayout) -> Result<()> {
        let aligned = [self.first, self.len].iter().all(|row| row.is_multiple_of(ALIGNMENT));
        if !aligned || self.len == 0 || self.rows().end > layout.stride() {
            let expected = format!("multiples of {ALIGNMENT} within 0..{}", layout.stride());
            let what = format!("piece of the Hessian of {kernel}");
            return Err(Error::shape(what, expected, format!("{:?}", self.rows())));
        }
        Ok(())
    }

    /// Binds some of the piece's rows.
    pub(super) fn operand(
        &self,
        rows: &Range<usize>,
        layout: &LnqLayout,
        caps: &Caps,
    ) -> Result<Operand> {
        let bytes = whole("rows of the Hessian", rows.len() * layout.stride(), 4, caps)?;
        let offset = 4 * ((rows.start - self.first) as u64) * layout.stride() as u64;
        let piece = count("pieces", self.number)?;
        Ok(Operand { binding: HESSIAN, piece, offset, bytes })
    }
}

/// Neighbouring inputs that one launch works on: rows of one piece of the Hessian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Panel {
    /// The piece that holds the panel's rows of the Hessian.
    pub piece: HessianPiece,
    /// The first input, a multiple of 64.
    pub first: usize,
    /// Inputs, padding included, a multiple of 64.
    pub width: usize,
}

impl Panel {
    /// Panels of at most `width` inputs, rounded down to a multiple of 64, over all pieces.
    pub fn all(pieces: &[HessianPiece], width: usize) -> Vec<Self> {
        let width = (width / ALIGNMENT * ALIGNMENT).max(ALIGNMENT);
        let of_piece = |&piece: &HessianPiece| {
            let end = piece.rows().end;
            let starts = piece.rows().step_by(width);
            starts.map(move |first| Self { piece, first, width: width.min(end - first) })
        };
        pieces.iter().flat_map(of_piece).collect()
    }

    /// The inputs.
    pub fn inputs(&self) -> Range<usize> {
        self.first..self.first.saturating_add(self.width)
    }

    pub(super) fn check(&self, kernel: &str, layout: &LnqLayout) -> Result<()> {
        self.piece.check(kernel, layout)?;
        let aligned = [self.first, self.width].iter().all(|n| n.is_multiple_of(ALIGNMENT));
        let rows = self.piece.rows();
        let inside = self.first >= rows.start && self.inputs().end <= rows.end;
        if !aligned || self.width == 0 || !inside {
            let expected = format!("multiples of {ALIGNMENT} within the piece's {rows:?}");
            let found = format!("{:?}", self.inputs());
            return Err(Error::shape(format!("panel of {kernel}"), expected, found));
        }
        Ok(())
    }

    /// Binds the panel's rows of the Hessian.
    pub(super) fn operand(&self, layout: &LnqLayout, caps: &Caps) -> Result<Operand> {
        self.piece.operand(&self.inputs(), layout, caps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_come_back_as_they_were() {
        for cols in [1, 4, 63, 64, 65] {
            let layout = LnqLayout { rows: 3, cols, bits: 4 };
            let labels: Vec<u8> = (0..3 * cols).map(|at| (at * 7 % 16) as u8).collect();
            let words = layout.pack_labels(&labels).unwrap();
            assert_eq!(words.len(), 3 * layout.stride() / 4);
            assert_eq!(layout.unpack_labels(&words).unwrap(), labels);
            assert!(layout.pack_labels(&labels[1..]).is_err());
            assert!(layout.unpack_labels(&words[1..]).is_err());
        }
    }

    #[test]
    fn layouts_that_make_no_sense_are_refused_or_empty() {
        let empty = LnqLayout { rows: 1, cols: 0, bits: 4 };
        assert!(empty.pack_labels(&[]).unwrap().is_empty());
        assert!(empty.unpack_labels(&[]).unwrap().is_empty());
        assert!(empty.pack_labels(&[1]).is_err() && empty.unpack_labels(&[1]).is_err());
        assert!(empty.padded(&[1.0f32, 2.0]).is_empty());
        assert!(matches!(empty.pieces(&Caps::webgpu()), Err(Error::Range { .. })));
        let huge = LnqLayout { rows: usize::MAX, cols: usize::MAX, bits: 255 };
        let message = huge.pack_labels(&[0; 4]).unwrap_err().to_string();
        assert!(message.contains("labels: expected 1844"), "{message}");
        assert!(huge.unpack_labels(&[0; 4]).is_err());
        assert!(huge.padded(&[0u8; 4]).is_empty());
        assert_eq!((huge.levels(), huge.most_rows(&Caps::webgpu())), (usize::MAX, 0));
        assert!(matches!(huge.pieces(&Caps::webgpu()), Err(Error::BindingTooLarge { .. })));
        for (rows, cols) in [(usize::MAX, 1), (usize::MAX / 64, 65), (2, usize::MAX)] {
            let message = LnqLayout { rows, cols, bits: 1 }.check("k").unwrap_err().to_string();
            assert!(message.contains("rows of k"), "{message}");
        }
        // One row too many or too few of them.
        let layout = LnqLayout { rows: 2, cols: 3, bits: 1 };
        assert_eq!(layout.padded(&[1u8; 5]).len(), 64);
        assert_eq!(layout.padded(&[1u8; 9]).len(), 128);
    }

    #[test]
    fn pieces_and_panels_cover_every_input_once() {
        let layout = LnqLayout { rows: 1, cols: 1000, bits: 3 };
        let row = 4 * 1024;
        for (limit, pieces) in [(1 << 30, 1), (400 * row, 3), (64 * row, 16)] {
            let caps = Caps { max_binding_bytes: limit, ..Caps::webgpu() };
            let found = layout.pieces(&caps).unwrap();
            assert_eq!(found.len(), pieces);
            for width in [1, 64, 200, 5000] {
                let mut next = 0;
                for panel in Panel::all(&found, width) {
                    panel.check("k", &layout).unwrap();
                    assert_eq!(panel.first, next);
                    next += panel.width;
                }
                assert_eq!(next, layout.stride());
            }
        }
        let caps = Caps { max_binding_bytes: 63 * row, ..Caps::webgpu() };
        assert!(matches!(layout.pieces(&caps), Err(Error::BindingTooLarge { .. })));
    }

    #[test]
    fn a_panel_beside_the_layer_is_refused() {
        let layout = LnqLayout { rows: 1, cols: 100, bits: 3 };
        let piece = HessianPiece { number: 0, first: 0, len: 128 };
        let good = Panel { piece, first: 64, width: 64 };
        good.check("k", &layout).unwrap();
        for bad in [
            Panel { first: 128, ..good },
            Panel { first: 32, ..good },
            Panel { width: 0, ..good },
            Panel { piece: HessianPiece { first: 128, ..piece }, ..good },
            Panel { piece: HessianPiece { len: 64, ..piece }, ..good },
        ] {
            assert!(matches!(bad.check("k", &layout), Err(Error::Shape { .. })), "{bad:?}");
        }
    }
}
