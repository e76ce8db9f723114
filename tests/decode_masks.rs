//! Masks of pairs that stay, changed on one bound plan, on every adapter: outputs are those of the cache
//! that an eviction would have left.

use fewbytes::attention::reference::{Logits, Queries, decode_attention};
use fewbytes::attention::{
    CacheShape, DecodeQueries, KeepLists, KeepMask, KvCache, KvElement, Layout, Planner, Schedule,
};
use fewbytes::{Error, Knobs};
use fewbytes_wgpu::ops::DeviceCache;
use fewbytes_wgpu::ops::decode::{self, DecodePlan, Rows};
use fewbytes_wgpu::{Context, Features, adapters};
use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;

const DIM: usize = 64;
const GROUP: usize = 3;
const HEADS: usize = 2;
const LAYERS: usize = 2;
const PREFIX: u32 = 5;
const N: u32 = 70;

fn contexts() -> Vec<Context> {
    let found = pollster::block_on(adapters());
    assert!(!found.is_empty(), "no adapter: run `cargo xtask test`, which installs one");
    let open = |adapter| pollster::block_on(Context::open_on(adapter, Features::Full)).unwrap();
    found.iter().map(open).collect()
}

fn numbers(rng: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn append(rng: &mut ChaCha8Rng, cache: &mut KvCache, tokens: u32) {
    let count = tokens as usize * HEADS * DIM;
    let (keys, values) = (numbers(rng, count), numbers(rng, count));
    cache.append(&keys, &values).unwrap();
}

/// About one pair of so many.
fn mask(rng: &mut ChaCha8Rng, of: u32) -> KeepMask {
    let row_words = N.div_ceil(32) as usize;
    let mut words = vec![0u32; LAYERS * HEADS * row_words];
    for row in words.chunks_mut(row_words) {
        for p in (0..N).filter(|_| rng.random_range(0..of) == 0) {
            row[p as usize / 32] |= 1 << (p % 32);
        }
    }
    KeepMask::from_words(LAYERS, HEADS, N, words).unwrap()
}

/// Attention of the newest token to what a mask leaves.
fn expected(cache: &KvCache, mask: &KeepMask, layer: usize, q: &[f32]) -> Vec<f64> {
    let lists: Vec<Vec<u32>> = (0..HEADS)
        .map(|head| {
            let kept = mask.positions(layer, head).map(|p| PREFIX + p);
            (0..PREFIX).chain(kept).chain(PREFIX + N..cache.layout().len(head)).collect()
        })
        .collect();
    let lists = KeepLists::new(&lists, &cache.layout().lengths()).unwrap();
    let left = cache.compact(&lists, 1).unwrap();
    let logits = Logits::scaled(0.125);
    let asked = Queries { q, q_len: 1, query_heads: GROUP * HEADS, logits, window: None };
    decode_attention(&asked, &left).unwrap().o
}

fn close(found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let off = (f64::from(*found) - expected).abs();
        assert!(off <= 2e-5 * expected.abs().max(1.0), "{at}: {found} for {expected}");
    }
}

