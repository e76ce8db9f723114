//! Writing the dense matrix behind a layer: what `dequantize_bitplane` and `dequantize_vector` have
//! in common.

use super::bitplane::{
    PLANES, Params, Shape, TABLES, count, largest, weight_bytes, weight_operands,
};
use super::{Activation, BitplaneLayout};
use crate::launch::{
    Access, Binding, Caps, Launch, Needs, Operand, Part, Traffic, linear_grid, part, shard_rows,
};
use crate::{Error, Result};

/// Number of the output's binding.
pub(super) const DST: u32 = 3;

static BINDINGS: [Binding; 4] = [
    Binding::new(0, "params", Access::Uniform),
    Binding::new(PLANES, "planes", Access::Read),
    Binding::new(TABLES, "tables", Access::Read),
    Binding::new(DST, "dst", Access::ReadWrite),
];

/// Elements from row to row of the output.
pub(super) fn stride(cols: usize, element: Activation) -> usize {
    match element {
        Activation::F32 => cols,
        Activation::F16 => cols.next_multiple_of(2),
    }
}

/// Bytes of the output.
pub(super) fn dst_bytes(layout: &BitplaneLayout, element: Activation) -> u64 {
    (layout.rows() as u64)
        .saturating_mul(stride(layout.cols(), element) as u64)
        .saturating_mul(element.bytes() as u64)
}

/// The part that stores the output.
pub(super) fn output_part(element: Activation) -> Part {
    match element {
        Activation::F32 => part!("linear/dense_f32.wgsl"),
        Activation::F16 => part!("linear/dense_f16.wgsl"),
    }
}

/// Rows of a reference, row-major, with the output's padding of 0.
pub(super) fn padded(dense: &[f32], rows: usize, cols: usize, element: Activation) -> Vec<f32> {
    let stride = stride(cols, element);
    let mut out = Vec::with_capacity(rows * stride);
    for row in dense.chunks_exact(cols) {
        out.extend_from_slice(row);
        out.resize(out.len().next_multiple_of(stride), 0.0);
    }
    out
}

/// What is to be written, and by which shader.
pub(super) struct Dense<'a> {
    pub(super) kernel: &'static str,
    pub(super) layout: &'a BitplaneLayout,
    pub(super) bits: u8,
    pub(super) element: Activation,
    pub(super) shape: Shape,
    /// The last part is the kernel's own file.
    pub(super) parts: Vec<Part>,
    /// Bytes of tables in workgroup memory.
    pub(super) table_bytes: u32,
}

impl Dense<'_> {
    /// The launches: one for every piece, or for every part of it whose output fits a binding.
    pub(super) fn launches(self, caps: &Caps) -> Result<Vec<Launch>> {
        let Self { kernel, layout, bits, element, shape, parts, table_bytes } = self;
        let (bytes, limit) = (dst_bytes(layout, element), caps.max_buffer_bytes);
        if bytes > limit {
            return Err(Error::BindingTooLarge { what: "dst".to_owned(), bytes, limit });
        }
        let shader = shape.shader(kernel, bits, parts);
        let stride = stride(layout.cols(), element);
        let row_bytes = stride as u64 * element.bytes() as u64;
        let slice = shard_rows("dst", layout.rows(), row_bytes, 0, caps.bindable_bytes())?;
        let mut launches = Vec::new();
        for (index, piece) in layout.pieces().enumerate() {
            for start in piece.clone().step_by(slice) {
                let rows = start..piece.end.min(start + slice);
                let index = count("pieces", index)?;
                let mut operands = weight_operands(layout, index, piece.len(), bits).to_vec();
                let bytes = rows.len() as u64 * row_bytes;
                let offset = rows.start as u64 * row_bytes;
                operands.push(Operand { binding: DST, piece: 0, offset, bytes });
                let stride = count("stride", stride)?;
                let params = Params { stride, ..Params::new(layout, &piece, &rows)? };
                let needs = Needs {
                    workgroup_bytes: table_bytes,
                    invocations: shape.workgroup,
                    storage_buffers: 3,
                    binding_bytes: largest(&operands),
                    ..Needs::default()
                };
                needs.check(kernel, caps)?;
                let n = rows.len() as u64;
                let read_bytes = weight_bytes(layout, rows.len(), bits);
                let traffic = Traffic { read_bytes, write_bytes: bytes, flops: 0 };
                launches.push(Launch {
                    kernel,
                    variant: "baseline",
                    shader: shader.clone(),
                    bindings: &BINDINGS,
                    operands,
                    params: bytemuck::bytes_of(&params).to_vec(),
                    grid: linear_grid(kernel, n.div_ceil(shape.rows.into()), caps.max_groups)?,
                    scratch: Vec::new(),
                    needs,
                    traffic,
                });
            }
        }
        Ok(launches)
    }
}
