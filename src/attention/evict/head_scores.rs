//! Scores of whole heads.

use super::Scores;
use super::scores::{clean, len};
use crate::{Error, Result};

/// How much every KV head matters: `[layers, heads]`, the largest score of its pairs. Taken from one long
/// text they serve a model ever after; those of several texts are [combined](HeadScores::combine).
///
/// With the feature `serde` they are written and read as `layers`, `heads` and `scores`, and checked when
/// they are read.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "Stored", into = "Stored")
)]
pub struct HeadScores {
    layers: usize,
    heads: usize,
    values: Vec<f32>,
    nan: u64,
}

/// As scores of heads are written.
#[cfg(feature = "serde")]
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    layers: usize,
    heads: usize,
    scores: Vec<f32>,
}

#[cfg(feature = "serde")]
impl From<HeadScores> for Stored {
    fn from(of: HeadScores) -> Self {
        Self { layers: of.layers, heads: of.heads, scores: of.values }
    }
}

#[cfg(feature = "serde")]
impl TryFrom<Stored> for HeadScores {
    type Error = Error;

    fn try_from(stored: Stored) -> Result<Self> {
        Self::new(stored.layers, stored.heads, stored.scores)
    }
}

impl HeadScores {
    /// `values [layers, heads]` of whoever made them.
    ///
    /// # Errors
    /// As [`Scores::new`].
    pub fn new(layers: usize, heads: usize, mut values: Vec<f32>) -> Result<Self> {
        if values.len() != len(layers, heads, 1)? {
            let expected = format!("{layers} x {heads}");
            return Err(Error::shape("length of scores of heads", expected, values.len()));
        }
        let nan = clean(&mut values);
        Ok(Self { layers, heads, values, nan })
    }

    pub(super) fn of(layers: usize, heads: usize, values: Vec<f32>, nan: u64) -> Self {
        Self { layers, heads, values, nan }
    }

    /// The larger score of several sources, head by head.
    ///
    /// # Errors
    /// [`Error::Shape`] for sources of other sizes, or none.
    pub fn combine<'a>(sources: impl IntoIterator<Item = &'a Self>) -> Result<Self> {
        let mut sources = sources.into_iter();
        let none = || Error::shape("sources of scores to combine", "at least one", 0);
        let mut all = sources.next().ok_or_else(none)?.clone();
        for source in sources {
            let sizes = |s: &Self| format!("{} x {}", s.layers, s.heads);
            let (own, other) = (sizes(&all), sizes(source));
            if own != other {
                return Err(Error::shape("scores of heads to combine", own, other));
            }
            let pairs = all.values.iter_mut().zip(&source.values);
            pairs.for_each(|(own, other)| *own = own.max(*other));
            all.nan += source.nan;
        }
        Ok(all)
    }

    /// The head's score for each of its `n` positions.
    ///
    /// # Errors
    /// [`Error::Range`] for more pairs than memory counts.
    pub fn broadcast(&self, n: u32) -> Result<Scores> {
        let mut values = Vec::with_capacity(len(self.layers, self.heads, n)?);
        let each = self.values.iter().flat_map(|score| std::iter::repeat_n(*score, n as usize));
        values.extend(each);
        Scores::new(self.layers, self.heads, n, values)
    }

    /// Layers that are scored.
    pub fn layers(&self) -> usize {
        self.layers
    }

    /// KV heads of a layer.
    pub fn heads(&self) -> usize {
        self.heads
    }

    /// All of them, `[layers, heads]`.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// How many scores were given as NaN, and count as 0.
    pub fn nan(&self) -> u64 {
        self.nan
    }
}
