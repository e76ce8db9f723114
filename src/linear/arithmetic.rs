//! Arithmetic of products.

/// In what products are computed.
///
/// This is part of what is asked for, no knob: it changes results beyond rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum Arithmetic {
    /// Products and sums in f32.
    #[default]
    F32,
    /// Products of pairs of weights in f16, summed in f16 over eight products and in f32 from
    /// there on. Faster where a device has f16 arithmetic and the width is 2 or 3 bits; relative
    /// errors are about 5e-4, and eight products that add up to more than 65,504 are infinite.
    F16,
}
