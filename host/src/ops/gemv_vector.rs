//! `gemv_vector`: `y = W x + bias` for one vector and weights in pairs.

use super::VectorWeights;
use crate::{Arg, Bound, Context, View};
use fewbytes::launch::Traffic;
use fewbytes::linear::gemv_vector::{BIAS, X, Y};
use fewbytes::linear::{Activation, GemvVector, VectorLayout};
use fewbytes::{Knobs, Result};

/// What [`plan`] may be told.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Element type of `x` and `y`; f32 by default.
    pub activation: Activation,
    /// Leaves the layer's bias out.
    pub without_bias: bool,
    /// Choices that change speed only.
    pub knobs: Knobs,
}

impl Options {
    /// The product that these options ask for.
    pub fn spec(&self, layout: &VectorLayout) -> GemvVector {
        let bias = layout.bias() && !self.without_bias;
        GemvVector { activation: self.activation, bias, ..GemvVector::new(layout.clone()) }
    }
}

/// The launches of one product.
pub struct Plan {
    spec: GemvVector,
    plan: crate::Plan,
}

/// Plans the product of a layer, or of any layer with the same layout.
///
/// # Errors
/// As [`Context::plan_with`].
pub fn plan(ctx: &Context, weights: &VectorWeights, options: Options) -> Result<Plan> {
    let spec = options.spec(weights.layout());
    let plan = ctx.plan_with(&spec, &options.knobs)?;
    Ok(Plan { spec, plan })
}

impl Plan {
    /// Elements of `x`: columns.
    pub fn x_len(&self) -> usize {
        self.spec.layout.cols()
    }

    /// Elements of `y`: rows.
    pub fn y_len(&self) -> usize {
        self.spec.layout.rows()
    }

    /// Kernel and variant of every launch, in order.
    pub fn variants(&self) -> impl Iterator<Item = (&'static str, &'static str)> + '_ {
        self.plan.variants()
    }

    /// Bytes and operations of one product.
    pub fn traffic(&self) -> Traffic {
        self.plan.traffic()
    }

    /// Bytes of scratch memory that [`Plan::bind_with`] wants; 0 unless the columns are sliced.
    pub fn scratch_bytes(&self) -> u64 {
        self.plan.scratch_bytes()
    }

    /// Binds `x [cols]` and `y [rows]`: recording then compiles and allocates nothing.
    ///
    /// # Errors
    /// [`fewbytes::Error::Shape`] for views of another type or length, for weights of another layout
    /// or where scratch memory is needed, and as [`crate::Plan::bind`].
    pub fn bind(&self, weights: &VectorWeights, x: &View, y: &View) -> Result<Bound> {
        self.bind_with(weights, x, y, None)
    }

    /// As [`Plan::bind`], with [`Plan::scratch_bytes`] of scratch memory.
    ///
    /// # Errors
    /// As [`Plan::bind`].
    pub fn bind_with(
        &self,
        weights: &VectorWeights,
        x: &View,
        y: &View,
        scratch: Option<&View>,
    ) -> Result<Bound> {
        self.plan.bind(&self.args(weights, x, y)?, scratch)
    }

    /// Binds and records `y = W x + bias` in one call.
    ///
    /// # Errors
    /// As [`Plan::bind`]; nothing is recorded then.
    pub fn record(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        weights: &VectorWeights,
        x: &View,
        y: &View,
    ) -> Result<()> {
        self.plan.record(pass, &self.args(weights, x, y)?)
    }

    fn args<'a>(
        &self,
        weights: &'a VectorWeights,
        x: &'a View,
        y: &'a View,
    ) -> Result<[Arg<'a>; 5]> {
        weights.expect(&self.spec.layout)?;
        let element = self.spec.activation.into();
        x.expect("x", element, self.x_len())?;
        y.expect("y", element, self.y_len())?;
        let [planes, tables] = weights.args();
        Ok([
            planes,
            tables,
            Arg { binding: BIAS, pieces: weights.bias() },
            Arg { binding: X, pieces: std::slice::from_ref(x) },
            Arg { binding: Y, pieces: std::slice::from_ref(y) },
        ])
    }
}
