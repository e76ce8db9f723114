//! The quantizer on one 4096 x 4096 layer of heavy-tailed weights, 3 to 8 bits.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fewbytes::linear::{Method, QuantizeOptions, Weights, quantize};
use rand::SeedableRng;
use rand_distr::{Distribution, StudentT};

const SIDE: usize = 4096;

fn layer(c: &mut Criterion) {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let tail = StudentT::new(4.0_f64).expect("four degrees of freedom are a distribution");
    let values: Vec<f32> = (0..SIDE * SIDE).map(|_| 0.02 * tail.sample(&mut rng) as f32).collect();
    let sensitivities: Vec<f32> =
        (0..SIDE * SIDE).map(|_| (1e-6 * tail.sample(&mut rng).powi(2)) as f32).collect();
    let mut group = c.benchmark_group("quantize_4096x4096_3to8");
    group.sample_size(10).throughput(Throughput::Elements((SIDE * SIDE) as u64));
    for (weighted, s) in [("plain", None), ("sensitivities", Some(&sensitivities[..]))] {
        let weights = Weights::new("bench", SIDE, SIDE, &values, s).expect("finite weights");
        for method in [Method::Exact, Method::Fast] {
            let options = QuantizeOptions { method, ..QuantizeOptions::default() };
            group.bench_function(format!("{method:?}/{weighted}"), |b| {
                b.iter(|| quantize(black_box(&weights), &options));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, layer);
criterion_main!(benches);
