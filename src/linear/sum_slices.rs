//! `sum_slices`: adds up the products of slices of a matrix's columns (split-K), in their order.
//!
//! `y[m, row] = sum over s of partials[s, m, row], + bias[row]`. Shapes: partials
//! `[slices, batch, stride]` of f32; `y [batch, stride]`, f32 or f16; bias `[rows]`, f32. The stride
//! is the rows, for f16 rounded up to an even number, with 0 in the padding.
//!
//! | binding | tensor | contents |
//! |---|---|---|
//! | 0 | params | 8 words, see `shaders/linear/sum_slices.wgsl` |
//! | 3 | bias | f32, or absent |
//! | 5 | y | f32, or f16 in pairs |
//! | 6 | partials | f32 |
//!
//! The numbers are those of [`super::gemv_bitplane`] and [`super::gemm_bitplane`], whose launches it
//! follows. One variant,
//! `baseline`: no feature, default limits. Knobs: `workgroup`.

use super::Activation;
use super::bitplane::{Shape, count, largest, whole};
use super::product::{BIAS, PARTIALS, Y, stride};
use crate::launch::{
    Access, Binding, Caps, Knobs, Launch, Needs, Operand, Scratch, Shader, Spec, Traffic,
    linear_grid, part,
};
use crate::{Error, Result};

/// The kernel's name.
pub const NAME: &str = "sum_slices";

static BINDINGS: [Binding; 4] = [
    Binding::new(0, "params", Access::Uniform),
    Binding::new(BIAS, "bias", Access::Read),
    Binding::new(Y, "y", Access::ReadWrite),
    Binding::new(PARTIALS, "partials", Access::Read),
];

/// Mirrors `Params` of the shader.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Params {
    rows: u32,
    batch: u32,
    slices: u32,
    stride: u32,
    bias: u32,
    unused: [u32; 3],
}

/// One addition, described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SumSlices {
    /// Rows of the matrix.
    pub rows: usize,
    /// Vectors.
    pub batch: usize,
    /// Slices of the columns.
    pub slices: usize,
    /// Element type of `y`.
    pub activation: Activation,
    /// Whether to add a bias.
    pub bias: bool,
}

impl SumSlices {
    /// Elements from vector to vector.
    pub fn stride(&self) -> usize {
        stride(self.rows, self.activation)
    }

    /// Elements of `y`.
    pub fn y_len(&self) -> usize {
        self.stride().saturating_mul(self.batch)
    }

    /// Elements of the partial sums.
    pub fn partials_len(&self) -> usize {
        self.y_len().saturating_mul(self.slices)
    }

    /// The launch that takes its partial sums from scratch memory.
    pub(super) fn after_slices(&self, caps: &Caps, knobs: &Knobs) -> Result<Launch> {
        let mut launch = self.launch(caps, knobs)?;
        // The product need not have been sliced: only what it must write counts.
        let bias_bytes = if self.bias { 4 * self.rows as u64 } else { 0 };
        launch.traffic = Traffic { read_bytes: bias_bytes, flops: 0, ..launch.traffic };
        launch.operands.retain(|operand| operand.binding != PARTIALS);
        let bytes = whole("partials", self.partials_len(), 4, caps)?;
        launch.scratch = vec![Scratch { binding: PARTIALS, offset: 0, bytes }];
        Ok(launch)
    }

