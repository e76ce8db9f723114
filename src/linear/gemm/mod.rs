//! `gemm`: any number of vectors times a dense matrix, each of which may be a block of a larger one.
//!
//! `Y = X W^T + bias`, or `Y += X W^T + bias`. Shapes: `w [rows, cols]`, `x [batch, cols]`,
//! `y [batch, rows]`, all row-major, each f32 or f16; bias `[rows]`, f32. Products and sums are f32.
//! Any of the three sizes may be 0 or odd.
//!
//! Each matrix is a [`Block`] of a tensor: it begins at any element and its rows are `stride`
//! elements apart, so a product can read and write some rows and columns of larger matrices, which
//! is what solvers that work by blocks need. Only the elements of `y` are written; what lies between
//! its rows stays as it is, save the padding of a [`Block::packed`] `y` of f16, which becomes 0.
//! `y` must lie in another buffer than `w` and `x`.
//!
//! | binding | tensor | contents |
//! |---|---|---|
//! | 0 | params | 16 words, see `shaders/linear/gemm/params.wgsl` |
//! | 1 | w | f32, or f16 in pairs |
//! | 3 | bias | f32, or absent |
//! | 4 | x | f32, or f16 in pairs |
//! | 5 | y | f32, or f16 in pairs |
//! | 6 | partials | scratch `[slices, batch, stride of y]` of f32, where the columns are sliced |
//!
//! `x` and `y` are bound from their first element to their last and have to fit a binding each. `w`
//! is cut by rows where it does not, a launch each; its tensor is one buffer. A batch whose `x` or `y`
//! is larger is refused: multiply blocks of its vectors one after another.
//!
//! **What it costs.** A workgroup computes a tile of `rows` rows of `w` and 16, 32 or 64 vectors
//! (the fewest that hold the batch, at most `rows`). `2 batch rows cols` flops go with each matrix
//! once: beyond a few tens of vectors arithmetic is the bound.
//!
//! **Order of sums.** Every product is one chain of fused multiply-adds in f32 in the order of the
//! columns, and `y` and the bias are added last: results repeat bit by bit.
//!
//! Knobs: `workgroup` and `rows` (32, 64, 128) as for [`super::gemm_bitplane`], `slices`. With
//! several slices a launch of [`super::sum_slices`] follows, which takes the place of bindings 3 and
//! 5 and needs scratch memory; `y` has to be packed then, and is not added to. Defaults: 64 rows; 64
//! lanes up to 32 vectors, else 128; one slice.
//!
//! Variants: `baseline`, which needs no feature and fits default limits, and `matrix`, the default
//! for `w` and `x` of f16 where [`Caps::has_matrices`]: cooperative matrices of 16 x 16 with sums of
//! f32, in whatever order the device adds sixteen columns. It has been proved on
//! an H100 (`docs/matmul_h100.md` has its times); no test of CI runs it, for no software adapter has
//! matrices. It is for Vulkan: naga has no
//! 16 x 8 matrices, which some devices list instead; on Metal wgpu lists 8 x 8 only, so the MSL that
//! naga writes is not used; HLSL is not written. Its workgroups are 2 or 4 lanes for each row; knob
//! `matrix` turns it off or insists on it. Where columns, strides and offsets are multiples of 8 (for
//! f32 4, but for the columns), elements are loaded by 16 bytes.

mod choice;
mod launches;
mod reference;

pub use reference::reference;

use super::tile::Tile;
use super::{Activation, product};
use crate::launch::{Caps, Knobs, Launch, Spec};
use crate::{Error, Result};

/// The kernel's name.
pub const NAME: &str = "gemm";

/// Number of the matrix's binding.
pub const W: u32 = 1;
/// Number of the bias binding.
pub const BIAS: u32 = product::BIAS;
/// Number of the activations' binding.
pub const X: u32 = product::X;
/// Number of the product's binding.
pub const Y: u32 = product::Y;
/// Number of the binding of partial sums.
pub const PARTIALS: u32 = product::PARTIALS;

/// Where a row-major matrix lies in its tensor, in elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Block {
    /// Element type of the tensor.
    pub element: Activation,
    /// The first element.
    pub offset: usize,
    /// Elements from row to row.
    pub stride: usize,
}

impl Block {
    /// A matrix with rows of `cols` elements that is all there is in its tensor; f16 rows start at
    /// whole words, as [`super::dequantize_bitplane`] and the products write them.
    pub fn packed(element: Activation, cols: usize) -> Self {
        Self { element, offset: 0, stride: product::stride(cols, element) }
    }

