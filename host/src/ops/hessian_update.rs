//! `hessian_update`: adds tokens to the sums of a layer's Hessians.

use crate::{Arg, Bound, Context, Element, View};
use fewbytes::launch::Traffic;
use fewbytes::linear::hessian_update::{S, SUMS, X};
use fewbytes::linear::{HessianLayout, HessianUpdate};
use fewbytes::{Error, Knobs, Result};

/// The launches of one batch.
pub struct Plan {
    spec: HessianUpdate,
    plan: crate::Plan,
}

/// New sums for a layer, zeros: a view a piece.
///
/// # Errors
/// As [`Context::alloc`].
pub fn alloc_sums(ctx: &Context, layout: &HessianLayout) -> Result<Vec<View>> {
    layout.pieces().map(|piece| ctx.alloc::<f32>(layout.piece_len(&piece))).collect()
}

/// Plans adding batches of so many tokens.
///
/// # Errors
/// As [`Context::plan_with`].
pub fn plan(ctx: &Context, spec: HessianUpdate, knobs: &Knobs) -> Result<Plan> {
    let plan = ctx.plan_with(&spec, knobs)?;
    Ok(Plan { spec, plan })
}

impl Plan {
    /// Kernel and variant of every launch, in order.
    pub fn variants(&self) -> impl Iterator<Item = (&'static str, &'static str)> + '_ {
        self.plan.variants()
    }

    /// Bytes and operations of one batch.
    pub fn traffic(&self) -> Traffic {
        self.plan.traffic()
    }

    /// Binds `x [tokens, inputs]`, `s [tokens, groups]` of f32 where the spec weighs tokens, and
    /// the sums, a view a piece: recording then allocates nothing.
    ///
    /// # Errors
    /// [`Error::Shape`] for views of another type or length, for another number of pieces, or for
    /// weights too many or missing, and as [`crate::Plan::bind`].
    pub fn bind(&self, x: &View, s: Option<&View>, sums: &[View]) -> Result<Bound> {
        self.plan.bind(&self.args(x, s, sums)?, None)
    }

    /// Binds and records one batch in one call.
    ///
    /// # Errors
    /// As [`Plan::bind`]; nothing is recorded then.
    pub fn record(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        x: &View,
        s: Option<&View>,
        sums: &[View],
    ) -> Result<()> {
        self.plan.record(pass, &self.args(x, s, sums)?)
    }

    fn args<'a>(&self, x: &'a View, s: Option<&'a View>, sums: &'a [View]) -> Result<[Arg<'a>; 3]> {
        let HessianUpdate { layout, activation, weighted, .. } = &self.spec;
        x.expect("x", (*activation).into(), self.spec.x_len())?;
        if s.is_some() != *weighted {
            let words = |weighted| if weighted { "some" } else { "none" };
            let (expected, found) = (words(*weighted), words(s.is_some()));
            return Err(Error::shape("sensitivities of hessian_update", expected, found));
        }
        if let Some(s) = s {
            s.expect("s", Element::F32, self.spec.s_len())?;
        }
        let pieces = layout.pieces().count();
        if pieces != sums.len() {
            return Err(Error::shape("pieces of the sums", pieces, sums.len()));
        }
        for (piece, view) in layout.pieces().zip(sums) {
            view.expect("sums", Element::F32, layout.piece_len(&piece))?;
        }
        let one = std::slice::from_ref;
        Ok([
            Arg { binding: X, pieces: one(x) },
            Arg { binding: S, pieces: s.map(one).unwrap_or_default() },
            Arg { binding: SUMS, pieces: sums },
        ])
    }
}
