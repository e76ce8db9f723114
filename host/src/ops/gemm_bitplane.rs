//! `gemm_bitplane`: `Y = X W_b^T + bias` for any number of vectors, the width chosen at every call.

use super::BitplaneWeights;
use crate::Context;
use fewbytes::linear::{Activation, BitplaneLayout, GemmBitplane};
use fewbytes::{Knobs, Result};

pub use super::products::{Bound, Plan};

/// What [`plan`] may be told.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Activation vectors.
    pub batch: usize,
    /// Element type of `x` and `y`.
    pub activation: Activation,
    /// Leaves the layer's bias out.
    pub without_bias: bool,
    /// Choices that change speed only.
    pub knobs: Knobs,
}

impl Options {
    /// `batch` vectors of f32, the bias where there is one.
    pub fn new(batch: usize) -> Self {
        let (activation, knobs) = (Activation::F32, Knobs::DEFAULT);
        Self { batch, activation, without_bias: false, knobs }
    }

    /// The product that these options ask for.
    pub fn spec(&self, layout: &BitplaneLayout, bits: u8) -> GemmBitplane {
        GemmBitplane {
            activation: self.activation,
            bias: layout.bias() && !self.without_bias,
            ..GemmBitplane::new(layout.clone(), bits, self.batch)
        }
    }
}

/// Plans the products of a layer, or of any layer with the same layout, at every uploaded width.
///
/// The shader is the same for every batch whose tiles are equally wide (up to 16, up to 32, more):
/// planning another batch compiles nothing new.
///
/// # Errors
/// As [`Context::plan_with`].
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
    knobs: impl Fn(&GemmBitplane) -> Knobs,
) -> Result<Plan> {
    let layout = weights.layout();
    let widest = options.spec(layout, layout.max_bits());
    let lens = (widest.x_len(), widest.y_len());
    let spec = |bits| options.spec(layout, bits);
    Plan::new(ctx, weights, options.activation, lens, spec, knobs)
}
