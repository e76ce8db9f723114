//! Which input channels of a step matter most.
//!
//! Channels are ranked by the magnitude of their activation, chunk by chunk: of every
//! [`CHUNK`] channels `k_chunk` are taken, of a last, shorter chunk of `len` channels
//! `floor(k_chunk len / 1024)`. Selected channels are listed in ascending order, chunk after chunk, so
//! what is done with them repeats bit by bit. Source: "QDEC" (DecDEC), arXiv 2412.20185, section 4.
//!
//! | [`Selector`] | what it takes | calibration |
//! |---|---|---|
//! | [`Selector::Exact`] | the `k` largest of all channels: the oracle | none |
//! | [`Selector::ChunkRadix`] | the largest of every chunk, exactly | none |
//! | [`Selector::Bucket32`] | whole buckets of magnitude, then some of the next: the paper's | [`Thresholds`] |
//!
//! What they are worth on real activations is in `docs/qdec.md`. These are the scalar references; a
//! device's selectors list the same channels.

mod bounds;
mod budget;
mod ranking;
mod selector;
#[cfg(test)]
mod tests;
mod thresholds;

pub use bounds::{BUCKETS, Bounds};
pub use budget::{Budget, CHUNK};
pub use ranking::{Norms, Ranking};
pub use selector::Selector;
pub use thresholds::{Thresholds, ThresholdsAccumulator};
