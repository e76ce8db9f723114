//! The product at every width: result, errors, time.

use anyhow::Result;
use fewbytes::linear::gemv_bitplane::reference;
use fewbytes::linear::{BitplaneLayer, Weights};
use fewbytes_wgpu::{Context, Error, ops, wgpu};
use rand::SeedableRng as _;
use rand_distr::{Distribution as _, StandardNormal};
use std::time::{Duration, Instant};

/// Submissions before the clock counts, and those that count.
const WARM_UP: usize = 3;
pub(crate) const TIMED: usize = 21;

/// What one width costs and gives.
pub(crate) struct Width {
    pub(crate) bits: u8,
    /// Bytes of planes and tables.
    pub(crate) read_bytes: u64,
    /// Relative error of the weights.
    pub(crate) weight_error: f64,
    /// Relative error of the product against the original weights.
    pub(crate) output_error: f64,
    /// Relative error of the product against the quantized weights.
    pub(crate) kernel_error: f64,
    /// Wall time of a multiplication, with submitting and waiting.
    pub(crate) time: Duration,
    /// Which implementation ran.
    pub(crate) variants: Vec<&'static str>,
}

/// Uploads the layer once and multiplies at each width of `errors`.
pub(crate) fn all(
    ctx: &Context,
    layer: &BitplaneLayer,
    dense: &Weights<'_>,
    errors: &[(u8, f64)],
) -> Result<Vec<Width>> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(2);
    let x: Vec<f32> = StandardNormal.sample_iter(&mut rng).take(layer.cols()).collect();
    let exact = product(dense.values(), &x);

    let weights = ops::BitplaneWeights::upload(ctx, layer, layer.parent_bits())?;
    let gemv = ops::gemv_bitplane::plan(ctx, &weights, ops::gemv_bitplane::Options::default())?;
    let device_x = ctx.upload(&x)?;
    let device_y = ctx.alloc::<f32>(layer.rows())?;
    let bound = gemv.bind(&weights, &device_x, &device_y)?;
    let run = |bits: u8| {
        ctx.submit(|pass| bound.record(pass, bits))?;
        let waited = ctx.device().poll(wgpu::PollType::wait_indefinitely());
        waited.map_err(|e| Error::DeviceLost { reason: e.to_string() }.into())
    };
    let times = median_times(errors.iter().map(|(bits, _)| *bits), |bits| run(bits).map(|_| ()))?;
    let one = |(&(bits, weight_error), time): (&(u8, f64), Duration)| {
        // What the last width left must not be taken for this one's result.
        ctx.write(&device_y, &vec![f32::NAN; layer.rows()])?;
        run(bits)?;
        let y = ctx.block_on(ctx.read::<f32>(&device_y))?;
        let quantized = reference(layer, bits, &x, false)?.y;
        let plan = gemv.width(bits)?;
        let activations = 4 * x.len() as u64;
        Ok(Width {
            bits,
            read_bytes: plan.traffic().read_bytes.saturating_sub(activations),
            weight_error,
            output_error: relative(&y, &exact),
            kernel_error: relative(&y, &quantized),
            time,
            variants: plan.variants().map(|(_, variant)| variant).collect(),
        })
    };
    errors.iter().zip(times).map(one).collect()
}

/// The median time of every width. They take turns, so that a machine that is busy for a moment
/// is so for all of them.
fn median_times(
    widths: impl Iterator<Item = u8> + Clone,
    run: impl Fn(u8) -> Result<()>,
) -> Result<Vec<Duration>> {
    let mut times = vec![Vec::new(); widths.clone().count()];
    for round in 0..WARM_UP + TIMED {
        for (bits, times) in widths.clone().zip(&mut times) {
            let started = Instant::now();
            run(bits)?;
            if round >= WARM_UP {
                times.push(started.elapsed());
            }
        }
    }
    times.iter_mut().for_each(|times| times.sort_unstable());
    Ok(times.iter().map(|times| times[TIMED / 2]).collect())
}

/// `W x` in f64, row by row.
fn product(weights: &[f32], x: &[f32]) -> Vec<f64> {
    let dot = |row: &[f32]| row.iter().zip(x).map(|(&w, &x)| f64::from(w) * f64::from(x)).sum();
    weights.chunks_exact(x.len()).map(dot).collect()
}

/// Norm of the difference over the norm of what is right; 0 where both are 0.
fn relative(y: &[f32], right: &[f64]) -> f64 {
    let off: f64 = y.iter().zip(right).map(|(&y, r)| (f64::from(y) - r).powi(2)).sum();
    let norm: f64 = right.iter().map(|r| r * r).sum();
    if off == 0.0 { 0.0 } else { (off / norm).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_and_errors_are_those_of_the_definition() {
        assert_eq!(product(&[1.0, 2.0, 3.0, 4.0], &[10.0, 1.0]), [12.0, 34.0]);
        assert_eq!(relative(&[3.0, 4.0], &[3.0, 4.0]), 0.0);
        assert_eq!(relative(&[0.0, 0.0], &[3.0, 4.0]), 1.0);
        assert_eq!(relative(&[0.0], &[0.0]), 0.0);
        assert!(relative(&[f32::NAN], &[1.0]).is_nan());
    }
}
