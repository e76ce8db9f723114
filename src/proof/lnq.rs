//! Made-up layers for the kernels of LNQ: numbers whose sums and products are exact in f32, so
//! that labels have to come out the same, ties included.

use super::bitplane::{Squeeze, generator};
use super::{Expected, Output, Tensor};
use crate::Result;
use crate::launch::Caps;
use crate::linear::lnq_descent::Rows;
use crate::linear::{HessianPiece, LnqLayout, Panel};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng as _;

/// Shape of a case.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) bits: u8,
    /// Inputs of a panel.
    pub(super) panel: usize,
    pub(super) squeeze: Squeeze,
}

impl Shape {
    pub(super) fn new(rows: usize, cols: usize, bits: u8) -> Self {
        Self { rows, cols, bits, panel: 4096, squeeze: Squeeze::None }
    }

    pub(super) fn layout(&self) -> LnqLayout {
        LnqLayout { rows: self.rows, cols: self.cols, bits: self.bits }
    }

    pub(super) fn name(&self) -> String {
        let Self { rows, cols, bits, panel, squeeze } = self;
        let panel = if *panel < *cols { format!(" panels of {panel}") } else { String::new() };
        let squeeze = match squeeze {
            Squeeze::None => String::new(),
            squeeze => format!(" {squeeze:?}"),
        };
        format!("{rows}x{cols} {bits} bit{panel}{squeeze}")
    }

    /// The device as the case wants it, and the pieces of the Hessian there.
    pub(super) fn device(&self, caps: &Caps) -> Result<(Caps, Vec<HessianPiece>)> {
        let caps = self.squeeze.apply(caps);
        let pieces = self.layout().pieces(&caps)?;
        Ok((caps, pieces))
    }

    pub(super) fn panels(&self, pieces: &[HessianPiece]) -> Vec<Panel> {
        Panel::all(pieces, self.panel)
    }

    /// Whole numbers up to 4 in magnitude, diagonals that are powers of two, 0 in the padding;
    /// and the diagonal's reciprocals, 0 for every seventh input and for padding.
    pub(super) fn hessian(&self, rng: &mut ChaCha8Rng) -> (Vec<f32>, Vec<f32>) {
        let (stride, cols) = (self.layout().stride(), self.cols);
        let mut h = vec![0.0; stride * stride];
        let mut inverse = vec![0.0; stride];
        for i in 0..cols {
            for j in 0..i {
                let value = below(rng, 9) as f32 - 4.0;
                h[i * stride + j] = value;
                h[j * stride + i] = value;
            }
            let diagonal = (1 << below(rng, 5)) as f32;
            h[i * stride + i] = diagonal;
            inverse[i] = if i % 7 == 5 { 0.0 } else { 1.0 / diagonal };
        }
        (h, inverse)
    }

    /// Tables, weights and products in sixteenths; ascending tables, some with equal entries.
    pub(super) fn rows(&self, rng: &mut ChaCha8Rng) -> Rows {
        let layout = self.layout();
        let levels = layout.levels();
        let mut tables = Vec::with_capacity(self.rows * levels);
        for _ in 0..self.rows {
            let mut entry = -(levels as f32) / 4.0;
            for _ in 0..levels {
                entry += below(rng, 9) as f32 / 16.0;
                tables.push(entry);
            }
        }
        let inputs = self.rows * self.cols;
        let labels: Vec<u8> = (0..inputs).map(|_| below(rng, levels as u32) as u8).collect();
        let mut sixteenths = |range: u32| -> Vec<f32> {
            let half = (range / 2) as f32;
            (0..inputs).map(|_| (below(rng, range + 1) as f32 - half) / 16.0).collect()
        };
        let (weights, pull) = (sixteenths(64), sixteenths(512));
        let (labels, weights) = (layout.padded(&labels), layout.padded(&weights));
        let pull = layout.padded(&pull);
        let off = labels.iter().zip(&weights).enumerate().map(|(at, (&label, w))| {
            let (row, col) = (at / layout.stride(), at % layout.stride());
            let entry = tables[row * levels + usize::from(label)];
            if col < self.cols { entry - w } else { 0.0 }
        });
        Rows { off: off.collect(), labels, tables, weights, pull }
    }
}

/// Shapes that every kernel has to take: one input, odd numbers, no multiple of a tile.
pub(super) fn shapes() -> Vec<Shape> {
    let mut all = vec![
        Shape::new(5, 1, 1),
        Shape::new(3, 31, 2),
        Shape::new(33, 64, 3),
        Shape::new(7, 65, 4),
        Shape::new(1, 200, 2),
        Shape::new(66, 200, 3),
        Shape::new(130, 130, 1),
        Shape::new(67, 257, 4),
    ];
    all.push(Shape { panel: 64, ..Shape::new(65, 200, 4) });
    all.push(Shape { panel: 128, ..Shape::new(9, 400, 3) });
    // 320 rows of 320 f32 in pieces of 128, 128 and 64.
    all.push(Shape { squeeze: Squeeze::Binding(200_000), ..Shape::new(21, 300, 4) });
    all.push(Shape { squeeze: Squeeze::Groups(17), ..Shape::new(260, 40, 2) });
    all
}

pub(super) fn random(kernel: &str, shape: &Shape) -> ChaCha8Rng {
    generator(&format!("{kernel} {}", shape.name()))
}

pub(super) fn below(rng: &mut ChaCha8Rng, limit: u32) -> u32 {
    rng.next_u32() % limit
}

/// The Hessian in its pieces.
pub(super) fn hessian_tensor(binding: u32, h: &[f32], pieces: &[HessianPiece]) -> Tensor {
    let stride = h.len().isqrt();
    let piece = |piece: &HessianPiece| bytes(&h[piece.first * stride..][..piece.len * stride]);
    Tensor { binding, pieces: pieces.iter().map(piece).collect() }
}

pub(super) fn bytes(values: &[f32]) -> Vec<u8> {
    bytemuck::cast_slice(values).to_vec()
}

/// A tensor that is read and written, with the canary behind it, and what has to become of it.
pub(super) fn updated(binding: u32, before: Vec<u8>, after: Vec<u8>) -> (Tensor, Output) {
    let mut before = before;
    before.resize(before.len() + super::CANARY_BYTES, super::POISON);
    (Tensor::input(binding, before), Output { binding, expected: Expected::Bytes(after) })
}
