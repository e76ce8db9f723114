//! `list_rows`: lists of the rows that a greedy search found, and an estimate of the weight of the others.
//!
//! A row is found for a list where any of the list's query rows has a sum above 0 there. What a list has
//! besides, and in which order, is told [there](super::sparse#lists): sinks, rows beyond the index as far as
//! the token sees them, rows found, each ascending and none twice, as rows of the tensors. A list takes all
//! rows that its token sees, and says so, where its head is flagged, where nothing could be searched for one
//! of its query rows, and where nothing was found. What does not fit a list is left out, found rows first,
//! and counted in the fourth word of its counts; nothing is written beyond it.
//!
//! | binding | tensor | contents |
//! |---|---|---|
//! | 0 | params | 16 words, see `shaders/attention/list_rows/params.wgsl` |
//! | 1 | q | `[T, H G, D]`, f32, or f16 in pairs; for [`Tail::Mean`] |
//! | 6 | schedule | u32: [`RowMap`](super::RowMap), without starts |
//! | 10 | index_map | `[H][8]`, u32: [`IndexMap`](super::sparse::IndexMap) |
//! | 14 | sums | `[H][3][D]`, f32; for [`Tail::Mean`] |
//! | 15 | flags | `[H]`, u32 |
//! | 17 | found | `[T, H G][4]`, u32: first word 1 where nothing could be searched for a query row |
//! | 18 | hits | `[T, H G][most]`, i32, sums of rows `0 .. rows[h]`; `most` is the index's |
//! | 19 | lists | `[L][capacity]`, u32 |
//! | 20 | counts | `[L][4]`, u32: rows listed; those among them that always are; 1 where all were taken; rows left out |
//! | 25 | rest | `[T, H G]`, f32; for [`Tail::Mean`] |
//!
//! `rest` is `log2(n) + x log2(e)` of the `n` rows that a query row sees and its list does not have, where
//! `x = scale (sum of q_j mean_j) + scale^2 (sum of q_j^2 var_j / 2)` is the logarithm of the mean of `exp`
//! of normal logits; means and variances are those of the rows of the index. Under a softcap `x` is what the
//! cap makes of it. It is -1e30 where `n` is 0, and where nothing is known of such rows: the index covers none or
//! the head is flagged.
//!
//! One variant, `baseline`: a launch whose workgroups have a list each, and for [`Tail::Mean`] another of
//! one for each query row. No knobs. Source: the candidates of "A^3", Ham et al., HPCA 2020, arXiv
//! 2002.10941; lists over groups of queries, sinks, new rows and the rest are this project's.

mod reference;
#[cfg(test)]
mod tests;

pub use reference::{Listed, Searched, reference, reference_rest};

use super::decode::{self, DecodeQueries, Q};
use super::places::{largest, whole};
use super::sparse::{
    COUNTS, FLAGS, FOUND, HITS, INDEX_MAP, IndexShape, LISTS, Lists, REST, SUMS, Tail,
};
use super::{ROW_MAP, RowMapShape};
use crate::launch::{
    Access, Binding, Caps, Knobs, Launch, Needs, Operand, Part, Shader, Spec, Traffic, linear_grid,
    part,
};
use crate::linear::Activation;
use crate::{Error, Result};

/// The kernel's name.
pub const NAME: &str = "list_rows";

const PARAMS: Binding = Binding::new(0, "params", Access::Uniform);
const SCHEDULE: Binding = Binding::new(ROW_MAP, "schedule", Access::Read);
const MAP: Binding = Binding::new(INDEX_MAP, "index_map", Access::Read);
const FLAGS_READ: Binding = Binding::new(FLAGS, "flags", Access::Read);

static OF_HITS: [Binding; 8] = [
    PARAMS,
    SCHEDULE,
    MAP,
    FLAGS_READ,
    Binding::new(FOUND, "found", Access::Read),
    Binding::new(HITS, "hits", Access::Read),
    Binding::new(LISTS, "lists", Access::ReadWrite),
    Binding::new(COUNTS, "counts", Access::ReadWrite),
];

