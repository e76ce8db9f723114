//! `stream_read`: reads a buffer once, at the memory's speed.

use crate::{Arg, Bound, Context, Element, View};
use fewbytes::launch::Traffic;
use fewbytes::stream::{DST, SRC, StreamRead};
use fewbytes::{Knobs, Result};

/// The launch of one reading.
pub struct Plan {
    spec: StreamRead,
    plan: crate::Plan,
}

/// Plans a reading.
///
/// # Errors
/// As [`Context::plan_with`].
pub fn plan(ctx: &Context, spec: &StreamRead, knobs: &Knobs) -> Result<Plan> {
    Ok(Plan { spec: spec.clone(), plan: ctx.plan_with(spec, knobs)? })
}

impl Plan {
    /// Bytes of one reading.
    pub fn traffic(&self) -> Traffic {
        self.plan.traffic()
    }

    /// Binds `src [words]` and `dst [lanes]`, both u32: recording then allocates nothing.
    ///
    /// # Errors
    /// [`fewbytes::Error::Shape`] for views of another type or length, and as
    /// [`crate::Plan::bind`].
    pub fn bind(&self, src: &View, dst: &View) -> Result<Bound> {
        self.plan.bind(&self.args(src, dst)?, None)
    }

    /// Binds and records the reading in one call.
    ///
    /// # Errors
    /// As [`Plan::bind`]; nothing is recorded then.
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>, src: &View, dst: &View) -> Result<()> {
        self.plan.record(pass, &self.args(src, dst)?)
    }

    fn args<'a>(&self, src: &'a View, dst: &'a View) -> Result<[Arg<'a>; 2]> {
        src.expect("src", Element::U32, self.spec.words)?;
        dst.expect("dst", Element::U32, self.spec.lanes as usize)?;
        let arg = |binding, view| Arg { binding, pieces: std::slice::from_ref(view) };
        Ok([arg(SRC, src), arg(DST, dst)])
    }
}
