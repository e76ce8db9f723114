//! Knobs with every default filled in, and the shader that they name.

use super::{GemvBitplane, NAME};
use crate::launch::{Caps, Knobs, Lookup, Masks, Part, Reduce, part};
use crate::linear::bitplane::{
    Shape, activation_part, check_lookup, code_parts, count, lookup_bytes, lookup_parts,
};
use crate::linear::gemv::{Frame, Kernel};
use crate::linear::product::Form;
use crate::linear::{Arithmetic, TableElement};
use crate::{Error, Result};

/// Everything that was left open, decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    frame: Frame,
    lookup: Lookup,
    arithmetic: Arithmetic,
    masks: Masks,
}

impl Choice {
    pub(super) fn new(spec: &GemvBitplane, caps: &Caps, knobs: &Knobs) -> Result<Self> {
        let batch = count("batch", spec.batch)?;
        let masks = if caps.vendor == Caps::NVIDIA { Masks::Hidden } else { Masks::Constant };
        let shape = shape(spec.bits, batch);
        let choice = Self {
            frame: Frame::new(NAME, &spec.layout, batch, shape, caps, knobs)?,
            lookup: lookup(spec, caps, knobs)?,
            arithmetic: spec.arithmetic,
            masks: knobs.masks.unwrap_or(masks),
        };
        choice.frame.check_reduce(NAME, caps)?;
        Ok(choice)
    }

    fn variant(&self) -> &'static str {
        use {Lookup as L, Reduce as R};
        if self.arithmetic == Arithmetic::F16 {
            return match self.frame.reduce {
                R::Workgroup => "baseline f16",
                R::Subgroup => "subgroup f16",
                R::Scatter => "scatter f16",
            };
        }
        match (self.frame.reduce, self.lookup) {
            (R::Workgroup, L::Single | L::Storage) => "baseline",
            (R::Workgroup, L::Half) => "baseline half",
            (R::Workgroup, L::Pair) => "baseline pair",
            (R::Subgroup, L::Single | L::Storage) => "subgroup",
            (R::Subgroup, L::Half) => "subgroup half",
            (R::Subgroup, L::Pair) => "subgroup pair",
            (R::Scatter, L::Single | L::Storage) => "scatter",
            (R::Scatter, L::Half) => "scatter half",
            (R::Scatter, L::Pair) => "scatter pair",
        }
    }

    /// How the product is computed.
    pub(super) fn form(&self, spec: &GemvBitplane) -> Form {
        let (rows, bits) = (self.frame.rows(), spec.bits);
        self.frame.form(Kernel {
            name: NAME,
            variant: self.variant(),
            bits,
            parts: self.parts(spec),
            f16: self.lookup == Lookup::Half || self.arithmetic == Arithmetic::F16,
            table_bytes: match self.arithmetic {
                Arithmetic::F32 => lookup_bytes(self.lookup, rows, bits),
                // Pairs of f16.
                Arithmetic::F16 => (rows << (2 * bits)) * 4,
            },
        })
    }

    fn parts(&self, spec: &GemvBitplane) -> Vec<Part> {
        let mut parts = code_parts(spec.bits, self.masks).to_vec();
        let f32_tables = self.arithmetic == Arithmetic::F32 && self.lookup != Lookup::Half;
        if f32_tables || self.frame.stores_halves(spec.activation) {
            parts.push(part!("lib/half.wgsl"));
        }
        parts.push(self.frame.reduce_part());
        if self.arithmetic == Arithmetic::F16 {
            parts.push(part!("linear/lookup_pair_half.wgsl"));
            parts.push(part!("linear/products_f16.wgsl"));
        } else {
            parts.extend(lookup_parts(self.lookup, &spec.layout));
            parts.push(activation_part(spec.activation, spec.layout.cols()));
            parts.push(part!("lib/products.wgsl"));
            parts.push(match spec.batch {
                1 => part!("linear/products_f32.wgsl"),
                _ => part!("linear/products_batch.wgsl"),
            });
        }
        parts.push(self.frame.rows_part());
        parts.extend(self.frame.output_parts(spec.activation));
        parts.push(part!("linear/gemv_bitplane.wgsl"));
        parts
    }
}

/// The lanes and rows of a workgroup that were fastest on an H100, or near it on every shape.
fn shape(bits: u8, batch: u32) -> Shape {
    let (workgroup, rows) = match (batch, bits) {
        (1, 3) | (2..=3, ..=6) | (4, 5..=6) => (64, 4),
        (4.., ..=4) => (32, 4),
        _ => (64, 2),
    };
    Shape { workgroup, rows }
}

fn lookup(spec: &GemvBitplane, caps: &Caps, knobs: &Knobs) -> Result<Lookup> {
    let halves = caps.f16 && spec.layout.table() == TableElement::F16;
    let default = match spec.bits {
        _ if spec.arithmetic == Arithmetic::F16 => Lookup::Pair,
        2 => Lookup::Pair,
        7 | 8 if halves => Lookup::Half,
        _ => Lookup::Single,
    };
    let lookup = knobs.lookup.unwrap_or(default);
    check_lookup(NAME, lookup, spec.bits, &spec.layout)?;
    let refuse = |why: &str| Err(Error::unsupported(format!("{lookup:?} lookups of {NAME}"), why));
    match lookup {
        Lookup::Storage => refuse("its tables are in workgroup memory"),
        Lookup::Single | Lookup::Half if spec.arithmetic == Arithmetic::F16 => {
            refuse("f16 arithmetic multiplies pairs")
        }
        _ => Ok(lookup),
    }
}
