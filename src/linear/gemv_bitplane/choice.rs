//! Knobs with every default filled in, and the shader that they name.

use super::{GemvBitplane, NAME};
use crate::launch::{Caps, Knobs, Lookup, Masks, Needs, Part, Reduce, Shader, part};
use crate::linear::bitplane::{
    Shape, activation_part, check_lookup, code_parts, count, lookup_bytes, lookup_parts, slices,
};
use crate::linear::product::Form;
use crate::linear::{Activation, Arithmetic, TableElement};
use crate::{Error, Result};
use std::fmt::Write as _;

/// Everything that was left open, decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    shape: Shape,
    slices: u32,
    /// Words of a row in one slice.
    slice_words: u32,
    reduce: Reduce,
    lookup: Lookup,
    arithmetic: Arithmetic,
    unroll: bool,
    masks: Masks,
    batch: u32,
    /// The most subgroups that a workgroup can have.
    subgroups: u32,
    largest_subgroup: u32,
}

impl Choice {
    pub(super) fn new(spec: &GemvBitplane, caps: &Caps, knobs: &Knobs) -> Result<Self> {
        let batch = count("batch", spec.batch)?;
        let rows = if batch > 1 || spec.bits <= 3 { 4 } else { 2 };
        let shape = Shape::new(NAME, caps, knobs, rows)?;
        let (slices, slice_words) = slices(NAME, &spec.layout, knobs)?;
        let default = if caps.subgroups { Reduce::Subgroup } else { Reduce::Workgroup };
        let choice = Self {
            shape,
            slices,
            slice_words,
            reduce: knobs.reduce.unwrap_or(default),
            lookup: lookup(spec, caps, knobs)?,
            arithmetic: spec.arithmetic,
            unroll: knobs.unroll.unwrap_or(true),
            masks: knobs.masks.unwrap_or(Masks::Constant),
            batch,
            subgroups: shape.workgroup.div_ceil(caps.subgroup_min.max(1)),
            largest_subgroup: caps.subgroup_max,
        };
        choice.check_reduce(caps)?;
        Ok(choice)
    }

    fn check_reduce(&self, caps: &Caps) -> Result<()> {
        if self.reduce != Reduce::Workgroup && !caps.subgroups {
            return Err(Error::unsupported(NAME, "the device has no subgroup operations"));
        }
        if self.reduce == Reduce::Scatter {
            let (sums, workgroup) = (self.sums(), self.shape.workgroup);
            let (min, max) = (caps.subgroup_min, caps.subgroup_max);
            if !sums.is_power_of_two() || sums > min || workgroup < max || max == 0 {
                let why = format!(
                    "a reduce-scatter of {sums} sums over {workgroup} lanes needs a power of two \
                     of sums, at most the smallest subgroup ({min}), and at least the lanes of \
                     the largest ({max})"
                );
                return Err(Error::unsupported(NAME, why));
            }
        }
        Ok(())
    }

    fn sums(&self) -> u32 {
        self.shape.rows * self.batch
    }

    fn variant(&self) -> &'static str {
        use {Lookup as L, Reduce as R};
        if self.arithmetic == Arithmetic::F16 {
            return match self.reduce {
                R::Workgroup => "baseline f16",
                R::Subgroup => "subgroup f16",
                R::Scatter => "scatter f16",
            };
        }
        match (self.reduce, self.lookup) {
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
        Form {
            variant: self.variant(),
            shader: self.shader(spec),
            needs: self.needs(spec.bits),
            workgroup: self.shape.workgroup,
            rows: self.shape.rows,
            tiles: 1,
            slices: self.slices,
            slice_words: self.slice_words,
            batch: 0,
        }
    }

    fn needs(&self, bits: u8) -> Needs {
        let tables = match self.arithmetic {
            Arithmetic::F32 => lookup_bytes(self.lookup, self.shape.rows, bits),
            // Pairs of f16.
            Arithmetic::F16 => (self.shape.rows << (2 * bits)) * 4,
        };
        let slots = match self.reduce {
            Reduce::Workgroup => self.shape.workgroup,
            Reduce::Subgroup | Reduce::Scatter => self.subgroups,
        };
        Needs {
            f16: self.lookup == Lookup::Half || self.arithmetic == Arithmetic::F16,
            subgroups: self.reduce != Reduce::Workgroup,
            workgroup_bytes: tables + self.sums() * slots * 4,
            invocations: self.shape.workgroup,
            ..Needs::default()
        }
    }

    fn shader(&self, spec: &GemvBitplane) -> Shader {
        let mut shader = self.shape.shader(NAME, spec.bits, self.parts(spec));
        let preamble = &mut shader.preamble;
        let _ = writeln!(preamble, "const SUMS: u32 = {}u;", self.sums());
        if self.batch > 1 || self.slices > 1 {
            let _ = writeln!(preamble, "const BATCH: u32 = {}u;", self.batch);
        }
        if self.reduce != Reduce::Workgroup {
            let _ = writeln!(preamble, "const SUBGROUPS: u32 = {}u;", self.subgroups);
        }
        if self.reduce == Reduce::Scatter {
            let _ = writeln!(preamble, "const LARGEST_SUBGROUP: u32 = {}u;", self.largest_subgroup);
        }
        shader
    }

    fn parts(&self, spec: &GemvBitplane) -> Vec<Part> {
        let mut parts = code_parts(spec.bits, self.masks).to_vec();
        let f32_tables = self.arithmetic == Arithmetic::F32 && self.lookup != Lookup::Half;
        if f32_tables || (spec.activation == Activation::F16 && self.slices == 1) {
            parts.push(part!("lib/half.wgsl"));
        }
        parts.push(match self.reduce {
            Reduce::Workgroup => part!("lib/reduce_workgroup.wgsl"),
            Reduce::Subgroup => part!("lib/reduce_subgroup.wgsl"),
            Reduce::Scatter => part!("lib/reduce_scatter.wgsl"),
        });
        if self.arithmetic == Arithmetic::F16 {
            parts.push(part!("linear/lookup_pair_half.wgsl"));
            parts.push(part!("linear/products_f16.wgsl"));
        } else {
            parts.extend(lookup_parts(self.lookup, &spec.layout));
            parts.push(activation_part(spec.activation, spec.layout.cols()));
            parts.push(part!("lib/products.wgsl"));
            if self.batch == 1 {
                parts.push(part!("linear/products_f32.wgsl"));
            }
        }
        parts.push(match (self.batch, self.unroll, self.shape.rows) {
            (1, true, 2) => part!("linear/rows_2.wgsl"),
            (1, true, 4) => part!("linear/rows_4.wgsl"),
            (1, true, 8) => part!("linear/rows_8.wgsl"),
            (1, ..) => part!("linear/rows_loop.wgsl"),
            _ => part!("linear/rows_batch.wgsl"),
        });
        if self.slices > 1 {
            parts.push(part!("linear/output_partial.wgsl"));
        } else {
            parts.push(part!("linear/bias.wgsl"));
            parts.push(match spec.activation {
                Activation::F32 => part!("linear/output_f32.wgsl"),
                Activation::F16 => part!("linear/output_f16.wgsl"),
            });
        }
        parts.push(part!("linear/gemv_bitplane.wgsl"));
        parts
    }
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
