//! `decode_merge`: puts the states of parts of attention together.
//!
//! For every query row of every head, over its parts `i` that have keys (`l_i` is not 0):
//! `m = max m_i`, `o = sum 2^(m_i - m) o_i / sum 2^(m_i - m) l_i`, and `lse = m ln 2 + ln l`. Without such
//! parts `o` is 0 and `lse` [`NO_KEY`](super::NO_KEY). Parts are either
//! - the slots that [`decode_split`](super::decode_split) wrote. Heads that it wrote directly have none:
//!   their `o` is left as it is, and only their `lse` is made; or
//! - given: outputs and `lse` of attention to several sets of rows that have none in common. Merging a
//!   shared prefix with what follows is this (cascade attention); or
//! - those that workgroups had of lists of rows ([`attend_rows`](super::attend_rows)), and the
//!   [rest](super::sparse#the-rest) of the rows with them if that counts. Lists stand for heads then.
//!
//! Sources: "FlashInfer", Ye et al., MLSys 2025, arXiv 2501.01005; "Online normalizer calculation for
//! softmax", Milakov and Gimelshein, arXiv 1805.02867.
//!
//! | binding | tensor | contents |
//! |---|---|---|
//! | 0 | params | 16 words, see `shaders/attention/decode_params.wgsl` |
//! | 1 | given_o | `[parts, q_len, H G, D]`, f32; given parts only |
//! | 2 | given_lse | `[parts, q_len, H G]`, f32; given parts only |
//! | 6 | schedule | u32: [`Schedule`](super::Schedule); slots only |
//! | 7 | o | `[q_len, H G, D]`, f32, or f16 in pairs |
//! | 8 | states | as [`decode_split`](super::decode_split) writes them, or [`attend_rows`](super::attend_rows); slots and lists only |
//! | 9 | lse | `[q_len, H G]`, f32, natural logarithms; where asked for |
//! | 10 | index_map | [`IndexMap`](super::sparse::IndexMap); lists with the rest only |
//! | 14 | sums | [the index's](super::sparse#index); lists with the rest only |
//! | 25 | rest | `[q_len, H G]`, f32, logarithms to base 2 of the rest's weights; lists with the rest only |
//!
//! One variant, `baseline`: 256 lanes, a workgroup for each query row (above `D` = 96 for each 64 numbers of
//! it), no feature, default limits. No knobs.

mod reference;

pub use reference::{Merged, reference};

use super::decode::{self, DecodeQueries, KEYS, LSE, O, Q, SCHEDULE, STATES};
use super::decode_split::output_parts;
use super::sparse::{INDEX_MAP, IndexShape, Lists, REST, SUMS};
use super::{CacheShape, ScheduleShape};
use crate::launch::{
    Access, Binding, Caps, Knobs, Launch, Operand, Shader, Spec, Traffic, linear_grid, part,
};
use crate::{Error, Result};
use std::fmt::Write as _;

/// The kernel's name.
pub const NAME: &str = "decode_merge";

/// Number of the binding of given outputs.
pub const GIVEN_O: u32 = Q;
/// Number of the binding of given logarithms of sums.
pub const GIVEN_LSE: u32 = KEYS;

/// Lanes of a workgroup.
const LANES: u32 = 256;

const PARAMS_BINDING: Binding = Binding::new(0, "params", Access::Uniform);
const GIVEN_O_BINDING: Binding = Binding::new(GIVEN_O, "given_o", Access::Read);
const GIVEN_LSE_BINDING: Binding = Binding::new(GIVEN_LSE, "given_lse", Access::Read);
const SCHEDULE_BINDING: Binding = Binding::new(SCHEDULE, "schedule", Access::Read);
const O_BINDING: Binding = Binding::new(O, "o", Access::ReadWrite);
const STATES_BINDING: Binding = Binding::new(STATES, "states", Access::Read);
const LSE_BINDING: Binding = Binding::new(LSE, "lse", Access::ReadWrite);
const INDEX_MAP_BINDING: Binding = Binding::new(INDEX_MAP, "index_map", Access::Read);
const SUMS_BINDING: Binding = Binding::new(SUMS, "sums", Access::Read);
const REST_BINDING: Binding = Binding::new(REST, "rest", Access::Read);

/// What is not bound is not declared either.
fn bindings(parts: &Parts, lse: bool) -> &'static [Binding] {
    use self::{
        GIVEN_LSE_BINDING as GL, GIVEN_O_BINDING as GO, INDEX_MAP_BINDING as M, LSE_BINDING as L,
        O_BINDING as O, PARAMS_BINDING as P, REST_BINDING as R, SCHEDULE_BINDING as S,
        STATES_BINDING as T, SUMS_BINDING as V,
    };
    match (parts, lse) {
        (Parts::Slots(_), false) => &[P, S, O, T],
        (Parts::Slots(_), true) => &[P, S, O, T, L],
        (Parts::Given(_), false) => &[P, GO, GL, O],
        (Parts::Given(_), true) => &[P, GO, GL, O, L],
        (Parts::Lists(ListParts { rest: None, .. }), false) => &[P, O, T],
        (Parts::Lists(ListParts { rest: None, .. }), true) => &[P, O, T, L],
        (Parts::Lists(_), false) => &[P, O, T, M, V, R],
        (Parts::Lists(_), true) => &[P, O, T, L, M, V, R],
    }
}

