mod edges;
mod rest;

use super::*;
use crate::attention::reference::{Queries, decode_attention, weights};
use crate::attention::sparse::{Amount, Selection, Share, greedy};
use crate::attention::{CacheShape, KvCache, KvElement, Layout};
use products::walks;
use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};

const ALL: Amount = Amount::Fraction(1.0);

fn normal(rng: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
    // Exact in f16, as caches of f16 and the index have them.
    let mut one = || -> f32 { StandardNormal.sample(rng) };
    (0..count).map(|_| half::f16::from_f32(one()).to_f32()).collect()
}

fn head(rng: &mut ChaCha8Rng, rows: usize, dim: usize) -> HeadData {
    HeadData { keys: normal(rng, rows * dim), values: normal(rng, rows * dim) }
}

fn lists(tokens: u32, heads: u32, group: u32) -> Lists {
    let share = Share::Group;
    Lists { tokens, heads, group, share, capacity: 4, sinks: 0, causal: false }
}

fn slices(data: &[HeadData]) -> Vec<HeadSlices<'_>> {
    data.iter().map(HeadSlices::from).collect()
}

fn scaled(dim: usize) -> Logits {
    Logits::scaled((dim as f64).sqrt().recip())
}

/// Attention to some rows.
fn over_rows(q: &[f32], data: &HeadData, rows: &[u32], logits: &Logits) -> (Vec<f64>, f64) {
    State::over(q, data, rows, logits).finish()
}

fn close(a: &[f64], b: &[f64], what: &str) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= 1e-9 * (1.0 + b.abs()), "{what}: {a} and {b}");
    }
}

/// Layers whose lists have all rows give what dense attention gives: new tokens and heads alike.
#[test]
fn all_rows_are_exact_attention() {
    let (heads, group, tokens, dim) = (2, 3, 3, 64);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let shape = CacheShape::new(heads, dim, KvElement::F16).unwrap();
    let mut cache = KvCache::new(Layout::plain(shape, 90).unwrap()).unwrap();
    let [keys, values] = [0; 2].map(|_| normal(&mut rng, 90 * heads * dim));
    cache.append(&keys, &values).unwrap();
    let q = normal(&mut rng, tokens * heads * group * dim);
    let data: Vec<HeadData> = (0..heads).map(|head| cache.head(head).unwrap()).collect();
    let index = KeyIndex::from_cache(&cache, &[70, 88], 8).unwrap();
    for logits in [scaled(dim), Logits { softcap: Some(2.0), ..scaled(dim) }] {
        let asked =
            Queries { q: &q, q_len: tokens, query_heads: heads * group, logits, window: None };
        let exact = decode_attention(&asked, &cache).unwrap();
        for selection in [
            Selection::Threshold { keep: 0.0 },
            Selection::TopK { k: ALL },
            Selection::TopK { k: Amount::Count(u32::MAX) },
            Selection::ComponentTopR { r: 3, k: ALL },
            // Nothing is found: all rows are taken.
            Selection::Greedy { steps: Amount::Count(0), keep: 0.5, exact: false },
        ] {
            for (share, tail) in [(Share::Query, Tail::None), (Share::Group, Tail::Mean)] {
                let lists = lists(tokens as u32, heads as u32, group as u32);
                let lists = Lists { share, sinks: 4, causal: true, ..lists };
                let mode = Mode { selection, tail };
                let queries = SparseQueries { q: &q, lists, logits, mode };
                let outcome = attend(&queries, &index, &slices(&data)).unwrap();
                close(&outcome.o, &exact.o, "o");
                close(&outcome.lse, &exact.lse, "lse");
                assert!(outcome.stats.iter().all(|row| (row.mass - 1.0).abs() < 1e-12));
                assert_eq!(outcome.stats[0].seen, 88);
                assert_eq!(outcome.stats[17].seen, 90);
            }
        }
    }
}

