//! Residuals on the CPU: their words, what quantizing promises, what selected channels add.

mod layer;
mod published;
mod quantize;
mod reference;

use super::{ResidualElement, ResidualLayer, ResidualLayout};
use half::f16;

/// Codes row-major, every one that the element has among them where there are enough places.
fn codes(layout: &ResidualLayout, seed: u64) -> Vec<u16> {
    let top = u16::MAX >> (16 - layout.element().bits());
    let mut state = seed;
    let mut next = || {
        // The generator of Knuth's MMIX; its low bits are poor.
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let code = (state >> 40) as u16 & top;
        // Halves that are no numbers are not for residuals.
        if layout.element().scaled() || code & 0x7c00 != 0x7c00 { code } else { code & 0x83ff }
    };
    (0..layout.rows() * layout.cols()).map(|_| next()).collect()
}

/// Scales of the outputs, all different.
fn scales(layout: &ResidualLayout) -> Vec<f16> {
    let rows = if layout.element().scaled() { layout.rows() } else { 0 };
    (0..rows).map(|row| f16::from_f32((row % 500) as f32 / 64.0)).collect()
}

fn sample(rows: usize, cols: usize, element: ResidualElement, seed: u64) -> ResidualLayer {
    let layout = ResidualLayout::new(rows, cols, element).unwrap();
    ResidualLayer::from_codes(layout, &codes(&layout, seed), &scales(&layout)).unwrap()
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: crate::Result<T>, words: &[&str]) -> crate::Error {
    let error = result.unwrap_err();
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text:?}");
    }
    error
}
