//! The launches of a product: one a cut of the matrix, and one that adds up slices.

use super::choice::Choice;
use super::{BIAS, Block, Gemm, NAME, PARTIALS, W, X, Y};
use crate::Result;
use crate::launch::{
    Access, Binding, Caps, Knobs, Launch, Needs, Operand, Scratch, Traffic, linear_grid,
    shard_rows_by,
};
use crate::linear::bitplane::{count, largest, whole};
use crate::linear::{Activation, SumSlices};
use std::ops::Range;

/// What every device's storage alignment divides.
const ALIGNMENT: u64 = 256;

static BINDINGS: [Binding; 5] = [
    Binding::new(0, "params", Access::Uniform),
    Binding::new(W, "w", Access::Read),
    Binding::new(BIAS, "bias", Access::Read),
    Binding::new(X, "x", Access::Read),
    Binding::new(Y, "y", Access::ReadWrite),
];

/// With several slices; bias and y belong to the launch that adds them up.
static SLICED: [Binding; 4] = [
    Binding::new(0, "params", Access::Uniform),
    Binding::new(W, "w", Access::Read),
    Binding::new(X, "x", Access::Read),
    Binding::new(PARTIALS, "partials", Access::ReadWrite),
];

/// Mirrors `Params` of the shader.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Params {
    rows: u32,
    matrix_row: u32,
    cols: u32,
    batch: u32,
    slices: u32,
    slice_cols: u32,
    bias: u32,
    accumulate: u32,
    w_offset: u32,
    w_stride: u32,
    x_offset: u32,
    x_stride: u32,
    y_offset: u32,
    stride: u32,
    keep: u32,
    unused: u32,
}

/// What is bound of a tensor, and where the matrix begins within that.
struct Bound {
    operand: Operand,
    offset: u32,
    stride: u32,
}

impl Block {
    /// Some rows of the matrix, from the last aligned byte before them to their last element.
    fn bind(
        &self,
        name: &str,
        binding: u32,
        rows: &Range<usize>,
        cols: usize,
        caps: &Caps,
    ) -> Result<Bound> {
        let each = self.element.bytes() as u64;
        let first = self.stride.saturating_mul(rows.start).saturating_add(self.offset) as u64;
        let offset = first.saturating_mul(each) / ALIGNMENT * ALIGNMENT;
        let within = first - offset / each;
        let elements = self.len(rows.len(), cols).saturating_sub(self.offset);
        let what = format!("{name} of {NAME}");
        let bytes =
            whole(&what, elements.saturating_add(within as usize), self.element.bytes(), caps)?;
        // A single row's stride is never added; it need not fit the shader's numbers.
        let stride = if rows.len() > 1 { self.stride } else { 0 };
        Ok(Bound {
            operand: Operand { binding, piece: 0, offset, bytes },
            offset: count(&what, within as usize)?,
            stride: count(&format!("stride of {what}"), stride)?,
        })
    }
}

