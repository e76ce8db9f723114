//! The case table of `gemv_bitplane`.

use super::bitplane::{Random, Squeeze, Values, generator, stored, uniform, weight_tensors};
use super::{Case, Expected, Output, Proof, Tensor};
use crate::launch::{Caps, Knobs, Lookup, Masks, Reduce, Spec as _};
use crate::linear::gemv_bitplane::{BIAS, NAME, X, Y, reference};
use crate::linear::{Activation, Arithmetic, BitplaneLayout, GemvBitplane, TableElement};
use crate::{Error, Result};
use half::f16;

/// What the activations are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    /// Between -1 and 1.
    Random,
    /// 1 at one column, 0 elsewhere: table entries come out unchanged.
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

pub(super) fn cases() -> Vec<GemvCase> {
    use Activation::{F16, F32};
    let mut all = Vec::new();
    // Every width meets a tail chunk, padded columns, odd rows, both activations.
    for bits in 2..=8 {
        for activation in [F32, F16] {
            for (rows, cols) in [(1, 1), (7, 33), (5, 1056), (37, 4096)] {
                let bias = rows == 7;
                all.push(GemvCase { rows, cols, bits, activation, bias, ..DEFAULT });
            }
        }
        let input = Input::OneHot(1030 + usize::from(bits));
        all.push(GemvCase { bits, input, ..DEFAULT });
        all.push(GemvCase { bits, input, activation: F16, rows: 9, ..DEFAULT });
        all.push(GemvCase { bits, table: TableElement::F32, rows: 6, cols: 1000, ..DEFAULT });
        // A parent no wider than the width: there is nothing above to be poisoned.
        all.push(GemvCase { bits, parent_bits: bits, rows: 3, cols: 96, ..DEFAULT });
        all.push(GemvCase { bits, rows: 3, cols: 11008, ..DEFAULT });
    }
    let shapes = [(2, 31), (3, 32), (4, 64), (9, 992), (6, 1024), (13, 2048 + 32), (3, 28672)];
    for (i, (rows, cols)) in shapes.into_iter().enumerate() {
        let bits = 2 + (i % 7) as u8;
        all.push(GemvCase { rows, cols, bits, bias: true, ..DEFAULT });
        all.push(GemvCase { rows, cols, bits: 10 - bits, activation: F16, ..DEFAULT });
    }
    for input in [Input::Ones, Input::Outliers, Input::Cancelling, Input::NaN, Input::Infinite] {
        all.push(GemvCase { rows: 10, input, ..DEFAULT });
        all.push(GemvCase { rows: 10, cols: 77, input, bits: 6, activation: F16, ..DEFAULT });
    }
    for values in [Values::Subnormal, Values::Huge] {
        all.push(GemvCase { values, bits: 3, ..DEFAULT });
        let input = Input::OneHot(17);
        all.push(GemvCase { values, input, bits: 8, ..DEFAULT });
        all.push(GemvCase { values, input, bits: 2, activation: F16, ..DEFAULT });
    }
    for (workgroup, rows) in [(8, 2), (32, 8), (128, 4), (256, 2)] {
        let knobs = Knobs { workgroup: Some(workgroup), rows: Some(rows), ..Knobs::DEFAULT };
        all.push(GemvCase { rows: 21, knobs, bits: 5, ..DEFAULT });
        all.push(GemvCase { rows: 21, knobs, bits: 2, activation: F16, bias: true, ..DEFAULT });
    }
    // Sums beyond the range of f16 become infinite.
    let (values, input) = (Values::Huge, Input::Outliers);
    all.push(GemvCase { rows: 24, values, input, activation: F16, ..DEFAULT });
    // Grids of two dimensions, with few groups on a squeezed device and with many on any.
    let squeeze = Squeeze::Groups(6);
    all.push(GemvCase { rows: 43, squeeze, bits: 7, bias: true, ..DEFAULT });
    let knobs = Knobs { rows: Some(2), ..Knobs::default() };
    all.push(GemvCase { rows: 131_077, cols: 32, bits: 3, parent_bits: 3, knobs, ..DEFAULT });
    // Layers cut into pieces.
    for activation in [F32, F16] {
        let squeeze = Squeeze::Binding(140_000);
        all.push(GemvCase { rows: 411, cols: 70, squeeze, activation, bias: true, ..DEFAULT });
    }
    all.extend(knob_cases());
    all.extend(batch_cases());
    all.extend(f16_cases());
    all
}

