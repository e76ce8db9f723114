//! What the products with bit-plane weights have in common: their bindings and launches, one a
//! piece, and one that adds up slices.

use super::bitplane::{
    PLANES, Params, TABLES, check_width_and_bias, count, largest, weight_bytes, weight_operands,
    whole,
};
use super::{Activation, BitplaneLayout, SumSlices};
use crate::Result;
use crate::launch::{
    Access, Binding, Caps, Knobs, Launch, Needs, Operand, Scratch, Shader, Traffic, linear_grid,
};
use std::ops::Range;

/// Number of the bias binding.
pub(super) const BIAS: u32 = 3;
/// Number of the activations' binding.
pub(super) const X: u32 = 4;
/// Number of the product's binding.
pub(super) const Y: u32 = 5;
/// Number of the binding of partial sums.
pub(super) const PARTIALS: u32 = 6;

static BINDINGS: [Binding; 6] = [
    Binding::new(0, "params", Access::Uniform),
    Binding::new(PLANES, "planes", Access::Read),
    Binding::new(TABLES, "tables", Access::Read),
    Binding::new(BIAS, "bias", Access::Read),
    Binding::new(X, "x", Access::Read),
    Binding::new(Y, "y", Access::ReadWrite),
];

/// With several slices; bias and y belong to the launch that adds them up.
static SLICED: [Binding; 5] = [
    Binding::new(0, "params", Access::Uniform),
    Binding::new(PLANES, "planes", Access::Read),
    Binding::new(TABLES, "tables", Access::Read),
    Binding::new(X, "x", Access::Read),
    Binding::new(PARTIALS, "partials", Access::ReadWrite),
];

/// Elements from vector to vector of products.
pub(super) fn stride(rows: usize, activation: Activation) -> usize {
    match activation {
        Activation::F32 => rows,
        // A number of rows that nothing can hold is refused later, by its bytes.
        Activation::F16 => rows.checked_next_multiple_of(2).unwrap_or(rows),
    }
}

/// Elements of `batch` products: the rows of one, or `batch` strides.
pub(super) fn y_len(rows: usize, batch: usize, activation: Activation) -> usize {
    match batch {
        0 | 1 => rows * batch,
        batch => stride(rows, activation).saturating_mul(batch),
    }
}

/// What is to be multiplied.
#[derive(Debug, Clone, Copy)]
pub(super) struct Product<'a> {
    pub(super) kernel: &'static str,
    pub(super) layout: &'a BitplaneLayout,
    pub(super) bits: u8,
    pub(super) batch: usize,
    pub(super) activation: Activation,
    pub(super) bias: bool,
}

/// How it is computed.
#[derive(Debug, Clone)]
pub(super) struct Form {
    pub(super) variant: &'static str,
    pub(super) shader: Shader,
    /// What the shader needs; storage buffers and binding sizes are counted here.
    pub(super) needs: Needs,
    pub(super) workgroup: u32,
    /// Rows of one workgroup.
    pub(super) rows: u32,
    /// Workgroups that share rows and slice, for the vectors.
    pub(super) tiles: u64,
    pub(super) slices: u32,
    /// Words of a row in one slice.
    pub(super) slice_words: u32,
    /// Vectors as the shader's parameters have them; 0 where they are a constant of it.
    pub(super) batch: u32,
}

