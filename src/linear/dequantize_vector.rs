//! `dequantize_vector`: the dense matrix behind weights in pairs, for products of several vectors.
//!
//! Writes `W [rows, stride]` row-major, f32 or f16: exactly the table entries. For f32 the stride is
//! `cols`; for f16 it is `cols` rounded up to an even number, so that rows start at whole words on
//! devices without 16-bit storage, and the padding element is written as 0. The second weight of a
//! last code that stands for one column is not written anywhere.
//!
//! | binding | tensor | contents |
//! |---|---|---|
//! | 0 | params | 12 words, see `shaders/linear/bitplane_weights.wgsl` |
//! | 1 | planes | the planes of a piece, [`VectorLayout::plane_piece`] |
//! | 2 | tables | the tables of a piece, [`VectorLayout::table_piece`] |
//! | 3 | dst | f32, or f16 in pairs |
//!
//! One variant, `baseline`: no feature, default limits. f16 output of an f32 table rounds to
//! nearest, ties to even. A matrix larger than one binding is written by several launches. Knobs:
//! `workgroup` (64 by default) and `rows` (4).

use super::bitplane::{Shape, code_parts, table_part};
use super::dense::{self, Dense};
use super::gemv_vector::table_bytes;
use super::{Activation, VectorLayer, VectorLayout};
use crate::Result;
use crate::launch::{Caps, Knobs, Launch, Lookup, Masks, Spec, part};

/// The kernel's name.
pub const NAME: &str = "dequantize_vector";

/// Number of the output's binding.
pub const DST: u32 = dense::DST;

/// One dequantization, described.
#[derive(Debug, Clone, PartialEq)]
pub struct DequantizeVector {
    /// The weights as they lie on the device.
    pub layout: VectorLayout,
    /// Element type of the output.
    pub element: Activation,
}

impl DequantizeVector {
    /// Elements from row to row of the output.
    pub fn stride(&self) -> usize {
        dense::stride(self.layout.cols(), self.element)
    }

    /// Bytes of the output.
    pub fn dst_bytes(&self) -> u64 {
        dense::dst_bytes(self.layout.planes(), self.element)
    }
}

impl Spec for DequantizeVector {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        let (layout, bits) = (self.layout.planes(), self.layout.code_bits());
        let shape = Shape::new(NAME, caps, knobs, 4)?;
        let mut parts = code_parts(bits, Masks::Constant).to_vec();
        parts.push(part!("lib/half.wgsl"));
        parts.push(table_part(layout));
        parts.push(part!("linear/lookup_vector.wgsl"));
        parts.push(dense::output_part(self.element));
        parts.push(part!("linear/dequantize_vector.wgsl"));
        let table_bytes = table_bytes(Lookup::Pair, shape.rows, bits);
        let element = self.element;
        Dense { kernel: NAME, layout, bits, element, shape, parts, table_bytes }.launches(caps)
    }
}

/// The dense matrix, row-major with the output's stride, as table entries; padding is 0.
pub fn reference(layer: &VectorLayer, element: Activation) -> Vec<f32> {
    dense::padded(&layer.dequantize(), layer.rows(), layer.cols(), element)
}
