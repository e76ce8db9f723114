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
//! 128 bytes: reads of host memory travel as lines of at most 128 bytes. Padding holds codes of 0.
//!
//! A code is `c = q + 2^(bits - 1)` with `q` in `-P ..= P`, `P = 2^(bits - 1) - 1`; code 0 is legal and
//! means `-2^(bits - 1)`. The weight is `scale[output] q`, one f16 scale an output, in natural order,
//! `n stride` of them, 0 for padding. [`ResidualElement::F16`] holds the residual itself and no scales.

mod layout;

pub use layout::{ResidualElement, ResidualLayout};