    fn launch(&self, caps: &Caps, knobs: &Knobs) -> Result<Launch> {
        let shape = Shape::new(NAME, caps, knobs, 4)?;
        let y_bytes = whole("y", self.y_len(), self.activation.bytes(), caps)?;
        let partials_bytes = whole("partials", self.partials_len(), 4, caps)?;
        let mut operands = vec![
            Operand { binding: Y, piece: 0, offset: 0, bytes: y_bytes },
            Operand { binding: PARTIALS, piece: 0, offset: 0, bytes: partials_bytes },
        ];
        let mut bias_bytes = 0;
        if self.bias {
            bias_bytes = whole("bias", self.rows, 4, caps)?;
            operands.push(Operand { binding: BIAS, piece: 0, offset: 0, bytes: bias_bytes });
        }
        let params = Params {
            rows: count("rows", self.rows)?,
            batch: count("batch", self.batch)?,
            slices: count("slices", self.slices)?,
            stride: count("stride of y", self.stride())?,
            bias: self.bias.into(),
            unused: [0; 3],
        };
        let mut parts = vec![part!("linear/bias.wgsl")];
        let words = match self.activation {
            Activation::F32 => {
                parts.push(part!("linear/sums_f32.wgsl"));
                self.y_len() as u64
            }
            Activation::F16 => {
                parts.extend([part!("lib/half.wgsl"), part!("linear/sums_f16.wgsl")]);
                self.y_len() as u64 / 2
            }
        };
        parts.push(part!("linear/sum_slices.wgsl"));
        let needs = Needs {
            invocations: shape.workgroup,
            storage_buffers: 3,
            binding_bytes: largest(&operands),
            ..Needs::default()
        };
        needs.check(NAME, caps)?;
        let sums = (self.rows * self.batch) as u64;
        Ok(Launch {
            kernel: NAME,
            variant: "baseline",
            shader: Shader {
                entry: NAME,
                preamble: String::new(),
                parts,
                constants: vec![("WORKGROUP", shape.workgroup.into())],
            },
            bindings: &BINDINGS,
            operands,
            params: bytemuck::bytes_of(&params).to_vec(),
            grid: linear_grid(NAME, words.div_ceil(shape.workgroup.into()), caps.max_groups)?,
            scratch: Vec::new(),
            needs,
            traffic: Traffic {
                read_bytes: 4 * sums * self.slices as u64 + bias_bytes,
                write_bytes: sums * self.activation.bytes() as u64,
                flops: sums * self.slices as u64,
            },
        })
    }
}

impl Spec for SumSlices {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        if self.rows == 0 || self.slices == 0 {
            let what = if self.rows == 0 { "rows" } else { "slices" };
            return Err(Error::range(format!("{what} of {NAME}"), "at least 1", 0));
        }
        if self.batch == 0 {
            return Ok(Vec::new());
        }
        Ok(vec![self.launch(caps, knobs)?])
    }
}

/// A reference result and, for every element, the sum of magnitudes that bounds the rounding
/// error of any order of summation.
#[derive(Debug, Clone, PartialEq)]
pub struct Sums {
    /// `y [batch, stride]` in f64, padding included.
    pub y: Vec<f64>,
    /// The condition of every element of `y`.
    pub condition: Vec<f64>,
}

/// The sums by plain loops in f64.
///
/// # Errors
/// [`Error::Shape`] when `partials` does not have [`SumSlices::partials_len`] elements, or `bias`
/// not `rows`.
pub fn reference(spec: &SumSlices, partials: &[f32], bias: Option<&[f32]>) -> Result<Sums> {
    if partials.len() != spec.partials_len() {
        return Err(Error::shape("length of partials", spec.partials_len(), partials.len()));
    }
    let found = bias.map_or(0, <[f32]>::len);
    let expected = if spec.bias { spec.rows } else { 0 };
    if found != expected {
        return Err(Error::shape("length of the bias", expected, found));
    }
    let (len, stride) = (spec.y_len(), spec.stride());
    let mut sums = Sums { y: vec![0.0; len], condition: vec![0.0; len] };
    for at in (0..len).filter(|at| at % stride < spec.rows) {
        let terms = (0..spec.slices).map(|slice| partials[slice * len + at]);
        let bias = bias.map(|bias| bias[at % stride]);
        for term in terms.chain(bias).map(f64::from) {
            sums.y[at] += term;
            sums.condition[at] += term.abs();
        }
    }
    Ok(sums)
}
