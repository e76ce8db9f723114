//! Seeded heavy-tailed matrices, like trained weights and their sensitivities.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StudentT};

/// Weights of a Student's t distribution with 4 degrees of freedom, and sensitivities that are
/// squares of such numbers.
pub(crate) fn heavy_tailed(seed: u64, count: usize) -> (Vec<f32>, Vec<f32>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let tail = StudentT::new(4.0).unwrap();
    let mut draw = || -> f64 { tail.sample(&mut rng) };
    let values = (0..count).map(|_| (0.02 * draw()) as f32).collect();
    let sensitivities = (0..count).map(|_| (1e-6 * draw().powi(2)) as f32).collect();
    (values, sensitivities)
}
