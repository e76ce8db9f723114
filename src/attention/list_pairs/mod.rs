//! `list_pairs`: lists of the rows that stay, from a mask of kept pairs.
//!
//! Of some heads of one layer, which are rows of the mask of [`select_pairs`](super::select_pairs): where
//! the context begins after `prefix` rows of the cache and is followed by `appended` more, head `h` keeps
//! rows `0 .. prefix`, row `prefix + p` of every pair `p` of the mask, and rows `prefix + n ..
//! prefix + n + appended`, ascending. That is what [`gather_kv`](super::gather_kv) reads, and
//! [`KeepLists`](super::KeepLists) on a host.
//!
//! | binding | tensor | contents |
//! |---|---|---|
//! | 0 | params | 8 words, see `shaders/attention/list_pairs.wgsl` |
//! | 3 | mask | `[rows][ceil(n / 32)]`, u32, of all layers |
//! | 4 | blocks | `[rows][ceil(n / 2048)]`, u32, of all layers: kept pairs of 2048 positions |
//! | 9 | first | `[heads + 1]`, u32: where each head's list begins and, last, the rows of all |
//! | 10 | rows | `[first[heads]]`, u32 |
//!
//! The numbers are those of `select_pairs`. A host knows the length of every list from the selection's
//! report. A workgroup has 2048 positions of a head, and adds up what is kept of those before it. Nothing
//! is written beyond the lists, whatever mask and counts say.
//!
//! One variant, `baseline`: no feature, default limits; no knobs. Source: the compaction of "KVzip", arXiv
//! 2505.23416, as this project does it.

mod reference;
#[cfg(test)]
mod tests;

pub use reference::reference;

use super::places::{largest, whole};
use super::select_pairs::BLOCK;
use crate::launch::{
    Access, Binding, Caps, Knobs, Launch, Needs, Shader, Spec, Traffic, linear_grid, part,
};
use crate::{Error, Result};

/// The kernel's name.
pub const NAME: &str = "list_pairs";

/// Number of the mask's binding.
pub const MASK: u32 = super::select_pairs::MASK;
/// Number of the binding of what is kept of each block.
pub const BLOCKS: u32 = super::select_pairs::BLOCKS;
/// Number of the binding of where lists begin.
pub const FIRST: u32 = 9;
/// Number of the lists' binding.
pub const ROWS: u32 = 10;

static BINDINGS: [Binding; 5] = [
    Binding::new(0, "params", Access::Uniform),
    Binding::new(MASK, "mask", Access::Read),
    Binding::new(BLOCKS, "blocks", Access::Read),
    Binding::new(FIRST, "first", Access::ReadWrite),
    Binding::new(ROWS, "rows", Access::ReadWrite),
];

/// Mirrors `Params` of the shader.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Params {
    n: u32,
    words: u32,
    row_blocks: u32,
    first_row: u32,
    heads: u32,
    prefix: u32,
    appended: u32,
    rows: u32,
}

/// The lists of some heads, described.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListPairs {
    /// Positions of the context.
    pub n: usize,
    /// Rows of the mask: heads of all layers.
    pub mask_rows: usize,
    /// The first of them that is listed.
    pub first_row: usize,
    /// How many.
    pub heads: usize,
    /// Rows of the cache before the context, which stay.
    pub prefix: u32,
    /// Rows of the cache after the context, which stay.
    pub appended: u32,
    /// Rows of all lists: the kept pairs of the heads, and `prefix + appended` more of each.
    pub rows: u32,
}

impl ListPairs {
    /// Words of the mask.
    pub fn mask_len(&self) -> usize {
        self.mask_rows.saturating_mul(self.n.div_ceil(32))
    }

    /// Words of the counts of blocks.
    pub fn blocks_len(&self) -> usize {
        self.mask_rows.saturating_mul(self.n.div_ceil(BLOCK))
    }

    fn check(&self) -> Result<()> {
        let least_one =
            [("positions", self.n), ("heads", self.heads), ("rows", self.rows as usize)];
        if let Some((what, _)) = least_one.iter().find(|(_, value)| *value == 0) {
            return Err(Error::range(format!("{what} of {NAME}"), "1..", 0));
        }
        let listed = self.first_row.saturating_add(self.heads);
        if listed > self.mask_rows {
            let limit = format!("0..={}, the rows of the mask", self.mask_rows);
            return Err(Error::range(format!("last row of {NAME}"), limit, listed));
        }
        let always = u64::from(self.prefix) + u64::from(self.appended);
        let length = self.n as u64 + always;
        let heads = self.heads as u64;
        let most = heads.saturating_mul(length);
        if !(heads.saturating_mul(always)..=most).contains(&self.rows.into()) {
            let limit = format!("{}..={most}", heads.saturating_mul(always));
            return Err(Error::range(format!("rows of all lists of {NAME}"), limit, self.rows));
        }
        if u32::try_from(length).is_err() {
            let limit = format!("0..={}", u32::MAX);
            return Err(Error::range(format!("rows of a head of {NAME}"), limit, length));
        }
        Ok(())
    }
}

impl Spec for ListPairs {
    fn kernel(&self) -> &'static str {
        NAME
    }

    /// # Errors
    /// [`Error::Range`] for sizes that cannot be, [`Error::BindingTooLarge`] naming the tensor.
    fn launches(&self, caps: &Caps, _knobs: &Knobs) -> Result<Vec<Launch>> {
        self.check()?;
        let blocks = self.heads as u64 * self.n.div_ceil(BLOCK) as u64;
        let of = |what: &str| format!("{what} of {NAME}");
        let operands = vec![
            whole(MASK, &of("mask"), self.mask_len() as u64, caps)?,
            whole(BLOCKS, &of("counts of blocks"), self.blocks_len() as u64, caps)?,
            whole(FIRST, &of("beginnings of lists"), self.heads as u64 + 1, caps)?,
            whole(ROWS, &of("lists"), self.rows.into(), caps)?,
        ];
        // What is bound has no more words than u32 counts.
        let params = Params {
            n: self.n as u32,
            words: self.n.div_ceil(32) as u32,
            row_blocks: self.n.div_ceil(BLOCK) as u32,
            first_row: self.first_row as u32,
            heads: self.heads as u32,
            prefix: self.prefix,
            appended: self.appended,
            rows: self.rows,
        };
        let needs = Needs {
            workgroup_bytes: 4 * (256 + 16),
            invocations: 256,
            storage_buffers: BINDINGS.len() as u32 - 1,
            binding_bytes: largest(&operands),
            ..Needs::default()
        };
        needs.check(NAME, caps)?;
        let mask = 4 * self.heads as u64 * self.n.div_ceil(32) as u64;
        Ok(vec![Launch {
            kernel: NAME,
            variant: "baseline",
            shader: Shader {
                entry: NAME,
                preamble: String::new(),
                parts: vec![part!("lib/scan_workgroup.wgsl"), part!("attention/list_pairs.wgsl")],
                constants: Vec::new(),
            },
            bindings: &BINDINGS,
            operands,
            params: bytemuck::bytes_of(&params).to_vec(),
            grid: linear_grid(NAME, blocks, caps.max_groups)?,
            scratch: Vec::new(),
            needs,
            traffic: Traffic {
                read_bytes: mask + 4 * blocks,
                write_bytes: 4 * (u64::from(self.rows) + self.heads as u64 + 1),
                flops: 0,
            },
        }])
    }
}