pub(super) fn launches(spec: &Gemm, caps: &Caps, choice: &Choice) -> Result<Vec<Launch>> {
    let &Gemm { batch, rows, cols, .. } = spec;
    let x = spec.x.bind("x", X, &(0..batch), cols, caps)?;
    let y = spec.y.bind("y", Y, &(0..batch), rows, caps)?;
    let bias = if spec.bias { whole("bias", rows, 4, caps)? } else { 0 };
    let sums = SumSlices {
        rows,
        batch,
        slices: choice.slices as usize,
        activation: spec.y.element,
        bias: spec.bias,
    };
    let scratch = if choice.slices > 1 {
        let bytes = whole("partials", sums.partials_len(), 4, caps)?;
        Some(Scratch { binding: PARTIALS, offset: 0, bytes })
    } else {
        None
    };
    let cut = cut(spec, caps)?;
    let mut launches = Vec::new();
    for start in (0..rows).step_by(cut) {
        let own = start..rows.min(start + cut);
        let w = spec.w.bind("w", W, &own, cols, caps)?;
        let mut operands = Vec::new();
        if cols > 0 {
            operands.extend([w.operand, x.operand]);
        }
        if scratch.is_none() {
            if spec.bias {
                operands.push(Operand { binding: BIAS, piece: 0, offset: 0, bytes: bias });
            }
            operands.push(y.operand);
        }
        let params = Params {
            rows: count("rows", own.len())?,
            matrix_row: count("rows", own.start)?,
            cols: count("cols", cols)?,
            batch: count("batch", batch)?,
            slices: choice.slices,
            slice_cols: count("columns of a slice", choice.slice_cols)?,
            bias: spec.bias.into(),
            accumulate: spec.accumulate.into(),
            w_offset: w.offset,
            w_stride: w.stride,
            x_offset: x.offset,
            x_stride: x.stride,
            y_offset: y.offset,
            stride: if scratch.is_some() { count("stride of y", sums.stride())? } else { y.stride },
            keep: (!spec.owns_y()).into(),
            unused: 0,
        };
        let bindings: &[Binding] = if scratch.is_none() { &BINDINGS } else { &SLICED };
        let needs = Needs {
            storage_buffers: bindings.len() as u32 - 1,
            binding_bytes: scratch.map_or(0, |scratch| scratch.bytes).max(largest(&operands)),
            ..choice.needs
        };
        needs.check(NAME, caps)?;
        let groups = (own.len() as u64)
            .div_ceil(choice.rows.into())
            .saturating_mul(choice.slices.into())
            .saturating_mul(choice.tiles);
        launches.push(Launch {
            kernel: NAME,
            variant: choice.variant,
            shader: choice.shader.clone(),
            bindings,
            operands,
            params: bytemuck::bytes_of(&params).to_vec(),
            grid: linear_grid(NAME, groups, caps.max_groups)?,
            scratch: scratch.into_iter().collect(),
            needs,
            traffic: traffic(spec, &own, scratch.is_none()),
        });
    }
    if scratch.is_some() {
        let knobs = Knobs { workgroup: Some(choice.workgroup), ..Knobs::DEFAULT };
        launches.push(sums.after_slices(caps, &knobs)?);
    }
    Ok(launches)
}

/// Rows of the matrix in one launch: all where they fit a binding.
fn cut(spec: &Gemm, caps: &Caps) -> Result<usize> {
    if spec.w.bind("w", W, &(0..spec.rows), spec.cols, caps).is_ok() {
        return Ok(spec.rows);
    }
    let row = spec.w.stride.max(spec.cols) as u64;
    let row_bytes = row.saturating_mul(spec.w.element.bytes() as u64);
    // Words of two products must not be shared between launches. A cut begins up to so many bytes
    // after an aligned one.
    let multiple = if spec.y.element == Activation::F16 { 2 } else { 1 };
    shard_rows_by("w", spec.rows, multiple, row_bytes, ALIGNMENT, caps.bindable_bytes())
}

/// What some rows of the matrix make necessary, whether or not this launch finishes the products;
/// the vectors, which all launches share, are those of the first.
fn traffic(spec: &Gemm, own: &Range<usize>, finishes: bool) -> Traffic {
    let (batch, cols, rows) = (spec.batch as u64, spec.cols as u64, own.len() as u64);
    let bytes = |block: &Block, elements: u64| elements * block.element.bytes() as u64;
    let products = if finishes { bytes(&spec.y, batch * rows) } else { 0 };
    let bias = if spec.bias && finishes { 4 * rows } else { 0 };
    let before = if spec.accumulate { products } else { 0 };
    let vectors = if own.start == 0 { bytes(&spec.x, batch * cols) } else { 0 };
    Traffic {
        read_bytes: bytes(&spec.w, rows * cols) + vectors + bias + before,
        write_bytes: products,
        flops: 2 * batch * rows * cols,
    }
}
