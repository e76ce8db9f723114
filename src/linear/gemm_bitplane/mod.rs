//! `gemm_bitplane`: any number of vectors times any-precision weights, decoded in the tile.
//!
//! `Y = X W_b^T + bias`, where `W_b` is the `b`-bit model inside a stored parent: the first `b`
//! planes and the tables of width `b` are all that is read. Shapes: `x [batch, cols]`,
//! `y [batch, y_stride]`, both f32 or both f16; bias `[rows]`, f32. Products and sums are f32. It
//! takes any batch; for a few vectors see [`super::gemv_bitplane`].
//!
//! | binding | tensor | contents |
//! |---|---|---|
//! | 0 | params | 12 words, see `shaders/linear/bitplane_weights.wgsl` |
//! | 1 | planes | the first `bits` planes of a piece, [`BitplaneLayout::plane_piece`] |
//! | 2 | tables | one width of a piece, [`BitplaneLayout::table_piece`] |
//! | 3 | bias | f32, or absent |
//! | 4 | x | f32, or f16 in pairs |
//! | 5 | y | f32, or f16 in pairs |
//! | 6 | partials | scratch `[slices, batch, y_stride]` of f32, where the columns are sliced |
//!
//! **What it costs.** A workgroup computes a tile of `rows` matrix rows and 16, 32 or 64 vectors (the
//! fewest that hold the batch, at most `rows`); call them V. `2 batch rows cols` flops go with
//! `rows cols bits / 8` bytes of planes, the tables, `x` and `y` once: with more than a few tens of
//! vectors arithmetic is the bound. Each weight is decoded `ceil(batch / V)` times, and `x` is read
//! once for every tile of rows, from the cache where it fits.
//!
//! **How large.** `x` and `y` are bound whole and have to fit a binding each
//! ([`Caps::bindable_bytes`], 128 MiB by WebGPU's default limits); a larger batch is refused, and has
//! to be multiplied in parts by its owner.
//!
//! **Order of sums.** Every product is a chain of fused multiply-adds in f32; columns that are
//! padding add 0. With slices it is a chain for each slice and the sum of those in their order, with
//! [`Lookup::Pair`] the columns are taken in another order. A choice of knobs fixes the order, so its
//! results repeat bit by bit.
//!
//! Knobs: `workgroup`, `rows` (32, 64, 128), `lookup`, `slices`, `masks`. The lanes are 1, 2 or 4
//! for each row, and each holds 16, 32 or 64 of the tile's products. With several slices a launch
//! of [`super::sum_slices`] follows, which takes the place of bindings 3 and 5; that needs scratch
//! memory. Defaults: 64 rows; 64 lanes up to 32 vectors, else 128; tables in workgroup memory as
//! f32, or as f16 where the device has f16 arithmetic, as long as all of it fits 16 KiB, else in
//! storage memory; one slice.
//!
//! Variants are named by lookup, `baseline` being single lookups and `baseline storage` those that
//! fit anywhere: no feature, default limits. `matrix` in place of `baseline`, the default for tables
//! and activations of f16 where [`Caps::has_matrices`], decodes the tile to f16 and multiplies it by
//! cooperative matrices of 16 x 16 with sums of f32, in whatever order the device adds sixteen
//! columns. It has been proved on an H100 (`docs/matmul_h100.md` has its times); no test of CI runs it,
//! for no software adapter has matrices. It is for Vulkan: naga has no 16 x 8 matrices, which some devices list instead; on Metal
//! wgpu lists 8 x 8 only, so the MSL that naga writes is not used; HLSL is not written. Its workgroups
//! are 2 or 4 lanes for each row (128 for 64 rows by default); knob `matrix` turns it off or insists
//! on it. Source: "Any-Precision LLM", arXiv 2402.10517; the kernels are our own.

mod choice;
mod reference;

pub use reference::{Product, reference};

use super::tile::Tile;
use super::{Activation, BitplaneLayout, product};
use crate::Result;
use crate::launch::{Caps, Knobs, Launch, Lookup, Masks, Spec};

/// The kernel's name.
pub const NAME: &str = "gemm_bitplane";

/// Number of the bias binding.
pub const BIAS: u32 = product::BIAS;
/// Number of the activations' binding.
pub const X: u32 = product::X;
/// Number of the product's binding.
pub const Y: u32 = product::Y;
/// Number of the binding of partial sums.
pub const PARTIALS: u32 = product::PARTIALS;

/// One product, described.
#[derive(Debug, Clone, PartialEq)]
pub struct GemmBitplane {
    /// The weights as they lie on the device.
    pub layout: BitplaneLayout,
    /// Width to multiply at.
    pub bits: u8,
    /// Activation vectors; 0 does nothing.
    pub batch: usize,
    /// Element type of `x` and `y`.
    pub activation: Activation,
    /// Whether to add the layer's bias.
    pub bias: bool,
}

impl GemmBitplane {
    /// `batch` vectors of f32 activations; the bias is added where the layer has one.
    pub fn new(layout: BitplaneLayout, bits: u8, batch: usize) -> Self {
        let bias = layout.bias();
        Self { layout, bits, batch, activation: Activation::F32, bias }
    }

    /// Elements from vector to vector of `y`: the rows, for f16 rounded up to an even number so
    /// that vectors start at whole words. The padding element is written as 0.
    pub fn y_stride(&self) -> usize {
        product::stride(self.layout.rows(), self.activation)
    }

    /// Elements of `y`: the rows of one vector, or `batch x y_stride`.
    pub fn y_len(&self) -> usize {
        product::y_len(self.layout.rows(), self.batch, self.activation)
    }

    /// Elements of `x`.
    pub fn x_len(&self) -> usize {
        self.layout.cols().saturating_mul(self.batch)
    }

    /// Whether weights and bias are those of the layer.
    pub(super) fn check(&self) -> Result<()> {
        self.product().check()
    }

    fn product(&self) -> product::Product<'_> {
        let Self { ref layout, bits, batch, activation, bias } = *self;
        product::Product { kernel: NAME, layout, bits, batch, activation, bias }
    }
}

impl Spec for GemmBitplane {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        self.check()?;
        if self.batch == 0 {
            return Ok(Vec::new());
        }
        self.product().launches(caps, &choice::Choice::new(self, caps, knobs)?.form(self))
    }

    fn candidates(&self, caps: &Caps) -> Vec<Knobs> {
        let mut all = vec![Knobs::DEFAULT];
        for shape in Tile::candidates(caps) {
            for lookup in [Lookup::Single, Lookup::Half, Lookup::Pair, Lookup::Storage] {
                for masks in [Masks::Constant, Masks::Hidden] {
                    all.push(Knobs { lookup: Some(lookup), masks: Some(masks), ..shape });
                }
            }
            // Few tiles leave most of a large device idle.
            if self.layout.rows() <= 8192 && self.batch <= 128 {
                for slices in [2, 4, 8] {
                    all.push(Knobs { slices: Some(slices), ..shape });
                }
            }
        }
        all
    }
}
