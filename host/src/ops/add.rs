//! `add`: `y = a + b`.

use crate::{Arg, Bound, Context, Element, View};
use fewbytes::linear::Add;
use fewbytes::linear::add::{A, B, Y};
use fewbytes::{Knobs, Result};

/// The launch of one addition.
pub struct Plan {
    spec: Add,
    plan: crate::Plan,
}

/// Plans an addition.
///
/// # Errors
/// As [`Context::plan_with`].
pub fn plan(ctx: &Context, spec: &Add, knobs: &Knobs) -> Result<Plan> {
    Ok(Plan { spec: *spec, plan: ctx.plan_with(spec, knobs)? })
}

impl Plan {
    /// Binds `a [len]`, `b [len]` of f32 and `y [len]`: recording then allocates nothing.
    ///
    /// # Errors
    /// [`fewbytes::Error::Shape`] for views of another type or length, and as [`crate::Plan::bind`].
    pub fn bind(&self, a: &View, b: &View, y: &View) -> Result<Bound> {
        let (element, len) = (self.spec.activation.into(), self.spec.len);
        a.expect("a", element, len)?;
        b.expect("b", Element::F32, len)?;
        y.expect("y", element, len)?;
        let arg = |binding, view| Arg { binding, pieces: std::slice::from_ref(view) };
        self.plan.bind(&[arg(A, a), arg(B, b), arg(Y, y)], None)
    }
}
