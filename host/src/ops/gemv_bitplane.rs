//! `gemv_bitplane`: `y = W_b x + bias`, the width chosen at every call.

use super::BitplaneWeights;
use crate::{Arg, Context, Element, View};
use fewbytes::linear::gemv_bitplane::{BIAS, X, Y};
use fewbytes::linear::{Activation, BitplaneLayout, GemvBitplane};
use fewbytes::{Error, Knobs, Result};

/// What [`plan`] may be told.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Element type of `x` and `y`.
    pub activation: Activation,
    /// Leaves the layer's bias out.
    pub without_bias: bool,
    /// Choices that change speed only.
    pub knobs: Knobs,
}

/// One compiled product for every width that was uploaded.
pub struct Plan {
    layout: BitplaneLayout,
    activation: Activation,
    /// Width and its launches, ascending.
    widths: Vec<(u8, crate::Plan)>,
}

/// Plans the products of a layer, or of any layer with the same layout, at every uploaded width.
///
/// # Errors
/// As [`Context::plan_with`].
pub fn plan(ctx: &Context, weights: &BitplaneWeights, options: Options) -> Result<Plan> {
    let layout = weights.layout();
    let activation = options.activation;
    let bias = layout.bias() && !options.without_bias;
    let widths = layout.widths().iter().map(|&bits| {
        let spec = GemvBitplane { activation, bias, ..GemvBitplane::new(layout.clone(), bits) };
        Ok((bits, ctx.plan_with(&spec, &options.knobs)?))
    });
    let widths = widths.collect::<Result<_>>()?;
    Ok(Plan { layout: layout.clone(), activation, widths })
}

impl Plan {
    /// Records `y = W_bits x + bias`. `x [cols]`, `y [rows]`.
    ///
    /// Changing `bits`, `x` or `y` from call to call compiles nothing; a set of tensors that was
    /// used before is bound again without an allocation.
    ///
    /// # Errors
    /// [`Error::Range`] or [`Error::Unsupported`] for a width that was not uploaded,
    /// [`Error::Shape`] for views of another type or length or for weights of another layout, and
    /// as [`crate::Plan::record`].
    pub fn record(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        bits: u8,
        weights: &BitplaneWeights,
        x: &View,
        y: &View,
    ) -> Result<()> {
        let plan = self.width(bits)?;
        weights.expect(&self.layout)?;
        let element = match self.activation {
            Activation::F32 => Element::F32,
            Activation::F16 => Element::F16,
        };
        x.expect("x", element, self.layout.cols())?;
        y.expect("y", element, self.layout.rows())?;
        let [planes, tables] = weights.args();
        let bias = Arg { binding: BIAS, pieces: weights.bias() };
        let x = Arg { binding: X, pieces: std::slice::from_ref(x) };
        let y = Arg { binding: Y, pieces: std::slice::from_ref(y) };
        plan.record(pass, &[planes, tables, bias, x, y])
    }

    /// The launches of one width: variants, traffic.
    ///
    /// # Errors
    /// [`Error::Range`] or [`Error::Unsupported`] for a width that was not uploaded.
    pub fn width(&self, bits: u8) -> Result<&crate::Plan> {
        self.layout.check_width(bits)?;
        let found = self.widths.iter().find(|(width, _)| *width == bits);
        found.map(|(_, plan)| plan).ok_or_else(|| Error::range("bits", "the planned widths", bits))
    }
}
