//! Layers of one width with a table a row: what GuidedQuant, SqueezeLLM and LNQ make.

use super::{BitplaneLayer, BitplaneShape, Lnq, Quantized, TableElement, Tables};
use crate::{Error, Result};
use std::ops::Deref;

/// Weights of one width: codes of `bits` bits, and a table of `2^bits` values for every row.
///
/// This is a [`BitplaneLayer`] whose seed, parent and only table have one width, and it derefs to
/// one, so that whatever multiplies, uploads, joins or stores any-precision weights takes it as it
/// is. Source: "GuidedQuant", arXiv 2505.07004, which publishes its models in the layout of
/// "Any-Precision LLM", arXiv 2402.10517.
///
/// ```
/// use fewbytes::linear::{TableElement, TableLayer, Tables};
///
/// # fn main() -> fewbytes::Result<()> {
/// // Two rows of three weights, 2 bits.
/// let mut tables = Tables::new(TableElement::F16, 2);
/// tables.insert(2, &[-1.0, -0.25, 0.25, 1.0, -2.0, -0.5, 0.5, 2.0])?;
/// let layer = TableLayer::from_codes(2, 3, 2, &[0, 3, 1, 2, 2, 0], tables, None)?;
/// assert_eq!(layer.dequantize(2)?, [-1.0, 1.0, -0.25, 0.5, 0.5, -2.0]);
/// assert_eq!(TableLayer::average_bits_of(4096, 2, TableElement::F16), 2.015625);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct TableLayer(BitplaneLayer);

impl TableLayer {
    /// Packs codes, row-major `[rows, cols]`, each below `2^bits`, with `tables` of that width
    /// alone and an optional bias of `rows` numbers.
    ///
    /// # Errors
    /// As [`BitplaneLayer::from_codes`], and [`Error::Shape`] for tables of other widths. Kernels
    /// begin at 2 bits, so `bits = 1` is an [`Error::Range`].
    pub fn from_codes(
        rows: usize,
        cols: usize,
        bits: u8,
        codes: &[u8],
        tables: Tables,
        bias: Option<Vec<f32>>,
    ) -> Result<Self> {
        Self::new(BitplaneLayer::from_codes(shape(rows, cols, bits), codes, tables, bias)?)
    }

    /// Imports the published tensors: `qweight` is `[bits, rows, cols / 32]`, and `tables` holds
    /// `lut{bits}`, `[rows, 2^bits]`.
    ///
    /// Only bits within words move, so the import is exact. `file::read_reference` (feature
    /// `safetensors`) reads whole files.
    ///
    /// # Errors
    /// As [`BitplaneLayer::from_reference`], and [`Error::Shape`] for tables of other widths.
    pub fn from_reference(
        rows: usize,
        cols: usize,
        bits: u8,
        qweight: &[u32],
        tables: Tables,
        bias: Option<Vec<f32>>,
    ) -> Result<Self> {
        Self::new(BitplaneLayer::from_reference(shape(rows, cols, bits), qweight, tables, bias)?)
    }

    /// Takes a layer that has one width already.
    ///
    /// # Errors
    /// [`Error::Shape`] where `seed_bits` is not `parent_bits`; [`TableLayer::of_width`] takes one
    /// width of such a layer.
    pub fn new(layer: BitplaneLayer) -> Result<Self> {
        // A layer has at least one table, of a width from seed to parent.
        if layer.seed_bits() == layer.parent_bits() {
            return Ok(Self(layer));
        }
        let found = format!("{} to {}", layer.seed_bits(), layer.parent_bits());
        Err(Error::shape("widths of a table layer", "one, as seed and as parent", found))
    }

    /// One width of an any-precision layer by itself: its leading planes and its table, copied.
    ///
    /// # Errors
    /// As [`BitplaneLayer::check_width`].
    pub fn of_width(layer: &BitplaneLayer, bits: u8) -> Result<Self> {
        layer.check_width(bits)?;
        let rows = layer.rows();
        let mut tables = Tables::new(layer.table_element(), rows);
        tables.insert_bytes(bits, layer.tables().bytes(bits).unwrap_or_default())?;
        let plane = layer.planes().len() / usize::from(layer.parent_bits());
        let planes = layer.planes()[..plane * usize::from(bits)].to_vec();
        let bias = layer.bias().map(<[f32]>::to_vec);
        let shape = shape(rows, layer.cols(), bits);
        Ok(Self(BitplaneLayer::from_planes(shape, planes, tables, bias)?))
    }

