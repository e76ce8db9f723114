//! Caches on a real device: what is appended, taken back, evicted and laid out anew there is bit by bit
//! what the same does in host memory.

#[path = "../fixtures/device.rs"]
mod device;
mod edges;
mod eviction;
mod selection;

use device::open;
use fewbytes::Knobs;
use fewbytes::attention::append_kv::{Pairing, Rotary, rotary_angles};
use fewbytes::attention::{CacheShape, HEAD_DIMS, KvCache, KvElement, Layout};
use fewbytes::linear::Activation;
use fewbytes_wgpu::ops::{DeviceCache, append_kv};
use fewbytes_wgpu::{Context, Features};
use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;

const HEADS: usize = 3;

/// Numbers `[tokens, HEADS, head_dim]`.
fn numbers(seed: u64, tokens: usize, head_dim: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..tokens * HEADS * head_dim).map(|_| rng.random_range(-2.0..2.0)).collect()
}

fn shape(head_dim: usize, element: KvElement) -> CacheShape {
    CacheShape::new(HEADS, head_dim, element).unwrap()
}

/// One of each layout: room for 40 rows at least, or a reserve that is soon used up.
fn layouts(shape: CacheShape) -> [Layout; 3] {
    [
        Layout::plain(shape, 40).unwrap(),
        Layout::ragged(shape, &[0; HEADS], 7, 0).unwrap(),
        Layout::paged(shape, &[0; HEADS], 16, 9, 0).unwrap(),
    ]
}

/// A cache in both memories, empty.
struct Both {
    host: KvCache,
    device: DeviceCache,
    /// The plan of steps of one size, and its generation.
    plan: Option<(append_kv::Plan, u64)>,
}

impl Both {
    fn new(ctx: &Context, layout: Layout) -> Self {
        let device = DeviceCache::new(ctx, layout.clone(), true).unwrap();
        let host = KvCache::new(layout).unwrap().with_positions().unwrap();
        Self { host, device, plan: None }
    }

    /// Appends the same to both.
    fn append(&mut self, ctx: &Context, keys: &[f32], values: &[f32]) {
        let before = self.host.append(keys, values).unwrap();
        assert_eq!(step(ctx, &mut self.device, &mut self.plan, keys, values), before);
    }

    fn check(&self, ctx: &Context) {
        let found = ctx.block_on(self.device.read_back(ctx)).unwrap();
        assert_eq!(found.layout(), self.host.layout());
        for head in 0..HEADS {
            assert_eq!(found.head_positions(head), self.host.head_positions(head));
        }
        assert!(found == self.host, "{:?}", self.host.shape());
    }
}

/// One step on the device; the plan is made anew only where it has to be.
fn step(
    ctx: &Context,
    cache: &mut DeviceCache,
    plan: &mut Option<(append_kv::Plan, u64)>,
    keys: &[f32],
    values: &[f32],
) -> u32 {
    let token = cache.layout().shape().head_dim() * HEADS;
    let tokens = (keys.len() / token) as u32;
    let moved = cache.make_room(ctx, tokens).unwrap();
    let made = plan.take().filter(|(plan, generation)| {
        assert_eq!(moved, *generation != cache.generation());
        !moved && plan.spec().tokens == tokens
    });
    let (made, _) = made.unwrap_or_else(|| {
        let spec = cache.append_spec(tokens, Activation::F32, None);
        (append_kv::plan(ctx, &spec, &Knobs::DEFAULT).unwrap(), 0)
    });
    let (keys, values) = (ctx.upload(keys).unwrap(), ctx.upload(values).unwrap());
    let bound = made.bind(cache, &keys, &values, None).unwrap();
    let before = cache.append(ctx, tokens, 0).unwrap();
    ctx.submit(|pass| bound.record(pass)).unwrap();
    *plan = Some((made, cache.generation()));
    before
}

#[test]
fn one_by_one_is_as_in_a_block_and_as_in_host_memory() {
    let ctx = open(Features::Full);
    for (element, dim) in KvElement::ALL.into_iter().zip(HEAD_DIMS) {
        for layout in layouts(shape(dim, element)) {
            let (keys, values) = (numbers(1, 37, dim), numbers(2, 37, dim));
            let (mut single, mut block) =
                (Both::new(&ctx, layout.clone()), Both::new(&ctx, layout));
            let token = HEADS * dim;
            for (k, v) in keys.chunks(token).zip(values.chunks(token)) {
                single.append(&ctx, k, v);
            }
            single.check(&ctx);
            block.append(&ctx, &keys, &values);
            block.check(&ctx);
            for head in 0..HEADS {
                assert_eq!(single.host.head(head).unwrap(), block.host.head(head).unwrap());
            }
        }
    }
}

