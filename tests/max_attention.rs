//! Attention of many tokens and the largest attention to every key, by host ops on every adapter: passes
//! over one cache as it grows, sums that are given, chunk after chunk, and views that do not fit.

use fewbytes::attention::reference::{
    Logits, Queries, ScoreProblem, decode_attention, score_max as reference,
};
use fewbytes::attention::{
    CacheShape, DecodeQueries, Denominator, KeySpans, KvCache, KvElement, Layout, MaxAttention,
    RowMap, ScoreLse, ScoreMax, ScorePlace,
};
use fewbytes::{Error, Knobs};
use fewbytes_wgpu::ops::prefill::{self, KeyRows};
use fewbytes_wgpu::ops::{
    BoundByMap, DeviceCache, DeviceRowMap, max_attention, score_lse, score_max,
};
use fewbytes_wgpu::{Context, Features, View, adapters};
use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;

const DIM: usize = 64;
const GROUP: usize = 3;
const HEADS: usize = 2;
const TOKENS: usize = 30;

fn contexts() -> Vec<Context> {
    let found = pollster::block_on(adapters());
    assert!(!found.is_empty(), "no adapter: run `cargo xtask test`, which installs one");
    let open = |adapter| pollster::block_on(Context::open_on(adapter, Features::Full)).unwrap();
    found.iter().map(open).collect()
}

fn numbers(rng: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn append(rng: &mut ChaCha8Rng, cache: &mut KvCache, tokens: usize) {
    let (keys, values) = (numbers(rng, tokens * HEADS * DIM), numbers(rng, tokens * HEADS * DIM));
    cache.append(&keys, &values).unwrap();
}

fn filled(rng: &mut ChaCha8Rng, element: KvElement, tokens: usize) -> KvCache {
    let shape = CacheShape::new(HEADS, DIM, element).unwrap();
    let mut cache = KvCache::new(Layout::plain(shape, 400).unwrap()).unwrap();
    append(rng, &mut cache, tokens);
    cache
}

fn close(found: &[f32], expected: &[f64], relative: f64) {
    assert_eq!(found.len(), expected.len());
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let off = (f64::from(*found) - expected).abs();
        assert!(off <= relative * expected.abs(), "{at}: {found} for {expected}");
    }
}

fn queries(cache: &KvCache, q_len: usize) -> DecodeQueries {
    DecodeQueries { q_len, lse: true, ..DecodeQueries::new(cache.shape(), GROUP) }
}

/// The map of a cache as it is.
fn mapped(ctx: &Context, cache: &KvCache) -> DeviceRowMap {
    DeviceRowMap::upload(ctx, RowMap::new(cache.layout(), &[]).unwrap()).unwrap()
}

/// `o` and `lse` of the newest tokens.
fn attend(ctx: &Context, cache: &KvCache, q: &[f32]) -> (View, View) {
    let queries = queries(cache, q.len() / (HEADS * GROUP * DIM));
    let device = DeviceCache::upload(ctx, cache).unwrap();
    let map = mapped(ctx, cache);
    let plan = prefill::plan(ctx, queries, cache.layout(), map.map(), &Knobs::DEFAULT).unwrap();
    let (o, lse) = (ctx.alloc::<f32>(q.len()).unwrap(), ctx.alloc::<f32>(q.len() / DIM).unwrap());
    let q = ctx.upload(q).unwrap();
    let bound = plan.bind(&q, &KeyRows::of(&device), &map, &o, Some(&lse)).unwrap();
    ctx.submit(|pass| bound.record(pass, &map, cache.layout())).unwrap();
    (o, lse)
}

