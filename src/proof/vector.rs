//! Random layers of weights in pairs, and their bytes as a device holds them.

use super::bitplane::{Values, generator, uniform};
use super::{POISON, Tensor};
use crate::Result;
use crate::linear::bitplane::{PLANES, TABLES};
use crate::linear::{TableElement, VectorLayer, VectorLayout, VectorShape};
use rand_chacha::rand_core::Rng as _;

/// A random layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Random {
    pub(super) shape: VectorShape,
    pub(super) table: TableElement,
    pub(super) bias: bool,
    pub(super) values: Values,
}

impl Random {
    /// The layer; codes past the last column are random like the rest and must change nothing.
    pub(super) fn layer(&self, seed: &str) -> Result<VectorLayer> {
        let mut rng = generator(seed);
        let VectorShape { rows, cols, code_bits } = self.shape;
        // As many columns as the words of a row have room for.
        let room = VectorShape { cols: cols.next_multiple_of(64), ..self.shape };
        let mut codes = vec![0u8; rows * room.codes_per_row()];
        rng.fill_bytes(&mut codes);
        codes.iter_mut().for_each(|code| *code >>= 8 - code_bits);
        let entries = rows * (2 << code_bits);
        let tables: Vec<f32> = (0..entries).map(|_| self.values.draw(&mut rng)).collect();
        let bias = self.bias.then(|| (0..rows).map(|_| uniform(&mut rng)).collect());
        let full = VectorLayer::from_codes(room, &codes, self.table, &tables, bias)?;
        let (planes, bias) = (full.planes().to_vec(), full.bias().map(<[f32]>::to_vec));
        VectorLayer::from_planes(self.shape, planes, self.table, full.table_bytes(), bias)
    }
}

/// The weight tensors of a layout: what lies between planes and behind the tables is garbage that
/// must change nothing.
pub(super) fn weight_tensors(layer: &VectorLayer, layout: &VectorLayout) -> Result<[Tensor; 2]> {
    let planes = layout.pieces().map(|piece| {
        let mut words = layout.plane_piece(layer, &piece)?;
        let stride = words.len() / usize::from(layout.code_bits());
        for plane in words.chunks_exact_mut(stride) {
            plane[piece.len() * layout.words()..].fill(0xDEAD_BEEF);
        }
        Ok(bytemuck::cast_slice(&words).to_vec())
    });
    let tables = layout.pieces().map(|piece| {
        let mut bytes = layout.table_piece(layer, &piece)?;
        bytes.resize(bytes.len() + 64, POISON);
        Ok(bytes)
    });
    Ok([
        Tensor { binding: PLANES, pieces: planes.collect::<Result<_>>()? },
        Tensor { binding: TABLES, pieces: tables.collect::<Result<_>>()? },
    ])
}