    /// A matrix that is all there is in its tensor, without padding between its rows.
    pub fn dense(element: Activation, cols: usize) -> Self {
        Self { element, offset: 0, stride: cols }
    }

    /// Elements that the tensor has at least when the matrix is `rows x cols`.
    pub fn len(&self, rows: usize, cols: usize) -> usize {
        if rows == 0 || cols == 0 {
            return 0;
        }
        self.stride.saturating_mul(rows - 1).saturating_add(self.offset).saturating_add(cols)
    }

    /// Whether the matrix fits numbers of elements, and its rows do not overlap.
    fn check(&self, name: &str, rows: usize, cols: usize) -> Result<()> {
        if self.stride < cols && rows > 1 {
            let limit = format!("{cols}.., the columns of {name}");
            return Err(Error::range(format!("stride of {name} of {NAME}"), limit, self.stride));
        }
        if self.len(rows, cols) == usize::MAX {
            let what = format!("elements of {name} of {NAME}");
            return Err(Error::range(what, format!("0..{}", usize::MAX), usize::MAX));
        }
        Ok(())
    }
}

/// One product, described.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Gemm {
    /// Vectors: rows of `x` and of `y`.
    pub batch: usize,
    /// Rows of `w`, columns of `y`.
    pub rows: usize,
    /// Columns of `w` and of `x`.
    pub cols: usize,
    /// The matrix.
    pub w: Block,
    /// The vectors.
    pub x: Block,
    /// The products; offset and stride of f16 are even.
    pub y: Block,
    /// Whether to add a bias.
    pub bias: bool,
    /// Whether to add to what `y` holds, which has to be f32.
    pub accumulate: bool,
}

impl Gemm {
    /// A product of matrices of f32 that are all there is in their tensors.
    pub fn new(batch: usize, rows: usize, cols: usize) -> Self {
        let dense = |cols| Block::dense(Activation::F32, cols);
        let (w, x, y) = (dense(cols), dense(cols), dense(rows));
        Self { batch, rows, cols, w, x, y, bias: false, accumulate: false }
    }

    /// Elements that the tensor of `w` has at least.
    pub fn w_len(&self) -> usize {
        self.w.len(self.rows, self.cols)
    }

    /// Elements that the tensor of `x` has at least.
    pub fn x_len(&self) -> usize {
        self.x.len(self.batch, self.cols)
    }

    /// Elements that the tensor of `y` has at least; the padding after the last row is none.
    pub fn y_len(&self) -> usize {
        self.y.len(self.batch, self.rows)
    }

    /// Whether `y` is all there is in its tensor, or one vector that whole words hold: then nothing
    /// is written beside it.
    fn owns_y(&self) -> bool {
        let packed = Block::packed(self.y.element, self.rows);
        let words = packed.stride == self.rows;
        self.y == packed || self.batch == 1 && self.y.offset == 0 && words
    }

    fn check(&self) -> Result<()> {
        self.w.check("w", self.rows, self.cols)?;
        self.x.check("x", self.batch, self.cols)?;
        self.y.check("y", self.batch, self.rows)?;
        if self.y.element == Activation::F16 {
            if self.accumulate {
                let what = format!("{NAME} that adds to y of f16");
                return Err(Error::unsupported(what, "y has to be f32"));
            }
            let strides = if self.batch > 1 { self.y.stride } else { 0 };
            for (name, value) in [("offset", self.y.offset), ("stride", strides)] {
                if !value.is_multiple_of(2) {
                    let what = format!("{name} of y of f16 of {NAME}");
                    return Err(Error::Alignment { what, multiple: 2, value: value as u64 });
                }
            }
        }
        Ok(())
    }
}

impl Spec for Gemm {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        self.check()?;
        if self.batch == 0 || self.rows == 0 {
            return Ok(Vec::new());
        }
        launches::launches(self, caps, &choice::Choice::new(self, caps, knobs)?)
    }

    fn candidates(&self, caps: &Caps) -> Vec<Knobs> {
        let mut all = vec![Knobs::DEFAULT];
        for shape in Tile::candidates(caps) {
            all.push(shape);
            // Few tiles leave most of a large device idle.
            if self.rows.saturating_mul(self.batch) <= 1 << 20 && self.owns_y() && !self.accumulate
            {
                all.extend([2, 4, 8].map(|slices| Knobs { slices: Some(slices), ..shape }));
            }
        }
        all
    }
}
