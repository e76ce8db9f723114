//! `select_channels`: the input channels that matter most at a step.
//!
//! `list [batch, k]` of u32: of every vector the channels whose activations `x [batch, cols]` are ranked
//! highest, as many as [`Budget`] allows, ascending. Channels are ranked by `|x_i|`, or by `|x_i| norm_i` with a norm of
//! f16 a channel; NaN counts as 0, infinity is largest, and of equal ones the lower index is taken.
//! Source: "QDEC" (DecDEC), arXiv 2412.20185, section 4.
//!
//! | binding | tensor | contents |
//! |---|---|---|
//! | 0 | params | 44 words, see `shaders/linear/select/params.wgsl` |
//! | 3 | list | `[batch, k]`, u32 |
//! | 4 | x | `[batch, cols]`, f32, or f16 in pairs |
//! | 6 | norms | `[cols]`, f16 in pairs; no such binding where not [`SelectChannels::weighted`] |
//!
//! | [`Method`] | what is taken | workgroups |
//! |---|---|---|
//! | [`Method::ChunkRadix`] | of every chunk the largest, in slots of its own: see [`Budget::chunks`] | one a chunk |
//! | [`Method::Bucket32`] | of every chunk whole buckets from the first, then members of the next by index | one a chunk |
//! | [`Method::Exact`] | the largest of all, wherever they are | one |
//!
//! A method is a key of up to 31 bits a channel: what it is ranked by as bits, or its bucket. Of the keys
//! histograms of 8 bits at a time find the last that is taken (four times; twice for f16, once for
//! buckets), and running sums where each channel goes. Nothing depends on the order in which lanes run:
//! the list repeats bit by bit. Keys of an unweighted ranking are integers from the start, so a device's
//! treatment of subnormal numbers does not show.
//!
//! One variant, `baseline`: no feature, default limits. Workgroups have 256 lanes; there are no knobs.
//! Workgroups of [`super::compensate`] that select for themselves find the same channels by counting.

mod reference;
#[cfg(test)]
mod tests;

pub use reference::reference;

use super::Activation;
use super::bitplane::{count, largest, whole};
use super::select::{Budget, CHUNK};
use crate::launch::{
    Access, Binding, Caps, Knobs, Launch, Needs, Operand, Part, Reduce, Shader, Spec, Traffic,
    linear_grid, part,
};
use crate::{Error, Result};

/// The kernel's name.
pub const NAME: &str = "select_channels";

/// Number of the list's binding.
pub const LIST: u32 = 3;
/// Number of the activations' binding.
pub const X: u32 = 4;
/// Number of the norms' binding.
pub const NORMS: u32 = 6;

/// Lanes of a workgroup: bins of a histogram.
pub(super) const LANES: u32 = 256;
/// Lanes of a team, which has a chunk to itself.
const TEAM: u32 = 32;

/// How lanes of a workgroup add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Teams {
    /// Through workgroup memory.
    Workgroup,
    /// By subgroups of so many lanes.
    Subgroup(u32),
}

static PLAIN: [Binding; 3] = [
    Binding::new(0, "params", Access::Uniform),
    Binding::new(LIST, "list", Access::ReadWrite),
    Binding::new(X, "x", Access::Read),
];

static WEIGHTED: [Binding; 4] = [
    Binding::new(0, "params", Access::Uniform),
    Binding::new(LIST, "list", Access::ReadWrite),
    Binding::new(X, "x", Access::Read),
    Binding::new(NORMS, "norms", Access::Read),
];

/// Mirrors `Params` of `select/params.wgsl`.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(super) struct Params {
    pub(super) rows: u32,
    pub(super) cols: u32,
    pub(super) k: u32,
    pub(super) k_chunk: u32,
    pub(super) batch_chunks: u32,
    pub(super) batch_slots: u32,
    pub(super) stride: u32,
    pub(super) segments: u32,
    pub(super) slice: u32,
    pub(super) batches: u32,
    pub(super) x_stride: u32,
    pub(super) y_stride: u32,
    pub(super) bounds: [u32; BUCKETS],
}

