//! Knobs with every default filled in, and the shader that they name.

use super::{Block, Gemm, NAME};
use crate::launch::{Caps, Knobs, Needs, Part, Shader, part};
use crate::linear::Activation;
use crate::linear::tile::Tile;
use crate::{Error, Result};
use std::fmt::Write as _;

/// Columns that a lane stages at a time.
const RUN: usize = 8;

/// Everything that was left open, decided.
#[derive(Debug, Clone)]
pub(super) struct Choice {
    pub(super) variant: &'static str,
    pub(super) shader: Shader,
    /// What the shader needs; storage buffers and binding sizes are counted with the operands.
    pub(super) needs: Needs,
    pub(super) workgroup: u32,
    /// Rows of one workgroup.
    pub(super) rows: u32,
    /// Workgroups that share rows and slice, for the vectors.
    pub(super) tiles: u64,
    pub(super) slices: u32,
    /// Columns of one slice, whole runs.
    pub(super) slice_cols: usize,
}

impl Choice {
    pub(super) fn new(spec: &Gemm, caps: &Caps, knobs: &Knobs) -> Result<Self> {
        let halves = [spec.w, spec.x].iter().all(|block| block.element == Activation::F16);
        let tile = Tile::new(NAME, caps, knobs, spec.batch, halves)?;
        let (slices, slice_cols) = slices(spec, knobs)?;
        let mut preamble = String::new();
        let _ = writeln!(preamble, "const ROWS: u32 = {}u;", tile.rows());
        let shader = Shader {
            entry: NAME,
            preamble: preamble + &tile.preamble(),
            parts: parts(spec, tile, slices),
            constants: vec![("WORKGROUP", tile.workgroup().into())],
        };
        Ok(Self {
            variant: if tile.matrix() { "matrix" } else { "baseline" },
            shader,
            needs: tile.needs(),
            workgroup: tile.workgroup(),
            rows: tile.rows(),
            tiles: tile.across(spec.batch),
            slices,
            slice_cols,
        })
    }
}

fn parts(spec: &Gemm, tile: Tile, slices: u32) -> Vec<Part> {
    let whole = |block: &Block| {
        let elements = match block.element {
            Activation::F32 => 4,
            Activation::F16 => 8,
        };
        spec.cols.is_multiple_of(RUN)
            && block.offset.is_multiple_of(elements)
            && block.stride.is_multiple_of(elements)
    };
    let mut parts = vec![part!("linear/gemm/params.wgsl")];
    parts.push(match (spec.w.element, whole(&spec.w)) {
        (Activation::F32, true) => part!("linear/gemm/w_f32_quads.wgsl"),
        (Activation::F32, false) => part!("linear/gemm/w_f32.wgsl"),
        (Activation::F16, true) => part!("linear/gemm/w_f16_quads.wgsl"),
        (Activation::F16, false) => part!("linear/gemm/w_f16.wgsl"),
    });
    parts.push(match (spec.x.element, whole(&spec.x)) {
        (Activation::F32, true) => part!("linear/gemm/x_f32_quads.wgsl"),
        (Activation::F32, false) => part!("linear/gemm/x_f32.wgsl"),
        (Activation::F16, true) => part!("linear/gemm/x_f16_quads.wgsl"),
        (Activation::F16, false) => part!("linear/gemm/x_f16.wgsl"),
    });
    parts.extend(tile.parts());
    if slices > 1 {
        parts.push(part!("linear/tile_output_partial.wgsl"));
    } else {
        parts.push(part!("linear/bias.wgsl"));
        match spec.y.element {
            Activation::F32 => parts.push(part!("linear/gemm/y_f32.wgsl")),
            Activation::F16 => {
                parts.extend([part!("lib/half.wgsl"), part!("linear/gemm/y_f16.wgsl")]);
            }
        }
    }
    parts.push(part!("linear/gemm.wgsl"));
    parts
}

/// The parts that the columns are cut into, and columns in each.
fn slices(spec: &Gemm, knobs: &Knobs) -> Result<(u32, usize)> {
    let runs = spec.cols.div_ceil(RUN);
    let slices = knobs.slices.unwrap_or(1);
    if slices == 0 || slices as usize > runs.max(1) {
        let limit = format!("1..={}, the columns by eights", runs.max(1));
        return Err(Error::range(format!("slices of {NAME}"), limit, slices));
    }
    if slices > 1 && (!spec.owns_y() || spec.accumulate) {
        let why = "y has to be packed, and is not added to";
        return Err(Error::unsupported(format!("{NAME} with {slices} slices"), why));
    }
    Ok((slices, runs.div_ceil(slices as usize) * RUN))
}
