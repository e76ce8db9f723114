//! `sum_slices`: adds up the products of slices of a matrix's columns.

use crate::{Arg, Bound, Context, Element, View};
use fewbytes::linear::SumSlices;
use fewbytes::linear::gemv_bitplane::{BIAS, PARTIALS, Y};
use fewbytes::{Error, Knobs, Result};

/// The launches of one addition.
pub struct Plan {
    spec: SumSlices,
    plan: crate::Plan,
}

/// Plans adding up slices.
///
/// # Errors
/// As [`Context::plan_with`].
pub fn plan(ctx: &Context, spec: SumSlices, knobs: &Knobs) -> Result<Plan> {
    Ok(Plan { spec, plan: ctx.plan_with(&spec, knobs)? })
}

impl Plan {
    /// Binds `partials [slices, batch, stride]` of f32, `y [batch, stride]` and, where the spec
    /// says so, the bias `[rows]` of f32: recording then allocates nothing.
    ///
    /// # Errors
    /// [`Error::Shape`] for views of another type or length or a bias too many or missing, and as
    /// [`crate::Plan::bind`].
    pub fn bind(&self, partials: &View, bias: Option<&View>, y: &View) -> Result<Bound> {
        partials.expect("partials", Element::F32, self.spec.partials_len())?;
        y.expect("y", self.spec.activation.into(), self.spec.y_len())?;
        if bias.is_some() != self.spec.bias {
            let words = |bias| if bias { "a bias" } else { "none" };
            let (expected, found) = (words(self.spec.bias), words(bias.is_some()));
            return Err(Error::shape("bias of sum_slices", expected, found));
        }
        if let Some(bias) = bias {
            bias.expect("bias", Element::F32, self.spec.rows)?;
        }
        let one = std::slice::from_ref;
        let args = [
            Arg { binding: PARTIALS, pieces: one(partials) },
            Arg { binding: BIAS, pieces: bias.map(one).unwrap_or_default() },
            Arg { binding: Y, pieces: one(y) },
        ];
        self.plan.bind(&args, None)
    }
}
