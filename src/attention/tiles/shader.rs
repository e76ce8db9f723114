//! The texts of kernels over tiles.

use super::{Form, Tiles};
use crate::attention::element::Rows;
use crate::launch::{Part, Shader, part};
use crate::linear::Activation;
use std::fmt::Write as _;

/// A text that is being put together.
pub(in crate::attention) struct Text {
    preamble: String,
    parts: Vec<Part>,
}

impl Text {
    /// Products of tiles and logits of them. `keys` says which rows keys are.
    pub(in crate::attention) fn of(tiles: &Tiles<'_>, form: Form, keys: Part) -> Self {
        let (quads, depth) = tiles.quads();
        // 64 at most.
        let pieces = tiles.shape.row_words() as u32 / 4;
        let mut preamble = format!(
            "const HEAD_QUADS: u32 = {quads}u;\nconst ROW_PIECES: u32 = {pieces}u;\n\
             alias Logits = vec4<f32>;\n"
        );
        let mut parts = vec![
            part!("attention/tiles/params.wgsl"),
            part!("attention/tiles/segment.wgsl"),
            match tiles.map.page_rows {
                0 => part!("attention/rows_contiguous.wgsl"),
                _ => part!("attention/rows_paged.wgsl"),
            },
            keys,
            match tiles.queries.input {
                Activation::F32 => part!("attention/q_f32.wgsl"),
                Activation::F16 => part!("attention/q_f16.wgsl"),
            },
        ];
        parts.extend(tiles.shape.element().parts(Rows::Both));
        match form {
            Form::Lanes => {
                let _ = writeln!(preamble, "const DEPTH: u32 = {depth}u;");
                parts.extend([part!("lib/products.wgsl"), part!("attention/tiles/block.wgsl")]);
            }
            Form::Matrix => parts.extend([
                part!("attention/tiles/matrix.wgsl"),
                match tiles.scaled() {
                    true => part!("attention/tiles/factor_scale.wgsl"),
                    false => part!("attention/tiles/factor_none.wgsl"),
                },
                match quads {
                    16 => part!("attention/tiles/matrix_kept_4.wgsl"),
                    20 => part!("attention/tiles/matrix_kept_5.wgsl"),
                    24 => part!("attention/tiles/matrix_kept_6.wgsl"),
                    _ => part!("attention/tiles/matrix_kept_8.wgsl"),
                },
            ]),
        }
        parts.extend([
            match tiles.queries.softcap {
                None => part!("attention/logit.wgsl"),
                Some(_) => part!("attention/logit_softcap.wgsl"),
            },
            part!("attention/tiles/logits.wgsl"),
        ]);
        Self { preamble, parts }
    }

    /// Weighted sums of values, and outputs.
    pub(in crate::attention) fn with_values(mut self, tiles: &Tiles<'_>, form: Form) -> Self {
        let (quads, _) = tiles.quads();
        let windowed = tiles.map.starts > 0;
        let _ = writeln!(self.preamble, "const WINDOWED: bool = {windowed};");
        self.parts.push(part!("attention/tiles/starts.wgsl"));
        match form {
            Form::Lanes => {
                // As many as half the pool has room for, of the 32 that have weights at a time.
                let keys = (512 / quads).min(32);
                let _ = writeln!(self.preamble, "const VALUE_KEYS: u32 = {}u;", 1 << keys.ilog2());
                self.parts.push(part!("attention/tiles/values.wgsl"));
                self.parts.push(match quads.div_ceil(8) {
                    2 => part!("attention/tiles/quads_2.wgsl"),
                    3 => part!("attention/tiles/quads_3.wgsl"),
                    4 => part!("attention/tiles/quads_4.wgsl"),
                    _ => part!("attention/tiles/quads_8.wgsl"),
                });
            }
            Form::Matrix => {
                self.parts.push(part!("attention/tiles/matrix_values.wgsl"));
                self.parts.push(match quads {
                    16 => part!("attention/tiles/matrix_sums_4.wgsl"),
                    20 => part!("attention/tiles/matrix_sums_5.wgsl"),
                    24 => part!("attention/tiles/matrix_sums_6.wgsl"),
                    _ => part!("attention/tiles/matrix_sums_8.wgsl"),
                });
            }
        }
        self
    }

    /// Further parts.
    pub(in crate::attention) fn with(mut self, parts: &[Part]) -> Self {
        self.parts.extend_from_slice(parts);
        self
    }

    /// The whole, with the kernel's own part at its end.
    pub(in crate::attention) fn shader(self, entry: &'static str, part: Part) -> Shader {
        let Self { preamble, mut parts } = self;
        parts.push(part);
        Shader { entry, preamble, parts, constants: Vec::new() }
    }
}
