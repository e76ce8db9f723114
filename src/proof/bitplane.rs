//! Random any-precision layers, and their bytes as a device holds them.

use super::Tensor;
use crate::Result;
use crate::launch::Caps;
use crate::linear::bitplane::{PLANES, TABLES};
use crate::linear::{
    Activation, BitplaneLayer, BitplaneLayout, BitplaneShape, TableElement, Tables,
};
use half::f16;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Values that the tables hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    /// Between -1 and 1.
    Ordinary,
    /// Below the smallest normal f16, zero and negative zero among them.
    Subnormal,
    /// Up to the largest finite f16.
    Huge,
    /// Up to twice that, for tables of f32.
    BeyondF16,
}

/// Shape of a random layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Random {
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) parent_bits: u8,
    pub(super) table: TableElement,
    pub(super) bias: bool,
    pub(super) values: Values,
}

pub(super) fn generator(seed: &str) -> ChaCha8Rng {
    let mut bytes = [0u8; 32];
    for (i, byte) in seed.bytes().enumerate() {
        bytes[i % 32] = bytes[i % 32].rotate_left(3) ^ byte;
    }
    ChaCha8Rng::from_seed(bytes)
}

/// Uniform in -1..1.
pub(super) fn uniform(rng: &mut ChaCha8Rng) -> f32 {
    (rng.next_u32() >> 8) as f32 / (1u32 << 23) as f32 - 1.0
}

impl Random {
    /// A layer to be multiplied at `bits`; codes and tables do not depend on each other, which no
    /// kernel may rely on. Where the parent is no wider it is a layer of tables: of one width.
    pub(super) fn layer_at(&self, bits: u8, seed: &str) -> Result<BitplaneLayer> {
        let mut rng = generator(seed);
        let Self { rows, cols, parent_bits, .. } = *self;
        let seed_bits = if bits == parent_bits { bits } else { 2 };
        let mut codes = vec![0u8; rows * cols];
        rng.fill_bytes(&mut codes);
        codes.iter_mut().for_each(|code| *code >>= 8 - parent_bits);
        let mut tables = Tables::new(self.table, rows);
        for bits in seed_bits..=parent_bits {
            let values: Vec<f32> = (0..rows << bits).map(|_| self.values.draw(&mut rng)).collect();
            tables.insert(bits, &values)?;
        }
        let bias = self.bias.then(|| (0..rows).map(|_| uniform(&mut rng)).collect());
        let shape = BitplaneShape { rows, cols, seed_bits, parent_bits };
        BitplaneLayer::from_codes(shape, &codes, tables, bias)
    }
}

impl Values {
    pub(super) fn draw(self, rng: &mut ChaCha8Rng) -> f32 {
        match self {
            Self::Ordinary => uniform(rng),
            Self::Subnormal => f16::from_bits((rng.next_u32() & 0x83ff) as u16).to_f32(),
            Self::Huge => 65504.0 * uniform(rng),
            Self::BeyondF16 => 131_008.0 * uniform(rng),
        }
    }
}

/// Numbers as a device holds them, rounded to nearest where they are f16.
pub(super) fn stored(values: &[f32], element: Activation) -> Vec<u8> {
    match element {
        Activation::F32 => bytemuck::cast_slice(values).to_vec(),
        Activation::F16 => {
            let halves: Vec<f16> = values.iter().map(|&v| f16::from_f32(v)).collect();
            bytemuck::cast_slice(&halves).to_vec()
        }
    }
}

/// The weight tensors of a layout: planes at and above `bits`, and the tables of every other
/// width, are garbage that must change nothing.
pub(super) fn weight_tensors(
    layer: &BitplaneLayer,
    layout: &BitplaneLayout,
    bits: u8,
) -> Result<[Tensor; 2]> {
    let planes = layout.pieces().map(|piece| {
        let mut words = layout.plane_piece(layer, &piece)?;
        let used = layout.plane_bytes(piece.len(), bits) as usize / 4;
        words[used..].fill(0xDEAD_BEEF);
        Ok(bytemuck::cast_slice(&words).to_vec())
    });
    let tables = layout.pieces().map(|piece| {
        let mut bytes = layout.table_piece(layer, &piece)?;
        let (offset, used) = layout.table_span(piece.len(), bits);
        let (offset, used) = (offset as usize, used as usize);
        bytes[..offset].fill(super::POISON);
        bytes[offset + used..].fill(super::POISON);
        bytes.resize(bytes.len().next_multiple_of(4), super::POISON);
        Ok(bytes)
    });
    Ok([
        Tensor { binding: PLANES, pieces: planes.collect::<Result<_>>()? },
        Tensor { binding: TABLES, pieces: tables.collect::<Result<_>>()? },
    ])
}

/// Another device than this: with lower limits, so that small matrices meet the paths of large ones,
/// or another vendor's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Squeeze {
    /// The device as it is.
    None,
    /// Few workgroups in one dimension.
    Groups(u32),
    /// Small bindings.
    Binding(u64),
    /// The forms that NVIDIA's devices take, on this one.
    Nvidia,
}

impl Squeeze {
    pub(super) fn apply(self, caps: &Caps) -> Caps {
        let mut caps = caps.clone();
        match self {
            Self::None => {}
            Self::Groups(groups) => caps.max_groups = groups,
            Self::Binding(bytes) => caps.max_binding_bytes = bytes,
            Self::Nvidia => caps.vendor = Caps::NVIDIA,
        }
        caps
    }

    /// Whether the device computes such cases rightly. SwiftShader does not compute loops that test
    /// last where lanes leave at different turns, which is why only NVIDIA's devices get them.
    pub(super) fn runs_on(self, caps: &Caps) -> bool {
        self != Self::Nvidia || caps.vendor != Caps::GOOGLE
    }
}
