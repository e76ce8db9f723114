//! The launches of `score_rows`.

use super::{NAME, ScoreRows, Scored};
use crate::attention::KvElement;
use crate::attention::decode::{self, KEY_PARAMS, KEYS, Q, VALUE_PARAMS, VALUES};
use crate::attention::element::Rows;
use crate::attention::places::{largest, whole};
use crate::attention::sparse::{COUNTS, LISTS, PICKED, SCORES, TOPS};
use crate::attention::tiles::ROW_MAP;
use crate::launch::{
    Access, Binding, Caps, Knobs, Launch, Needs, Operand, Part, Reduce, Shader, Traffic,
    linear_grid, part,
};
use crate::linear::Activation;
use crate::{Error, Result};
use std::fmt::Write as _;

/// Lanes of a workgroup.
const LANES: u32 = 128;
/// Workgroups that are enough for large devices.
const GROUPS: u32 = 1024;

const PARAMS: Binding = Binding::new(0, "params", Access::Uniform);
const ASKING: Binding = Binding::new(Q, "q", Access::Read);
const KEY_ROWS: Binding = Binding::new(KEYS, "keys", Access::Read);
const VALUE_ROWS: Binding = Binding::new(VALUES, "values", Access::Read);
const KEY_CODECS: Binding = Binding::new(KEY_PARAMS, "key_params", Access::Read);
const VALUE_CODECS: Binding = Binding::new(VALUE_PARAMS, "value_params", Access::Read);
const SCHEDULE: Binding = Binding::new(ROW_MAP, "schedule", Access::Read);
const ROWS: Binding = Binding::new(LISTS, "lists", Access::Read);
const NUMBERS: Binding = Binding::new(COUNTS, "counts", Access::Read);
const MADE: Binding = Binding::new(SCORES, "scores", Access::ReadWrite);
const JOINED: Binding = Binding::new(TOPS, "tops", Access::ReadWrite);
const COPIED: Binding = Binding::new(PICKED, "picked", Access::ReadWrite);
const GIVEN: Binding = Binding::new(PICKED, "picked", Access::Read);

/// Mirrors `Params` of the shader.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Params {
    places: u32,
    parts: u32,
    heads: u32,
    group: u32,
    tokens: u32,
    causal: u32,
    stride: u32,
    page_rows: u32,
    pages: u32,
    queries: u32,
    inner: f32,
    outer: f32,
}

/// How lanes work together: those that share a key, or none.
type Form = Option<u32>;

