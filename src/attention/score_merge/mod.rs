//! `score_merge`: the best of what slices of the query rows found, where [`score_max`](super::score_max)
//! cut them.
//!
//! | binding | tensor | contents |
//! |---|---|---|
//! | 0 | params | 16 words, see `shaders/attention/tiles/params.wgsl` |
//! | 8 | parts | `[slices, H, chunk]`, f32: best exponents, or logits |
//! | 10 | score | f32: [`ScorePlace`](super::ScorePlace) |
//!
//! One variant, `baseline`: a lane a key. It is launched by [`ScoreMax`](super::ScoreMax) alone, and its
//! traffic is an artifact of how that was cut: none is counted.

use super::decode;
use super::score_max::{PARTS, SCORE_BINDING};
use super::tiles::{LANES, PARAMS_BINDING, Params};
use crate::Result;
use crate::launch::{
    Access, Binding, Caps, Launch, Needs, Operand, Part, Scratch, Shader, Traffic, linear_grid,
    part,
};

/// The kernel's name.
pub const NAME: &str = "score_merge";

const PARTS_BINDING: Binding = Binding::new(PARTS, "parts", Access::Read);

/// A merge, described by what cut the rows.
pub(super) struct ScoreMerge {
    pub(super) params: Params,
    pub(super) score: Operand,
    pub(super) scratch: Scratch,
    /// What a best exponent becomes.
    pub(super) part: Part,
}

impl ScoreMerge {
    pub(super) fn launch(self, caps: &Caps) -> Result<Launch> {
        let Self { params, score, scratch, part } = self;
        let bindings: &'static [Binding] = &[PARAMS_BINDING, PARTS_BINDING, SCORE_BINDING];
        let operands = vec![score];
        let needs = decode::needs(LANES, 0, bindings.len(), &operands);
        let needs = Needs { binding_bytes: needs.binding_bytes.max(scratch.bytes), ..needs };
        needs.check(NAME, caps)?;
        let keys = u64::from(params.heads) * u64::from(params.chunk);
        Ok(Launch {
            kernel: NAME,
            variant: "baseline",
            shader: Shader {
                entry: NAME,
                preamble: String::new(),
                parts: vec![
                    part!("attention/tiles/params.wgsl"),
                    part!("attention/tiles/best.wgsl"),
                    part,
                    part!("attention/score_merge.wgsl"),
                ],
                constants: Vec::new(),
            },
            bindings,
            operands,
            params: bytemuck::bytes_of(&params).to_vec(),
            grid: linear_grid(NAME, keys.div_ceil(LANES.into()), caps.max_groups)?,
            scratch: vec![scratch],
            needs,
            traffic: Traffic::default(),
        })
    }
}
