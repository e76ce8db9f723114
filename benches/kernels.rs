//! Time of every kernel on the best adapter, with the bytes that it has to move, for products of
//! many vectors with their floating-point operations instead.
//!
//! The times are those of `fewbytes_wgpu::measure`, a chain of dispatches that rotates past the
//! cache, so they leave submission and wait out; criterion keeps and compares them. What it does
//! between two rows lets a GPU lower its clock, so a probe watches that. The adapter is printed;
//! `FEWBYTES_ADAPTER` chooses another. A software adapter gets a smaller matrix.

use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use fewbytes::attention::select_pairs::Segments;
use fewbytes::attention::{
    CacheShape, DecodeQueries, Denominator, KeySpans, KvElement, Layout, MaxAttention, Prefill,
    ROW_MAP, RowMap, ScorePlace, SelectPairs, prefill, score_max,
};
use fewbytes::launch::Route;
use fewbytes::linear::compensate::Source;
use fewbytes::linear::gemm::{self, Block};
use fewbytes::linear::select;
use fewbytes::linear::select_channels::Method as SelectMethod;
use fewbytes::linear::{
    Activation, Add, BitplaneLayout, BitplaneShape, Compensate, DequantizeBitplane,
    DequantizeVector, Gemm, GemmBitplane, GemvBitplane, GemvVector, HessianLayout, HessianUpdate,
    LnqDescent, LnqGram, LnqLayout, LnqObjective, LnqProduct, LnqTable, MatmulBitplane, Panel,
    ResidualElement, ResidualLayout, SelectChannels, SumSlices, TableElement, VectorLayout,
    VectorShape, gemm_bitplane, hessian_update, lnq_product, matmul_bitplane,
};
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
        let probe = RefCell::new(Probe::new(&ctx, Probe::WAKE_UP).expect("the probe"));
        Self { ctx, probe }
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