impl ScoreRows {
    fn bindings(&self) -> &'static [Binding] {
        match (self.scored, self.shape.element().scaled()) {
            (Scored::Seen { .. }, false) => {
                &[PARAMS, ASKING, KEY_ROWS, VALUE_ROWS, SCHEDULE, MADE, JOINED]
            }
            (Scored::Seen { .. }, true) => &[
                PARAMS,
                ASKING,
                KEY_ROWS,
                VALUE_ROWS,
                KEY_CODECS,
                VALUE_CODECS,
                SCHEDULE,
                MADE,
                JOINED,
            ],
            (Scored::Listed, false) => {
                &[PARAMS, ASKING, KEY_ROWS, VALUE_ROWS, ROWS, NUMBERS, COPIED]
            }
            (Scored::Listed, true) => &[
                PARAMS,
                ASKING,
                KEY_ROWS,
                VALUE_ROWS,
                KEY_CODECS,
                VALUE_CODECS,
                ROWS,
                NUMBERS,
                COPIED,
            ],
        }
    }

    /// Lanes that share a key, of 16 numbers each: a power of two.
    fn row_lanes(&self) -> u32 {
        // 256 numbers at most.
        (self.shape.head_dim() as u32).div_ceil(16).next_power_of_two()
    }

    fn form(&self, caps: &Caps, knobs: &Knobs) -> Result<Form> {
        let lanes = self.row_lanes();
        let able = caps.subgroups && caps.subgroup_min >= lanes && caps.subgroup_max <= LANES;
        match knobs.reduce {
            Some(Reduce::Workgroup) => Ok(None),
            _ if able => Ok(Some(lanes)),
            None => Ok(None),
            Some(_) => {
                let (min, max) = (caps.subgroup_min, caps.subgroup_max);
                let why = format!(
                    "{lanes} lanes that share a key need subgroups of {lanes} to {LANES} lanes; the \
                     device's are {min} to {max}"
                );
                Err(Error::unsupported(format!("{NAME} by subgroups"), why))
            }
        }
    }

    /// Query rows that a lane has at a time, and how many times as many there are.
    fn blocks(&self) -> (u32, u32) {
        match self.place_rows() {
            1 => (1, 1),
            2 => (2, 1),
            rows => (4, rows.div_ceil(4).next_power_of_two()),
        }
    }

    /// Workgroups of a place.
    fn parts(&self, form: Form) -> u32 {
        let tile = match form {
            None => LANES,
            Some(lanes) => 4 * LANES / lanes / self.blocks().1,
        };
        let places = self.places().max(1);
        self.stride().div_ceil(tile).clamp(1, GROUPS.div_ceil(places))
    }

    fn params(&self, parts: u32) -> Result<Params> {
        let (inner, outer) = self.queries.factors();
        let (page_rows, pages) = match self.scored {
            Scored::Seen { map, .. } => (map.page_rows, map.places()?[1]),
            Scored::Listed => (0, 0),
        };
        Ok(Params {
            places: self.places(),
            parts,
            heads: self.lists.heads,
            group: self.lists.group,
            tokens: self.lists.tokens,
            causal: self.lists.causal.into(),
            stride: self.stride(),
            page_rows,
            pages,
            queries: self.lists.query_rows(),
            inner,
            outer,
        })
    }

    fn tops(&self, caps: &Caps) -> Result<Operand> {
        let words = u64::from(self.lists.query_rows());
        whole(TOPS, &format!("largest scores of {NAME}"), words, caps)
    }

    fn counts(&self, caps: &Caps) -> Result<Operand> {
        let words = 4 * u64::from(self.lists.count());
        whole(COUNTS, &format!("counts of {NAME}"), words, caps)
    }

    fn picked(&self, caps: &Caps) -> Result<Operand> {
        whole(PICKED, &format!("scores of {NAME}"), self.scores_len(), caps)
    }

    fn operands(&self, caps: &Caps) -> Result<Vec<Operand>> {
        let rows = u64::from(self.tensor_rows);
        let words = rows * self.shape.row_words() as u64;
        let mut all = vec![
            self.operand_of_q(caps)?,
            decode::operand((KEYS, "keys of a cache"), words, 4, caps)?,
        ];
        if self.shape.element().scaled() {
            all.push(decode::operand((KEY_PARAMS, "parameters of keys"), rows, 4, caps)?);
        }
        match self.scored {
            Scored::Seen { map, .. } => {
                let what = format!("scores of {NAME}");
                all.push(decode::operand((ROW_MAP, "row map"), map.words(), 4, caps)?);
                all.push(whole(SCORES, &what, self.scores_len(), caps)?);
                all.push(self.tops(caps)?);
            }
            Scored::Listed => {
                all.push(whole(LISTS, &format!("lists of {NAME}"), self.lists_len(), caps)?);
                all.push(self.counts(caps)?);
                all.push(self.picked(caps)?);
            }
        }
        // A cache without rows has no bytes to bind: none are read.
        all.retain(|operand| operand.bytes > 0);
        Ok(all)
    }

    fn traffic(&self) -> Traffic {
        let Self { shape, queries, rows, .. } = self;
        let each = 4 * (shape.row_words() + shape.row_params()) as u64;
        let written = u64::from(self.place_rows());
        let q = (self.q_len() * queries.input.bytes()) as u64;
        Traffic {
            read_bytes: rows * each + q,
            write_bytes: 4 * rows * written,
            flops: 2 * rows * written * shape.head_dim() as u64,
        }
    }

    fn shader(&self, form: Form) -> Shader {
        let (block, blocks) = self.blocks();
        let mut preamble = self.preamble();
        let mut parts: Vec<Part> = vec![part!("attention/score_rows/params.wgsl")];
        match self.scored {
            Scored::Seen { map, .. } => parts.extend([
                part!("attention/tiles/segment.wgsl"),
                match map.page_rows {
                    0 => part!("attention/rows_contiguous.wgsl"),
                    _ => part!("attention/rows_paged.wgsl"),
                },
                part!("attention/score_rows/all.wgsl"),
            ]),
            Scored::Listed => parts.push(part!("attention/score_rows/listed.wgsl")),
        }
        let element = self.shape.element();
        parts.push(match self.queries.input {
            Activation::F32 => part!("attention/q_f32.wgsl"),
            Activation::F16 => part!("attention/q_f16.wgsl"),
        });
        parts.extend(element.parts(Rows::Both));
        parts.push(match self.queries.softcap {
            None => part!("attention/logit.wgsl"),
            Some(_) => part!("attention/logit_softcap.wgsl"),
        });
        match form {
            None => {
                preamble.push_str("alias Logits = f32;\n");
                parts.push(part!("lib/products.wgsl"));
                parts.push(part!("attention/score_rows/keys_workgroup.wgsl"));
            }
            Some(lanes) => {
                let _ = write!(
                    preamble,
                    "const ROW_LANES: u32 = {lanes}u;\nconst BLOCKS: u32 = {blocks}u;\n\
                     alias Logits = Rows;\n"
                );
                parts.extend([
                    match block {
                        1 => part!("attention/block_1.wgsl"),
                        2 => part!("attention/block_2.wgsl"),
                        _ => part!("attention/block_4.wgsl"),
                    },
                    match element {
                        KvElement::F32 | KvElement::F16 | KvElement::Bf16 => {
                            part!("attention/codec_none.wgsl")
                        }
                        KvElement::Int8 => part!("attention/codec_scale.wgsl"),
                        KvElement::Int4 => part!("attention/codec_scale_zero.wgsl"),
                    },
                    match element {
                        KvElement::F32 => part!("attention/sixteen_of_4.wgsl"),
                        KvElement::F16 | KvElement::Bf16 => part!("attention/sixteen_of_8.wgsl"),
                        KvElement::Int8 | KvElement::Int4 => part!("attention/sixteen_of_16.wgsl"),
                    },
                    part!("attention/dots_f32.wgsl"),
                    part!("attention/lane_totals.wgsl"),
                    part!("attention/score_rows/keys_subgroup.wgsl"),
                ]);
            }
        }
        parts.push(part!("attention/score_rows.wgsl"));
        Shader { entry: NAME, preamble, parts, constants: Vec::new() }
    }

    fn preamble(&self) -> String {
        let pieces = self.shape.row_words() / 4;
        let quads = self.shape.head_dim() / 4;
        format!(
            "const ROWS: u32 = {}u;\nconst LANES: u32 = {LANES}u;\nconst HEAD_QUADS: u32 = {quads}u;\n\
             const ROW_PIECES: u32 = {pieces}u;\n",
            self.place_rows()
        )
    }

    /// Logits, and of all rows their largest.
    pub(super) fn score(&self, caps: &Caps, knobs: &Knobs) -> Result<Launch> {
        let form = self.form(caps, knobs)?;
        let (operands, bindings) = (self.operands(caps)?, self.bindings());
        let bytes = match self.scored {
            Scored::Seen { .. } => 4 * self.place_rows(),
            Scored::Listed => 0,
        };
        let mut needs = decode::needs(LANES, bytes, bindings.len(), &operands);
        needs.subgroups = form.is_some();
        needs.check(NAME, caps)?;
        let parts = self.parts(form);
        Ok(Launch {
            kernel: NAME,
            variant: if form.is_some() { "subgroup" } else { "baseline" },
            shader: self.shader(form),
            bindings,
            operands,
            params: bytemuck::bytes_of(&self.params(parts)?).to_vec(),
            grid: linear_grid(NAME, u64::from(self.places()) * u64::from(parts), caps.max_groups)?,
            scratch: Vec::new(),
            needs,
            traffic: self.traffic(),
        })
    }

    /// Zeros for the largest logits.
    pub(super) fn clear(&self, caps: &Caps) -> Result<Launch> {
        let groups = self.lists.query_rows().div_ceil(LANES);
        let text = part!("attention/score_rows/clear.wgsl");
        self.small(text, &[PARAMS, JOINED], vec![self.tops(caps)?], (0, groups), caps)
    }

    /// The largest of picked logits.
    pub(super) fn largest(&self, caps: &Caps) -> Result<Launch> {
        let operands = vec![self.counts(caps)?, self.tops(caps)?, self.picked(caps)?];
        let text = part!("attention/score_rows/largest.wgsl");
        let groups = self.lists.query_rows();
        self.small(text, &[PARAMS, NUMBERS, JOINED, GIVEN], operands, (4, groups), caps)
    }

    fn small(
        &self,
        text: Part,
        bindings: &'static [Binding],
        operands: Vec<Operand>,
        (workgroup_bytes, groups): (u32, u32),
        caps: &Caps,
    ) -> Result<Launch> {
        let needs = Needs {
            workgroup_bytes,
            invocations: LANES,
            storage_buffers: bindings.len() as u32 - 1,
            binding_bytes: largest(&operands),
            ..Needs::default()
        };
        needs.check(NAME, caps)?;
        let parts = vec![
            part!("attention/score_rows/params.wgsl"),
            text,
            part!("attention/score_rows.wgsl"),
        ];
        Ok(Launch {
            kernel: NAME,
            variant: "baseline",
            shader: Shader { entry: NAME, preamble: self.preamble(), parts, constants: Vec::new() },
            bindings,
            operands,
            params: bytemuck::bytes_of(&self.params(1)?).to_vec(),
            grid: linear_grid(NAME, groups.into(), caps.max_groups)?,
            scratch: Vec::new(),
            needs,
            traffic: Traffic::default(),
        })
    }
}
