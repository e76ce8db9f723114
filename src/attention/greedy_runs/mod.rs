//! `greedy_runs`: what a greedy search takes of each column of [an index](super::sparse#index).
//!
//! For every query row the search of [`greedy`](super::sparse::greedy), as many steps as its head's budget
//! says, without a queue: of every column it takes a run at the end of its largest products and one at the
//! end of its smallest, down to thresholds. Those are found by counting, which in a sorted column is a
//! search between what is known already. How many steps the side of the smallest takes is a choice,
//! [`Low`]. What [`greedy_hits`](super::greedy_hits) adds to is set to 0.
//!
//! Where nothing can be searched no run is taken: the head is marked in `flags`, a component of the query
//! is not finite, all products are 0 or may not be finite, no rows are covered, the budget is 0, or under
//! [`Low::Exact`] above [`GreedyRuns::budget`].
//!
//! | binding | tensor | contents |
//! |---|---|---|
//! | 0 | params | 4 words, see `shaders/attention/greedy_runs.wgsl` |
//! | 1 | q | `[T, H G, D]`, f32, or f16 in pairs |
//! | 10 | index_map | `[H][8]`, u32: [`IndexMap`](super::sparse::IndexMap), with budgets |
//! | 12 | sorted | f16 in pairs |
//! | 15 | flags | `[H]`, u32 |
//! | 16 | runs | `[T H G][D][4]`, u32: where the run of the largest products begins in the sorted column, and its length; the same of the smallest; 0, 0 where it is empty |
//! | 17 | found | `[T H G][4]`, u32: 1 where nothing can be searched; steps of the smallest; the exponent of the [grid](super::sparse::greedy::Grid), i32; elements taken of the largest |
//! | 18 | hits | `[T H G][most]`, i32: 0 in the rows that are covered, to the next multiple of 4 |
//! | 28 | work | scratch memory, of [`Low::Exact`] alone |
//!
//! A workgroup of 256 lanes has a query row, half of them an end of the columns. Each threshold is found in
//! rounds that leave a quarter of what it may be. With [`Low::Cheap`] the sum of what is taken of the
//! largest bounds that of the smallest: sums over the last digit but one, and so on, of what may be taken
//! tell where it is reached. With [`Low::Exact`] both are sorted.
//!
//! Source: "A^3: Accelerating Attention Mechanisms in Neural Networks with Approximation", Ham et al.,
//! HPCA 2020, arXiv 2002.10941; the form without a queue is this project's.
//!
//! Variants: `baseline`, no feature, default limits; `subgroup`, where sums over lanes are made by
//! subgroups. Knobs: `reduce`. Results are the same bits.

mod reference;
#[cfg(test)]
mod tests;

pub use reference::{Searched, reference};

use super::decode::{self, MAX_ROWS, Q};
use super::places::{largest, whole};
use super::sparse::greedy::{BITS, Low, column_bits};
use super::sparse::{FLAGS, FOUND, HITS, INDEX_MAP, IndexShape, RUNS, SORTED};
use crate::launch::{
    Access, Binding, Caps, Knobs, Launch, Needs, Operand, Part, Reduce, Scratch, Shader, Spec,
    Traffic, linear_grid, part,
};
use crate::linear::Activation;
use crate::{Error, Result};

/// The kernel's name.
pub const NAME: &str = "greedy_runs";
/// Number of the binding of scratch memory.
pub const WORK: u32 = 28;
/// The largest budget that [`Low::Exact`] is offered for.
pub const EXACT_BUDGET: u32 = 16_384;

const LANES: u32 = 256;

const PARAMS: Binding = Binding::new(0, "params", Access::Uniform);
static BINDINGS: [Binding; 9] = [
    PARAMS,
    Binding::new(Q, "q", Access::Read),
    Binding::new(INDEX_MAP, "index_map", Access::Read),
    Binding::new(SORTED, "sorted", Access::Read),
    Binding::new(FLAGS, "flags", Access::Read),
    Binding::new(RUNS, "runs", Access::ReadWrite),
    Binding::new(FOUND, "found", Access::ReadWrite),
    Binding::new(HITS, "hits", Access::ReadWrite),
    Binding::new(WORK, "work", Access::ReadWrite),
];

/// Mirrors `Params` of the shader, and of that of `greedy_hits`.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(super) struct Params {
    pub(super) query_rows: u32,
    pub(super) heads: u32,
    pub(super) group: u32,
    pub(super) stride: u32,
}

/// A greedy search, described.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GreedyRuns {
    /// The index that is searched.
    pub index: IndexShape,
    /// New tokens, or queries of a memory: `T`.
    pub tokens: u32,
    /// Query heads that share a KV head: `G`.
    pub group: u32,
    /// Element type of `q`.
    pub input: Activation,
    /// How many steps the side of the smallest products takes.
    pub low: Low,
    /// The largest budget of a head. [`Low::Exact`] has memory for so many; else it is an estimate that
    /// [`Traffic`] is told by.
    pub budget: u32,
}