/// With steps enough for all products, sums are scores on the grid, and candidates the rows above 0.
#[test]
fn a_search_to_the_end_finds_the_scores() {
    let (rows, dim) = (57, 16);
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for _ in 0..20 {
        let data = head(&mut rng, rows, dim);
        let mut q = normal(&mut rng, dim);
        let index = KeyIndex::build(dim, std::slice::from_ref(&data), 0).unwrap();
        let scores = |q: &[f32]| {
            let mut scores = vec![0; rows];
            for (product, row) in walks(&index, 0, q).unwrap().into_iter().flatten() {
                scores[row as usize] += product;
            }
            scores
        };
        // Where the sum of all scores is negative, the search leaves some smallest products.
        if scores(&q).iter().sum::<i64>() < 0 {
            q.iter_mut().for_each(|q| *q = -*q);
        }
        let (columns, scores) = (walks(&index, 0, &q).unwrap(), scores(&q));
        let all = (rows * dim) as u64;
        for found in [
            greedy::plan(&columns, all, greedy::Low::Cheap).found(&columns, rows),
            // A step without effect on one side may be needed for each on the other.
            greedy::search(&columns, rows, 2 * all),
        ] {
            assert_eq!(found.hits, scores);
        }
        let positive: Vec<u32> = (0..rows as u32).filter(|i| scores[*i as usize] > 0).collect();
        let selection =
            Selection::Greedy { steps: Amount::Count(2 * all as u32), keep: 0.0, exact: true };
        let (lists, logits, mode) = (lists(1, 1, 1), scaled(dim), Mode::new(selection));
        let queries = SparseQueries { q: &q, lists, logits, mode };
        let outcome = attend(&queries, &index, &slices(std::slice::from_ref(&data))).unwrap();
        assert_eq!(outcome.stats[0].kept, positive);
        let (o, lse) = over_rows(&q, &data, &positive, &logits);
        close(&outcome.o, &o, "o");
        close(&outcome.lse, &[lse], "lse");
    }
}

/// Where every score is above 0, that is exact attention.
#[test]
fn a_search_to_the_end_is_exact_where_all_scores_are_positive() {
    let (rows, dim) = (40, 8);
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut data = head(&mut rng, rows, dim);
    data.keys.iter_mut().for_each(|k| *k = k.abs() + 0.1);
    let q: Vec<f32> = normal(&mut rng, dim).iter().map(|q| q.abs() + 0.1).collect();
    let index = KeyIndex::build(dim, std::slice::from_ref(&data), 0).unwrap();
    let every: Vec<u32> = (0..rows as u32).collect();
    let (o, _) = over_rows(&q, &data, &every, &scaled(dim));
    for exact in [false, true] {
        let steps = Amount::Fraction(dim as f64);
        let mode = Mode::new(Selection::Greedy { steps, keep: 0.0, exact });
        let queries = SparseQueries { q: &q, lists: lists(1, 1, 1), logits: scaled(dim), mode };
        let outcome = attend(&queries, &index, &slices(std::slice::from_ref(&data))).unwrap();
        close(&outcome.o, &o, "o");
    }
}

/// The cheap form takes at least as many steps as the sequential search, and seldom other candidates.
#[test]
fn steps_by_totals_are_never_fewer() {
    let (rows, dim) = (128, 16);
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let (mut either, mut both) = (0, 0);
    for _ in 0..200 {
        let data = head(&mut rng, rows, dim);
        let q = normal(&mut rng, dim);
        let index = KeyIndex::build(dim, &[data], 0).unwrap();
        let columns = walks(&index, 0, &q).unwrap();
        for steps in [1, 16, 64, 128] {
            let cheap = greedy::plan(&columns, steps, greedy::Low::Cheap).found(&columns, rows);
            let exact = greedy::search(&columns, rows, steps);
            assert_eq!(cheap.highest, exact.highest);
            assert!(cheap.low_steps >= exact.low_steps);
            let (cheap, exact) = (cheap.candidates(), exact.candidates());
            let common = cheap.iter().filter(|row| exact.contains(row)).count();
            (either, both) = (either + cheap.len() + exact.len() - common, both + common);
        }
    }
    assert!(both as f64 > 0.999 * either as f64, "{both} of {either}");
}

