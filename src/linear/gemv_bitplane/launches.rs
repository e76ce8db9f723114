//! The launches of a product: one a piece, and one that adds up slices.

use super::choice::Choice;
use super::{BIAS, GemvBitplane, NAME, PARTIALS, X, Y};
use crate::Result;
use crate::launch::{Access, Binding, Caps, Knobs, Launch, Operand, Traffic, linear_grid};
use crate::linear::SumSlices;
use crate::linear::bitplane::{
    PLANES, Params, TABLES, count, largest, weight_bytes, weight_operands, whole,
};
use std::ops::Range;

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

pub(super) fn launches(spec: &GemvBitplane, caps: &Caps, choice: &Choice) -> Result<Vec<Launch>> {
    let layout = &spec.layout;
    let products = Products {
        spec,
        caps,
        choice,
        x_bytes: whole("x", spec.x_len(), spec.activation.bytes(), caps)?,
        y_bytes: whole("y", spec.y_len(), spec.activation.bytes(), caps)?,
        bias_bytes: if spec.bias { whole("bias", layout.rows(), 4, caps)? } else { 0 },
    };
    if choice.slices > 1 {
        let vector = spec.y_stride().saturating_mul(spec.batch);
        whole("partials", vector.saturating_mul(choice.slices as usize), 4, caps)?;
    }
    let mut launches = Vec::new();
    for (piece, rows) in layout.pieces().enumerate() {
        launches.push(products.launch(count("pieces", piece)?, &rows)?);
    }
    if choice.slices > 1 {
        let sums = SumSlices {
            rows: layout.rows(),
            batch: spec.batch,
            slices: choice.slices as usize,
            activation: spec.activation,
            bias: spec.bias,
        };
        let knobs = Knobs { workgroup: Some(choice.shape.workgroup), ..Knobs::DEFAULT };
        launches.push(sums.after_slices(caps, &knobs)?);
    }
    Ok(launches)
}

struct Products<'a> {
    spec: &'a GemvBitplane,
    caps: &'a Caps,
    choice: &'a Choice,
    x_bytes: u64,
    y_bytes: u64,
    bias_bytes: u64,
}

impl Products<'_> {
    /// The launch of one piece.
    fn launch(&self, piece: u32, rows: &Range<usize>) -> Result<Launch> {
        let Self { spec, caps, choice, .. } = self;
        let layout = &spec.layout;
        let scratch = choice.scratch(spec);
        let mut operands = weight_operands(layout, piece, rows.len(), spec.bits).to_vec();
        let mut bind = |binding, bytes| {
            operands.push(Operand { binding, piece: 0, offset: 0, bytes });
        };
        if spec.bias && scratch.is_none() {
            bind(BIAS, self.bias_bytes);
        }
        bind(X, self.x_bytes);
        if scratch.is_none() {
            bind(Y, self.y_bytes);
        }
        let params = Params {
            bias: spec.bias.into(),
            stride: count("stride of y", spec.y_stride())?,
            slices: choice.slices,
            slice_words: choice.slice_words,
            ..Params::new(layout, rows, rows)?
        };
        let (n, batch) = (rows.len() as u64, spec.batch as u64);
        let finishes = scratch.is_none();
        let traffic = Traffic {
            read_bytes: weight_bytes(layout, rows.len(), spec.bits)
                + self.x_bytes
                + if spec.bias && finishes { 4 * n } else { 0 },
            write_bytes: if finishes { batch * n * spec.activation.bytes() as u64 } else { 0 },
            flops: 2 * batch * n * layout.cols() as u64,
        };
        let bindings: &[Binding] = if finishes { &BINDINGS } else { &SLICED };
        let bytes = scratch.map_or(0, |scratch| scratch.bytes).max(largest(&operands));
        let needs = choice.needs(spec.bits, bindings.len() as u32 - 1, bytes);
        needs.check(NAME, caps)?;
        let groups = n.div_ceil(choice.shape.rows.into()) * u64::from(choice.slices);
        Ok(Launch {
            kernel: NAME,
            variant: choice.variant(),
            shader: choice.shader(spec),
            bindings,
            operands,
            params: bytemuck::bytes_of(&params).to_vec(),
            grid: linear_grid(NAME, groups, caps.max_groups)?,
            scratch: scratch.into_iter().collect(),
            needs,
            traffic,
        })
    }
}
