//! Layers, Hessians and oracles. Nothing here uses the solver's own sums.

mod bad;
mod gain;
mod job;
mod labels;
mod monotone;
mod tables;
mod whole;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal, StudentT};

use super::*;
use crate::linear::HessianAccumulator;

/// A layer's weights with the Hessian of made-up calibration inputs.
struct Case {
    rows: usize,
    cols: usize,
    values: Vec<f32>,
    hessian: Hessian,
}

impl Case {
    fn weights(&self) -> Weights<'_> {
        Weights::new("case", self.rows, self.cols, &self.values, None).unwrap()
    }

    fn full(&self, group: usize) -> Vec<f64> {
        let n = self.cols;
        let get = |at: usize| self.hessian.get(group, at / n, at % n).unwrap();
        (0..n * n).map(|at| f64::from(get(at))).collect()
    }

    /// What is solved with: 2^-23 of the trace more on the diagonal of active inputs, in f32.
    fn solved(&self, group: usize) -> Vec<f64> {
        let n = self.cols;
        let mut h = self.full(group);
        let trace: f64 = h.iter().step_by(n + 1).sum();
        for i in 0..n {
            let diagonal = &mut h[i * n + i];
            if *diagonal > 1e-12 * trace / n as f64 {
                *diagonal = f64::from((*diagonal + trace / 8_388_608.0) as f32);
            }
        }
        h
    }

    fn start(&self, bits: u8) -> Quantized {
        clusters(&self.weights(), &self.hessian, &LnqOptions { bits, ..options() }).unwrap()
    }

    /// Any labels, with a table across the range of each row.
    fn random_start(&self, seed: u64, bits: u8) -> Quantized {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut start = self.start(bits);
        start.codes.iter_mut().for_each(|code| *code = rng.random_range(0..1u16 << bits) as u8);
        start
    }

    fn same_label(&self, bits: u8) -> Quantized {
        let mut start = self.start(bits);
        start.codes.fill(0);
        start
    }
}

/// In f64, tables not rounded to halves.
fn options() -> LnqOptions {
    LnqOptions { table: TableElement::F32, precision: Precision::F64, ..LnqOptions::default() }
}

/// Heavy-tailed weights; tokens that share directions, columns of log-normal scale, weighted with
/// chi-square sensitivities.
fn case(seed: u64, rows: usize, cols: usize, tokens: usize, groups: usize) -> Case {
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
            x.push(scale * (common / (shared as f32).sqrt() + 0.5 * normal()));
        }
    }
    let s: Vec<f32> = (0..tokens * groups).map(|_| normal().powi(2)).collect();
    let values = (0..rows * cols).map(|_| (0.02 * tail.sample(&mut rng)) as f32).collect();
    let mut sums = HessianAccumulator::new("case", cols, groups).unwrap();
    sums.add_batch(&x, Some(&s)).unwrap();
    Case { rows, cols, values, hessian: sums.finish().unwrap() }
}

/// The quantized row as numbers.
fn values_of(quantized: &Quantized, row: usize) -> Vec<f64> {
    let bits = quantized.parent_bits;
    let table = &quantized.table(bits).unwrap()[row << bits..(row + 1) << bits];
    let codes = &quantized.codes[row * quantized.cols..(row + 1) * quantized.cols];
    codes.iter().map(|&code| f64::from(table[usize::from(code)])).collect()
}

/// (w - q)^T H (w - q), by definition.
fn objective(h: &[f64], w: &[f32], q: &[f64]) -> f64 {
    let d: Vec<f64> = w.iter().zip(q).map(|(&w, q)| q - f64::from(w)).collect();
    let row = |(h, d_i): (&[f64], &f64)| d_i * h.iter().zip(&d).map(|(h, d)| h * d).sum::<f64>();
    h.chunks_exact(w.len()).zip(&d).map(row).sum()
}

fn row_objectives(case: &Case, quantized: &Quantized) -> Vec<f64> {
    let share = case.rows / case.hessian.groups();
    (0..case.rows)
        .map(|row| {
            let h = case.solved(row / share);
            let w = &case.values[row * case.cols..(row + 1) * case.cols];
            objective(&h, w, &values_of(quantized, row))
        })
        .collect()
}

fn run(case: &Case, options: &LnqOptions) -> Lnq {
    lnq(&case.weights(), &case.hessian, options).unwrap()
}
