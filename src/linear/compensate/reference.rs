//! The compensation by plain loops in f64.

use super::Compensate;
use crate::linear::residual::ResidualElement;
use crate::{Error, Result};
use half::f16;

/// A reference result and, for every output, the sum of magnitudes that bounds the rounding error of
/// any order of summation.
#[derive(Debug, Clone, PartialEq)]
pub struct Compensated {
    /// `y [batch, y_stride]` in f64.
    pub y: Vec<f64>,
    /// The condition of every output.
    pub condition: Vec<f64>,
}

/// The compensation of the channels of a list, `[batch, k]`; `y` is what is there before, and counts where the spec
/// accumulates. `scales` are empty for residuals of f16.
///
/// # Errors
/// [`Error::Shape`] when a length is not the layout's, [`Error::Range`] for a channel past the last.
pub fn reference(
    spec: &Compensate,
    words: &[u32],
    scales: &[f16],
    list: &[u32],
    x: &[f32],
    y: &[f32],
) -> Result<Compensated> {
    let layout = &spec.layout;
    let element = layout.element();
    let scaled = if element.scaled() { layout.padded_rows() } else { 0 };
    for (what, expected, found) in [
        ("words of the residual", layout.words(), words.len()),
        ("scales of the residual", scaled, scales.len()),
        ("lists of channels", spec.batch * spec.budget.k(), list.len()),
        ("length of x", spec.x_len(), x.len()),
        ("length of y", spec.y_len(), y.len()),
    ] {
        if expected != found {
            return Err(Error::shape(what, expected, found));
        }
    }
    if let Some(channel) = list.iter().find(|&&channel| channel as usize >= layout.cols()) {
        return Err(Error::range("channel", format!("0..{}", layout.cols()), channel));
    }
    let (bits, n) = (element.bits() as usize, element.per_word());
    // Padding between vectors is 0.
    let mut all = Compensated { y: vec![0.0; y.len()], condition: vec![0.0; y.len()] };
    let (k, stride) = (spec.budget.k(), y.len().div_ceil(spec.batch.max(1)));
    for (vector, row) in (0..spec.batch).flat_map(|v| (0..layout.rows()).map(move |row| (v, row))) {
        let at = vector * stride + row;
        let before = if spec.accumulate { f64::from(y[at]) } else { 0.0 };
        let (mut sum, mut condition) = (0.0, 0.0);
        let x = &x[vector * layout.cols()..];
        for &channel in &list[vector * k..(vector + 1) * k] {
            let channel = channel as usize;
            let word = words[channel * layout.stride() + row / n];
            let code = (u64::from(word) >> (bits * (row % n))) & ((1 << bits) - 1);
            let weight = match element {
                ResidualElement::F16 => f16::from_bits(code as u16).to_f64(),
                _ => code as f64 - f64::from(1 << (bits - 1)),
            };
            let term = weight * f64::from(x[channel]);
            sum += term;
            condition += term.abs();
        }
        let scale = scales.get(row).map_or(1.0, |scale| scale.to_f64());
        all.y[at] = before + scale * sum;
        all.condition[at] = before.abs() + (scale * condition).abs();
    }
    Ok(all)
}
