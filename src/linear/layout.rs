//! How a layer lies in device memory.

use super::planes::words_for;
use super::tables::{check_bits, list_widths};
use super::{BitplaneLayer, BitplaneShape, TableElement, VectorShape};
use crate::launch::{Caps, shard_rows};
use crate::{Error, Result};
use std::ops::Range;

/// Planes start at multiples of 32 words, 128 bytes.
const PLANE_ALIGNMENT: usize = 32;
/// Tables of a width start at multiples of 256 bytes, WebGPU's binding alignment.
const TABLE_ALIGNMENT: u64 = 256;

/// Where the planes of a layer up to some width, and their tables, lie on a device.
///
/// A layer that is too large for one binding is cut by rows into *pieces*. A piece is two
/// buffers: planes `[max_bits, rows, words]`, so that the planes of any smaller width are a prefix
/// of it, and tables, one width after another. Planes above the
/// widest width that was asked for and has tables are not there at all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct BitplaneLayout {
    rows: usize,
    cols: usize,
    seed_bits: u8,
    max_bits: u8,
    /// Widths that have tables, ascending.
    widths: Vec<u8>,
    table: TableElement,
    bias: bool,
    piece_rows: usize,
    /// Weights that one code stands for: 1, and 2 within a [`super::VectorLayout`].
    code_weights: usize,
}

impl BitplaneLayout {
    /// Lays out a layer for a device, up to the widest width within `max_bits` that has tables.
    ///
    /// # Errors
    /// [`Error::Range`] for `max_bits` outside the layer's widths, [`Error::Unsupported`] when no
    /// width up to it has tables, [`Error::BindingTooLarge`] when 128 rows do not fit a binding.
    pub fn new(layer: &BitplaneLayer, max_bits: u8, caps: &Caps) -> Result<Self> {
        let widths: Vec<u8> = layer.tables().widths().collect();
        let (table, bias) = (layer.table_element(), layer.bias().is_some());
        Self::for_shape(layer.shape(), &widths, table, bias, max_bits, caps)
    }

    /// Lays out any layer of this shape that has tables for `widths`.
    ///
    /// # Errors
    /// As [`BitplaneLayout::new`], and [`Error::Range`] or [`Error::Shape`] for a shape or widths
    /// that no layer can have.
    pub fn for_shape(
        shape: BitplaneShape,
        widths: &[u8],
        table: TableElement,
        bias: bool,
        max_bits: u8,
        caps: &Caps,
    ) -> Result<Self> {
        shape.check_widths(widths)?;
        let BitplaneShape { rows, cols, seed_bits, parent_bits } = shape;
        check_bits("bits to upload", max_bits, seed_bits, parent_bits)?;
        let there: Vec<u8> = (seed_bits..=max_bits).filter(|bits| widths.contains(bits)).collect();
        // Planes beyond the widest width that can run would never be read.
        let Some(&max_bits) = there.last() else {
            return Err(Error::unsupported(
                format!("an upload of {max_bits} bits"),
                format!("the layer has tables for {}", list_widths(widths.iter().copied())),
            ));
        };
        let layout = Self {
            rows,
            cols,
            seed_bits,
            max_bits,
            widths: there,
            table,
            bias,
            piece_rows: rows,
            code_weights: 1,
        };
        layout.cut(caps)
    }

    /// The planes of one width alone, each code of which stands for two neighbouring weights.
    pub(super) fn for_pairs(
        VectorShape { rows, cols, code_bits }: VectorShape,
        table: TableElement,
        bias: bool,
        caps: &Caps,
    ) -> Result<Self> {
        let layout = Self {
            rows,
            cols,
            seed_bits: code_bits,
            max_bits: code_bits,
            widths: vec![code_bits],
            table,
            bias,
            piece_rows: rows,
            code_weights: 2,
        };
        layout.cut(caps)
    }

    /// Pieces that fit the device's bindings.
    fn cut(mut self, caps: &Caps) -> Result<Self> {
        let limit = caps.bindable_bytes();
        let row_bytes = self.words() as u64 * 4 * u64::from(self.max_bits);
        let padding = u64::from(self.max_bits) * (PLANE_ALIGNMENT as u64 - 1) * 4;
        let by_planes = shard_rows("the planes", self.rows, row_bytes, padding, limit)?;
        let row_tables: u64 = self.widths.iter().map(|&b| self.table_row_bytes(b)).sum();
        let padding = self.widths.len() as u64 * TABLE_ALIGNMENT;
        let by_tables = shard_rows("the tables", self.rows, row_tables, padding, limit)?;
        self.piece_rows = by_planes.min(by_tables);
        Ok(self)
    }

