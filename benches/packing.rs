//! Between codes and planes: one 4096 x 4096 layer, 8 bits unless the name says otherwise.
//!
//! Throughput is in weights. Tables are of one width and small, so that planes are what counts;
//! only `concat_rows` and `dequantize` touch tables. All on one core.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use fewbytes::launch::Caps;
use fewbytes::linear::{BitplaneLayer, BitplaneLayout, BitplaneShape, TableElement, Tables};
use std::hint::black_box;

const SIDE: usize = 4096;

fn tables(rows: usize) -> Tables {
    let mut tables = Tables::new(TableElement::F16, rows);
    tables.insert(4, &vec![0.5; rows << 4]).expect("a table");
    tables
}

fn packing(criterion: &mut Criterion) {
    let shape = BitplaneShape { rows: SIDE, cols: SIDE, seed_bits: 4, parent_bits: 8 };
    // Without a pattern; what the codes are does not change the time.
    let code = |i: usize| ((i as u32).wrapping_mul(0x9E37_79B9) >> 24) as u8;
    let codes: Vec<u8> = (0..SIDE * SIDE).map(code).collect();
    let layer = BitplaneLayer::from_codes(shape, &codes, tables(SIDE), None).expect("a layer");
    let published = layer.to_reference().expect("columns in multiples of 32");

    let mut group = criterion.benchmark_group("packing_4096x4096");
    group.sample_size(10).throughput(Throughput::Elements((SIDE * SIDE) as u64));
    group.bench_function("codes to planes", |bencher| {
        bencher.iter_batched(
            || tables(SIDE),
            |tables| BitplaneLayer::from_codes(shape, black_box(&codes), tables, None),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("planes to codes", |bencher| bencher.iter(|| layer.codes(8)));
    group.bench_function("planes to codes, 4 bits", |bencher| bencher.iter(|| layer.codes(4)));
    group.bench_function("dequantize, 4 bits", |bencher| bencher.iter(|| layer.dequantize(4)));
    group.bench_function("published layout to planes", |bencher| {
        bencher.iter_batched(
            || tables(SIDE),
            |tables| BitplaneLayer::from_reference(shape, black_box(&published), tables, None),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("planes to published layout", |bencher| {
        bencher.iter(|| layer.to_reference());
    });
    let caps = Caps::webgpu();
    let layout = BitplaneLayout::new(&layer, 4, &caps).expect("a layout");
    group.bench_function("planes of an upload, 4 bits", |bencher| {
        bencher.iter(|| {
            layout.pieces().map(|piece| layout.plane_piece(&layer, &piece)).collect::<Vec<_>>()
        });
    });
    group.finish();

    // Queries, keys and values of grouped attention: together 6144 rows.
    let part = |rows: usize| {
        let shape = BitplaneShape { rows, ..shape };
        BitplaneLayer::from_codes(shape, &codes[..rows * SIDE], tables(rows), None)
    };
    let [q, k, v] = [4096, 1024, 1024].map(|rows| part(rows).expect("a layer"));
    let mut group = criterion.benchmark_group("concat_rows_6144x4096");
    group.sample_size(10).throughput(Throughput::Elements((6144 * SIDE) as u64));
    group.bench_function("q, k, v", |bencher| {
        bencher.iter(|| BitplaneLayer::concat_rows(black_box(&[&q, &k, &v])));
    });
    group.finish();
}

criterion_group!(benches, packing);
criterion_main!(benches);
