//! The text of `decode_split`.

use super::{DecodeSplit, Form, LANES, MAX_ROWS, NAME};
use crate::attention::KvElement;
use crate::launch::{Part, Shader, part};
use crate::linear::Activation;
use std::fmt::Write as _;

impl DecodeSplit {
    fn quads(&self) -> u32 {
        // 256 numbers at most.
        self.shape.head_dim() as u32 / 4
    }

    fn rows(&self) -> u32 {
        // 16 at most.
        self.queries.rows() as u32
    }

    /// Query rows that a lane has at a time, and how many times as many there are.
    fn blocks(&self) -> (u32, u32) {
        match self.rows() {
            1 => (1, 1),
            2 => (2, 1),
            rows => (4, rows.div_ceil(4).next_power_of_two()),
        }
    }

    pub(super) fn workgroup_bytes(&self, form: Form) -> u32 {
        match form {
            Form::Workgroup => 4 * (self.rows() * LANES + LANES + MAX_ROWS as u32),
            Form::Subgroup(lanes) | Form::Half(lanes) => {
                let (block, blocks) = self.blocks();
                4 * block * (2 * LANES / lanes + blocks + 4 * LANES)
            }
        }
    }

    pub(super) fn shader(&self, form: Form) -> Shader {
        let mut preamble = self.queries.preamble(self.shape.head_dim());
        let windowed = self.schedule.starts > 0;
        // 64 at most.
        let pieces = self.shape.row_words() as u32 / 4;
        let _ = write!(
            preamble,
            "const WINDOWED: bool = {windowed};\nconst LANES: u32 = {LANES}u;\n\
             const ROW_PIECES: u32 = {pieces}u;\n"
        );
        let mut parts: Vec<Part> = vec![
            part!("attention/decode_params.wgsl"),
            part!("attention/schedule.wgsl"),
            part!("attention/decode_segments.wgsl"),
            match self.schedule.mask_rows {
                0 => part!("attention/mask_none.wgsl"),
                _ => part!("attention/mask_bits.wgsl"),
            },
            match self.schedule.page_rows {
                0 => part!("attention/rows_contiguous.wgsl"),
                _ => part!("attention/rows_paged.wgsl"),
            },
            match self.queries.input {
                Activation::F32 => part!("attention/q_f32.wgsl"),
                Activation::F16 => part!("attention/q_f16.wgsl"),
            },
            match self.shape.element() {
                _ if matches!(form, Form::Half(_)) => part!("attention/sixteen_halves.wgsl"),
                KvElement::F32 => part!("attention/element_f32.wgsl"),
                KvElement::F16 => part!("attention/element_f16.wgsl"),
                KvElement::Bf16 => part!("attention/element_bf16.wgsl"),
                KvElement::Int8 => part!("attention/element_int8.wgsl"),
                KvElement::Int4 => part!("attention/element_int4.wgsl"),
            },
            match self.queries.softcap {
                None => part!("attention/logit.wgsl"),
                Some(_) => part!("attention/logit_softcap.wgsl"),
            },
        ];
        parts.extend(output_parts(self.queries.output));
        parts.push(part!("attention/decode_store.wgsl"));
        match form {
            Form::Workgroup => {
                let lane_rows = self.rows().div_ceil(LANES / self.quads());
                let _ = writeln!(preamble, "const LANE_ROWS: u32 = {lane_rows}u;");
                preamble.push_str("alias Logits = f32;\n");
                parts.push(part!("lib/products.wgsl"));
                parts.push(part!("attention/attend_workgroup.wgsl"));
            }
            Form::Subgroup(lanes) | Form::Half(lanes) => {
                let (block, blocks) = self.blocks();
                let _ = write!(
                    preamble,
                    "const ROW_LANES: u32 = {lanes}u;\nconst BLOCKS: u32 = {blocks}u;\n\
                     alias Logits = Rows;\n"
                );
                parts.push(match block {
                    1 => part!("attention/block_1.wgsl"),
                    2 => part!("attention/block_2.wgsl"),
                    _ => part!("attention/block_4.wgsl"),
                });
                parts.push(match self.shape.element() {
                    KvElement::F32 | KvElement::F16 | KvElement::Bf16 => {
                        part!("attention/codec_none.wgsl")
                    }
                    KvElement::Int8 => part!("attention/codec_scale.wgsl"),
                    KvElement::Int4 => part!("attention/codec_scale_zero.wgsl"),
                });
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
            }
        }
        parts.push(part!("attention/decode_split.wgsl"));
        Shader { entry: NAME, preamble, parts, constants: Vec::new() }
    }
}

/// The parts that store outputs.
pub(in crate::attention) fn output_parts(output: Activation) -> Vec<Part> {
    match output {
        Activation::F32 => vec![part!("attention/o_f32.wgsl")],
        Activation::F16 => vec![part!("lib/half.wgsl"), part!("attention/o_f16.wgsl")],
    }
}
