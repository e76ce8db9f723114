//! What all rows of a group share.

use super::feedback;
use super::{LabelStep, LnqOptions};
use crate::linear::Hessian;
use crate::linear::tiled_matrix::{SIDE, Tiles};

/// An input whose diagonal is below this share of the mean was never active.
const INACTIVE: f64 = 1e-12;

/// One group's Hessian, made ready for the inner loops.
pub(super) struct Problem {
    pub(super) cols: usize,
    pub(super) tiles: Tiles,
    /// The factor of the sequential rounding, where that is asked for.
    pub(super) feedback: Option<Tiles>,
    /// 1 / H[i, i]; 0 for inactive inputs and for padding. In whole tiles.
    pub(super) inverse: Vec<[f64; SIDE]>,
    /// Inputs that no token made active.
    pub(super) inactive: usize,
    /// Damping of the factor, relative to the mean diagonal.
    pub(super) damping: f64,
}

impl Problem {
    pub(super) fn new(hessian: &Hessian, group: usize, options: &LnqOptions) -> Self {
        let cols = hessian.inputs();
        let diagonal = hessian.diagonal(group);
        let mean = mean(&diagonal);
        let mut inverse = vec![[0.0; SIDE]; cols.div_ceil(SIDE)];
        let mut inactive = 0;
        for (place, reciprocal) in inverse.as_flattened_mut().iter_mut().zip(reciprocals(&diagonal))
        {
            *place = reciprocal;
            inactive += usize::from(reciprocal == 0.0);
        }
        let tiles = hessian.tiles(group);
        let (feedback, damping) = match options.labels {
            LabelStep::Descent => (None, 0.0),
            LabelStep::Feedback => feedback::factor(hessian, group, mean),
        };
        Self { cols, tiles, feedback, inverse, inactive, damping }
    }
}

fn mean(diagonal: &[f32]) -> f64 {
    diagonal.iter().map(|&h| f64::from(h)).sum::<f64>() / diagonal.len() as f64
}

/// 1 / H[i, i], 0 for inactive inputs.
fn reciprocals(diagonal: &[f32]) -> impl Iterator<Item = f64> {
    // The inverse of a subnormal number may be infinite as f32.
    let (least, normal) = (INACTIVE * mean(diagonal), f64::from(f32::MIN_POSITIVE));
    let active = move |h: f64| h > least && h >= normal;
    diagonal.iter().map(|&h| f64::from(h)).map(move |h| if active(h) { 1.0 / h } else { 0.0 })
}

/// The same in f32.
pub(super) fn inverse_diagonal(diagonal: &[f32]) -> impl Iterator<Item = f32> {
    reciprocals(diagonal).map(|reciprocal| reciprocal as f32)
}
