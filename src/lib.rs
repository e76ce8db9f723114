//! Portable GPU kernels that read only the bytes that matter.
//!
//! This crate names no GPU API. It owns WGSL text, kernel descriptors, launch geometry, packed
//! formats, quantizers and a CPU reference of every kernel. Anything with a WebGPU-like API can
//! run what it describes; `fewbytes-wgpu` is the wrapper for wgpu.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

#[cfg(target_endian = "big")]
compile_error!("packed formats and launch parameters are little-endian memory");

pub mod attention;
mod error;
pub mod launch;
pub mod linear;
#[cfg(feature = "proof")]
pub mod proof;
pub mod stream;

pub use error::{Error, Result};
pub use launch::{Caps, Knobs, Launch, Spec};
