//! Run-time checks in the shaders of a row, and the contexts that compile with them.

use crate::rows::Row;
use anyhow::Result;
use fewbytes_wgpu::{Context, Features, wgpu};
use serde::{Deserialize, Serialize};

/// What the compiler puts into a shader besides the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Checks {
    /// Accesses stay within their bindings: the default.
    Bounds,
    /// Nothing.
    Unchecked,
    /// As the default, and loops are counted.
    LoopGuard,
    /// As the default, and workgroup memory begins as zeros.
    ZeroedMemory,
}

impl Checks {
    /// The name in tables; the default needs none.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bounds => "",
            Self::Unchecked => "unchecked",
            Self::LoopGuard => "loop guard",
            Self::ZeroedMemory => "zeroed workgroup memory",
        }
    }
}

/// One device under every kind of checks that some rows want.
pub(crate) struct Contexts<'a> {
    bounds: &'a Context,
    others: Vec<(Checks, Context)>,
}

impl<'a> Contexts<'a> {
    /// The contexts that rows want besides `ctx`, which was opened on `adapter`.
    pub(crate) fn new(ctx: &'a Context, adapter: &wgpu::Adapter, rows: &[Row]) -> Result<Self> {
        let mut others = Vec::new();
        for checks in [Checks::Unchecked, Checks::LoopGuard, Checks::ZeroedMemory] {
            if rows.iter().any(|row| row.checks == checks) {
                let twin = Context::new(ctx.device(), ctx.queue())?;
                others.push((checks, with(twin.with_matrices_of(adapter), checks)));
            }
        }
        Ok(Self { bounds: ctx, others })
    }

    pub(crate) fn of(&self, checks: Checks) -> &Context {
        let other = self.others.iter().find(|(other, _)| *other == checks);
        other.map_or(self.bounds, |(_, ctx)| ctx)
    }
}

#[allow(unsafe_code)]
fn with(ctx: Context, checks: Checks) -> Context {
    match checks {
        Checks::Bounds => ctx,
        // SAFETY: tensors are made from the launches' own operands, nobody destroys them while they
        // are in use, and codes are masked before they index a table.
        Checks::Unchecked => unsafe { ctx.trust_sizes() },
        Checks::LoopGuard => ctx.with_loop_guard(),
        Checks::ZeroedMemory => ctx.with_zeroed_workgroup_memory(),
    }
}

/// The same context without bounds checks.
pub(crate) fn unchecked(ctx: Context) -> Context {
    with(ctx, Checks::Unchecked)
}

/// How a device is opened; the user asked for it on the command line where it is experimental.
#[allow(unsafe_code)]
pub(crate) fn features(experimental: bool) -> Features {
    if experimental {
        // SAFETY: nothing runs but the kernels, on tensors made from their own operands; that wgpu
        // and the driver do right by them is what the user accepted.
        Features::Experimental(unsafe { wgpu::ExperimentalFeatures::enabled() })
    } else {
        Features::Full
    }
}