    /// The layer's width.
    pub fn bits(&self) -> u8 {
        self.0.parent_bits()
    }

    /// One row's table, `2^bits` values, where there is such a row.
    pub fn table(&self, row: usize) -> Option<Vec<f32>> {
        self.0.tables().row(self.bits(), row)
    }

    /// Bits that a weight takes, its share of the row's table included.
    pub fn average_bits(&self) -> f64 {
        Self::average_bits_of(self.cols(), self.bits(), self.table_element())
    }

    /// `bits + 16 * 2^bits / cols`, with 32 in place of 16 for tables of f32.
    pub fn average_bits_of(cols: usize, bits: u8, table: TableElement) -> f64 {
        let entries = 2f64.powi(bits.into());
        f64::from(bits) + 8.0 * table.bytes() as f64 * entries / cols as f64
    }

    /// The any-precision layer that this is.
    pub fn into_inner(self) -> BitplaneLayer {
        self.0
    }
}

fn shape(rows: usize, cols: usize, bits: u8) -> BitplaneShape {
    BitplaneShape { rows, cols, seed_bits: bits, parent_bits: bits }
}

impl Deref for TableLayer {
    type Target = BitplaneLayer;

    fn deref(&self) -> &BitplaneLayer {
        &self.0
    }
}

impl AsRef<BitplaneLayer> for TableLayer {
    fn as_ref(&self) -> &BitplaneLayer {
        &self.0
    }
}

impl From<TableLayer> for BitplaneLayer {
    fn from(layer: TableLayer) -> Self {
        layer.0
    }
}

impl TryFrom<BitplaneLayer> for TableLayer {
    type Error = Error;

    fn try_from(layer: BitplaneLayer) -> Result<Self> {
        Self::new(layer)
    }
}

impl Lnq {
    /// Packs codes and tables, with an optional bias of `rows` numbers.
    ///
    /// # Errors
    /// As [`TableLayer::from_codes`]: 1 bit is for the solver alone.
    pub fn pack(&self, bias: Option<Vec<f32>>) -> Result<TableLayer> {
        TableLayer::new(self.quantized.pack(bias)?)
    }
}

