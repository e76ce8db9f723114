//! A residual in host memory.

use super::{ResidualElement, ResidualLayout};
use crate::{Error, Result};
use half::f16;

const SCALE_RULE: &str = "must be finite and not negative";
const PADDING_RULE: &str = "padding must be 0";

/// The residual of one layer: words of codes, channel after channel, and a scale an output.
///
/// The format is described in [`crate::linear::residual`].
#[derive(Debug, Clone, PartialEq)]
pub struct ResidualLayer {
    layout: ResidualLayout,
    /// `[cols, stride]`.
    words: Vec<u32>,
    /// `[padded_rows]`; none for [`ResidualElement::F16`].
    scales: Vec<f16>,
}

impl ResidualLayer {
    /// Wraps words `[cols, stride]` and scales `[padded_rows]` that are in the format already; scales
    /// are empty for [`ResidualElement::F16`].
    ///
    /// # Errors
    /// [`Error::Shape`] for other lengths than the layout's; [`Error::Value`] for a scale that is
    /// negative or not finite, for an f16 residual that is not finite, and for padding, of words or
    /// scales, that is not 0.
    pub fn from_parts(layout: ResidualLayout, words: Vec<u32>, scales: Vec<f16>) -> Result<Self> {
        if words.len() != layout.words() {
            let expected = format!("{} x {}", layout.cols(), layout.stride());
            return Err(Error::shape("words of the residual", expected, words.len()));
        }
        let expected = if layout.element().scaled() { layout.padded_rows() } else { 0 };
        if scales.len() != expected {
            return Err(Error::shape("scales of the residual", expected, scales.len()));
        }
        let layer = Self { layout, words, scales };
        layer.check_scales()?;
        layer.check_words()?;
        Ok(layer)
    }

    /// Packs codes as they are stored, row-major `[rows, cols]`, with the scales of the `rows`
    /// outputs. For [`ResidualElement::F16`] codes are the bits of the numbers, and there are no
    /// scales.
    ///
    /// # Errors
    /// As [`ResidualLayer::from_parts`], and [`Error::Value`] for a code that needs more bits.
    pub fn from_codes(layout: ResidualLayout, codes: &[u16], scales: &[f16]) -> Result<Self> {
        let (rows, cols, element) = (layout.rows(), layout.cols(), layout.element());
        if rows.checked_mul(cols) != Some(codes.len()) {
            let expected = format!("{rows} x {cols}");
            return Err(Error::shape("codes of the residual", expected, codes.len()));
        }
        let expected = if element.scaled() { rows } else { 0 };
        if scales.len() != expected {
            return Err(Error::shape("scales of the residual", expected, scales.len()));
        }
        let top = u16::MAX >> (16 - element.bits());
        if let Some(at) = codes.iter().position(|&code| code > top) {
            return Err(Error::Value {
                what: "code of the residual".to_owned(),
                row: at / cols,
                col: at % cols,
                value: codes[at].into(),
                rule: "must be below 2^bits",
            });
        }
        let mut words = vec![0; layout.words()];
        for (row, codes) in codes.chunks_exact(cols).enumerate() {
            let (word, shift) = place(element, row);
            for (channel, &code) in words.chunks_exact_mut(layout.stride()).zip(codes) {
                channel[word] |= u32::from(code) << shift;
            }
        }
        Self::from_parts(layout, words, padded(&layout, scales))
    }

    /// Sizes and element.
    pub fn layout(&self) -> &ResidualLayout {
        &self.layout
    }

    /// Outputs of the layer.
    pub fn rows(&self) -> usize {
        self.layout.rows()
    }

    /// Input channels of the layer.
    pub fn cols(&self) -> usize {
        self.layout.cols()
    }

    /// What elements are stored as.
    pub fn element(&self) -> ResidualElement {
        self.layout.element()
    }

    /// The words, `[cols, stride]`.
    pub fn words(&self) -> &[u32] {
        &self.words
    }

    /// The scales, `[padded_rows]`; none for [`ResidualElement::F16`].
    pub fn scales(&self) -> &[f16] {
        &self.scales
    }

    /// The words of one channel, padding included, where there is such a channel.
    pub fn channel(&self, channel: usize) -> Option<&[u32]> {
        self.words.chunks_exact(self.layout.stride()).nth(channel)
    }

    /// One element as it is stored, where there is such a place; an f16 by its bits.
    pub fn code(&self, row: usize, channel: usize) -> Option<u16> {
        if row >= self.rows() {
            return None;
        }
        let (word, shift) = place(self.element(), row);
        let top = u32::MAX >> (32 - self.element().bits());
        // No code is wider than 16 bits.
        self.channel(channel)?.get(word).map(|word| (word >> shift & top) as u16)
    }

    /// One element of the residual, where there is such a place.
    pub fn value(&self, row: usize, channel: usize) -> Option<f32> {
        self.code(row, channel).map(|code| self.decode(row, code))
    }

