//! Data and oracles shared by the quantizer's tests. Nothing here uses the quantizer's own sums.

mod layers;
mod optimal;
mod rows;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StudentT};

use super::{Method, QuantizeOptions, Quantized, quantize};
use crate::linear::{TableElement, Weights};

/// Tables in `f32`, so that what is tested is clustering and not rounding to half precision.
fn options(method: Method) -> QuantizeOptions {
    QuantizeOptions { method, table: TableElement::F32, ..QuantizeOptions::default() }
}

fn one_row(x: &[f32], s: Option<&[f32]>, options: QuantizeOptions) -> Quantized {
    quantize(&Weights::new("row", 1, x.len(), x, s).unwrap(), &options).unwrap()
}

/// Heavy-tailed values and sensitivities of several orders of magnitude, some of them zero.
fn heavy(seed: u64, count: usize) -> (Vec<f32>, Vec<f32>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let tail = StudentT::new(4.0).unwrap();
    let x = (0..count).map(|_| 0.02 * tail.sample(&mut rng) as f32).collect();
    let s = (0..count)
        .map(|_| {
            let g: f64 = tail.sample(&mut rng);
            if rng.random_bool(0.1) { 0.0 } else { (1e-6 * g * g) as f32 }
        })
        .collect();
    (x, s)
}

/// The weights that `quantize` promises to use.
fn effective(x: &[f32], s: Option<&[f32]>) -> Vec<f64> {
    let masked: Vec<f64> = match s {
        None => vec![1.0; x.len()],
        Some(s) => {
            x.iter().zip(s).map(|(&x, &s)| if x == 0.0 { 0.0 } else { f64::from(s) }).collect()
        }
    };
    if masked.iter().all(|&s| s == 0.0) { vec![1.0; x.len()] } else { masked }
}

/// Values ascending with their effective weights.
fn sorted(x: &[f32], s: Option<&[f32]>) -> Vec<(f64, f64)> {
    let mut pairs: Vec<_> = x.iter().map(|&x| f64::from(x)).zip(effective(x, s)).collect();
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
    pairs
}

/// Centroid by definition: weighted mean, plain mean where nothing weighs. Two passes.
fn centroid(run: &[(f64, f64)]) -> f64 {
    let mass: f64 = run.iter().map(|p| p.1).sum();
    if mass == 0.0 {
        return run.iter().map(|p| p.0).sum::<f64>() / run.len() as f64;
    }
    let rough = run.iter().map(|p| p.0 * p.1).sum::<f64>() / mass;
    rough + run.iter().map(|p| (p.0 - rough) * p.1).sum::<f64>() / mass
}

/// Cost by definition.
fn cost(run: &[(f64, f64)]) -> f64 {
    if run.is_empty() {
        return 0.0;
    }
    let mean = centroid(run);
    run.iter().map(|p| p.1 * (p.0 - mean) * (p.0 - mean)).sum()
}

/// Sum of weight * value^2 about the value nearest to zero: what rounding errors are relative to.
fn norm(run: &[(f64, f64)]) -> f64 {
    let nearest = run.iter().map(|p| p.0).min_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap();
    let shift = if run[0].0 < 0.0 && run[run.len() - 1].0 > 0.0 { 0.0 } else { nearest };
    run.iter().map(|p| p.1 * (p.0 - shift) * (p.0 - shift)).sum()
}
