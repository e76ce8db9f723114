//! What the host pays for a product: describing, composing, planning, binding, recording.
//!
//! On wgpu's `noop` device, which does all of wgpu's own work (validation, tracking, command
//! lists) and nothing of a driver's, so that the figures are those of this crate and of wgpu.
//!
//! - `record/fewbytes` is one recording into an open pass, of 1000 in that pass; beginning and
//!   ending it are not counted. Two widths take turns, so that pipeline and operands change every
//!   time. `record/wgpu alone` makes the same three calls without the wrapper.
//! - `pass` is a whole pass from begin to submission, divided by its 1000 recordings: what wgpu
//!   does with the commands once the pass ends is in it. Also on an adapter, where there is one;
//!   a pass that is still running there is waited for, but not counted.

#[path = "../tests/fixtures/raw.rs"]
mod raw;

use criterion::{Bencher, Criterion, criterion_group, criterion_main};
use fewbytes::launch::{Caps, Dialect, Knobs};
use fewbytes::linear::{
    BitplaneLayer, BitplaneLayout, BitplaneShape, GemvBitplane, TableElement, Tables,
};
use fewbytes::{Result, Spec as _};
use fewbytes_wgpu::ops::{BitplaneWeights, gemv_bitplane};
use fewbytes_wgpu::{Context, OpenOptions, View, wgpu};
use raw::Raw;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Recordings in one pass.
const RECORDS: u64 = 1000;
/// Calls between submissions, which free what was created and dropped.
const CREATIONS: u64 = 64;
/// Recorded in turn: wgpu leaves out calls that set what is set already.
const WIDTHS: [u8; 2] = [3, 4];

fn noop() -> Context {
    let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
    Context::new(&device, &queue).expect("a context")
}

/// A small layer on a device: recording costs the same for any size.
struct Scene {
    ctx: Context,
    weights: BitplaneWeights,
    gemv: gemv_bitplane::Plan,
    x: View,
    y: View,
}

impl Scene {
    fn new(ctx: Context) -> Result<Self> {
        let (rows, cols) = (64, 64);
        let mut tables = Tables::new(TableElement::F16, rows);
        for bits in 3..=8 {
            tables.insert(bits, &vec![0.5; rows << bits])?;
        }
        let shape = BitplaneShape { rows, cols, seed_bits: 3, parent_bits: 8 };
        let layer = BitplaneLayer::from_codes(shape, &vec![1; rows * cols], tables, None)?;
        let weights = BitplaneWeights::upload(&ctx, &layer, 8)?;
        let gemv = gemv_bitplane::plan(&ctx, &weights, Default::default())?;
        let (x, y) = (ctx.upload(&vec![1.0f32; cols])?, ctx.alloc::<f32>(rows)?);
        Ok(Self { ctx, weights, gemv, x, y })
    }

    fn spec(&self, bits: u8) -> GemvBitplane {
        GemvBitplane::new(self.weights.layout().clone(), bits)
    }

    fn raw(&self, bits: u8) -> Result<Vec<Raw>> {
        let launches = self.spec(bits).launches(self.ctx.caps(), &Knobs::default())?;
        Ok(Raw::all(self.ctx.device(), &launches, &self.weights, [&self.x, &self.y]))
    }

    /// Submits and waits.
    fn settle(&self, commands: Option<wgpu::CommandBuffer>) {
        self.ctx.queue().submit(commands);
        self.ctx.device().poll(wgpu::PollType::wait_indefinitely()).expect("the device is there");
    }

    /// Times calls that create objects on the device.
    fn creations<T>(&self, bencher: &mut Bencher<'_>, mut create: impl FnMut() -> T) {
        bencher.iter_custom(|iterations| {
            in_batches(iterations, CREATIONS, |count| {
                let started = Instant::now();
                (0..count).for_each(|_| drop(black_box(create())));
                let time = started.elapsed();
                self.settle(None);
                time
            })
        });
    }

