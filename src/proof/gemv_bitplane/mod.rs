//! The case table of `gemv_bitplane`.

mod table;

pub(super) use table::cases;

use super::bitplane::{Random, Squeeze, Values, stored, weight_tensors};
use super::products::{Input, Judge, gamma};
use super::{Case, Expected, Output, Proof, Tensor};
use crate::launch::{Caps, Knobs, Lookup, Reduce, Spec as _};
use crate::linear::gemv_bitplane::{BIAS, NAME, X, Y, reference};
use crate::linear::{Activation, Arithmetic, BitplaneLayout, GemvBitplane, TableElement};
use crate::{Error, Result};

/// One case.
#[derive(Debug, Clone, Copy)]
pub(super) struct GemvCase {
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
    batch: usize,
    arithmetic: Arithmetic,
}

const DEFAULT: GemvCase = GemvCase {
    rows: 5,
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
    batch: 1,
    arithmetic: Arithmetic::F32,
};

impl GemvCase {
    fn random(&self) -> Random {
        let Self { rows, cols, parent_bits, table, bias, values, .. } = *self;
        Random { rows, cols, parent_bits, table, bias, values }
    }

    fn expected(&self, y: Vec<f64>, condition: Vec<f64>, knobs: &Knobs) -> Expected {
        // A product passes through at most this many roundings: its own, the sums of a word, of a
        // lane's words, over the workgroup, over the slices, and the bias. The tree takes log2
        // steps; in which order a subgroup adds is not said, so there it is every lane.
        let workgroup = knobs.workgroup.unwrap_or(64);
        let slices = knobs.slices.unwrap_or(1);
        let words = self.cols.div_ceil(32).div_ceil(workgroup as usize);
        let lanes = match knobs.reduce {
            Some(Reduce::Workgroup) => workgroup.ilog2(),
            _ => workgroup,
        };
        let gamma = gamma(1 + 32 + words + lanes as usize + slices as usize + 1);
        let judge = Judge { input: self.input, activation: self.activation, bias: self.bias };
        judge.expected(y, condition, |condition| match self.arithmetic {
            Arithmetic::F32 => gamma * condition,
            // Eight products in a row, each rounded to f16; half a unit of subnormals each.
            Arithmetic::F16 => {
                let eight = 8.0 / 1024.0;
                let halves = eight / (1.0 - eight) * condition;
                gamma * condition + halves + self.cols as f64 * f64::powi(2.0, -25)
            }
        })
    }
}

impl Case for GemvCase {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> String {
        let Self { rows, cols, bits, parent_bits, .. } = self;
        let mut name = format!("{rows}x{cols} b{bits}of{parent_bits} {}", self.activation.name());
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
        if self.batch != 1 {
            name += &format!(" m{}", self.batch);
        }
        if self.arithmetic == Arithmetic::F16 {
            name += " f16-products";
        }
        let Knobs { workgroup, rows, lookup, unroll, slices, masks, .. } = self.knobs;
        let knobs = [
            workgroup.map(|lanes| format!("{lanes} lanes")),
            rows.map(|rows| format!("{rows} rows")),
            lookup.map(|lookup| format!("{lookup:?}")),
            unroll.map(|unroll| if unroll { "unrolled" } else { "loop" }.to_owned()),
            slices.map(|slices| format!("{slices} slices")),
            masks.map(|masks| format!("{masks:?}")),
        ];
        for knob in knobs.into_iter().flatten() {
            name += &format!(" {knob}");
        }
        name
    }

