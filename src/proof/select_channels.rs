//! The case table of `select_channels`.

use super::bitplane::{Squeeze, generator, stored, uniform};
use super::{Case, Expected, Output, Proof, Tensor};
use crate::Result;
use crate::launch::{Caps, Knobs, Spec as _};
use crate::linear::select::Budget;
use crate::linear::select_channels::{BUCKETS, LIST, Method, NAME, NORMS, X, reference};
use crate::linear::{Activation, SelectChannels};
use half::f16;
use rand_chacha::rand_core::Rng as _;

/// What the activations are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Steps {
    /// Between -1 and 1.
    Random,
    /// The same magnitude everywhere, signs differ: ties alone.
    Equal,
    /// All 0, half of them negative.
    Zeros,
    /// A few far larger than the rest.
    Outliers,
    /// Few different magnitudes: ties at the last one taken.
    Coarse,
    /// Every third NaN, one infinity of either sign, zeros.
    NotNumbers,
    /// Subnormal in the element's type, and zeros.
    Subnormal,
    /// Neighbours in the type: all bits count.
    Close,
}

impl Steps {
    pub(super) const ALL: [Self; 8] = [
        Self::Random,
        Self::Equal,
        Self::Zeros,
        Self::Outliers,
        Self::Coarse,
        Self::NotNumbers,
        Self::Subnormal,
        Self::Close,
    ];

    pub(super) fn vector(self, cols: usize, activation: Activation, seed: &str) -> Vec<f32> {
        let mut rng = generator(seed);
        let halves = activation == Activation::F16;
        let draw = |i: usize| {
            let (value, bits) = (uniform(&mut rng), rng.next_u32());
            let sign = if bits & 1 == 0 { 1.0 } else { -1.0 };
            match self {
                Self::Random => value,
                Self::Equal => 0.375 * sign,
                Self::Zeros => 0.0 * sign,
                Self::Outliers => value * if bits % 97 < 2 { 60_000.0 } else { 1.0 },
                Self::Coarse => sign * ((bits >> 8) % 5) as f32,
                Self::NotNumbers if i % 3 == 1 => f32::NAN,
                Self::NotNumbers if i % 509 == 5 => f32::INFINITY * sign,
                Self::NotNumbers => {
                    if i.is_multiple_of(7) {
                        0.0
                    } else {
                        value
                    }
                }
                Self::Subnormal if halves => f16::from_bits((bits >> 8) as u16 & 0x83ff).to_f32(),
                Self::Subnormal => f32::from_bits((bits >> 3) & 0x807f_ffff),
                Self::Close if halves => {
                    f16::from_bits(0x3bf0 + ((bits >> 8) as u16 & 31)).to_f32()
                }
                Self::Close => f32::from_bits(0x3eff_ff00 + ((bits >> 8) & 511)),
            }
        };
        let x: Vec<f32> = (0..cols).map(draw).collect();
        let half = |v: f32| if halves { f16::from_f32(v).to_f32() } else { v };
        x.into_iter().map(half).collect()
    }
}

/// One norm a channel, zeros among them.
pub(super) fn norms(cols: usize, seed: &str) -> Vec<f16> {
    let mut rng = generator(&format!("norms {seed}"));
    let norm = |i: usize| if i % 13 == 4 { 0.0 } else { 4.0 * uniform(&mut rng).abs() };
    (0..cols).map(norm).map(f16::from_f32).collect()
}

/// Bounds of buckets from `a`, through `b`, to 0.
pub(super) fn bounds(a: f32, b: f32) -> [f32; BUCKETS] {
    std::array::from_fn(|i| match i {
        0..15 => (f64::from(a) + f64::from(b - a) * i as f64 / 15.0) as f32,
        _ => b * (31 - i) as f32 / 16.0,
    })
}

/// One case.
#[derive(Debug, Clone, Copy)]
pub(super) struct SelectCase {
    cols: usize,
    k_chunk: usize,
    batch: usize,
    steps: Steps,
    activation: Activation,
    method: Method,
    weighted: bool,
    squeeze: Squeeze,
}

const DEFAULT: SelectCase = SelectCase {
    cols: 4096,
    k_chunk: 7,
    batch: 1,
    steps: Steps::Random,
    activation: Activation::F32,
    method: Method::ChunkRadix,
    weighted: false,
    squeeze: Squeeze::None,
};

