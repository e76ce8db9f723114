//! The case table of `hessian_update`.

use super::bitplane::{Squeeze, generator, stored, uniform};
use super::products::gamma;
use super::{CANARY_BYTES, Case, Expected, Output, POISON, Proof, Tensor};
use crate::launch::{Caps, Knobs, Spec as _};
use crate::linear::hessian_update::{NAME, S, SUMS, X, reference};
use crate::linear::{Activation, HessianLayout, HessianUpdate};
use crate::{Error, Result};
use half::f16;

/// What the tokens are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    /// Between -1 and 1, weights up to 1.
    Random,
    /// A few inputs and a few tokens count thousands of times more than the rest.
    Outliers,
    /// Weights of which most are below the smallest f16, and some 0.
    Small,
}

/// One case.
#[derive(Debug, Clone, Copy)]
pub(super) struct HessianCase {
    inputs: usize,
    groups: usize,
    tokens: usize,
    activation: Activation,
    weighted: bool,
    input: Input,
    workgroup: Option<u32>,
    squeeze: Squeeze,
}

const DEFAULT: HessianCase = HessianCase {
    inputs: 65,
    groups: 2,
    tokens: 40,
    activation: Activation::F32,
    weighted: true,
    input: Input::Random,
    workgroup: None,
    squeeze: Squeeze::None,
};

pub(super) fn cases() -> Vec<HessianCase> {
    let mut all = Vec::new();
    // One of everything, edges of tiles and of runs, odd inputs of f16 that begin within words.
    for activation in [Activation::F32, Activation::F16] {
        for weighted in [true, false] {
            let base = HessianCase { activation, weighted, ..DEFAULT };
            let shapes = [
                (1, 1, 1),
                (65, 1, 15),
                (129, 2, 17),
                (31, 3, 7),
                (63, 1, 8),
                (64, 2, 9),
                (128, 1, 16),
                (200, 4, 33),
                (70, 1, 1031),
            ];
            for &(inputs, groups, tokens) in &shapes[..if weighted { 9 } else { 3 }] {
                all.push(HessianCase { inputs, groups, tokens, ..base });
            }
        }
        for workgroup in [64, 128, 256] {
            let base = HessianCase { activation, workgroup: Some(workgroup), ..DEFAULT };
            all.push(HessianCase { inputs: 66, groups: 3, tokens: 65, ..base });
            all.push(HessianCase { inputs: 31, tokens: 24, weighted: false, ..base });
        }
        for input in [Input::Outliers, Input::Small] {
            all.push(HessianCase { input, activation, inputs: 67, tokens: 100, ..DEFAULT });
        }
        // Sums in several pieces, tokens in several bindings: 4 tiles, and 128 tokens.
        let squeeze = Squeeze::Binding(80_000);
        all.push(HessianCase { squeeze, activation, inputs: 131, tokens: 300, ..DEFAULT });
        all.push(HessianCase { squeeze, activation, inputs: 31, tokens: 1500, ..DEFAULT });
    }
    // Grids of two dimensions, with some groups to spare.
    all.push(HessianCase { squeeze: Squeeze::Groups(6), inputs: 250, groups: 3, ..DEFAULT });
    all
}

impl HessianCase {
    /// Inputs `[tokens, inputs]`, exactly as the device will hold them, and weights.
    fn batch(&self) -> (Vec<f32>, Vec<f32>) {
        let mut rng = generator(&self.name());
        let Self { inputs, groups, tokens, .. } = *self;
        let mut x: Vec<f32> = (0..tokens * inputs).map(|_| uniform(&mut rng)).collect();
        let mut s: Vec<f32> = (0..tokens * groups).map(|_| uniform(&mut rng).abs()).collect();
        match self.input {
            Input::Random => {}
            Input::Outliers => {
                x.iter_mut().step_by(29).for_each(|v| *v *= 1000.0);
                s.iter_mut().step_by(13).for_each(|v| *v *= 10_000.0);
            }
            Input::Small => {
                s.iter_mut().for_each(|v| *v *= 1e-7);
                s.iter_mut().step_by(7).for_each(|v| *v = 0.0);
            }
        }
        if self.activation == Activation::F16 {
            x.iter_mut().for_each(|v| *v = f16::from_f32(*v).to_f32());
        }
        (x, s)
    }
}

impl Case for HessianCase {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> String {
        let Self { inputs, groups, tokens, activation, .. } = self;
        let mut name = format!("{groups}x{inputs}x{inputs} of {tokens} {}", activation.name());
        if !self.weighted {
            name += " alike";
        }
        if self.input != Input::Random {
            name += &format!(" {:?}", self.input);
        }
        if let Some(lanes) = self.workgroup {
            name += &format!(" {lanes} lanes");
        }
        if self.squeeze != Squeeze::None {
            name += &format!(" {:?}", self.squeeze);
        }
        name
    }

    fn variants(&self, _: &Caps) -> Vec<(&'static str, Knobs)> {
        let workgroup = self.workgroup;
        vec![("baseline", Knobs { workgroup, ..Knobs::baseline() })]
    }

    fn build(&self, caps: &Caps, knobs: &Knobs) -> Result<Proof> {
        let caps = self.squeeze.apply(caps);
        let layout = HessianLayout::new(self.inputs, self.groups, &caps)?;
        let Self { tokens, activation, weighted, .. } = *self;
        let spec = HessianUpdate { layout, tokens, activation, weighted };
        let launches = spec.launches(&caps, knobs)?;
        if matches!(self.squeeze, Squeeze::Binding(_)) && launches.len() < 2 {
            return Err(Error::shape("launches of a squeezed batch", "several", launches.len()));
        }
        let (x, s) = self.batch();
        let s = weighted.then_some(s.as_slice());
        // Something is there already, past the last input too.
        let mut rng = generator("sums");
        let before: Vec<f32> = (0..spec.layout.sums_len()).map(|_| uniform(&mut rng)).collect();
        let updated = reference(&spec, &x, s, &before)?;
        let mut x_bytes = stored(&x, activation);
        // The other half of the last word, and what follows, must not matter.
        x_bytes.resize(x_bytes.len().next_multiple_of(4) + 64, POISON);
        let mut tensors = vec![Tensor::input(X, x_bytes)];
        if let Some(s) = s {
            let mut bytes = stored(s, Activation::F32);
            bytes.resize(bytes.len() + 64, POISON);
            tensors.push(Tensor::input(S, bytes));
        }
        let mut rest = before.as_slice();
        let mut pieces: Vec<Vec<u8>> = Vec::new();
        for piece in spec.layout.pieces() {
            let (own, after) = rest.split_at(spec.layout.piece_len(&piece));
            let mut piece = stored(own, Activation::F32);
            piece.resize(piece.len() + CANARY_BYTES, POISON);
            pieces.push(piece);
            rest = after;
        }
        tensors.push(Tensor { binding: SUMS, pieces });
        // A product is rounded when it is weighted and with each addition of a token; then every
        // launch adds to what is there, and at most all tokens are launches of their own.
        let depth = 1 + tokens + tokens.min(launches.len());
        let tolerance = updated.condition.iter().map(|sum| gamma(depth) * sum).collect();
        let (element, values) = (Activation::F32, updated.sums);
        let expected = Expected::Close { element, values, tolerance, relative: 1e-5 };
        Ok(Proof { launches, tensors, outputs: vec![Output { binding: SUMS, expected }] })
    }
}