/// A row whose dot product with the query is large is found by every search.
#[test]
fn needles_are_found_in_every_dimension() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let rows = 600u32;
    for dim in (32..=256).step_by(14).chain([256]) {
        let mut data = head(&mut rng, rows as usize, dim);
        let q = normal(&mut rng, dim);
        let needle = rng.random_range(0..rows);
        let at = needle as usize * dim;
        data.keys[at..at + dim].iter_mut().zip(&q).for_each(|(k, q)| *k = 4.0 * q);
        let index = KeyIndex::build(dim, std::slice::from_ref(&data), 0).unwrap();
        let weights = weights(&q, &data.keys, &scaled(dim));
        assert!(weights[needle as usize] > 0.99);
        let steps = Amount::Count(dim as u32);
        for selection in [
            Selection::Greedy { steps, keep: 0.05, exact: true },
            Selection::Greedy { steps, keep: 0.1, exact: false },
            Selection::TopK { k: Amount::Count(1) },
            Selection::TopKApprox { k: Amount::Count(1), steps },
            Selection::ComponentTopR { r: 8, k: Amount::Count(8) },
        ] {
            let (lists, logits, mode) = (lists(1, 1, 1), scaled(dim), Mode::new(selection));
            let queries = SparseQueries { q: &q, lists, logits, mode };
            let outcome = attend(&queries, &index, &slices(std::slice::from_ref(&data))).unwrap();
            assert!(outcome.stats[0].kept.contains(&needle), "{dim} {selection:?}");
            assert!(outcome.stats[0].mass > 0.99);
        }
    }
}

#[test]
fn lists_have_sinks_then_new_rows_then_those_found() {
    let dim = 4;
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let data = head(&mut rng, 20, dim);
    let q = normal(&mut rng, 2 * 3 * dim);
    let first =
        HeadData { keys: data.keys[..16 * dim].into(), values: data.values[..16 * dim].into() };
    let index = KeyIndex::build(dim, &[first], 0).unwrap();
    let mode = Mode::new(Selection::ComponentTopR { r: 4, k: Amount::Count(5) });
    let lists = Lists { sinks: 2, causal: true, share: Share::Query, ..lists(2, 1, 3) };
    let queries = SparseQueries { q: &q, lists, logits: scaled(dim), mode };
    let outcome = attend(&queries, &index, &slices(std::slice::from_ref(&data))).unwrap();
    for (row, (list, stats)) in outcome.lists.iter().zip(&outcome.stats).enumerate() {
        let seen = if row < 3 { 19 } else { 20 };
        assert_eq!(stats.seen, seen);
        // The five best of the rows covered but for sinks, by sorting.
        let logit = |i: &u32| {
            let at = *i as usize * dim;
            scaled(dim).of(&q[row * dim..(row + 1) * dim], &data.keys[at..at + dim])
        };
        let mut best: Vec<u32> = (2..16).collect();
        best.sort_by(|a, b| logit(b).total_cmp(&logit(a)));
        best.truncate(5);
        best.sort();
        let expected: Vec<u32> = (0..2).chain(16..seen).chain(best).collect();
        assert_eq!(
            list,
            &Listed {
                scored: expected.len() as u32,
                rows: expected,
                always: 2 + seen - 16,
                fallback: false
            }
        );
        assert_eq!(stats.kept, list.rows);
        let all: Vec<u32> = (0..seen).collect();
        let q = &q[row * dim..(row + 1) * dim];
        let part = |rows| over_rows(q, &data, rows, &scaled(dim)).1;
        assert!((stats.mass - (part(&list.rows) - part(&all)).exp()).abs() < 1e-12);
    }
}

/// Query rows that share a list have the candidates of all of them, and each its own threshold.
#[test]
fn shared_lists_are_the_union() {
    let (dim, group) = (8, 3);
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let data = head(&mut rng, 100, dim);
    let q: Vec<f32> = normal(&mut rng, group * dim).iter().map(|q| 3.0 * q).collect();
    let index = KeyIndex::build(dim, std::slice::from_ref(&data), 0).unwrap();
    let of = |share| {
        let lists = Lists { share, ..lists(1, 1, group as u32) };
        let queries = SparseQueries { q: &q, lists, logits: scaled(dim), mode: Mode::aggressive() };
        attend(&queries, &index, &slices(std::slice::from_ref(&data))).unwrap()
    };
    let (own, shared) = (of(Share::Query), of(Share::Group));
    let mut union: Vec<u32> = own.lists.iter().flat_map(|list| list.rows.clone()).collect();
    union.sort();
    union.dedup();
    assert_eq!((own.lists.len(), shared.lists.len()), (3, 1));
    assert_eq!(shared.lists[0].rows, union);
    for (row, (own, shared)) in own.stats.iter().zip(&shared.stats).enumerate() {
        assert_eq!((own.candidates, own.entries), (shared.candidates, shared.entries));
        let logit = |i: u32| {
            let at = i as usize * dim;
            scaled(dim).of(&q[row * dim..(row + 1) * dim], &data.keys[at..at + dim])
        };
        let best = union.iter().map(|i| logit(*i)).fold(f64::NEG_INFINITY, f64::max);
        let stays = |i: &u32| (logit(*i) - best).exp() >= 0.1;
        assert_eq!(shared.kept, union.iter().copied().filter(stays).collect::<Vec<u32>>());
        assert!(shared.kept.len() < union.len());
    }
}