    /// Times recordings; with `whole` also what is around them in a pass.
    fn records(
        &self,
        bencher: &mut Bencher<'_>,
        whole: bool,
        record: impl Fn(&mut wgpu::ComputePass<'_>, usize),
    ) {
        bencher.iter_custom(|iterations| {
            in_batches(iterations, RECORDS, |count| {
                let began = Instant::now();
                let mut encoder = self.ctx.device().create_command_encoder(&Default::default());
                let mut pass = encoder.begin_compute_pass(&Default::default());
                let started = Instant::now();
                (0..count).for_each(|at| record(&mut pass, at as usize % 2));
                let recorded = started.elapsed();
                drop(pass);
                self.ctx.queue().submit([encoder.finish()]);
                let all = began.elapsed();
                self.settle(None);
                if whole { all } else { recorded }
            })
        });
    }
}

/// The sum of the times of `batch(count)`, `count` at most `size`.
fn in_batches(iterations: u64, size: u64, mut batch: impl FnMut(u64) -> Duration) -> Duration {
    let counts = (0..iterations).step_by(size as usize).map(|done| size.min(iterations - done));
    counts.map(&mut batch).sum()
}

/// Pure: no device takes part.
fn describing(criterion: &mut Criterion) {
    let caps = Caps { subgroups: true, subgroup_min: 32, subgroup_max: 32, ..Caps::webgpu() };
    let spec = |rows, cols| {
        let shape = BitplaneShape { rows, cols, seed_bits: 3, parent_bits: 8 };
        let widths = [3, 4, 5, 6, 7, 8];
        BitplaneLayout::for_shape(shape, &widths, TableElement::F16, true, 8, &caps)
            .map(|layout| GemvBitplane::new(layout, 4))
            .expect("a layout")
    };
    let mut group = criterion.benchmark_group("launches");
    for (name, spec) in [("4096x4096", spec(4096, 4096)), ("28672x8192", spec(28672, 8192))] {
        let launches = spec.launches(&caps, &Knobs::default()).expect("launches").len();
        group.bench_function(format!("{name}, {launches} of them"), |bencher| {
            bencher.iter(|| black_box(&spec).launches(&caps, &Knobs::default()));
        });
    }
    group.finish();

    let launches = spec(4096, 4096).launches(&caps, &Knobs::default()).expect("launches");
    let mut group = criterion.benchmark_group("composing");
    group.bench_function("wgsl", |bencher| {
        bencher.iter(|| black_box(&launches[0]).wgsl(Dialect::Naga));
    });
    group.bench_function("key", |bencher| bencher.iter(|| black_box(&launches[0]).key()));
    group.finish();
}

fn planning(criterion: &mut Criterion) {
    let scene = Scene::new(noop()).expect("a scene");
    let spec = scene.spec(4);
    let mut group = criterion.benchmark_group("plan");
    let compiled = scene.ctx.pipelines();
    group.bench_function("one width, compiled before", |bencher| {
        scene.creations(bencher, || scene.ctx.plan(&spec).expect("a plan"));
    });
    assert_eq!(scene.ctx.pipelines(), compiled, "something was compiled");
    group.bench_function("six widths, bound", |bencher| {
        let Scene { gemv, weights, x, y, .. } = &scene;
        scene.creations(bencher, || gemv.bind(weights, x, y).expect("bound"));
    });
    group.finish();
}

fn recording(criterion: &mut Criterion) {
    let scene = Scene::new(noop()).expect("a scene");
    let product = scene.gemv.bind(&scene.weights, &scene.x, &scene.y).expect("bound");
    let raw = WIDTHS.map(|bits| scene.raw(bits).expect("launches"));
    let mut group = criterion.benchmark_group("record");
    group.bench_function("fewbytes", |bencher| {
        scene.records(bencher, false, |pass, at| {
            product.record(pass, WIDTHS[at]).expect("recorded")
        });
    });
    group.bench_function("wgpu alone", |bencher| {
        scene.records(bencher, false, |pass, at| raw[at].iter().for_each(|raw| raw.record(pass)));
    });
    group.finish();

    let mut group = criterion.benchmark_group("pass");
    group.sample_size(20);
    group.bench_function("noop", |bencher| {
        scene
            .records(bencher, true, |pass, at| product.record(pass, WIDTHS[at]).expect("recorded"));
    });
    match pollster::block_on(Context::open(&OpenOptions::from_env())).and_then(Scene::new) {
        Ok(scene) => {
            println!("{}", scene.ctx.describe());
            let product = scene.gemv.bind(&scene.weights, &scene.x, &scene.y).expect("bound");
            group.bench_function("adapter", |bencher| {
                scene.records(bencher, true, |pass, at| {
                    product.record(pass, WIDTHS[at]).expect("recorded")
                });
            });
        }
        Err(error) => println!("pass/adapter is left out: {error}"),
    }
    group.finish();
}

criterion_group!(benches, describing, planning, recording);
criterion_main!(benches);