impl Quantized {
    /// The codes and table of one width of a packed layer, as quantizers and
    /// [`objectives`](super::objectives) take them.
    ///
    /// # Errors
    /// As [`BitplaneLayer::check_width`].
    pub fn unpack(layer: &BitplaneLayer, bits: u8) -> Result<Self> {
        let codes = layer.check_width(bits).and_then(|()| layer.codes(bits))?;
        let (rows, cols) = (layer.rows(), layer.cols());
        let table = (0..rows).flat_map(|row| layer.tables().row(bits, row).unwrap_or_default());
        let tables = vec![(bits, table.collect())];
        let idle_codes = super::quantize::idle_codes(&codes, cols, bits);
        let report = super::Report { unweighted_rows: 0, idle_codes };
        let table = layer.table_element();
        Ok(Self { rows, cols, seed_bits: bits, parent_bits: bits, table, codes, tables, report })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear::{QuantizeOptions, Weights, quantize};

    fn tables(element: TableElement, rows: usize, bits: u8) -> Tables {
        let mut tables = Tables::new(element, rows);
        let values: Vec<f32> = (0..rows << bits).map(|at| at as f32 / 8.0).collect();
        tables.insert(bits, &values).unwrap();
        tables
    }

    fn layer(bits: u8) -> TableLayer {
        let codes: Vec<u8> = (0..3 * 70).map(|at| (at * 7 % (1 << bits)) as u8).collect();
        let tables = tables(TableElement::F16, 3, bits);
        TableLayer::from_codes(3, 70, bits, &codes, tables, Some(vec![0.5; 3])).unwrap()
    }

    #[test]
    fn a_table_layer_is_a_bitplane_layer_of_one_width() {
        for bits in 2..=8 {
            let layer = layer(bits);
            let one = |shape: BitplaneShape| (shape.seed_bits, shape.parent_bits);
            assert_eq!((one(layer.shape()), layer.bits()), ((bits, bits), bits));
            assert_eq!(layer.tables().widths().collect::<Vec<_>>(), [bits]);
            assert_eq!(layer.table(1), layer.tables().row(bits, 1));
            assert_eq!(layer.table(3), None);
            assert_eq!(AsRef::<BitplaneLayer>::as_ref(&layer), &*layer);
            let inner = BitplaneLayer::from(layer.clone());
            assert_eq!(TableLayer::try_from(inner).unwrap(), layer);
        }
    }

    #[test]
    fn average_bits_count_the_tables() {
        assert_eq!(layer(3).average_bits(), 3.0 + 16.0 * 8.0 / 70.0);
        assert_eq!(TableLayer::average_bits_of(4096, 4, TableElement::F16), 4.0625);
        assert_eq!(TableLayer::average_bits_of(4096, 4, TableElement::F32), 4.125);
    }

    #[test]
    fn one_width_of_an_any_precision_layer_is_a_table_layer() {
        let values: Vec<f32> = (0..4 * 100).map(|at| (at as f32 * 0.7).sin()).collect();
        let weights = Weights::new("any", 4, 100, &values, None).unwrap();
        let options = QuantizeOptions { seed_bits: 2, parent_bits: 6, ..Default::default() };
        let any = quantize(&weights, &options).unwrap().pack(Some(vec![1.0; 4])).unwrap();
        for bits in 2..=6 {
            let one = TableLayer::of_width(&any, bits).unwrap();
            assert_eq!(one.dequantize(bits).unwrap(), any.dequantize(bits).unwrap());
            assert_eq!((one.bits(), one.bias()), (bits, any.bias()));
            let unpacked = Quantized::unpack(&any, bits).unwrap();
            assert_eq!(unpacked, Quantized::unpack(&one, bits).unwrap());
            assert_eq!(unpacked.pack(Some(vec![1.0; 4])).unwrap(), *one);
        }
        let error = TableLayer::of_width(&any, 7).unwrap_err().to_string();
        assert!(error.contains("bits = 7 is outside 2..=6"), "{error}");
        let error = TableLayer::new(any).unwrap_err().to_string();
        assert!(error.contains("widths of a table layer") && error.contains("2 to 6"), "{error}");
    }

    #[test]
    fn widths_that_no_kernel_has_and_tables_of_other_widths_are_refused() {
        for bits in [0, 1, 9] {
            let tables = tables(TableElement::F16, 1, 2);
            let error = TableLayer::from_codes(1, 4, bits, &[0; 4], tables, None).unwrap_err();
            assert!(matches!(error, Error::Range { .. }), "{error}");
            assert!(error.to_string().contains(&format!("= {bits} is outside 2..=8")), "{error}");
        }
        let error = |tables| {
            let error = TableLayer::from_codes(1, 4, 3, &[0; 4], tables, None).unwrap_err();
            error.to_string()
        };
        let text = error(tables(TableElement::F16, 1, 2));
        assert!(text.contains("table width = 2 is outside 3..=3"), "{text}");
        let text = error(tables(TableElement::F16, 2, 3));
        assert!(text.contains("rows of the tables: expected 1, found 2"), "{text}");
        let three = tables(TableElement::F16, 1, 3);
        let error = TableLayer::from_codes(1, 4, 3, &[0, 8, 0, 0], three, None).unwrap_err();
        assert!(error.to_string().contains("code at row 0, column 1 is 8"), "{error}");
    }

    #[test]
    fn entries_beyond_halves_are_named_and_singles_hold_them() {
        let values = [0.0, 1.0, 65520.0, 2.0];
        let mut halves = Tables::new(TableElement::F16, 1);
        let error = halves.insert(2, &values).unwrap_err().to_string();
        assert!(error.contains("f16 table 2 at row 0, column 2 is 65520"), "{error}");
        assert!(error.contains("use f32 tables"), "{error}");
        let mut singles = Tables::new(TableElement::F32, 1);
        singles.insert(2, &values).unwrap();
        let layer = TableLayer::from_codes(1, 2, 2, &[2, 1], singles, None).unwrap();
        assert_eq!(layer.dequantize(2).unwrap(), [65520.0, 1.0]);
        let error = Tables::new(TableElement::F32, 1).insert(2, &[0.0, 1.0, 2.0, f32::INFINITY]);
        assert!(error.unwrap_err().to_string().contains("is inf: must be finite"));
    }
}
