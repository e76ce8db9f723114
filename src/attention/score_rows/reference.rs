//! What logits and the largest of them are, from the definition.

use crate::attention::reference::Logits;
use std::f64::consts::LOG2_E;

/// The logit of a query and a key, in base 2.
pub fn score(logits: &Logits, q: &[f32], key: &[f32]) -> f64 {
    logits.of(q, key) * LOG2_E
}

/// A number as an integer of the same order, above 0: NaN above all, -0 as 0.
pub fn image(x: f32) -> u32 {
    let bits = if x == 0.0 { 0 } else { x.to_bits() };
    match bits >> 31 {
        _ if x.is_nan() => 0xffc0_0000,
        1 => !bits,
        _ => bits | 1 << 31,
    }
}

/// The number of an image.
pub fn number(image: u32) -> f32 {
    f32::from_bits(if image >> 31 == 1 { image ^ 1 << 31 } else { !image })
}
