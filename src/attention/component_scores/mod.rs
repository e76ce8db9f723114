//! `component_scores`: logits of all rows of an index from the components that matter most to the queries.
//!
//! For every new token and KV head the `r` components `j` with the largest sum of `|q_j|` over the `G` query
//! rows are read, of equal ones the lower (NaN is above all), whatever lists are of: so each column is read
//! once for all of them. The score of row `i` of the index, in base 2, is `scale log2(e)` times the sum of
//! `q_j k_ij` over those; a softcap is left to who attends. Source: "SparQ Attention", Ribar et al., ICML
//! 2024, arXiv 2312.04985, without its sums over tokens and its heads' temperatures.
//!
//! | binding | tensor | contents |
//! |---|---|---|
//! | 0 | params | 8 words, see `shaders/attention/component_scores.wgsl` |
//! | 1 | q | `[T, H G, D]`, f32, or f16 in pairs |
//! | 10 | index_map | `[H][8]`, u32: [`IndexMap`](super::sparse::IndexMap) |
//! | 11 | columns | f16 in pairs: [the index](super::sparse#index) |
//! | 14 | sums | `[H][3][D]`, f32; for ranks and [`Tail::Mean`] |
//! | 21 | scores | f32, `[T H G][most]`; then, where lists are of several query rows, ranks `[T H][most]` |
//! | 24 | unread | f32, `[T H G]`; for [`Tail::Mean`] |
//!
//! `most` is the index's. Scores of rows from `rows[h]` on are not written, but those of the last eight begun
//! are -1e30.
//!
//! # Ranks
//! What a list of several query rows is chosen by is, for each row of the index,
//! `log2 sum over g of 2^(s_g - e_g)`, where `e_g` is the sum over the read components of
//! `x mean_j + ln(2) / 2 x^2 var_j`, `x = scale log2(e) q_j`: the logarithm of the mean weight of a row whose
//! numbers are normal. So every query row counts by how a row's weight compares with its usual one, and no
//! maximum has to be known. NaN where a score is. With one query row a list, scores are the ranks.
//!
//! # Unread components
//! `unread` is the same sum as `e_g` over the components that are *not* read: with it
//! [`top_rows`](super::top_rows) knows what the rows that it does not list would weigh.
//!
//! # Geometry
//! A workgroup of 128 lanes finds the components by counting, in workgroup memory, how many are before each;
//! then each lane has pieces of eight rows, 16 bytes of a column, eight columns under way at a time, and
//! eight sums for each query row. Workgroups go on to further pieces where there are more than
//! [`ComponentScores::groups`] of them. One variant, `baseline`; no knobs. [`Traffic`] is `2 r` bytes of each
//! row of the index and token, `q`, and the scores; `rows` says how many rows that is.

mod reference;
#[cfg(test)]
mod tests;

pub use reference::{Asked, choice, expected, ranks, scores};

use super::decode::{self, Q};
use super::places::{largest, whole};
use super::sparse::{COLUMNS, INDEX_MAP, IndexShape, Lists, SCORES, SUMS, Share, Tail, UNREAD};
use crate::launch::{
    Access, Binding, Caps, Knobs, Launch, Needs, Operand, Shader, Spec, Traffic, linear_grid, part,
};
use crate::linear::Activation;
use crate::{Error, Result};

/// The kernel's name.
pub const NAME: &str = "component_scores";

/// Lanes of a workgroup.
const LANES: u32 = 128;
/// Rows of a lane's piece.
const PIECE: u32 = 8;
/// Workgroups that are enough for large devices.
const GROUPS: u32 = 1024;
/// Numbers of queries that a workgroup has room for.
const WEIGHTS: u32 = 2048;

/// Without [`Tail::Mean`] there is not the last.
static BINDINGS: [Binding; 7] = [
    Binding::new(0, "params", Access::Uniform),
    Binding::new(Q, "q", Access::Read),
    Binding::new(INDEX_MAP, "index_map", Access::Read),
    Binding::new(COLUMNS, "columns", Access::Read),
    Binding::new(SUMS, "sums", Access::Read),
    Binding::new(SCORES, "scores", Access::ReadWrite),
    Binding::new(UNREAD, "unread", Access::ReadWrite),
];