impl Product<'_> {
    /// Whether weights and bias are those of the layer.
    pub(super) fn check(&self) -> Result<()> {
        check_width_and_bias(self.kernel, self.layout, self.bits, self.bias)
    }

    /// The launches, in order.
    pub(super) fn launches(&self, caps: &Caps, form: &Form) -> Result<Vec<Launch>> {
        let Self { layout, activation, .. } = *self;
        let rows = layout.rows();
        let elements = layout.cols().saturating_mul(self.batch);
        let bytes = Bytes {
            x: whole("x", elements, activation.bytes(), caps)?,
            y: whole("y", y_len(rows, self.batch, activation), activation.bytes(), caps)?,
            bias: if self.bias { whole("bias", rows, 4, caps)? } else { 0 },
        };
        if form.slices > 1 {
            let vector = stride(rows, activation).saturating_mul(self.batch);
            whole("partials", vector.saturating_mul(form.slices as usize), 4, caps)?;
        }
        let mut launches = Vec::new();
        for (piece, rows) in layout.pieces().enumerate() {
            launches.push(self.launch(caps, form, &bytes, count("pieces", piece)?, &rows)?);
        }
        if form.slices > 1 {
            let sums = SumSlices {
                rows,
                batch: self.batch,
                slices: form.slices as usize,
                activation,
                bias: self.bias,
            };
            let knobs = Knobs { workgroup: Some(form.workgroup), ..Knobs::DEFAULT };
            launches.push(sums.after_slices(caps, &knobs)?);
        }
        Ok(launches)
    }

    /// Scratch memory for partial sums, where there are any.
    fn scratch(&self, slices: u32) -> Option<Scratch> {
        let stride = stride(self.layout.rows(), self.activation) as u64;
        let vectors = self.batch as u64 * u64::from(slices);
        let bytes = stride.saturating_mul(vectors).saturating_mul(4);
        (slices > 1).then_some(Scratch { binding: PARTIALS, offset: 0, bytes })
    }

    /// The launch of one piece.
    fn launch(
        &self,
        caps: &Caps,
        form: &Form,
        tensors: &Bytes,
        piece: u32,
        rows: &Range<usize>,
    ) -> Result<Launch> {
        let Self { kernel, layout, bits, activation, .. } = *self;
        let scratch = self.scratch(form.slices);
        let mut operands = weight_operands(layout, piece, rows.len(), bits).to_vec();
        let mut bind = |binding, bytes| {
            operands.push(Operand { binding, piece: 0, offset: 0, bytes });
        };
        let finishes = scratch.is_none();
        if self.bias && finishes {
            bind(BIAS, tensors.bias);
        }
        bind(X, tensors.x);
        if finishes {
            bind(Y, tensors.y);
        }
        let params = Params {
            bias: self.bias.into(),
            stride: count("stride of y", stride(layout.rows(), activation))?,
            slices: form.slices,
            slice_words: form.slice_words,
            batch: form.batch,
            ..Params::new(layout, rows, rows)?
        };
        let (n, batch) = (rows.len() as u64, self.batch as u64);
        let traffic = Traffic {
            // x is the same for all pieces: it must be read once.
            read_bytes: weight_bytes(layout, rows.len(), bits)
                + if piece == 0 { tensors.x } else { 0 }
                + if self.bias && finishes { 4 * n } else { 0 },
            write_bytes: if finishes { batch * n * activation.bytes() as u64 } else { 0 },
            flops: 2 * batch * n * layout.cols() as u64,
        };
        let bindings: &[Binding] = if finishes { &BINDINGS } else { &SLICED };
        let needs = Needs {
            storage_buffers: bindings.len() as u32 - 1,
            binding_bytes: scratch.map_or(0, |scratch| scratch.bytes).max(largest(&operands)),
            ..form.needs
        };
        needs.check(kernel, caps)?;
        let groups = n
            .div_ceil(form.rows.into())
            .saturating_mul(u64::from(form.slices))
            .saturating_mul(form.tiles);
        Ok(Launch {
            kernel,
            variant: form.variant,
            shader: form.shader.clone(),
            bindings,
            operands,
            params: bytemuck::bytes_of(&params).to_vec(),
            grid: linear_grid(kernel, groups, caps.max_groups)?,
            scratch: scratch.into_iter().collect(),
            needs,
            traffic,
        })
    }
}

/// Bytes of the tensors that every launch binds whole.
struct Bytes {
    x: u64,
    y: u64,
    bias: u64,
}
