use super::*;
use crate::Error;
use crate::attention::append_kv::{Pairing, Rotary};
use crate::attention::evict::{Eviction, Rule, Scores, select};
use crate::attention::reference::{Logits, ScoreProblem, score_max, weights};
use crate::attention::{CacheShape, Denominator, KvCache, KvElement, Layout};
use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;

const DIM: usize = 64;

fn numbers(rng: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn cache(rng: &mut ChaCha8Rng, heads: usize, rows: usize) -> KvCache {
    let shape = CacheShape::new(heads, DIM, KvElement::F32).unwrap();
    let mut cache = KvCache::new(Layout::plain(shape, rows as u32).unwrap()).unwrap();
    let [keys, values] = [0, 1].map(|_| numbers(rng, rows * heads * DIM));
    cache.append(&keys, &values).unwrap();
    cache
}

/// Four queries of six heads at rows 20 to 23; the context begins behind two rows.
fn observed(q: &[f32]) -> Observed<'_> {
    let logits = Logits::scaled(0.5);
    Observed { q, q_len: 4, query_heads: 6, first: 20, context: 2..24, logits }
}

#[test]
fn places_and_chance() {
    let a = random(3, 4, 1000, 7).unwrap();
    assert_eq!(a, random(3, 4, 1000, 7).unwrap());
    assert_ne!(a, random(3, 4, 1000, 8).unwrap());
    assert!(a.values().iter().all(|score| (0.0..1.0).contains(score)));
    let mean = a.values().iter().sum::<f32>() / 12_000.0;
    assert!((mean - 0.5).abs() < 0.02, "{mean}");
    let kept = select(&a, &Eviction::new(0.5)).unwrap();
    assert!(kept.kept().iter().all(|kept| (400..600).contains(kept)), "{:?}", kept.kept());

    let recent = recent(2, 2, 10, 2).unwrap();
    let uniform = Eviction { rule: Rule::PairUniform, ..Eviction::new(0.5) };
    let kept = select(&recent, &uniform).unwrap();
    assert_eq!(kept.positions(1, 1).collect::<Vec<_>>(), [0, 1, 7, 8, 9]);
    let one = select(&recent, &Eviction { ratio: 0.1, ..uniform }).unwrap();
    assert_eq!(one.positions(0, 0).collect::<Vec<_>>(), [0]);
}

#[test]
fn observed_weights_are_those_of_attention() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let cache = cache(&mut rng, 2, 26);
    let q = numbers(&mut rng, 4 * 6 * DIM);
    let of = observed(&q);
    let [most, sum] = [Accumulate::Max, Accumulate::Sum]
        .map(|accumulate| observed_attention(&of, &cache, accumulate).unwrap());
    let keys = cache.head(1).unwrap().keys;
    for row in [2, 19, 20, 23] {
        let (mut largest, mut total) = (0.0f64, 0.0);
        for token in 0..4 {
            for query_head in 3..6 {
                let at = (token * 6 + query_head) * DIM;
                let seen = &keys[..(20 + token + 1) * DIM];
                let all = weights(&q[at..at + DIM], seen, &of.logits);
                let weight = all.get(row).copied().unwrap_or(0.0);
                (largest, total) = (largest.max(weight), total + weight);
            }
        }
        assert_eq!(most[22 + row - 2], largest as f32);
        assert!((f64::from(sum[22 + row - 2]) - total).abs() < 1e-6);
    }
    // Queries behind the context: the score of the full denominator.
    let behind = Observed { context: 2..20, ..of.clone() };
    let problem = ScoreProblem {
        q: &q,
        q_len: 4,
        query_heads: 6,
        sink: 2,
        chunk: 2..20,
        new: 20..24,
        denominator: Denominator::Full,
        lse: None,
        logits: of.logits,
    };
    let expected = score_max(&problem, &cache).unwrap();
    let found = observed_attention(&behind, &cache, Accumulate::Max).unwrap();
    assert!(found.iter().zip(&expected).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-7));
}

