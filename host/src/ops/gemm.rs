//! `gemm`: `Y = X W^T + bias` for dense matrices, each of which may be a block of a larger one.

use crate::{Arg, Bound, Context, View};
use fewbytes::launch::Traffic;
use fewbytes::linear::Gemm;
use fewbytes::linear::gemm::{BIAS, Block, W, X, Y};
use fewbytes::{Error, Knobs, Result};

/// The launches of one product.
pub struct Plan {
    spec: Gemm,
    plan: crate::Plan,
}

/// The tensors of a product.
#[derive(Debug, Clone, Copy)]
pub struct Tensors<'a> {
    /// `[rows, cols]` as the spec's block says, at least [`Gemm::w_len`] elements.
    pub w: &'a View,
    /// `[batch, cols]`, at least [`Gemm::x_len`] elements.
    pub x: &'a View,
    /// `[batch, rows]`, at least [`Gemm::y_len`] elements, in another buffer than the others.
    pub y: &'a View,
    /// `[rows]` of f32 where the spec says so.
    pub bias: Option<&'a View>,
    /// [`Plan::scratch_bytes`] bytes where that is not 0.
    pub scratch: Option<&'a View>,
}

/// Plans a product.
///
/// # Errors
/// As [`Context::plan_with`].
pub fn plan(ctx: &Context, spec: Gemm, knobs: &Knobs) -> Result<Plan> {
    Ok(Plan { spec, plan: ctx.plan_with(&spec, knobs)? })
}

impl Plan {
    /// What was planned.
    pub fn spec(&self) -> &Gemm {
        &self.spec
    }

    /// Bytes of scratch memory; 0 unless the columns are sliced.
    pub fn scratch_bytes(&self) -> u64 {
        self.plan.scratch_bytes()
    }

    /// Kernel and variant of every launch, in order.
    pub fn variants(&self) -> impl Iterator<Item = (&'static str, &'static str)> + '_ {
        self.plan.variants()
    }

    /// Bytes and operations of one product.
    pub fn traffic(&self) -> Traffic {
        self.plan.traffic()
    }

    /// Binds the tensors: recording then allocates nothing.
    ///
    /// # Errors
    /// [`Error::Shape`] for views of another element type or with too few elements, or a bias too
    /// many or missing; [`Error::Aliasing`] where `y` shares a buffer with another tensor; and as
    /// [`crate::Plan::bind`].
    pub fn bind(&self, tensors: &Tensors<'_>) -> Result<Bound> {
        self.plan.bind(&self.args(tensors)?, tensors.scratch)
    }

    /// Binds and records the product in one call.
    ///
    /// # Errors
    /// As [`Plan::bind`]; nothing is recorded then.
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>, tensors: &Tensors<'_>) -> Result<()> {
        self.bind(tensors)?.record(pass)
    }

    fn args<'a>(&self, tensors: &Tensors<'a>) -> Result<[Arg<'a>; 4]> {
        let Tensors { w, x, y, bias, .. } = *tensors;
        let spec = &self.spec;
        expect("w", w, &spec.w, spec.w_len())?;
        expect("x", x, &spec.x, spec.x_len())?;
        expect("y", y, &spec.y, spec.y_len())?;
        if bias.is_some() != spec.bias {
            let words = |bias| if bias { "a bias" } else { "none" };
            let (expected, found) = (words(spec.bias), words(bias.is_some()));
            return Err(Error::shape("bias of gemm", expected, found));
        }
        if let Some(bias) = bias {
            bias.expect("bias", crate::Element::F32, spec.rows)?;
        }
        let one = std::slice::from_ref;
        Ok([
            Arg { binding: W, pieces: one(w) },
            Arg { binding: X, pieces: one(x) },
            Arg { binding: BIAS, pieces: bias.map(one).unwrap_or_default() },
            Arg { binding: Y, pieces: one(y) },
        ])
    }
}

/// Checks element type and least count; a view may hold more than the matrix.
fn expect(what: &str, view: &View, block: &Block, least: usize) -> Result<()> {
    if view.len() < least as u64 {
        let (what, expected) = (format!("length of {what}"), format!("at least {least}"));
        return Err(Error::shape(what, expected, view.len()));
    }
    let len = usize::try_from(view.len()).unwrap_or(usize::MAX);
    view.expect(what, block.element.into(), len)
}
