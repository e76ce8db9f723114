//! What quantizing took from a layer, kept beside it, so that a step can give back the part that
//! matters to its activations.
//!
//! `R = W - Wq` of a layer `W [rows, cols]` and the weights `Wq` that its base kernel decodes. An input
//! channel `i` is a column: at every step the channels whose activations weigh most are selected
//! ([`super::select`]), and `sum over them of R[:, i] x_i` is added to the base product. Source: "QDEC"
//! (DecDEC), arXiv 2412.20185.
//!
//! # The format, `channel-1`
//! Words `[cols, stride]` of u32, one channel after the other, so that a channel is one stretch of
//! memory. A word holds `n = 32 / bits` outputs: word `w` of a channel outputs `n w .. n w + n`, output
//! `n w + m` in bits `bits m .. bits m + bits`. `stride = 32 ceil(rows / (32 n))` words, a multiple of
//! 128 bytes: reads of host memory travel as lines of at most 128 bytes. The bits of padding are 0.
//!
//! A code is `c = q + 2^(bits - 1)` with `q` in `-P ..= P`, `P = 2^(bits - 1) - 1`; code 0 is legal and
//! means `-2^(bits - 1)`. The weight is `scale[output] q`, one f16 scale an output, in natural order,
//! `n stride` of them, 0 for padding. [`ResidualElement::F16`] holds the residual itself and no scales.
//!
//! [`quantize_residual`] makes a [`ResidualLayer`] from the original weights and those that the base
//! kernel decodes; [`compensate`] is what selected channels add, in f64; files of them are
//! `file::ResidualFile`'s (feature `safetensors`).
//!
//! ```
//! use fewbytes::linear::residual::compensate;
//! use fewbytes::linear::{ResidualElement, Weights, quantize_residual};
//!
//! # fn main() -> fewbytes::Result<()> {
//! // Two outputs of three channels, and what some base kernel makes of them.
//! let weights = [1.0, -0.5, 0.25, 0.75, 2.0, -1.0];
//! let base = [1.0, -0.75, 0.5, 1.0, 2.0, -1.25];
//! let weights = Weights::new("blk.0.up", 2, 3, &weights, None)?;
//! let (layer, report) = quantize_residual(&weights, &base, ResidualElement::Int4)?;
//! assert!(report.after.squared < report.before.squared);
//! // Channel 1, whose activation is 4, was 0.25 too low in output 0, and right in output 1.
//! let added = compensate(&layer, &[0.5, 4.0, -0.5], &[1])?.y;
//! assert!((added[0] - 1.0).abs() < 1e-3 && added[1] == 0.0);
//! # Ok(())
//! # }
//! ```

mod layer;
mod layout;
mod published;
mod quantize;
mod reference;
mod scale;
#[cfg(test)]
mod tests;

pub use layer::ResidualLayer;
pub use layout::{ResidualElement, ResidualLayout};
pub use quantize::{ResidualReport, quantize_residual};
pub use reference::compensate;
