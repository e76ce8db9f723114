//! Choosing knobs by measurement, when asked to and never otherwise.
//!
//! Knobs change speed and never results beyond rounding, so any of a spec's
//! [candidates](fewbytes::Spec::candidates) may be used. [`Context::tune`](crate::Context::tune)
//! times them on made-up tensors; a [`TuneCache`] remembers the fastest, in a file if wanted, and
//! answers without timing anything. What it does not know for this very device, driver, shader
//! checks, spec and text of the kernels gets the defaults.
//!
//! Candidates that are not timed: those that the spec refuses on the device, those whose launches
//! are an earlier candidate's, those with too few workgroups to fill the device, and all that
//! remain once one is as fast as the [`Roof`] allows. Those whose times did not settle, or were
//! taken before the device's clock rose, are timed again; what settled wins against what did not,
//! and a winner that did not settle is never remembered. [`Tuned::tried`] tells of each.
//!
//! The seeds that come with the crate are what was found on measured devices: today some products of
//! `gemv_bitplane` on an H100, with bounds checks.
//!
//! ```no_run
//! use fewbytes::Spec;
//! use fewbytes_wgpu::{Context, Plan, Result, tune::TuneCache};
//!
//! fn plan(ctx: &Context, spec: &impl Spec, learn: bool) -> Result<Plan> {
//!     let mut cache = TuneCache::load_or_new("tuned.json")?.with_shipped_seeds();
//!     if learn {
//!         cache.remember(ctx, spec, &ctx.tune(spec)?)?;
//!         cache.save("tuned.json")?;
//!     }
//!     ctx.plan_with(spec, &cache.knobs(ctx, spec))
//! }
//! ```

mod cache;
#[cfg(not(target_arch = "wasm32"))]
pub mod compensation;
mod entry;
mod file;
#[cfg(not(target_arch = "wasm32"))]
mod options;
#[cfg(not(target_arch = "wasm32"))]
mod survey;
#[cfg(not(target_arch = "wasm32"))]
mod tuner;

pub use cache::TuneCache;
pub use entry::{TuneEntry, TunedAdapter, TunedChecks, TunedDriver};
#[cfg(not(target_arch = "wasm32"))]
pub use options::{Roof, TuneOptions};
#[cfg(not(target_arch = "wasm32"))]
pub use tuner::{Outcome, Trial, Tuned};