/// Most vectors that channels are selected of at once: each has channels of its own, so what has to be
/// fetched grows with their number, and large batches are better served without.
pub const MAX_BATCH: usize = 4;

/// Buckets of [`Method::Bucket32`].
pub const BUCKETS: usize = 32;

/// How channels are found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Method {
    /// The largest of every chunk, exactly.
    ChunkRadix,
    /// The published approximation: a channel is in the first bucket whose lower bound it reaches; of
    /// every chunk whole buckets are taken as long as they fit, and of the next one the first members.
    /// Bounds are finite and never rise, and the last is 0.
    Bucket32([f32; BUCKETS]),
    /// The largest of all channels.
    Exact,
}

impl Method {
    fn name(&self) -> &'static str {
        match self {
            Self::ChunkRadix => "chunk radix",
            Self::Bucket32(_) => "32 buckets",
            Self::Exact => "exact",
        }
    }
}

/// A selection, described.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SelectChannels {
    /// How many channels are taken, of which.
    pub budget: Budget,
    /// Vectors, 1 to [`MAX_BATCH`].
    pub batch: usize,
    /// Element type of `x`.
    pub activation: Activation,
    /// How they are found.
    pub method: Method,
    /// Whether they are ranked by `|x_i| norm_i`. For buckets, the bounds are of that too.
    pub weighted: bool,
}

impl SelectChannels {
    /// By magnitude, of every chunk of one vector of f32 activations.
    pub fn new(budget: Budget) -> Self {
        let method = Method::ChunkRadix;
        Self { budget, batch: 1, activation: Activation::F32, method, weighted: false }
    }

    /// Whether it can be done at all.
    pub(super) fn check(&self) -> Result<()> {
        check_batch(NAME, self.batch)?;
        let Method::Bucket32(bounds) = &self.method else { return Ok(()) };
        let mut before = f32::MAX;
        for (col, &bound) in bounds.iter().enumerate() {
            let rule = match bound {
                _ if !bound.is_finite() => "must be finite",
                _ if bound.is_sign_negative() && bound != 0.0 => "must not be negative",
                _ if bound > before => "must not be larger than the one before",
                _ if col == BUCKETS - 1 && bound != 0.0 => {
                    "must be 0, so that every channel has one"
                }
                _ => {
                    before = bound;
                    continue;
                }
            };
            let (what, value) = (format!("bounds of buckets of {NAME}"), f64::from(bound));
            return Err(Error::Value { what, row: 0, col, value, rule });
        }
        Ok(())
    }

    /// Chunks to select from together so that at most `slots` of the list are filled, and the slots
    /// that those fill: all chunks at once where they do not know of each other.
    pub(super) fn batch(&self, slots: usize) -> (usize, usize) {
        let chunks = self.budget.cols().div_ceil(CHUNK);
        match (self.method, self.budget.k_chunk()) {
            (Method::Exact, _) => (chunks, slots),
            (_, 0) => (chunks, 0),
            (_, each) => {
                let chunks = chunks.min(slots / each).max(1);
                (chunks, chunks * each)
            }
        }
    }

    /// The parameters that selecting knows; those of a residual are 0.
    pub(super) fn params(&self, (batch_chunks, batch_slots): (usize, usize)) -> Result<Params> {
        let mut bounds = [0; BUCKETS];
        if let Method::Bucket32(lower) = &self.method {
            // Without a sign, so that bits are in order.
            bounds = lower.map(|bound| bound.abs().to_bits());
        }
        let chunks = self.budget.cols().div_ceil(CHUNK);
        Ok(Params {
            rows: 0,
            cols: count("cols", self.budget.cols())?,
            k: count("k", self.budget.k())?,
            k_chunk: count("k_chunk", self.budget.k_chunk())?,
            batch_chunks: count("chunks", batch_chunks)?,
            batch_slots: count("slots of the list", batch_slots)?,
            stride: 0,
            segments: 0,
            slice: 0,
            batches: count("batches", chunks.div_ceil(batch_chunks.max(1)))?,
            x_stride: count("cols", self.budget.cols())?,
            y_stride: 0,
            bounds,
        })
    }

