//! Scores of all pairs.

use super::{HeadScores, key::key};
use crate::{Error, Result};

/// How much every pair matters: `[layers, heads, n]`, f32, larger for what has to stay, of any sign.
/// Layers are those that are scored, counted from 0; a hybrid model's others are not there.
///
/// There is no NaN in it: one that is given becomes 0 and is counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    layers: usize,
    heads: usize,
    n: u32,
    values: Vec<f32>,
    nan: u64,
}

impl Scores {
    /// `values [layers, heads, n]` of whoever made them.
    ///
    /// # Errors
    /// [`Error::Range`] for no layers or no heads, or more of them than 65,535; [`Error::Shape`] for
    /// another number of values.
    pub fn new(layers: usize, heads: usize, n: u32, values: Vec<f32>) -> Result<Self> {
        let expected = len(layers, heads, n)?;
        if values.len() != expected {
            let expected = format!("{layers} x {heads} x {n}");
            return Err(Error::shape("length of scores", expected, values.len()));
        }
        let mut scores = Self { layers, heads, n, values, nan: 0 };
        scores.nan = clean(&mut scores.values);
        Ok(scores)
    }

    /// 0 everywhere, to be written piece by piece.
    ///
    /// # Errors
    /// [`Error::Range`] as [`Scores::new`], and for more pairs than memory counts.
    pub fn zeros(layers: usize, heads: usize, n: u32) -> Result<Self> {
        let len = len(layers, heads, n)?;
        Ok(Self { layers, heads, n, values: vec![0.0; len], nan: 0 })
    }

    /// One piece `[heads, n]` for each layer.
    ///
    /// # Errors
    /// As [`Scores::new`], naming the layer.
    pub fn from_layers<P: AsRef<[f32]>>(heads: usize, n: u32, pieces: &[P]) -> Result<Self> {
        let mut scores = Self::zeros(pieces.len(), heads, n)?;
        for (layer, piece) in pieces.iter().enumerate() {
            scores.write(layer, 0, piece.as_ref())?;
        }
        Ok(scores)
    }

    /// Scores of some positions of one layer, those from `start`: `values [heads, positions]`.
    ///
    /// # Errors
    /// [`Error::Range`] for a layer or positions that there are not, [`Error::Shape`] for values that are
    /// not as many for every head.
    pub fn write(&mut self, layer: usize, start: u32, values: &[f32]) -> Result<()> {
        if layer >= self.layers {
            return Err(Error::range("layer of scores", format!("0..{}", self.layers), layer));
        }
        let what = || format!("length of scores of layer {layer}");
        if !values.len().is_multiple_of(self.heads) {
            let expected = format!("a multiple of {} heads", self.heads);
            return Err(Error::shape(what(), expected, values.len()));
        }
        let (n, piece) = (self.n as usize, values.len() / self.heads);
        let start = start as usize;
        if piece > n.saturating_sub(start) {
            let limit = format!("0..={n}");
            return Err(Error::range(format!("end of {}", what()), limit, start + piece));
        }
        if piece == 0 {
            return Ok(());
        }
        let layer = layer * self.heads * n;
        for (head, values) in values.chunks_exact(piece).enumerate() {
            let from = layer + head * n + start;
            let own = &mut self.values[from..from + piece];
            own.copy_from_slice(values);
            self.nan += clean(own);
        }
        Ok(())
    }

    /// The larger score of several sources, pair by pair: what one of them needs stays.
    ///
    /// # Errors
    /// [`Error::Shape`] for sources of other sizes, or none.
    pub fn combine<'a>(sources: impl IntoIterator<Item = &'a Self>) -> Result<Self> {
        let mut sources = sources.into_iter();
        let none = || Error::shape("sources of scores to combine", "at least one", 0);
        let mut all = sources.next().ok_or_else(none)?.clone();
        for source in sources {
            let sizes = |s: &Self| format!("{} x {} x {}", s.layers, s.heads, s.n);
            let (own, other) = (sizes(&all), sizes(source));
            if own != other {
                return Err(Error::shape("scores to combine", own, other));
            }
            let pairs = all.values.iter_mut().zip(&source.values);
            pairs.for_each(|(own, other)| *own = own.max(*other));
            all.nan += source.nan;
        }
        Ok(all)
    }

    /// The largest score of every head; of no positions 0.
    pub fn head_scores(&self) -> HeadScores {
        let (n, count) = (self.n as usize, self.layers * self.heads);
        let largest = |scores: &[f32]| scores.iter().copied().reduce(f32::max).unwrap_or(0.0);
        let values = match n {
            0 => vec![0.0; count],
            _ => self.values.chunks_exact(n).map(largest).collect(),
        };
        HeadScores::of(self.layers, self.heads, values, self.nan)
    }

    /// Layers that are scored.
    pub fn layers(&self) -> usize {
        self.layers
    }

    /// KV heads of a layer.
    pub fn heads(&self) -> usize {
        self.heads
    }

    /// Positions of the context.
    pub fn n(&self) -> u32 {
        self.n
    }

    /// All pairs: `layers heads n`.
    pub fn pairs(&self) -> u64 {
        self.values.len() as u64
    }

    /// All of them, `[layers, heads, n]`.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// All of them, taken out.
    pub fn into_values(self) -> Vec<f32> {
        self.values
    }

    /// Scores of one head of one layer, `[n]`; empty where there is no such head.
    pub fn head(&self, layer: usize, head: usize) -> &[f32] {
        if layer >= self.layers || head >= self.heads {
            return &[];
        }
        let n = self.n as usize;
        let from = (layer * self.heads + head) * n;
        &self.values[from..from + n]
    }

    /// How many were given as NaN, and count as 0.
    pub fn nan(&self) -> u64 {
        self.nan
    }
}

/// Numbers of `[layers, heads, n]`.
pub(super) fn len(layers: usize, heads: usize, n: u32) -> Result<usize> {
    for (what, count) in [("layers of scores", layers), ("KV heads of scores", heads)] {
        if !(1..=0xffff).contains(&count) {
            return Err(Error::range(what, "1..=65535", count));
        }
    }
    let pairs = (layers * heads) as u64 * u64::from(n);
    // A Vec holds no more bytes than isize counts.
    let limit = isize::MAX as u64 / 4;
    let fitting = usize::try_from(pairs).ok().filter(|_| pairs <= limit);
    fitting.ok_or_else(|| Error::range("pairs to score", format!("0..={limit}"), pairs))
}

/// Makes NaN and -0 the 0 that they count as; how many were NaN.
pub(super) fn clean(values: &mut [f32]) -> u64 {
    let mut nan = 0;
    for value in values {
        nan += u64::from(value.is_nan());
        *value = super::key::score(key(*value));
    }
    nan
}
