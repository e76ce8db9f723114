//! Layers whose every code and table entry is given by a formula, and random ones.

use fewbytes::linear::{BitplaneLayer, BitplaneShape, TableElement, Tables};

/// Shape, widths with tables, element of the tables, and whether there is a bias.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) shape: BitplaneShape,
    pub(crate) widths: Vec<u8>,
    pub(crate) table: TableElement,
    pub(crate) bias: bool,
    /// Makes layers of one shape differ.
    pub(crate) salt: usize,
}

impl Wanted {
    pub(crate) fn new(rows: usize, cols: usize, seed_bits: u8, parent_bits: u8) -> Self {
        let shape = BitplaneShape { rows, cols, seed_bits, parent_bits };
        let widths = (seed_bits..=parent_bits).collect();
        Self { shape, widths, table: TableElement::F16, bias: false, salt: 0 }
    }

    /// The code of a weight at the parent's width: that of the format's golden word in row 0.
    pub(crate) fn code(&self, row: usize, col: usize) -> u8 {
        ((37 * col + 11 + 101 * row + 59 * self.salt) % 256) as u8 >> (8 - self.shape.parent_bits)
    }

    pub(crate) fn codes(&self) -> Vec<u8> {
        let BitplaneShape { rows, cols, .. } = self.shape;
        (0..rows).flat_map(|row| (0..cols).map(move |col| self.code(row, col))).collect()
    }

    /// A table entry: a multiple of 1/16 below 64, which half precision holds exactly.
    pub(crate) fn entry(&self, bits: u8, row: usize, code: usize) -> f32 {
        let step = (row + self.salt) % 3 + 1;
        (code as f32 - (1 << (bits - 1)) as f32) * step as f32 / 16.0 + f32::from(bits) / 4.0
    }

    pub(crate) fn bias_at(&self, row: usize) -> f32 {
        row as f32 * 0.5 - 1.25
    }

    pub(crate) fn tables(&self) -> Tables {
        let rows = self.shape.rows;
        let mut tables = Tables::new(self.table, rows);
        for &bits in &self.widths {
            let entries = (0..rows)
                .flat_map(|row| (0..1usize << bits).map(move |code| self.entry(bits, row, code)));
            tables.insert(bits, &entries.collect::<Vec<_>>()).unwrap();
        }
        tables
    }

    pub(crate) fn layer(&self) -> BitplaneLayer {
        let bias = self.bias.then(|| (0..self.shape.rows).map(|row| self.bias_at(row)).collect());
        BitplaneLayer::from_codes(self.shape, &self.codes(), self.tables(), bias).unwrap()
    }
}
