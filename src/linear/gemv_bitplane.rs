//! `gemv_bitplane`: matrix times vector with any-precision weights.
//!
//! `y = W_b x + bias`, where `W_b` is the `b`-bit model inside a stored parent: the first `b`
//! planes and the tables of width `b` are all that is read. Shapes: `x [cols]`, `y [rows]`, both
//! f32 or both f16; bias `[rows]`, f32. Sums are f32. Bytes read fall in proportion to `b`.
//!
//! | binding | tensor | contents |
//! |---|---|---|
//! | 0 | params | 8 words, see `shaders/linear/bitplane_weights.wgsl` |
//! | 1 | planes | the first `bits` planes of a piece, [`BitplaneLayout::plane_piece`] |
//! | 2 | tables | one width of a piece, [`BitplaneLayout::table_piece`] |
//! | 3 | bias | f32, or absent |
//! | 4 | x | f32, or f16 in pairs |
//! | 5 | y | f32, or f16 in pairs |
//!
//! Variants: `baseline` (no feature, default limits) and `subgroup`. Where `cols` is a multiple of
//! 32 activations are loaded four at a time. Source: "Any-Precision LLM", arXiv 2402.10517; the
//! kernel is our own.

use super::bitplane::{
    Params, Shape, count, largest, weight_bytes, weight_operands, weight_parts, whole,
};
use super::{Activation, BitplaneLayer, BitplaneLayout};
use crate::launch::{
    Access, Binding, Caps, Knobs, Launch, Needs, Operand, Reduce, Shader, Spec, Traffic,
    linear_grid, part,
};
use crate::{Error, Result};

/// The kernel's name.
pub const NAME: &str = "gemv_bitplane";

/// Number of the bias binding.
pub const BIAS: u32 = 3;
/// Number of the activations' binding.
pub const X: u32 = 4;
/// Number of the product's binding.
pub const Y: u32 = 5;

static BINDINGS: [Binding; 6] = [
    Binding::new(0, "params", Access::Uniform),
    Binding::new(super::bitplane::PLANES, "planes", Access::Read),
    Binding::new(super::bitplane::TABLES, "tables", Access::Read),
    Binding::new(BIAS, "bias", Access::Read),
    Binding::new(X, "x", Access::Read),
    Binding::new(Y, "y", Access::ReadWrite),
];

/// One product, described.
#[derive(Debug, Clone, PartialEq)]
pub struct GemvBitplane {
    /// The weights as they lie on the device.
    pub layout: BitplaneLayout,
    /// Width to multiply at.
    pub bits: u8,
    /// Activation vectors: 0 does nothing, 1 is this kernel's case.
    pub batch: usize,
    /// Element type of `x` and `y`.
    pub activation: Activation,
    /// Whether to add the layer's bias.
    pub bias: bool,
}

impl GemvBitplane {
    /// One vector of f32 activations; the bias is added where the layer has one.
    pub fn new(layout: BitplaneLayout, bits: u8) -> Self {
        let bias = layout.bias();
        Self { layout, bits, batch: 1, activation: Activation::F32, bias }
    }

    fn check(&self) -> Result<()> {
        self.layout.check_width(self.bits)?;
        if self.batch > 1 {
            let why = "this kernel multiplies one vector a launch".to_owned();
            return Err(Error::unsupported(format!("{NAME} with batch {}", self.batch), why));
        }
        if self.bias && !self.layout.bias() {
            return Err(Error::unsupported(format!("{NAME} with bias"), "the layer has no bias"));
        }
        Ok(())
    }

    fn shader(&self, shape: &Shape) -> Shader {
        let (bits, quads) = (self.bits, self.layout.cols().is_multiple_of(32));
        let mut parts = weight_parts(&self.layout, bits).to_vec();
        parts.push(match shape.reduce {
            Reduce::Workgroup => part!("lib/reduce_workgroup.wgsl"),
            Reduce::Subgroup => part!("lib/reduce_subgroup.wgsl"),
        });
        parts.push(part!("linear/row_tables.wgsl"));
        parts.push(match (self.activation, quads) {
            (Activation::F32, true) => part!("linear/activations_f32_quads.wgsl"),
            (Activation::F32, false) => part!("linear/activations_f32.wgsl"),
            (Activation::F16, true) => part!("linear/activations_f16_quads.wgsl"),
            (Activation::F16, false) => part!("linear/activations_f16.wgsl"),
        });
        parts.push(match self.activation {
            Activation::F32 => part!("linear/output_f32.wgsl"),
            Activation::F16 => part!("linear/output_f16.wgsl"),
        });
        parts.push(part!("linear/gemv_bitplane.wgsl"));
        shape.shader(NAME, bits, parts)
    }
}

