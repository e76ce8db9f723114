//! Wall time of every kernel on the best adapter, with the bytes that it has to move.
//!
//! Each sample submits and waits, so that small shapes show the cost of a submission. The adapter
//! is printed; `FEWBYTES_ADAPTER` chooses another. A software adapter gets a smaller matrix.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fewbytes::Knobs;
use fewbytes::linear::{Activation, BitplaneLayer, BitplaneShape, TableElement, Tables};
use fewbytes_wgpu::{Context, OpenOptions, ops, wgpu};

/// Codes and tables without a pattern; what they are does not change the time.
fn layer(rows: usize, cols: usize) -> fewbytes::Result<BitplaneLayer> {
    let noise = |i: usize| (i as u32).wrapping_mul(0x9E37_79B9).rotate_left(7) ^ 0x5bd1_e995;
    let codes: Vec<u8> = (0..rows * cols).map(|i| (noise(i) >> 24) as u8).collect();
    let mut tables = Tables::new(TableElement::F16, rows);
    for bits in 2..=8 {
        let values: Vec<f32> = (0..rows << bits).map(|i| noise(i) as f32 / 2e9 - 1.0).collect();
        tables.insert(bits, &values)?;
    }
    let shape = BitplaneShape { rows, cols, seed_bits: 2, parent_bits: 8 };
    BitplaneLayer::from_codes(shape, &codes, tables, None)
}

fn wait(ctx: &Context) {
    ctx.device().poll(wgpu::PollType::wait_indefinitely()).expect("the device is there");
}

fn kernels(criterion: &mut Criterion) {
    let ctx = pollster::block_on(Context::open(&OpenOptions::from_env())).expect("an adapter");
    let software = ctx.info().device_type == wgpu::DeviceType::Cpu;
    let (rows, cols) = if software { (1024, 1024) } else { (4096, 4096) };
    println!("{}: {rows} x {cols}", ctx.describe());
    let layer = layer(rows, cols).expect("a layer");
    let weights = ops::BitplaneWeights::upload(&ctx, &layer, 8).expect("an upload");

    let mut group = criterion.benchmark_group("gemv_bitplane");
    let x = ctx.upload(&vec![1.0f32; cols]).expect("x");
    let y = ctx.alloc::<f32>(rows).expect("y");
    let mut variants = vec![("baseline", Knobs::baseline())];
    if ctx.caps().subgroups {
        variants.push(("subgroup", Knobs::default()));
    }
    for (variant, knobs) in variants {
        let options = ops::gemv_bitplane::Options { knobs, ..Default::default() };
        let gemv = ops::gemv_bitplane::plan(&ctx, &weights, options).expect("a plan");
        let product = gemv.bind(&weights, &x, &y).expect("bound");
        for bits in 2..=8 {
            let traffic = gemv.width(bits).expect("a width").traffic();
            group.throughput(Throughput::Bytes(traffic.bytes()));
            group.bench_function(BenchmarkId::new(variant, bits), |bencher| {
                bencher.iter(|| {
                    ctx.submit(|pass| product.record(pass, bits)).expect("recorded");
                    wait(&ctx);
                });
            });
        }
    }
    group.finish();

    let mut group = criterion.benchmark_group("dequantize_bitplane");
    for (bits, element) in [(2, Activation::F16), (4, Activation::F16), (8, Activation::F32)] {
        let plan = ops::dequantize_bitplane::plan(&ctx, &weights, bits, element, &Knobs::default());
        let plan = plan.expect("a plan");
        let dst = match element {
            Activation::F32 => ctx.alloc::<f32>(plan.dst_len()),
            Activation::F16 => ctx.alloc::<half::f16>(plan.dst_len()),
        };
        let dst = dst.expect("dst");
        let bound = plan.bind(&weights, &dst).expect("bound");
        group.throughput(Throughput::Bytes(plan.traffic().bytes()));
        group.bench_function(BenchmarkId::new(element.name(), bits), |bencher| {
            bencher.iter(|| {
                ctx.submit(|pass| bound.record(pass)).expect("recorded");
                wait(&ctx);
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = kernels
}
criterion_main!(benches);