/// Every way in which a product can be computed, at every width.
fn knob_cases() -> Vec<GemvCase> {
    use Activation::{F16, F32};
    let mut all = Vec::new();
    let base = Knobs::DEFAULT;
    for bits in 2..=8 {
        let lookups: &[_] = if bits <= 4 {
            &[Lookup::Single, Lookup::Pair]
        } else {
            &[Lookup::Single, Lookup::Half]
        };
        for (i, &lookup) in lookups.iter().enumerate() {
            let knobs = Knobs { lookup: Some(lookup), ..base };
            // Two rows of four-bit pairs: eight would not fit a browser's workgroup memory.
            let knobs = Knobs { rows: Some([4, 2, 8][usize::from(bits) % 3]), ..knobs };
            let cols = if i == 0 { 1056 } else { 3 * 1024 };
            all.push(GemvCase { bits, rows: 9, cols, knobs, ..DEFAULT });
            // One column at a time: a table entry in the wrong place shows.
            let knobs = Knobs { masks: Some(Masks::Hidden), ..knobs };
            let input = Input::OneHot(37);
            all.push(GemvCase {
                bits,
                rows: 11,
                cols: 99,
                input,
                knobs,
                activation: F16,
                ..DEFAULT
            });
        }
        let activation = if bits % 2 == 0 { F16 } else { F32 };
        let knobs = Knobs { masks: Some(Masks::Hidden), ..base };
        all.push(GemvCase { bits, rows: 9, knobs, activation, ..DEFAULT });
        let knobs = Knobs { unroll: Some(false), rows: Some(4), ..base };
        all.push(GemvCase { bits, rows: 9, knobs, activation, ..DEFAULT });
        let knobs = Knobs { slices: Some(3), ..base };
        all.push(GemvCase { bits, rows: 7, knobs, activation, bias: true, ..DEFAULT });
    }
    // As many slices as words, slices without words, slices of several pieces.
    for (slices, cols) in [(33, 1056), (5, 6 * 32), (2, 4096)] {
        let knobs = Knobs { slices: Some(slices), ..base };
        all.push(GemvCase { knobs, cols, rows: 21, bias: true, ..DEFAULT });
        all.push(GemvCase { knobs, cols, rows: 21, activation: F16, batch: 3, ..DEFAULT });
    }
    let (squeeze, knobs) = (Squeeze::Binding(140_000), Knobs { slices: Some(2), ..base });
    all.push(GemvCase { rows: 411, cols: 70, squeeze, knobs, bias: true, ..DEFAULT });
    // Sums of a power of two over lanes enough for every subgroup.
    for (rows, workgroup) in [(2, 128), (4, 128), (8, 256)] {
        let knobs = Knobs { rows: Some(rows), workgroup: Some(workgroup), ..base };
        all.push(GemvCase { rows: 19, cols: 8192, bits: 3, knobs, ..DEFAULT });
    }
    all
}

/// Several vectors at once.
fn batch_cases() -> Vec<GemvCase> {
    use Activation::{F16, F32};
    let mut all = Vec::new();
    for bits in 2..=8 {
        let batch = usize::from(bits);
        all.push(GemvCase { bits, batch, rows: 7, bias: true, ..DEFAULT });
        all.push(GemvCase {
            bits,
            batch: 10 - batch,
            rows: 9,
            cols: 97,
            activation: F16,
            ..DEFAULT
        });
        let input = Input::OneHot(65);
        all.push(GemvCase { bits, batch: 2, rows: 6, cols: 160, input, ..DEFAULT });
    }
    for batch in 2..=8 {
        let activation = if batch % 2 == 0 { F32 } else { F16 };
        all.push(GemvCase { batch, rows: 13, cols: 2048, activation, ..DEFAULT });
    }
    for rows in [2, 8] {
        let knobs = Knobs { rows: Some(rows), workgroup: Some(32), ..Knobs::DEFAULT };
        all.push(GemvCase { batch: 8, bits: 5, rows: 21, knobs, ..DEFAULT });
        all.push(GemvCase { batch: 5, bits: 2, rows: 21, knobs, activation: F16, ..DEFAULT });
    }
    let squeeze = Squeeze::Binding(140_000);
    all.push(GemvCase { batch: 3, rows: 411, cols: 70, squeeze, bias: true, ..DEFAULT });
    for input in [Input::Outliers, Input::Cancelling, Input::NaN, Input::Infinite] {
        all.push(GemvCase { batch: 4, rows: 10, input, ..DEFAULT });
    }
    all
}

