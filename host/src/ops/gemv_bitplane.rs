//! `gemv_bitplane`: `y = W_b x + bias`, the width chosen at every call.

use super::BitplaneWeights;
use crate::{Arg, Context, View};
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

/// The product bound to weights, activations and output, at every width that was uploaded.
pub struct Bound {
    layout: BitplaneLayout,
    widths: Vec<(u8, crate::Bound)>,
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
    /// Binds `x [cols]` and `y [rows]`: recording the product at any width then compiles and
    /// allocates nothing.
    ///
    /// # Errors
    /// [`Error::Shape`] for views of another type or length or for weights of another layout, and
    /// as [`crate::Plan::bind`].
    pub fn bind(&self, weights: &BitplaneWeights, x: &View, y: &View) -> Result<Bound> {
        let args = self.args(weights, x, y)?;
        let bind = |(bits, plan): &(u8, crate::Plan)| Ok((*bits, plan.bind(&args, None)?));
        let widths = self.widths.iter().map(bind).collect::<Result<_>>()?;
        Ok(Bound { layout: self.layout.clone(), widths })
    }

    /// Binds and records `y = W_bits x + bias` in one call.
    ///
    /// # Errors
    /// [`Error::Range`] or [`Error::Unsupported`] for a width that was not uploaded, and as
    /// [`Plan::bind`]; nothing is recorded then.
    pub fn record(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        bits: u8,
        weights: &BitplaneWeights,
        x: &View,
        y: &View,
    ) -> Result<()> {
        self.width(bits)?.record(pass, &self.args(weights, x, y)?)
    }

    fn args<'a>(
        &self,
        weights: &'a BitplaneWeights,
        x: &'a View,
        y: &'a View,
    ) -> Result<[Arg<'a>; 5]> {
        weights.expect(&self.layout)?;
        let element = self.activation.into();
        x.expect("x", element, self.layout.cols())?;
        y.expect("y", element, self.layout.rows())?;
        let [planes, tables] = weights.args();
        Ok([
            planes,
            tables,
            Arg { binding: BIAS, pieces: weights.bias() },
            Arg { binding: X, pieces: std::slice::from_ref(x) },
            Arg { binding: Y, pieces: std::slice::from_ref(y) },
        ])
    }

    /// The launches of one width: variants, traffic.
    ///
    /// # Errors
    /// [`Error::Range`] or [`Error::Unsupported`] for a width that was not uploaded.
    pub fn width(&self, bits: u8) -> Result<&crate::Plan> {
        of_width(&self.layout, &self.widths, bits)
    }
}

impl Bound {
    /// Records `y = W_bits x + bias`.
    ///
    /// # Errors
    /// [`Error::Range`] or [`Error::Unsupported`] for a width that was not uploaded,
    /// [`Error::DeviceLost`]; nothing is recorded then.
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>, bits: u8) -> Result<()> {
        of_width(&self.layout, &self.widths, bits)?.record(pass)
    }
}

fn of_width<'a, T>(layout: &BitplaneLayout, widths: &'a [(u8, T)], bits: u8) -> Result<&'a T> {
    layout.check_width(bits)?;
    let found = widths.iter().find(|(width, _)| *width == bits);
    found.map(|(_, item)| item).ok_or_else(|| Error::range("bits", "the planned widths", bits))
}