/// Mirrors `Params` of the shader.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Params {
    places: u32,
    heads: u32,
    most: u32,
    parts: u32,
    ranks: u32,
    factor: f32,
    unused: [u32; 2],
}

/// Scores of the rows of an index, described.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ComponentScores {
    /// What the index has room for.
    pub index: IndexShape,
    /// Who asks; capacity, sinks and what is seen do not matter.
    pub lists: Lists,
    /// Components that are read: `r`.
    pub components: u32,
    /// What dot products are multiplied by, usually `1 / sqrt(D)`.
    pub scale: f32,
    /// Element type of `q`.
    pub input: Activation,
    /// Whether what is not read is asked for.
    pub tail: Tail,
    /// Rows of all heads that the index covers: for [`Traffic`] only.
    pub rows: u64,
}

impl ComponentScores {
    /// Tokens times KV heads: `T H`.
    fn places(&self) -> u32 {
        self.lists.tokens * self.lists.heads
    }

    /// Query rows of a KV head, and those that fill blocks of four up.
    fn rows(&self) -> u32 {
        match self.lists.group {
            group @ 1..=2 => group,
            group => group.next_multiple_of(4),
        }
    }

    /// Workgroups of a token and KV head.
    pub fn groups(&self) -> u32 {
        let pieces = self.index.most.div_ceil(PIECE * LANES).max(1);
        pieces.min(GROUPS.div_ceil(self.places().max(1)))
    }

    /// Whether there are ranks behind the scores.
    pub fn ranked(&self) -> bool {
        self.lists.share == Share::Group && self.lists.group > 1
    }

    /// Elements of `scores`, ranks included.
    pub fn scores_len(&self) -> u64 {
        let rows = self.lists.query_rows() + if self.ranked() { self.places() } else { 0 };
        u64::from(rows) * u64::from(self.index.most)
    }

    /// Elements of `unread`; 0 without [`Tail::Mean`].
    pub fn unread_len(&self) -> u64 {
        match self.tail {
            Tail::None => 0,
            Tail::Mean => self.lists.query_rows().into(),
        }
    }

    /// Elements of `q`.
    pub fn q_len(&self) -> u64 {
        u64::from(self.lists.query_rows()) * u64::from(self.index.dim)
    }

    /// Whether `sums` are read.
    pub fn reads_sums(&self) -> bool {
        self.ranked() || self.tail == Tail::Mean
    }

    fn check(&self) -> Result<()> {
        let Self { index, lists, components, .. } = self;
        lists.check()?;
        if index.heads != lists.heads {
            return Err(Error::shape("KV heads of lists of an index", index.heads, lists.heads));
        }
        if !index.dim.is_multiple_of(4) {
            let what = format!("head dimension of {NAME}");
            return Err(Error::range(what, "multiples of 4", index.dim));
        }
        let most = index.dim.min(WEIGHTS / self.rows());
        if !(1..=most).contains(components) {
            let limit = format!(
                "1..={most}, the columns of the index and {WEIGHTS} numbers of the query heads of a KV head, \
                 rounded up to whole blocks"
            );
            return Err(Error::range(format!("components of {NAME}"), limit, components));
        }
        if !self.scale.is_finite() {
            return Err(Error::range("attention scale", "finite numbers", self.scale));
        }
        if u32::try_from(self.scores_len()).is_err() {
            let limit = format!("0..={}", u32::MAX);
            return Err(Error::range(format!("scores of {NAME}"), limit, self.scores_len()));
        }
        Ok(())
    }

    fn operands(&self, caps: &Caps) -> Result<Vec<Operand>> {
        let input = self.input.bytes();
        let mut all = vec![
            decode::operand((Q, "q"), self.q_len(), input, caps)?,
            self.index.operand(INDEX_MAP, caps)?,
            self.index.operand(COLUMNS, caps)?,
            whole(SCORES, &format!("scores of {NAME}"), self.scores_len(), caps)?,
        ];
        if self.reads_sums() {
            all.push(self.index.operand(SUMS, caps)?);
        }
        if self.tail == Tail::Mean {
            all.push(whole(
                UNREAD,
                &format!("unread components of {NAME}"),
                self.unread_len(),
                caps,
            )?);
        }
        Ok(all)
    }