#[test]
fn attending_in_chunks_is_attending_at_once() {
    for ctx in contexts() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut cache = filled(&mut rng, KvElement::F16, 70);
        let row = HEADS * GROUP * DIM;
        let (new, q) = (50, numbers(&mut rng, 50 * row));
        let mut parts = Vec::new();
        for (from, tokens) in [(0, 20), (20, 1), (21, 29)] {
            append(&mut rng, &mut cache, tokens);
            let (o, _) = attend(&ctx, &cache, &q[from * row..(from + tokens) * row]);
            parts.extend(ctx.block_on(ctx.read::<f32>(&o)).unwrap());
        }
        let (o, lse) = attend(&ctx, &cache, &q);
        let o = ctx.block_on(ctx.read::<f32>(&o)).unwrap();
        let logits = Logits::scaled(0.125);
        let asked = Queries { q: &q, q_len: new, query_heads: HEADS * GROUP, logits, window: None };
        let expected = decode_attention(&asked, &cache).unwrap();
        close(&ctx.block_on(ctx.read(&lse)).unwrap(), &expected.lse, 1e-5);
        for ((o, part), expected) in o.iter().zip(&parts).zip(&expected.o) {
            assert!((f64::from(*o) - expected).abs() < 2e-5, "{o} for {expected}");
            assert!((f64::from(*part) - expected).abs() < 2e-5, "{part} for {expected}");
        }
    }
}

#[test]
fn scores_of_chunks_make_a_tensor_of_layers() {
    const SINK: u32 = 4;
    const N: usize = 90;
    for ctx in contexts() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for denominator in Denominator::ALL {
            // One layer's heads 1 and 2 of four, among two layers.
            let mut cache = filled(&mut rng, KvElement::F32, SINK as usize + N);
            append(&mut rng, &mut cache, TOKENS);
            let q = numbers(&mut rng, TOKENS * HEADS * GROUP * DIM);
            let lse = (denominator == Denominator::Full).then(|| attend(&ctx, &cache, &q).1);
            let device = DeviceCache::upload(&ctx, &cache).unwrap();
            let (query, map) = (ctx.upload(&q).unwrap(), mapped(&ctx, &cache));
            let score = ctx.upload(&[-7.0f32; 2 * 4 * N]).unwrap();
            for chunk in [0..64, 64..N] {
                let rows = chunk.len() as u32;
                let spans = KeySpans { sink: SINK, first: SINK + chunk.start as u32, rows };
                let place = ScorePlace {
                    layers: 2,
                    layer: 1,
                    first_head: 1,
                    position: chunk.start,
                    ..ScorePlace::of_layer(4, N)
                };
                let spec = MaxAttention::new(
                    queries(&cache, TOKENS),
                    cache.layout(),
                    map.map(),
                    (spans, denominator),
                    place,
                )
                .unwrap();
                let plan = max_attention::plan(&ctx, &spec, &Knobs::DEFAULT).unwrap();
                let scratch = ctx.alloc::<u8>(plan.scratch_bytes() as usize + 256).unwrap();
                let rows = KeyRows::of(&device);
                let bound =
                    plan.bind(&query, &rows, &map, lse.as_ref(), &score, Some(&scratch)).unwrap();
                ctx.submit(|pass| bound.record(pass, &map, cache.layout())).unwrap();
            }
            let found = ctx.block_on(ctx.read::<f32>(&score)).unwrap();
            let (own, others): (Vec<_>, Vec<_>) =
                found.iter().enumerate().partition(|(at, _)| (5 * N..7 * N).contains(at));
            assert!(others.iter().all(|(_, score)| **score == -7.0));
            let own: Vec<f32> = own.into_iter().map(|(_, score)| *score).collect();
            let expected = expected(&cache, &q, SINK, N, denominator);
            match denominator {
                Denominator::None => {
                    for (found, expected) in own.iter().zip(&expected) {
                        assert!((f64::from(*found) - expected).abs() < 1e-5);
                    }
                }
                _ => close(&own, &expected, 1e-5),
            }
        }
    }
}