/// Products in f16.
fn f16_cases() -> Vec<GemvCase> {
    let (activation, arithmetic) = (Activation::F16, Arithmetic::F16);
    let default = GemvCase { activation, arithmetic, ..DEFAULT };
    let mut all = Vec::new();
    for bits in 2..=4 {
        for rows in [2, 4, 8] {
            let knobs = Knobs { rows: Some(rows), ..Knobs::DEFAULT };
            all.push(GemvCase { bits, rows: 13, knobs, ..default });
        }
        all.push(GemvCase { bits, input: Input::OneHot(70), cols: 96, ..default });
        all.push(GemvCase { bits, rows: 9, cols: 11008, bias: true, ..default });
        let knobs = Knobs { slices: Some(2), unroll: Some(false), ..Knobs::DEFAULT };
        all.push(GemvCase { bits, rows: 9, cols: 4096, knobs, ..default });
    }
    for input in [Input::NaN, Input::Infinite, Input::Ones] {
        all.push(GemvCase { rows: 10, input, bits: 2, ..default });
    }
    all
}

impl GemvCase {
    fn random(&self) -> Random {
        let Self { rows, cols, parent_bits, table, bias, values, .. } = *self;
        Random { rows, cols, parent_bits, table, bias, values }
    }

    /// The activations of one vector.
    fn input(&self, seed: &str, vector: usize) -> Vec<f32> {
        let mut rng = generator(&format!("{seed} {vector}"));
        let mut x: Vec<f32> = (0..self.cols).map(|_| uniform(&mut rng)).collect();
        match self.input {
            Input::Random => {}
            Input::OneHot(col) => {
                x.fill(0.0);
                x[(col + vector) % self.cols] = 1.0;
            }
            Input::Ones => x.fill(1.0),
            Input::Outliers => x.iter_mut().step_by(29).for_each(|v| *v *= 1000.0),
            Input::Cancelling => {
                for (i, v) in x.iter_mut().enumerate() {
                    *v = if i % 2 == 0 { 1.0 + *v / 4.0 } else { -1.0 + *v / 4.0 };
                    *v *= 300.0;
                }
            }
            Input::NaN => x[3 % self.cols] = f32::NAN,
            Input::Infinite => x[40 % self.cols] = f32::INFINITY,
        }
        if self.activation == Activation::F16 {
            x.iter_mut().for_each(|v| *v = f16::from_f32(*v).to_f32());
        }
        x
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
        let depth = 1 + 32 + words + lanes as usize + slices as usize + 1;
        // WGSL does not say that f32 rounds to nearest, so one rounding may lose a whole unit.
        let unit = f64::from(f32::EPSILON);
        let gamma = depth as f64 * unit / (1.0 - depth as f64 * unit);
        let exact = matches!(self.input, Input::OneHot(_)) && !self.bias;
        let tolerance = y.iter().zip(condition).map(|(y, condition)| {
            let sum = if exact { 0.0 } else { gamma * condition };
            let sum = match self.arithmetic {
                Arithmetic::F32 => sum,
                // Eight products in a row, each rounded to f16; half a unit of subnormals each.
                Arithmetic::F16 if exact => 0.0,
                Arithmetic::F16 => {
                    let eight = 8.0 / 1024.0;
                    sum + eight / (1.0 - eight) * condition + self.cols as f64 * f64::powi(2.0, -25)
                }
            };
            match self.activation {
                Activation::F32 => sum,
                // Rounding to f16 afterwards; half a unit of subnormals at least.
                Activation::F16 if exact => 0.0,
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
        if f16 && !caps.f16 {
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
            if self.knobs.rows.is_some()
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
        let layer = self.random().layer(&seed)?;
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
            let input = self.input(&seed, vector);
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
