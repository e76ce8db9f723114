//! The case table of `sum_slices`.

use super::bitplane::{generator, stored, uniform};
use super::{Case, Expected, Output, Proof, Tensor};
use crate::Result;
use crate::launch::{Caps, Knobs, Spec as _};
use crate::linear::gemv_bitplane::{BIAS, PARTIALS, Y};
use crate::linear::sum_slices::{NAME, reference};
use crate::linear::{Activation, SumSlices};

/// One case.
#[derive(Debug, Clone, Copy)]
pub(super) struct SumCase {
    spec: SumSlices,
    /// The largest magnitude of a partial sum.
    magnitude: f32,
    knobs: Knobs,
}

pub(super) fn cases() -> Vec<SumCase> {
    let mut all = Vec::new();
    for activation in [Activation::F32, Activation::F16] {
        for (rows, batch, slices, bias) in [
            (1, 1, 1, false),
            (1, 1, 2, true),
            (7, 3, 5, true),
            (64, 8, 2, false),
            (65, 2, 33, true),
            (5000, 1, 4, true),
            // More workgroups than one dimension holds.
            (4_200_001, 1, 2, false),
        ] {
            let spec = SumSlices { rows, batch, slices, activation, bias };
            let knobs = if rows > 100_000 {
                Knobs { workgroup: Some(32), ..Knobs::DEFAULT }
            } else {
                Knobs::DEFAULT
            };
            all.push(SumCase { spec, magnitude: 1.0, knobs });
        }
        // Sums beyond the range of f16 become infinite.
        let spec = SumSlices { rows: 33, batch: 1, slices: 8, activation, bias: false };
        all.push(SumCase { spec, magnitude: 60_000.0, knobs: Knobs::DEFAULT });
    }
    all
}

impl Case for SumCase {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> String {
        let SumSlices { rows, batch, slices, activation, bias } = self.spec;
        let bias = if bias { " bias" } else { "" };
        let magnitude = if self.magnitude > 1.0 { " Huge" } else { "" };
        format!("{slices}x{batch}x{rows} {}{bias}{magnitude}", activation.name())
    }

    fn variants(&self, _caps: &Caps) -> Vec<(&'static str, Knobs)> {
        let baseline = Knobs::baseline();
        vec![("baseline", Knobs { workgroup: self.knobs.workgroup, ..baseline })]
    }

    fn build(&self, caps: &Caps, knobs: &Knobs) -> Result<Proof> {
        let spec = self.spec;
        let mut rng = generator(&self.name());
        let partials: Vec<f32> =
            (0..spec.partials_len()).map(|_| self.magnitude * uniform(&mut rng)).collect();
        let bias: Vec<f32> = (0..spec.rows).map(|_| uniform(&mut rng)).collect();
        let bias = spec.bias.then_some(bias.as_slice());
        let sums = reference(&spec, &partials, bias)?;
        let launches = spec.launches(caps, knobs)?;
        let mut tensors = vec![
            Tensor::input(PARTIALS, stored(&partials, Activation::F32)),
            Tensor::output(Y, spec.y_len() * spec.activation.bytes()),
        ];
        if let Some(bias) = bias {
            tensors.push(Tensor::input(BIAS, stored(bias, Activation::F32)));
        }
        // One rounding a term; WGSL does not say to nearest, so each may lose a whole unit.
        let unit = f64::from(f32::EPSILON) * (spec.slices + 1) as f64;
        let tolerance = sums.y.iter().zip(&sums.condition).map(|(y, condition)| {
            let sum = unit * condition;
            match spec.activation {
                Activation::F32 => sum,
                Activation::F16 => sum + ((y.abs() + sum) / 2048.0).max(f64::powi(2.0, -25)),
            }
        });
        let tolerance = tolerance.collect();
        let limit = |y: f64| {
            let infinite = spec.activation == Activation::F16 && y.abs() >= 65520.0;
            if infinite { y.signum() * f64::INFINITY } else { y }
        };
        let values = sums.y.into_iter().map(limit).collect();
        let relative = match spec.activation {
            Activation::F32 => 1e-5,
            Activation::F16 => 1e-3,
        };
        let element = spec.activation;
        let expected = Expected::Close { element, values, tolerance, relative };
        Ok(Proof { launches, tensors, outputs: vec![Output { binding: Y, expected }] })
    }
}