    fn traffic(&self) -> Traffic {
        let Self { lists, rows, .. } = self;
        let components = u64::from(self.components);
        let (tokens, group) = (u64::from(lists.tokens), u64::from(lists.group));
        let written = group + u64::from(self.ranked());
        let q = self.q_len() * self.input.bytes() as u64;
        Traffic {
            read_bytes: tokens * rows * 2 * components + q,
            write_bytes: tokens * rows * 4 * written + 4 * self.unread_len(),
            flops: tokens * rows * 2 * components * group,
        }
    }

    fn shader(&self) -> Shader {
        let Self { index, lists, components, .. } = self;
        let preamble = format!(
            "const GROUP: u32 = {}u;\nconst DIM: u32 = {}u;\nconst COMPONENTS: u32 = {components}u;\n\
             const LANES: u32 = {LANES}u;\nconst RANKED: bool = {};\n",
            lists.group,
            index.dim,
            self.ranked(),
        );
        let parts = vec![
            match lists.group {
                1 => part!("attention/block_1.wgsl"),
                2 => part!("attention/block_2.wgsl"),
                _ => part!("attention/block_4.wgsl"),
            },
            match self.input {
                Activation::F32 => part!("attention/q_f32.wgsl"),
                Activation::F16 => part!("attention/q_f16.wgsl"),
            },
            part!("attention/sparse/index_map.wgsl"),
            match self.tail {
                Tail::None => part!("attention/component_scores/unread_none.wgsl"),
                Tail::Mean => part!("attention/component_scores/unread_stored.wgsl"),
            },
            part!("attention/component_scores.wgsl"),
        ];
        Shader { entry: NAME, preamble, parts, constants: Vec::new() }
    }
}

impl Spec for ComponentScores {
    fn kernel(&self) -> &'static str {
        NAME
    }

    /// # Errors
    /// As [`Lists::check`]; [`Error::Shape`] for lists of other heads than the index has; [`Error::Range`] for
    /// components that it has not, more than 2048 numbers of them for the query heads of a KV head, a
    /// dimension that is no multiple of 4, a scale that is not finite, and more scores than u32 counts;
    /// [`Error::BindingTooLarge`] naming the tensor.
    fn launches(&self, caps: &Caps, _knobs: &Knobs) -> Result<Vec<Launch>> {
        self.check()?;
        let operands = self.operands(caps)?;
        let bindings = match self.tail {
            Tail::None => &BINDINGS[..6],
            Tail::Mean => &BINDINGS[..],
        };
        let places = self.places();
        let params = Params {
            places,
            heads: self.lists.heads,
            most: self.index.most,
            parts: self.groups(),
            // `most` is a multiple of 64.
            ranks: self.lists.query_rows() * (self.index.most / 4),
            // One rounding.
            factor: (f64::from(self.scale) * std::f64::consts::LOG2_E) as f32,
            unused: [0; 2],
        };
        let needs = Needs {
            workgroup_bytes: 4 * (self.index.dim + self.components * (1 + self.rows()) + 8 * LANES)
                + 32 * self.rows().div_ceil(4),
            invocations: LANES,
            storage_buffers: bindings.len() as u32 - 1,
            binding_bytes: largest(&operands),
            ..Needs::default()
        };
        needs.check(NAME, caps)?;
        let groups = u64::from(places) * u64::from(self.groups());
        Ok(vec![Launch {
            kernel: NAME,
            variant: "baseline",
            shader: self.shader(),
            bindings,
            operands,
            params: bytemuck::bytes_of(&params).to_vec(),
            grid: linear_grid(NAME, groups, caps.max_groups)?,
            scratch: Vec::new(),
            needs,
            traffic: self.traffic(),
        }])
    }
}
