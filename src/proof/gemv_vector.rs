//! The case table of `gemv_vector`.

use super::bitplane::{Squeeze, Values, stored};
use super::products::{Input, Judge, gamma};
use super::vector::{Random, weight_tensors};
use super::{Case, Output, Proof, Tensor};
use crate::launch::{Caps, Knobs, Lookup, Masks, Reduce, Spec as _};
use crate::linear::gemv_vector::{BIAS, NAME, X, Y, reference};
use crate::linear::{Activation, GemvVector, TableElement, VectorLayout, VectorShape};
use crate::{Error, Result};

/// One case.
#[derive(Debug, Clone, Copy)]
pub(super) struct GemvCase {
    rows: usize,
    cols: usize,
    code_bits: u8,
    activation: Activation,
    table: TableElement,
    bias: bool,
    values: Values,
    input: Input,
    squeeze: Squeeze,
    knobs: Knobs,
}

const DEFAULT: GemvCase = GemvCase {
    rows: 5,
    cols: 2112,
    code_bits: 4,
    activation: Activation::F32,
    table: TableElement::F16,
    bias: false,
    values: Values::Ordinary,
    input: Input::Random,
    squeeze: Squeeze::None,
    knobs: Knobs::DEFAULT,
};

/// Shaders take longer to compile than to run: every part is met, not every combination of parts.
pub(super) fn cases() -> Vec<GemvCase> {
    use Activation::{F16, F32};
    let mut all = Vec::new();
    let base = Knobs::DEFAULT;
    // Every width meets a tail chunk, padded and odd columns, odd rows, both activations.
    for code_bits in 2..=6 {
        let (whole, cut) = if code_bits % 2 == 0 { (F32, F16) } else { (F16, F32) };
        let default = GemvCase { code_bits, ..DEFAULT };
        for (rows, cols) in [(5, 2112), (9, 4096), (4, 64)] {
            all.push(GemvCase { rows, cols, activation: whole, ..default });
        }
        for (rows, cols) in [(1, 1), (2, 2), (3, 31), (9, 32), (7, 33), (5, 2047), (3, 11_009)] {
            let bias = rows == 7;
            all.push(GemvCase { rows, cols, activation: cut, bias, ..default });
        }
        // One column at a time: either half of an entry in the wrong place shows.
        for col in [17, 1030 + usize::from(code_bits), 2060] {
            let input = Input::OneHot(col);
            all.push(GemvCase { input, activation: whole, rows: 9, ..default });
        }
        let input = Input::OneHot(98);
        all.push(GemvCase { input, cols: 99, activation: cut, ..default });
    }
    for input in [Input::Ones, Input::Outliers, Input::Cancelling, Input::NaN, Input::Infinite] {
        all.push(GemvCase { rows: 10, input, ..DEFAULT });
        all.push(GemvCase { rows: 10, cols: 77, input, code_bits: 6, activation: F16, ..DEFAULT });
    }
    for values in [Values::Subnormal, Values::Huge] {
        all.push(GemvCase { values, ..DEFAULT });
        let input = Input::OneHot(17);
        all.push(GemvCase { values, input, cols: 99, activation: F16, ..DEFAULT });
        let knobs = Knobs { lookup: Some(Lookup::Half), ..base };
        all.push(GemvCase { values, input, code_bits: 5, knobs, ..DEFAULT });
    }
    // Sums beyond the range of f16 become infinite.
    let (values, input) = (Values::Huge, Input::Outliers);
    all.push(GemvCase { rows: 24, cols: 77, values, input, activation: F16, ..DEFAULT });
    let table = TableElement::F32;
    all.push(GemvCase { code_bits: 6, table, rows: 6, cols: 1999, ..DEFAULT });
    for (code_bits, rows, unroll) in [(2, 4, false), (4, 2, true), (6, 4, false)] {
        let lookup = Some(Lookup::Half);
        let knobs = Knobs { lookup, rows: Some(rows), unroll: Some(unroll), ..base };
        all.push(GemvCase { code_bits, knobs, rows: 11, bias: true, ..DEFAULT });
    }
    for (workgroup, rows, code_bits) in [(8, 2, 6), (32, 8, 2), (128, 4, 4)] {
        let masks = if rows == 2 { Masks::Hidden } else { Masks::Constant };
        let (workgroup, rows) = (Some(workgroup), Some(rows));
        let knobs = Knobs { workgroup, rows, masks: Some(masks), ..base };
        all.push(GemvCase { rows: 21, knobs, code_bits, ..DEFAULT });
    }
    for (code_bits, rows, cols) in [(6, 4, 2112), (3, 2, 130)] {
        let knobs = Knobs { rows: Some(rows), unroll: Some(true), ..base };
        all.push(GemvCase { code_bits, rows: 11, cols, knobs, ..DEFAULT });
        let input = Input::OneHot(101);
        all.push(GemvCase { code_bits, rows: 11, cols, knobs, input, ..DEFAULT });
    }
    // As many slices as words, slices without words, slices of several pieces.
    for (slices, cols) in [(33, 2112), (5, 6 * 64)] {
        let knobs = Knobs { slices: Some(slices), ..base };
        all.push(GemvCase { knobs, cols, rows: 21, bias: true, activation: F16, ..DEFAULT });
    }
    let squeeze = Squeeze::Binding(60_000);
    for knobs in [base, Knobs { slices: Some(2), ..base }] {
        all.push(GemvCase { rows: 1411, cols: 131, squeeze, knobs, bias: true, ..DEFAULT });
    }
    // Another vendor's loop.
    for unroll in [true, false] {
        let knobs = Knobs { unroll: Some(unroll), ..base };
        all.push(GemvCase { rows: 9, cols: 64 * 65, squeeze: Squeeze::Nvidia, knobs, ..DEFAULT });
    }
    // A grid of two dimensions.
    let squeeze = Squeeze::Groups(6);
    all.push(GemvCase { rows: 83, squeeze, bias: true, ..DEFAULT });
    all
}

