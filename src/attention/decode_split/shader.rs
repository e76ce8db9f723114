//! The text of `decode_split`.

use super::{DecodeSplit, Form, NAME};
use crate::launch::{Part, Shader, part};
use crate::linear::Activation;
use std::fmt::Write as _;

impl DecodeSplit {
    pub(super) fn shader(&self, form: Form) -> Shader {
        let attend = self.attend();
        let mut preamble = attend.preamble();
        let _ = writeln!(preamble, "const WINDOWED: bool = {};", self.schedule.starts > 0);
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
        ];
        parts.extend(attend.operand_parts(form));
        parts.extend(output_parts(self.queries.output));
        parts.push(part!("attention/decode_store.wgsl"));
        parts.extend(attend.attend_parts(form, &mut preamble));
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
