//! `compensate`: gives back what quantizing took from the channels that matter most at a step.
//!
//! `y[j] = scale[j] * sum over the selected channels i of q[j, i] x[i]`, of a residual as
//! [`ResidualLayout`] says, summed in f32 and multiplied by the scale once; or that added to what `y`
//! holds, for each of a few vectors. Every element of `y` is written. The stride of `y [batch, y_stride]` is
//! the rows, rounded up to an even number where `x` or `y` is f16, with 0 in the padding; where there is one
//! vector, `y` is `[rows]`. Source: "QDEC" (DecDEC), arXiv 2412.20185, section 4.
//!
//! | binding | tensor | contents |
//! |---|---|---|
//! | 0 | params | 44 words, see `shaders/linear/select/params.wgsl` |
//! | 1 | residual | `[cols, stride]`, u32 |
//! | 2 | scales | `[padded rows]`, f16 in pairs; no such binding for residuals of f16 |
//! | 3 | list | `[batch, k]`, u32; with [`Source::List`] alone |
//! | 4 | x | `[batch, cols]`, f32, or f16 in pairs |
//! | 5 | y | `[batch, y_stride]`, f32, or f16 in pairs |
//! | 6 | norms | `[cols]`, f16 in pairs; where a weighted [`Source::Own`] needs them |
//!
//! **Where the list comes from.** With [`Source::List`] it is what [`super::select_channels`] wrote
//! before. With [`Source::Own`] every workgroup selects for itself, by the same shader parts: there is
//! nothing to wait for, so the launch may run beside the base product. Both take the same channels and
//! add them up in the same order: results are equal bit by bit, and do not depend on knobs. A workgroup
//! holds 1024 channels; of more it selects again for each segment, batch by batch.
//!
//! **Memory.** A workgroup of 256 lanes reads whole lines of 128 bytes, eight of them under way in each
//! of its eight teams: 8 KiB, what links to host memory are kept busy with. Every workgroup reads
//! channels from all over the residual, so the residual has to fit one binding: it is not cut.
//! [`Traffic`] counts the selected channels, padding included: it travels too.
//!
//! | variant | workgroups that select for themselves add up | needs |
//! |---|---|---|
//! | `baseline` | through workgroup memory | nothing |
//! | `subgroup` | by subgroup operations | subgroups of one size, a power of two from 4 to 32 |
//!
//! Knobs: `rows`, the outputs of a workgroup, a multiple of [`ResidualLayout::segment_rows`]; they decide
//! how many workgroups there are. Default: one segment a workgroup, for [`Source::Own`] more so that
//! there are at most 64. `reduce`: the variant; by default `subgroup` where it can be.

mod model;
mod reference;
mod search;
mod structure;
#[cfg(test)]
mod tests;

pub use model::{Model, OVERHEAD_NS, Rates, estimate, unified_slowdown};
pub use reference::{Compensated, reference};
pub use search::{Choice, Curve, LayerChoice, LayerTimes, search};
pub use structure::Structure;

use super::bitplane::{count, largest, whole};
use super::product::y_len;
use super::residual::{ResidualElement, ResidualLayout};
use super::select::Budget;
use super::select_channels::{self, LANES, Method, Teams, batched, check_batch};
use super::{Activation, SelectChannels};
use crate::launch::{
    Access, Binding, Caps, Knobs, Launch, Needs, Operand, Part, Shader, Spec, Traffic, linear_grid,
    part,
};
use crate::{Error, Result};

/// The kernel's name.
pub const NAME: &str = "compensate";

/// Number of the residual's binding.
pub const RESIDUAL: u32 = 1;
/// Number of the scales' binding.
pub const SCALES: u32 = 2;
/// Number of the list's binding.
pub const LIST: u32 = select_channels::LIST;
/// Number of the activations' binding.
pub const X: u32 = select_channels::X;
/// Number of the output's binding.
pub const Y: u32 = 5;
/// Number of the norms' binding.
pub const NORMS: u32 = select_channels::NORMS;

/// Channels that a workgroup's memory holds: those of a whole chunk at least.
const CAPACITY: usize = super::select::CHUNK;
/// Workgroups that select for themselves: more of them saturate no link, and select all the same.
const MOST_OWN: usize = 64;

const PARAMS_BINDING: Binding = Binding::new(0, "params", Access::Uniform);
const RESIDUAL_BINDING: Binding = Binding::new(RESIDUAL, "residual", Access::Read);
const SCALES_BINDING: Binding = Binding::new(SCALES, "scales", Access::Read);
const LIST_BINDING: Binding = Binding::new(LIST, "list", Access::Read);
const X_BINDING: Binding = Binding::new(X, "x", Access::Read);
const Y_BINDING: Binding = Binding::new(Y, "y", Access::ReadWrite);
const NORMS_BINDING: Binding = Binding::new(NORMS, "norms", Access::Read);

