//! `merge_columns`: sorted runs of the columns of an index merged by twos.
//!
//! Rows are `from .. rows` of every column, as the [index map](super::sparse#index) says when the launch
//! runs; `from` has to be even. Runs of [`Runs::Wide`] are of so many rows, from `from` on, and the first is
//! merged with the second, the third with the fourth: half as many come out, of twice as many rows, as
//! [`sort_columns`](super::sort_columns) would have sorted them. One that is left over is copied. [`Runs::Joined`]
//! are two: that of rows `0 .. from` and that of rows `from .. rows`. [`Runs::All`] is one, which is copied.
//!
//! | binding | tensor | contents |
//! |---|---|---|
//! | 0 | params | 4 words, see `shaders/attention/merge_columns.wgsl` |
//! | 10 | index_map | `[H][8]`, u32: [`IndexMap`](super::sparse::IndexMap) |
//! | 12, 13 | `sorted` and `order` of the index | read for [`SortedPair::Other`], written for [`SortedPair::Index`] |
//! | 28, 29 | two more tensors like them | the other way round |
//!
//! Elements that are not of those rows stay as they are. [`Traffic`] is [`MergeColumns::at_once`] rows of
//! every head, read and written. One variant, `baseline`: 256 lanes for 1024 elements, whose places in the
//! runs they find 128 at a time. No knobs. Source: "Merge Path", Odeh et al., IPDPSW 2012, which says where
//! a merge of two runs can be cut.

#[cfg(test)]
mod tests;

use super::places::largest;
use super::sparse::{INDEX_MAP_READ as M, IndexShape, SortedPair};
use crate::launch::{
    Access, Binding, Caps, Knobs, Launch, Needs, Shader, Spec, Traffic, linear_grid, part,
};
use crate::{Error, Result};

/// The kernel's name.
pub const NAME: &str = "merge_columns";

/// Elements of a tile.
const TILE: u32 = 1024;
/// Most tiles of a column that there are workgroups for at a time: there are many columns.
const TILES: u32 = 32;

const P: Binding = Binding::new(0, "params", Access::Uniform);

fn bindings(to: SortedPair) -> &'static [Binding] {
    const fn of(to: SortedPair) -> [Binding; 6] {
        let ([out_sorted, out_order], [in_sorted, in_order]) = (to.written(), to.other().read());
        // By their numbers.
        match to {
            SortedPair::Index => [P, M, out_sorted, out_order, in_sorted, in_order],
            SortedPair::Other => [P, M, in_sorted, in_order, out_sorted, out_order],
        }
    }
    const INDEX: [Binding; 6] = of(SortedPair::Index);
    const OTHER: [Binding; 6] = of(SortedPair::Other);
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
    tiles: u32,
    width: u32,
}

/// What is merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Runs {
    /// Runs of so many new rows, a multiple of 512.
    Wide(u32),
    /// The rows before and the new ones.
    Joined,
    /// One run of all rows: it is copied.
    All,
}

/// Merged runs, described.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MergeColumns {
    /// The index.
    pub index: IndexShape,
    /// Rows of a head that come out and that there are workgroups for; more take turns, and come out right.
    pub at_once: u32,
    /// What is merged.
    pub runs: Runs,
    /// Where it goes; it comes from the other pair.
    pub to: SortedPair,
}

impl Spec for MergeColumns {
    fn kernel(&self) -> &'static str {
        NAME
    }

    /// # Errors
    /// [`Error::Range`] for no rows at once or more than there is room for and for a width that cannot be,
    /// [`Error::BindingTooLarge`] naming the tensor.
    fn launches(&self, caps: &Caps, _knobs: &Knobs) -> Result<Vec<Launch>> {
        let Self { index, at_once, runs, to } = self;
        index.check_at_once(*at_once)?;
        let width = match runs {
            // Two tiles of which make whole ones, and twice as many fit u32.
            Runs::Wide(width) if *width == 0 || width % 512 != 0 || *width >= 1 << 31 => {
                let limit = "multiples of 512 below 2^31";
                return Err(Error::range(format!("rows of a run of {NAME}"), limit, width));
            }
            Runs::Wide(width) => *width,
            Runs::Joined => 0,
            Runs::All => u32::MAX,
        };
        let bindings = bindings(*to);
        let operands = index.sorted_operands(bindings, caps)?;
        let tiles = at_once.div_ceil(TILE).min(TILES);
        let params = Params { heads: index.heads, dim: index.dim, tiles, width };
        let needs = Needs {
            workgroup_bytes: 4 * (2 * TILE + 10 + 2),
            invocations: 256,
            storage_buffers: bindings.len() as u32 - 1,
            binding_bytes: largest(&operands),
            ..Needs::default()
        };
        needs.check(NAME, caps)?;
        let mut parts = index.sorted_parts();
        parts.extend([index.order_part(), part!("attention/merge_columns.wgsl")]);
        let bytes = index.sorted_bytes() * index.column_count() * u64::from(*at_once);
        let preamble = to.preamble(true);
        Ok(vec![Launch {
            kernel: NAME,
            variant: "baseline",
            shader: Shader { entry: NAME, preamble, parts, constants: Vec::new() },
            bindings,
            operands,
            params: bytemuck::bytes_of(&params).to_vec(),
            grid: linear_grid(NAME, index.column_count() * u64::from(tiles), caps.max_groups)?,
            scratch: Vec::new(),
            needs,
            traffic: Traffic { read_bytes: bytes, write_bytes: bytes, flops: 0 },
        }])
    }
}