pub(super) fn cases() -> Vec<SelectCase> {
    use Activation::{F16, F32};
    let mut all = Vec::new();
    let buckets = |a, b| Method::Bucket32(bounds(a, b));
    for activation in [F32, F16] {
        let default = SelectCase { activation, ..DEFAULT };
        for method in [Method::ChunkRadix, Method::Exact, buckets(1.0, 0.9)] {
            let default = SelectCase { method, ..default };
            for (cols, k_chunk) in [
                (1, 1024),
                (1023, 64),
                (1024, 1),
                (1025, 1023),
                (1025, 1024),
                (2047, 7),
                (4999, 64),
                (5000, 1024),
                (14_336, 16),
                // Indices beyond 16 bits.
                (70_000, 3),
            ] {
                all.push(SelectCase { cols, k_chunk, ..default });
            }
            for steps in Steps::ALL {
                for k_chunk in [1, 100, 700] {
                    all.push(SelectCase { cols: 2600, steps, k_chunk, ..default });
                }
            }
            for (cols, k_chunk, steps) in [
                (3001, 40, Steps::Random),
                (1500, 600, Steps::NotNumbers),
                (999, 300, Steps::Coarse),
            ] {
                all.push(SelectCase { cols, k_chunk, steps, weighted: true, ..default });
            }
        }
        // Buckets of no width, below which all is, above which all is, of subnormal bounds.
        for (a, b, steps) in [
            (0.5, 0.5, Steps::Random),
            (0.0, 0.0, Steps::Random),
            (5.0, 0.0, Steps::Coarse),
            (1e30, 1e30, Steps::Random),
            (1e-3, 1e-4, Steps::Random),
            (f32::MAX, 1.0, Steps::Outliers),
            (1e-39, 3e-40, Steps::Subnormal),
        ] {
            let method = buckets(a, b);
            all.push(SelectCase { method, steps, cols: 2600, k_chunk: 90, ..default });
        }
        // A grid of two dimensions with spare workgroups.
        all.push(SelectCase { squeeze: Squeeze::Groups(3), cols: 6500, ..default });
        // Vectors that begin within a word.
        for (method, weighted) in
            [(Method::ChunkRadix, true), (Method::Exact, false), (buckets(1.0, 0.9), false)]
        {
            let squeeze = Squeeze::Groups(4);
            let default = SelectCase { method, weighted, cols: 2603, k_chunk: 40, ..default };
            all.push(SelectCase { batch: 2, ..default });
            all.push(SelectCase { batch: 4, cols: 5001, squeeze, ..default });
        }
    }
    all
}

impl Case for SelectCase {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> String {
        let Self { cols, k_chunk, steps, .. } = self;
        let mut name = format!("{k_chunk} of {cols} {} {steps:?}", self.spec_setting());
        if let Method::Bucket32(bounds) = self.method {
            name += &format!(" {:e} {:e}", bounds[0], bounds[15]);
        }
        if self.batch > 1 {
            name += &format!(" M{}", self.batch);
        }
        if self.squeeze != Squeeze::None {
            name += &format!(" {:?}", self.squeeze);
        }
        name
    }

    fn variants(&self, _caps: &Caps) -> Vec<(&'static str, Knobs)> {
        vec![("baseline", Knobs::baseline())]
    }

    fn build(&self, caps: &Caps, knobs: &Knobs) -> Result<Proof> {
        let spec = self.spec()?;
        let seed = self.name();
        let x = self.steps.vector(spec.x_len(), self.activation, &seed);
        let norms = if self.weighted { norms(self.cols, &seed) } else { Vec::new() };
        let list = reference(&spec, &x, &norms)?;
        let padded = |mut bytes: Vec<u8>| {
            // What follows must not matter.
            bytes.resize(bytes.len().next_multiple_of(4) + 64, 0x7b);
            bytes
        };
        let mut tensors = vec![
            Tensor::input(X, padded(stored(&x, self.activation))),
            Tensor::output(LIST, 4 * list.len()),
        ];
        if self.weighted {
            tensors.push(Tensor::input(NORMS, padded(bytemuck::cast_slice(&norms).to_vec())));
        }
        let expected = Expected::Bytes(bytemuck::cast_slice(&list).to_vec());
        let launches = spec.launches(&self.squeeze.apply(caps), knobs)?;
        Ok(Proof { launches, tensors, outputs: vec![Output { binding: LIST, expected }] })
    }
}

impl SelectCase {
    fn spec(&self) -> Result<SelectChannels> {
        let &Self { cols, k_chunk, batch, activation, method, weighted, .. } = self;
        let budget = Budget::new(cols, k_chunk)?;
        Ok(SelectChannels { budget, batch, activation, method, weighted })
    }

    fn spec_setting(&self) -> String {
        self.spec().map_or_else(|error| error.to_string(), |spec| spec.setting())
    }
}