static OF_REST: [Binding; 8] = [
    PARAMS,
    Binding::new(Q, "q", Access::Read),
    SCHEDULE,
    MAP,
    Binding::new(SUMS, "sums", Access::Read),
    FLAGS_READ,
    Binding::new(COUNTS, "counts", Access::Read),
    Binding::new(REST, "rest", Access::ReadWrite),
];

/// Mirrors `Params` of the shader.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Params {
    tokens: u32,
    heads: u32,
    group: u32,
    queries: u32,
    capacity: u32,
    sinks: u32,
    causal: u32,
    most: u32,
    page_rows: u32,
    pages: u32,
    inner: f32,
    outer: f32,
    half_scale: f32,
    unused: [u32; 3],
}

/// The lists of a greedy search, described.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ListRows {
    /// Whose lists, and how long.
    pub lists: Lists,
    /// Who asks; outputs do not matter.
    pub queries: DecodeQueries,
    /// The index that was searched.
    pub index: IndexShape,
    /// How long the row map is; without starts.
    pub map: RowMapShape,
    /// Whether the rows that are not listed count.
    pub tail: Tail,
    /// Rows of all heads that the index covers: for [`Traffic`] only.
    pub covered: u64,
    /// Rows of all lists: for [`Traffic`] only.
    pub listed: u64,
}

impl ListRows {
    /// Elements of `q`.
    pub fn q_len(&self) -> u64 {
        u64::from(self.lists.query_rows()) * u64::from(self.index.dim)
    }

    /// Elements of `hits`.
    pub fn hits_len(&self) -> u64 {
        u64::from(self.lists.query_rows()) * u64::from(self.index.most)
    }

    /// Words of all lists.
    pub fn lists_len(&self) -> u64 {
        u64::from(self.lists.count()) * u64::from(self.lists.capacity)
    }

    fn check(&self) -> Result<()> {
        let Self { lists, queries, index, map, .. } = self;
        lists.check()?;
        queries.check()?;
        index.check_map(map)?;
        for (what, expected, found) in [
            ("KV heads of lists", index.heads, lists.heads as usize),
            ("query heads of a KV head of lists", lists.group, queries.group),
            ("new tokens of lists", lists.tokens, queries.q_len),
        ] {
            if expected as usize != found {
                return Err(Error::shape(what, expected, found));
            }
        }
        // Quads of queries, and of sums.
        if self.tail == Tail::Mean && !index.dim.is_multiple_of(4) {
            return Err(Error::range("columns of an index", "multiples of 4", index.dim));
        }
        Ok(())
    }

    fn params(&self) -> Result<Params> {
        let Self { lists, queries, index, map, .. } = self;
        let [_, pages] = map.places()?;
        let (inner, outer) = queries.factors();
        Ok(Params {
            tokens: lists.tokens,
            heads: lists.heads,
            group: lists.group,
            queries: lists.queries(),
            capacity: lists.capacity,
            sinks: lists.sinks,
            causal: lists.causal.into(),
            most: index.most,
            page_rows: map.page_rows,
            pages,
            inner,
            outer,
            half_scale: queries.scale / 2.0,
            unused: [0; 3],
        })
    }

    fn operands(&self, bindings: &[Binding], caps: &Caps) -> Result<Vec<Operand>> {
        let Self { lists, queries, index, map, .. } = self;
        let rows = u64::from(lists.query_rows());
        let numbers = bindings.iter().map(|binding| binding.number).filter(|number| *number > 0);
        let of = |number| match number {
            Q => decode::operand((Q, "q"), self.q_len(), queries.input.bytes(), caps),
            ROW_MAP => whole(ROW_MAP, "row map", map.words(), caps),
            FOUND => whole(FOUND, "what a search found", 4 * rows, caps),
            HITS => whole(HITS, "hits of a search", self.hits_len(), caps),
            LISTS => whole(LISTS, "lists of rows", self.lists_len(), caps),
            COUNTS => whole(COUNTS, "counts of lists", 4 * u64::from(lists.count()), caps),
            REST => whole(REST, "weights of the rest", rows, caps),
            _ => index.operand(number, caps),
        };
        numbers.map(of).collect()
    }