impl GreedyRuns {
    /// Query rows: `T H G`.
    pub fn query_rows(&self) -> u64 {
        u64::from(self.tokens) * u64::from(self.index.heads) * u64::from(self.group)
    }

    /// Elements of `q`.
    pub fn q_len(&self) -> u64 {
        self.query_rows() * u64::from(self.index.dim)
    }

    /// Words of `runs`.
    pub fn runs_len(&self) -> u64 {
        4 * self.q_len()
    }

    /// Words of `found`.
    pub fn found_len(&self) -> u64 {
        4 * self.query_rows()
    }

    /// Elements of `hits`.
    pub fn hits_len(&self) -> u64 {
        self.query_rows() * u64::from(self.index.most)
    }

    /// Elements of either end that a query row is taken to read.
    pub(super) fn estimate(&self) -> u64 {
        let elements = u64::from(self.index.most) * u64::from(self.index.dim);
        u64::from(self.budget).min(elements)
    }

    pub(super) fn check(&self) -> Result<()> {
        let limit = format!("1..={MAX_ROWS}");
        let rows = self.tokens.saturating_mul(self.group);
        for (what, value) in [
            ("query heads of a KV head", self.group),
            ("new tokens", self.tokens),
            ("query rows of a KV head, query heads times new tokens,", rows),
        ] {
            if !(1..=MAX_ROWS as u32).contains(&value) {
                return Err(Error::range(what, limit, value));
            }
        }
        // Shapes of maps are like this; others can be written down.
        let IndexShape { heads, dim, most, .. } = self.index;
        if !(2..=256).contains(&dim) || !dim.is_multiple_of(2) {
            return Err(Error::range("columns of an index", "even numbers, 2..=256", dim));
        }
        if !(1..=0xffff).contains(&heads) {
            return Err(Error::range("KV heads of an index", "1..=65535", heads));
        }
        if most == 0 || !most.is_multiple_of(64) {
            return Err(Error::range("room of an index", "multiples of 64", most));
        }
        if self.low == Low::Exact && self.budget > EXACT_BUDGET {
            let what = format!("budget of an exact search of {NAME}");
            return Err(Error::range(what, format!("0..={EXACT_BUDGET}"), self.budget));
        }
        Ok(())
    }

    /// What kernels of the search read, and `stride` elements of hits from query row to query row.
    pub(super) fn params(&self, stride: u32) -> Params {
        // At most 16 query rows of each of 65,535 heads.
        let query_rows = self.query_rows() as u32;
        Params { query_rows, heads: self.index.heads, group: self.group, stride }
    }

    /// Tensors, named in messages after the kernel `name`.
    pub(super) fn operands(&self, name: &str, order: u32, caps: &Caps) -> Result<Vec<Operand>> {
        let of = |what: &str| format!("{what} of {name}");
        let mut all = vec![
            decode::operand((Q, &of("queries")), self.q_len(), self.input.bytes(), caps)?,
            whole(INDEX_MAP, &of("index map"), self.index.map_words(), caps)?,
            whole(SORTED, &of("sorted columns"), self.index.words(), caps)?,
            whole(RUNS, &of("runs"), self.runs_len(), caps)?,
            whole(FOUND, &of("findings"), self.found_len(), caps)?,
            whole(HITS, &of("hits"), self.hits_len(), caps)?,
        ];
        all.push(match name {
            NAME => whole(FLAGS, &of("flags"), self.index.heads.into(), caps)?,
            _ => whole(order, &of("order of columns"), self.index.order_words(), caps)?,
        });
        all.sort_by_key(|operand| operand.binding);
        Ok(all)
    }

    /// The part that reads queries.
    pub(super) fn query_part(&self) -> Part {
        match self.input {
            Activation::F32 => part!("attention/sparse/query_f32.wgsl"),
            Activation::F16 => part!("attention/sparse/query_f16.wgsl"),
        }
    }

    /// Columns of a lane.
    fn each(&self) -> u32 {
        self.index.dim.div_ceil(LANES / 2)
    }

    /// Elements that the lists of an exact search have room for.
    fn list(&self) -> u32 {
        self.budget.max(LANES).next_power_of_two()
    }

    fn preamble(&self, subgroups: Option<u32>) -> String {
        let dim = self.index.dim;
        // 21 to 28.
        let span = BITS - column_bits(dim as usize);
        let most = if self.low == Low::Exact { self.budget } else { u32::MAX };
        let mut text = format!(
            "const DIM: u32 = {dim}u;\nconst EACH: u32 = {}u;\nconst SPAN: u32 = {span}u;\n\
             const MOST: u32 = {most}u;\n",
            self.each()
        );
        match self.low {
            Low::Cheap => text += &format!("const LEVELS: u32 = {}u;\n", span / 8 + 1),
            Low::Exact => text += &format!("const LIST: u32 = {}u;\n", self.list()),
            Low::All => {}
        }
        if let Some(subgroups) = subgroups {
            text += &format!("const SUBGROUPS: u32 = {subgroups}u;\n");
        }
        text
    }

