//! Which input channels of a step matter most.
//!
//! Channels are ranked by the magnitude of their activation, chunk by chunk: of every
//! [`CHUNK`] channels `k_chunk` are taken, of a last, shorter chunk of `len` channels
//! `floor(k_chunk len / 1024)`. Selected channels are listed in ascending order, chunk after chunk, so
//! what is done with them repeats bit by bit. Source: "QDEC" (DecDEC), arXiv 2412.20185, section 4.

mod budget;

pub use budget::{Budget, CHUNK};