    fn variants(&self, caps: &Caps) -> Vec<(&'static str, Knobs)> {
        let f16 = self.arithmetic == Arithmetic::F16 || self.knobs.lookup == Some(Lookup::Half);
        if f16 && !caps.f16 || !self.squeeze.runs_on(caps) {
            return Vec::new();
        }
        // The baseline is also that of lookups, unless this case is about another one.
        let single = (self.arithmetic == Arithmetic::F32).then_some(Lookup::Single);
        let lookup = self.knobs.lookup.or(single);
        let mut variants =
            vec![("baseline", Knobs { reduce: Some(Reduce::Workgroup), lookup, ..self.knobs })];
        if caps.subgroups {
            let with = |reduce| Knobs { reduce: Some(reduce), ..self.knobs };
            variants.push(("subgroup", with(Reduce::Subgroup)));
            let sums = self.knobs.rows.unwrap_or(8) * self.batch as u32;
            let lanes = self.knobs.workgroup.unwrap_or(64);
            // Many rows are about the grid and take long to check: one kernel of each kind is enough.
            if self.rows <= 100_000
                && self.knobs.rows.is_some()
                && sums.is_power_of_two()
                && sums <= caps.subgroup_min
                && lanes >= caps.subgroup_max
            {
                variants.push(("scatter", with(Reduce::Scatter)));
            }
        }
        variants
    }

    fn build(&self, caps: &Caps, knobs: &Knobs) -> Result<Proof> {
        let caps = self.squeeze.apply(caps);
        let seed = self.name();
        let layer = self.random().layer_at(self.bits, &seed)?;
        let layout = BitplaneLayout::new(&layer, self.parent_bits, &caps)?;
        if matches!(self.squeeze, Squeeze::Binding(_)) && layout.pieces().count() < 2 {
            return Err(Error::shape("pieces of a squeezed layer", "several", 1));
        }
        let spec = GemvBitplane {
            batch: self.batch,
            activation: self.activation,
            arithmetic: self.arithmetic,
            bias: self.bias,
            ..GemvBitplane::new(layout, self.bits)
        };
        let (mut x, mut y, mut condition) = (Vec::new(), Vec::new(), Vec::new());
        for vector in 0..self.batch {
            let input = self.input.vector(self.cols, self.activation, &seed, vector);
            let product = reference(&layer, self.bits, &input, self.bias)?;
            x.extend(input);
            y.extend(product.y);
            condition.extend(product.condition);
            // Padding between vectors is written as 0.
            let len = (vector + 1) * spec.y_stride();
            y.resize(len.min(spec.y_len()), 0.0);
            condition.resize(len.min(spec.y_len()), 0.0);
        }
        let launches = spec.launches(&caps, knobs)?;
        let mut tensors = weight_tensors(&layer, &spec.layout, self.bits)?.to_vec();
        if let Some(bias) = layer.bias() {
            tensors.push(Tensor::input(BIAS, bytemuck::cast_slice(bias).to_vec()));
        }
        let mut x_bytes = stored(&x, self.activation);
        // The other half of the last word, and what follows, must not matter.
        x_bytes.resize(x_bytes.len().next_multiple_of(4) + 64, super::POISON);
        tensors.push(Tensor::input(X, x_bytes));
        tensors.push(Tensor::output(Y, spec.y_len() * self.activation.bytes()));
        let expected = self.expected(y, condition, knobs);
        Ok(Proof { launches, tensors, outputs: vec![Output { binding: Y, expected }] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_rows_are_proved_with_the_baseline_and_one_subgroup_variant() {
        let caps = Caps { subgroups: true, subgroup_min: 32, subgroup_max: 32, ..Caps::webgpu() };
        let knobs = Knobs { rows: Some(2), ..Knobs::DEFAULT };
        let names = |rows, caps: &Caps| -> Vec<_> {
            let variants = GemvCase { rows, knobs, ..DEFAULT }.variants(caps);
            variants.into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(names(99, &caps), ["baseline", "subgroup", "scatter"]);
        assert_eq!(names(131_077, &caps), ["baseline", "subgroup"]);
        assert_eq!(names(131_077, &Caps::webgpu()), ["baseline"]);
        assert!(cases().iter().any(|case| case.rows > 100_000));
    }
}