    fn parts(&self, subgroups: Option<u32>) -> Vec<Part> {
        let mut parts = vec![
            part!("attention/sparse/index_map.wgsl"),
            self.query_part(),
            part!("attention/greedy/grid.wgsl"),
            match subgroups {
                None => part!("attention/greedy/sums_workgroup.wgsl"),
                Some(_) => part!("attention/greedy/sums_subgroup.wgsl"),
            },
            part!("attention/greedy/walks.wgsl"),
        ];
        let wide = part!("attention/greedy/wide.wgsl");
        match self.low {
            Low::Cheap => parts.extend([wide, part!("attention/greedy/low_cheap.wgsl")]),
            Low::Exact => parts.extend([wide, part!("attention/greedy/low_exact.wgsl")]),
            Low::All => parts.push(part!("attention/greedy/low_all.wgsl")),
        }
        parts.push(part!("attention/greedy_runs.wgsl"));
        parts
    }

    fn workgroup_bytes(&self, subgroups: Option<u32>) -> u32 {
        let sums = subgroups.map_or(4 * (768 + 48), |subgroups| 32 * subgroups + 4);
        let low = match self.low {
            Low::Cheap => 4 * (4 * LANES * self.each() + 2 + 2 * 256 + 32 + 1 + 1) + 8,
            Low::Exact => 8 * LANES + 4,
            Low::All => 0,
        };
        // Walks, and what is known of the query.
        sums + 8 + 4 * (256 + 16) + 8 + low
    }

    /// The most subgroups of a workgroup, where they add up.
    fn subgroups(caps: &Caps, knobs: &Knobs) -> Result<Option<u32>> {
        // Of fewer lanes there would be too many to have their sums in workgroup memory.
        let known = caps.subgroups && caps.subgroup_min >= 4;
        match (knobs.reduce, known) {
            (Some(Reduce::Workgroup), _) | (None, false) => Ok(None),
            (None | Some(Reduce::Subgroup), true) => Ok(Some(LANES.div_ceil(caps.subgroup_min))),
            (Some(reduce), _) => {
                let why = "it needs subgroups of 4 lanes or more, and no shuffles";
                Err(Error::unsupported(format!("{reduce:?} of {NAME}"), why))
            }
        }
    }
}

impl Spec for GreedyRuns {
    fn kernel(&self) -> &'static str {
        NAME
    }

    /// # Errors
    /// [`Error::Range`] for sizes that cannot be, [`Error::BindingTooLarge`] naming the tensor,
    /// [`Error::Unsupported`] for knobs that the device does not have.
    fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        self.check()?;
        let subgroups = Self::subgroups(caps, knobs)?;
        let operands = self.operands(NAME, FLAGS, caps)?;
        let mut scratch = Vec::new();
        if self.low == Low::Exact {
            let bytes = 4 * 6 * u64::from(self.list()) * self.query_rows();
            let limit = caps.bindable_bytes();
            if bytes > limit {
                let what = format!("lists of {NAME}");
                return Err(Error::BindingTooLarge { what, bytes, limit });
            }
            scratch.push(Scratch { binding: WORK, offset: 0, bytes });
        }
        let bindings = &BINDINGS[..BINDINGS.len() - usize::from(scratch.is_empty())];
        let listed = scratch.first().map_or(0, |scratch| scratch.bytes);
        let needs = Needs {
            subgroups: subgroups.is_some(),
            workgroup_bytes: self.workgroup_bytes(subgroups),
            invocations: LANES,
            storage_buffers: bindings.len() as u32 - 1,
            binding_bytes: largest(&operands).max(listed),
            ..Needs::default()
        };
        needs.check(NAME, caps)?;
        let queries = self.q_len() * self.input.bytes() as u64;
        let traffic = Traffic {
            read_bytes: queries + 2 * 2 * self.estimate() * self.query_rows(),
            write_bytes: 4 * (self.hits_len() + self.runs_len() + self.found_len()),
            flops: 0,
        };
        Ok(vec![Launch {
            kernel: NAME,
            variant: if subgroups.is_some() { "subgroup" } else { "baseline" },
            shader: Shader {
                entry: NAME,
                preamble: self.preamble(subgroups),
                parts: self.parts(subgroups),
                constants: Vec::new(),
            },
            bindings,
            operands,
            params: bytemuck::bytes_of(&self.params(self.index.most / 4)).to_vec(),
            grid: linear_grid(NAME, self.query_rows(), caps.max_groups)?,
            scratch,
            needs,
            traffic,
        }])
    }

    fn candidates(&self, caps: &Caps) -> Vec<Knobs> {
        let workgroup = Knobs { reduce: Some(Reduce::Workgroup), ..Knobs::DEFAULT };
        match Self::subgroups(caps, &Knobs::DEFAULT) {
            Ok(Some(_)) => vec![Knobs::DEFAULT, workgroup],
            _ => vec![Knobs::DEFAULT],
        }
    }
}
