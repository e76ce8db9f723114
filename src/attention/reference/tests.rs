use super::*;
use crate::attention::{CacheShape, HeadData, KeepLists, KvElement, Layout, NO_KEY, Planner};
use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn numbers(rng: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
    (0..count).map(|_| rng.random_range(-2.0..2.0)).collect()
}

/// A cache of so many rows for each head, and then `appended` more.
fn cache(rng: &mut ChaCha8Rng, kept: &[u32], appended: usize) -> KvCache {
    let (heads, dim) = (kept.len(), 64);
    let shape = CacheShape::new(heads, dim, KvElement::F32).unwrap();
    let most = kept.iter().copied().max().unwrap_or(0);
    let mut full = KvCache::new(Layout::plain(shape, most).unwrap()).unwrap();
    let tokens = most as usize * heads * dim;
    full.append(&numbers(rng, tokens), &numbers(rng, tokens)).unwrap();
    let lists: Vec<Vec<u32>> = kept
        .iter()
        .map(|&kept| {
            let rows = rand::seq::index::sample(rng, most as usize, kept as usize);
            let mut rows: Vec<u32> = rows.iter().map(|row| row as u32).collect();
            rows.sort_unstable();
            rows
        })
        .collect();
    let keep = KeepLists::new(&lists, &vec![most; heads]).unwrap();
    let mut cache = full.with_positions().unwrap().compact(&keep, 16).unwrap();
    let tokens = appended * heads * dim;
    cache.append(&numbers(rng, tokens), &numbers(rng, tokens)).unwrap();
    cache
}

fn queries(q: &[f32], q_len: usize, query_heads: usize) -> Queries<'_> {
    Queries { q, q_len, query_heads, logits: Logits::scaled(0.125), window: None }
}

#[track_caller]
fn close(a: &Attended, b: &Attended, bound: f64) {
    assert_eq!((a.o.len(), a.lse.len()), (b.o.len(), b.lse.len()));
    for (a, b) in a.o.iter().chain(&a.lse).zip(b.o.iter().chain(&b.lse)) {
        assert!((a - b).abs() <= bound * a.abs().max(1.0), "{a} and {b}");
    }
}

#[test]
fn attention_worked_out_by_hand() {
    let shape = CacheShape::new(1, 64, KvElement::F32).unwrap();
    let mut cache = KvCache::new(Layout::plain(shape, 8).unwrap()).unwrap();
    let row = |first: f32| [&[first][..], &[0.0; 63]].concat();
    // Logits 0, ln 3, of values 1 and 5: weights 1/4 and 3/4.
    let keys = [row(0.0), row(2.0 * 3f32.ln())].concat();
    cache.append(&keys, &[row(1.0), row(5.0)].concat()).unwrap();
    let q = row(1.0);
    let query = Queries { logits: Logits::scaled(0.5), ..queries(&q, 1, 1) };
    let found = decode_attention(&query, &cache).unwrap();
    assert!((found.o[0] - 4.0).abs() < 1e-6 && found.o[1] == 0.0, "{}", found.o[0]);
    assert!((found.lse[0] - 4f64.ln()).abs() < 1e-6);
    let data = cache.head(0).unwrap();
    let found = weights(&q, &data.keys, &query.logits);
    assert!((found[0] - 0.25).abs() < 1e-6 && (found[1] - 0.75).abs() < 1e-6);
    // Two queries, of which the first does not see the second row.
    let two = [q.clone(), q.clone()].concat();
    let pair = Queries { q: &two, q_len: 2, ..query };
    let found = decode_attention(&pair, &cache).unwrap();
    assert_eq!((found.o[0], found.lse[0]), (1.0, 0.0));
    assert!((found.o[64] - 4.0).abs() < 1e-6);
    // A window of one token is the newest row alone.
    let own = Queries { window: Some(1), ..query };
    assert_eq!(decode_attention(&own, &cache).unwrap().o[0], 5.0);
    // ln 3 under a softcap of 1/2.
    let capped = Logits { softcap: Some(0.5), ..query.logits };
    let x = 0.5 * (2.0 * f64::from(2.0 * 3f32.ln()) * 0.5).tanh();
    let capped = decode_attention(&Queries { logits: capped, ..query }, &cache).unwrap();
    assert!((capped.lse[0] - (1.0 + x.exp()).ln()).abs() < 1e-12);
}

