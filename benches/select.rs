//! The selectors' scalar references: what choosing a step's channels takes on one core of a host.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fewbytes::linear::select::{Budget, Norms, Ranking, Selector, ThresholdsAccumulator};
use half::f16;
use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use std::hint::black_box;

/// Log-normal magnitudes; one channel in 200 is up to 100 times as large.
fn token(rng: &mut ChaCha8Rng, cols: usize) -> Vec<f32> {
    let mut channel = || {
        let normal: f32 = StandardNormal.sample(rng);
        let outlier =
            if rng.random_range(0..200) == 0 { rng.random_range(20.0..100.0) } else { 1.0 };
        outlier * if rng.random() { normal.exp() } else { -normal.exp() }
    };
    (0..cols).map(|_| channel()).collect()
}

fn selecting(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("select, k_chunk 32");
    for cols in [4096, 14336] {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let budget = Budget::new(cols, 32).expect("a budget");
        let mut calibration = ThresholdsAccumulator::new("bench", cols).expect("channels");
        for _ in 0..64 {
            calibration.add_batch(&token(&mut rng, cols)).expect("finite activations");
        }
        let bucket = Selector::Bucket32(calibration.finish().expect("tokens"));
        let norms = (0..cols).map(|_| f16::from_f32(rng.random_range(0.5..2.0))).collect();
        let weighted = Ranking::Weighted(Norms::new(norms).expect("finite norms"));
        let x = token(&mut rng, cols);
        group.throughput(Throughput::Elements(cols as u64));
        for (name, selector, ranking) in [
            ("Exact", Selector::Exact, &Ranking::Magnitude),
            ("ChunkRadix", Selector::ChunkRadix, &Ranking::Magnitude),
            ("ChunkRadix, weighted", Selector::ChunkRadix, &weighted),
            ("Bucket32", bucket, &Ranking::Magnitude),
        ] {
            group.bench_function(BenchmarkId::new(name, cols), |bencher| {
                bencher.iter(|| selector.select(ranking, black_box(&x), &budget));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, selecting);
criterion_main!(benches);