/// `[heads, n]`, in the same chunks.
fn expected(cache: &KvCache, q: &[f32], sink: u32, n: usize, denominator: Denominator) -> Vec<f64> {
    let mut all = vec![0.0; HEADS * n];
    for chunk in [0..64, 64..n] {
        let rows = sink + chunk.start as u32..sink + chunk.end as u32;
        let new = cache.layout().len(0) - TOKENS as u32..cache.layout().len(0);
        let problem = ScoreProblem {
            q,
            q_len: TOKENS,
            query_heads: HEADS * GROUP,
            sink,
            chunk: rows,
            new,
            denominator,
            lse: None,
            logits: Logits::scaled(0.125),
        };
        let scores = reference(&problem, cache).unwrap();
        for (head, scores) in scores.chunks(chunk.len()).enumerate() {
            all[head * n + chunk.start..head * n + chunk.end].copy_from_slice(scores);
        }
    }
    all
}

#[test]
fn views_that_do_not_fit_are_refused() {
    for ctx in contexts() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut cache = filled(&mut rng, KvElement::Int8, 40);
        append(&mut rng, &mut cache, TOKENS);
        let device = DeviceCache::upload(&ctx, &cache).unwrap();
        let map = mapped(&ctx, &cache);
        let queries = queries(&cache, TOKENS);
        let rows = KeyRows::of(&device);
        let q = ctx.alloc::<f32>(TOKENS * HEADS * GROUP * DIM).unwrap();
        let lse = ctx.alloc::<f32>(TOKENS * HEADS * GROUP).unwrap();
        let score = ctx.alloc::<f32>(HEADS * 40).unwrap();
        let knobs = Knobs::DEFAULT;
        let shape = |result: fewbytes_wgpu::Result<_>| {
            let error: Error = result.map(|_: BoundByMap| ()).unwrap_err();
            assert!(matches!(error, Error::Shape { .. }), "{error}");
        };

        let plan = prefill::plan(&ctx, queries, cache.layout(), map.map(), &knobs).unwrap();
        let o = ctx.alloc::<f32>(TOKENS * HEADS * GROUP * DIM).unwrap();
        plan.bind(&q, &rows, &map, &o, Some(&lse)).unwrap();
        shape(plan.bind(&q, &rows, &map, &o, None));
        shape(plan.bind(&lse, &rows, &map, &o, Some(&lse)));
        // Starts of a window would be among the words of this one.
        let starts = vec![0; TOKENS * HEADS];
        let other = RowMap::new(cache.layout(), &starts).unwrap();
        let other = DeviceRowMap::upload(&ctx, other).unwrap();
        shape(plan.bind(&q, &rows, &other, &o, Some(&lse)));
        shape(plan.bind(&q, &KeyRows { values: None, ..rows }, &map, &o, Some(&lse)));
        shape(plan.bind(&q, &KeyRows { value_params: None, ..rows }, &map, &o, Some(&lse)));
        shape(plan.bind(&q, &KeyRows { key_params: None, ..rows }, &map, &o, Some(&lse)));

        let spans = KeySpans { sink: 0, first: 0, rows: 40 };
        let spec = ScoreLse::new(queries, cache.layout(), map.map(), spans).unwrap();
        let plan = score_lse::plan(&ctx, &spec, &knobs).unwrap();
        plan.bind(&q, &rows, &map, &lse).unwrap();
        shape(plan.bind(&q, &rows, &map, &q));

        let place = ScorePlace::of_layer(HEADS, 40);
        let of = |denominator| {
            ScoreMax::new(queries, cache.layout(), map.map(), (spans, denominator), place).unwrap()
        };
        let plan = score_max::plan(&ctx, &of(Denominator::Full), &knobs).unwrap();
        plan.bind(&q, &rows, &map, Some(&lse), &score, None).unwrap();
        shape(plan.bind(&q, &rows, &map, None, &score, None));
        shape(plan.bind(&q, &rows, &map, Some(&lse), &lse, None));
        let subset = MaxAttention(of(Denominator::Subset));
        let plan = max_attention::plan(&ctx, &subset, &knobs).unwrap();
        shape(plan.bind(&q, &rows, &map, Some(&lse), &score, None));
        // Sums need a place.
        shape(plan.bind(&q, &rows, &map, None, &score, None));
    }
}

