//! `gemv_vector`: matrix times one vector, with weights in pairs.
//!
//! `y = W x + bias`, where a code of `n` bits stands for two neighbouring weights of a row, see
//! [`super::vector`]. Shapes: `x [cols]`, `y [rows]`, both f32 or both f16; bias `[rows]`, f32.
//! Products and sums are f32. One lookup yields two weights, so a code of `n` bits costs what one of
//! `n` bits costs in [`super::gemv_bitplane`], for twice the weights.
//!
//! | binding | tensor | contents |
//! |---|---|---|
//! | 0 | params | 12 words, see `shaders/linear/bitplane_weights.wgsl` |
//! | 1 | planes | the planes of a piece, [`VectorLayout::plane_piece`] |
//! | 2 | tables | the tables of a piece, [`VectorLayout::table_piece`] |
//! | 3 | bias | f32, or absent |
//! | 4 | x | f32, or f16 in pairs |
//! | 5 | y | f32, or f16 in pairs |
//! | 6 | partials | scratch `[slices, y_stride]` of f32, where the columns are sliced |
//!
//! Knobs: all of [`Knobs`] but `matrix` and `route`, which change nothing. A lookup finds two weights whatever the knob says: as f16 with
//! [`Lookup::Half`] (a table of 6-bit codes takes 256 bytes), as f32 with any other;
//! [`Lookup::Storage`] is refused. With several slices a launch of [`super::sum_slices`] follows, which
//! takes the place of bindings 3 and 5; that needs scratch memory. Defaults: 64 lanes, 4 rows, f32
//! tables, rows and the codes of a word in loops, one slice. **None of them has been measured on a GPU
//! yet**; let a tuner look at [`Spec::candidates`].
//!
//! Variants are named by reduction and lookup, `baseline` being the tree with f32 tables: no feature,
//! default limits. Where `cols` is a multiple of 64 activations are loaded eight at a time.
//!
//! **One vector only.** There is no product of several vectors that decodes pairs on the way: write the
//! matrix with [`super::dequantize_vector`] and multiply with that. There is no quantizer either.

mod choice;
mod reference;

pub(super) use choice::table_bytes;
pub use reference::reference;

use super::{Activation, TableElement, VectorLayout, gemv_bitplane, product};
use crate::Result;
use crate::launch::{Caps, Knobs, Launch, Lookup, Masks, Reduce, Spec};

/// The kernel's name.
pub const NAME: &str = "gemv_vector";

/// Number of the bias binding.
pub const BIAS: u32 = gemv_bitplane::BIAS;
/// Number of the activations' binding.
pub const X: u32 = gemv_bitplane::X;
/// Number of the product's binding.
pub const Y: u32 = gemv_bitplane::Y;
/// Number of the binding of partial sums.
pub const PARTIALS: u32 = gemv_bitplane::PARTIALS;

/// One product, described.
#[derive(Debug, Clone, PartialEq)]
pub struct GemvVector {
    /// The weights as they lie on the device.
    pub layout: VectorLayout,
    /// Element type of `x` and `y`.
    pub activation: Activation,
    /// Whether to add the layer's bias.
    pub bias: bool,
}

impl GemvVector {
    /// A vector of f32 activations; the bias is added where the layer has one.
    pub fn new(layout: VectorLayout) -> Self {
        let bias = layout.bias();
        Self { layout, activation: Activation::F32, bias }
    }

    fn product(&self) -> product::Product<'_> {
        product::Product {
            kernel: NAME,
            layout: self.layout.planes(),
            bits: self.layout.code_bits(),
            batch: 1,
            activation: self.activation,
            bias: self.bias,
        }
    }
}

impl Spec for GemvVector {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        self.product().check()?;
        self.product().launches(caps, &choice::Choice::new(self, caps, knobs)?.form(self))
    }

    fn candidates(&self, caps: &Caps) -> Vec<Knobs> {
        let base = Knobs::DEFAULT;
        let mut all = vec![base];
        let halves = caps.f16 && self.layout.table() == TableElement::F16;
        let lookups: &[_] = if halves { &[Lookup::Pair, Lookup::Half] } else { &[Lookup::Pair] };
        for &lookup in lookups {
            for rows in [2, 4, 8] {
                for workgroup in [32, 64, 128, 256] {
                    for masks in [Masks::Constant, Masks::Hidden] {
                        all.push(Knobs {
                            lookup: Some(lookup),
                            rows: Some(rows),
                            workgroup: Some(workgroup),
                            masks: Some(masks),
                            ..base
                        });
                    }
                }
            }
        }
        for rows in [2, 4] {
            for &lookup in lookups {
                let (lookup, unroll) = (Some(lookup), Some(true));
                all.push(Knobs { rows: Some(rows), lookup, unroll, ..base });
            }
        }
        if caps.subgroups {
            for reduce in [Reduce::Workgroup, Reduce::Scatter] {
                all.push(Knobs { reduce: Some(reduce), ..base });
            }
        }
        // Few rows leave most of a large device idle.
        if self.layout.rows() <= 4096 {
            for slices in [2, 4, 8] {
                all.push(Knobs { slices: Some(slices), ..base });
            }
        }
        // One of them is the defaults spelled out.
        let choice = |knobs: &Knobs| choice::Choice::new(self, caps, knobs).ok();
        let default = choice(&base);
        all.retain(|knobs| *knobs == base || default.is_none() || choice(knobs) != default);
        all
    }
}