#[test]
fn masks_change_on_one_bound_plan() {
    for ctx in contexts() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let shape = CacheShape::new(HEADS, DIM, KvElement::F16).unwrap();
        let mut cache = KvCache::new(Layout::plain(shape, 120).unwrap()).unwrap();
        append(&mut rng, &mut cache, PREFIX + N + 4);
        cache = cache.with_positions().unwrap();
        let device = DeviceCache::upload(&ctx, &cache).unwrap();
        let masks = [mask(&mut rng, 2), mask(&mut rng, 5), mask(&mut rng, 3)];
        let split = Planner::Stream.plan_layout(cache.layout(), 5).unwrap();
        let made = Schedule::new(&split, cache.layout(), &[]).unwrap();
        let made = made.with_mask(&masks[0], 0, PREFIX).unwrap();
        let mut schedule = DecodePlan::upload(&ctx, made).unwrap();
        let queries = DecodeQueries::new(&shape, GROUP);
        let plan = decode::plan(&ctx, &schedule, cache.layout(), queries, &Knobs::DEFAULT).unwrap();
        let scratch = ctx.alloc::<u8>(plan.scratch_bytes() as usize).unwrap();
        let host = numbers(&mut rng, GROUP * HEADS * DIM);
        let (q, o) = (ctx.upload(&host).unwrap(), ctx.alloc::<f32>(host.len()).unwrap());
        let rows = Rows::of(&device);
        let bound = plan.bind(&schedule, &q, &rows, &o, None, Some(&scratch)).unwrap();
        let attended = |schedule: &DecodePlan| {
            ctx.submit(|pass| bound.record(pass, schedule, cache.layout())).unwrap();
            ctx.block_on(ctx.read::<f32>(&o)).unwrap()
        };
        close(&attended(&schedule), &expected(&cache, &masks[0], 0, &host));
        for (mask, layer) in [(&masks[1], 1), (&masks[1], 0), (&masks[2], 1)] {
            schedule.set_mask(&ctx, mask, layer).unwrap();
            close(&attended(&schedule), &expected(&cache, mask, layer, &host));
            let words = ctx.block_on(ctx.read::<u32>(schedule.words())).unwrap();
            assert_eq!(words, schedule.schedule().words());
        }
        // Of words that are on the device: a layer's part of them.
        let words = ctx.upload(masks[0].words()).unwrap();
        let each = HEADS * masks[0].row_words();
        for layer in 0..LAYERS {
            let own = words.slice(layer * each..(layer + 1) * each).unwrap();
            schedule.copy_mask(&ctx, &own).unwrap();
            close(&attended(&schedule), &expected(&cache, &masks[0], layer, &host));
        }

        // What does not fit changes nothing.
        let before = ctx.block_on(ctx.read::<u32>(schedule.words())).unwrap();
        let heads = KeepMask::new(LAYERS, HEADS + 1, N).unwrap();
        let short = KeepMask::new(LAYERS, HEADS, N - 1).unwrap();
        for other in [heads, short] {
            let error = schedule.set_mask(&ctx, &other, 0).unwrap_err();
            assert!(matches!(error, Error::Shape { .. }), "{error}");
        }
        let error = schedule.set_mask(&ctx, &masks[1], LAYERS).unwrap_err();
        assert!(matches!(error, Error::Range { .. }), "{error}");
        let bits = ctx.alloc::<f32>(each).unwrap();
        for other in [&words, &bits] {
            let error = schedule.copy_mask(&ctx, other).unwrap_err();
            assert!(matches!(error, Error::Shape { .. }), "{error}");
        }
        assert_eq!(ctx.block_on(ctx.read::<u32>(schedule.words())).unwrap(), before);
    }
}

#[test]
fn a_schedule_without_a_mask_takes_none() {
    for ctx in contexts() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let shape = CacheShape::new(HEADS, DIM, KvElement::F16).unwrap();
        let mut cache = KvCache::new(Layout::plain(shape, 120).unwrap()).unwrap();
        append(&mut rng, &mut cache, PREFIX + N);
        let split = Planner::Stream.plan_layout(cache.layout(), 5).unwrap();
        let made = Schedule::new(&split, cache.layout(), &[]).unwrap();
        let mask = mask(&mut rng, 2);
        // One row more than there is.
        let error = made.clone().with_mask(&mask, 0, PREFIX + 1).unwrap_err();
        assert!(error.to_string().contains("rows of head 0 under a mask"), "{error}");
        let mut schedule = DecodePlan::upload(&ctx, made).unwrap();
        let error = schedule.set_mask(&ctx, &mask, 0).unwrap_err();
        assert!(matches!(error, Error::Shape { .. }), "{error}");
        let error = schedule.copy_mask(&ctx, &ctx.upload(mask.words()).unwrap()).unwrap_err();
        assert!(matches!(error, Error::Shape { .. }), "{error}");
    }
}
