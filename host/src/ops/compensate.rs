//! `compensate`: what residuals of selected channels add to a product.

use super::ResidualWeights;
use crate::{Arg, Bound, Context, Element, View};
use fewbytes::launch::Traffic;
use fewbytes::linear::Compensate;
use fewbytes::linear::compensate::{LIST, Source, X, Y};
use fewbytes::{Error, Knobs, Result};

/// The launch of one compensation; none where no channel is taken.
pub struct Plan {
    spec: Compensate,
    plan: crate::Plan,
}

/// Plans a compensation.
///
/// # Errors
/// As [`Context::plan_with`].
pub fn plan(ctx: &Context, spec: &Compensate, knobs: &Knobs) -> Result<Plan> {
    Ok(Plan { spec: *spec, plan: ctx.plan_with(spec, knobs)? })
}

impl Plan {
    /// What was planned.
    pub fn spec(&self) -> &Compensate {
        &self.spec
    }

    /// Bytes and operations of one compensation.
    pub fn traffic(&self) -> Traffic {
        self.plan.traffic()
    }

    /// Binds the residual, `x [batch, cols]`, `y [batch, y_stride]` and, with [`Source::List`], the
    /// list `[batch, k]` of u32: recording then allocates nothing.
    ///
    /// # Errors
    /// [`Error::Shape`] for a residual of another layout or without the norms that are needed, for views
    /// of another type or length and a list too many or missing, and as [`crate::Plan::bind`].
    pub fn bind(
        &self,
        residual: &ResidualWeights,
        list: Option<&View>,
        x: &View,
        y: &View,
    ) -> Result<Bound> {
        residual.expect(&self.spec.layout)?;
        x.expect("x", self.spec.activation.into(), self.spec.x_len())?;
        y.expect("y", self.spec.output.into(), self.spec.y_len())?;
        let listed = self.spec.source == Source::List;
        if list.is_some() != listed {
            let words = |given| if given { "given" } else { "none" };
            let (expected, found) = (words(listed), words(list.is_some()));
            return Err(Error::shape("list of channels", expected, found));
        }
        if let Some(list) = list {
            list.expect("list", Element::U32, self.spec.batch * self.spec.budget.k())?;
        }
        let [words, scales, norms] = residual.args();
        let one = std::slice::from_ref;
        let args = [
            words,
            scales,
            norms,
            Arg { binding: LIST, pieces: list.map(one).unwrap_or_default() },
            Arg { binding: X, pieces: one(x) },
            Arg { binding: Y, pieces: one(y) },
        ];
        self.plan.bind(&args, None)
    }
}