impl Case for GemvCase {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> String {
        let Self { rows, cols, code_bits, .. } = self;
        let mut name = format!("{rows}x{cols} n{code_bits} {}", self.activation.name());
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
        let half = self.knobs.lookup == Some(Lookup::Half);
        if half && !caps.f16 || !self.squeeze.runs_on(caps) {
            return Vec::new();
        }
        let with = |reduce| Knobs { reduce: Some(reduce), ..self.knobs };
        let mut variants = vec![("baseline", with(Reduce::Workgroup))];
        if caps.subgroups {
            variants.push(("subgroup", with(Reduce::Subgroup)));
            let (sums, lanes) = (self.knobs.rows, self.knobs.workgroup.unwrap_or(64));
            if sums.is_some_and(|sums| sums <= caps.subgroup_min) && lanes >= caps.subgroup_max {
                variants.push(("scatter", with(Reduce::Scatter)));
            }
        }
        variants
    }

    fn build(&self, caps: &Caps, knobs: &Knobs) -> Result<Proof> {
        let caps = self.squeeze.apply(caps);
        let seed = self.name();
        let Self { rows, cols, code_bits, activation, table, bias, values, .. } = *self;
        let shape = VectorShape { rows, cols, code_bits };
        let layer = Random { shape, table, bias, values }.layer(&seed)?;
        let layout = VectorLayout::new(&layer, &caps)?;
        if matches!(self.squeeze, Squeeze::Binding(_)) && layout.pieces().count() < 2 {
            return Err(Error::shape("pieces of a squeezed layer", "several", 1));
        }
        let spec = GemvVector { activation, bias, ..GemvVector::new(layout) };
        let x = self.input.vector(cols, activation, &seed, 0);
        let product = reference(&layer, &x, bias)?;
        let launches = spec.launches(&caps, knobs)?;
        let mut tensors = weight_tensors(&layer, &spec.layout)?.to_vec();
        if let Some(bias) = layer.bias() {
            tensors.push(Tensor::input(BIAS, bytemuck::cast_slice(bias).to_vec()));
        }
        let mut x_bytes = stored(&x, activation);
        // The other half of the last word, and what follows, must not matter.
        x_bytes.resize(x_bytes.len().next_multiple_of(4) + 64, super::POISON);
        tensors.push(Tensor::input(X, x_bytes));
        tensors.push(Tensor::output(Y, rows * activation.bytes()));

        // A product passes through at most this many roundings: its own, the sums of a word, of a
        // lane's words, over the workgroup, over the slices, and the bias. The tree takes log2
        // steps; in which order a subgroup adds is not said, so there it is every lane.
        let workgroup = knobs.workgroup.unwrap_or(64);
        let lanes = match knobs.reduce {
            Some(Reduce::Workgroup) => workgroup.ilog2(),
            _ => workgroup,
        };
        let words = cols.div_ceil(64).div_ceil(workgroup as usize);
        let gamma = gamma(1 + 64 + words + (lanes + knobs.slices.unwrap_or(1)) as usize + 1);
        let judge = Judge { input: self.input, activation, bias };
        let expected = judge.expected(product.y, product.condition, |sum| gamma * sum);
        Ok(Proof { launches, tensors, outputs: vec![Output { binding: Y, expected }] })
    }
}