    /// Outputs.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Widest width that can run.
    pub fn max_bits(&self) -> u8 {
        self.max_bits
    }

    /// Widths that can run, ascending.
    pub fn widths(&self) -> &[u8] {
        &self.widths
    }

    /// Element type of the tables.
    pub fn table(&self) -> TableElement {
        self.table
    }

    /// Whether the layer has a bias.
    pub fn bias(&self) -> bool {
        self.bias
    }

    /// Words of one row in one plane.
    pub fn words(&self) -> usize {
        words_for(self.cols.div_ceil(self.code_weights))
    }

    /// Rows of every piece, in order.
    pub fn pieces(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        (0..self.rows)
            .step_by(self.piece_rows)
            .map(|start| start..self.rows.min(start + self.piece_rows))
    }

    /// Whether `bits` can run.
    ///
    /// # Errors
    /// [`Error::Range`] or [`Error::Unsupported`], listing what there is.
    pub fn check_width(&self, bits: u8) -> Result<()> {
        check_bits("bits", bits, self.seed_bits, self.max_bits)?;
        if self.widths.contains(&bits) {
            return Ok(());
        }
        let there = list_widths(self.widths.iter().copied());
        Err(Error::unsupported(format!("width {bits}"), format!("there are tables for {there}")))
    }

    /// Words from plane to plane in a piece of `rows` rows.
    pub(crate) fn plane_words(&self, rows: usize) -> usize {
        (rows * self.words()).next_multiple_of(PLANE_ALIGNMENT)
    }

    /// Bytes of the first `bits` planes of a piece of `rows` rows.
    pub(crate) fn plane_bytes(&self, rows: usize, bits: u8) -> u64 {
        self.plane_words(rows) as u64 * 4 * u64::from(bits)
    }

    /// Offset and bytes of one width's tables in a piece of `rows` rows.
    pub(crate) fn table_span(&self, rows: usize, bits: u8) -> (u64, u64) {
        let bytes = |b| self.table_row_bytes(b) * rows as u64;
        let before = self.widths.iter().take_while(|&&b| b < bits);
        let offset = before.map(|&b| bytes(b).next_multiple_of(TABLE_ALIGNMENT)).sum();
        (offset, bytes(bits))
    }

    fn table_row_bytes(&self, bits: u8) -> u64 {
        ((self.code_weights * self.table.bytes()) as u64) << bits
    }

    /// The words of the planes buffer of one of [`BitplaneLayout::pieces`].
    ///
    /// # Errors
    /// [`Error::Shape`] when the layer has another shape or other tables, or no such rows.
    pub fn plane_piece(&self, layer: &BitplaneLayer, piece: &Range<usize>) -> Result<Vec<u32>> {
        self.check_piece(layer, piece)?;
        Ok(self.gather_planes(piece, |plane, row| layer.plane_row(plane, row)))
    }

