//! By what channels are ranked.

use crate::{Error, Result};
use half::f16;

/// By what channels are ranked, from the largest.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Ranking {
    /// `|x_i|`.
    #[default]
    Magnitude,
    /// `|x_i| * norm_i`, multiplied in f32: an experiment. What a channel leaves in the output when it
    /// is not taken has the length `|x_i| * ||R[:, i]||`.
    Weighted(Norms),
}

impl Ranking {
    /// What channels with the activations `x [cols]` are ranked by: numbers from 0 to infinity, whose
    /// order is the order of their bits as u32.
    ///
    /// NaN counts as 0; infinities are the largest. An infinity times a norm of 0 is NaN, and counts as
    /// 0 too: a channel without residual adds nothing. f16 activations are ranked by their f32 values,
    /// in the same order.
    ///
    /// # Errors
    /// [`Error::Shape`] where there is not one norm a channel.
    pub fn magnitudes(&self, x: &[f32]) -> Result<Vec<f32>> {
        match self {
            Self::Magnitude => Ok(x.iter().map(|x| magnitude(*x)).collect()),
            Self::Weighted(Norms(norms)) => {
                if norms.len() != x.len() {
                    return Err(Error::shape("norms of channels", x.len(), norms.len()));
                }
                Ok(x.iter().zip(norms).map(|(x, norm)| magnitude(x * norm.to_f32())).collect())
            }
        }
    }
}

/// Without its sign; 0 for NaN.
pub(super) fn magnitude(x: f32) -> f32 {
    if x.is_nan() { 0.0 } else { x.abs() }
}

/// `||R[:, i]||_2` of every input channel, rounded to f16. Their common factor does not matter.
#[derive(Debug, Clone, PartialEq)]
pub struct Norms(Vec<f16>);

impl Norms {
    /// One norm a channel.
    ///
    /// # Errors
    /// [`Error::Value`] at the first that is not finite or negative.
    pub fn new(norms: Vec<f16>) -> Result<Self> {
        match norms.iter().position(|norm| !(norm.is_finite() && *norm >= f16::ZERO)) {
            Some(col) => Err(wrong(col, norms[col].into())),
            None => Ok(Self(norms)),
        }
    }

    /// Of the columns of `residual [rows, cols]`, row-major; summed in f64.
    ///
    /// # Errors
    /// [`Error::Shape`] where `residual` is not whole rows of `cols`, [`Error::Value`] for a norm
    /// beyond f16 or a residual that is not finite.
    pub fn of_columns(residual: &[f32], cols: usize) -> Result<Self> {
        if cols == 0 || !residual.len().is_multiple_of(cols) {
            return Err(Error::shape("residual", format!("rows of {cols} > 0"), residual.len()));
        }
        let mut squares = vec![0.0f64; cols];
        for row in residual.chunks_exact(cols) {
            squares.iter_mut().zip(row).for_each(|(sum, r)| *sum += f64::from(*r).powi(2));
        }
        let norm = |(col, square): (usize, f64)| match f16::from_f64(square.sqrt()) {
            norm if norm.is_finite() => Ok(norm),
            _ => Err(wrong(col, square.sqrt())),
        };
        squares.into_iter().enumerate().map(norm).collect::<Result<_>>().map(Self)
    }

    /// One norm a channel.
    pub fn values(&self) -> &[f16] {
        &self.0
    }
}

fn wrong(col: usize, value: f64) -> Error {
    let rule = "must be finite in f16 and not negative";
    Error::Value { what: "norms of channels".to_owned(), row: 0, col, value, rule }
}