#[test]
fn queries_that_see_nothing_get_zeros() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let cache = cache(&mut rng, &[0, 5], 0);
    let q = numbers(&mut rng, 6 * 64);
    let found = decode_attention(&queries(&q, 1, 6), &cache).unwrap();
    assert!(found.o[..3 * 64].iter().all(|o| *o == 0.0));
    assert!(found.lse[..3].iter().all(|lse| *lse == f64::from(NO_KEY)));
    assert!(found.o[3 * 64..].iter().all(|o| *o != 0.0));
    // Three queries and one row: only the last sees it; no queries, no output.
    let shape = CacheShape::new(1, 64, KvElement::F32).unwrap();
    let mut short = KvCache::new(Layout::plain(shape, 1).unwrap()).unwrap();
    short.append(&q[..64], &q[..64]).unwrap();
    let found = decode_attention(&queries(&q[..192], 3, 1), &short).unwrap();
    assert_eq!(found.lse[..2], [f64::from(NO_KEY); 2]);
    assert_eq!(found.o[2 * 64], f64::from(q[0]));
    let none = decode_attention(&queries(&[], 0, 1), &short).unwrap();
    assert!(none.o.is_empty() && none.lse.is_empty());
}

#[test]
fn parts_merge_to_the_whole_however_they_are_cut() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let (rows, dim) = (300u32, 64);
    let q = numbers(&mut rng, dim);
    let (keys, values) = (numbers(&mut rng, 300 * dim), numbers(&mut rng, 300 * dim));
    let data = HeadData { keys, values };
    for scale in [0.125, 40.0, 1e4, 0.0] {
        let logits = Logits::scaled(scale);
        let all: Vec<u32> = (0..rows).collect();
        let (whole, lse) = State::over(&q, &data, &all, &logits).finish();
        for parts in [1, 2, 7, 64] {
            let mut cut = vec![Vec::new(); parts];
            (0..rows).for_each(|row| cut[rng.random_range(0..parts)].push(row));
            cut.push(Vec::new());
            let mut states: Vec<State> =
                cut.iter().map(|rows| State::over(&q, &data, rows, &logits)).collect();
            let (o, found) = State::merge(&states, dim).finish();
            let bound = 1e-12 * lse.abs().max(1.0);
            assert!((found - lse).abs() <= bound, "{found} and {lse}");
            assert!(o.iter().zip(&whole).all(|(a, b)| (a - b).abs() <= 1e-12));
            // Pairs first, then pairs of pairs.
            while states.len() > 1 {
                states = states.chunks(2).map(|pair| State::merge(pair, dim)).collect();
            }
            let (o, _) = states[0].finish();
            assert!(o.iter().zip(&whole).all(|(a, b)| (a - b).abs() <= 1e-12));
        }
    }
    assert_eq!(State::merge(&[], dim), State::empty(dim));
    let empty = vec![State::empty(dim); 3];
    assert_eq!(State::merge(&empty, dim).finish(), (vec![0.0; dim], f64::from(NO_KEY)));
}

#[test]
fn any_plan_gives_what_the_whole_gives() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for (kept, group) in [(vec![0, 500, 3, 130], 7), (vec![0, 0], 3), (vec![1000, 1], 1)] {
        let mut cache = cache(&mut rng, &kept, 5);
        let query_heads = kept.len() * group;
        let plans: Vec<_> = [1, 2, 5, 9, 64]
            .iter()
            .flat_map(|w| Planner::ALL.map(|p| p.plan_layout(cache.layout(), *w).unwrap()))
            .collect();
        // Rows appended after the plan was made are covered, and so are fewer.
        for step in 0..3 {
            let q = numbers(&mut rng, 3 * query_heads * 64);
            for window in [None, Some(40)] {
                let queries = Queries { window, ..queries(&q, 3, query_heads) };
                let whole = decode_attention(&queries, &cache).unwrap();
                for plan in &plans {
                    assert_eq!(plan.check(cache.layout()).is_ok(), step < 2);
                    let states = decode_split(&queries, &cache, plan).unwrap();
                    let merged = decode_merge(&queries, &cache, plan, &states).unwrap();
                    close(&whole, &merged, 1e-12);
                }
            }
            match step {
                0 => {
                    let new = numbers(&mut rng, 9 * kept.len() * 64);
                    cache.append(&new, &new).unwrap();
                }
                _ => cache.truncate(4).unwrap(),
            }
        }
    }
}

