//! `lnq_product`: how strongly the errors of all inputs pull at those of a panel.
//!
//! `pull[r, i] = sum over j of off[r, j] H[j, i]` for the rows of a layer and the inputs `i` of a
//! panel, `off` being quantized minus original weights. Or what changes of neighbouring inputs, those
//! that [`super::lnq_descent`] makes, add to that. The layout is that of [`LnqLayout`]; the panel's
//! columns of the Hessian are read as its rows, which symmetry makes the same.
//!
//! | binding | tensor | contents |
//! |---|---|---|
//! | 0 | params | 8 words, see `shaders/linear/lnq_product.wgsl` |
//! | 1 | hessian | a piece's rows `[.., stride]`, f32, of which the panel's are bound |
//! | 2 | off | `[rows, stride]`, f32; or changes `[rows, changed.width]` |
//! | 3 | pull | `[rows, stride]`, f32; only the panel's inputs are written |
//!
//! `2 rows cols width` flops, `cols` being the inputs that `off` has, go with one reading of `off`
//! and of the panel's rows of the Hessian: a workgroup computes 64 inputs of up to 64 rows from
//! tiles in workgroup memory, as [`super::gemm_bitplane`] does. Every sum is one chain of fused
//! multiply-adds in the order of the inputs, so results repeat bit by bit.
//!
//! One variant, `baseline`: no feature, default limits. Knobs: `workgroup`, `rows` (32, 64, 128;
//! inputs of a tile), as for `gemm_bitplane`. Source: "GuidedQuant", arXiv 2505.07004; the kernel
//! is our own.

use super::bitplane::{count, largest};
use super::lnq_layout::{self, LnqLayout, Panel};
use super::tile::Tile;
use crate::launch::{
    Access, Binding, Caps, Knobs, Launch, Needs, Shader, Spec, Traffic, linear_grid, part,
};
use crate::{Error, Result};

/// The kernel's name.
pub const NAME: &str = "lnq_product";
/// Number of the Hessian's binding.
pub const HESSIAN: u32 = lnq_layout::HESSIAN;
/// Number of the offsets' binding.
pub const OFF: u32 = lnq_layout::OFF;
/// Number of the products' binding.
pub const PULL: u32 = lnq_layout::PULL;

static BINDINGS: [Binding; 4] = [
    Binding::new(0, "params", Access::Uniform),
    Binding::new(HESSIAN, "hessian", Access::Read),
    Binding::new(OFF, "off", Access::Read),
    Binding::new(PULL, "pull", Access::ReadWrite),
];

/// Mirrors `Params` of the shader.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Params {
    rows: u32,
    quads: u32,
    first: u32,
    width: u32,
    start: u32,
    depth: u32,
    added: u32,
    unused: u32,
}

/// The products of one panel, described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LnqProduct {
    /// The rows of the layer; the width of their labels does not matter.
    pub layout: LnqLayout,
    /// The inputs whose products are made.
    pub panel: Panel,
    /// Inputs whose changes are given instead of all offsets: what they do is added.
    pub changed: Option<Panel>,
}

impl LnqProduct {
    fn check(&self) -> Result<()> {
        self.layout.check(NAME)?;
        self.panel.check(NAME, &self.layout)?;
        self.changed.map_or(Ok(()), |changed| changed.check(NAME, &self.layout))
    }
}

impl Spec for LnqProduct {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        self.check()?;
        let Self { layout, panel, changed } = self;
        let depth = changed.map_or(layout.stride(), |changed| changed.width);
        let tile = Tile::new(NAME, caps, knobs, layout.rows, false)?;
        let operands = vec![
            panel.operand(layout, caps)?,
            layout.whole("off", OFF, depth, caps)?,
            layout.inputs("pull", PULL, caps)?,
        ];
        let params = Params {
            rows: count("rows", layout.rows)?,
            quads: layout.quads()?,
            first: count("inputs", panel.first)?,
            width: count("inputs", panel.width)?,
            start: count("inputs", changed.map_or(0, |changed| changed.first) / 4)?,
            depth: count("inputs", depth / 4)?,
            added: changed.is_some().into(),
            unused: 0,
        };
        let needs = Needs { storage_buffers: 3, binding_bytes: largest(&operands), ..tile.needs() };
        needs.check(NAME, caps)?;
        let mut parts = tile.parts();
        parts.push(part!("linear/lnq_product.wgsl"));
        let across = (panel.width as u64).div_ceil(tile.rows().into());
        let groups = across.saturating_mul(tile.across(layout.rows));
        let (rows, width) = (layout.rows as u64, panel.width as u64);
        Ok(vec![Launch {
            kernel: NAME,
            variant: "baseline",
            shader: Shader {
                entry: NAME,
                preamble: format!("const ROWS: u32 = {}u;\n{}", tile.rows(), tile.preamble()),
                parts,
                constants: vec![("WORKGROUP", tile.workgroup().into())],
            },
            bindings: &BINDINGS,
            params: bytemuck::bytes_of(&params).to_vec(),
            grid: linear_grid(NAME, groups, caps.max_groups)?,
            scratch: Vec::new(),
            needs,
            traffic: Traffic {
                read_bytes: 4 * (width + rows) * depth as u64
                    + if changed.is_some() { 4 * rows * width } else { 0 },
                write_bytes: 4 * rows * width,
                flops: 2 * rows * width * depth.min(layout.cols) as u64,
            },
            operands,
        }])
    }

    fn candidates(&self, _caps: &Caps) -> Vec<Knobs> {
        let shapes = [(32, 32), (32, 64), (64, 64), (64, 128), (64, 256), (128, 128), (128, 256)];
        let shape = |(rows, workgroup)| Knobs {
            rows: Some(rows),
            workgroup: Some(workgroup),
            ..Knobs::DEFAULT
        };
        std::iter::once(Knobs::DEFAULT).chain(shapes.map(shape)).collect()
    }
}

/// Products and, for each, the sum of magnitudes that bounds the rounding error of any order of
/// summation.
#[derive(Debug, Clone, PartialEq)]
pub struct Products {
    /// `[rows, width]`, in f64.
    pub pull: Vec<f64>,
    /// The condition of every product.
    pub condition: Vec<f64>,
}

/// The products, or what is added to them, by plain loops in f64. `hessian` has the panel's rows
/// only, `[width, stride]`.
///
/// # Errors
/// As [`Spec::launches`] for what is wrong with the spec; [`Error::Shape`] for other lengths than `[width, stride]` and `[rows, stride]` or
/// `[rows, changed.width]`.
pub fn reference(spec: &LnqProduct, hessian: &[f32], off: &[f32]) -> Result<Products> {
    spec.check()?;
    let (stride, width) = (spec.layout.stride(), spec.panel.width);
    let inputs = spec.changed.map_or(0..stride, |changed| changed.inputs());
    for (what, expected, found) in [
        ("hessian", width * stride, hessian.len()),
        ("off", spec.layout.rows * inputs.len(), off.len()),
    ] {
        if found != expected {
            return Err(Error::shape(format!("length of {what}"), expected, found));
        }
    }
    let mut products = Products { pull: Vec::new(), condition: Vec::new() };
    for off in off.chunks_exact(inputs.len()) {
        for hessian in hessian.chunks_exact(stride) {
            let hessian = &hessian[inputs.clone()];
            let terms = || off.iter().zip(hessian).map(|(&d, &h)| f64::from(d) * f64::from(h));
            products.pull.push(terms().sum());
            products.condition.push(terms().map(f64::abs).sum());
        }
    }
    Ok(products)
}
