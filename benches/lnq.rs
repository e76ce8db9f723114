//! LNQ on one layer of heavy-tailed weights, 3 bits, two iterations of four cycles, and the sums of
//! its Hessian: on the CPU, there also in its three parts, and on the best adapter, which is printed;
//! `FEWBYTES_ADAPTER` chooses another. Besides the times, the rates over the work of every cycle done
//! in full are printed.
//!
//! On a device clusters and rounding are the CPU's all the same, so the half steps have a row of
//! their own, and the whole one with the objectives recomputed in f64 and one without.
//!
//! 1024 x 1024 by default, 256 x 256 where a CPU plays the device; `FEWBYTES_LNQ_SIDE=4096` for the
//! size of a real layer, once, on both.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use fewbytes::linear::{
    Hessian, HessianAccumulator, LabelStep, Lnq, LnqJob, LnqOptions, Weights, lnq, lnq_from,
};
use fewbytes_wgpu::ops::lnq::Settings;
use fewbytes_wgpu::{Context, OpenOptions, ops, wgpu};
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal, StudentT};

const TOKENS: usize = 2048;

/// Up to this side rows are repeated.
const REPEATED: usize = 1024;

/// What is quantized.
struct Layer {
    side: usize,
    values: Vec<f32>,
    x: Vec<f32>,
}

impl Layer {
    fn new(side: usize) -> Self {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        let tail = StudentT::new(4.0_f64).expect("four degrees of freedom are a distribution");
        let values = (0..side * side).map(|_| 0.02 * tail.sample(&mut rng) as f32).collect();
        Self { side, values, x: tokens(side) }
    }

    fn weights(&self) -> Weights<'_> {
        Weights::new("bench", self.side, self.side, &self.values, None).expect("finite weights")
    }

    fn hessian(&self) -> Hessian {
        let mut sums = HessianAccumulator::new("bench", self.side, 1).expect("a layer's size");
        sums.add_batch(&self.x, None).expect("finite tokens");
        sums.finish().expect("finite sums")
    }

    fn hessian_on(&self, ctx: &Context) -> Hessian {
        let sums = ops::hessian::Accumulator::new(ctx, "bench", self.side, 1);
        let mut sums = sums.expect("a layer's size");
        sums.add_batch(&self.x, None).expect("finite tokens");
        ctx.block_on(sums.finish()).expect("finite sums")
    }

    /// Floating-point operations of the sums, one triangle of them.
    fn hessian_flops(&self) -> f64 {
        (self.side * self.side) as f64 * TOKENS as f64
    }

    /// Floating-point operations of so many products of all offsets with the Hessian.
    fn products(&self, count: f64) -> f64 {
        2.0 * count * (self.side as f64).powi(3)
    }
}

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

/// Does something once and prints how long it takes, and the rate where operations are counted.
fn timed<T>(what: &str, flops: f64, work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let done = work();
    let spent = start.elapsed();
    print(what, flops, spent);
    (done, spent)
}

fn print(what: &str, flops: f64, spent: Duration) {
    let seconds = spent.as_secs_f64();
    let rate = flops / seconds / 1e9;
    let rate = if flops > 0.0 { format!(", {rate:.1} GFLOP/s") } else { String::new() };
    println!("{what}: {seconds:.3} s{rate}");
}

fn print_share(what: &str, done: &Lnq) {
    let share = done.report.after() / done.report.before();
    println!("{what}: {share:.4} of the clusters' objective");
}

fn side() -> Option<usize> {
    let side = std::env::var("FEWBYTES_LNQ_SIDE").ok()?;
    Some(side.parse().expect("FEWBYTES_LNQ_SIDE is a number of inputs"))
}

