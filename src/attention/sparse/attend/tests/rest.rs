use super::*;

/// Where logits of all rows are known, so is the weight of those not attended to.
#[test]
fn the_rest_has_its_weight_and_the_mean_value() {
    let (dim, rows) = (16, 80);
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let data = head(&mut rng, rows, dim);
    let q = normal(&mut rng, 2 * dim);
    let index = KeyIndex::build(dim, std::slice::from_ref(&data), 0).unwrap();
    let mean: Vec<f64> = (0..dim)
        .map(|j| data.values.iter().skip(j).step_by(dim).map(|v| f64::from(*v)).sum::<f64>())
        .map(|sum| sum / rows as f64)
        .collect();
    let all: Vec<u32> = (0..rows as u32).collect();
    for selection in [
        Selection::TopK { k: Amount::Count(6) },
        Selection::ComponentTopR { r: dim as u32, k: Amount::Count(6) },
        Selection::Threshold { keep: 0.5 },
    ] {
        let mode = Mode { selection, tail: Tail::Mean };
        let queries = SparseQueries { q: &q, lists: lists(1, 1, 2), logits: scaled(dim), mode };
        let outcome = attend(&queries, &index, &slices(std::slice::from_ref(&data))).unwrap();
        for (at, q) in q.chunks_exact(dim).enumerate() {
            let (_, lse) = over_rows(q, &data, &all, &scaled(dim));
            // Sums are f32.
            assert!((outcome.lse[at] - lse).abs() < 1e-9, "{selection:?}");
            let stats = &outcome.stats[at];
            assert!(stats.mass < 0.9);
            let (o, _) = over_rows(q, &data, &stats.kept, &scaled(dim));
            for (j, o) in o.iter().enumerate() {
                let expected = stats.mass * o + (1.0 - stats.mass) * mean[j];
                assert!((outcome.o[at * dim + j] - expected).abs() < 1e-6);
            }
        }
    }
}

/// What is taken from all keys alike changes no rank, no weight and no estimate, but what a greedy search sees.
#[test]
fn a_centred_index_finds_rows_behind_large_means() {
    let (dim, rows) = (16, 300);
    let mut rng = ChaCha8Rng::seed_from_u64(13);
    let mut data = head(&mut rng, rows, dim);
    // One component is large in all keys.
    // 16ths are exact there.
    data.keys.iter_mut().step_by(dim).for_each(|k| *k = (16.0 * *k).round() / 16.0 + 64.0);
    let q: Vec<f32> = normal(&mut rng, 2 * dim).iter().map(|q| 2.0 * q.abs() + 2.0).collect();
    let heads = std::slice::from_ref(&data);
    let indices = [KeyIndex::build(dim, heads, 0), KeyIndex::build_centred(dim, heads, 0)];
    let [plain, centred] = indices.map(|index| {
        [
            Selection::ComponentTopR { r: 5, k: Amount::Count(9) },
            Selection::Greedy { steps: Amount::Fraction(0.5), keep: 0.0, exact: true },
        ]
        .map(|selection| {
            let mode = Mode { selection, tail: Tail::Mean };
            let queries = SparseQueries { q: &q, lists: lists(1, 1, 2), logits: scaled(dim), mode };
            attend(&queries, index.as_ref().unwrap(), &slices(heads)).unwrap()
        })
    });
    assert_eq!(plain[0].lists, centred[0].lists);
    for (a, b) in plain[0].lse.iter().zip(&centred[0].lse) {
        assert!((a - b).abs() < 0.01, "{a} {b}");
    }
    for at in 0..2 {
        let [plain, centred] = [&plain, &centred].map(|found| found[1].stats[at].mass);
        assert!(1.0 - centred < (1.0 - plain) / 2.0, "{plain} {centred}");
    }
}

/// Of rows that nothing is known of the weight is estimated, from few components better than from none.
#[test]
fn the_weight_of_the_rest_is_about_right() {
    let (dim, rows) = (32, 4000);
    let mut rng = ChaCha8Rng::seed_from_u64(10);
    let data = head(&mut rng, rows, dim);
    let all: Vec<u32> = (0..rows as u32).collect();
    let index = KeyIndex::build(dim, std::slice::from_ref(&data), 0).unwrap();
    for _ in 0..10 {
        let q = normal(&mut rng, dim);
        let (_, lse) = over_rows(&q, &data, &all, &scaled(dim));
        for selection in [
            Selection::ComponentTopR { r: 4, k: Amount::Count(0) },
            // A bare search: of its few candidates hardly any weight.
            Selection::Greedy { steps: Amount::Count(1), keep: 0.0, exact: false },
        ] {
            let mode = Mode { selection, tail: Tail::Mean };
            let queries = SparseQueries { q: &q, lists: lists(1, 1, 1), logits: scaled(dim), mode };
            let outcome = attend(&queries, &index, &slices(std::slice::from_ref(&data))).unwrap();
            assert!(!outcome.stats[0].fallback);
            assert!((outcome.lse[0] - lse).abs() < 0.1, "{} and {lse}", outcome.lse[0]);
        }
    }
}
