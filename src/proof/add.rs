//! The case table of `add`.

use super::bitplane::{generator, stored, uniform};
use super::{Case, Expected, Output, Proof, Tensor};
use crate::Result;
use crate::launch::{Caps, Knobs, Spec as _};
use crate::linear::add::{A, B, NAME, Y, reference};
use crate::linear::{Activation, Add};
use half::f16;

/// One case.
#[derive(Debug, Clone, Copy)]
pub(super) struct AddCase {
    spec: Add,
    /// The largest magnitude of a number.
    magnitude: f32,
    workgroup: Option<u32>,
    /// Infinities and NaN among the numbers.
    special: bool,
}

pub(super) fn cases() -> Vec<AddCase> {
    let mut all = Vec::new();
    for activation in [Activation::F32, Activation::F16] {
        let new = |len| AddCase {
            spec: Add { len, activation },
            magnitude: 1.0,
            workgroup: None,
            special: false,
        };
        all.extend([1, 2, 63, 64, 65, 127, 129, 28_673].map(new));
        // Sums beyond the range of f16 become infinite.
        all.push(AddCase { magnitude: 60_000.0, ..new(333) });
        all.push(AddCase { special: true, ..new(101) });
        // More workgroups than one dimension holds.
        let len = 2_100_001 * if activation == Activation::F16 { 2 } else { 1 };
        all.push(AddCase { workgroup: Some(32), ..new(len) });
    }
    all
}

impl Case for AddCase {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> String {
        let Add { len, activation } = self.spec;
        let large = match (self.magnitude > 1.0, self.special) {
            (true, _) => " large",
            (false, true) => " infinities and NaN",
            _ => "",
        };
        format!("{len} {}{large}", activation.name())
    }

    fn variants(&self, _caps: &Caps) -> Vec<(&'static str, Knobs)> {
        vec![("baseline", Knobs { workgroup: self.workgroup, ..Knobs::baseline() })]
    }

    fn build(&self, caps: &Caps, knobs: &Knobs) -> Result<Proof> {
        let Add { len, activation } = self.spec;
        let mut rng = generator(&self.name());
        let mut draw = || self.magnitude * uniform(&mut rng);
        let round = |v: f32| match activation {
            Activation::F32 => v,
            Activation::F16 => f16::from_f32(v).to_f32(),
        };
        let a: Vec<f32> = (0..len).map(|_| round(draw())).collect();
        let special = |at: usize, v: f32| match at % 7 {
            2 if self.special => f32::INFINITY,
            3 if self.special => f32::NEG_INFINITY,
            5 if self.special => f32::NAN,
            _ => v,
        };
        let a: Vec<f32> = a.into_iter().enumerate().map(|(at, v)| special(at, v)).collect();
        let b: Vec<f32> = (0..len).map(|_| draw()).collect();
        let sums = reference(&self.spec, &a, &b)?;
        // One rounding to f32, one to f16 afterwards.
        let tolerance = sums.iter().map(|y| match activation {
            Activation::F32 => y.abs() * f64::powi(2.0, -24),
            Activation::F16 => y.abs() * (1.0 / 2048.0 + f64::powi(2.0, -23)) + f64::powi(2.0, -25),
        });
        let tolerance = tolerance.collect();
        let limit = |y: f64| match activation {
            Activation::F16 if y.abs() >= 65520.0 => y.signum() * f64::INFINITY,
            _ => y,
        };
        let relative = if activation == Activation::F32 { 1e-6 } else { 1e-3 };
        let values = sums.into_iter().map(limit).collect();
        let expected = Expected::Close { element: activation, values, tolerance, relative };
        let padded = |mut bytes: Vec<u8>| {
            // What follows must not matter.
            bytes.resize(bytes.len().next_multiple_of(4) + 64, 0x7b);
            bytes
        };
        let tensors = vec![
            Tensor::input(A, padded(stored(&a, activation))),
            Tensor::input(B, padded(stored(&b, Activation::F32))),
            Tensor::output(Y, len * activation.bytes()),
        ];
        let outputs = vec![Output { binding: Y, expected }];
        Ok(Proof { launches: self.spec.launches(caps, knobs)?, tensors, outputs })
    }
}
