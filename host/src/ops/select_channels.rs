//! `select_channels`: the input channels that matter most at a step.

use crate::{Arg, Bound, Context, Element, View};
use fewbytes::linear::SelectChannels;
use fewbytes::linear::select_channels::{LIST, NORMS, X};
use fewbytes::{Knobs, Result};

/// The launch of one selection; none where no channel is taken.
pub struct Plan {
    spec: SelectChannels,
    plan: crate::Plan,
}

/// Plans a selection.
///
/// # Errors
/// As [`Context::plan_with`].
pub fn plan(ctx: &Context, spec: &SelectChannels, knobs: &Knobs) -> Result<Plan> {
    Ok(Plan { spec: *spec, plan: ctx.plan_with(spec, knobs)? })
}

impl Plan {
    /// What was planned.
    pub fn spec(&self) -> &SelectChannels {
        &self.spec
    }

    /// Binds `x [batch, cols]`, `list [batch, k]` of u32 and, where the ranking is weighted, norms
    /// `[cols]` of f16: recording then allocates nothing.
    ///
    /// # Errors
    /// [`fewbytes::Error::Shape`] for views of another type or length and norms that are missing, and
    /// as [`crate::Plan::bind`].
    pub fn bind(&self, x: &View, norms: &[View], list: &View) -> Result<Bound> {
        x.expect("x", self.spec.activation.into(), self.spec.x_len())?;
        list.expect("list", Element::U32, self.spec.list_len())?;
        for norms in norms {
            norms.expect("norms of channels", Element::F16, self.spec.budget.cols())?;
        }
        let args = [
            Arg { binding: LIST, pieces: std::slice::from_ref(list) },
            Arg { binding: X, pieces: std::slice::from_ref(x) },
            Arg { binding: NORMS, pieces: norms },
        ];
        self.plan.bind(&args, None)
    }
}
