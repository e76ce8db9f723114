//! How lanes attend to rows: what kernels over rows of few queries have in common.

use super::{DecodeQueries, MAX_ROWS};
use crate::attention::element::Rows;
use crate::attention::{CacheShape, KvElement};
use crate::launch::{Caps, Knobs, Part, Reduce, part};
use crate::linear::{Activation, Arithmetic};
use crate::{Error, Result};
use std::fmt::Write as _;

/// Lanes of a workgroup.
pub(in crate::attention) const LANES: u32 = 128;

/// How lanes work together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::attention) enum Form {
    Workgroup,
    /// Lanes that share a row.
    Subgroup(u32),
    /// The same, with dot products in f16.
    Half(u32),
}

impl Form {
    /// The variant.
    pub(in crate::attention) fn name(self) -> &'static str {
        match self {
            Self::Workgroup => "baseline",
            Self::Subgroup(_) => "subgroup",
            Self::Half(_) => "half",
        }
    }
}

/// Attention of some query rows, at most [`MAX_ROWS`], to rows that each of them reads.
#[derive(Debug, Clone, Copy)]
pub(in crate::attention) struct Attend<'a> {
    pub(in crate::attention) kernel: &'static str,
    pub(in crate::attention) shape: &'a CacheShape,
    pub(in crate::attention) queries: &'a DecodeQueries,
}

impl Attend<'_> {
    fn quads(&self) -> u32 {
        // 256 numbers at most.
        self.shape.head_dim() as u32 / 4
    }

    fn rows(&self) -> u32 {
        // 16 at most.
        self.queries.rows() as u32
    }

    /// Lanes that share a row, of 16 numbers each: a power of two.
    fn row_lanes(&self) -> u32 {
        // 256 numbers at most.
        (self.shape.head_dim() as u32).div_ceil(16).next_power_of_two()
    }

    /// Query rows that a lane has at a time, and how many times as many there are.
    fn blocks(&self) -> (u32, u32) {
        match self.rows() {
            1 => (1, 1),
            2 => (2, 1),
            rows => (4, rows.div_ceil(4).next_power_of_two()),
        }
    }

    pub(in crate::attention) fn form(&self, caps: &Caps, knobs: &Knobs) -> Result<Form> {
        let (kernel, lanes) = (self.kernel, self.row_lanes());
        let half = self.queries.arithmetic == Arithmetic::F16;
        let able = caps.subgroups && caps.subgroup_min >= lanes && caps.subgroup_max <= LANES;
        match knobs.reduce {
            Some(Reduce::Workgroup) if !half => Ok(Form::Workgroup),
            None if !half && !able => Ok(Form::Workgroup),
            Some(Reduce::Workgroup) => {
                let what = format!("{kernel} by f16 arithmetic");
                Err(Error::unsupported(what, "there is no form without subgroups"))
            }
            _ if half => self.half_form(able, caps),
            _ if able => Ok(Form::Subgroup(lanes)),
            _ => {
                let (min, max) = (caps.subgroup_min, caps.subgroup_max);
                let why = format!(
                    "{lanes} lanes that share a row need subgroups of {lanes} to {LANES} lanes; \
                     the device's are {min} to {max}"
                );
                Err(Error::unsupported(format!("{kernel} by subgroups"), why))
            }
        }
    }

    fn half_form(&self, able: bool, caps: &Caps) -> Result<Form> {
        let (lanes, element) = (self.row_lanes(), self.shape.element());
        let why = match element {
            KvElement::F16 if able && caps.f16 => return Ok(Form::Half(lanes)),
            KvElement::F16 => format!(
                "it needs f16 arithmetic (here: {}) and subgroups of {lanes} to {LANES} lanes (here: {} \
                 to {})",
                caps.f16, caps.subgroup_min, caps.subgroup_max
            ),
            _ => format!("it takes caches of f16, not {}", element.name()),
        };
        Err(Error::unsupported(format!("{} by f16 arithmetic", self.kernel), why))
    }

    pub(in crate::attention) fn workgroup_bytes(&self, form: Form) -> u32 {
        match form {
            Form::Workgroup => 4 * (self.rows() * LANES + LANES + MAX_ROWS as u32),
            Form::Subgroup(lanes) | Form::Half(lanes) => {
                let (block, blocks) = self.blocks();
                4 * block * (2 * LANES / lanes + blocks + 4 * LANES)
            }
        }
    }

    /// Constants of all parts.
    pub(in crate::attention) fn preamble(&self) -> String {
        let mut preamble = self.queries.preamble(self.shape.head_dim());
        // 64 at most.
        let pieces = self.shape.row_words() as u32 / 4;
        let _ =
            write!(preamble, "const LANES: u32 = {LANES}u;\nconst ROW_PIECES: u32 = {pieces}u;\n");
        preamble
    }

    /// Queries, rows and logits.
    pub(in crate::attention) fn operand_parts(&self, form: Form) -> Vec<Part> {
        let mut parts = vec![match self.queries.input {
            Activation::F32 => part!("attention/q_f32.wgsl"),
            Activation::F16 => part!("attention/q_f16.wgsl"),
        }];
        match form {
            Form::Half(_) => parts.push(part!("attention/sixteen_halves.wgsl")),
            _ => parts.extend(self.shape.element().parts(Rows::Both)),
        }
        parts.push(match self.queries.softcap {
            None => part!("attention/logit.wgsl"),
            Some(_) => part!("attention/logit_softcap.wgsl"),
        });
        parts
    }

    /// Attention to a segment, by a function `attend(segment, lane)`.
    pub(in crate::attention) fn attend_parts(
        &self,
        form: Form,
        preamble: &mut String,
    ) -> Vec<Part> {
        let lanes = match form {
            Form::Workgroup => {
                let lane_rows = self.rows().div_ceil(LANES / self.quads());
                let _ = writeln!(preamble, "const LANE_ROWS: u32 = {lane_rows}u;");
                preamble.push_str("alias Logits = f32;\n");
                return vec![part!("lib/products.wgsl"), part!("attention/attend_workgroup.wgsl")];
            }
            Form::Subgroup(lanes) | Form::Half(lanes) => lanes,
        };
        let (block, blocks) = self.blocks();
        let _ = write!(
            preamble,
            "const ROW_LANES: u32 = {lanes}u;\nconst BLOCKS: u32 = {blocks}u;\n\
             alias Logits = Rows;\n"
        );
        let mut parts = vec![
            match block {
                1 => part!("attention/block_1.wgsl"),
                2 => part!("attention/block_2.wgsl"),
                _ => part!("attention/block_4.wgsl"),
            },
            match self.shape.element() {
                KvElement::F32 | KvElement::F16 | KvElement::Bf16 => {
                    part!("attention/codec_none.wgsl")
                }
                KvElement::Int8 => part!("attention/codec_scale.wgsl"),
                KvElement::Int4 => part!("attention/codec_scale_zero.wgsl"),
            },
        ];
        if let Form::Half(_) = form {
            parts.push(part!("attention/dots_f16.wgsl"));
        } else {
            parts.push(match self.shape.element() {
                KvElement::F32 => part!("attention/sixteen_of_4.wgsl"),
                KvElement::F16 | KvElement::Bf16 => part!("attention/sixteen_of_8.wgsl"),
                KvElement::Int8 | KvElement::Int4 => part!("attention/sixteen_of_16.wgsl"),
            });
            parts.push(part!("attention/dots_f32.wgsl"));
        }
        parts.push(part!("attention/lane_totals.wgsl"));
        parts.push(part!("attention/attend_subgroup.wgsl"));
        parts
    }
}
