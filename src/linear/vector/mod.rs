//! Weights in pairs: one code of a few bits stands for two neighbouring weights of a row.
//!
//! # The format
//! A layer of `rows x cols` weights has `ceil(cols / 2)` codes a row, each of `n` bits, 2 to 6. Code
//! `j` of a row stands for the weights of columns `2 j` and `2 j + 1`: entry `code` of that row's
//! table, `[rows, 2^n, 2]` of f16 or f32. Where `cols` is odd the second weight of the last code is
//! used for nothing, whatever the table holds there.
//!
//! A code of `n` bits for two weights is `n / 2` bits a weight: 2-bit weights have `n = 4`, 3-bit
//! weights `n = 6`, and 1, 1.5 and 2.5 bits lie between. A row's table adds `32 * 2^n / cols` bits a
//! weight (f16), which is why wider codes are not for tables of their own for every row: 0.5 at
//! 4096 columns and `n = 6`. [`VectorLayer::average_bits`] counts both.
//!
//! Codes lie in `n` planes exactly as those of a [bit-plane layer](super::bitplane) of
//! `ceil(cols / 2)` columns, "skew-1"; a word holds 32 codes, 64 weights. There is one width: codes
//! of fewer bits have no tables.
//!
//! This is the two-dimensional vector form of non-uniform quantization (GPTVQ, QTIP's tables;
//! section 4 of the GuidedQuant paper's formats, arXiv 2505.07004). **There is no quantizer for it
//! here:** codes and tables are given, from vector quantization done elsewhere.

mod layer;
mod layout;

pub use layer::{VectorLayer, VectorShape};
pub use layout::VectorLayout;
