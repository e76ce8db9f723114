//! `hessian_update`: adds tokens to the sums of a layer's Hessians.
//!
//! `H_k += X^T diag(s_k) X` for every group `k`, the upper triangles only. Shapes: `x [tokens,
//! inputs]`, f32 or f16; `s [tokens, groups]`, f32, or absent for 1 throughout; the sums as
//! [`HessianLayout`] says, f32. Products and sums are f32. There is no variant for `x` of bf16: it has
//! to be widened to f32, which is exact, before.
//!
//! | binding | tensor | contents |
//! |---|---|---|
//! | 0 | params | 8 words, see `shaders/linear/hessian_update.wgsl` |
//! | 1 | x | f32, or f16 in pairs |
//! | 2 | s | f32; no such binding without weights |
//! | 3 | sums | the tiles of a piece, read and written |
//!
//! **What it costs.** What must be done is `groups * inputs * (inputs + 1) * tokens` flops with `x`, `s`
//! and the sums on and above the diagonal read once and these sums written once: that is what
//! [`Traffic`] counts, however the batch is cut. A workgroup adds to one tile of 64 x 64 sums, whole
//! ones on the diagonal and at the edge too, which read `x` once for each row and column of tiles, from
//! the cache where it fits; sums are read and written once for each cut of the tokens. A few hundred
//! tokens at a time make arithmetic the bound.
//!
//! **Order of sums.** Each sum is one chain of fused multiply-adds over the launch's tokens in
//! their order, added to what was there: results repeat bit by bit. Tokens and sums larger than a
//! binding are cut into several launches, tokens at multiples of 128.
//!
//! Knobs: `workgroup` (64, 128, 256), of which each lane holds 64, 32 or 16 sums. One variant,
//! `baseline`: no feature, default limits. Source of the weights: "GuidedQuant", arXiv 2505.07004.

mod layout;
mod reference;

pub use layout::HessianLayout;
pub use reference::{Updated, reference};

use super::Activation;
use super::bitplane::{count, largest};
use super::tile::Tile;
use crate::launch::{
    Access, Binding, Caps, Knobs, Launch, Needs, Operand, Part, Shader, Spec, Traffic, linear_grid,
    part, shard_rows,
};
use crate::{Error, Result};
use layout::SIDE;
use std::ops::Range;

/// The kernel's name.
pub const NAME: &str = "hessian_update";

/// Number of the inputs' binding.
pub const X: u32 = 1;
/// Number of the sensitivities' binding.
pub const S: u32 = 2;
/// Number of the sums' binding.
pub const SUMS: u32 = 3;

static WEIGHTED: [Binding; 4] = [
    Binding::new(0, "params", Access::Uniform),
    Binding::new(X, "x", Access::Read),
    Binding::new(S, "s", Access::Read),
    Binding::new(SUMS, "sums", Access::ReadWrite),
];

static ALIKE: [Binding; 3] = [
    Binding::new(0, "params", Access::Uniform),
    Binding::new(X, "x", Access::Read),
    Binding::new(SUMS, "sums", Access::ReadWrite),
];

/// Mirrors `Params` of the shader.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Params {
    inputs: u32,
    groups: u32,
    tokens: u32,
    across: u32,
    first: u32,
    tiles: u32,
    unused: [u32; 2],
}

/// One batch of tokens, described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HessianUpdate {
    /// The sums as they lie on the device.
    pub layout: HessianLayout,
    /// Tokens to add; 0 does nothing.
    pub tokens: usize,
    /// Element type of `x`.
    pub activation: Activation,
    /// Whether tokens are weighted by `s`.
    pub weighted: bool,
}

impl HessianUpdate {
    /// `tokens` weighted tokens of f32.
    pub fn new(layout: HessianLayout, tokens: usize) -> Self {
        Self { layout, tokens, activation: Activation::F32, weighted: true }
    }

    /// Elements of `x`.
    pub fn x_len(&self) -> usize {
        self.layout.inputs().saturating_mul(self.tokens)
    }

    /// Elements of `s`; 0 where tokens are not weighted.
    pub fn s_len(&self) -> usize {
        if self.weighted { self.layout.groups().saturating_mul(self.tokens) } else { 0 }
    }

    /// Bytes of one token of `x` and of `s`.
    fn token_bytes(&self) -> [u64; 2] {
        let each = self.activation.bytes() as u64;
        let s = if self.weighted { 4 * self.layout.groups() as u64 } else { 0 };
        [each.saturating_mul(self.layout.inputs() as u64), s]
    }

