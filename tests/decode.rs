//! Steps of decoding over one cache on every adapter: appended rows, a window that moves, schedules that
//! are out of date, and a cache cut in two and put together again.

use fewbytes::attention::reference::{Logits, Queries, decode_attention};
use fewbytes::attention::{
    CacheShape, DecodeMerge, DecodeQueries, KvCache, KvElement, Layout, Planner, Schedule,
};
use fewbytes::{Error, Knobs, Result};
use fewbytes_wgpu::measure;
use fewbytes_wgpu::ops::decode::{self, CalibrationOptions, DecodePlan, Rows};
use fewbytes_wgpu::ops::decode_merge::{self, Source};
use fewbytes_wgpu::{Context, Features, View, adapters};
use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::time::Duration;

const DIM: usize = 64;
const GROUP: usize = 3;
const HEADS: usize = 2;

fn contexts() -> Vec<Context> {
    let found = pollster::block_on(adapters());
    assert!(!found.is_empty(), "no adapter: run `cargo xtask test`, which installs one");
    let open = |adapter| pollster::block_on(Context::open_on(adapter, Features::Full)).unwrap();
    found.iter().map(open).collect()
}

fn numbers(rng: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn filled(rng: &mut ChaCha8Rng, element: KvElement, tokens: usize) -> KvCache {
    let shape = CacheShape::new(HEADS, DIM, element).unwrap();
    let mut cache = KvCache::new(Layout::plain(shape, 400).unwrap()).unwrap();
    append(rng, &mut cache, tokens);
    cache.with_positions().unwrap()
}

fn append(rng: &mut ChaCha8Rng, cache: &mut KvCache, tokens: usize) {
    let (keys, values) = (numbers(rng, tokens * HEADS * DIM), numbers(rng, tokens * HEADS * DIM));
    cache.append(&keys, &values).unwrap();
}

/// Rows of keys and values, and their parameters.
fn upload(ctx: &Context, cache: &KvCache) -> Vec<View> {
    let (keys, values) = (cache.keys(), cache.values());
    let parts = [keys.words(), values.words(), keys.params(), values.params()];
    parts.into_iter().filter(|words| !words.is_empty()).map(|w| ctx.upload(w).unwrap()).collect()
}

fn rows(views: &[View]) -> Rows<'_> {
    let params = if views.len() > 2 { Some([&views[2], &views[3]]) } else { None };
    Rows { keys: &views[0], values: &views[1], params }
}

fn queries(shape: &CacheShape, q_len: usize) -> DecodeQueries {
    DecodeQueries { q_len, lse: true, ..DecodeQueries::new(shape, GROUP) }
}

fn expected(cache: &KvCache, q: &[f32], q_len: usize, window: Option<u32>) -> (Vec<f64>, Vec<f64>) {
    let logits = Logits::scaled(0.125);
    let queries = Queries { q, q_len, query_heads: GROUP * HEADS, logits, window };
    let attended = decode_attention(&queries, cache).unwrap();
    (attended.o, attended.lse)
}

fn close(found: &[f32], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len());
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let off = (f64::from(*found) - expected).abs();
        assert!(off <= 2e-5 * expected.abs().max(1.0), "{what} {at}: {found} for {expected}");
    }
}

/// One step by a schedule that is up to date.
fn step(
    ctx: &Context,
    cache: &KvCache,
    schedule: &DecodePlan,
    q: &[f32],
    q_len: usize,
) -> Result<(Vec<f32>, Vec<f32>)> {
    let plan = decode::plan(
        ctx,
        schedule,
        cache.layout(),
        queries(cache.shape(), q_len),
        &Knobs::DEFAULT,
    )?;
    let (query, o) = (ctx.upload(q)?, ctx.alloc::<f32>(q.len())?);
    let lse = ctx.alloc::<f32>(q.len() / DIM)?;
    let scratch = ctx.alloc::<u8>(plan.scratch_bytes() as usize)?;
    let views = upload(ctx, cache);
    let bound = plan.bind(schedule, &query, &rows(&views), &o, Some(&lse), Some(&scratch))?;
    ctx.submit(|pass| bound.record(pass, schedule, cache.layout()))?;
    Ok((ctx.block_on(ctx.read(&o))?, ctx.block_on(ctx.read(&lse))?))
}

