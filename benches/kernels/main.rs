//! Time of every kernel on the best adapter, with the bytes that it has to move, for products of
//! many vectors with their floating-point operations instead.
//!
//! The times are those of `fewbytes_wgpu::measure`, a chain of dispatches that rotates past the
//! cache, so they leave submission and wait out; criterion keeps and compares them. What it does
//! between two rows lets a GPU lower its clock, so a probe watches that. The adapter is printed;
//! `FEWBYTES_ADAPTER` chooses another. A software adapter gets a smaller matrix.

mod attention;
mod greedy;
mod index;
mod linear;
mod sparse;

use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use fewbytes::attention::{prefill, score_max};
use fewbytes::linear::{gemm, gemm_bitplane, hessian_update, lnq_product, matmul_bitplane};
use fewbytes::stream::{StreamCopy, StreamRead};
use fewbytes::{Knobs, Spec};
use fewbytes_wgpu::measure::{Budget, Operands, Options, Order, Probe};
use fewbytes_wgpu::{Context, OpenOptions, View, wgpu};
use std::cell::RefCell;
use std::time::Duration;

/// A device, and the load that watches its clock.
struct Device {
    ctx: Context,
    probe: RefCell<Probe>,
}

impl Device {
    fn open() -> Self {
        let ctx = pollster::block_on(Context::open(&OpenOptions::from_env())).expect("an adapter");
        let mut probe = Probe::new(&ctx, Probe::WAKE_UP).expect("the probe");
        probe.wake(&ctx).expect("the probe's load");
        Self { ctx, probe: RefCell::new(probe) }
    }

    fn is_software(&self) -> bool {
        self.ctx.info().device_type == wgpu::DeviceType::Cpu
    }
}

impl std::ops::Deref for Device {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.ctx
    }
}

/// One row: criterion is told how long as many dispatches as it asks for take.
fn row(
    group: &mut BenchmarkGroup<'_, WallTime>,
    ctx: &Device,
    id: BenchmarkId,
    spec: &(impl Spec + ?Sized),
    knobs: &Knobs,
) {
    row_with(group, ctx, id, spec, knobs, &[]);
}

/// One row, some of whose tensors hold something in particular.
fn row_with(
    group: &mut BenchmarkGroup<'_, WallTime>,
    ctx: &Device,
    id: BenchmarkId,
    spec: &(impl Spec + ?Sized),
    knobs: &Knobs,
    others: &[(u32, View)],
) {
    let launches = spec.launches(ctx.caps(), knobs).expect("launches");
    let budget = Budget::for_device(ctx.info());
    let operands = Operands::new(ctx, &launches, Order::Chain, &budget).expect("tensors");
    let plan = ctx.plan_launches(launches).expect("a plan");
    let rotation = operands.rotation_with(ctx, &plan, others).expect("a rotation");
    let traffic = plan.traffic();
    // Products of many vectors are told by their operations, however few of them a byte.
    let many = [gemm::NAME, gemm_bitplane::NAME, matmul_bitplane::NAME, hessian_update::NAME];
    let attention = [prefill::NAME, score_max::NAME].contains(&spec.kernel());
    let many = many.contains(&spec.kernel()) || spec.kernel() == lnq_product::NAME || attention;
    group.throughput(if many {
        Throughput::Elements(traffic.flops)
    } else {
        Throughput::Bytes(traffic.bytes())
    });
    let options = Options { samples: 3, ..Options::quick(Order::Chain) };
    group.bench_function(id, |bencher| {
        bencher.iter_custom(|dispatches| {
            let timing = ctx.probe.borrow_mut().time(ctx, &rotation, &options).expect("a time");
            if !timing.settled {
                println!("this time did not settle or the device's clock fell");
            }
            Duration::from_secs_f64(timing.dispatch_ns.median * 1e-9 * dispatches as f64)
        });
    });
}

/// The ruler: reading and copying memory.
fn stream(criterion: &mut Criterion) {
    let ctx = Device::open();
    let words = if ctx.is_software() { 1 << 22 } else { 1 << 28 };
    // Half of them are copied, in quads too.
    let words = words.min((ctx.caps().bindable_bytes() / 32 * 8) as usize);
    println!("{}: {} MiB", ctx.describe(), words >> 18);
    let plain = Knobs::default();
    let mut group = criterion.benchmark_group("stream");
    let id = |name| BenchmarkId::new(name, words * 4);
    row(&mut group, &ctx, id("read"), &StreamRead::new(words), &plain);
    row(&mut group, &ctx, id("copy"), &StreamCopy::new(words / 2), &plain);
    group.finish();
}

criterion_group! {
    name = benches;
    // What happens between two times is no part of them, so few are enough.
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(1))
        .measurement_time(Duration::from_millis(100));
    targets = stream, linear::kernels, linear::residuals, linear::hessians, attention::selections,
        attention::prefills, attention::decoding, attention::moving, greedy::searches, index::indexes,
        sparse::choosing
}
criterion_main!(benches);