/// The best of all rows that a token sees, sinks and new ones not before others.
#[test]
fn exact_ranks_are_of_all_rows() {
    let (dim, group, rows) = (4, 2, 30);
    let mut rng = ChaCha8Rng::seed_from_u64(12);
    let data = head(&mut rng, rows, dim);
    let mut q = normal(&mut rng, group * dim);
    // A sharp head beside one that is not.
    q[..dim].iter_mut().for_each(|q| *q *= 8.0);
    let index = KeyIndex::new(dim, &[1], 0).unwrap();
    let lists = Lists { sinks: 4, causal: true, ..lists(1, 1, group as u32) };
    let mode = Mode::new(Selection::TopK { k: Amount::Count(6) });
    let queries = SparseQueries { q: &q, lists, logits: scaled(dim), mode };
    let outcome = attend(&queries, &index, &slices(std::slice::from_ref(&data))).unwrap();
    let mut rank = vec![f64::NEG_INFINITY; rows];
    for q in q.chunks_exact(dim) {
        let weights = weights(q, &data.keys, &scaled(dim));
        let largest = weights.iter().copied().fold(0.0, f64::max);
        rank.iter_mut().zip(&weights).for_each(|(rank, w)| *rank = rank.max(w / largest));
    }
    let mut best: Vec<u32> = (0..rows as u32).collect();
    best.sort_by(|a, b| rank[*b as usize].total_cmp(&rank[*a as usize]));
    best.truncate(6);
    best.sort();
    assert_eq!(outcome.lists, [Listed { rows: best, always: 0, scored: 30, fallback: false }]);
}

/// Heads of a group count alike in a rank whatever their sharpness.
#[test]
fn components_are_ranked_for_the_whole_group() {
    let (dim, rows) = (8, 50);
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    let data = head(&mut rng, rows, dim);
    let mut q = normal(&mut rng, 2 * dim);
    // Nothing is asked of the last four components.
    q.iter_mut().enumerate().filter(|(j, _)| j % dim >= 4).for_each(|(_, q)| *q = 0.0);
    let index = KeyIndex::build(dim, std::slice::from_ref(&data), 0).unwrap();
    let mode = Mode::new(Selection::ComponentTopR { r: 4, k: Amount::Count(7) });
    let queries = SparseQueries { q: &q, lists: lists(1, 1, 2), logits: scaled(dim), mode };
    let outcome = attend(&queries, &index, &slices(std::slice::from_ref(&data))).unwrap();
    let mut rank = vec![0.0; rows];
    for q in q.chunks_exact(dim) {
        let mut e = 0.0;
        for (j, q) in q.iter().enumerate().take(4) {
            let column = || data.keys.iter().skip(j).step_by(dim).map(|k| f64::from(*k));
            let mean = column().sum::<f64>() / rows as f64;
            let variance = column().map(|k| (k - mean).powi(2)).sum::<f64>() / rows as f64;
            let x = f64::from(*q) * scaled(dim).scale;
            e += x * mean + x * x * variance / 2.0;
        }
        for (rank, k) in rank.iter_mut().zip(data.keys.chunks_exact(dim)) {
            *rank += (scaled(dim).of(q, k) - e).exp();
        }
    }
    let mut best: Vec<u32> = (0..rows as u32).collect();
    best.sort_by(|a, b| rank[*b as usize].total_cmp(&rank[*a as usize]));
    best.truncate(7);
    best.sort();
    assert_eq!(outcome.lists[0].rows, best);
}
