//! `row_sums`: sums of keys, of their squares and of values over the rows of an index.
//!
//! Those over rows `from .. rows` of every head, as the [index map](super::sparse#index) says when the launch
//! runs, are added to what is there of rows `0 .. from`; where `from` is 0 that does not matter. Numbers are
//! the cache's, not rounded to f16. One that is not finite makes its column's sums so.
//!
//! | binding | tensor | contents |
//! |---|---|---|
//! | 0 | params | 4 words, see `shaders/attention/row_sums/params.wgsl` |
//! | 2, 3 | keys, values | `[rows, row_words]`, u32: [the format](super#rows) |
//! | 4, 5 | key_params, value_params | `[rows]`, u32; of int8 and int4 only |
//! | 6 | schedule | u32: [`RowMap`](super::RowMap), without starts |
//! | 10 | index_map | `[H][8]`, u32: [`IndexMap`](super::sparse::IndexMap) |
//! | 14 | sums | `[H][3][D]`, f32: of keys, of squares, of values |
//! | 24 | parts | `[H][blocks][3][D]`, f32, scratch |
//!
//! # Arithmetic
//! All is f32, in an order that sizes alone decide: results repeat bit by bit. The new rows are cut into up to
//! 64 blocks, the rows of a block among lanes, and a lane's rows into runs of 32. So no number goes through
//! more than [`depth`] additions, and a sum is off by at most `depth 2^-23` times the sum of magnitudes: for
//! a million rows of 128 numbers, 169 additions and 2.0e-5. Every extension of an index adds one.
//!
//! [`Traffic`] is [`IndexSource::at_once`] rows of keys and values of every head, with their parameters, and
//! three operations a number of keys and one of values. One variant, `baseline`, of two launches: a workgroup
//! of 256 lanes for a block, then a lane for four numbers of `sums`. No knobs. Source: means
//! stand for what is not read as in "SparQ Attention", Ribar et al., ICML 2024, arXiv 2312.04985; variances,
//! and sums that grow, are this project's.

mod reference;
#[cfg(test)]
mod tests;

pub use reference::{Sums, reference};

use super::ROW_MAP;
use super::decode::{KEY_PARAMS, KEYS, VALUE_PARAMS, VALUES};
use super::places::largest;
use super::sparse::{INDEX_MAP, IndexSource, SUMS};
use crate::launch::{
    Access, Binding, Caps, Knobs, Launch, Needs, Part, Scratch, Shader, Spec, Traffic, linear_grid,
    part,
};
use crate::{Error, Result};

/// The kernel's name.
pub const NAME: &str = "row_sums";
/// Number of the binding of sums of blocks, which are scratch memory.
pub const PARTS: u32 = 24;

/// Most blocks of a head, and rows of each before there are more.
const BLOCKS: u32 = 64;
const BLOCK: u32 = 64;
/// Lanes of a block, and rows that one adds up at a time.
const LANES: u32 = 256;
const RUN: u32 = 32;

const P: Binding = Binding::new(0, "params", Access::Uniform);
const M: Binding = Binding::new(INDEX_MAP, "index_map", Access::Read);
const T: Binding = Binding::new(PARTS, "parts", Access::ReadWrite);

static TOTAL: [Binding; 4] = [P, M, Binding::new(SUMS, "sums", Access::ReadWrite), T];

/// Parameters are bound where rows have some; what is not is not declared either.
fn bindings(scaled: bool) -> &'static [Binding] {
    const K: Binding = Binding::new(KEYS, "keys", Access::Read);
    const V: Binding = Binding::new(VALUES, "values", Access::Read);
    const KP: Binding = Binding::new(KEY_PARAMS, "key_params", Access::Read);
    const VP: Binding = Binding::new(VALUE_PARAMS, "value_params", Access::Read);
    const S: Binding = Binding::new(ROW_MAP, "schedule", Access::Read);
    if scaled { &[P, K, V, KP, VP, S, M, T] } else { &[P, K, V, S, M, T] }
}

