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

use super::bitplane::{
    Params, Shape, code_parts, count, largest, table_part, weight_bytes, weight_operands,
};
use super::{Activation, BitplaneLayer, BitplaneLayout};
use crate::launch::{
    Access, Binding, Caps, Knobs, Launch, Masks, Needs, Operand, Spec, Traffic, linear_grid, part,
    shard_rows,
};
use crate::{Error, Result};

/// The kernel's name.
pub const NAME: &str = "dequantize_bitplane";

/// Number of the output's binding.
pub const DST: u32 = 3;

static BINDINGS: [Binding; 4] = [
    Binding::new(0, "params", Access::Uniform),
    Binding::new(super::bitplane::PLANES, "planes", Access::Read),
    Binding::new(super::bitplane::TABLES, "tables", Access::Read),
    Binding::new(DST, "dst", Access::ReadWrite),
];

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
        stride(self.layout.cols(), self.element)
    }

    /// Bytes of the output.
    pub fn dst_bytes(&self) -> u64 {
        (self.layout.rows() as u64)
            .saturating_mul(self.stride() as u64)
            .saturating_mul(self.element.bytes() as u64)
    }
}

fn stride(cols: usize, element: Activation) -> usize {
    match element {
        Activation::F32 => cols,
        Activation::F16 => cols.next_multiple_of(2),
    }
}

impl Spec for DequantizeBitplane {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        let layout = &self.layout;
        layout.check_width(self.bits)?;
        if self.dst_bytes() > caps.max_buffer_bytes {
            let (bytes, limit) = (self.dst_bytes(), caps.max_buffer_bytes);
            return Err(Error::BindingTooLarge { what: "dst".to_owned(), bytes, limit });
        }
        let shape = Shape::new(NAME, caps, knobs, 4)?;
        let mut parts = code_parts(self.bits, Masks::Constant).to_vec();
        parts.push(part!("lib/half.wgsl"));
        parts.push(table_part(layout));
        parts.push(part!("linear/lookup_single.wgsl"));
        parts.push(match self.element {
            Activation::F32 => part!("linear/dense_f32.wgsl"),
            Activation::F16 => part!("linear/dense_f16.wgsl"),
        });
        parts.push(part!("linear/dequantize_bitplane.wgsl"));
        let shader = shape.shader(NAME, self.bits, parts);

        let row_bytes = self.stride() as u64 * self.element.bytes() as u64;
        let slice = shard_rows("dst", layout.rows(), row_bytes, 0, caps.bindable_bytes())?;
        let mut launches = Vec::new();
        for (index, piece) in layout.pieces().enumerate() {
            for start in piece.clone().step_by(slice) {
                let rows = start..piece.end.min(start + slice);
                let mut operands =
                    weight_operands(layout, count("pieces", index)?, piece.len(), self.bits)
                        .to_vec();
                let bytes = rows.len() as u64 * row_bytes;
                let offset = rows.start as u64 * row_bytes;
                operands.push(Operand { binding: DST, piece: 0, offset, bytes });
                let stride = count("stride", self.stride())?;
                let params = Params { stride, ..Params::new(layout, &piece, &rows)? };
                let needs = Needs {
                    workgroup_bytes: shape.table_bytes(self.bits),
                    invocations: shape.workgroup,
                    storage_buffers: 3,
                    binding_bytes: largest(&operands),
                    ..Needs::default()
                };
                needs.check(NAME, caps)?;
                let n = rows.len() as u64;
                let read_bytes = weight_bytes(layout, rows.len(), self.bits);
                let traffic = Traffic { read_bytes, write_bytes: bytes, flops: 0 };
                launches.push(Launch {
                    kernel: NAME,
                    variant: "baseline",
                    shader: shader.clone(),
                    bindings: &BINDINGS,
                    operands,
                    params: bytemuck::bytes_of(&params).to_vec(),
                    grid: linear_grid(NAME, n.div_ceil(shape.rows.into()), caps.max_groups)?,
                    scratch: Vec::new(),
                    needs,
                    traffic,
                });
            }
        }
        Ok(launches)
    }
}

/// The dense matrix, row-major with the output's stride, as table entries; padding is 0.
///
/// # Errors
/// As [`BitplaneLayer::check_width`].
pub fn reference(layer: &BitplaneLayer, bits: u8, element: Activation) -> Result<Vec<f32>> {
    let stride = stride(layer.cols(), element);
    let mut out = Vec::with_capacity(layer.rows() * stride);
    for row in layer.dequantize(bits)?.chunks_exact(layer.cols()) {
        out.extend_from_slice(row);
        out.resize(out.len().next_multiple_of(stride), 0.0);
    }
    Ok(out)
}
