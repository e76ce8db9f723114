//! Whole steps of sparse attention on every adapter, over caches that grow: what is listed and what comes
//! out is that of the definition.

use crate::contexts;
use fewbytes::attention::reference::Logits;
use fewbytes::attention::sparse::attend::{HeadSlices, Outcome, SparseQueries, attend};
use fewbytes::attention::sparse::sorted::KeyIndex;
use fewbytes::attention::sparse::{Amount, Lists, Mode, Selection, Share, SparseStep, Tail};
use fewbytes::attention::{
    CacheShape, DecodeQueries, HeadData, KvCache, KvElement, Layout, RowMap,
};
use fewbytes::{Error, Result};
use fewbytes_wgpu::Context;
use fewbytes_wgpu::ops::sparse::{
    DeviceIndex, IndexOptions, SparseAttention, SparseOptions, Update,
};
use fewbytes_wgpu::ops::{DeviceCache, DeviceRowMap};
use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;

const DIM: usize = 64;
const GROUP: usize = 3;
const TAIL: u32 = 64;

fn numbers(rng: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// A cache of ragged heads with all rows that it will ever have, and how many were there at first.
fn cache(element: KvElement, kept: &[u32], appended: u32, page_rows: u32) -> KvCache {
    let mut rng = ChaCha8Rng::seed_from_u64(u64::from(appended) + kept.len() as u64);
    let shape = CacheShape::new(kept.len(), DIM, element).unwrap();
    let layout = match page_rows {
        0 => Layout::ragged(shape, kept, appended, 5000).unwrap(),
        rows => {
            let pages = |kept: &u32| (kept + appended).div_ceil(rows) + 1;
            let pages = kept.iter().map(pages).sum();
            Layout::paged(shape, kept, rows, pages, 5000).unwrap()
        }
    };
    let mut cache = KvCache::new(layout).unwrap();
    let (rows, numbers_of) =
        (cache.layout().rows() as usize, |rng: &mut _, rows: usize| numbers(rng, rows * DIM));
    let tensor = |what, rng: &mut ChaCha8Rng| {
        fewbytes::attention::KvTensor::encode(shape, what, &numbers_of(rng, rows)).unwrap()
    };
    let (keys, values) = (tensor("keys", &mut rng), tensor("values", &mut rng));
    cache = KvCache::from_parts(cache.layout().clone(), keys, values, None).unwrap();
    let new = appended as usize * kept.len() * DIM;
    let (keys, values) = (numbers(&mut rng, new), numbers(&mut rng, new));
    cache.append(&keys, &values).unwrap();
    cache
}

/// How steps attend.
#[derive(Clone, Copy)]
struct Steps {
    mode: Mode,
    share: Share,
    tokens: usize,
    softcap: Option<f32>,
}

/// What the definition gives over the first `appended` new rows, of which the index covers `covered`.
fn expected(steps: &Steps, whole: &KvCache, appended: u32, covered: &[u32], q: &[f32]) -> Outcome {
    let mut cache = whole.clone();
    cache.truncate(appended).unwrap();
    let heads = covered.len();
    let data: Vec<HeadData> = (0..heads).map(|head| cache.head(head).unwrap()).collect();
    let slices: Vec<HeadSlices<'_>> = data.iter().map(HeadSlices::from).collect();
    let index = KeyIndex::from_cache(&cache, covered, 0).unwrap();
    let lists = Lists {
        tokens: steps.tokens as u32,
        heads: heads as u32,
        group: GROUP as u32,
        share: steps.share,
        capacity: 4,
        sinks: 4,
        causal: true,
    };
    let scale = f64::from((DIM as f32).sqrt().recip());
    let logits = Logits { scale, softcap: steps.softcap.map(f64::from) };
    attend(&SparseQueries { q, lists, logits, mode: steps.mode }, &index, &slices).unwrap()
}

fn close(found: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len());
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let off = (f64::from(*found) - expected).abs();
        assert!(off <= tolerance, "{what} {at}: {found} instead of {expected}");
    }
}

