//! A thin wgpu wrapper for the kernels of [`fewbytes`].
//!
//! It plans (chooses the variant, compiles, remembers) and records into the caller's compute
//! pass. It never owns the caller's device, and nothing submits or waits but the calls that say
//! so: [`Context::submit`], [`Context::read`], [`Context::block_on`], and [`measure`]. Errors are returned, those of
//! the graphics API included. The crate's major version equals wgpu's.
//!
//! ```no_run
//! use fewbytes::linear::BitplaneLayer;
//! use fewbytes_wgpu::{Context, OpenOptions, Result, ops};
//!
//! fn products(layer: &BitplaneLayer) -> Result<Vec<f32>> {
//!     let ctx = pollster::block_on(Context::open(&OpenOptions::default()))?;
//!     let weights = ops::BitplaneWeights::upload(&ctx, layer, 8)?;
//!     let gemv = ops::gemv_bitplane::plan(&ctx, &weights, Default::default())?;
//!     let (x, y) = (ctx.upload(&vec![1.0f32; layer.cols()])?, ctx.alloc::<f32>(layer.rows())?);
//!     let product = gemv.bind(&weights, &x, &y)?;
//!     ctx.submit(|pass| product.record(pass, 4))?;
//!     ctx.block_on(ctx.read::<f32>(&y))
//! }
//! ```
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod adapter;
mod context;
#[cfg(all(feature = "hostmem", not(target_arch = "wasm32")))]
pub mod hostmem;
#[cfg(not(target_arch = "wasm32"))]
pub mod measure;
mod module;
pub mod ops;
mod pipeline;
mod pipeline_cache;
mod placement;
mod plan;
#[cfg(feature = "proof")]
mod prove;
mod readback;
mod scope;
#[cfg(feature = "tune")]
pub mod tune;
mod view;

pub use adapter::{Features, OpenOptions, adapters, describe};
pub use context::Context;
pub use fewbytes::{Error, Result};
pub use placement::{Memory, Placement};
pub use plan::{Arg, Bound, Plan};
#[cfg(feature = "proof")]
pub use prove::{Verdict, prove};
pub use view::{Element, Scalar, View};
pub use wgpu;
