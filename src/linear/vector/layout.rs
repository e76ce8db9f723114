//! How a layer of paired weights lies in device memory.

use super::{VectorLayer, VectorShape};
use crate::linear::{BitplaneLayout, TableElement};
use crate::{Caps, Error, Result};
use std::ops::Range;

/// Where the planes and tables of a [`VectorLayer`] lie on a device: as those of a bit-plane layer
/// of half as many columns, with tables of pairs.
///
/// A layer that is too large for one binding is cut by rows into *pieces*. A piece is two buffers:
/// planes `[code_bits, rows, words]`, plane after plane at multiples of 128 bytes, and tables
/// `[rows, 2^code_bits, 2]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(transparent))]
pub struct VectorLayout {
    planes: BitplaneLayout,
}

impl VectorLayout {
    /// Lays out a layer for a device.
    ///
    /// # Errors
    /// [`Error::BindingTooLarge`] when 128 rows do not fit a binding.
    pub fn new(layer: &VectorLayer, caps: &Caps) -> Result<Self> {
        Self::for_shape(layer.shape(), layer.table_element(), layer.bias().is_some(), caps)
    }

    /// Lays out any layer of this shape.
    ///
    /// # Errors
    /// As [`VectorLayout::new`], and [`Error::Range`] or [`Error::Shape`] for a shape that no layer
    /// can have.
    pub fn for_shape(
        shape: VectorShape,
        table: TableElement,
        bias: bool,
        caps: &Caps,
    ) -> Result<Self> {
        shape.check()?;
        Ok(Self { planes: BitplaneLayout::for_pairs(shape, table, bias, caps)? })
    }

    /// Outputs.
    pub fn rows(&self) -> usize {
        self.planes.rows()
    }

    /// Inputs.
    pub fn cols(&self) -> usize {
        self.planes.cols()
    }

    /// Bits of a code.
    pub fn code_bits(&self) -> u8 {
        self.planes.max_bits()
    }

    /// Element type of the tables.
    pub fn table(&self) -> TableElement {
        self.planes.table()
    }

    /// Whether the layer has a bias.
    pub fn bias(&self) -> bool {
        self.planes.bias()
    }

    /// Words of one row in one plane; a word holds the codes of 64 columns.
    pub fn words(&self) -> usize {
        self.planes.words()
    }

    /// Rows of every piece, in order.
    pub fn pieces(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.planes.pieces()
    }

    /// The words of the planes buffer of one of [`VectorLayout::pieces`].
    ///
    /// # Errors
    /// [`Error::Shape`] when the layer has another shape or other tables, or no such rows.
    pub fn plane_piece(&self, layer: &VectorLayer, piece: &Range<usize>) -> Result<Vec<u32>> {
        self.check_piece(layer, piece)?;
        Ok(self.planes.gather_planes(piece, |plane, row| layer.plane_row(plane, row)))
    }

    /// The bytes of the tables buffer of one of [`VectorLayout::pieces`].
    ///
    /// # Errors
    /// As [`VectorLayout::plane_piece`].
    pub fn table_piece(&self, layer: &VectorLayer, piece: &Range<usize>) -> Result<Vec<u8>> {
        self.check_piece(layer, piece)?;
        let all = layer.table_bytes();
        let row_bytes = all.len() / layer.rows();
        Ok(all[piece.start * row_bytes..piece.end * row_bytes].to_vec())
    }

    /// The planes as the kernels' common parts take them.
    pub(crate) fn planes(&self) -> &BitplaneLayout {
        &self.planes
    }

    fn check_piece(&self, layer: &VectorLayer, piece: &Range<usize>) -> Result<()> {
        let found = (layer.rows(), layer.cols(), layer.code_bits(), layer.table_element());
        let here = (self.rows(), self.cols(), self.code_bits(), self.table());
        if found != here {
            let (expected, found) = (format!("{here:?}"), format!("{found:?}"));
            return Err(Error::shape("layer of this layout", expected, found));
        }
        self.planes.check_rows(piece)
    }
}
