//! The case table of `compensate`.

use super::bitplane::{Squeeze, generator, stored, uniform};
use super::products::gamma;
use super::select_channels::{Steps, bounds, norms};
use super::{CANARY_BYTES, Case, Expected, Output, POISON, Proof, Tensor};
use crate::Result;
use crate::launch::{Caps, Knobs, Reduce, Spec as _};
use crate::linear::compensate::{LIST, NAME, NORMS, RESIDUAL, SCALES, Source, X, Y, reference};
use crate::linear::residual::{ResidualElement, ResidualLayout};
use crate::linear::select::Budget;
use crate::linear::select_channels::{self, Method};
use crate::linear::{Activation, Compensate, SelectChannels};
use half::f16;
use rand_chacha::rand_core::Rng as _;

/// One case.
#[derive(Debug, Clone, Copy)]
pub(super) struct CompensateCase {
    rows: usize,
    cols: usize,
    k_chunk: usize,
    batch: usize,
    element: ResidualElement,
    activation: Activation,
    output: Activation,
    source: Source,
    accumulate: bool,
    steps: Steps,
    /// Segments of a workgroup, where not the default.
    slice: Option<u32>,
    squeeze: Squeeze,
}

const OWN: Source = Source::Own { method: Method::ChunkRadix, weighted: false };

const DEFAULT: CompensateCase = CompensateCase {
    rows: 301,
    cols: 2600,
    k_chunk: 7,
    batch: 1,
    element: ResidualElement::Int4,
    activation: Activation::F32,
    output: Activation::F32,
    source: Source::List,
    accumulate: false,
    steps: Steps::Random,
    slice: None,
    squeeze: Squeeze::None,
};

pub(super) fn cases() -> Vec<CompensateCase> {
    use Activation::{F16, F32};
    let mut all = Vec::new();
    let exact = |weighted| Source::Own { method: Method::Exact, weighted };
    for source in [Source::List, OWN] {
        // How channels are found does not depend on the element, and compiling it takes time: two
        // elements, one with activations of each kind, have to do.
        let all_elements = ResidualElement::ALL;
        let elements = if source == OWN { &all_elements[1..3] } else { &all_elements[..] };
        for &element in elements {
            let activation = if element.bits() % 8 == 0 { F16 } else { F32 };
            let default =
                CompensateCase { element, source, activation, output: activation, ..DEFAULT };
            let line = 1024 / element.bits() as usize;
            // Lone outputs, odd ones, whole segments and one more, several.
            for rows in [1, 2, line - 1, line, line + 1, 3 * line + 5] {
                all.push(CompensateCase { rows, ..default });
            }
            // Ends of the eight loads of the eight teams, and a second round of them.
            for k_chunk in [1, 8, 9, 33, 57, 64, 65, 127] {
                all.push(CompensateCase { cols: 1024, k_chunk, ..default });
            }
            let other = if activation == F16 { F32 } else { F16 };
            let activations = [activation, other];
            let kinds = if source == OWN { 1 } else { 2 };
            for activation in activations.into_iter().take(kinds) {
                let default = CompensateCase { activation, output: activation, ..default };
                all.push(CompensateCase { accumulate: true, k_chunk: 64, ..default });
                all.push(CompensateCase { k_chunk: 1024, rows: 70, ..default });
            }
            for steps in [Steps::Zeros, Steps::Equal, Steps::Outliers, Steps::NotNumbers] {
                all.push(CompensateCase { steps, k_chunk: 24, ..default });
            }
            // Of close neighbours and of few magnitudes some chunks rank few and others have too many.
            for (steps, k_chunk) in [(Steps::Close, 20), (Steps::Coarse, 9), (Steps::Random, 3)] {
                all.push(CompensateCase { steps, k_chunk, cols: 10_000, rows: 5, ..default });
            }
            all.push(CompensateCase { slice: Some(2), rows: 5 * line - 3, ..default });
        }
        let default = CompensateCase { source, ..DEFAULT };
        let steps = Steps::Subnormal;
        let halves = CompensateCase { activation: F16, output: F16, ..default };
        all.push(CompensateCase { steps, k_chunk: 300, ..halves });
        // Vectors that begin within a word, whose products are padded; sums kept in f32.
        for (rows, batch) in [(301, 2), (257, 4), (64, 3)] {
            all.push(CompensateCase { rows, batch, cols: 1029, k_chunk: 70, ..default });
            all.push(CompensateCase { rows, batch, cols: 2603, accumulate: true, ..halves });
            all.push(CompensateCase { rows, batch, cols: 2603, output: F32, ..halves });
        }
        all.push(CompensateCase { output: F16, slice: Some(2), rows: 1100, ..default });
        // More channels than 16 bits or a workgroup's memory hold.
        all.push(CompensateCase { cols: 70_000, rows: 3, k_chunk: 64, ..default });
        // A grid of two dimensions with a spare workgroup.
        let squeeze = Squeeze::Groups(4);
        all.push(CompensateCase { squeeze, rows: 256 * 9 + 1, slice: Some(2), ..default });
    }
    // Batches of one chunk and of several, whose lists do not fit, for one segment and for several;
    // f16 and f32.
    for (cols, k_chunk) in [(5000, 1024), (4999, 513), (5000, 300)] {
        for (source, activation) in
            [(OWN, F32), (OWN, F16), (exact(false), F32), (exact(true), F16)]
        {
            let slice = if activation == F16 { Some(3) } else { None };
            all.push(CompensateCase {
                cols,
                k_chunk,
                rows: 600,
                source,
                slice,
                activation,
                output: activation,
                ..DEFAULT
            });
        }
    }
    for weighted in [false, true] {
        for method in [Method::ChunkRadix, Method::Exact, Method::Bucket32(bounds(2.0, 0.8))] {
            let source = Source::Own { method, weighted };
            let activation = if weighted { F16 } else { F32 };
            let output = activation;
            all.push(CompensateCase { k_chunk: 33, source, activation, output, ..DEFAULT });
        }
    }
    let element = ResidualElement::F16;
    all.push(CompensateCase { element, source: OWN, accumulate: true, ..DEFAULT });
    all
}

