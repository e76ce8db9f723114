//! The case table of `gemm`.

mod table;

pub(super) use table::cases;

use super::bitplane::{Squeeze, generator, stored, uniform};
use super::products::{Input, Judge, by_lanes_and_matrices, gamma};
use super::{CANARY_BYTES, Case, Output, POISON, Proof, Tensor};
use crate::launch::{Caps, Knobs, Spec as _};
use crate::linear::gemm::{BIAS, Block, NAME, W, X, Y, reference};
use crate::linear::{Activation, Gemm};
use crate::{Error, Result};
use half::f16;

/// One case.
#[derive(Debug, Clone, Copy)]
pub(super) struct GemmCase {
    spec: Gemm,
    input: Input,
    squeeze: Squeeze,
    knobs: Knobs,
}

impl Case for GemmCase {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> String {
        let Gemm { batch, rows, cols, w, x, y, bias, accumulate } = self.spec;
        let block = |block: Block, cols| {
            let lies = match block {
                _ if block == Block::packed(block.element, cols) => String::new(),
                Block { offset, stride, .. } => format!("+{offset}/{stride}"),
            };
            block.element.name().to_owned() + &lies
        };
        let (w, x, y) = (block(w, cols), block(x, cols), block(y, rows));
        let mut name = format!("m{batch} {rows}x{cols} {w} {x} to {y}");
        for (word, there) in [(" bias", bias), (" accumulate", accumulate)] {
            name += if there { word } else { "" };
        }
        if self.input != Input::Random {
            name += &format!(" {:?}", self.input);
        }
        if self.squeeze != Squeeze::None {
            name += &format!(" {:?}", self.squeeze);
        }
        name += if self.knobs.matrix == Some(true) { " matrices" } else { "" };
        let Knobs { workgroup, rows, slices, .. } = self.knobs;
        for (word, knob) in [("lanes", workgroup), ("rows", rows), ("slices", slices)] {
            name += &knob.map(|knob| format!(" {knob} {word}")).unwrap_or_default();
        }
        name
    }

    fn variants(&self, caps: &Caps) -> Vec<(&'static str, Knobs)> {
        let factors = [self.spec.w, self.spec.x];
        let halves = factors.iter().all(|block| block.element == Activation::F16);
        by_lanes_and_matrices(self.knobs, halves, caps)
    }

    fn build(&self, caps: &Caps, knobs: &Knobs) -> Result<Proof> {
        let caps = self.squeeze.apply(caps);
        let spec = self.spec;
        let launches = spec.launches(&caps, knobs)?;
        let sums = usize::from(knobs.slices.is_some());
        if matches!(self.squeeze, Squeeze::Binding(_)) && launches.len() - sums < 2 {
            return Err(Error::shape("launches of a squeezed matrix", "several", launches.len()));
        }
        let seed = self.name();
        let mut rng = generator(&seed);
        let mut random = |element, len| -> Vec<f32> {
            let values = (0..len).map(|_| uniform(&mut rng));
            values.map(|value| rounded(value, element)).collect()
        };
        let w = random(spec.w.element, spec.w_len());
        // Shared with whoever else uses the tensor, or added to.
        let taken = spec.accumulate || spec.y != Block::packed(spec.y.element, spec.rows);
        let padded = spec.y_len().max(spec.batch * spec.y.stride);
        let before = random(spec.y.element, if taken { padded + 9 } else { padded });
        let bias: Option<Vec<f32>> = spec.bias.then(|| random(Activation::F32, spec.rows));
        let mut x = vec![f32::NAN; spec.x_len()];
        for vector in (0..spec.batch).filter(|_| spec.cols > 0) {
            let start = spec.x.offset + vector * spec.x.stride;
            let values = self.input.vector(spec.cols, spec.x.element, &seed, vector);
            x[start..start + spec.cols].copy_from_slice(&values);
        }
        let mut product = reference(&spec, &w, &x, bias.as_deref(), &before)?;
        if !taken {
            // Padding is written as 0.
            for (at, y) in product.y.iter_mut().enumerate() {
                *y = if at % spec.y.stride.max(1) < spec.rows { *y } else { 0.0 };
            }
        }
        // What is no element of a matrix must not matter.
        let w = poisoned(&w, &spec.w, spec.rows, spec.cols);
        let x = poisoned(&x, &spec.x, spec.batch, spec.cols);
        let mut tensors = vec![Tensor::input(W, w), Tensor::input(X, x)];
        if let Some(bias) = &bias {
            tensors.push(Tensor::input(BIAS, bytemuck::cast_slice(bias).to_vec()));
        }
        let mut y = Tensor::output(Y, before.len() * spec.y.element.bytes());
        if taken {
            let bytes = stored(&before, spec.y.element);
            y.pieces[0][..bytes.len()].copy_from_slice(&bytes);
            // The other half of a last word of f16 is 0.
            let words = bytes.len().next_multiple_of(4);
            y.pieces[0][bytes.len()..words].fill(0);
            debug_assert_eq!(y.pieces[0].len(), words + CANARY_BYTES);
        }
        tensors.push(y);
        // A product passes through at most this many roundings: its own, one a column, the sums of
        // the slices, the bias and what is added to.
        let slices = knobs.slices.unwrap_or(1) as usize;
        let gamma = gamma(1 + spec.cols.next_multiple_of(8) + slices + 2);
        let bias = spec.bias || spec.accumulate;
        let judge = Judge { input: self.input, activation: spec.y.element, bias };
        let expected = judge.expected(product.y, product.condition, |condition| gamma * condition);
        Ok(Proof { launches, tensors, outputs: vec![Output { binding: Y, expected }] })
    }
}

/// A number that an element can hold.
fn rounded(value: f32, element: Activation) -> f32 {
    match element {
        Activation::F32 => value,
        Activation::F16 => f16::from_f32(value).to_f32(),
    }
}

/// A tensor as the device holds it, NaN wherever the matrix is not.
fn poisoned(values: &[f32], block: &Block, rows: usize, cols: usize) -> Vec<u8> {
    let mut bytes = stored(values, block.element);
    bytes.resize(bytes.len().next_multiple_of(4) + 64, POISON);
    let each = block.element.bytes();
    let inside = |at: usize| {
        let at = (at / each).checked_sub(block.offset);
        at.is_some_and(|at| at / block.stride.max(1) < rows && at % block.stride.max(1) < cols)
    };
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = if inside(at) { *byte } else { POISON };
    }
    bytes
}