#[test]
fn a_map_that_is_out_of_date_is_refused() {
    for ctx in contexts() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let mut cache = filled(&mut rng, KvElement::F16, 40);
        append(&mut rng, &mut cache, TOKENS);
        let device = DeviceCache::upload(&ctx, &cache).unwrap();
        let (mut map, rows) = (mapped(&ctx, &cache), KeyRows::of(&device));
        let (queries, knobs) = (queries(&cache, TOKENS), Knobs::DEFAULT);
        let q = ctx.alloc::<f32>(TOKENS * HEADS * GROUP * DIM).unwrap();
        let o = ctx.alloc::<f32>(TOKENS * HEADS * GROUP * DIM).unwrap();
        let lse = ctx.alloc::<f32>(TOKENS * HEADS * GROUP).unwrap();
        let score = ctx.alloc::<f32>(HEADS * 40).unwrap();
        let spans = KeySpans { sink: 0, first: 0, rows: 40 };
        let (layout, place) = (cache.layout(), ScorePlace::of_layer(HEADS, 40));
        let of = |denominator| {
            ScoreMax::new(queries, layout, map.map(), (spans, denominator), place).unwrap()
        };

        let attention = prefill::plan(&ctx, queries, layout, map.map(), &knobs).unwrap();
        let sums = ScoreLse::new(queries, layout, map.map(), spans).unwrap();
        let sums = score_lse::plan(&ctx, &sums, &knobs).unwrap();
        let given = score_max::plan(&ctx, &of(Denominator::Full), &knobs).unwrap();
        let both = MaxAttention(of(Denominator::Subset));
        let both = max_attention::plan(&ctx, &both, &knobs).unwrap();
        let bytes = given.scratch_bytes().max(both.scratch_bytes());
        let scratch = ctx.alloc::<u8>(bytes as usize + 256).unwrap();
        let scratch = Some(&scratch);
        let all = [
            attention.bind(&q, &rows, &map, &o, Some(&lse)).unwrap(),
            sums.bind(&q, &rows, &map, &lse).unwrap(),
            given.bind(&q, &rows, &map, Some(&lse), &score, scratch).unwrap(),
            both.bind(&q, &rows, &map, None, &score, scratch).unwrap(),
        ];
        let refused = |map: &DeviceRowMap, cache: &KvCache, why: &str| {
            for bound in &all {
                let error = ctx.submit(|pass| bound.record(pass, map, cache.layout())).unwrap_err();
                assert!(matches!(error, Error::Shape { .. }), "{error}");
                assert!(error.to_string().contains(why), "{error}");
            }
        };
        let good = |map: &DeviceRowMap, cache: &KvCache| {
            let record = |pass: &mut wgpu::ComputePass<'_>| {
                all.iter().try_for_each(|bound| bound.record(pass, map, cache.layout()))
            };
            ctx.submit(record).unwrap();
        };
        good(&map, &cache);
        append(&mut rng, &mut cache, 1);
        refused(&map, &cache, "stale row map");
        refused(&mapped(&ctx, &cache), &cache, "the one that was bound");
        map.update(&ctx, cache.layout(), &[]).unwrap();
        good(&map, &cache);
        cache.truncate(cache.layout().appended() - 1).unwrap();
        refused(&map, &cache, "stale row map");
        map.update(&ctx, cache.layout(), &[]).unwrap();
        good(&map, &cache);
        // The words on the device are those of the map.
        let words = ctx.block_on(ctx.read::<u32>(map.words())).unwrap();
        assert_eq!(words, map.map().words());
    }
}