fn kernels(criterion: &mut Criterion) {
    let ctx = Device::open();
    let software = ctx.info().device_type == wgpu::DeviceType::Cpu;
    let (rows, cols, words) = if software { (1024, 1024, 1 << 22) } else { (4096, 4096, 1 << 28) };
    // Half of them are copied, in quads too.
    let words = words.min((ctx.caps().bindable_bytes() / 32 * 8) as usize);
    ctx.probe.borrow_mut().wake(&ctx).expect("the probe's load");
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

    let mut group = criterion.benchmark_group("gemv_vector");
    let pairs = |code_bits| {
        let shape = VectorShape { rows, cols, code_bits };
        VectorLayout::for_shape(shape, TableElement::F16, false, ctx.caps()).expect("a layout")
    };
    for code_bits in 2..=6 {
        let spec = GemvVector::new(pairs(code_bits));
        row(&mut group, &ctx, BenchmarkId::new("default", code_bits), &spec, &plain);
    }
    let written_out = Knobs { unroll: Some(true), rows: Some(2), ..plain };
    row(
        &mut group,
        &ctx,
        BenchmarkId::new("written out", 4),
        &GemvVector::new(pairs(4)),
        &written_out,
    );
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

    let mut group = criterion.benchmark_group("matmul_bitplane");
    let shapes: &[usize] = if software { &[rows] } else { &[rows, 14336] };
    for (&rows, &batch) in shapes.iter().flat_map(|rows| batches.iter().map(move |b| (rows, b))) {
        let shape = BitplaneShape { rows, ..shape };
        let table = TableElement::F16;
        let layout = BitplaneLayout::for_shape(shape, &[4], table, false, 4, ctx.caps());
        let spec = MatmulBitplane::new(layout.expect("a layout"), 4, batch);
        let spec = MatmulBitplane { activation: Activation::F16, ..spec };
        for route in [Route::Gemm, Route::Dense] {
            let knobs = Knobs { route: Some(route), ..plain };
            let id = BenchmarkId::new(format!("{route:?} {batch} vectors"), rows);
            row(&mut group, &ctx, id, &spec, &knobs);
        }
    }
    group.finish();

    let mut group = criterion.benchmark_group("gemm");
    for &batch in batches {
        for element in [Activation::F32, Activation::F16] {
            let (w, y) = (Block::packed(element, cols), Block::packed(element, rows));
            let spec = Gemm { w, x: w, y, ..Gemm::new(batch, rows, cols) };
            let id = BenchmarkId::new(format!("{batch} vectors"), element.name());
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

    let mut group = criterion.benchmark_group("dequantize_vector");
    for (code_bits, element) in [(4, Activation::F16), (6, Activation::F32)] {
        let spec = DequantizeVector { layout: pairs(code_bits), element };
        row(&mut group, &ctx, BenchmarkId::new(element.name(), code_bits), &spec, &plain);
    }
    group.finish();
}

/// Selecting and compensating; what buffers are filled with is no list, but activations as good as any.
fn residuals(criterion: &mut Criterion) {
    let ctx = Device::open();
    let software = ctx.info().device_type == wgpu::DeviceType::Cpu;
    let (rows, cols) = if software { (512, 2048) } else { (28_672, 4096) };
    println!("{}: residuals of {rows}x{cols}", ctx.describe());
    let activation = Activation::F16;
    for k_chunk in [8, 32] {
        let budget = select::Budget::new(cols, k_chunk).expect("a budget");
        let mut group = criterion.benchmark_group("select_channels");
        for method in [SelectMethod::ChunkRadix, SelectMethod::Exact] {
            let spec = SelectChannels { activation, method, ..SelectChannels::new(budget) };
            let id = BenchmarkId::new(spec.setting(), k_chunk);
            row(&mut group, &ctx, id, &spec, &Knobs::default());
        }
        group.finish();
        let mut group = criterion.benchmark_group("compensate");
        for element in ResidualElement::ALL {
            let layout = ResidualLayout::new(rows, cols, element).expect("a layout");
            let source = Source::Own { method: SelectMethod::ChunkRadix, weighted: false };
            let spec = Compensate { activation, source, ..Compensate::new(layout, budget) };
            let id = BenchmarkId::new(element.name(), k_chunk);
            row(&mut group, &ctx, id, &spec, &Knobs::default());
        }
        group.finish();
    }
    let mut group = criterion.benchmark_group("add");
    for activation in [Activation::F32, Activation::F16] {
        let id = BenchmarkId::new(activation.name(), rows);
        row(&mut group, &ctx, id, &Add { len: rows, activation }, &Knobs::default());
    }
    group.finish();
}

fn hessians(criterion: &mut Criterion) {
    let ctx = Device::open();
    let software = ctx.info().device_type == wgpu::DeviceType::Cpu;
    let (inputs, tokens) = if software { (512, 128) } else { (4096, 1024) };
    println!("{}: {inputs} inputs, {tokens} tokens", ctx.describe());
    let mut group = criterion.benchmark_group("hessian_update");
    for groups in [1, 4] {
        let layout = HessianLayout::new(inputs, groups, ctx.caps()).expect("a layout");
        for activation in [Activation::F32, Activation::F16] {
            let spec = HessianUpdate { activation, ..HessianUpdate::new(layout.clone(), tokens) };
            let id = BenchmarkId::new(activation.name(), groups);
            row(&mut group, &ctx, id, &spec, &Knobs::default());
        }
    }
    group.finish();
}

/// Selecting from noise, by budgets that are noise too and above what there is: all is kept, and few keys
/// are looked at again. `roofline --selection` times scores as they are.
fn selections(criterion: &mut Criterion) {
    let ctx = Device::open();
    let software = ctx.info().device_type == wgpu::DeviceType::Cpu;
    let (layers, n) = if software { (2, 4096) } else { (32, 32_768) };
    println!("{}: scores of {layers} x 8 x {n}", ctx.describe());
    let mut group = criterion.benchmark_group("select_pairs");
    for segments in [Segments::Model, Segments::Heads] {
        let spec = SelectPairs { segments, ..SelectPairs::new(layers, 8, n) };
        let id = BenchmarkId::new(format!("{segments:?}"), n);
        row(&mut group, &ctx, id, &spec, &Knobs::default());
    }
    group.finish();
}

/// New tokens over a cache of 8 heads with 4 query heads each, and the scores of a chunk of it.
fn attention(criterion: &mut Criterion) {
    let ctx = Device::open();
    let software = ctx.info().device_type == wgpu::DeviceType::Cpu;
    let (context, tokens) = if software { (256, 40) } else { (8192, 1024) };
    println!("{}: {tokens} tokens behind {context}", ctx.describe());
    for element in [KvElement::F16, KvElement::Int8] {
        let shape = CacheShape::new(8, 128, element).expect("a shape");
        let layout = Layout::ragged(shape, &[context; 8], tokens, context);
        let mut layout = layout.expect("a layout");
        layout.append(tokens).expect("room");
        let map = RowMap::new(&layout, &[]).expect("a map");
        let words = [(ROW_MAP, ctx.upload(map.words()).expect("a buffer"))];
        let f16 = Activation::F16;
        let queries = DecodeQueries {
            q_len: tokens as usize,
            input: f16,
            output: f16,
            ..DecodeQueries::new(&shape, 4)
        };
        let mut group = criterion.benchmark_group("prefill");
        let spec = Prefill::new(queries, &layout, &map).expect("a spec");
        let id = BenchmarkId::new(element.name(), tokens);
        row_with(&mut group, &ctx, id, &spec, &Knobs::default(), &words);
        group.finish();
        let mut group = criterion.benchmark_group("max_attention");
        let spans = KeySpans { sink: 4, first: 4, rows: tokens };
        let place = ScorePlace::of_layer(8, tokens as usize);
        let what = (spans, Denominator::Subset);
        let spec = MaxAttention::new(queries, &layout, &map, what, place).expect("a spec");
        let id = BenchmarkId::new(element.name(), tokens);
        row_with(&mut group, &ctx, id, &spec, &Knobs::default(), &words);
        group.finish();
    }
}

criterion_group! {
    name = benches;
    // What happens between two times is no part of them, so few are enough.
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(1))
        .measurement_time(Duration::from_millis(100));
    targets = kernels, residuals, hessians, selections, attention
}
criterion_main!(benches);
