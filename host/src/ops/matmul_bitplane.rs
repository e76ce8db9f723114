//! `matmul_bitplane`: `Y = X W_b^T + bias` for any number of vectors, by whichever kernels suit their
//! number, the width chosen at every call.

use super::BitplaneWeights;
use crate::Context;
use fewbytes::linear::{BitplaneLayout, MatmulBitplane};
use fewbytes::{Knobs, Result};

pub use super::gemm_bitplane::Options;
pub use super::products::{Bound, Plan};

/// The product that options ask for.
pub fn spec(options: &Options, layout: &BitplaneLayout, bits: u8) -> MatmulBitplane {
    MatmulBitplane {
        activation: options.activation,
        bias: layout.bias() && !options.without_bias,
        ..MatmulBitplane::new(layout.clone(), bits, options.batch)
    }
}

/// Plans the products of a layer, or of any layer with the same layout, at every uploaded width.
///
/// [`Plan::scratch_bytes`] tells what scratch memory [`Plan::bind_with`] wants: the dense weights,
/// where a width takes that route, which by default is from
/// [`fewbytes::linear::matmul_bitplane::DENSE_FROM`] vectors on. `Knobs { route: Some(Route::Gemm),
/// .. }` does without.
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
    knobs: impl Fn(&MatmulBitplane) -> Knobs,
) -> Result<Plan> {
    let layout = weights.layout();
    let widest = spec(&options, layout, layout.max_bits());
    let lens = (widest.x_len(), widest.y_len());
    let of_width = |bits| spec(&options, layout, bits);
    Plan::new(ctx, weights, options.activation, lens, of_width, knobs)
}
