//! How large the channels of a layer are, by rank.

use super::Bounds;
use crate::{Error, Result};

/// `T[r]`: the largest `(r + 1)`-th largest magnitude that a calibration token had, for all `r` below
/// `cols`. Descending, and of any number of channels that a step may take.
#[derive(Debug, Clone, PartialEq)]
pub struct Thresholds {
    values: Vec<f32>,
}

impl Thresholds {
    /// Thresholds computed before: one for every rank.
    ///
    /// # Errors
    /// [`Error::Shape`] where there are not `cols` of them, or none; [`Error::Value`] at the first that
    /// is not finite, negative, or larger than the one before.
    pub fn from_values(cols: usize, values: Vec<f32>) -> Result<Self> {
        if cols == 0 || values.len() != cols {
            let expected = format!("{cols}, one for each of at least 1 channel");
            return Err(Error::shape("thresholds", expected, values.len()));
        }
        let mut before = f32::INFINITY;
        for (col, value) in values.iter().copied().enumerate() {
            let rule = match value {
                _ if !value.is_finite() => "must be finite",
                _ if value < 0.0 => "must not be negative",
                _ if value > before => "must not be larger than the one before",
                _ => {
                    before = value;
                    continue;
                }
            };
            let (what, value) = ("thresholds".to_owned(), f64::from(value));
            return Err(Error::Value { what, row: 0, col, value, rule });
        }
        Ok(Self { values })
    }

    /// Input channels of the layer.
    pub fn cols(&self) -> usize {
        self.values.len()
    }

    /// `T[0] ..`, descending.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// `(a, b)` of the [`Bounds`] by which `k` of all channels are taken: `T[0]` and `T[k - 1]`. For
    /// `k = 0`, which takes none, both are `T[0]`.
    ///
    /// # Errors
    /// [`Error::Range`] for more channels than there are.
    pub fn bounds(&self, k: usize) -> Result<(f32, f32)> {
        let ends = (self.values.first(), self.values.get(k.saturating_sub(1)));
        let (Some(a), Some(b)) = ends else {
            return Err(Error::range("channels to take", format!("0..={}", self.cols()), k));
        };
        Ok((*a, *b))
    }

    /// The buckets by which `k` of all channels are taken.
    ///
    /// # Errors
    /// Those of [`Thresholds::bounds`].
    pub fn buckets(&self, k: usize) -> Result<Bounds> {
        let (a, b) = self.bounds(k)?;
        Bounds::new(a, b)
    }
}

/// Gathers [`Thresholds`] over calibration tokens, in batches of any size and order.
///
/// ```
/// use fewbytes::linear::select::ThresholdsAccumulator;
///
/// # fn main() -> fewbytes::Result<()> {
/// let mut calibration = ThresholdsAccumulator::new("blk.0.down", 3)?;
/// calibration.add_batch(&[1.0, -4.0, 2.0, 3.0, 0.0, 3.0])?;
/// assert_eq!(calibration.finish()?.values(), [4.0, 3.0, 1.0]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ThresholdsAccumulator {
    name: String,
    largest: Vec<f32>,
    tokens: usize,
}

impl ThresholdsAccumulator {
    /// No tokens yet. `name` is the layer's name in every later error.
    ///
    /// # Errors
    /// [`Error::Layer`] around [`Error::Shape`] for a layer without channels.
    pub fn new(name: &str, cols: usize) -> Result<Self> {
        if cols == 0 {
            return Err(Error::shape("channels", "at least 1", 0).in_layer(name));
        }
        Ok(Self { name: name.to_owned(), largest: vec![0.0; cols], tokens: 0 })
    }

    /// Adds tokens: what channels are ranked by, `x [n, cols]`, row-major. That is the layer's inputs, or
    /// for a weighted ranking what [`super::Ranking::magnitudes`] makes of them.
    ///
    /// # Errors
    /// [`Error::Layer`] around [`Error::Shape`] when the length is not that of whole tokens, and around
    /// [`Error::Value`] at the first number that is not finite, its row counted over all tokens added.
    /// Nothing is added then.
    pub fn add_batch(&mut self, x: &[f32]) -> Result<()> {
        let cols = self.largest.len();
        if !x.len().is_multiple_of(cols) {
            let expected = format!("tokens of {cols} channels");
            return Err(Error::shape("activations", expected, x.len()).in_layer(&self.name));
        }
        if let Some((at, x)) = x.iter().enumerate().find(|(_, x)| !x.is_finite()) {
            let error = Error::Value {
                what: "activations".to_owned(),
                row: self.tokens + at / cols,
                col: at % cols,
                value: f64::from(*x),
                rule: "must be finite",
            };
            return Err(error.in_layer(&self.name));
        }
        let mut sorted = vec![0.0; cols];
        for token in x.chunks_exact(cols) {
            sorted.iter_mut().zip(token).for_each(|(to, x)| *to = x.abs());
            sorted.sort_unstable_by(|a: &f32, b| b.total_cmp(a));
            self.largest.iter_mut().zip(&sorted).for_each(|(most, x)| *most = most.max(*x));
            self.tokens += 1;
        }
        Ok(())
    }

    /// Tokens added.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// The thresholds.
    ///
    /// # Errors
    /// [`Error::Layer`] around [`Error::Shape`] where no token was added.
    pub fn finish(self) -> Result<Thresholds> {
        if self.tokens == 0 {
            return Err(Error::shape("calibration tokens", "at least 1", 0).in_layer(&self.name));
        }
        Ok(Thresholds { values: self.largest })
    }
}