/// Steps behind more and more rows.
fn run(ctx: &Context, whole: &KvCache, index: &IndexOptions, steps: &Steps, at: &[u32]) {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut device = DeviceCache::upload(ctx, whole).unwrap();
    // Pages that were taken back may not come again, so their rows are there from the start.
    let grows = device.page_table().is_none();
    if grows {
        device.truncate(ctx, 0).unwrap();
    }
    let at = if grows { at } else { &at[at.len() - 1..] };
    let shape = *whole.shape();
    let heads = shape.kv_heads();
    let mut map = DeviceRowMap::upload(ctx, RowMap::new(device.layout(), &[]).unwrap()).unwrap();
    let mut index = DeviceIndex::new(ctx, &device, &map, index).unwrap();
    let queries = DecodeQueries {
        q_len: steps.tokens,
        lse: true,
        softcap: steps.softcap,
        ..DecodeQueries::new(&shape, GROUP)
    };
    let options =
        SparseOptions { share: steps.share, workgroups: 12, ..SparseOptions::new(steps.mode) };
    let attention =
        SparseAttention::new(ctx, &device, &map, Some(&index), queries, &options).unwrap();
    index.set_budget(ctx, attention.budget()).unwrap();
    let q_len = steps.tokens * heads * GROUP * DIM;
    let (q, o) = (ctx.alloc::<f32>(q_len).unwrap(), ctx.alloc::<f32>(q_len).unwrap());
    let lse = ctx.alloc::<f32>(q_len / DIM).unwrap();
    let bound = attention.bind(&q, &device, &map, Some(&index), &o, Some(&lse)).unwrap();
    let mut updates = Vec::new();
    for &appended in at {
        let new = appended - device.layout().appended();
        if new > 0 {
            device.append(ctx, new, 0).unwrap();
        }
        map.update(ctx, device.layout(), &[]).unwrap();
        let update = index.update(ctx, device.layout(), steps.tokens).unwrap();
        updates.push(update);
        let asked: Vec<f32> = numbers(&mut rng, q_len).iter().map(|q| 4.0 * q).collect();
        ctx.write(&q, &asked).unwrap();
        ctx.submit(|pass| {
            index.record(pass, update, &map, device.layout())?;
            bound.record(pass, &map, Some(&index), device.layout())
        })
        .unwrap();
        let covered: Vec<u32> = index.map().heads().iter().map(|head| head.rows).collect();
        let expected = expected(steps, whole, appended, &covered, &asked);
        let report = ctx.block_on(attention.report(ctx)).unwrap();
        let what = format!("{:?} at {appended} on {}", steps.mode, ctx.describe());
        for (list, (found, expected)) in report.iter().zip(&expected.lists).enumerate() {
            let found = (found.listed, found.always, found.fallback, found.left_out);
            let expected = (expected.rows.len() as u32, expected.always, expected.fallback, 0);
            assert_eq!(found, expected, "list {list} of {what}");
        }
        let found = ctx.block_on(ctx.read::<f32>(&o)).unwrap();
        close(&found, &expected.o, 5e-5, &format!("o of {what}"));
        let found = ctx.block_on(ctx.read::<f32>(&lse)).unwrap();
        close(&found, &expected.lse, 5e-4, &format!("lse of {what}"));
    }
    assert_eq!(updates[0], Update::Build);
    let both = updates.contains(&Update::Grow) && updates.contains(&Update::None);
    assert!(both || !grows, "{updates:?}");
}

/// How far rows are appended: some, fewer than the tail has room for, more, one step, many at once.
const AT: [u32; 5] = [3, 20, 90, 91, 300];

#[test]
fn components_find_what_the_definition_finds() {
    for ctx in contexts() {
        for (r, tail, share, element, page_rows) in [
            (16, Tail::Mean, Share::Group, KvElement::F16, 0),
            (64, Tail::None, Share::Query, KvElement::Int8, 16),
            (5, Tail::Mean, Share::Query, KvElement::F32, 0),
        ] {
            let whole = cache(element, &[400, 0, 129], 300, page_rows);
            let k = Amount::Fraction(1.0 / 8.0);
            let mode = Mode { selection: Selection::ComponentTopR { r, k }, tail };
            let steps = Steps { mode, share, tokens: 1, softcap: None };
            let options = IndexOptions { tail: TAIL, ..IndexOptions::columns() };
            run(&ctx, &whole, &options, &steps, &AT);
        }
    }
}