    fn launch(
        &self,
        caps: &Caps,
        tile: Tile,
        tokens: &Range<usize>,
        (at, piece): (usize, &Range<usize>),
    ) -> Result<Launch> {
        let (inputs, groups) = (self.layout.inputs(), self.layout.groups());
        let [x_bytes, s_bytes] = self.token_bytes();
        let (start, n) = (tokens.start as u64, tokens.len() as u64);
        let span = |binding, each: u64| {
            // Binding sizes are whole words; an odd number of f16 ends within one.
            let bytes = (each * n).next_multiple_of(4);
            Operand { binding, piece: 0, offset: each * start, bytes }
        };
        let mut operands = vec![span(X, x_bytes)];
        if self.weighted {
            operands.push(span(S, s_bytes));
        }
        let sums = 4 * self.layout.piece_len(piece) as u64;
        operands.push(Operand {
            binding: SUMS,
            piece: count("pieces", at)?,
            offset: 0,
            bytes: sums,
        });
        let params = Params {
            inputs: count("inputs", inputs)?,
            groups: count("groups", groups)?,
            tokens: count("tokens", tokens.len())?,
            across: count("tiles", self.layout.across())?,
            first: count("tiles", piece.start)?,
            tiles: count("tiles", piece.len())?,
            unused: [0; 2],
        };
        let bindings: &[Binding] = if self.weighted { &WEIGHTED } else { &ALIKE };
        let needs = Needs {
            storage_buffers: bindings.len() as u32 - 1,
            binding_bytes: largest(&operands),
            ..tile.needs()
        };
        needs.check(NAME, caps)?;
        let numbers = self.layout.numbers(piece);
        // All pieces need the same tokens, and all cuts of tokens the same sums.
        let batch = if at == 0 { (x_bytes + s_bytes) * n } else { 0 };
        let before = if tokens.start == 0 { 4 * numbers } else { 0 };
        Ok(Launch {
            kernel: NAME,
            variant: "baseline",
            shader: self.shader(tile),
            bindings,
            operands,
            params: bytemuck::bytes_of(&params).to_vec(),
            grid: linear_grid(NAME, piece.len() as u64, caps.max_groups)?,
            scratch: Vec::new(),
            needs,
            traffic: Traffic {
                read_bytes: before + batch,
                write_bytes: before,
                flops: 2 * n * numbers,
            },
        })
    }

    fn shader(&self, tile: Tile) -> Shader {
        let mut parts: Vec<Part> = tile.parts().to_vec();
        parts.push(match self.activation {
            Activation::F32 => part!("linear/inputs_f32.wgsl"),
            Activation::F16 => part!("linear/inputs_f16.wgsl"),
        });
        parts.push(match self.weighted {
            true => part!("linear/tokens_weighted.wgsl"),
            false => part!("linear/tokens_alike.wgsl"),
        });
        parts.push(part!("linear/tile_output_add.wgsl"));
        parts.push(part!("linear/hessian_update.wgsl"));
        Shader {
            entry: NAME,
            preamble: format!("const ROWS: u32 = {SIDE}u;\n{}", tile.preamble()),
            parts,
            constants: vec![("WORKGROUP", tile.workgroup().into())],
        }
    }
}

impl Spec for HessianUpdate {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        if let Some(piece) = self.layout.pieces().next() {
            let (bytes, limit) = (4 * self.layout.piece_len(&piece) as u64, caps.bindable_bytes());
            if bytes > limit {
                return Err(Error::BindingTooLarge { what: "sums".to_owned(), bytes, limit });
            }
        }
        if self.tokens == 0 {
            return Ok(Vec::new());
        }
        let square = Knobs { workgroup: knobs.workgroup, ..Knobs::DEFAULT };
        let tile =
            Tile::new(NAME, caps, &Knobs { rows: Some(SIDE as u32), ..square }, SIDE, false)?;
        let [x_bytes, s_bytes] = self.token_bytes();
        let limit = caps.bindable_bytes();
        let most = shard_rows("x", self.tokens, x_bytes, 0, limit)?.min(shard_rows(
            "s",
            self.tokens,
            s_bytes,
            0,
            limit,
        )?);
        let mut launches = Vec::new();
        for start in (0..self.tokens).step_by(most) {
            let tokens = start..self.tokens.min(start + most);
            for piece in self.layout.pieces().enumerate() {
                launches.push(self.launch(caps, tile, &tokens, (piece.0, &piece.1))?);
            }
        }
        Ok(launches)
    }

    fn candidates(&self, _caps: &Caps) -> Vec<Knobs> {
        let lanes = [64, 256].map(|lanes| Knobs { workgroup: Some(lanes), ..Knobs::DEFAULT });
        [vec![Knobs::DEFAULT], lanes.to_vec()].concat()
    }
}