impl CompensateCase {
    fn spec(&self) -> Result<Compensate> {
        let &Self { rows, cols, batch, activation, output, source, accumulate, .. } = self;
        let layout = ResidualLayout::new(rows, cols, self.element)?;
        let budget = Budget::new(cols, self.k_chunk)?;
        Ok(Compensate { layout, budget, batch, source, activation, output, accumulate })
    }
}

/// By workgroup memory, and by subgroups where there are some that suit and a method has use for them.
fn variants(caps: &Caps, method: Method, baseline: Knobs) -> Vec<(&'static str, Knobs)> {
    let mut all = vec![("baseline", baseline)];
    let (least, most) = (caps.subgroup_min, caps.subgroup_max);
    if caps.subgroups && least == most && (4..=32).contains(&least) && method != Method::Exact {
        all.push(("subgroup", Knobs { reduce: Some(Reduce::Subgroup), ..baseline }));
    }
    all
}

/// Words of any bits, whole residuals of f16 between -1 and 1 with subnormal ones among them; padding
/// is garbage, of f16 NaN.
fn residual(layout: &ResidualLayout, seed: &str) -> Vec<u32> {
    let mut rng = generator(&format!("residual {seed}"));
    let mut words: Vec<u32> = (0..layout.words()).map(|_| rng.next_u32()).collect();
    if layout.element() == ResidualElement::F16 {
        let mut half = |row: usize| match rng.next_u32() {
            _ if row >= layout.rows() => 0x7e01,
            bits if bits % 5 == 0 => (bits >> 8) & 0x83ff,
            _ => u32::from(f16::from_f32(uniform(&mut rng)).to_bits()),
        };
        for (at, word) in words.iter_mut().enumerate() {
            let row = at % layout.stride() * 2;
            *word = half(row) | (half(row + 1) << 16);
        }
    }
    words
}

impl Case for CompensateCase {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> String {
        let Self { rows, cols, k_chunk, element, activation, steps, .. } = self;
        let mut name = format!("{rows}x{cols} {k_chunk} of {}", element.name());
        name += &match self.spec().ok().and_then(|spec| spec.selection()) {
            None => format!(" {} list", activation.name()),
            Some(selection) => format!(" {} own", selection.setting()),
        };
        if self.output != *activation {
            name += &format!(" to {}", self.output.name());
        }
        if self.batch > 1 {
            name += &format!(" M{}", self.batch);
        }
        if self.accumulate {
            name += " added";
        }
        if *steps != Steps::Random {
            name += &format!(" {steps:?}");
        }
        if let Some(slice) = self.slice {
            name += &format!(" {slice} segments");
        }
        if self.squeeze != Squeeze::None {
            name += &format!(" {:?}", self.squeeze);
        }
        name
    }

