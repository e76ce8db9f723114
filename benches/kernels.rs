//! Time of every kernel on the best adapter, with the bytes that it has to move, for products of
//! many vectors with their floating-point operations instead.
//!
//! The times are those of `fewbytes_wgpu::measure`, a chain of dispatches that rotates past the
//! cache, so they leave submission and wait out; criterion keeps and compares them. The adapter is
//! printed; `FEWBYTES_ADAPTER` chooses another. A software adapter gets a smaller matrix.

use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use fewbytes::linear::{
    Activation, BitplaneLayout, BitplaneShape, DequantizeBitplane, GemmBitplane, GemvBitplane,
    LnqDescent, LnqGram, LnqLayout, LnqObjective, LnqProduct, LnqTable, Panel, SumSlices,
    TableElement,
};
use fewbytes::stream::{StreamCopy, StreamRead};
use fewbytes::{Knobs, Spec};
use fewbytes_wgpu::measure::{Budget, Operands, Options, Order, time};
use fewbytes_wgpu::{Context, OpenOptions, wgpu};
use std::time::Duration;

/// One row: criterion is told how long as many dispatches as it asks for take.
fn row(
    group: &mut BenchmarkGroup<'_, WallTime>,
    ctx: &Context,
    id: BenchmarkId,
    spec: &(impl Spec + ?Sized),
    knobs: &Knobs,
) {
    let launches = spec.launches(ctx.caps(), knobs).expect("launches");
    let budget = Budget::for_device(ctx.info());
    let operands = Operands::new(ctx, &launches, Order::Chain, &budget).expect("tensors");
    let plan = ctx.plan_launches(launches).expect("a plan");
    let rotation = operands.rotation(ctx, &plan).expect("a rotation");
    let traffic = plan.traffic();
    // Many operations a byte: arithmetic is the bound.
    group.throughput(if traffic.flops > 16 * traffic.bytes() {
        Throughput::Elements(traffic.flops)
    } else {
        Throughput::Bytes(traffic.bytes())
    });
    let options = Options { samples: 3, ..Options::quick(Order::Chain) };
    group.bench_function(id, |bencher| {
        bencher.iter_custom(|dispatches| {
            let timing = time(ctx, &rotation, &options).expect("a time");
            Duration::from_secs_f64(timing.dispatch_ns.median * 1e-9 * dispatches as f64)
        });
    });
}

fn kernels(criterion: &mut Criterion) {
    let ctx = pollster::block_on(Context::open(&OpenOptions::from_env())).expect("an adapter");
    let software = ctx.info().device_type == wgpu::DeviceType::Cpu;
    let (rows, cols, words) = if software { (1024, 1024, 1 << 22) } else { (4096, 4096, 1 << 28) };
    let words = words.min((ctx.caps().bindable_bytes() / 16 * 4) as usize);
    println!("{}: {rows} x {cols}, {} MiB", ctx.describe(), words >> 18);
    let plain = Knobs::default();

    let mut group = criterion.benchmark_group("stream");
    let id = |name| BenchmarkId::new(name, words * 4);
    row(&mut group, &ctx, id("read"), &StreamRead::new(words), &plain);
    row(&mut group, &ctx, id("copy"), &StreamCopy::new(words / 2), &plain);
    group.finish();

    let shape = BitplaneShape { rows, cols, seed_bits: 2, parent_bits: 8 };
    let widths: Vec<u8> = (2..=8).collect();
    let layout = BitplaneLayout::for_shape(shape, &widths, TableElement::F16, false, 8, ctx.caps());
    let layout = layout.expect("a layout");

    let mut group = criterion.benchmark_group("gemv_bitplane");
    let mut variants = vec![("baseline", Knobs::baseline())];
    if ctx.caps().subgroups {
        variants.push(("subgroup", Knobs::default()));
    }
    for (variant, knobs) in variants {
        for bits in 2..=8 {
            let spec = GemvBitplane::new(layout.clone(), bits);
            row(&mut group, &ctx, BenchmarkId::new(variant, bits), &spec, &knobs);
        }
    }
    for batch in [2, 4, 8] {
        let spec = GemvBitplane { batch, ..GemvBitplane::new(layout.clone(), 4) };
        row(&mut group, &ctx, BenchmarkId::new(format!("{batch} vectors"), 4), &spec, &plain);
    }
    let sliced = Knobs { slices: Some(4), ..plain };
    let spec = GemvBitplane::new(layout.clone(), 4);
    row(&mut group, &ctx, BenchmarkId::new("4 slices", 4), &spec, &sliced);
    group.finish();

    let mut group = criterion.benchmark_group("sum_slices");
    let activation = Activation::F32;
    let spec = SumSlices { rows: 1 << 16, batch: 1, slices: 8, activation, bias: false };
    row(&mut group, &ctx, BenchmarkId::new("f32", 8), &spec, &plain);
    group.finish();

    let mut group = criterion.benchmark_group("gemm_bitplane");
    let batches: &[usize] = if software { &[16, 64] } else { &[16, 64, 256, 1024] };
    for &batch in batches {
        for bits in [2, 4, 8] {
            let spec = GemmBitplane::new(layout.clone(), bits, batch);
            let id = BenchmarkId::new(format!("{batch} vectors"), bits);
            row(&mut group, &ctx, id, &spec, &plain);
        }
    }
    group.finish();

    // The half steps of LNQ: a panel's product and visits, the sums and the tables of all rows.
    let mut group = criterion.benchmark_group("lnq");
    for bits in [2, 4] {
        let layout = LnqLayout { rows, cols, bits };
        let pieces = layout.pieces(ctx.caps()).expect("pieces");
        let panel = Panel::all(&pieces, 512)[0];
        let mut one = |name: &str, spec: &dyn Spec| {
            row(&mut group, &ctx, BenchmarkId::new(name, bits), spec, &plain);
        };
        one("lnq_descent", &LnqDescent { layout, panel });
        one("lnq_gram", &LnqGram { layout, piece: pieces[0], rows: 0..rows });
        one("lnq_table", &LnqTable { layout });
        if bits == 4 {
            one("lnq_product", &LnqProduct { layout, panel, changed: None });
            let all = Panel::all(&pieces, usize::MAX)[0];
            let update = LnqProduct { layout, panel: all, changed: Some(panel) };
            one("lnq_product of changes", &update);
            one("lnq_objective", &LnqObjective { layout });
        }
    }
    group.finish();

    let mut group = criterion.benchmark_group("dequantize_bitplane");
    for (bits, element) in [(2, Activation::F16), (4, Activation::F16), (8, Activation::F32)] {
        let spec = DequantizeBitplane { layout: layout.clone(), bits, element };
        row(&mut group, &ctx, BenchmarkId::new(element.name(), bits), &spec, &plain);
    }
    group.finish();
}

criterion_group! {
    name = benches;
    // What happens between two times is no part of them, so few are enough.
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(1))
        .measurement_time(Duration::from_millis(100));
    targets = kernels
}
criterion_main!(benches);
