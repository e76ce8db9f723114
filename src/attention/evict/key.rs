//! Scores as integers of the same order.

/// An f32 as a u32 of the same order, as kernels that select sort it: all bits of negatives flipped,
/// the sign bit of others. NaN and -0 are 0.
pub(in crate::attention) fn key(score: f32) -> u32 {
    // Adding 0 makes -0 one.
    let bits = if score.is_nan() { 0 } else { (score + 0.0).to_bits() };
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// The score of a key.
pub(in crate::attention) fn score(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 1 { key & !(1 << 31) } else { !key })
}
