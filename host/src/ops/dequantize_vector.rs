//! `dequantize_vector`: the dense matrix behind weights in pairs.

use super::VectorWeights;
use crate::{Arg, Bound, Context, View};
use fewbytes::launch::Traffic;
use fewbytes::linear::dequantize_vector::DST;
use fewbytes::linear::{Activation, DequantizeVector};
use fewbytes::{Knobs, Result};

/// The launches of one layer.
pub struct Plan {
    spec: DequantizeVector,
    plan: crate::Plan,
}

/// Plans writing the weights as dense f32 or f16, for products of several vectors with them.
///
/// # Errors
/// As [`Context::plan_with`].
pub fn plan(
    ctx: &Context,
    weights: &VectorWeights,
    element: Activation,
    knobs: &Knobs,
) -> Result<Plan> {
    let spec = DequantizeVector { layout: weights.layout().clone(), element };
    let plan = ctx.plan_with(&spec, knobs)?;
    Ok(Plan { spec, plan })
}

impl Plan {
    /// Elements from row to row of `dst`.
    pub fn stride(&self) -> usize {
        self.spec.stride()
    }

    /// Elements of `dst`: rows times stride.
    pub fn dst_len(&self) -> usize {
        self.spec.layout.rows() * self.stride()
    }

    /// Kernel and variant of every launch, in order.
    pub fn variants(&self) -> impl Iterator<Item = (&'static str, &'static str)> + '_ {
        self.plan.variants()
    }

    /// Bytes and operations of one writing.
    pub fn traffic(&self) -> Traffic {
        self.plan.traffic()
    }

    /// Binds `dst [rows, stride]`: recording then allocates nothing.
    ///
    /// # Errors
    /// [`fewbytes::Error::Shape`] when `dst` has another type or length or for weights of another
    /// layout, and as [`crate::Plan::bind`].
    pub fn bind(&self, weights: &VectorWeights, dst: &View) -> Result<Bound> {
        self.plan.bind(&self.args(weights, dst)?, None)
    }

    /// Binds and records the writing of `dst` in one call.
    ///
    /// # Errors
    /// As [`Plan::bind`]; nothing is recorded then.
    pub fn record(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        weights: &VectorWeights,
        dst: &View,
    ) -> Result<()> {
        self.plan.record(pass, &self.args(weights, dst)?)
    }

    fn args<'a>(&self, weights: &'a VectorWeights, dst: &'a View) -> Result<[Arg<'a>; 3]> {
        weights.expect(&self.spec.layout)?;
        dst.expect("dst", self.spec.element.into(), self.dst_len())?;
        let [planes, tables] = weights.args();
        Ok([planes, tables, Arg { binding: DST, pieces: std::slice::from_ref(dst) }])
    }
}