/// Mirrors `Params` of the shader.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Params {
    heads: u32,
    blocks: u32,
    page_rows: u32,
    pages: u32,
}

/// Sums over new rows, described.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RowSums(pub IndexSource);

/// Most additions that a number goes through, of so many new rows of a head.
pub fn depth(source: &IndexSource, rows: u32) -> u32 {
    let (blocks, lanes) = (blocks(source), LANES / (source.index.dim / 4).max(1));
    let of_lane = rows.div_ceil(blocks).div_ceil(lanes.max(1));
    RUN.min(of_lane) + of_lane.div_ceil(RUN) + lanes + blocks + 1
}

fn blocks(source: &IndexSource) -> u32 {
    source.at_once.div_ceil(BLOCK).clamp(1, BLOCKS)
}

impl RowSums {
    /// Bytes of scratch memory.
    fn parts(&self, caps: &Caps) -> Result<Scratch> {
        let blocks = u64::from(blocks(&self.0));
        let (bytes, limit) = (4 * self.0.index.sums_len() * blocks, caps.bindable_bytes());
        if bytes > limit {
            let what = format!("sums of blocks of {NAME}");
            return Err(Error::BindingTooLarge { what, bytes, limit });
        }
        Ok(Scratch { binding: PARTS, offset: 0, bytes })
    }

    fn launch(
        &self,
        bindings: &'static [Binding],
        parts: Vec<Part>,
        (groups, lanes, workgroup_bytes): (u64, u32, u32),
        caps: &Caps,
    ) -> Result<Launch> {
        let IndexSource { map, index, .. } = &self.0;
        let operands = self.0.operands(bindings, true, caps)?;
        let scratch = self.parts(caps)?;
        let needs = Needs {
            workgroup_bytes,
            invocations: lanes,
            storage_buffers: bindings.len() as u32 - 1,
            binding_bytes: largest(&operands).max(scratch.bytes),
            ..Needs::default()
        };
        needs.check(NAME, caps)?;
        let [_, pages] = map.places()?;
        let (heads, blocks) = (index.heads, blocks(&self.0));
        let params = Params { heads, blocks, page_rows: map.page_rows, pages };
        Ok(Launch {
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
            scratch: vec![scratch],
            needs,
            traffic: Traffic::default(),
        })
    }

    fn traffic(&self) -> Traffic {
        let IndexSource { shape, index, at_once, .. } = &self.0;
        let rows = u64::from(index.heads) * u64::from(*at_once);
        Traffic {
            read_bytes: rows * 8 * (shape.row_words() + shape.row_params()) as u64,
            write_bytes: 4 * index.sums_len(),
            flops: 4 * rows * u64::from(index.dim),
        }
    }
}

impl Spec for RowSums {
    fn kernel(&self) -> &'static str {
        NAME
    }

    /// Sums of blocks, and then of all.
    ///
    /// # Errors
    /// [`Error::Range`] and [`Error::Shape`] for an index, a cache and a row map that do not fit each other,
    /// [`Error::BindingTooLarge`] naming the tensor.
    fn launches(&self, caps: &Caps, _knobs: &Knobs) -> Result<Vec<Launch>> {
        self.0.check()?;
        let params = part!("attention/row_sums/params.wgsl");
        let entry = part!("attention/row_sums.wgsl");
        let mut parts = self.0.parts();
        parts.extend([params, part!("attention/row_sums/blocks.wgsl"), entry]);
        let groups = u64::from(self.0.index.heads) * u64::from(blocks(&self.0));
        let bindings = bindings(self.0.shape.element().scaled());
        let mut of_blocks = self.launch(bindings, parts, (groups, LANES, 16 * LANES), caps)?;
        of_blocks.traffic = self.traffic();
        let map = part!("attention/sparse/index_map.wgsl");
        let parts = vec![params, map, part!("attention/row_sums/total.wgsl"), entry];
        let groups = (self.0.index.sums_len() / 4).div_ceil(64);
        Ok(vec![of_blocks, self.launch(&TOTAL, parts, (groups, 64, 0), caps)?])
    }
}