    fn variants(&self, caps: &Caps) -> Vec<(&'static str, Knobs)> {
        let rows = self.slice.map(|slice| slice * 1024 / self.element.bits());
        let baseline = Knobs { rows, ..Knobs::baseline() };
        match self.source {
            // How lanes add up has nothing to do with what is done besides.
            Source::Own { method, weighted: false } if !self.accumulate => {
                variants(caps, method, baseline)
            }
            _ => vec![("baseline", baseline)],
        }
    }

    fn build(&self, caps: &Caps, knobs: &Knobs) -> Result<Proof> {
        let spec = self.spec()?;
        let (layout, activation, output) = (&spec.layout, self.activation, self.output);
        let seed = self.name();
        let x = self.steps.vector(spec.x_len(), activation, &seed);
        let mut rng = generator(&format!("scales {seed}"));
        let words = residual(layout, &seed);
        // Scales of padding must not matter; one is 0, one subnormal.
        let scale = |row: usize| match row {
            _ if row >= self.rows => f16::NAN,
            3 => f16::ZERO,
            5 => f16::from_bits(77),
            _ => f16::from_f32(uniform(&mut rng).abs() / 8.0),
        };
        let scales: Vec<f16> = (0..layout.padded_rows()).map(scale).collect();
        let scales = if self.element.scaled() { scales } else { Vec::new() };
        let round = |v: f32| match output {
            Activation::F32 => v,
            Activation::F16 => f16::from_f32(v).to_f32(),
        };
        // What is accumulated on is 0 in its padding.
        let stride = spec.y_len().div_ceil(self.batch);
        let mut before = |at: usize| match at % stride < self.rows {
            true => round(uniform(&mut rng)),
            false => 0.0,
        };
        let y: Vec<f32> = (0..spec.y_len()).map(&mut before).collect();

        let selection = spec.selection();
        let weights = match selection {
            Some(selection) if selection.weighted => norms(self.cols, &seed),
            _ => Vec::new(),
        };
        let batch = self.batch;
        let plain = SelectChannels { activation, batch, ..SelectChannels::new(spec.budget) };
        let list = select_channels::reference(&selection.unwrap_or(plain), &x, &weights)?;
        let result = reference(&spec, &words, &scales, &list, &x, &y)?;

        let padded = |mut bytes: Vec<u8>| {
            // What follows must not matter.
            bytes.resize(bytes.len().next_multiple_of(4) + 64, 0x7b);
            bytes
        };
        let mut tensors = vec![
            Tensor::input(RESIDUAL, bytemuck::cast_slice(&words).to_vec()),
            Tensor::input(X, padded(stored(&x, activation))),
        ];
        if self.element.scaled() {
            tensors.push(Tensor::input(SCALES, bytemuck::cast_slice(&scales).to_vec()));
        }
        if selection.is_none() {
            tensors.push(Tensor::input(LIST, bytemuck::cast_slice(&list).to_vec()));
        }
        if !weights.is_empty() {
            tensors.push(Tensor::input(NORMS, padded(bytemuck::cast_slice(&weights).to_vec())));
        }
        tensors.push(if self.accumulate {
            let mut before = stored(&y, output);
            before.resize(before.len().next_multiple_of(4) + CANARY_BYTES, POISON);
            Tensor::input(Y, before)
        } else {
            Tensor::output(Y, spec.y_len() * output.bytes())
        });

        // A product passes through the roundings of its team's sums, those of all teams, the scale,
        // and what was there before.
        let gamma = gamma(spec.budget.k().div_ceil(8) + 8 + 2);
        let tolerance = result.y.iter().zip(&result.condition).map(|(y, condition)| {
            let sum = gamma * condition;
            match output {
                Activation::F32 => sum,
                // Rounding to f16 afterwards; half a unit of subnormals at least.
                Activation::F16 => sum + ((y.abs() + sum) / 2048.0).max(f64::powi(2.0, -25)),
            }
        });
        let tolerance = tolerance.collect();
        let limit = |y: f64| match output {
            Activation::F16 if y.abs() >= 65520.0 => y.signum() * f64::INFINITY,
            _ => y,
        };
        let values = result.y.into_iter().map(limit).collect();
        let relative = match output {
            Activation::F32 => 5e-4,
            // Subnormal results keep few bits.
            Activation::F16 if self.steps == Steps::Subnormal => f64::INFINITY,
            Activation::F16 => 1.5e-3,
        };
        let expected = Expected::Close { element: output, values, tolerance, relative };
        let launches = spec.launches(&self.squeeze.apply(caps), knobs)?;
        Ok(Proof { launches, tensors, outputs: vec![Output { binding: Y, expected }] })
    }
}