    /// The residual, row-major `[rows, cols]`. Nothing is rounded: f32 holds every product of a scale
    /// and a code.
    pub fn dequantize(&self) -> Vec<f32> {
        let (rows, cols) = (self.rows(), self.cols());
        let mut dense = vec![0.0; rows * cols];
        for channel in 0..cols {
            for (row, value) in self.channel_values(channel).enumerate() {
                dense[row * cols + channel] = value;
            }
        }
        dense
    }

    /// The norm `sqrt(sum over outputs of R^2)` of every channel of what is stored, for selections
    /// that weigh channels by what they would add.
    ///
    /// Norms are rounded to f16. One that f16 cannot hold is 65504, its largest number: such a channel
    /// still ranks before all that are smaller. One of 2^-25 or less becomes 0.
    pub fn channel_norms(&self) -> Vec<f16> {
        let norm = |channel| {
            let squares = self.channel_values(channel).map(|v| f64::from(v) * f64::from(v));
            f16::from_f64(squares.sum::<f64>().sqrt()).min(f16::MAX)
        };
        (0..self.cols()).map(norm).collect()
    }

    /// The residual of one channel, output after output; of none where there is no such channel.
    pub(super) fn channel_values(&self, channel: usize) -> impl Iterator<Item = f32> + '_ {
        let words = self.channel(channel).unwrap_or_default();
        let (bits, per_word) = (self.element().bits(), self.element().per_word());
        let top = u32::MAX >> (32 - bits);
        let codes = words.iter().flat_map(move |word| {
            (0..per_word as u32).map(move |at| (word >> (at * bits) & top) as u16)
        });
        codes.take(self.rows()).enumerate().map(|(row, code)| self.decode(row, code))
    }

    fn decode(&self, row: usize, code: u16) -> f32 {
        let element = self.element();
        if !element.scaled() {
            return f16::from_bits(code).to_f32();
        }
        let q = f32::from(code) - (element.largest() + 1) as f32;
        self.scales.get(row).map_or(0.0, |scale| scale.to_f32() * q)
    }

    fn check_scales(&self) -> Result<()> {
        let rows = self.rows();
        let rule = |(row, scale): (usize, &f16)| {
            // A scale of -0 is 0.
            if !scale.is_finite() || *scale < f16::ZERO {
                Some(SCALE_RULE)
            } else {
                (row >= rows && *scale != f16::ZERO).then_some(PADDING_RULE)
            }
        };
        for (row, scale) in self.scales.iter().enumerate() {
            if let Some(rule) = rule((row, scale)) {
                let (what, value) = ("scale of the residual".to_owned(), scale.to_f64());
                return Err(Error::Value { what, row, col: 0, value, rule });
            }
        }
        Ok(())
    }

    fn check_words(&self) -> Result<()> {
        let (rows, element) = (self.rows(), self.element());
        let (per_word, bits) = (element.per_word(), element.bits());
        let (whole, rest) = (rows / per_word, rows % per_word);
        for (col, words) in self.words.chunks_exact(self.layout.stride()).enumerate() {
            if element == ResidualElement::F16 {
                let finite = |half: u32| half & 0x7c00 != 0x7c00;
                if !words.iter().all(|word| finite(*word) && finite(word >> 16)) {
                    return Err(self.not_finite(col));
                }
            }
            for (at, &word) in words.iter().enumerate().skip(whole) {
                let used = if at == whole { rest as u32 * bits } else { 0 };
                if word >> used != 0 {
                    let row = at * per_word + (used / bits) as usize;
                    let (what, value) =
                        ("word of the residual".to_owned(), f64::from(word >> used));
                    return Err(Error::Value { what, row, col, value, rule: PADDING_RULE });
                }
            }
        }
        Ok(())
    }

    /// The error for a channel of f16 that has a number that is none.
    fn not_finite(&self, col: usize) -> Error {
        let halves: &[f16] = bytemuck::cast_slice(self.channel(col).unwrap_or_default());
        let found = halves.iter().enumerate().find(|(_, half)| !half.is_finite());
        let (row, value) = found.map_or((0, f64::NAN), |(row, half)| (row, half.to_f64()));
        let what = "f16 residual".to_owned();
        Error::Value { what, row, col, value, rule: "must be finite" }
    }
}

/// Word of a channel in which an output lies, and the bit at which it begins.
pub(super) fn place(element: ResidualElement, row: usize) -> (usize, u32) {
    let within = row % element.per_word();
    // At most 31.
    (row / element.per_word(), within as u32 * element.bits())
}

/// Scales of the outputs, and 0 for padding.
pub(super) fn padded(layout: &ResidualLayout, scales: &[f16]) -> Vec<f16> {
    let mut padded = scales.to_vec();
    if layout.element().scaled() {
        padded.resize(layout.padded_rows(), f16::ZERO);
    }
    padded
}
