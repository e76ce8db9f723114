//! Knobs with every default filled in, and the shader that they name.

use super::{GemvVector, NAME};
use crate::launch::{Caps, Knobs, Lookup, Masks, Part, Reduce, part};
use crate::linear::TableElement;
use crate::linear::bitplane::{Shape, code_parts, table_part, whole_or_cut};
use crate::linear::gemv::{Frame, Kernel};
use crate::linear::product::Form;
use crate::{Error, Result};

/// Columns whose codes share a word.
const WORD_COLS: usize = 64;

const SHAPE: Shape = Shape { workgroup: 64, rows: 4 };

/// Everything that was left open, decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    frame: Frame,
    /// Whether tables are f16 in workgroup memory.
    half: bool,
    masks: Masks,
}

impl Choice {
    pub(super) fn new(spec: &GemvVector, caps: &Caps, knobs: &Knobs) -> Result<Self> {
        // Written out, a word's 64 columns make a large shader.
        let knobs = &Knobs { unroll: Some(knobs.unroll.unwrap_or(false)), ..*knobs };
        let choice = Self {
            frame: Frame::new(NAME, spec.layout.planes(), 1, SHAPE, caps, knobs)?,
            half: half(spec, knobs)?,
            masks: knobs.masks.unwrap_or(Masks::Constant),
        };
        choice.frame.check_reduce(NAME, caps)?;
        Ok(choice)
    }

    fn variant(&self) -> &'static str {
        match (self.frame.reduce, self.half) {
            (Reduce::Workgroup, false) => "baseline",
            (Reduce::Workgroup, true) => "baseline half",
            (Reduce::Subgroup, false) => "subgroup",
            (Reduce::Subgroup, true) => "subgroup half",
            (Reduce::Scatter, false) => "scatter",
            (Reduce::Scatter, true) => "scatter half",
        }
    }

    /// How the product is computed.
    pub(super) fn form(&self, spec: &GemvVector) -> Form {
        let bits = spec.layout.code_bits();
        let lookup = if self.half { Lookup::Half } else { Lookup::Pair };
        self.frame.form(Kernel {
            name: NAME,
            variant: self.variant(),
            bits,
            parts: self.parts(spec),
            f16: self.half,
            table_bytes: table_bytes(lookup, self.frame.rows(), bits),
        })
    }

    fn parts(&self, spec: &GemvVector) -> Vec<Part> {
        let layout = &spec.layout;
        let mut parts = code_parts(layout.code_bits(), self.masks).to_vec();
        if !self.half || self.frame.stores_halves(spec.activation) {
            parts.push(part!("lib/half.wgsl"));
        }
        parts.push(self.frame.reduce_part());
        if self.half {
            parts.push(part!("linear/lookup_vector_half.wgsl"));
        } else {
            parts.push(table_part(layout.planes()));
            parts.push(part!("linear/lookup_vector.wgsl"));
        }
        parts.push(whole_or_cut(spec.activation, layout.cols().is_multiple_of(WORD_COLS)));
        parts.push(part!("lib/products.wgsl"));
        if self.frame.unroll {
            parts.push(part!("linear/products_vector.wgsl"));
            parts.push(self.frame.rows_part());
        } else {
            parts.push(part!("linear/rows_vector.wgsl"));
        }
        parts.extend(self.frame.output_parts(spec.activation));
        parts.push(part!("linear/gemv_vector.wgsl"));
        parts
    }
}

/// Bytes of tables of pairs in the workgroup memory of `rows` rows.
pub(in crate::linear) fn table_bytes(lookup: Lookup, rows: u32, bits: u8) -> u32 {
    let pair = if lookup == Lookup::Half { 4 } else { 8 };
    (rows << bits) * pair
}

fn half(spec: &GemvVector, knobs: &Knobs) -> Result<bool> {
    let refuse = |lookup: Lookup, why: &str| {
        Err(Error::unsupported(format!("{lookup:?} lookups of {NAME}"), why))
    };
    match knobs.lookup {
        Some(Lookup::Half) if spec.layout.table() != TableElement::F16 => {
            refuse(Lookup::Half, "the tables are f32")
        }
        Some(Lookup::Storage) => refuse(Lookup::Storage, "its tables are in workgroup memory"),
        Some(Lookup::Half) => Ok(true),
        Some(Lookup::Single | Lookup::Pair) | None => Ok(false),
    }
}