    /// The planes of a piece from the rows of a layer's.
    pub(super) fn gather_planes<'a>(
        &self,
        piece: &Range<usize>,
        plane_row: impl Fn(usize, usize) -> &'a [u32],
    ) -> Vec<u32> {
        let words = self.words();
        let stride = self.plane_words(piece.len());
        let mut out = vec![0; stride * usize::from(self.max_bits)];
        for (plane, out) in out.chunks_exact_mut(stride.max(1)).enumerate() {
            for (row, out) in piece.clone().zip(out.chunks_exact_mut(words)) {
                out.copy_from_slice(plane_row(plane, row));
            }
        }
        out
    }

    /// The bytes of the tables buffer of one of [`BitplaneLayout::pieces`].
    ///
    /// # Errors
    /// As [`BitplaneLayout::plane_piece`].
    pub fn table_piece(&self, layer: &BitplaneLayer, piece: &Range<usize>) -> Result<Vec<u8>> {
        self.check_piece(layer, piece)?;
        let mut out = Vec::new();
        for &bits in &self.widths {
            let row_bytes = self.table_row_bytes(bits) as usize;
            let (offset, _) = self.table_span(piece.len(), bits);
            out.resize(offset as usize, 0);
            let all = layer.tables().bytes(bits).unwrap_or_default();
            out.extend_from_slice(&all[piece.start * row_bytes..piece.end * row_bytes]);
        }
        Ok(out)
    }

    fn check_piece(&self, layer: &BitplaneLayer, piece: &Range<usize>) -> Result<()> {
        let shape = (layer.rows(), layer.cols(), layer.table_element());
        let here = (self.rows, self.cols, self.table);
        let max = layer.parent_bits();
        let tables = self.widths.iter().all(|&bits| layer.tables().bytes(bits).is_some());
        if shape != here || max < self.max_bits || !tables {
            let (expected, found) = (format!("{here:?}"), format!("{shape:?} of {max} bits"));
            return Err(Error::shape("layer of this layout", expected, found));
        }
        self.check_rows(piece)
    }

    /// Whether there are such rows.
    pub(super) fn check_rows(&self, piece: &Range<usize>) -> Result<()> {
        if piece.is_empty() || piece.end > self.rows {
            let expected = format!("some of 0..{}", self.rows);
            return Err(Error::shape("rows of a piece", expected, format!("{piece:?}")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Tables;
    use super::*;

    fn layer(rows: usize, cols: usize) -> BitplaneLayer {
        let mut tables = Tables::new(TableElement::F16, rows);
        for bits in [3, 4, 8] {
            tables.insert(bits, &vec![0.5; rows << bits]).unwrap();
        }
        let shape = BitplaneShape { rows, cols, seed_bits: 3, parent_bits: 8 };
        let codes: Vec<u8> = (0..rows * cols).map(|i| (i * 7) as u8).collect();
        BitplaneLayer::from_codes(shape, &codes, tables, None).unwrap()
    }

    #[test]
    fn an_upload_holds_only_the_planes_asked_for() {
        let layer = layer(200, 70);
        let layout = BitplaneLayout::new(&layer, 4, &Caps::webgpu()).unwrap();
        let pieces: Vec<_> = layout.pieces().collect();
        assert_eq!(pieces, vec![Range { start: 0, end: 200 }]);
        assert_eq!(
            layout.plane_piece(&layer, &pieces[0]).unwrap().len(),
            4 * (200 * 3usize).next_multiple_of(32)
        );
        assert_eq!(layout.widths(), [3, 4]);
        assert_eq!(
            layout.table_piece(&layer, &pieces[0]).unwrap().len(),
            200 * 16 + 128 + 200 * 32
        );
        assert!(matches!(layout.check_width(5), Err(Error::Range { .. })));
        // There is no table for 6 or 5 bits, so nothing beyond the fourth plane can run.
        assert_eq!(BitplaneLayout::new(&layer, 6, &Caps::webgpu()).unwrap(), layout);
        assert!(matches!(
            BitplaneLayout::new(&layer, 9, &Caps::webgpu()),
            Err(Error::Range { .. })
        ));
        assert!(matches!(
            BitplaneLayout::new(&layer, 2, &Caps::webgpu()),
            Err(Error::Range { .. })
        ));
        let full = BitplaneLayout::new(&layer, 8, &Caps::webgpu()).unwrap();
        let message = full.check_width(5).unwrap_err().to_string();
        assert!(message.contains("3, 4, 8"), "{message}");
    }

    #[test]
    fn a_small_binding_limit_cuts_the_layer_into_aligned_pieces() {
        let layer = layer(1000, 70);
        let caps = Caps { max_binding_bytes: 200_000, ..Caps::webgpu() };
        let layout = BitplaneLayout::new(&layer, 8, &caps).unwrap();
        let pieces: Vec<_> = layout.pieces().collect();
        assert!(pieces.len() > 1);
        assert_eq!(pieces.iter().map(Range::len).sum::<usize>(), 1000);
        for piece in &pieces {
            assert_eq!(piece.start % 128, 0);
            assert!(layout.plane_bytes(piece.len(), 8) <= 200_000);
            assert!(layout.table_piece(&layer, piece).unwrap().len() <= 200_000);
            let planes = layout.plane_piece(&layer, piece).unwrap();
            let stride = layout.plane_words(piece.len());
            for row in piece.clone() {
                let at = 5 * stride + (row - piece.start) * 3;
                assert_eq!(&planes[at..at + 3], layer.plane_row(5, row));
            }
        }
        let tiny = Caps { max_binding_bytes: 1000, ..Caps::webgpu() };
        let error = BitplaneLayout::new(&layer, 8, &tiny).unwrap_err();
        assert!(matches!(error, Error::BindingTooLarge { .. }), "{error}");
    }

    #[test]
    fn a_layer_of_another_shape_is_refused() {
        let layout = BitplaneLayout::new(&layer(200, 70), 8, &Caps::webgpu()).unwrap();
        for (other, rows) in [(layer(199, 70), 0..10), (layer(200, 71), 0..10)] {
            assert!(matches!(layout.plane_piece(&other, &rows), Err(Error::Shape { .. })));
            assert!(matches!(layout.table_piece(&other, &rows), Err(Error::Shape { .. })));
        }
        for rows in [0..201, 200..201, Range { start: 9, end: 3 }] {
            assert!(layout.plane_piece(&layer(200, 70), &rows).is_err());
        }
    }
}
