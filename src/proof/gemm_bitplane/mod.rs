//! The case table of `gemm_bitplane`.

mod table;

pub(super) use table::cases;

use super::bitplane::{Random, Squeeze, Values, stored, weight_tensors};
use super::products::{Input, Judge, by_lanes_and_matrices, gamma};
use super::{Case, Output, Proof, Tensor};
use crate::launch::{Caps, Knobs, Lookup, Spec as _};
use crate::linear::gemm_bitplane::{BIAS, NAME, X, Y, reference};
use crate::linear::{Activation, BitplaneLayout, GemmBitplane, TableElement};
use crate::{Error, Result};

/// One case.
#[derive(Debug, Clone, Copy)]
pub(super) struct GemmCase {
    batch: usize,
    rows: usize,
    cols: usize,
    bits: u8,
    parent_bits: u8,
    activation: Activation,
    table: TableElement,
    bias: bool,
    values: Values,
    input: Input,
    squeeze: Squeeze,
    knobs: Knobs,
}

const DEFAULT: GemmCase = GemmCase {
    batch: 9,
    rows: 37,
    cols: 1056,
    bits: 4,
    parent_bits: 8,
    activation: Activation::F32,
    table: TableElement::F16,
    bias: false,
    values: Values::Ordinary,
    input: Input::Random,
    squeeze: Squeeze::None,
    knobs: Knobs::DEFAULT,
};

impl Case for GemmCase {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> String {
        let Self { batch, rows, cols, bits, parent_bits, .. } = self;
        let activation = self.activation.name();
        let mut name = format!("m{batch} {rows}x{cols} b{bits}of{parent_bits} {activation}");
        if self.table == TableElement::F32 {
            name += " table-f32";
        }
        if self.bias {
            name += " bias";
        }
        if self.values != Values::Ordinary {
            name += &format!(" {:?}", self.values);
        }
        if self.input != Input::Random {
            name += &format!(" {:?}", self.input);
        }
        if self.squeeze != Squeeze::None {
            name += &format!(" {:?}", self.squeeze);
        }
        let Knobs { workgroup, rows, lookup, slices, masks, .. } = self.knobs;
        if self.knobs.matrix == Some(true) {
            name += " matrices";
        }
        let knobs = [
            workgroup.map(|lanes| format!("{lanes} lanes")),
            rows.map(|rows| format!("{rows} rows")),
            lookup.map(|lookup| format!("{lookup:?}")),
            slices.map(|slices| format!("{slices} slices")),
            masks.map(|masks| format!("{masks:?}")),
        ];
        for knob in knobs.into_iter().flatten() {
            name += &format!(" {knob}");
        }
        name
    }

    fn variants(&self, caps: &Caps) -> Vec<(&'static str, Knobs)> {
        if self.knobs.lookup == Some(Lookup::Half) && !caps.f16 {
            return Vec::new();
        }
        let halves = self.activation == Activation::F16 && self.table == TableElement::F16;
        by_lanes_and_matrices(self.knobs, halves, caps)
    }

    fn build(&self, caps: &Caps, knobs: &Knobs) -> Result<Proof> {
        let caps = self.squeeze.apply(caps);
        let seed = self.name();
        let Self { batch, rows, cols, bits, parent_bits, activation, .. } = *self;
        let Self { table, bias, values, input, .. } = *self;
        let random = Random { rows, cols, parent_bits, table, bias, values };
        let layer = random.layer_at(bits, &seed)?;
        let layout = BitplaneLayout::new(&layer, parent_bits, &caps)?;
        if matches!(self.squeeze, Squeeze::Binding(_)) && layout.pieces().count() < 2 {
            return Err(Error::shape("pieces of a squeezed layer", "several", 1));
        }
        let spec = GemmBitplane { activation, bias, ..GemmBitplane::new(layout, bits, batch) };
        let vectors = 0..batch;
        let x: Vec<f32> =
            vectors.flat_map(|vector| input.vector(cols, activation, &seed, vector)).collect();
        let product = reference(&spec, &layer, &x)?;
        let launches = spec.launches(&caps, knobs)?;
        let mut tensors = weight_tensors(&layer, &spec.layout, bits)?.to_vec();
        if let Some(bias) = layer.bias() {
            tensors.push(Tensor::input(BIAS, bytemuck::cast_slice(bias).to_vec()));
        }
        let mut x_bytes = stored(&x, activation);
        // The other half of the last word, and what follows, must not matter.
        x_bytes.resize(x_bytes.len().next_multiple_of(4) + 64, super::POISON);
        tensors.push(Tensor::input(X, x_bytes));
        tensors.push(Tensor::output(Y, spec.y_len() * activation.bytes()));
        // A product passes through at most this many roundings: its own, one a column, padding
        // included, the sums of the slices, and the bias.
        let slices = knobs.slices.unwrap_or(1) as usize;
        let gamma = gamma(1 + cols.next_multiple_of(32) + slices + 1);
        let judge = Judge { input, activation, bias };
        let expected = judge.expected(product.y, product.condition, |condition| gamma * condition);
        Ok(Proof { launches, tensors, outputs: vec![Output { binding: Y, expected }] })
    }
}