    fn launch(
        &self,
        bindings: &'static [Binding],
        (preamble, parts): (String, Vec<Part>),
        (groups, lanes, workgroup_bytes): (u32, u32, u32),
        caps: &Caps,
    ) -> Result<Launch> {
        let operands = self.operands(bindings, caps)?;
        let needs = Needs {
            workgroup_bytes,
            invocations: lanes,
            storage_buffers: bindings.len() as u32 - 1,
            binding_bytes: largest(&operands),
            ..Needs::default()
        };
        needs.check(NAME, caps)?;
        let before = [
            part!("attention/list_rows/params.wgsl"),
            part!("attention/tiles/segment.wgsl"),
            part!("attention/sparse/index_map.wgsl"),
        ];
        let parts = before.into_iter().chain(parts).chain([part!("attention/list_rows.wgsl")]);
        Ok(Launch {
            kernel: NAME,
            variant: "baseline",
            shader: Shader { entry: NAME, preamble, parts: parts.collect(), constants: Vec::new() },
            bindings,
            operands,
            params: bytemuck::bytes_of(&self.params()?).to_vec(),
            grid: linear_grid(NAME, groups.into(), caps.max_groups)?,
            scratch: Vec::new(),
            needs,
            traffic: Traffic::default(),
        })
    }

    fn of_hits(&self, caps: &Caps) -> Result<Launch> {
        let parts = vec![
            match self.map.page_rows {
                0 => part!("attention/rows_contiguous.wgsl"),
                _ => part!("attention/rows_paged.wgsl"),
            },
            part!("lib/scan_workgroup.wgsl"),
            part!("attention/list_rows/hits.wgsl"),
        ];
        let bytes = 4 * (4 * 256 + 256 + 16);
        let size = (self.lists.count(), 256, bytes);
        let preamble = format!("const QUERIES: u32 = {}u;\n", self.lists.queries());
        let mut launch = self.launch(&OF_HITS, (preamble, parts), size, caps)?;
        let rows = u64::from(self.lists.tokens) * u64::from(self.lists.group) * self.covered;
        launch.traffic = Traffic {
            read_bytes: 4 * rows + 16 * u64::from(self.lists.query_rows()),
            write_bytes: 4 * self.listed + 16 * u64::from(self.lists.count()),
            flops: 0,
        };
        Ok(launch)
    }

    fn of_rest(&self, caps: &Caps) -> Result<Launch> {
        let preamble =
            format!("alias Logits = f32;\nconst HEAD_QUADS: u32 = {}u;\n", self.index.dim / 4);
        let parts = vec![
            match self.queries.input {
                Activation::F32 => part!("attention/q_f32.wgsl"),
                Activation::F16 => part!("attention/q_f16.wgsl"),
            },
            match self.queries.softcap {
                None => part!("attention/logit.wgsl"),
                Some(_) => part!("attention/logit_softcap.wgsl"),
            },
            part!("attention/list_rows/rest.wgsl"),
        ];
        let rows = self.lists.query_rows();
        let mut launch = self.launch(&OF_REST, (preamble, parts), (rows, 64, 4 * 64), caps)?;
        let (q, sums) = (self.q_len(), 8 * u64::from(self.index.heads * self.index.dim));
        launch.traffic = Traffic {
            read_bytes: q * self.queries.input.bytes() as u64 + sums,
            write_bytes: 4 * u64::from(rows),
            flops: 5 * q,
        };
        Ok(launch)
    }
}

impl Spec for ListRows {
    fn kernel(&self) -> &'static str {
        NAME
    }

    /// The lists, and for [`Tail::Mean`] the weights of what they do not have.
    ///
    /// # Errors
    /// [`Error::Range`] and [`Error::Shape`] for lists, queries, an index or a row map that cannot be or do not
    /// fit each other, [`Error::BindingTooLarge`] naming the tensor.
    fn launches(&self, caps: &Caps, _knobs: &Knobs) -> Result<Vec<Launch>> {
        self.check()?;
        let mut launches = vec![self.of_hits(caps)?];
        if self.tail == Tail::Mean {
            launches.push(self.of_rest(caps)?);
        }
        Ok(launches)
    }
}
