//! How the workgroups of a matrix-vector product are shaped and add up: what `gemv_bitplane` and
//! `gemv_vector` have in common.

use super::bitplane::{Shape, slices};
use super::product::Form;
use super::{Activation, BitplaneLayout};
use crate::launch::{Caps, Knobs, Needs, Part, Reduce, part};
use crate::{Error, Result};
use std::fmt::Write as _;

/// The knobs of any such product with every default filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    shape: Shape,
    slices: u32,
    /// Words of a row in one slice.
    slice_words: u32,
    pub(super) reduce: Reduce,
    pub(super) unroll: bool,
    batch: u32,
    /// The most subgroups that a workgroup can have.
    subgroups: u32,
    largest_subgroup: u32,
    /// Whether the loop over words has one test each: a tenth faster on NVIDIA's devices.
    tests_last: bool,
}

/// What a kernel adds: the rest of its shader, and what that needs.
pub(super) struct Kernel {
    pub(super) name: &'static str,
    pub(super) variant: &'static str,
    pub(super) bits: u8,
    pub(super) parts: Vec<Part>,
    pub(super) f16: bool,
    /// Bytes of tables in workgroup memory.
    pub(super) table_bytes: u32,
}

impl Frame {
    /// What the knobs say, or `shape`.
    pub(super) fn new(
        kernel: &str,
        layout: &BitplaneLayout,
        batch: u32,
        shape: Shape,
        caps: &Caps,
        knobs: &Knobs,
    ) -> Result<Self> {
        let shape = shape.or(kernel, caps, knobs, &[2, 4, 8])?;
        let (slices, slice_words) = slices(kernel, layout, knobs)?;
        let default = if caps.subgroups { Reduce::Subgroup } else { Reduce::Workgroup };
        Ok(Self {
            shape,
            slices,
            slice_words,
            reduce: knobs.reduce.unwrap_or(default),
            unroll: knobs.unroll.unwrap_or(true),
            batch,
            subgroups: shape.workgroup.div_ceil(caps.subgroup_min.max(1)),
            largest_subgroup: caps.subgroup_max,
            tests_last: caps.vendor == Caps::NVIDIA,
        })
    }

    /// Whether the device can add up so.
    pub(super) fn check_reduce(&self, kernel: &str, caps: &Caps) -> Result<()> {
        if self.reduce != Reduce::Workgroup && !caps.subgroups {
            return Err(Error::unsupported(kernel, "the device has no subgroup operations"));
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
                return Err(Error::unsupported(kernel, why));
            }
        }
        Ok(())
    }

    fn sums(&self) -> u32 {
        self.shape.rows * self.batch
    }

    /// Matrix rows of a workgroup.
    pub(super) fn rows(&self) -> u32 {
        self.shape.rows
    }

    /// How a kernel computes the product.
    pub(super) fn form(&self, kernel: Kernel) -> Form {
        let slots = match self.reduce {
            Reduce::Workgroup => self.shape.workgroup,
            Reduce::Subgroup | Reduce::Scatter => self.subgroups,
        };
        let needs = Needs {
            f16: kernel.f16,
            subgroups: self.reduce != Reduce::Workgroup,
            workgroup_bytes: kernel.table_bytes + self.sums() * slots * 4,
            invocations: self.shape.workgroup,
            ..Needs::default()
        };
        let mut shader = self.shape.shader(kernel.name, kernel.bits, kernel.parts);
        let preamble = &mut shader.preamble;
        let _ = writeln!(preamble, "const SUMS: u32 = {}u;", self.sums());
        let _ = writeln!(preamble, "const SLICES: u32 = {}u;", self.slices);
        if self.batch > 1 || self.slices > 1 {
            let _ = writeln!(preamble, "const BATCH: u32 = {}u;", self.batch);
        }
        if self.reduce != Reduce::Workgroup {
            let _ = writeln!(preamble, "const SUBGROUPS: u32 = {}u;", self.subgroups);
        }
        if self.reduce == Reduce::Scatter {
            let _ = writeln!(preamble, "const LARGEST_SUBGROUP: u32 = {}u;", self.largest_subgroup);
        }
        Form {
            variant: kernel.variant,
            shader,
            needs,
            workgroup: self.shape.workgroup,
            rows: self.shape.rows,
            tiles: 1,
            slices: self.slices,
            slice_words: self.slice_words,
            batch: 0,
        }
    }

    /// Whether products are rounded to f16 by the kernel itself, which needs `lib/half.wgsl`.
    pub(super) fn stores_halves(&self, activation: Activation) -> bool {
        activation == Activation::F16 && self.slices == 1
    }

    /// The part that adds up over a workgroup.
    pub(super) fn reduce_part(&self) -> Part {
        match self.reduce {
            Reduce::Workgroup => part!("lib/reduce_workgroup.wgsl"),
            Reduce::Subgroup => part!("lib/reduce_subgroup.wgsl"),
            Reduce::Scatter => part!("lib/reduce_scatter.wgsl"),
        }
    }

    /// The part that takes a word of every row.
    pub(super) fn rows_part(&self) -> Part {
        match (self.batch, self.unroll, self.shape.rows) {
            (1, true, 2) => part!("linear/rows_2.wgsl"),
            (1, true, 4) => part!("linear/rows_4.wgsl"),
            (1, true, 8) => part!("linear/rows_8.wgsl"),
            (1, ..) => part!("linear/rows_loop.wgsl"),
            (_, true, 2) => part!("linear/rows_batch_2.wgsl"),
            (_, true, 4) => part!("linear/rows_batch_4.wgsl"),
            (_, true, 8) => part!("linear/rows_batch_8.wgsl"),
            _ => part!("linear/rows_batch_loop.wgsl"),
        }
    }

    /// The parts that store the products, and the one that computes them, which the kernel's own
    /// file follows.
    pub(super) fn output_parts(&self, activation: Activation) -> Vec<Part> {
        let mut parts = match (self.slices > 1, activation) {
            (true, _) => vec![part!("linear/output_partial.wgsl")],
            (_, Activation::F32) => {
                vec![part!("linear/bias.wgsl"), part!("linear/output_f32.wgsl")]
            }
            (_, Activation::F16) => {
                vec![part!("linear/bias.wgsl"), part!("linear/output_f16.wgsl")]
            }
        };
        parts.push(match self.tests_last {
            true => part!("linear/multiply_rows.wgsl"),
            false => part!("linear/multiply_rows_tested_first.wgsl"),
        });
        parts
    }
}
