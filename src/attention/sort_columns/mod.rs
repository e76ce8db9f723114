//! `sort_columns`: sorted runs of the columns of an index.
//!
//! Rows `from .. rows` of every column, as the [index map](super::sparse#index) says when the launch runs, are
//! put in order by [`RUN`] at a time: run `i` is rows `from + i RUN .. min(from + (i + 1) RUN, rows)`, at the
//! same elements of `sorted` and `order`, ascending and equal numbers by their rows. `from` has to be even.
//! Behind an odd number of rows a word's other half is 0. [`merge_columns`](super::merge_columns) makes one
//! run of many.
//!
//! | binding | tensor | contents |
//! |---|---|---|
//! | 0 | params | 4 words, see `shaders/attention/sort_columns.wgsl` |
//! | 10 | index_map | `[H][8]`, u32: [`IndexMap`](super::sparse::IndexMap) |
//! | 11 | columns | f16 in pairs |
//! | 12, 13 | sorted_out, order_out | f16 in pairs; u16 in pairs or u32: the index's |
//! | 28, 29 | the same | in place of these, for [`SortedPair::Other`] |
//!
//! The one number that is none comes last. [`Traffic`] is [`SortColumns::at_once`] rows of every head. One
//! variant, `baseline`: 256 lanes and a bitonic network over keys of 16 bits and places of 11 in 8 KiB of workgroup
//! memory. No knobs. Source: sorted columns are those of "A^3", Ham et al., HPCA 2020, arXiv 2002.10941; the
//! network is Batcher's, "Sorting networks and their applications", 1968.

mod reference;
#[cfg(test)]
mod tests;

pub use reference::{SortedColumns, reference};

use super::places::largest;
use super::sparse::{COLUMNS, INDEX_MAP_READ as M, IndexShape, SortedPair};
use crate::Result;
use crate::launch::{
    Access, Binding, Caps, Knobs, Launch, Needs, Shader, Spec, Traffic, linear_grid, part,
};

/// The kernel's name.
pub const NAME: &str = "sort_columns";

/// Elements of a run, but of the last.
pub const RUN: u32 = 2048;

const P: Binding = Binding::new(0, "params", Access::Uniform);
const C: Binding = Binding::new(COLUMNS, "columns", Access::Read);

fn bindings(to: SortedPair) -> &'static [Binding] {
    const fn of(to: SortedPair) -> [Binding; 5] {
        let [sorted, order] = to.written();
        [P, M, C, sorted, order]
    }
    const INDEX: [Binding; 5] = of(SortedPair::Index);
    const OTHER: [Binding; 5] = of(SortedPair::Other);
    match to {
        SortedPair::Index => &INDEX,
        SortedPair::Other => &OTHER,
    }
}

/// Mirrors `Params` of the shader.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Params {
    heads: u32,
    dim: u32,
    runs: u32,
    unused: u32,
}

/// Sorted runs of new rows, described.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SortColumns {
    /// The index.
    pub index: IndexShape,
    /// New rows of a head that there are workgroups for; more take turns, and come out right.
    pub at_once: u32,
    /// Where runs go.
    pub to: SortedPair,
}

impl Spec for SortColumns {
    fn kernel(&self) -> &'static str {
        NAME
    }

    /// # Errors
    /// [`Error::Range`](crate::Error::Range) for no rows at once or more than there is room for,
    /// [`Error::BindingTooLarge`](crate::Error::BindingTooLarge) naming the tensor.
    fn launches(&self, caps: &Caps, _knobs: &Knobs) -> Result<Vec<Launch>> {
        let Self { index, at_once, to } = self;
        index.check_at_once(*at_once)?;
        let bindings = bindings(*to);
        let operands = index.sorted_operands(bindings, caps)?;
        let runs = at_once.div_ceil(RUN);
        let params = Params { heads: index.heads, dim: index.dim, runs, unused: 0 };
        let needs = Needs {
            workgroup_bytes: 4 * RUN,
            invocations: 256,
            storage_buffers: bindings.len() as u32 - 1,
            binding_bytes: largest(&operands),
            ..Needs::default()
        };
        needs.check(NAME, caps)?;
        let mut parts = index.sorted_parts();
        parts.push(part!("attention/sort_columns.wgsl"));
        let numbers = index.column_count() * u64::from(*at_once);
        let preamble = to.preamble(false);
        Ok(vec![Launch {
            kernel: NAME,
            variant: "baseline",
            shader: Shader { entry: NAME, preamble, parts, constants: Vec::new() },
            bindings,
            operands,
            params: bytemuck::bytes_of(&params).to_vec(),
            grid: linear_grid(NAME, index.column_count() * u64::from(runs), caps.max_groups)?,
            scratch: Vec::new(),
            needs,
            traffic: Traffic {
                read_bytes: 2 * numbers,
                write_bytes: index.sorted_bytes() * numbers,
                flops: 0,
            },
        }])
    }
}
