//! `gemv_bitplane`: `y = W_b x + bias` for one vector or a few, the width chosen at every call.

use super::BitplaneWeights;
use crate::Context;
use fewbytes::linear::{Activation, Arithmetic, BitplaneLayout, GemvBitplane};
use fewbytes::{Knobs, Result};

pub use super::products::{Bound, Plan};

/// What [`plan`] may be told.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Activation vectors, up to [`fewbytes::linear::gemv_bitplane::MAX_BATCH`].
    pub batch: usize,
    /// Element type of `x` and `y`.
    pub activation: Activation,
    /// In what products are computed.
    pub arithmetic: Arithmetic,
    /// Leaves the layer's bias out.
    pub without_bias: bool,
    /// Choices that change speed only.
    pub knobs: Knobs,
}

impl Default for Options {
    /// One vector of f32, products in f32, the bias where there is one.
    fn default() -> Self {
        Self {
            batch: 1,
            activation: Activation::F32,
            arithmetic: Arithmetic::F32,
            without_bias: false,
            knobs: Knobs::DEFAULT,
        }
    }
}

impl Options {
    /// The product that these options ask for.
    pub fn spec(&self, layout: &BitplaneLayout, bits: u8) -> GemvBitplane {
        GemvBitplane {
            batch: self.batch,
            activation: self.activation,
            arithmetic: self.arithmetic,
            bias: layout.bias() && !self.without_bias,
            ..GemvBitplane::new(layout.clone(), bits)
        }
    }
}

/// Plans the products of a layer, or of any layer with the same layout, at every uploaded width.
///
/// # Errors
/// As [`Context::plan_with`]. Products in f16 are for 2 to 4 bits: upload no more.
pub fn plan(ctx: &Context, weights: &BitplaneWeights, options: Options) -> Result<Plan> {
    plan_with(ctx, weights, options, |_| options.knobs)
}

/// As [`plan`], with knobs for every product, of a tuner's cache for example; those of `options`
/// are not used.
///
/// # Errors
/// As [`plan`].
pub fn plan_with(
    ctx: &Context,
    weights: &BitplaneWeights,
    options: Options,
    knobs: impl Fn(&GemvBitplane) -> Knobs,
) -> Result<Plan> {
    let layout = weights.layout();
    let widest = options.spec(layout, layout.max_bits());
    let lens = (widest.x_len(), widest.y_len());
    let spec = |bits| options.spec(layout, bits);
    Plan::new(ctx, weights, options.activation, lens, spec, knobs)
}