#[test]
fn snap_kv_pools_the_last_queries() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let cache = cache(&mut rng, 2, 26);
    let q = numbers(&mut rng, 4 * 6 * DIM);
    let of = observed(&q);
    let last = Observed { q: &q[2 * 6 * DIM..], q_len: 2, first: 22, ..of.clone() };
    // Without pooling it is a mean of what is observed.
    let sum = observed_attention(&last, &cache, Accumulate::Sum).unwrap();
    let plain = snap_kv(&of, &cache, 2, 1).unwrap();
    assert!(plain.iter().zip(&sum).all(|(a, b)| (a - b / 6.0).abs() < 1e-7));
    // One query head alone: the largest of neighbours.
    let narrow: Vec<f32> =
        q.chunks_exact(6 * DIM).flat_map(|t| [&t[..DIM], &t[3 * DIM..4 * DIM]].concat()).collect();
    let of = Observed { q: &narrow, query_heads: 2, ..of };
    let plain = snap_kv(&of, &cache, 3, 1).unwrap();
    let wide = snap_kv(&of, &cache, 3, 5).unwrap();
    for (plain, wide) in plain.chunks(22).zip(wide.chunks(22)) {
        for at in 0..22usize {
            let around = &plain[at.saturating_sub(2)..(at + 3).min(22)];
            assert_eq!(wide[at], around.iter().copied().fold(0.0, f32::max));
        }
    }
    let all = snap_kv(&of, &cache, 1, usize::MAX).unwrap();
    assert!(all[..22].windows(2).all(|pair| pair[0] == pair[1]));
    for (window, pool) in [(0, 7), (5, 7), (2, 0), (2, 6)] {
        assert!(matches!(snap_kv(&of, &cache, window, pool), Err(Error::Range { .. })));
    }
}

#[test]
fn pyramids_keep_what_the_ratio_does() {
    // Mean 300 besides the window: 585 in the first layer, 15 in the last.
    let budgets = pyramid_budgets(4, 1000, 0.332, 32, 20.0).unwrap();
    assert_eq!(budgets, [585 + 32, 395 + 32, 205 + 32, 15 + 32]);
    // The first layer full.
    let budgets = pyramid_budgets(3, 1000, 0.832, 32, 20.0).unwrap();
    assert_eq!(budgets, [1000, 832, 632 + 32]);
    for (layers, n) in [(1, 100), (2, 4096), (32, 777), (5, 0), (3, 20)] {
        for tenths in 0..=10u32 {
            let ratio = f64::from(tenths) / 10.0;
            let budgets = pyramid_budgets(layers, n, ratio, 32, 20.0).unwrap();
            assert!(budgets.is_sorted_by(|a, b| a >= b) && budgets.iter().all(|b| *b <= n));
            let total: u32 = budgets.iter().sum();
            let most = layers as u32 * (n * tenths / 10);
            assert!(total <= most && total + layers as u32 >= most, "{total} of {most}");
        }
    }
    for (ratio, beta) in [(1.5, 20.0), (f64::NAN, 20.0), (0.5, 0.9), (0.5, f64::NAN)] {
        assert!(matches!(pyramid_budgets(2, 9, ratio, 1, beta), Err(Error::Range { .. })));
    }
}

fn turns(first: u32, future: std::ops::Range<u32>, pairing: Pairing) -> Turns {
    Turns { rotary: Rotary { dims: 48, pairing, angle_rows: 0 }, theta: 1e4, first, future }
}

/// One row turned to a position.
fn turned(row: &[f32], turns: &Turns, position: u32) -> Vec<f32> {
    let mut row = row.to_vec();
    for pair in 0..24 {
        let angle = f64::from(position) * 1e4f64.powf(-2.0 * pair as f64 / 48.0);
        let (a, b) = match turns.rotary.pairing {
            Pairing::Interleaved => (2 * pair, 2 * pair + 1),
            Pairing::HalfSplit => (pair, pair + 24),
        };
        let (x, y) = (f64::from(row[a]), f64::from(row[b]));
        row[a] = (x * angle.cos() - y * angle.sin()) as f32;
        row[b] = (x * angle.sin() + y * angle.cos()) as f32;
    }
    row
}

#[test]
fn expected_attention_of_certain_queries_is_attention() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let cache = cache(&mut rng, 2, 30);
    // The same query of every token: no covariance.
    let token = numbers(&mut rng, 4 * DIM);
    let certain = QueryStatistics::of(&token.repeat(5), 4, DIM, None).unwrap();
    let logits = Logits::scaled(0.3);
    let found = expected_attention(&certain, &cache, 3..28, &logits, None).unwrap();
    let epsilon = expected_attention(&certain, &cache, 3..28, &logits, Some(0.02)).unwrap();
    for head in 0..2 {
        let data = cache.head(head).unwrap();
        let of = |q: usize| {
            let q = &token[(2 * head + q) * DIM..(2 * head + q + 1) * DIM];
            weights(q, &data.keys[3 * DIM..28 * DIM], &logits)
        };
        let (a, b) = (of(0), of(1));
        for row in 0..25 {
            let expected = (a[row] + b[row]) / 2.0;
            assert!((f64::from(found[25 * head + row]) - expected).abs() < 1e-7);
            let value = &data.values[(3 + row) * DIM..(4 + row) * DIM];
            let norm = value.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
            let weighed = (expected + 0.02) * norm;
            assert!((f64::from(epsilon[25 * head + row]) - weighed).abs() < 1e-5 * weighed);
        }
    }
}

