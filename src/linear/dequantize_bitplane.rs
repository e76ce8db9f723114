//! `dequantize_bitplane`: the dense matrix behind any-precision weights.
//!
//! Writes `W_b [rows, stride]` row-major, f32 or f16: exactly the table entries. For f32 the
//! stride is `cols`; for f16 it is `cols` rounded up to an even number, so that rows start at
//! whole words on devices without 16-bit storage, and the padding element is written as 0.
//!
//! | binding | tensor | contents |
//! |---|---|---|
//! | 0 | params | 12 words, see `shaders/linear/bitplane_weights.wgsl` |
//! | 1 | planes | the first `bits` planes of a piece |
//! | 2 | tables | one width of a piece |
//! | 3 | dst | f32, or f16 in pairs |
//!
//! One variant, `baseline`: no feature, default limits. f16 output of an f32 table rounds to
//! nearest, ties to even. A matrix larger than one binding is written by several launches.

use super::bitplane::{Shape, code_parts, table_part};
use super::dense::{self, Dense};
use super::{Activation, BitplaneLayer, BitplaneLayout};
use crate::Result;
use crate::launch::{Caps, Knobs, Launch, Masks, Spec, part};

/// The kernel's name.
pub const NAME: &str = "dequantize_bitplane";

/// Number of the output's binding.
pub const DST: u32 = dense::DST;

/// One dequantization, described.
#[derive(Debug, Clone, PartialEq)]
pub struct DequantizeBitplane {
    /// The weights as they lie on the device.
    pub layout: BitplaneLayout,
    /// Width to write.
    pub bits: u8,
    /// Element type of the output.
    pub element: Activation,
}

impl DequantizeBitplane {
    /// Elements from row to row of the output.
    pub fn stride(&self) -> usize {
        dense::stride(self.layout.cols(), self.element)
    }

    /// Bytes of the output.
    pub fn dst_bytes(&self) -> u64 {
        dense::dst_bytes(&self.layout, self.element)
    }
}

impl Spec for DequantizeBitplane {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        let layout = &self.layout;
        layout.check_width(self.bits)?;
        let shape = Shape::new(NAME, caps, knobs, 4)?;
        let mut parts = code_parts(self.bits, Masks::Constant).to_vec();
        parts.push(part!("lib/half.wgsl"));
        parts.push(table_part(layout));
        parts.push(part!("linear/lookup_single.wgsl"));
        parts.push(dense::output_part(self.element));
        parts.push(part!("linear/dequantize_bitplane.wgsl"));
        let dense = Dense {
            kernel: NAME,
            layout,
            bits: self.bits,
            element: self.element,
            shape,
            parts,
            table_bytes: shape.table_bytes(self.bits),
        };
        dense.launches(caps)
    }
}

/// The dense matrix, row-major with the output's stride, as table entries; padding is 0.
///
/// # Errors
/// As [`BitplaneLayer::check_width`].
pub fn reference(layer: &BitplaneLayer, bits: u8, element: Activation) -> Result<Vec<f32>> {
    Ok(dense::padded(&layer.dequantize(bits)?, layer.rows(), layer.cols(), element))
}