#[test]
fn greedy_searches_find_what_the_definition_finds() {
    for ctx in contexts() {
        for (mode, share, tokens) in [
            (Mode::conservative(), Share::Query, 1),
            (Mode::balanced(), Share::Group, 2),
            (
                Mode::new(Selection::Greedy { steps: Amount::Count(300), keep: 0.0, exact: true }),
                Share::Group,
                1,
            ),
        ] {
            let whole = cache(KvElement::F16, &[400, 0, 129], 300, 0);
            let steps = Steps { mode, share, tokens, softcap: (tokens == 2).then_some(20.0) };
            let options = IndexOptions { tail: TAIL, ..IndexOptions::sorted() };
            run(&ctx, &whole, &options, &steps, &AT);
        }
    }
}

#[test]
fn exact_top_k_needs_no_index() {
    for ctx in contexts() {
        let whole = cache(KvElement::Bf16, &[400, 0, 129], 30, 0);
        let selection = Selection::TopK { k: Amount::Count(50) };
        let (mode, share) = (Mode::new(selection), Share::Query);
        let steps = Steps { mode, share, tokens: 2, softcap: None };
        let device = DeviceCache::upload(&ctx, &whole).unwrap();
        let map = RowMap::new(device.layout(), &[]).unwrap();
        let map = DeviceRowMap::upload(&ctx, map).unwrap();
        let queries = DecodeQueries { q_len: 2, ..DecodeQueries::new(whole.shape(), GROUP) };
        let options = SparseOptions::new(mode);
        let attention = SparseAttention::new(&ctx, &device, &map, None, queries, &options).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let asked = numbers(&mut rng, 2 * 3 * GROUP * DIM);
        let (q, o) = (ctx.upload(&asked).unwrap(), ctx.alloc::<f32>(asked.len()).unwrap());
        let bound = attention.bind(&q, &device, &map, None, &o, None).unwrap();
        ctx.submit(|pass| bound.record(pass, &map, None, device.layout())).unwrap();
        // Without an index sinks are found like other rows.
        let mut expected_steps = expected(&steps, &whole, 30, &[0; 3], &asked);
        let exact = exact_top(&whole, &asked, 50);
        expected_steps.o = exact;
        let found = ctx.block_on(ctx.read::<f32>(&o)).unwrap();
        close(&found, &expected_steps.o, 5e-5, "o");
    }
}

/// Attention of two tokens to the rows with the largest logits, by sorting all.
fn exact_top(cache: &KvCache, q: &[f32], k: usize) -> Vec<f64> {
    let scale = f64::from((DIM as f32).sqrt().recip());
    let mut all = Vec::new();
    for (row, q) in q.chunks(DIM).enumerate() {
        let (token, head) = (row / (3 * GROUP), row / GROUP % 3);
        let data = cache.head(head).unwrap();
        let seen = cache.layout().len(head) as usize + token - 1;
        let mut rows: Vec<(f64, usize)> = (0..seen)
            .map(|at| {
                let key = &data.keys[at * DIM..][..DIM];
                let dot: f64 = q.iter().zip(key).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum();
                (scale * dot, at)
            })
            .collect();
        rows.sort_by(|a, b| b.0.total_cmp(&a.0));
        rows.truncate(k);
        let top = rows.first().map_or(0.0, |row| row.0);
        let weights: Vec<f64> = rows.iter().map(|row| (row.0 - top).exp()).collect();
        let sum: f64 = weights.iter().sum();
        for col in 0..DIM {
            let values = rows.iter().map(|row| f64::from(data.values[row.1 * DIM + col]));
            all.push(values.zip(&weights).map(|(v, w)| v * w).sum::<f64>() / sum);
        }
    }
    all
}

