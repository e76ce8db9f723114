//! `lnq_objective`: what each row of a layer has come to.
//!
//! `objectives[r] = sum over i of off[r, i] pull[r, i]`, which is `(w - q)^T H (w - q)` where
//! `pull` holds the products that [`super::lnq_product`] makes. The layout is that of
//! [`LnqLayout`].
//!
//! | binding | tensor | contents |
//! |---|---|---|
//! | 0 | params | 4 words, see `shaders/linear/lnq_objective.wgsl` |
//! | 2 | off | `[rows, stride]`, f32 |
//! | 3 | pull | `[rows, stride]`, f32 |
//! | 10 | objectives | `[rows]`, f32 |
//!
//! One workgroup a row, whose lanes add up every `workgroup`-th quad and then each other's sums in
//! a tree. One variant, `baseline`: no feature, default limits. Knobs: `workgroup`.

use super::bitplane::{Shape, count, largest};
use super::lnq_layout::{self, LnqLayout};
use crate::launch::{
    Access, Binding, Caps, Knobs, Launch, Needs, Shader, Spec, Traffic, linear_grid, part,
};
use crate::{Error, Result};

/// The kernel's name.
pub const NAME: &str = "lnq_objective";
/// Number of the offsets' binding.
pub const OFF: u32 = lnq_layout::OFF;
/// Number of the products' binding.
pub const PULL: u32 = lnq_layout::PULL;
/// Number of the objectives' binding.
pub const OBJECTIVES: u32 = lnq_layout::OBJECTIVES;

static BINDINGS: [Binding; 4] = [
    Binding::new(0, "params", Access::Uniform),
    Binding::new(OFF, "off", Access::Read),
    Binding::new(PULL, "pull", Access::Read),
    Binding::new(OBJECTIVES, "objectives", Access::ReadWrite),
];

/// Mirrors `Params` of the shader.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Params {
    rows: u32,
    quads: u32,
    unused: [u32; 2],
}

/// The objectives of some rows, described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LnqObjective {
    /// The rows of the layer; the width of their labels does not matter.
    pub layout: LnqLayout,
}

impl Spec for LnqObjective {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        let layout = &self.layout;
        layout.check(NAME)?;
        let workgroup = Shape { workgroup: 64, rows: 1 }.or(NAME, caps, knobs, &[1])?.workgroup;
        let operands = vec![
            layout.inputs("off", OFF, caps)?,
            layout.inputs("pull", PULL, caps)?,
            layout.whole("objectives", OBJECTIVES, 1, caps)?,
        ];
        let params =
            Params { rows: count("rows", layout.rows)?, quads: layout.quads()?, unused: [0; 2] };
        let needs = Needs {
            workgroup_bytes: 4 * workgroup,
            invocations: workgroup,
            storage_buffers: 3,
            binding_bytes: largest(&operands),
            ..Needs::default()
        };
        needs.check(NAME, caps)?;
        let rows = layout.rows as u64;
        Ok(vec![Launch {
            kernel: NAME,
            variant: "baseline",
            shader: Shader {
                entry: NAME,
                preamble: "const SUMS: u32 = 1u;\n".to_owned(),
                parts: vec![
                    part!("lib/products.wgsl"),
                    part!("lib/reduce_workgroup.wgsl"),
                    part!("linear/lnq_objective.wgsl"),
                ],
                constants: vec![("WORKGROUP", workgroup.into())],
            },
            bindings: &BINDINGS,
            params: bytemuck::bytes_of(&params).to_vec(),
            grid: linear_grid(NAME, rows, caps.max_groups)?,
            scratch: Vec::new(),
            needs,
            traffic: Traffic {
                read_bytes: operands[0].bytes + operands[1].bytes,
                write_bytes: 4 * rows,
                flops: 2 * rows * layout.cols as u64,
            },
            operands,
        }])
    }
}

/// Every row's objective in f64, and the sum of magnitudes that bounds the rounding error of any
/// order of summation.
///
/// # Errors
/// [`Error::Shape`] for another length than `[rows, stride]`.
pub fn reference(spec: &LnqObjective, off: &[f32], pull: &[f32]) -> Result<Vec<(f64, f64)>> {
    spec.layout.check(NAME)?;
    let stride = spec.layout.stride();
    for (what, found) in [("off", off.len()), ("pull", pull.len())] {
        if found != spec.layout.rows * stride {
            let expected = spec.layout.rows * stride;
            return Err(Error::shape(format!("length of {what}"), expected, found));
        }
    }
    let rows = off.chunks_exact(stride).zip(pull.chunks_exact(stride));
    Ok(rows
        .map(|(off, pull)| {
            let terms = || off.iter().zip(pull).map(|(&d, &p)| f64::from(d) * f64::from(p));
            (terms().sum(), terms().map(f64::abs).sum())
        })
        .collect())
}