#[test]
fn schedules_follow_their_cache_from_step_to_step() {
    for ctx in contexts() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for (element, paged) in
            [(KvElement::F16, false), (KvElement::Int4, true), (KvElement::Int8, false)]
        {
            let mut cache = filled(&mut rng, element, 150);
            if paged {
                cache = cache.to_paged(16, 40).unwrap();
            }
            let split = Planner::Stream.plan_layout(cache.layout(), 5).unwrap();
            let first = Schedule::new(&split, cache.layout(), &[]).unwrap();
            let mut schedule = DecodePlan::upload(&ctx, first).unwrap();
            for tokens in [0, 1, 20, 3] {
                append(&mut rng, &mut cache, tokens);
                let q_len = tokens.clamp(1, 3);
                let q = numbers(&mut rng, q_len * GROUP * HEADS * DIM);
                if tokens > 0 {
                    let error = step(&ctx, &cache, &schedule, &q, q_len).unwrap_err();
                    assert!(error.to_string().contains("stale schedule"), "{error}");
                }
                schedule.update(&ctx, cache.layout(), &[]).unwrap();
                let (o, lse) = step(&ctx, &cache, &schedule, &q, q_len).unwrap();
                let (expected_o, expected_lse) = expected(&cache, &q, q_len, None);
                close(&o, &expected_o, "o");
                close(&lse, &expected_lse, "lse");
            }
            // Rows that the plan was made for are taken back.
            let planned = cache.layout().appended() - 24;
            cache.truncate(0).unwrap();
            assert_eq!(schedule.update(&ctx, cache.layout(), &[]).is_err(), planned > 0);
        }
    }
}

#[test]
fn a_window_moves_on_under_one_plan() {
    for ctx in contexts() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut cache = filled(&mut rng, KvElement::Bf16, 200);
        let (q_len, window) = (2u32, 70);
        let starts = |cache: &KvCache| {
            let of = |token| cache.window_starts(q_len - token, window).unwrap();
            (0..q_len).flat_map(of).collect::<Vec<u32>>()
        };
        let first = starts(&cache);
        let split = Planner::Chunked.plan_window(cache.layout(), &first[..HEADS], 6).unwrap();
        let made = Schedule::new(&split, cache.layout(), &first).unwrap();
        let mut schedule = DecodePlan::upload(&ctx, made).unwrap();
        for tokens in [2, 64, 100] {
            append(&mut rng, &mut cache, tokens);
            schedule.update(&ctx, cache.layout(), &starts(&cache)).unwrap();
            let q = numbers(&mut rng, 2 * GROUP * HEADS * DIM);
            let (o, lse) = step(&ctx, &cache, &schedule, &q, 2).unwrap();
            let (expected_o, expected_lse) = expected(&cache, &q, 2, Some(window));
            close(&o, &expected_o, "o");
            close(&lse, &expected_lse, "lse");
        }
    }
}

#[test]
fn a_prefix_and_what_follows_merge_to_the_whole() {
    for ctx in contexts() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let shape = CacheShape::new(HEADS, DIM, KvElement::F32).unwrap();
        let tokens = 120 * HEADS * DIM;
        let (keys, values) = (numbers(&mut rng, tokens), numbers(&mut rng, tokens));
        let part = |range: std::ops::Range<usize>| {
            let mut cache = KvCache::new(Layout::plain(shape, 200).unwrap()).unwrap();
            let own = range.start * HEADS * DIM..range.end * HEADS * DIM;
            cache.append(&keys[own.clone()], &values[own]).unwrap();
            cache
        };
        let q = numbers(&mut rng, GROUP * HEADS * DIM);
        let (mut o, mut lse) = (Vec::new(), Vec::new());
        // The middle part has no rows.
        for range in [0..90, 90..90, 90..120] {
            let cache = part(range);
            let split = Planner::Stream.plan_layout(cache.layout(), 3).unwrap();
            let schedule = Schedule::new(&split, cache.layout(), &[]).unwrap();
            let schedule = DecodePlan::upload(&ctx, schedule).unwrap();
            let (part_o, part_lse) = step(&ctx, &cache, &schedule, &q, 1).unwrap();
            o.extend(part_o);
            lse.extend(part_lse);
        }
        let spec = DecodeMerge::of_given(shape, queries(&shape, 1), 3);
        let plan = decode_merge::plan(&ctx, &spec).unwrap();
        let (given_o, given_lse) = (ctx.upload(&o).unwrap(), ctx.upload(&lse).unwrap());
        let source = Source::Given { o: &given_o, lse: &given_lse };
        let merged = ctx.alloc::<f32>(q.len()).unwrap();
        let sums = ctx.alloc::<f32>(GROUP * HEADS).unwrap();
        let bound = plan.bind(&source, &merged, Some(&sums)).unwrap();
        ctx.submit(|pass| bound.record(pass)).unwrap();
        let (whole_o, whole_lse) = expected(&part(0..120), &q, 1, None);
        close(&ctx.block_on(ctx.read(&merged)).unwrap(), &whole_o, "o");
        close(&ctx.block_on(ctx.read(&sums)).unwrap(), &whole_lse, "lse");
    }
}

