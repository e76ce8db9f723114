//! `key_columns`: the keys of a cache turned into the columns of an index.
//!
//! Rows `from .. rows` of every head, as the [index map](super::sparse#index) says when the launch runs,
//! become elements of its columns: numbers are rounded to f16, to nearest and ties to even; then those below
//! 2^-14 in magnitude, and -0, are 0. A head with a number that is no finite f16 is flagged; flags that are
//! set stay. Words are written whole: the last one has 0 behind the last row, and where `from` is odd the row
//! before is made again.
//!
//! | binding | tensor | contents |
//! |---|---|---|
//! | 0 | params | 4 words, see `shaders/attention/key_columns.wgsl` |
//! | 2 | keys | `[rows, row_words]`, u32: [the format](super#rows) |
//! | 3, 5 | values, value_params | declared, and absent |
//! | 4 | key_params | `[rows]`, u32; of int8 and int4 only |
//! | 6 | schedule | u32: [`RowMap`](super::RowMap), without starts |
//! | 10 | index_map | `[H][8]`, u32: [`IndexMap`](super::sparse::IndexMap) |
//! | 11 | columns | f16 in pairs, as the index says |
//! | 15 | flags | `[H]`, u32: 1 where a key was not finite |
//!
//! [`Traffic`] is [`IndexSource::at_once`] rows of keys of every head, with their parameters, and as many
//! numbers of f16. One variant, `baseline`: 256 lanes for 64 rows and 64 columns, turned around in 8.25 KiB of
//! workgroup memory. No knobs. Source: keys by columns are those of "SparQ Attention", Ribar et al., ICML
//! 2024, arXiv 2312.04985.

mod reference;
#[cfg(test)]
mod tests;

pub use reference::{index_number, reference};

use super::ROW_MAP;
use super::decode::{KEY_PARAMS, KEYS, VALUE_PARAMS, VALUES};
use super::places::largest;
use super::sparse::{COLUMNS, FLAGS, INDEX_MAP, IndexSource};
use crate::Result;
use crate::launch::{
    Access, Binding, Caps, Knobs, Launch, Needs, Shader, Spec, Traffic, linear_grid, part,
};

/// The kernel's name.
pub const NAME: &str = "key_columns";

/// Rows, and columns, of a tile.
const TILE: u32 = 64;

/// Parameters are bound where rows have some; what is not is not declared either.
fn bindings(scaled: bool) -> &'static [Binding] {
    const P: Binding = Binding::new(0, "params", Access::Uniform);
    const K: Binding = Binding::new(KEYS, "keys", Access::Read);
    const V: Binding = Binding::new(VALUES, "values", Access::Read);
    const KP: Binding = Binding::new(KEY_PARAMS, "key_params", Access::Read);
    const VP: Binding = Binding::new(VALUE_PARAMS, "value_params", Access::Read);
    const S: Binding = Binding::new(ROW_MAP, "schedule", Access::Read);
    const M: Binding = Binding::new(INDEX_MAP, "index_map", Access::Read);
    const C: Binding = Binding::new(COLUMNS, "columns", Access::ReadWrite);
    const F: Binding = Binding::new(FLAGS, "flags", Access::ReadWrite);
    if scaled { &[P, K, V, KP, VP, S, M, C, F] } else { &[P, K, V, S, M, C, F] }
}

/// Mirrors `Params` of the shader.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Params {
    heads: u32,
    tiles: u32,
    page_rows: u32,
    pages: u32,
}

/// The columns of new rows, described.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyColumns(pub IndexSource);

impl KeyColumns {
    fn traffic(&self) -> Traffic {
        let IndexSource { shape, index, at_once, .. } = &self.0;
        let rows = u64::from(index.heads) * u64::from(*at_once);
        Traffic {
            read_bytes: rows * 4 * (shape.row_words() + shape.row_params()) as u64,
            write_bytes: rows * 2 * u64::from(index.dim),
            flops: 0,
        }
    }
}

impl Spec for KeyColumns {
    fn kernel(&self) -> &'static str {
        NAME
    }

    /// # Errors
    /// [`Error::Range`](crate::Error::Range) and [`Error::Shape`](crate::Error::Shape) for an index, a cache
    /// and a row map that do not fit each other, [`Error::BindingTooLarge`](crate::Error::BindingTooLarge)
    /// naming the tensor.
    fn launches(&self, caps: &Caps, _knobs: &Knobs) -> Result<Vec<Launch>> {
        self.0.check()?;
        let IndexSource { shape, map, index, at_once, .. } = &self.0;
        let bindings = bindings(shape.element().scaled());
        let operands = self.0.operands(bindings, false, caps)?;
        let [_, pages] = map.places()?;
        let (heads, tiles) = (index.heads, at_once.div_ceil(TILE));
        let params = Params { heads, tiles, page_rows: map.page_rows, pages };
        let needs = Needs {
            workgroup_bytes: 4 * TILE * (TILE / 2 + 1),
            invocations: 256,
            storage_buffers: bindings.len() as u32 - 1,
            binding_bytes: largest(&operands),
            ..Needs::default()
        };
        needs.check(NAME, caps)?;
        let groups = [heads, tiles, index.dim.div_ceil(TILE)].map(u64::from).iter().product();
        let mut parts = self.0.parts();
        parts.extend([part!("lib/half.wgsl"), part!("attention/key_columns.wgsl")]);
        Ok(vec![Launch {
            kernel: NAME,
            variant: "baseline",
            shader: Shader {
                entry: NAME,
                preamble: self.0.preamble(),
                parts,
                constants: Vec::new(),
            },
            bindings,
            operands,
            params: bytemuck::bytes_of(&params).to_vec(),
            grid: linear_grid(NAME, groups, caps.max_groups)?,
            scratch: Vec::new(),
            needs,
            traffic: self.traffic(),
        }])
    }
}