/// Everything on the CPU.
fn cpu(c: &mut Criterion) {
    let layer = Layer::new(side().unwrap_or(1024));
    let (side, weights) = (layer.side, layer.weights());
    let (h, _) = timed("Hessian", layer.hessian_flops(), || layer.hessian());

    let mut group = c.benchmark_group(format!("lnq_{side}x{side}_3bit"));
    group.sample_size(10).measurement_time(Duration::from_secs(10));
    if side <= REPEATED {
        group.bench_function("hessian_2048_tokens", |b| b.iter(|| black_box(&layer).hessian()));
    }
    for labels in [LabelStep::Descent, LabelStep::Feedback] {
        let options = LnqOptions { labels, ..LnqOptions::default() };
        // Eight cycles, and three products after new tables.
        let count = if labels == LabelStep::Descent { 8.0 + 3.0 } else { 2.0 * 1.5 + 3.0 };
        let what = format!("{labels:?}");
        let run = || lnq(&weights, &h, &options).expect("a good layer");
        let (done, _) = timed(&what, layer.products(count), run);
        print_share(&what, &done);
        if labels == LabelStep::Descent {
            parts(&layer, &weights, &h, count);
        }
        if side <= REPEATED {
            group.bench_function(what, |b| b.iter(|| lnq(black_box(&weights), &h, &options)));
        }
    }
    group.finish();
}

/// What the time goes to with descent on the CPU.
fn parts(layer: &Layer, weights: &Weights<'_>, h: &Hessian, count: f64) {
    let options = LnqOptions::default();
    let new = || LnqJob::new(weights, h, &options).expect("a good layer");
    let (job, _) = timed("  clusters", 0.0, new);
    let finish = |exact| {
        let start = job.start();
        let tables = start.table(options.bits).expect("a table of this width").to_vec();
        let from = Instant::now();
        let done = job.finish(start.codes.clone(), tables, Vec::new(), 0, exact);
        done.expect("a good start");
        from.elapsed()
    };
    let rounding = finish(false);
    let exact = finish(true);
    let from = Instant::now();
    lnq_from(weights, h, job.start(), &options, &|_| {}).expect("a good start");
    let half_steps = from.elapsed().saturating_sub(exact);
    print("  half steps", layer.products(count), half_steps);
    let recomputation = exact.saturating_sub(rounding);
    print("  objectives in f64", layer.products(1.0), recomputation);
}

/// The same on a device.
fn device(c: &mut Criterion) {
    let ctx = match pollster::block_on(Context::open(&OpenOptions::from_env())) {
        Ok(ctx) => ctx,
        Err(error) => return println!("no rows on a device: {error}"),
    };
    let software = ctx.info().device_type == wgpu::DeviceType::Cpu;
    let layer = Layer::new(side().unwrap_or(if software { 256 } else { 1024 }));
    let (side, weights, options) = (layer.side, layer.weights(), LnqOptions::default());
    println!("\n{}, {side} x {side}", ctx.describe());
    // The first run of everything compiles.
    layer.hessian_on(&ctx);
    let flops = layer.hessian_flops();
    let (h, _) = timed("Hessian, upload and download included", flops, || layer.hessian_on(&ctx));

    let job = LnqJob::new(&weights, &h, &options).expect("a good layer");
    let exact = Settings::default();
    let settings = Settings { exact: false, ..exact };
    // One for every cycle, one at the start and one after all tables.
    let products = layer.products((options.iterations * (options.cycles + 1) + 2) as f64);
    let half_steps = || {
        let steps = ctx.block_on(ops::lnq::half_steps(&ctx, &job, &settings, &|_| {}));
        steps.expect("half steps")
    };
    let whole = |settings: &Settings| {
        let job = LnqJob::new(&weights, &h, &options).expect("a good layer");
        ctx.block_on(ops::lnq::run(&ctx, &job, settings, &|_| {})).expect("a good layer")
    };
    timed("half steps, compiled on the way", products, half_steps);
    timed("half steps", products, half_steps);
    let what = "whole, clusters and rounding on the CPU";
    print_share(what, &timed(what, products, || whole(&settings)).0);
    let what = "whole, with objectives in f64 on the CPU";
    print_share(what, &timed(what, products, || whole(&exact)).0);
    if side <= REPEATED {
        let mut group = c.benchmark_group(format!("lnq_{side}x{side}_3bit_on_device"));
        group.sample_size(10).measurement_time(Duration::from_secs(10));
        group.bench_function("hessian_2048_tokens", |b| b.iter(|| layer.hessian_on(&ctx)));
        group.bench_function("half_steps", |b| b.iter(half_steps));
        group.bench_function("whole", |b| b.iter(|| whole(&settings)));
        group.finish();
    }
}

criterion_group!(benches, cpu, device);
criterion_main!(benches);