/// Which of scales, list and norms are bound; what is not is not declared either.
fn bindings(scaled: bool, list: bool, norms: bool) -> &'static [Binding] {
    use self::{
        LIST_BINDING as L, NORMS_BINDING as N, PARAMS_BINDING as P, RESIDUAL_BINDING as R,
        SCALES_BINDING as S, X_BINDING as X, Y_BINDING as Y,
    };
    match (scaled, list, norms) {
        (true, true, _) => &[P, R, S, L, X, Y],
        (false, true, _) => &[P, R, L, X, Y],
        (true, false, true) => &[P, R, S, X, Y, N],
        (false, false, true) => &[P, R, X, Y, N],
        (true, false, false) => &[P, R, S, X, Y],
        (false, false, false) => &[P, R, X, Y],
    }
}

/// Where the list of channels comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Source {
    /// From a buffer that holds it.
    List,
    /// Every workgroup selects for itself.
    Own {
        /// How channels are found.
        method: Method,
        /// Whether they are ranked by `|x_i| norm_i`.
        weighted: bool,
    },
}

/// A compensation, described.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Compensate {
    /// The residual.
    pub layout: ResidualLayout,
    /// How many channels are taken.
    pub budget: Budget,
    /// Vectors, 1 to [`select_channels::MAX_BATCH`].
    pub batch: usize,
    /// Where the list of channels comes from.
    pub source: Source,
    /// Element type of `x`.
    pub activation: Activation,
    /// Element type of `y`.
    pub output: Activation,
    /// Whether to add to what `y` holds.
    pub accumulate: bool,
}

impl Compensate {
    /// In the place of what `y` holds, of a list, one vector, all of f32.
    pub fn new(layout: ResidualLayout, budget: Budget) -> Self {
        let (source, f32) = (Source::List, Activation::F32);
        Self { layout, budget, batch: 1, source, activation: f32, output: f32, accumulate: false }
    }

    /// The selection that makes the list; `None` where one is given.
    pub fn selection(&self) -> Option<SelectChannels> {
        let Self { budget, batch, activation, .. } = *self;
        match self.source {
            Source::List => None,
            Source::Own { method, weighted } => {
                Some(SelectChannels { budget, batch, activation, method, weighted })
            }
        }
    }

    /// Elements of `x`.
    pub fn x_len(&self) -> usize {
        self.batch.saturating_mul(self.layout.cols())
    }

    /// Elements of `y`.
    pub fn y_len(&self) -> usize {
        let halves = [self.activation, self.output].contains(&Activation::F16);
        let like = if halves { Activation::F16 } else { Activation::F32 };
        y_len(self.layout.rows(), self.batch, like)
    }

    /// Whether sizes agree.
    fn check(&self) -> Result<()> {
        let (expected, found) = (self.layout.cols(), self.budget.cols());
        if expected != found {
            return Err(Error::shape("channels of the budget", expected, found));
        }
        check_batch(NAME, self.batch)?;
        self.selection().map_or(Ok(()), |selection| selection.check())
    }

    /// Segments of a workgroup.
    fn slice(&self, knobs: &Knobs) -> Result<usize> {
        let (segments, each) = (self.layout.segments(), self.layout.segment_rows());
        let Some(rows) = knobs.rows else {
            let most = if self.source == Source::List { segments } else { MOST_OWN };
            return Ok(segments.div_ceil(most));
        };
        let rows = rows as usize;
        if rows == 0 || !rows.is_multiple_of(each) {
            let limit = format!("the multiples of {each}, the rows of a segment");
            return Err(Error::range(format!("rows a workgroup of {NAME}"), limit, rows));
        }
        Ok((rows / each).min(segments))
    }

    /// Every tensor's bytes; those of the residual fit one binding or are refused.
    fn operands(&self, caps: &Caps) -> Result<Vec<Operand>> {
        let layout = &self.layout;
        let all = "the residual, of which every workgroup reads channels from all over,";
        let bound = |binding, bytes| Operand { binding, piece: 0, offset: 0, bytes };
        let mut operands = vec![bound(RESIDUAL, whole(all, layout.words(), 4, caps)?)];
        if layout.element().scaled() {
            operands.push(bound(SCALES, whole("scales", layout.padded_rows(), 2, caps)?));
        }
        match self.selection() {
            Some(selection) => operands.extend(selection.operands(caps)?),
            None => {
                let list = self.batch * self.budget.k();
                operands.push(bound(LIST, whole("list", list, 4, caps)?));
                let bytes = whole("x", self.x_len(), self.activation.bytes(), caps)?;
                operands.push(bound(X, bytes));
            }
        }
        operands.push(bound(Y, whole("y", self.y_len(), self.output.bytes(), caps)?));
        operands.sort_by_key(|operand| operand.binding);
        Ok(operands)
    }