#[test]
fn orders_and_layouts_do_not_matter() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let cache = cache(&mut rng, &[70, 0, 200], 6);
    let q = numbers(&mut rng, 2 * 9 * 64);
    let queries = queries(&q, 2, 9);
    let whole = decode_attention(&queries, &cache).unwrap();
    let paged = cache.to_paged(16, 40).unwrap();
    assert_eq!(decode_attention(&queries, &paged).unwrap(), whole);
    let data = cache.head(2).unwrap();
    let mut rows: Vec<u32> = (0..206).collect();
    let forth = State::over(&q[6 * 64..7 * 64], &data, &rows, &queries.logits).finish();
    rows.reverse();
    let back = State::over(&q[6 * 64..7 * 64], &data, &rows, &queries.logits).finish();
    assert!(forth.0.iter().zip(&back.0).all(|(a, b)| (a - b).abs() < 1e-13));
    // Windows look at positions, not at rows.
    let window = Queries { window: Some(8), ..queries };
    let seen = window.seen(&cache, 2, 1).unwrap();
    let positions = cache.head_positions(2).unwrap();
    let last = cache.layout().next_position() - 1;
    let expected: Vec<u32> = (0..206).filter(|row| positions[*row as usize] + 8 > last).collect();
    assert_eq!(seen, expected);
    // The rows before a window's start are read by no plan, and missed by no query.
    let whole = decode_attention(&window, &cache).unwrap();
    let starts = cache.window_starts(2, 8).unwrap();
    assert_eq!(starts[2], window.seen(&cache, 2, 0).unwrap()[0]);
    assert!(starts[0] > 60 && starts[2] > 190, "{starts:?}");
    let first = |window| cache.window_starts(2, window).unwrap()[2];
    assert_eq!([first(203), first(204), first(205), first(u32::MAX)], [2, 1, 0, 0]);
    for planner in Planner::ALL {
        let plan = planner.plan_window(cache.layout(), &starts, 4).unwrap();
        plan.check(cache.layout()).unwrap();
        assert!(plan.longest_group() < 64);
        let states = decode_split(&window, &cache, &plan).unwrap();
        close(&whole, &decode_merge(&window, &cache, &plan, &states).unwrap(), 1e-12);
        assert!(matches!(planner.plan_window(cache.layout(), &[0], 4), Err(Error::Shape { .. })));
    }
    assert_eq!(cache.window_starts(0, 0).unwrap(), cache.layout().lengths());
}

#[test]
fn removed_weight_bounds_what_changes() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for scale in [0.05, 0.125, 1.0] {
        let q = numbers(&mut rng, 64);
        let (keys, values) = (numbers(&mut rng, 400 * 64), numbers(&mut rng, 400 * 64));
        let largest = values.iter().map(|v| f64::from(v.abs())).fold(0.0, f64::max);
        let data = HeadData { keys, values };
        let logits = Logits::scaled(scale);
        let weights = weights(&q, &data.keys, &logits);
        assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        let all: Vec<u32> = (0..400).collect();
        let whole = State::over(&q, &data, &all, &logits).finish().0;
        for count in [1, 20, 200, 399] {
            let removed = rand::seq::index::sample(&mut rng, 400, count).into_vec();
            let rest: Vec<u32> =
                (0..400).filter(|row| !removed.contains(&(*row as usize))).collect();
            let weight: f64 = removed.iter().map(|row| weights[*row]).sum();
            let left = State::over(&q, &data, &rest, &logits).finish().0;
            let most = whole.iter().zip(&left).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(most <= 2.0 * weight * largest + 1e-12, "{most} for {weight}");
        }
    }
}

#[test]
fn poisoned_heads_keep_their_poison() {
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let shape = CacheShape::new(2, 64, KvElement::F16).unwrap();
    let mut cache = KvCache::new(Layout::plain(shape, 4).unwrap()).unwrap();
    let mut keys = numbers(&mut rng, 4 * 128);
    let values = keys.clone();
    (keys[64], keys[192]) = (f32::NAN, f32::INFINITY);
    cache.append(&keys, &values).unwrap();
    let q = numbers(&mut rng, 128);
    let found = decode_attention(&queries(&q, 1, 2), &cache).unwrap();
    assert!(found.o[..64].iter().all(|o| o.is_finite()) && found.lse[0].is_finite());
    assert!(found.o[64..].iter().all(|o| o.is_nan()) && found.lse[1].is_nan());
}

#[test]
fn queries_that_do_not_fit_are_refused() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let cache = cache(&mut rng, &[4, 4], 1);
    let q = numbers(&mut rng, 4 * 64);
    let good = queries(&q, 1, 4);
    let error = |queries: Queries<'_>| decode_attention(&queries, &cache).unwrap_err();
    for bad in [
        Queries { query_heads: 3, q: &q[..192], ..good },
        Queries { query_heads: 0, ..good },
        Queries { q_len: 2, ..good },
        Queries { q_len: usize::MAX, ..good },
        Queries { q: &q[1..], ..good },
    ] {
        assert!(matches!(error(bad), Error::Shape { .. }), "{bad:?}");
    }
    let logits = |scale, softcap| Queries { logits: Logits { scale, softcap }, ..good };
    for bad in [
        logits(f64::NAN, None),
        logits(1.0, Some(0.0)),
        logits(1.0, Some(f64::INFINITY)),
        Queries { window: Some(0), ..good },
    ] {
        assert!(matches!(error(bad), Error::Range { .. }), "{bad:?}");
    }
    let plan = Planner::Stream.plan(&[5, 5, 5], 2).unwrap();
    assert!(matches!(decode_split(&good, &cache, &plan), Err(Error::Shape { .. })));
    let plan = Planner::Stream.plan(&[5, 5], 2).unwrap();
    assert!(matches!(decode_merge(&good, &cache, &plan, &[]), Err(Error::Shape { .. })));
    let states = vec![Vec::new(); plan.segments().len()];
    assert!(matches!(decode_merge(&good, &cache, &plan, &states), Err(Error::Shape { .. })));
}
