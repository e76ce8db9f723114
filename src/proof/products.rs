//! Activations of products, and what their results have to be.

use super::Expected;
use super::bitplane::{generator, uniform};
use crate::launch::{Caps, Knobs, Reduce};
use crate::linear::Activation;
use half::f16;

/// What the activations are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// Between -1 and 1.
    Random,
    /// 1 at one column, the next for every next vector, 0 elsewhere: table entries come out
    /// unchanged.
    OneHot(usize),
    /// All 1: sums of rows.
    Ones,
    /// A few columns a thousand times larger than the rest.
    Outliers,
    /// Large numbers of alternating sign, which cancel.
    Cancelling,
    /// NaN in one column: every row is NaN.
    NaN,
    /// Infinity in one column: every row is infinite, with the sign of its weight there.
    Infinite,
}

impl Input {
    /// The activations of one vector.
    pub(super) fn vector(
        self,
        cols: usize,
        activation: Activation,
        seed: &str,
        vector: usize,
    ) -> Vec<f32> {
        if let Input::OneHot(col) = self {
            let mut x = vec![0.0; cols];
            x[(col + vector) % cols] = 1.0;
            return x;
        }
        let mut rng = generator(&format!("{seed} {vector}"));
        let mut x: Vec<f32> = (0..cols).map(|_| uniform(&mut rng)).collect();
        match self {
            Input::Random | Input::OneHot(_) => {}
            Input::Ones => x.fill(1.0),
            Input::Outliers => x.iter_mut().step_by(29).for_each(|v| *v *= 1000.0),
            Input::Cancelling => {
                for (i, v) in x.iter_mut().enumerate() {
                    *v = if i % 2 == 0 { 1.0 + *v / 4.0 } else { -1.0 + *v / 4.0 };
                    *v *= 300.0;
                }
            }
            Input::NaN => x[3 % cols] = f32::NAN,
            Input::Infinite => x[40 % cols] = f32::INFINITY,
        }
        if activation == Activation::F16 {
            x.iter_mut().for_each(|v| *v = f16::from_f32(*v).to_f32());
        }
        x
    }
}

/// The variants of a product in tiles: by lanes, unless matrices are insisted on, and by cooperative
/// matrices where the factors are `halves`, the shape is not one for lanes, and the device has them.
pub(super) fn by_lanes_and_matrices(
    knobs: Knobs,
    halves: bool,
    caps: &Caps,
) -> Vec<(&'static str, Knobs)> {
    let with = |matrix| Knobs { reduce: Some(Reduce::Workgroup), matrix: Some(matrix), ..knobs };
    let shaped = knobs.workgroup.is_some() && knobs.matrix != Some(true);
    let mut all = Vec::new();
    if knobs.matrix != Some(true) {
        all.push(("baseline", with(false)));
    }
    if halves && !shaped && caps.has_matrices() {
        all.push(("matrix", with(true)));
    }
    all
}

/// The share of its condition by which a sum may be off after `depth` roundings one after another.
pub(super) fn gamma(depth: usize) -> f64 {
    // WGSL does not say that f32 rounds to nearest, so one rounding may lose a whole unit.
    let lost = depth as f64 * f64::from(f32::EPSILON);
    lost / (1.0 - lost)
}

/// What products have to be.
pub(super) struct Judge {
    pub(super) input: Input,
    pub(super) activation: Activation,
    pub(super) bias: bool,
}

impl Judge {
    /// The expected output from the reference; `error` says by how much a sum of some condition may
    /// be off before it is stored.
    pub(super) fn expected(
        &self,
        y: Vec<f64>,
        condition: Vec<f64>,
        error: impl Fn(f64) -> f64,
    ) -> Expected {
        let exact = matches!(self.input, Input::OneHot(_)) && !self.bias;
        let tolerance = y.iter().zip(condition).map(|(y, condition)| {
            if exact {
                return 0.0;
            }
            let sum = error(condition);
            match self.activation {
                Activation::F32 => sum,
                // Rounding to f16 afterwards; half a unit of subnormals at least.
                Activation::F16 => sum + ((y.abs() + sum) / 2048.0).max(f64::powi(2.0, -25)),
            }
        });
        // The house's own bound, for inputs that do not cancel; f16 outputs round once more.
        let relative = match (self.input, self.activation) {
            (Input::Cancelling, _) => f64::INFINITY,
            (_, Activation::F32) => 5e-4,
            (_, Activation::F16) => 1.5e-3,
        };
        let tolerance = tolerance.collect();
        let values = match self.activation {
            Activation::F32 => y,
            // Beyond f16's range the output is infinite.
            Activation::F16 => y
                .into_iter()
                .map(|y| if y.abs() >= 65520.0 { y.signum() * f64::INFINITY } else { y })
                .collect(),
        };
        Expected::Close { element: self.activation, values, tolerance, relative }
    }
}