    /// The activations, and the norms where there are any.
    pub(super) fn operands(&self, caps: &Caps) -> Result<Vec<Operand>> {
        let cols = self.budget.cols();
        let bytes = whole("x", self.x_len(), self.activation.bytes(), caps)?;
        let mut operands = vec![Operand { binding: X, piece: 0, offset: 0, bytes }];
        if self.weighted {
            let bytes = whole("norms", cols, 2, caps)?;
            operands.push(Operand { binding: NORMS, piece: 0, offset: 0, bytes });
        }
        Ok(operands)
    }

    /// How teams add up: by subgroups where their size is known and a team consists of whole ones.
    /// Selections from all channels at once have no teams.
    pub(super) fn teams(&self, caps: &Caps, knobs: &Knobs) -> Result<Teams> {
        let size = caps.subgroup_min;
        let whole = (4..=TEAM).contains(&size) && size.is_power_of_two();
        let known = caps.subgroups && size == caps.subgroup_max && whole;
        let teams = self.method != Method::Exact;
        match knobs.reduce {
            Some(Reduce::Workgroup) => Ok(Teams::Workgroup),
            None if known && teams => Ok(Teams::Subgroup(size)),
            None => Ok(Teams::Workgroup),
            Some(Reduce::Subgroup) if known && teams => Ok(Teams::Subgroup(size)),
            Some(reduce) => {
                let why = format!("subgroups of one size up to {TEAM}, and chunks");
                Err(Error::unsupported(format!("{reduce:?} of {NAME}"), format!("it needs {why}")))
            }
        }
    }

    /// The generated constants of a selection.
    pub(super) fn preamble(teams: Teams) -> String {
        match teams {
            Teams::Workgroup => String::new(),
            Teams::Subgroup(size) => format!("const SUBGROUP: u32 = {size}u;\n"),
        }
    }

    /// Workgroup memory: running sums of lanes and of groups of them, bins, what is found; or what teams
    /// share, and the keys that they rank.
    pub(super) fn workgroup_bytes(&self, teams: Option<Teams>) -> u32 {
        let ranked = 4 * 8 * 64 + 8;
        match (self.method, teams) {
            (Method::Exact, _) | (_, None) => 4 * LANES + 4 * 16 + 4 * LANES + 8,
            (_, Some(Teams::Workgroup)) => 4 * LANES + ranked,
            (_, Some(Teams::Subgroup(size))) => 4 * LANES / size + ranked,
        }
    }

    /// Bytes of the activations and norms, without padding.
    pub(super) fn read_bytes(&self) -> u64 {
        let norms = if self.weighted { 2 * self.budget.cols() } else { 0 };
        (self.x_len() * self.activation.bytes() + norms) as u64
    }

    /// Elements of `x`.
    pub fn x_len(&self) -> usize {
        self.batch.saturating_mul(self.budget.cols())
    }

    /// Elements of the list.
    pub fn list_len(&self) -> usize {
        self.batch.saturating_mul(self.budget.k())
    }

    /// The parts that select; they need `lib/half.wgsl` where they read f16, and `put`.
    ///
    /// A workgroup of one chunk finds it sooner by histograms, one of several by counting.
    pub(super) fn parts(&self, teams: Option<Teams>) -> Vec<Part> {
        let mut parts = vec![
            match self.weighted {
                true => part!("linear/select/rank_weighted.wgsl"),
                false => part!("linear/select/rank_plain.wgsl"),
            },
            match (self.method, self.activation, self.weighted) {
                (Method::Bucket32(_), ..) => part!("linear/select/key_bucket.wgsl"),
                (_, Activation::F16, false) => part!("linear/select/key_half.wgsl"),
                _ => part!("linear/select/key_bits.wgsl"),
            },
        ];
        match (self.method, teams) {
            (Method::Exact, _) => parts.extend([
                part!("lib/scan_workgroup.wgsl"),
                part!("linear/select/digits.wgsl"),
                part!("linear/select/whole.wgsl"),
            ]),
            (_, None) => parts.extend([
                part!("lib/scan_workgroup.wgsl"),
                part!("linear/select/digits.wgsl"),
                part!("linear/select/chunks_binned.wgsl"),
            ]),
            (_, Some(Teams::Workgroup)) => parts.extend([
                part!("lib/teams_workgroup.wgsl"),
                part!("linear/select/chunks_counted.wgsl"),
            ]),
            (_, Some(Teams::Subgroup(_))) => parts.extend([
                part!("lib/teams_subgroup.wgsl"),
                part!("linear/select/chunks_counted.wgsl"),
            ]),
        }
        parts
    }