/// What is merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parts {
    /// The slots of a schedule.
    Slots(ScheduleShape),
    /// So many outputs and logarithms of sums, of every head.
    Given(u32),
    /// Parts of lists.
    Lists(ListParts),
}

/// The parts of lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListParts {
    /// KV heads.
    pub heads: u32,
    /// Lists of one of them and a token.
    pub head_lists: u32,
    /// Parts of a list.
    pub splits: u32,
    /// The index that has sums of values, where the rest of the rows counts.
    pub rest: Option<IndexShape>,
}

/// A merge, described.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DecodeMerge {
    /// Heads and their dimension.
    pub shape: CacheShape,
    /// Query rows and outputs; how logits are made does not matter.
    pub queries: DecodeQueries,
    /// What is merged.
    pub parts: Parts,
}

impl DecodeMerge {
    /// Of the slots of a schedule.
    pub fn of_slots(shape: CacheShape, queries: DecodeQueries, schedule: ScheduleShape) -> Self {
        Self { shape, queries, parts: Parts::Slots(schedule) }
    }

    /// Of given outputs and logarithms of sums.
    pub fn of_given(shape: CacheShape, queries: DecodeQueries, parts: u32) -> Self {
        Self { shape, queries, parts: Parts::Given(parts) }
    }

    /// Of the parts of lists, each for some of the query rows of `queries`.
    ///
    /// # Errors
    /// As [`Lists::check`]; [`Error::Range`] for more than 65,535 lists.
    pub fn of_lists(
        shape: &CacheShape,
        queries: &DecodeQueries,
        lists: &Lists,
        splits: u32,
        rest: Option<IndexShape>,
    ) -> Result<Self> {
        lists.check()?;
        if lists.count() > 0xffff {
            return Err(Error::range("lists of a merge", "1..=65535", lists.count()));
        }
        // 65,535 lists of 16 queries at most.
        let group = lists.queries() as usize;
        let shape = CacheShape::new(lists.count() as usize, shape.head_dim(), shape.element())?;
        let queries = DecodeQueries { group, q_len: 1, ..*queries };
        let head_lists = lists.group / lists.queries();
        let parts = ListParts { heads: lists.heads, head_lists, splits, rest };
        Ok(Self { shape, queries, parts: Parts::Lists(parts) })
    }

    /// Elements of `states`, or of `given_o`.
    pub fn parts_len(&self) -> u64 {
        let (rows, dim) = (self.queries.rows() as u64, self.shape.head_dim() as u64);
        match self.parts {
            Parts::Slots(schedule) => {
                let heads = u64::from(schedule.heads);
                let direct = if self.queries.lse { 4 * heads * rows } else { 0 };
                u64::from(schedule.slots) * rows * (dim + 4) + direct
            }
            Parts::Given(parts) => {
                u64::from(parts).saturating_mul(rows * self.shape.kv_heads() as u64 * dim)
            }
            Parts::Lists(ListParts { splits, .. }) => {
                u64::from(splits) * self.shape.kv_heads() as u64 * rows * (dim + 4)
            }
        }
    }

    /// Quads of the output that a workgroup makes: all, or 16 where there are more than a few, so that
    /// a row of many parts has several workgroups.
    fn block_quads(&self) -> u32 {
        // 256 numbers at most.
        let quads = self.shape.head_dim() as u32 / 4;
        if quads > 24 { 16 } else { quads }
    }

    /// Workgroups of a query row.
    fn blocks(&self) -> u32 {
        (self.shape.head_dim() as u32 / 4).div_ceil(self.block_quads())
    }

    /// Teams of a workgroup, with a lane for each of its quads.
    fn teams(&self) -> u32 {
        LANES / self.block_quads()
    }

    fn operands(&self, caps: &Caps) -> Result<Vec<Operand>> {
        let Self { shape, queries, .. } = self;
        let (elements, sums) =
            (queries.q_len_of(shape) as u64, queries.lse_len(shape.kv_heads()) as u64);
        let output = decode::operand((O, "o"), elements, queries.output.bytes(), caps)?;
        let mut all = match self.parts {
            Parts::Slots(schedule) => vec![
                decode::operand((SCHEDULE, "schedule"), schedule.words(), 4, caps)?,
                output,
                decode::operand((STATES, "states"), self.parts_len(), 4, caps)?,
            ],
            Parts::Given(parts) => vec![
                decode::operand((GIVEN_O, "given outputs"), self.parts_len(), 4, caps)?,
                decode::operand((GIVEN_LSE, "given sums"), u64::from(parts) * sums, 4, caps)?,
                output,
            ],
            Parts::Lists(_) => {
                vec![output, decode::operand((STATES, "states"), self.parts_len(), 4, caps)?]
            }
        };
        if let Parts::Lists(ListParts { rest: Some(index), .. }) = self.parts {
            all.push(decode::operand((INDEX_MAP, "index map"), index.map_words(), 4, caps)?);
            all.push(decode::operand((SUMS, "sums of an index"), index.sums_len(), 4, caps)?);
            all.push(decode::operand((REST, "weights of the rest"), sums, 4, caps)?);
        }
        if queries.lse {
            all.push(decode::operand((LSE, "lse"), sums, 4, caps)?);
        }
        Ok(all)
    }

