//! The texts of kernels over tiles.

use super::Tiles;
use crate::attention::KvElement;
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
    pub(in crate::attention) fn of(tiles: &Tiles<'_>, keys: Part) -> Self {
        let (quads, depth) = tiles.quads();
        // 64 at most.
        let pieces = tiles.shape.row_words() as u32 / 4;
        let preamble = format!(
            "const HEAD_QUADS: u32 = {quads}u;\nconst DEPTH: u32 = {depth}u;\n\
             const ROW_PIECES: u32 = {pieces}u;\nalias Logits = vec4<f32>;\n"
        );
        let parts = vec![
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
            match tiles.shape.element() {
                KvElement::F32 => part!("attention/element_f32.wgsl"),
                KvElement::F16 => part!("attention/element_f16.wgsl"),
                KvElement::Bf16 => part!("attention/element_bf16.wgsl"),
                KvElement::Int8 => part!("attention/element_int8.wgsl"),
                KvElement::Int4 => part!("attention/element_int4.wgsl"),
            },
            part!("lib/products.wgsl"),
            part!("attention/tiles/block.wgsl"),
            match tiles.queries.softcap {
                None => part!("attention/logit.wgsl"),
                Some(_) => part!("attention/logit_softcap.wgsl"),
            },
            part!("attention/tiles/logits.wgsl"),
        ];
        Self { preamble, parts }
    }

    /// Weighted sums of values, and outputs.
    pub(in crate::attention) fn with_values(mut self, tiles: &Tiles<'_>) -> Self {
        let (quads, _) = tiles.quads();
        // As many as half the pool has room for, of the 32 that have weights at a time.
        let keys = (512 / quads).min(32);
        let keys = 1 << keys.ilog2();
        let windowed = tiles.map.starts > 0;
        let _ = write!(
            self.preamble,
            "const VALUE_KEYS: u32 = {keys}u;\nconst WINDOWED: bool = {windowed};\n"
        );
        self.parts.push(part!("attention/tiles/values.wgsl"));
        self.parts.push(match quads.div_ceil(8) {
            2 => part!("attention/tiles/quads_2.wgsl"),
            3 => part!("attention/tiles/quads_3.wgsl"),
            4 => part!("attention/tiles/quads_4.wgsl"),
            _ => part!("attention/tiles/quads_8.wgsl"),
        });
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