impl Spec for GemvBitplane {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        self.check()?;
        if self.batch == 0 {
            return Ok(Vec::new());
        }
        let layout = &self.layout;
        let shape = Shape::new(NAME, caps, knobs)?;
        let shader = self.shader(&shape);
        let element = self.activation.bytes();
        let x_bytes = whole("x", layout.cols(), element, caps)?;
        let y_bytes = whole("y", layout.rows(), element, caps)?;
        let bias_bytes = if self.bias { whole("bias", layout.rows(), 4, caps)? } else { 0 };
        layout
            .pieces()
            .enumerate()
            .map(|(piece, rows)| {
                let mut operands =
                    weight_operands(layout, count("pieces", piece)?, rows.len(), self.bits)
                        .to_vec();
                let mut bind = |binding, bytes| {
                    operands.push(Operand { binding, piece: 0, offset: 0, bytes });
                };
                if self.bias {
                    bind(BIAS, bias_bytes);
                }
                bind(X, x_bytes);
                bind(Y, y_bytes);
                let params =
                    Params { bias: self.bias.into(), ..Params::new(layout, &rows, &rows)? };
                let n = rows.len() as u64;
                let weights = weight_bytes(layout, rows.len(), self.bits);
                let traffic = Traffic {
                    read_bytes: weights + x_bytes + if self.bias { 4 * n } else { 0 },
                    write_bytes: n * element as u64,
                    flops: 2 * n * layout.cols() as u64,
                };
                let needs = Needs {
                    f16: false,
                    subgroups: shape.reduce == Reduce::Subgroup,
                    workgroup_bytes: shape.table_bytes(self.bits)
                        + shape.rows * shape.workgroup * 4,
                    invocations: shape.workgroup,
                    storage_buffers: 5,
                    binding_bytes: largest(&operands),
                };
                needs.check(NAME, caps)?;
                let groups = n.div_ceil(shape.rows.into());
                Ok(Launch {
                    kernel: NAME,
                    variant: match shape.reduce {
                        Reduce::Workgroup => "baseline",
                        Reduce::Subgroup => "subgroup",
                    },
                    shader: shader.clone(),
                    bindings: &BINDINGS,
                    operands,
                    params: bytemuck::bytes_of(&params).to_vec(),
                    grid: linear_grid(NAME, groups, caps.max_groups)?,
                    scratch: Vec::new(),
                    needs,
                    traffic,
                })
            })
            .collect()
    }
}

/// A reference product and, for every row, the condition `sum |w x| + |bias|` that bounds the
/// rounding error of any order of summation.
#[derive(Debug, Clone, PartialEq)]
pub struct Product {
    /// `y`, in f64.
    pub y: Vec<f64>,
    /// The condition of every element of `y`.
    pub condition: Vec<f64>,
}

/// The product by plain loops in f64, from codes and tables.
///
/// # Errors
/// As [`BitplaneLayer::check_width`], and [`Error::Shape`] when `x` does not have `cols` elements.
pub fn reference(layer: &BitplaneLayer, bits: u8, x: &[f32], bias: bool) -> Result<Product> {
    if x.len() != layer.cols() {
        return Err(Error::shape("length of x", layer.cols(), x.len()));
    }
    let weights = layer.dequantize(bits)?;
    let bias = layer.bias().filter(|_| bias);
    let mut product = Product { y: Vec::new(), condition: Vec::new() };
    for (row, weights) in weights.chunks_exact(layer.cols()).enumerate() {
        let mut sum = bias.map_or(0.0, |bias| f64::from(bias[row]));
        let mut condition = sum.abs();
        for (&w, &x) in weights.iter().zip(x) {
            let term = f64::from(w) * f64::from(x);
            sum += term;
            condition += term.abs();
        }
        product.y.push(sum);
        product.condition.push(condition);
    }
    Ok(product)
}