    fn shader(&self) -> Shader {
        let mut preamble = format!(
            "{}const LANES: u32 = {LANES}u;\nconst TEAMS: u32 = {}u;\nconst BLOCK_QUADS: u32 = {}u;\n\
             const BLOCKS: u32 = {}u;\n",
            self.queries.preamble(self.shape.head_dim()),
            self.teams(),
            self.block_quads(),
            self.blocks()
        );
        let mut parts = vec![part!("attention/decode_params.wgsl")];
        match self.parts {
            Parts::Slots(_) => parts
                .extend([part!("attention/schedule.wgsl"), part!("attention/parts_slots.wgsl")]),
            Parts::Given(_) => parts.push(part!("attention/parts_given.wgsl")),
            Parts::Lists(ListParts { rest: None, .. }) => {
                parts.push(part!("attention/parts_lists.wgsl"));
            }
            Parts::Lists(ListParts { heads, head_lists, .. }) => {
                let _ = write!(
                    preamble,
                    "const KV_HEADS: u32 = {heads}u;\nconst HEAD_LISTS: u32 = {head_lists}u;\n"
                );
                parts.extend([
                    part!("attention/sparse/index_map.wgsl"),
                    part!("attention/parts_lists_rest.wgsl"),
                ]);
            }
        }
        parts.extend(output_parts(self.queries.output));
        parts.push(match self.queries.lse {
            true => part!("attention/lse.wgsl"),
            false => part!("attention/lse_none.wgsl"),
        });
        parts.push(part!("attention/decode_merge.wgsl"));
        Shader { entry: NAME, preamble, parts, constants: Vec::new() }
    }

    fn params(&self) -> Result<decode::Params> {
        let heads = self.shape.kv_heads();
        match self.parts {
            Parts::Slots(schedule) if schedule.heads as usize != heads => {
                Err(Error::shape("KV heads of the schedule", heads, schedule.heads))
            }
            Parts::Slots(schedule) => schedule.params(),
            Parts::Given(0) => Err(Error::range("parts of a merge", "1..", 0)),
            // At most 65,535 heads.
            Parts::Given(parts) => Ok(decode::Params {
                heads: heads as u32,
                slots: parts,
                ..bytemuck::Zeroable::zeroed()
            }),
            Parts::Lists(ListParts { rest: Some(index), heads, .. })
                if (index.heads, index.dim as usize) != (heads, self.shape.head_dim()) =>
            {
                let expected = format!("{heads} heads of {}", self.shape.head_dim());
                let found = format!("{} heads of {}", index.heads, index.dim);
                Err(Error::shape("index of a merge", expected, found))
            }
            Parts::Lists(ListParts { splits, .. }) => Ok(decode::Params {
                heads: heads as u32,
                slots: splits,
                ..bytemuck::Zeroable::zeroed()
            }),
        }
    }
}

impl Spec for DecodeMerge {
    fn kernel(&self) -> &'static str {
        NAME
    }

    /// None where every head was written directly and nobody asked for `lse`.
    fn launches(&self, caps: &Caps, _knobs: &Knobs) -> Result<Vec<Launch>> {
        self.queries.check()?;
        let params = self.params()?;
        if self.parts_len() == 0 {
            return Ok(Vec::new());
        }
        let operands = self.operands(caps)?;
        let bindings = bindings(&self.parts, self.queries.lse);
        let teams = self.teams();
        let workgroup_bytes = 4 * LANES + 4 * LANES / 16 + teams * (4 + 16 * self.block_quads());
        let needs = decode::needs(LANES, workgroup_bytes, bindings.len(), &operands);
        needs.check(NAME, caps)?;
        let rows = self.queries.lse_len(self.shape.kv_heads()) as u64 * u64::from(self.blocks());
        let bytes = |binding| {
            let all = operands.iter().filter(|operand| operand.binding == binding);
            all.map(|operand| operand.bytes).sum::<u64>()
        };
        let traffic = Traffic {
            read_bytes: bytes(STATES) + bytes(GIVEN_O) + bytes(GIVEN_LSE),
            write_bytes: bytes(O) + bytes(LSE),
            flops: 2 * self.parts_len(),
        };
        Ok(vec![Launch {
            kernel: NAME,
            variant: "baseline",
            shader: self.shader(),
            bindings,
            operands,
            params: bytemuck::bytes_of(&params).to_vec(),
            grid: linear_grid(NAME, rows, caps.max_groups)?,
            scratch: Vec::new(),
            needs,
            traffic,
        }])
    }
}