#[test]
fn truncation_gives_back_what_was() {
    let ctx = open(Features::Full);
    for layout in layouts(shape(80, KvElement::Int4)) {
        let mut both = Both::new(&ctx, layout);
        both.append(&ctx, &numbers(1, 20, 80), &numbers(2, 20, 80));
        let before = ctx.block_on(both.device.read_back(&ctx)).unwrap();
        both.append(&ctx, &numbers(3, 9, 80), &numbers(4, 9, 80));
        for cut in [20, 3] {
            both.host.truncate(cut).unwrap();
            both.device.truncate(&ctx, cut).unwrap();
            both.check(&ctx);
            let after = ctx.block_on(both.device.read_back(&ctx)).unwrap();
            for head in 0..HEADS {
                let rows = cut as usize * 80;
                assert_eq!(after.head(head).unwrap().keys, before.head(head).unwrap().keys[..rows]);
            }
        }
        // And goes on from there, in pages that were given back.
        both.append(&ctx, &numbers(5, 25, 80), &numbers(6, 25, 80));
        both.check(&ctx);
    }
}

#[test]
fn keys_turn_by_their_own_positions() {
    let ctx = open(Features::Full);
    let (dim, dims, first) = (64, 32, 130_000);
    let shape = shape(dim, KvElement::F32);
    // All but one of the rows were removed: positions are not rows.
    let layout = Layout::ragged(shape, &[1, 0, 1], 64, first).unwrap();
    let keys = numbers(7, 6, dim);
    for pairing in [Pairing::Interleaved, Pairing::HalfSplit] {
        let mut cache = DeviceCache::new(&ctx, layout.clone(), true).unwrap();
        let rotary = Rotary { dims, pairing, angle_rows: 6 };
        let angles = ctx.upload(&rotary_angles(first..first + 6, dims, 10_000.0)).unwrap();
        // Two steps of three, from one table.
        for (at, keys) in keys.chunks(3 * HEADS * dim).enumerate() {
            let spec = cache.append_spec(3, Activation::F32, Some(rotary));
            let plan = append_kv::plan(&ctx, &spec, &Knobs::DEFAULT).unwrap();
            let (given, row) = (ctx.upload(keys).unwrap(), 3 * at as u32);
            let bound = plan.bind(&cache, &given, &given, Some(&angles)).unwrap();
            assert_eq!(cache.append(&ctx, 3, row).unwrap(), row);
            ctx.submit(|pass| bound.record(pass)).unwrap();
        }
        let view = cache.layout().view();
        let positions = ctx.block_on(ctx.read::<u32>(cache.positions().unwrap())).unwrap();
        let stored = ctx.block_on(ctx.read::<u32>(cache.keys())).unwrap();
        for token in 0..6 {
            for head in 0..HEADS {
                let row = view.row(head, layout.kept(head) + token).unwrap() as usize;
                assert_eq!(positions[row], first + token);
                let given = &keys[(token as usize * HEADS + head) * dim..][..dim];
                let found: Vec<f32> =
                    stored[row * dim..][..dim].iter().map(|bits| f32::from_bits(*bits)).collect();
                assert_eq!(found[dims..], given[dims..]);
                for pair in 0..dims / 2 {
                    let (i, j) = match pairing {
                        Pairing::Interleaved => (2 * pair, 2 * pair + 1),
                        Pairing::HalfSplit => (pair, pair + dims / 2),
                    };
                    let rate = 10_000f64.powf(-2.0 * pair as f64 / dims as f64);
                    let (sin, cos) = (f64::from(first + token) * rate).sin_cos();
                    let [x, y] = [given[i], given[j]].map(f64::from);
                    let expected = [x * cos - y * sin, x * sin + y * cos];
                    for (found, expected) in [found[i], found[j]].into_iter().zip(expected) {
                        assert!((f64::from(found) - expected).abs() < 1e-6, "{found} {expected}");
                    }
                }
            }
        }
    }
}