    /// The part that reads activations.
    pub(super) fn x_part(activation: Activation) -> Part {
        match activation {
            Activation::F32 => part!("linear/select/x_f32.wgsl"),
            Activation::F16 => part!("linear/select/x_f16.wgsl"),
        }
    }

    /// Activations, method and ranking in words.
    pub fn setting(&self) -> String {
        let weighted = if self.weighted { " weighted" } else { "" };
        format!("{} {}{weighted}", self.activation.name(), self.method.name())
    }
}

impl Teams {
    /// The variant's name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Workgroup => "baseline",
            Self::Subgroup(_) => "subgroup",
        }
    }
}

/// That there are vectors, and not too many.
pub(super) fn check_batch(kernel: &str, batch: usize) -> Result<()> {
    match batch {
        1..=MAX_BATCH => Ok(()),
        _ => Err(Error::range(format!("batch of {kernel}"), format!("1..={MAX_BATCH}"), batch)),
    }
}

/// The same workgroups for every vector; there are few, see [`check_batch`].
pub(super) fn batched([x, y, _]: [u32; 3], batch: usize) -> [u32; 3] {
    [x, y, batch as u32]
}

impl Spec for SelectChannels {
    fn kernel(&self) -> &'static str {
        NAME
    }

    /// None for a budget of no channels.
    fn launches(&self, caps: &Caps, _knobs: &Knobs) -> Result<Vec<Launch>> {
        self.check()?;
        if self.budget.k() == 0 {
            return Ok(Vec::new());
        }
        // A workgroup a chunk, or one for all.
        let chunks =
            if self.method == Method::Exact { self.budget.cols().div_ceil(CHUNK) } else { 1 };
        let params = self.params((chunks, 0))?;
        let bytes = whole("list", self.list_len(), 4, caps)?;
        let mut operands = vec![Operand { binding: LIST, piece: 0, offset: 0, bytes }];
        operands.extend(self.operands(caps)?);
        let mut parts = vec![part!("linear/select/params.wgsl")];
        if self.activation == Activation::F16 || self.weighted {
            parts.push(part!("lib/half.wgsl"));
        }
        parts.push(Self::x_part(self.activation));
        parts.extend(self.parts(None));
        parts.push(part!("linear/select_channels.wgsl"));
        let bindings: &[Binding] = if self.weighted { &WEIGHTED } else { &PLAIN };
        let needs = Needs {
            workgroup_bytes: self.workgroup_bytes(None),
            invocations: LANES,
            storage_buffers: operands.len() as u32,
            binding_bytes: largest(&operands),
            ..Needs::default()
        };
        needs.check(NAME, caps)?;
        Ok(vec![Launch {
            kernel: NAME,
            variant: "baseline",
            shader: Shader { entry: NAME, preamble: String::new(), parts, constants: Vec::new() },
            bindings,
            operands,
            params: bytemuck::bytes_of(&params).to_vec(),
            grid: batched(linear_grid(NAME, params.batches.into(), caps.max_groups)?, self.batch),
            scratch: Vec::new(),
            needs,
            traffic: Traffic {
                read_bytes: self.read_bytes(),
                write_bytes: 4 * self.list_len() as u64,
                flops: if self.weighted { self.x_len() as u64 } else { 0 },
            },
        }])
    }
}
