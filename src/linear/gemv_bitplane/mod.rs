//! `gemv_bitplane`: matrix times one vector, or up to eight, with any-precision weights.
//!
//! `y = W_b x + bias`, where `W_b` is the `b`-bit model inside a stored parent: the first `b`
//! planes and the tables of width `b` are all that is read. Shapes: `x [batch, cols]`,
//! `y [batch, y_stride]`, both f32 or both f16; bias `[rows]`, f32. Sums are f32. Bytes read fall
//! in proportion to `b`, and each weight is decoded once for all vectors.
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
//! Knobs: all of [`Knobs`] but `matrix` and `route`, which change nothing; [`Lookup::Storage`] is
//! refused. With several slices a launch of [`super::sum_slices`] follows, which
//! takes the place of bindings 3 and 5; that needs scratch memory. Defaults, from measurements on an
//! H100: 64 lanes, for four vectors and more at up to 4 bits 32; 2 rows, but 4 for one vector at 3
//! bits, for two to four at up to 6 and for more at up to 4; pairs at 2 bits; f16 tables at 7 and 8 bits
//! where the device has f16 arithmetic; hidden masks, and a loop that tests once a word, on devices
//! of NVIDIA; rows written out; one slice.
//!
//! Variants are named by reduction and lookup, `baseline` being the tree with single lookups:
//! no feature, default limits. Where `cols` is a multiple of 32 activations are loaded eight at a
//! time. Source: "Any-Precision LLM", arXiv 2402.10517; the kernels are our own.

mod choice;
mod reference;

pub use reference::{Product, reference};

use super::{Activation, Arithmetic, BitplaneLayout, TableElement, product};
use crate::launch::{Caps, Knobs, Launch, Lookup, Masks, Reduce, Spec};
use crate::{Error, Result};

/// The kernel's name.
pub const NAME: &str = "gemv_bitplane";

/// Number of the bias binding.
pub const BIAS: u32 = product::BIAS;
/// Number of the activations' binding.
pub const X: u32 = product::X;
/// Number of the product's binding.
pub const Y: u32 = product::Y;
/// Number of the binding of partial sums.
pub const PARTIALS: u32 = product::PARTIALS;

/// The most vectors that one product takes.
pub const MAX_BATCH: usize = 8;

/// One product, described.
#[derive(Debug, Clone, PartialEq)]
pub struct GemvBitplane {
    /// The weights as they lie on the device.
    pub layout: BitplaneLayout,
    /// Width to multiply at.
    pub bits: u8,
    /// Activation vectors, up to [`MAX_BATCH`]; 0 does nothing.
    pub batch: usize,
    /// Element type of `x` and `y`.
    pub activation: Activation,
    /// In what products are computed.
    pub arithmetic: Arithmetic,
    /// Whether to add the layer's bias.
    pub bias: bool,
}

impl GemvBitplane {
    /// One vector of f32 activations; the bias is added where the layer has one.
    pub fn new(layout: BitplaneLayout, bits: u8) -> Self {
        let bias = layout.bias();
        let (activation, arithmetic) = (Activation::F32, Arithmetic::F32);
        Self { layout, bits, batch: 1, activation, arithmetic, bias }
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

    fn product(&self) -> product::Product<'_> {
        let Self { ref layout, bits, batch, activation, bias, .. } = *self;
        product::Product { kernel: NAME, layout, bits, batch, activation, bias }
    }

    fn check(&self) -> Result<()> {
        self.product().check()?;
        if self.batch > MAX_BATCH {
            let limit = format!("0..={MAX_BATCH}");
            return Err(Error::range(format!("batch of {NAME}"), limit, self.batch));
        }
        if self.arithmetic == Arithmetic::F16 {
            let missing = [
                (self.batch > 1, "takes one vector"),
                (self.activation != Activation::F16, "takes f16 activations"),
                (self.layout.table() != TableElement::F16, "takes tables of f16"),
                (!self.layout.cols().is_multiple_of(32), "takes columns by multiples of 32"),
                (self.bits > 4, "is for 2 to 4 bits"),
            ];
            if let Some((_, why)) = missing.iter().find(|(missing, _)| *missing) {
                return Err(Error::unsupported(format!("{NAME} in f16"), format!("it {why}")));
            }
        }
        Ok(())
    }
}

impl Spec for GemvBitplane {
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
        let lookups: &[_] = match self.bits {
            _ if self.arithmetic == Arithmetic::F16 => &[Lookup::Pair],
            2..=4 => &[Lookup::Single, Lookup::Pair],
            _ => &[Lookup::Single, Lookup::Half],
        };
        let base = Knobs::DEFAULT;
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
        if caps.subgroups {
            for reduce in [Reduce::Workgroup, Reduce::Scatter] {
                all.push(Knobs { reduce: Some(reduce), ..base });
            }
        }
        // Few rows leave most of a large device idle.
        if self.layout.rows() <= 4096 {
            for slices in [2, 4, 8] {
                for rows in [2, 4] {
                    all.push(Knobs { slices: Some(slices), rows: Some(rows), ..base });
                }
            }
        }
        // One of them is the defaults spelled out.
        let choice = |knobs: &Knobs| choice::Choice::new(self, caps, knobs).ok();
        let default = choice(&base);
        all.retain(|knobs| *knobs == base || default.is_none() || choice(knobs) != default);
        all
    }
}
