//! LNQ on one layer of heavy-tailed weights, 3 bits, two iterations of four cycles, and the sums of
//! its Hessian. Besides the time, the rate over the work of every cycle done in full is printed.
//!
//! Then the half steps on the best adapter, `FEWBYTES_ADAPTER` chooses another: those alone, without
//! clusters and rounding, which are the CPU's there too. A second run, with everything compiled.
//!
//! 1024 x 1024 by default; `FEWBYTES_LNQ_SIDE=4096` for the size of a real layer, once.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use fewbytes::linear::{Hessian, HessianAccumulator, LabelStep, LnqJob, LnqOptions, Weights, lnq};
use fewbytes_wgpu::{Context, OpenOptions, ops};
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal, StudentT};

const TOKENS: usize = 2048;

/// Tokens that share an eighth of the directions.
fn tokens(side: usize) -> Vec<f32> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(2);
    let mut normal = |count: usize| -> Vec<f32> {
        (0..count).map(|_| StandardNormal.sample(&mut rng)).collect()
    };
    let mut x = Vec::with_capacity(TOKENS * side);
    let mut last = normal(side);
    for _ in 0..TOKENS {
        let fresh = normal(side);
        // Neighbouring inputs and neighbouring tokens are alike.
        for i in 0..side {
            last[i] = 0.5 * last[(i + 1) % side] + 0.4 * last[i] + 0.6 * fresh[i];
        }
        x.extend_from_slice(&last);
    }
    x
}

fn hessian(side: usize, x: &[f32]) -> Hessian {
    let mut sums = HessianAccumulator::new("bench", side, 1).expect("a layer's size");
    sums.add_batch(x, None).expect("finite tokens");
    sums.finish().expect("finite sums")
}

fn rate(what: &str, flops: f64, spent: Duration) {
    println!(
        "{what}: {:.2} s, {:.1} GFLOP/s",
        spent.as_secs_f64(),
        flops / spent.as_secs_f64() / 1e9
    );
}

fn layer(c: &mut Criterion) {
    let side = std::env::var("FEWBYTES_LNQ_SIDE")
        .map_or(1024, |side| side.parse().expect("FEWBYTES_LNQ_SIDE is a number of inputs"));
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let tail = StudentT::new(4.0_f64).expect("four degrees of freedom are a distribution");
    let values: Vec<f32> = (0..side * side).map(|_| 0.02 * tail.sample(&mut rng) as f32).collect();
    let weights = Weights::new("bench", side, side, &values, None).expect("finite weights");
    let x = tokens(side);
    let cubed = (side * side) as f64 * side as f64;

    let start = Instant::now();
    let h = hessian(side, &x);
    rate("Hessian", (side * side) as f64 * TOKENS as f64, start.elapsed());

    let mut group = c.benchmark_group(format!("lnq_{side}x{side}_3bit"));
    group.sample_size(10).measurement_time(Duration::from_secs(10));
    if side <= 1024 {
        group.bench_function("hessian_2048_tokens", |b| b.iter(|| hessian(side, black_box(&x))));
    }
    for labels in [LabelStep::Descent, LabelStep::Feedback] {
        let options = LnqOptions { labels, ..LnqOptions::default() };
        let start = Instant::now();
        let done = lnq(&weights, &h, &options).expect("a good layer");
        // Eight cycles, and three products after new tables, each 2 * rows * inputs^2.
        let products = if labels == LabelStep::Descent { 8.0 + 3.0 } else { 2.0 * 1.5 + 3.0 };
        rate(&format!("{labels:?}"), products * 2.0 * cubed, start.elapsed());
        println!(
            "{labels:?}: {:.4} of the clusters' objective",
            done.report.after() / done.report.before()
        );
        if side <= 1024 {
            group.bench_function(format!("{labels:?}"), |b| {
                b.iter(|| lnq(black_box(&weights), &h, &options));
            });
        }
    }
    group.finish();
    device(&weights, &h);
}

/// The half steps on a device.
fn device(weights: &Weights<'_>, h: &Hessian) {
    let ctx = pollster::block_on(Context::open(&OpenOptions::from_env())).expect("an adapter");
    let options = LnqOptions::default();
    let job = LnqJob::new(weights, h, &options).expect("a good layer");
    let settings = ops::lnq::Settings::default();
    // One for every cycle, one at the start and one after all tables.
    let products = (options.iterations * (options.cycles + 1) + 2) as f64;
    let macs = weights.rows() as f64 * (weights.cols() as f64).powi(2);
    for run in ["first", "second"] {
        let start = Instant::now();
        let steps = ctx.block_on(ops::lnq::half_steps(&ctx, &job, &settings, &|_| {}));
        let spent = start.elapsed();
        let steps = steps.expect("half steps").steps().to_vec();
        let share = steps.last().map_or(0.0, |last| last.objective() / steps[0].objective());
        rate(&format!("{}, {run} run", ctx.describe()), products * 2.0 * macs, spent);
        println!("{share:.4} of the clusters' objective");
    }
}

criterion_group!(benches, layer);
criterion_main!(benches);
