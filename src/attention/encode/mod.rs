//! Rows of numbers as words, and back.

#[cfg(test)]
mod tests;

use super::{CacheShape, KvElement};
use crate::{Error, Result};
use half::{bf16, f16};

/// Codes of 8 bits reach so far on both sides of 0.
const INT8_TOP: f32 = 127.0;
/// Codes of 4 bits reach so far from 0.
const INT4_TOP: f32 = 15.0;

/// Writes one row of `head_dim` numbers as `row_words` words, and gives back its word of parameters, 0
/// where the element has none. Of all `rows` and `cols` in errors, `row` is this one.
///
/// Everything is rounded to nearest, halves to even, and computed in f32, one rounding a step.
/// - `F16` and `Bf16` round as IEEE numbers do: what is too large becomes an infinity. These and `F32`
///   store infinities and NaN as what they are.
/// - `Int8`: `scale = f16(max |x| / 127)`, `q = round(x / scale)`, at most 127 in magnitude.
/// - `Int4`: `zero = f16(min x)`, `scale = f16((max x - zero) / 15)`, `c = round((x - zero) / scale)`,
///   within 0 to 15.
///
/// Scales and zeros are those that are stored, rounded already, when codes are computed; both stop at
/// 65504, f16's largest number, and codes at their ends, so numbers beyond are stored as the largest
/// there are. A scale that rounds to 0 makes all codes 0: rows of zeros are stored exactly. Scales below
/// 2^-14 are subnormal, and devices may read them as 0.
/// Devices may divide inexactly; `append_kv` makes the same words and parameters all the same, as it
/// decides by products which side of a half a quotient is on.
///
/// # Errors
/// [`Error::Shape`] for other lengths than the shape's; [`Error::Value`] with the row and column of a
/// number that is not finite, of `Int8` and `Int4`.
pub fn encode_row(
    shape: &CacheShape,
    what: &str,
    row: usize,
    values: &[f32],
    words: &mut [u32],
) -> Result<u32> {
    check_lengths(shape, values.len(), words.len())?;
    words.fill(0);
    let element = shape.element();
    if element.scaled()
        && let Some(col) = values.iter().position(|value| !value.is_finite())
    {
        let (what, value) = (what.to_owned(), values[col].into());
        return Err(Error::Value { what, row, col, value, rule: "must be finite" });
    }
    match element {
        KvElement::F32 => pack(element, values, words, f32::to_bits),
        KvElement::F16 => pack(element, values, words, |x| f16::from_f32(x).to_bits().into()),
        KvElement::Bf16 => pack(element, values, words, |x| bf16::from_f32(x).to_bits().into()),
        KvElement::Int8 => {
            let largest = values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
            let stored = rounded(largest / INT8_TOP);
            let scale = stored.to_f32();
            pack(element, values, words, |value| {
                // -127 to 127, of which the lowest byte is stored.
                let q = quotient(value, scale).clamp(-INT8_TOP, INT8_TOP) as i32;
                q as u32 & 0xff
            });
            return Ok(stored.to_bits().into());
        }
        KvElement::Int4 => {
            let (low, high) = values.iter().fold((f32::MAX, f32::MIN), |(low, high), value| {
                (low.min(*value), high.max(*value))
            });
            // Adding 0 takes the sign off a zero, so that it does not depend on the order.
            let stored_zero = rounded(low + 0.0);
            let zero = stored_zero.to_f32();
            let stored = rounded((high - zero).max(0.0) / INT4_TOP);
            let scale = stored.to_f32();
            let code = |value| quotient(value - zero, scale).clamp(0.0, INT4_TOP) as u32;
            pack(element, values, words, code);
            return Ok(u32::from(stored.to_bits()) | u32::from(stored_zero.to_bits()) << 16);
        }
    }
    Ok(0)
}

/// Reads one row back: `head_dim` numbers. Those of `Int4` are rounded once, to f32, where scale times
/// code meets the zero; all others are exact.
///
/// # Errors
/// [`Error::Shape`] for other lengths than the shape's.
pub fn decode_row(
    shape: &CacheShape,
    words: &[u32],
    params: u32,
    values: &mut [f32],
) -> Result<()> {
    check_lengths(shape, values.len(), words.len())?;
    let element = shape.element();
    let half = |bits: u32| f16::from_bits((bits & 0xffff) as u16).to_f32();
    let (scale, zero) = (half(params), half(params >> 16));
    let decode = |code: u32| match element {
        KvElement::F32 => f32::from_bits(code),
        KvElement::F16 => half(code),
        KvElement::Bf16 => f32::from_bits(code << 16),
        // The lowest byte, with its sign.
        KvElement::Int8 => scale * f32::from(code as u8 as i8),
        KvElement::Int4 => scale * code as f32 + zero,
    };
    let (bits, top) = (element.bits(), u32::MAX >> (32 - element.bits()));
    for (word, values) in words.iter().zip(values.chunks_mut(element.per_word())) {
        for (at, value) in values.iter_mut().enumerate() {
            *value = decode(word >> (at as u32 * bits) & top);
        }
    }
    Ok(())
}

/// The codes of a row, the first in the lowest bits.
fn pack(element: KvElement, values: &[f32], words: &mut [u32], code: impl Fn(f32) -> u32) {
    for (word, values) in words.iter_mut().zip(values.chunks(element.per_word())) {
        for (at, &value) in values.iter().enumerate() {
            // At most 7 places of a word.
            *word |= code(value) << (at as u32 * element.bits());
        }
    }
}

/// The nearest f16, but no infinity.
fn rounded(value: f32) -> f16 {
    f16::from_f32(value.clamp(f16::MIN.to_f32(), f16::MAX.to_f32()))
}

/// The nearest whole number to a quotient; 0 without a scale.
fn quotient(value: f32, scale: f32) -> f32 {
    if scale > 0.0 { (value / scale).round_ties_even() } else { 0.0 }
}

fn check_lengths(shape: &CacheShape, values: usize, words: usize) -> Result<()> {
    if values != shape.head_dim() {
        return Err(Error::shape("numbers of a row", shape.head_dim(), values));
    }
    if words != shape.row_words() {
        return Err(Error::shape("words of a row", shape.row_words(), words));
    }
    Ok(())
}
