//! LNQ on every adapter, against the CPU and against the definition.

mod descent;
mod whole;

use fewbytes::linear::{Hessian, HessianAccumulator, Weights};
use fewbytes_wgpu::{Context, Features, adapters};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal, StudentT};

/// A context on every adapter.
fn contexts() -> Vec<Context> {
    let found = pollster::block_on(adapters());
    assert!(
        !found.is_empty(),
        "this test runs kernels: `cargo xtask test` finds or installs a driver"
    );
    let open = |adapter| pollster::block_on(Context::open_on(adapter, Features::Full)).unwrap();
    found.iter().map(open).collect()
}

/// A layer's weights with the Hessian of made-up calibration inputs.
struct Layer {
    rows: usize,
    cols: usize,
    values: Vec<f32>,
    hessian: Hessian,
}

impl Layer {
    fn weights(&self) -> Weights<'_> {
        Weights::new("layer", self.rows, self.cols, &self.values, None).unwrap()
    }
}

/// Heavy-tailed weights; tokens that share directions, columns of log-normal scale. Inputs that
/// `active` refuses never are.
fn layer(
    seed: u64,
    (rows, cols): (usize, usize),
    tokens: usize,
    groups: usize,
    active: impl Fn(usize) -> bool,
) -> Layer {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let tail = StudentT::new(4.0).unwrap();
    let mut normal = || -> f32 { StandardNormal.sample(&mut rng) };
    let shared = (cols / 8).max(1);
    let mix: Vec<f32> = (0..shared * cols).map(|_| normal()).collect();
    let scale: Vec<f32> = (0..cols).map(|_| normal().exp()).collect();
    let mut x = Vec::with_capacity(tokens * cols);
    for _ in 0..tokens {
        let z: Vec<f32> = (0..shared).map(|_| normal()).collect();
        for (col, scale) in scale.iter().enumerate() {
            let common: f32 =
                z.iter().zip(mix[col..].iter().step_by(cols)).map(|(z, m)| z * m).sum();
            let token = scale * (common / (shared as f32).sqrt() + 0.5 * normal());
            x.push(if active(col) { token } else { 0.0 });
        }
    }
    let s: Vec<f32> = (0..tokens * groups).map(|_| normal().powi(2)).collect();
    let values = (0..rows * cols).map(|_| (0.02 * tail.sample(&mut rng)) as f32).collect();
    let mut sums = HessianAccumulator::new("layer", cols, groups).unwrap();
    sums.add_batch(&x, Some(&s)).unwrap();
    Layer { rows, cols, values, hessian: sums.finish().unwrap() }
}