#[test]
fn calibration_names_a_candidate_whatever_the_time() {
    // Times are short here and say little; that they say something is the bench's.
    let quick = measure::Options {
        min_pass: Duration::from_micros(200),
        max_dispatches: 4,
        samples: 2,
        warm_up: Duration::ZERO,
        settle_limit: Duration::from_millis(20),
        ..measure::Options::quick(measure::Order::Chain)
    };
    let options = CalibrationOptions { timing: quick, ..CalibrationOptions::default() };
    for ctx in contexts() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        for element in [KvElement::F16, KvElement::Int8] {
            let cache = filled(&mut rng, element, 300);
            let (asked, layout) = (queries(cache.shape(), 1), cache.layout());
            // The last two come to one plan: there are not so many pieces.
            let candidates = [2, 1, 7, 60_000, 65_535];
            let found =
                decode::calibrate_with(&ctx, &asked, layout, &candidates, &options).unwrap();
            let tried: Vec<u32> = found.trials.iter().map(|trial| trial.workgroups).collect();
            assert_eq!(tried, candidates);
            let best = found.trials.iter().find(|t| t.workgroups == found.workgroups).unwrap();
            for trial in &found.trials {
                let (one, other) = (&best.timing, &trial.timing);
                assert!(other.dispatch_ns.median > 0.0, "{trial:?}");
                let slower = other.dispatch_ns.median >= one.dispatch_ns.median;
                assert!(slower || (one.settled && !other.settled), "{found:?}");
            }
            assert_eq!(found.trials[3].timing, found.trials[4].timing);
            assert!(found.traffic.bytes() > u64::from(layout.rows()));
            // Whichever it is, outputs are those of the definition.
            let q = numbers(&mut rng, GROUP * HEADS * DIM);
            let (expected_o, _) = expected(&cache, &q, 1, None);
            for workgroups in candidates {
                let split = options.planner.plan_layout(layout, workgroups).unwrap();
                let schedule = Schedule::new(&split, layout, &[]).unwrap();
                let schedule = DecodePlan::upload(&ctx, schedule).unwrap();
                close(&step(&ctx, &cache, &schedule, &q, 1).unwrap().0, &expected_o, "o");
            }
            for (bad, shape) in [(&[][..], true), (&[2, 0], false), (&[70_000], false)] {
                let error = decode::calibrate_with(&ctx, &asked, layout, bad, &options);
                let error = error.unwrap_err();
                let named = match &error {
                    Error::Shape { .. } => shape,
                    Error::Range { .. } => !shape,
                    _ => false,
                };
                assert!(named, "{error}");
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    for ctx in contexts() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let cache = filled(&mut rng, KvElement::F16, 10);
        let split = Planner::Stream.plan_layout(cache.layout(), 2).unwrap();
        let schedule = Schedule::new(&split, cache.layout(), &[]).unwrap();
        let schedule = DecodePlan::upload(&ctx, schedule).unwrap();
        let planned = |queries| {
            decode::plan(&ctx, &schedule, cache.layout(), queries, &Knobs::DEFAULT).map(drop)
        };
        let good = queries(cache.shape(), 1);
        planned(good).unwrap();
        for bad in [
            DecodeQueries { group: 17, ..good },
            DecodeQueries { group: 0, ..good },
            DecodeQueries { q_len: 0, ..good },
            DecodeQueries { q_len: 6, ..good },
            DecodeQueries { scale: f32::NAN, ..good },
            DecodeQueries { softcap: Some(0.0), ..good },
        ] {
            assert!(matches!(planned(bad), Err(Error::Range { .. })), "{bad:?}");
        }
        let plan = decode::plan(&ctx, &schedule, cache.layout(), good, &Knobs::DEFAULT).unwrap();
        let views = upload(&ctx, &cache);
        let alloc = |len| ctx.alloc::<f32>(len).unwrap();
        let (q, o, lse) = (alloc(6 * DIM), alloc(6 * DIM), alloc(6));
        let scratch = ctx.alloc::<u8>(plan.scratch_bytes() as usize).unwrap();
        let bind = |rows: &Rows<'_>, q: &View, lse: Option<&View>| {
            plan.bind(&schedule, q, rows, &o, lse, Some(&scratch)).map(drop)
        };
        let right = rows(&views);
        bind(&right, &q, Some(&lse)).unwrap();
        let extra = Rows { params: Some([&views[0], &views[1]]), ..right };
        let short = views[0].slice(0..32).unwrap();
        for error in [
            bind(&right, &q, None),
            bind(&right, &lse, Some(&lse)),
            bind(&extra, &q, Some(&lse)),
            bind(&Rows { keys: &short, ..right }, &q, Some(&lse)),
        ] {
            assert!(matches!(error, Err(Error::Shape { .. })), "{error:?}");
        }
    }
}
