//! `gemv_bitplane`: `y = W_b x + bias` for one vector or a few, the width chosen at every call.

use super::BitplaneWeights;
use crate::{Arg, Context, View};
use fewbytes::linear::gemv_bitplane::{BIAS, X, Y};
use fewbytes::linear::{Activation, Arithmetic, BitplaneLayout, GemvBitplane};
use fewbytes::{Error, Knobs, Result};

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

/// One compiled product for every width that was uploaded.
pub struct Plan {
    layout: BitplaneLayout,
    activation: Activation,
    x_len: usize,
    y_len: usize,
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
    let widths = layout.widths().iter().map(|&bits| {
        let spec = options.spec(layout, bits);
        Ok((bits, ctx.plan_with(&spec, &knobs(&spec))?))
    });
    let widths = widths.collect::<Result<_>>()?;
    let spec = options.spec(layout, layout.max_bits());
    let (x_len, y_len) = (spec.x_len(), spec.y_len());
    Ok(Plan { layout: layout.clone(), activation: options.activation, x_len, y_len, widths })
}

impl Plan {
    /// Elements of `x`: batch times columns.
    pub fn x_len(&self) -> usize {
        self.x_len
    }

    /// Elements of `y`, see [`GemvBitplane::y_stride`].
    pub fn y_len(&self) -> usize {
        self.y_len
    }

    /// Bytes of scratch memory that [`Plan::bind_with`] and [`Plan::record_with`] want, over all widths; 0 unless the
    /// columns are sliced.
    pub fn scratch_bytes(&self) -> u64 {
        self.widths.iter().map(|(_, plan)| plan.scratch_bytes()).max().unwrap_or(0)
    }

    /// Binds `x [batch, cols]` and `y [batch, y_stride]`: recording the product at any width then
    /// compiles and allocates nothing.
    ///
    /// # Errors
    /// [`Error::Shape`] for views of another type or length, for weights of another layout or
    /// where scratch memory is needed, and as [`crate::Plan::bind`].
    pub fn bind(&self, weights: &BitplaneWeights, x: &View, y: &View) -> Result<Bound> {
        self.bind_with(weights, x, y, None)
    }

    /// As [`Plan::bind`], with [`Plan::scratch_bytes`] of scratch memory.
    ///
    /// # Errors
    /// As [`Plan::bind`].
    pub fn bind_with(
        &self,
        weights: &BitplaneWeights,
        x: &View,
        y: &View,
        scratch: Option<&View>,
    ) -> Result<Bound> {
        let args = self.args(weights, x, y)?;
        let bind = |(bits, plan): &(u8, crate::Plan)| Ok((*bits, plan.bind(&args, scratch)?));
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
        self.record_with(pass, bits, weights, x, y, None)
    }

    /// As [`Plan::record`], with scratch memory: as much as this width's plan wants, for which
    /// [`Plan::scratch_bytes`] is always enough.
    ///
    /// # Errors
    /// As [`Plan::record`]; nothing is recorded then.
    pub fn record_with(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        bits: u8,
        weights: &BitplaneWeights,
        x: &View,
        y: &View,
        scratch: Option<&View>,
    ) -> Result<()> {
        self.width(bits)?.record_with(pass, &self.args(weights, x, y)?, scratch)
    }

    fn args<'a>(
        &self,
        weights: &'a BitplaneWeights,
        x: &'a View,
        y: &'a View,
    ) -> Result<[Arg<'a>; 5]> {
        weights.expect(&self.layout)?;
        let element = self.activation.into();
        x.expect("x", element, self.x_len)?;
        y.expect("y", element, self.y_len)?;
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