#[test]
fn what_cannot_be_is_refused() {
    let ctx = contexts().remove(0);
    let whole = cache(KvElement::F16, &[200, 100], 40, 0);
    let mut device = DeviceCache::upload(&ctx, &whole).unwrap();
    let mut map = DeviceRowMap::upload(&ctx, RowMap::new(device.layout(), &[]).unwrap()).unwrap();
    let mut index = DeviceIndex::new(&ctx, &device, &map, &IndexOptions::columns()).unwrap();
    let queries = DecodeQueries::new(whole.shape(), GROUP);
    let plan = |mode, index: Option<&DeviceIndex>, map: &DeviceRowMap| -> Result<SparseAttention> {
        SparseAttention::new(&ctx, &device, map, index, queries, &SparseOptions::new(mode))
    };
    let refused = |found: Result<SparseAttention>| found.err().unwrap().to_string();
    let k = Amount::Count(10);
    let components = |r| Mode::new(Selection::ComponentTopR { r, k });
    assert!(refused(plan(components(0), Some(&index), &map)).contains("components"));
    assert!(refused(plan(components(65), Some(&index), &map)).contains("components"));
    assert!(refused(plan(components(8), None, &map)).contains("index"));
    let approximate = Mode::new(Selection::TopKApprox { k, steps: k });
    assert!(refused(plan(approximate, Some(&index), &map)).contains("greedy search's candidates"));
    let tail = Mode { tail: Tail::Mean, ..Mode::new(Selection::TopK { k }) };
    assert!(refused(plan(tail, None, &map)).contains("rest of the rows"));
    // A greedy search of an index without sorted columns.
    let greedy = plan(Mode::conservative(), Some(&index), &map).unwrap();
    let q = ctx.alloc::<f32>(2 * GROUP * DIM).unwrap();
    let o = ctx.alloc::<f32>(2 * GROUP * DIM).unwrap();
    assert!(greedy.bind(&q, &device, &map, Some(&index), &o, None).is_err());
    // A map that was not brought up to date, and an index of rows that are gone.
    let attention = plan(components(8), Some(&index), &map).unwrap();
    let bound = attention.bind(&q, &device, &map, Some(&index), &o, None).unwrap();
    // Lists that were to have room for all rows, and have not.
    let spec = *attention.spec();
    let lists = Lists { capacity: 100, ..spec.lists };
    let small = SparseAttention::of(&ctx, SparseStep { rows: 100, lists, ..spec }).unwrap();
    let small = small.bind(&q, &device, &map, Some(&index), &o, None).unwrap();
    let error =
        ctx.submit(|pass| small.record(pass, &map, Some(&index), device.layout())).unwrap_err();
    assert!(error.to_string().contains("rows of head 0 of a step"), "{error}");
    let update = index.update(&ctx, device.layout(), 1).unwrap();
    assert_eq!(update, Update::Build);
    device.truncate(&ctx, 10).unwrap();
    let record = |map: &DeviceRowMap, index: &DeviceIndex, device: &DeviceCache| {
        ctx.submit(|pass| bound.record(pass, map, Some(index), device.layout())).unwrap_err()
    };
    let error = record(&map, &index, &device);
    assert!(error.to_string().contains("stale row map"), "{error}");
    map.update(&ctx, device.layout(), &[]).unwrap();
    let error = record(&map, &index, &device);
    assert!(matches!(error, Error::Range { .. }), "{error}");
    assert!(index.update(&ctx, device.layout(), 1).is_err());
    index.clear();
    assert_eq!(index.update(&ctx, device.layout(), 1).unwrap(), Update::Build);
    assert!(index.memory_bytes() > 0);
}

