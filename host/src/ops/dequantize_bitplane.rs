//! `dequantize_bitplane`: the dense matrix behind any-precision weights.

use super::BitplaneWeights;
use crate::{Arg, Context, Element, View};
use fewbytes::launch::Traffic;
use fewbytes::linear::dequantize_bitplane::DST;
use fewbytes::linear::{Activation, DequantizeBitplane};
use fewbytes::{Knobs, Result};

/// The launches of one width.
pub struct Plan {
    spec: DequantizeBitplane,
    plan: crate::Plan,
}

/// Plans writing the `bits`-bit weights as dense f32 or f16.
///
/// # Errors
/// As [`Context::plan_with`].
pub fn plan(
    ctx: &Context,
    weights: &BitplaneWeights,
    bits: u8,
    element: Activation,
    knobs: &Knobs,
) -> Result<Plan> {
    let spec = DequantizeBitplane { layout: weights.layout().clone(), bits, element };
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

    /// Bytes and operations of one writing.
    pub fn traffic(&self) -> Traffic {
        self.plan.traffic()
    }

    /// Records the writing of `dst [rows, stride]`.
    ///
    /// # Errors
    /// [`fewbytes::Error::Shape`] when `dst` has another type or length or for weights of another
    /// layout, and as [`crate::Plan::record`].
    pub fn record(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        weights: &BitplaneWeights,
        dst: &View,
    ) -> Result<()> {
        let element = match self.spec.element {
            Activation::F32 => Element::F32,
            Activation::F16 => Element::F16,
        };
        weights.expect(&self.spec.layout)?;
        dst.expect("dst", element, self.dst_len())?;
        let [planes, tables] = weights.args();
        let dst = Arg { binding: DST, pieces: std::slice::from_ref(dst) };
        self.plan.record(pass, &[planes, tables, dst])
    }
}
