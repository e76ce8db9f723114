//! Products planned and bound at every width that was uploaded: what the ops of
//! `gemv_bitplane`, `gemm_bitplane` and `matmul_bitplane` have in common.

use super::BitplaneWeights;
use crate::{Arg, Context, View};
use fewbytes::linear::gemv_bitplane::{BIAS, X, Y};
use fewbytes::linear::{Activation, BitplaneLayout};
use fewbytes::{Error, Knobs, Result, Spec};

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

impl Plan {
    /// Plans the products that `spec` describes for each width.
    pub(super) fn new<S: Spec>(
        ctx: &Context,
        weights: &BitplaneWeights,
        activation: Activation,
        (x_len, y_len): (usize, usize),
        spec: impl Fn(u8) -> S,
        knobs: impl Fn(&S) -> Knobs,
    ) -> Result<Self> {
        let layout = weights.layout();
        let widths = layout.widths().iter().map(|&bits| {
            let spec = spec(bits);
            Ok((bits, ctx.plan_with(&spec, &knobs(&spec))?))
        });
        let widths = widths.collect::<Result<_>>()?;
        Ok(Self { layout: layout.clone(), activation, x_len, y_len, widths })
    }

    /// Elements of `x`: batch times columns.
    pub fn x_len(&self) -> usize {
        self.x_len
    }

    /// Elements of `y`, see `y_stride` of the kernel's spec.
    pub fn y_len(&self) -> usize {
        self.y_len
    }

    /// Bytes of scratch memory that [`Plan::bind_with`] and [`Plan::record_with`] want, over all
    /// widths; 0 unless the columns are sliced or the weights made dense.
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

    /// Binds the product at one width, for what runs with it at that width only.
    ///
    /// # Errors
    /// [`Error::Range`] or [`Error::Unsupported`] for a width that was not uploaded, and as
    /// [`Plan::bind`].
    pub fn bind_width(
        &self,
        bits: u8,
        weights: &BitplaneWeights,
        x: &View,
        y: &View,
    ) -> Result<crate::Bound> {
        self.bind_width_with(bits, weights, x, y, None)
    }

    /// As [`Plan::bind_width`], with scratch memory for products that want some. Two products that share
    /// it wait for each other.
    ///
    /// # Errors
    /// As [`Plan::bind_width`].
    pub fn bind_width_with(
        &self,
        bits: u8,
        weights: &BitplaneWeights,
        x: &View,
        y: &View,
        scratch: Option<&View>,
    ) -> Result<crate::Bound> {
        self.width(bits)?.bind(&self.args(weights, x, y)?, scratch)
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
