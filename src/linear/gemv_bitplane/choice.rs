//! Knobs with every default filled in, and the shader that they name.

use super::{GemvBitplane, NAME, PARTIALS};
use crate::launch::{Caps, Knobs, Lookup, Masks, Needs, Part, Reduce, Scratch, Shader, part};
use crate::linear::bitplane::{Shape, code_parts, count, table_part};
use crate::linear::{Activation, Arithmetic, TableElement};
use crate::{Error, Result};
use std::fmt::Write as _;

/// Everything that was left open, decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) shape: Shape,
    pub(super) slices: u32,
    /// Words of a row in one slice.
    pub(super) slice_words: u32,
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
        let words = count("words of a row", spec.layout.words())?;
        let slices = knobs.slices.unwrap_or(1);
        if slices == 0 || slices > words {
            let limit = format!("1..={words}, the words of a row");
            return Err(Error::range(format!("slices of {NAME}"), limit, slices));
        }
        let default = if caps.subgroups { Reduce::Subgroup } else { Reduce::Workgroup };
        let choice = Self {
            shape,
            slices,
            slice_words: words.div_ceil(slices),
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

    pub(super) fn variant(&self) -> &'static str {
        use {Lookup as L, Reduce as R};
        if self.arithmetic == Arithmetic::F16 {
            return match self.reduce {
                R::Workgroup => "baseline f16",
                R::Subgroup => "subgroup f16",
                R::Scatter => "scatter f16",
            };
        }
        match (self.reduce, self.lookup) {
            (R::Workgroup, L::Single) => "baseline",
            (R::Workgroup, L::Half) => "baseline half",
            (R::Workgroup, L::Pair) => "baseline pair",
            (R::Subgroup, L::Single) => "subgroup",
            (R::Subgroup, L::Half) => "subgroup half",
            (R::Subgroup, L::Pair) => "subgroup pair",
            (R::Scatter, L::Single) => "scatter",
            (R::Scatter, L::Half) => "scatter half",
            (R::Scatter, L::Pair) => "scatter pair",
        }
    }

    /// Scratch memory for partial sums, where there are any.
    pub(super) fn scratch(&self, spec: &GemvBitplane) -> Option<Scratch> {
        (self.slices > 1).then(|| {
            let elements = spec.y_stride() as u64 * u64::from(self.batch) * u64::from(self.slices);
            Scratch { binding: PARTIALS, offset: 0, bytes: 4 * elements }
        })
    }

    pub(super) fn needs(&self, bits: u8, storage_buffers: u32, binding_bytes: u64) -> Needs {
        let entries = match self.lookup {
            Lookup::Single | Lookup::Half => self.shape.rows << bits,
            Lookup::Pair => self.shape.rows << (2 * bits),
        };
        let entry_bytes = match (self.lookup, self.arithmetic) {
            (Lookup::Single, _) | (Lookup::Pair, Arithmetic::F16) => 4,
            (Lookup::Half, _) => 2,
            (Lookup::Pair, Arithmetic::F32) => 8,
        };
        let slots = match self.reduce {
            Reduce::Workgroup => self.shape.workgroup,
            Reduce::Subgroup | Reduce::Scatter => self.subgroups,
        };
        Needs {
            f16: self.lookup == Lookup::Half || self.arithmetic == Arithmetic::F16,
            subgroups: self.reduce != Reduce::Workgroup,
            workgroup_bytes: entries * entry_bytes + self.sums() * slots * 4,
            invocations: self.shape.workgroup,
            storage_buffers,
            binding_bytes,
        }
    }

    pub(super) fn shader(&self, spec: &GemvBitplane) -> Shader {
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
        if f32_tables {
            parts.extend([part!("lib/half.wgsl"), table_part(&spec.layout)]);
        } else if spec.activation == Activation::F16 && self.slices == 1 {
            parts.push(part!("lib/half.wgsl"));
        }
        parts.push(match self.reduce {
            Reduce::Workgroup => part!("lib/reduce_workgroup.wgsl"),
            Reduce::Subgroup => part!("lib/reduce_subgroup.wgsl"),
            Reduce::Scatter => part!("lib/reduce_scatter.wgsl"),
        });
        parts.push(match (self.lookup, self.arithmetic) {
            (Lookup::Single, _) => part!("linear/lookup_single.wgsl"),
            (Lookup::Half, _) => part!("linear/lookup_half.wgsl"),
            (Lookup::Pair, Arithmetic::F32) => part!("linear/lookup_pair.wgsl"),
            (Lookup::Pair, Arithmetic::F16) => part!("linear/lookup_pair_half.wgsl"),
        });
        if self.arithmetic == Arithmetic::F16 {
            parts.push(part!("linear/products_f16.wgsl"));
        } else {
            parts.push(match (spec.activation, spec.layout.cols().is_multiple_of(32)) {
                (Activation::F32, true) => part!("linear/activations_f32_quads.wgsl"),
                (Activation::F32, false) => part!("linear/activations_f32.wgsl"),
                (Activation::F16, true) => part!("linear/activations_f16_quads.wgsl"),
                (Activation::F16, false) => part!("linear/activations_f16.wgsl"),
            });
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
    let refuse = |why: &str| Err(Error::unsupported(format!("{lookup:?} lookups of {NAME}"), why));
    match lookup {
        Lookup::Pair if spec.bits > 4 => refuse("pair tables are for 2 to 4 bits"),
        Lookup::Half if spec.layout.table() != TableElement::F16 => refuse("the tables are f32"),
        Lookup::Single | Lookup::Half if spec.arithmetic == Arithmetic::F16 => {
            refuse("f16 arithmetic multiplies pairs")
        }
        _ => Ok(lookup),
    }
}
