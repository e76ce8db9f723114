//! What all rows of a group share.

use super::feedback;
use super::{LabelStep, LnqOptions};
use crate::linear::Hessian;
use crate::linear::tiled_matrix::{SIDE, Tiles};

/// An input whose diagonal is below this share of the mean was never active.
const INACTIVE: f64 = 1e-12;

/// What is added to the diagonal of active inputs, relative to the trace.
///
/// A Hessian is a sum of squares, but rounded to f32. Rounding moves an eigenvalue by up to 2^-24 of
/// the trace, and rounding the sum of diagonal and ridge by as much again. Below full rank some
/// eigenvalues would be negative without it: tables would grow along those directions, and
/// objectives fall below 0. Relative to the trace, so that a power of two common to the matrix
/// changes nothing.
const RIDGE: f64 = 1.0 / (1 << 23) as f64;

/// One group's Hessian with its ridge, made ready for the inner loops.
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
        let with_ridge = with_ridge(&diagonal);
        let inactive = with_ridge.iter().filter(|&&h| h == 0.0).count();
        let mut inverse = vec![[0.0; SIDE]; cols.div_ceil(SIDE)];
        for (place, &h) in inverse.as_flattened_mut().iter_mut().zip(&with_ridge) {
            *place = reciprocal(h);
        }
        let mut tiles = hessian.tiles(group);
        for (i, &h) in with_ridge.iter().enumerate() {
            let (block, place) = (i / SIDE, i % SIDE);
            if h == 0.0 {
                for other in 0..tiles.across() {
                    tiles.at_mut(block, other)[place].fill(0.0);
                    tiles.at_mut(other, block).iter_mut().for_each(|row| row[place] = 0.0);
                }
            }
            tiles.at_mut(block, block)[place][place] = h;
        }
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

/// The diagonal that is worked with: with the ridge for active inputs, 0 for the others. Rows and
/// columns of those others count as 0 too.
pub(super) fn with_ridge(diagonal: &[f32]) -> Vec<f32> {
    let mean = mean(diagonal);
    let ridge = RIDGE * mean * diagonal.len() as f64;
    // The inverse of a subnormal number may be infinite as f32.
    let (least, normal) = (INACTIVE * mean, f64::from(f32::MIN_POSITIVE));
    let active = |h: f64| h > least && h >= normal;
    let sum = |h: f64| ((h + ridge) as f32).min(f32::MAX);
    diagonal.iter().map(|&h| f64::from(h)).map(|h| if active(h) { sum(h) } else { 0.0 }).collect()
}

/// 1 / `h`, 0 for 0.
fn reciprocal(h: f32) -> f64 {
    if h > 0.0 { 1.0 / f64::from(h) } else { 0.0 }
}

/// The reciprocals of [`with_ridge`], 0 for inactive inputs.
pub(super) fn inverse_diagonal(diagonal: &[f32]) -> impl Iterator<Item = f32> {
    with_ridge(diagonal).into_iter().map(|h| reciprocal(h) as f32)
}