    fn shader(&self, teams: Teams) -> Shader {
        let layout = &self.layout;
        let mut parts: Vec<Part> = vec![
            part!("linear/select/params.wgsl"),
            part!("lib/half.wgsl"),
            SelectChannels::x_part(self.activation),
        ];
        match self.selection() {
            Some(selection) => {
                parts.extend(selection.parts(Some(teams)));
                parts.push(part!("linear/residual/from_own.wgsl"));
            }
            None => parts.push(part!("linear/residual/from_list.wgsl")),
        }
        if layout.element().scaled() {
            parts.push(part!("linear/residual/stage_quad.wgsl"));
            parts.push(part!("linear/residual/scales.wgsl"));
        }
        parts.push(match layout.element() {
            ResidualElement::Int2 => part!("linear/residual/int2.wgsl"),
            ResidualElement::Int4 => part!("linear/residual/int4.wgsl"),
            ResidualElement::Int8 => part!("linear/residual/int8.wgsl"),
            ResidualElement::F16 => part!("linear/residual/f16.wgsl"),
        });
        parts.push(match self.output {
            Activation::F32 => part!("linear/residual/y_f32.wgsl"),
            Activation::F16 => part!("linear/residual/y_f16.wgsl"),
        });
        parts.push(part!("linear/compensate.wgsl"));
        let (teams, add) = (SelectChannels::preamble(teams), self.accumulate);
        let preamble =
            format!("{teams}const ADD: bool = {add};\nconst CAPACITY: u32 = {CAPACITY}u;\n");
        Shader { entry: NAME, preamble, parts, constants: Vec::new() }
    }

    fn traffic(&self) -> Traffic {
        let (batch, rows) = (self.batch as u64, self.layout.rows() as u64);
        let k = batch * self.budget.k() as u64;
        let each = self.output.bytes() as u64;
        let scales = if self.layout.element().scaled() { 2 * rows } else { 0 };
        let channels = match self.selection() {
            Some(selection) => selection.read_bytes(),
            None => (4 + self.activation.bytes() as u64) * k,
        };
        let before = if self.accumulate { batch * rows * each } else { 0 };
        Traffic {
            read_bytes: batch * self.layout.bytes_of(self.budget.k()) + scales + channels + before,
            write_bytes: batch * rows * each,
            flops: 2 * rows * k,
        }
    }
}

impl Spec for Compensate {
    fn kernel(&self) -> &'static str {
        NAME
    }

    /// None for a budget of no channels: then `y` stays as it is, and nothing may be added from it.
    fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        self.check()?;
        let slice = self.slice(knobs)?;
        let (layout, k) = (&self.layout, self.budget.k());
        if k == 0 {
            return Ok(Vec::new());
        }
        let operands = self.operands(caps)?;
        let (batch, teams, own_bytes) = match self.selection() {
            Some(selection) => {
                let teams = selection.teams(caps, knobs)?;
                let bytes = selection.workgroup_bytes(Some(teams)) + 4 * CAPACITY as u32;
                (selection.batch(CAPACITY), teams, bytes)
            }
            None => ((1, k), Teams::Workgroup, 0),
        };
        let selection = self.selection().unwrap_or(SelectChannels::new(self.budget));
        let params = select_channels::Params {
            rows: count("rows", layout.rows())?,
            stride: count("words of a channel", layout.stride())?,
            segments: count("segments", layout.segments())?,
            slice: count("segments of a workgroup", slice)?,
            y_stride: count("stride of y", self.y_len().div_ceil(self.batch))?,
            ..selection.params(batch)?
        };
        let weighted = matches!(self.source, Source::Own { weighted: true, .. });
        let listed = self.source == Source::List;
        let needs = Needs {
            subgroups: teams != Teams::Workgroup,
            workgroup_bytes: own_bytes + 4 * LANES * (layout.element().per_word().min(8) as u32),
            invocations: LANES,
            storage_buffers: operands.len() as u32,
            binding_bytes: largest(&operands),
            ..Needs::default()
        };
        needs.check(NAME, caps)?;
        let groups = layout.segments().div_ceil(slice) as u64;
        Ok(vec![Launch {
            kernel: NAME,
            variant: teams.name(),
            shader: self.shader(teams),
            bindings: bindings(layout.element().scaled(), listed, weighted),
            operands,
            params: bytemuck::bytes_of(&params).to_vec(),
            grid: batched(linear_grid(NAME, groups, caps.max_groups)?, self.batch),
            scratch: Vec::new(),
            needs,
            traffic: self.traffic(),
        }])
    }

    /// Every number of workgroups up to 64 that shares the segments out as evenly as it can.
    fn candidates(&self, _caps: &Caps) -> Vec<Knobs> {
        let (segments, each) = (self.layout.segments(), self.layout.segment_rows());
        let mut slices: Vec<usize> =
            (1..=segments.min(MOST_OWN)).map(|groups| segments.div_ceil(groups)).collect();
        slices.dedup();
        let default = self.slice(&Knobs::DEFAULT).ok();
        let others = slices.into_iter().filter(|slice| Some(*slice) != default);
        let knobs = others.filter_map(|slice| {
            let rows = u32::try_from(slice * each).ok()?;
            Some(Knobs { rows: Some(rows), ..Knobs::DEFAULT })
        });
        std::iter::once(Knobs::DEFAULT).chain(knobs).collect()
    }
}