/// Old rows by components, recent ones all: parts that know nothing of each other.
#[test]
fn outputs_merge_with_attention_to_a_recent_window() {
    use fewbytes::attention::reference::{Queries, State, decode_attention};
    use fewbytes::attention::{DecodeMerge, Planner, Schedule};
    use fewbytes_wgpu::ops::decode::{self, DecodePlan, Rows};
    use fewbytes_wgpu::ops::decode_merge::{self, Source};
    // As many query rows as make sums of both parts begin where bindings may.
    const HEADS: usize = 4;
    const GROUP: usize = 16;
    for ctx in contexts() {
        let [old, recent] = [500, 70].map(|rows| cache(KvElement::F16, &[rows; HEADS], 1, 0));
        let shape = *old.shape();
        let queries = DecodeQueries { lse: true, ..DecodeQueries::new(&shape, GROUP) };
        let elements = HEADS * GROUP * DIM;
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let asked: Vec<f32> = numbers(&mut rng, elements).iter().map(|q| 3.0 * q).collect();
        let q = ctx.upload(&asked).unwrap();
        let (o, lse) = (
            ctx.alloc::<f32>(2 * elements).unwrap(),
            ctx.alloc::<f32>(2 * elements / DIM).unwrap(),
        );
        let part = |part: usize| {
            let own = |each: usize| part * each..(part + 1) * each;
            (o.slice(own(elements)).unwrap(), lse.slice(own(elements / DIM)).unwrap())
        };

        let device = DeviceCache::upload(&ctx, &old).unwrap();
        let map = RowMap::new(device.layout(), &[]).unwrap();
        let map = DeviceRowMap::upload(&ctx, map).unwrap();
        let mut index = DeviceIndex::new(&ctx, &device, &map, &IndexOptions::columns()).unwrap();
        let selection = Selection::ComponentTopR { r: 24, k: Amount::Count(60) };
        let mode = Mode { selection, tail: Tail::Mean };
        let options = SparseOptions { causal: false, ..SparseOptions::new(mode) };
        let sparse =
            SparseAttention::new(&ctx, &device, &map, Some(&index), queries, &options).unwrap();
        index.set_budget(&ctx, sparse.budget()).unwrap();
        let update = index.update(&ctx, device.layout(), 1).unwrap();
        let (own, sums) = part(0);
        let bound = sparse.bind(&q, &device, &map, Some(&index), &own, Some(&sums)).unwrap();
        ctx.submit(|pass| {
            index.record(pass, update, &map, device.layout())?;
            bound.record(pass, &map, Some(&index), device.layout())
        })
        .unwrap();

        let window = DeviceCache::upload(&ctx, &recent).unwrap();
        let plan = Planner::Stream.plan_layout(window.layout(), 4).unwrap();
        let schedule = Schedule::new(&plan, window.layout(), &[]).unwrap();
        let schedule = DecodePlan::upload(&ctx, schedule).unwrap();
        let layout = window.layout();
        let dense = decode::plan(&ctx, &schedule, layout, queries, &fewbytes::Knobs::DEFAULT);
        let dense = dense.unwrap();
        let scratch = ctx.alloc::<u8>(dense.scratch_bytes() as usize).unwrap();
        let (own, sums) = part(1);
        let rows = Rows::of(&window);
        let bound = dense.bind(&schedule, &q, &rows, &own, Some(&sums), Some(&scratch)).unwrap();
        ctx.submit(|pass| bound.record(pass, &schedule, window.layout())).unwrap();

        let merge = decode_merge::plan(&ctx, &DecodeMerge::of_given(shape, queries, 2)).unwrap();
        let whole = ctx.alloc::<f32>(elements).unwrap();
        let sums = ctx.alloc::<f32>(elements / DIM).unwrap();
        let given = Source::Given { o: &o, lse: &lse };
        let bound = merge.bind(&given, &whole, Some(&sums)).unwrap();
        ctx.submit(|pass| bound.record(pass)).unwrap();

        let data: Vec<HeadData> = (0..HEADS).map(|head| old.head(head).unwrap()).collect();
        let slices: Vec<HeadSlices<'_>> = data.iter().map(HeadSlices::from).collect();
        let covered: Vec<u32> = index.map().heads().iter().map(|head| head.rows).collect();
        let host = KeyIndex::from_cache(&old, &covered, 0).unwrap();
        let logits = Logits::scaled(f64::from((DIM as f32).sqrt().recip()));
        let asking = SparseQueries { q: &asked, lists: sparse.spec().lists, logits, mode };
        let far = attend(&asking, &host, &slices).unwrap();
        let asking =
            Queries { q: &asked, q_len: 1, query_heads: HEADS * GROUP, logits, window: None };
        let near = decode_attention(&asking, &recent).unwrap();
        let (mut of_o, mut of_lse) = (Vec::new(), Vec::new());
        for row in 0..HEADS * GROUP {
            let state = |o: &[f64], lse: f64| State {
                m: lse,
                l: 1.0,
                o: o[row * DIM..(row + 1) * DIM].to_vec(),
            };
            let states = [state(&far.o, far.lse[row]), state(&near.o, near.lse[row])];
            let (o, lse) = State::merge(&states, DIM).finish();
            of_o.extend(o);
            of_lse.push(lse);
        }
        let found = ctx.block_on(ctx.read::<f32>(&whole)).unwrap();
        close(&found, &of_o, 5e-5, "merged o");
        close(&ctx.block_on(ctx.read::<f32>(&sums)).unwrap(), &of_lse, 5e-4, "merged lse");
    }
}