#[test]
fn expected_attention_knows_spread_and_positions() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let cache = cache(&mut rng, 1, 12);
    let keys = cache.head(0).unwrap().keys;
    let q = numbers(&mut rng, 50 * DIM);
    let logits = Logits::scaled(0.4);
    // The mean of x is mean.k scale, its variance the other term: both from the logits themselves.
    let of = |q: &[f32]| -> Vec<f64> {
        let logit = |k: &[f32]| {
            let x: Vec<f64> = q.chunks(DIM).map(|q| logits.of(q, k)).collect();
            let mean = x.iter().sum::<f64>() / 50.0;
            mean + x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 50.0 / 2.0
        };
        let powers: Vec<f64> = keys.chunks(DIM).map(|k| logit(k).exp()).collect();
        let sum: f64 = powers.iter().sum();
        powers.iter().map(|power| power / sum).collect()
    };
    let close = |found: Vec<f32>, expected: Vec<f64>| {
        for (found, expected) in found.iter().zip(&expected) {
            assert!((f64::from(*found) - expected).abs() < 2e-6, "{found} for {expected}");
        }
    };
    let statistics = QueryStatistics::of(&q, 1, DIM, None).unwrap();
    close(expected_attention(&statistics, &cache, 0..12, &logits, None).unwrap(), of(&q));
    // Queries of positions 100 and on, were they all at 40: a mean of one rotation is the rotation.
    for pairing in [Pairing::Interleaved, Pairing::HalfSplit] {
        let turns = turns(100, 40..41, pairing);
        let at = |position: &dyn Fn(u32) -> u32| -> Vec<f32> {
            (0u32..).zip(q.chunks(DIM)).flat_map(|(i, q)| turned(q, &turns, position(i))).collect()
        };
        let asked = at(&|i| 100 + i);
        let statistics = QueryStatistics::of(&asked, 1, DIM, Some(&turns)).unwrap();
        let found = expected_attention(&statistics, &cache, 0..12, &logits, None).unwrap();
        close(found, of(&at(&|_| 40)));
    }
    // Many positions turn the quickest pairs to nearly nothing, the slowest not at all.
    let far = turns(0, 0..512, Pairing::Interleaved).clone();
    let still = vec![1.0; DIM];
    let statistics = QueryStatistics::of(&still, 1, DIM, Some(&far)).unwrap();
    let mean = statistics.mean();
    assert!(mean[0].abs() < 0.01 && mean[46] > 0.9 && mean[63] == 1.0, "{mean:?}");
}

#[test]
fn sources_refuse_what_does_not_fit() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let cache = cache(&mut rng, 2, 24);
    let q = numbers(&mut rng, 4 * 6 * DIM);
    let good = observed(&q);
    let of = |observed: Observed<'_>| observed_attention(&observed, &cache, Accumulate::Max);
    of(good.clone()).unwrap();
    assert!(matches!(of(Observed { query_heads: 3, ..good.clone() }), Err(Error::Shape { .. })));
    assert!(matches!(of(Observed { q: &[], q_len: 0, ..good.clone() }), Err(Error::Shape { .. })));
    assert!(matches!(of(Observed { first: 21, ..good.clone() }), Err(Error::Range { .. })));
    assert!(matches!(of(Observed { context: 2..25, ..good.clone() }), Err(Error::Range { .. })));
    let logits = Logits::scaled(f64::NAN);
    assert!(matches!(of(Observed { logits, ..good }), Err(Error::Range { .. })));
    assert!(matches!(QueryStatistics::of(&q, 5, DIM, None), Err(Error::Shape { .. })));
    assert!(matches!(QueryStatistics::of(&[], 6, DIM, None), Err(Error::Shape { .. })));
    let turns = turns(0, 0..0, Pairing::HalfSplit);
    assert!(matches!(QueryStatistics::of(&q, 6, DIM, Some(&turns)), Err(Error::Range { .. })));
    let wide = Rotary { dims: 66, ..turns.rotary };
    let wide = Turns { rotary: wide, future: 0..1, ..turns };
    assert!(matches!(QueryStatistics::of(&q, 6, DIM, Some(&wide)), Err(Error::Range { .. })));
    let statistics = QueryStatistics::of(&q, 6, DIM, None).unwrap();
    let of =
        |context, logits: Logits| expected_attention(&statistics, &cache, context, &logits, None);
    let plain = Logits::scaled(1.0);
    assert!(matches!(of(0..25, plain), Err(Error::Range { .. })));
    let capped = Logits { softcap: Some(30.0), ..plain };
    assert!(matches!(of(0..24, capped), Err(Error::Unsupported { .. })));
    let other = QueryStatistics::of(&q, 3, 2 * DIM, None).unwrap();
    let found = expected_attention(&other, &cache, 0..24, &plain, None);
    assert!(matches!(found, Err(Error::Shape { .. })));
    // Every piece is a layer's.
    let piece = expected_attention(&statistics, &cache, 0..24, &plain, None).unwrap();
    Scores::from_layers(2, 24, &[piece]).unwrap();
}
