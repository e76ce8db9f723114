use super::*;
use crate::attention::{CacheShape, Denominator, KvElement, Layout};
use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;

const DIM: usize = 64;

fn numbers(rng: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
    (0..count).map(|_| rng.random_range(-2.0..2.0)).collect()
}

fn cache(rng: &mut ChaCha8Rng, heads: usize, rows: usize) -> KvCache {
    let shape = CacheShape::new(heads, DIM, KvElement::F32).unwrap();
    let mut cache = KvCache::new(Layout::plain(shape, rows as u32).unwrap()).unwrap();
    let rows = numbers(rng, rows * heads * DIM);
    cache.append(&rows, &rows).unwrap();
    cache
}

fn problem(q: &[f32], query_heads: usize) -> ScoreProblem<'_> {
    let q_len = q.len() / query_heads / DIM;
    let new = 40..40 + q_len as u32;
    let (denominator, logits) = (Denominator::Subset, Logits::scaled(0.125));
    ScoreProblem {
        q,
        q_len,
        query_heads,
        sink: 3,
        chunk: 10..30,
        new,
        denominator,
        lse: None,
        logits,
    }
}

/// The matrix of logits as a table, masked, and everything read off it.
fn dense(problem: &ScoreProblem<'_>, cache: &KvCache) -> Vec<f64> {
    let group = problem.query_heads / cache.shape().kv_heads();
    let mut scores = Vec::new();
    for head in 0..cache.shape().kv_heads() {
        let keys = cache.head(head).unwrap().keys;
        let len = cache.layout().len(head);
        let mut best = vec![f64::MIN; problem.chunk.len()];
        for (at, q) in problem.q.chunks_exact(DIM).enumerate() {
            let (token, query_head) = (at / problem.query_heads, at % problem.query_heads);
            if query_head / group != head {
                continue;
            }
            let logits: Vec<f64> = keys
                .chunks_exact(DIM)
                .map(|k| {
                    let dot: f64 = (0..DIM).map(|d| f64::from(q[d]) * f64::from(k[d])).sum();
                    let x = problem.logits.scale * dot;
                    problem.logits.softcap.map_or(x, |c| c * (x / c).tanh())
                })
                .collect();
            let in_sum = |row: u32| match problem.denominator {
                Denominator::Subset if row < problem.new.start => {
                    row < problem.sink || problem.chunk.contains(&row)
                }
                _ => row <= problem.new.start + token as u32,
            };
            let sum: f64 =
                (0..len).filter(|row| in_sum(*row)).map(|row| logits[row as usize].exp()).sum();
            for (best, row) in best.iter_mut().zip(problem.chunk.clone()) {
                let x = logits[row as usize];
                let weight =
                    if problem.denominator == Denominator::None { x } else { x.exp() / sum };
                *best = best.max(weight);
            }
        }
        scores.extend(best);
    }
    scores
}

#[test]
fn scores_are_the_largest_weights_of_the_matrix() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for (heads, group, q_len) in [(1, 1, 1), (2, 3, 5), (1, 7, 4), (3, 2, 8)] {
        let cache = cache(&mut rng, heads, 50);
        let q = numbers(&mut rng, q_len * heads * group * DIM);
        for denominator in Denominator::ALL {
            for (sink, chunk, softcap) in
                [(3, 10..30, None), (0, 0..40, None), (5, 5..6, Some(0.5)), (0, 39..40, Some(3.0))]
            {
                let logits = Logits { scale: 0.2, softcap };
                let of = problem(&q, heads * group);
                let of = ScoreProblem { sink, chunk, denominator, logits, ..of };
                let found = score_max(&of, &cache).unwrap();
                let expected = dense(&of, &cache);
                assert_eq!(found.len(), heads * of.chunk.len());
                for (found, expected) in found.iter().zip(&expected) {
                    let off = (found - expected).abs();
                    assert!(off <= 1e-12 * expected.abs().max(1e-3), "{found} for {expected}");
                    let weight = denominator != Denominator::None;
                    assert!(!weight || (0.0..=1.0).contains(found), "{found}");
                }
            }
        }
    }
}

#[test]
fn a_chunk_of_everything_is_the_definition_without_chunks() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let cache = cache(&mut rng, 2, 46);
    let q = numbers(&mut rng, 6 * 6 * DIM);
    let subset = ScoreProblem { sink: 7, chunk: 7..40, ..problem(&q, 6) };
    let full = ScoreProblem { denominator: Denominator::Full, ..subset.clone() };
    let [a, b] = [&subset, &full].map(|of| score_max(of, &cache).unwrap());
    assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-13));
    // The attention of the pass itself has the sums of the full denominator.
    let queries = Queries { q: &q, q_len: 6, query_heads: 6, logits: full.logits, window: None };
    let attended = decode_attention(&queries, &cache).unwrap();
    let lse = score_lse(&full, &cache).unwrap();
    assert!(lse.iter().zip(&attended.lse).all(|(a, b)| (a - b).abs() < 1e-12));
    let given = ScoreProblem { lse: Some(&attended.lse), chunk: 20..25, ..full };
    let found = score_max(&given, &cache).unwrap();
    let part = [&b[13..18], &b[33 + 13..33 + 18]].concat();
    assert!(found.iter().zip(&part).all(|(a, b)| (a - b).abs() < 1e-12));
}

#[test]
fn weights_that_are_no_numbers_stay_in_their_head() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let cache = cache(&mut rng, 2, 42);
    let mut q = numbers(&mut rng, 2 * 4 * DIM);
    q[5 * DIM] = f32::NAN;
    let found = score_max(&problem(&q, 4), &cache).unwrap();
    assert!(found[..20].iter().all(|score| score.is_nan()));
    assert!(found[20..].iter().all(|score| (0.0..=1.0).contains(score)));
}

#[test]
fn problems_that_do_not_fit_are_refused() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let cache = cache(&mut rng, 2, 44);
    let q = numbers(&mut rng, 4 * 4 * DIM);
    let good = problem(&q, 4);
    score_max(&good, &cache).unwrap();
    assert!(score_max(&ScoreProblem { chunk: 10..10, ..good.clone() }, &cache).unwrap().is_empty());
    let lse = [0.0; 15];
    for bad in [
        ScoreProblem { query_heads: 3, ..good.clone() },
        ScoreProblem { q_len: 3, ..good.clone() },
        ScoreProblem { q: &q[1..], ..good.clone() },
        ScoreProblem { new: 40..43, ..good.clone() },
        ScoreProblem { lse: Some(&lse), ..good.clone() },
    ] {
        assert!(matches!(score_max(&bad, &cache), Err(Error::Shape { .. })), "{bad:?}");
    }
    #[allow(clippy::reversed_empty_ranges)]
    for bad in [
        ScoreProblem { q: &[], q_len: 0, ..good.clone() },
        ScoreProblem { sink: 11, ..good.clone() },
        ScoreProblem { chunk: 30..10, ..good.clone() },
        ScoreProblem { chunk: 10..41, ..good.clone() },
        ScoreProblem { new: 41..45, ..good.clone() },
        ScoreProblem { logits: Logits::scaled(f64::NAN), ..good.clone() },
    ] {
        assert!(matches!(score_max(&bad, &cache), Err(Error::Range { .. })), "{bad:?}");
    }
}
