//! Rotary positions of keys.

use std::ops::Range;

/// Which numbers of a row are turned together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pairing {
    /// Neighbours, `2 i` and `2 i + 1`: as published.
    Interleaved,
    /// Those half of the rotated ones apart, `i` and `i + dims / 2`: GPT-NeoX's and Llama's files.
    HalfSplit,
}

/// How keys are turned by their positions: pair `i` of position `p` by the angle `p theta^(-2 i / dims)`.
///
/// Source: "RoFormer", arXiv 2104.09864. Kernels take cosines and sines from a table, which
/// [`rotary_angles`] makes: sines of large angles differ from device to device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rotary {
    /// How many of a row's numbers are turned, its first: an even number.
    pub dims: usize,
    /// Which of them together.
    pub pairing: Pairing,
    /// Rows of the table of angles.
    pub angle_rows: u32,
}

impl Rotary {
    /// Numbers of the table of angles: `[angle_rows, dims / 2, 2]`.
    pub fn angles_len(&self) -> usize {
        (self.angle_rows as usize).saturating_mul(self.dims)
    }

    /// The two numbers of pair `pair`.
    pub(in crate::attention) fn pair(&self, pair: usize) -> (usize, usize) {
        match self.pairing {
            Pairing::Interleaved => (2 * pair, 2 * pair + 1),
            Pairing::HalfSplit => (pair, pair + self.dims / 2),
        }
    }
}

/// The table of angles for some positions, `[positions, dims / 2, 2]`: cosine and sine of each angle,
/// computed in f64 and rounded once. `theta` is the base, 10000 as published.
pub fn rotary_angles(positions: Range<u32>, dims: usize, theta: f64) -> Vec<f32> {
    let rates: Vec<f64> =
        (0..dims / 2).map(|pair| theta.powf(-2.0 * pair as f64 / dims as f64)).collect();
    let of = |position: u32| {
        rates.iter().flat_map(move |rate| {
            let (sin, cos) = (f64::from(position) * rate).sin_cos();
            [cos as f32, sin as f32]
        })
    };
    positions.flat_map(of).collect()
}
