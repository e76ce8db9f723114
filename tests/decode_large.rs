//! Decoding over a cache whose keys are beyond one binding of 128 MiB: it goes to the device in groups of
//! heads, each with its own schedule, and the outputs are one.

use fewbytes::attention::reference::{Logits, Queries, decode_attention};
use fewbytes::attention::{
    CacheShape, Decode, DecodeQueries, DecodeSplit, KvCache, KvElement, KvTensor, Layout, Planner,
    Schedule,
};
use fewbytes::linear::Activation;
use fewbytes::{Caps, Error, Knobs, Spec as _};
use fewbytes_wgpu::ops::decode::{self, BoundDecode, DecodePlan, Rows};
use fewbytes_wgpu::ops::{DeviceCache, append_kv};
use fewbytes_wgpu::{Context, Features, View, adapters};
use half::f16;
use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;

const DIM: usize = 64;
const GROUP: usize = 2;
const HEADS: usize = 8;
/// Rows that most rows are copies of. It is odd, so a head's do not begin at a round place.
const COMMON: usize = 61;
/// Rows of a head that outweigh all copies together, each as much as the others.
const RARE: usize = 12;
/// How far the logits of those are above the others': about `ln 140,000`.
const LOGIT: f32 = 11.0;

fn length(head: usize) -> u32 {
    130_000 + 3_001 * head as u32
}

/// The rows there are, of one head: keys and values, after the common ones the rare ones and then what was
/// appended.
#[derive(Clone)]
struct Table {
    keys: Vec<[f32; DIM]>,
    values: Vec<[f32; DIM]>,
    /// The rare rows' places, ascending.
    places: Vec<u32>,
}

impl Table {
    fn of(head: usize, rng: &mut ChaCha8Rng) -> Self {
        let rounded = |x: f32| f16::from_f32(x).to_f32();
        let mut numbers = |most: f32| -> Vec<[f32; DIM]> {
            let mut row = || std::array::from_fn(|_| rounded(rng.random_range(-most..most)));
            (0..COMMON + RARE).map(|_| row()).collect()
        };
        let (mut keys, values) = (numbers(0.25), numbers(1.0));
        // Queries are 1 in the first dimension, so this is a logit by itself.
        for key in &mut keys[COMMON..] {
            key[0] = LOGIT / 0.125;
        }
        let end = length(head);
        // The ends of the head, where the plan's first segments may end, and anywhere else.
        let mut places = vec![0, 1, 127, 128, end - 129, end - 2, end - 1];
        while places.len() < RARE {
            let place = rng.random_range(200..end - 200);
            if !places.contains(&place) {
                places.push(place);
            }
        }
        places.sort_unstable();
        Self { keys, values, places }
    }

    /// Which row lies at a place of the head.
    fn at(&self, place: u32) -> usize {
        match self.places.binary_search(&place) {
            Ok(rare) => COMMON + rare,
            Err(_) => place as usize % COMMON,
        }
    }

    /// Attention by how often every row is there, in f64: the outputs, and the largest difference that one
    /// rare row makes to them.
    fn attend(&self, head: usize, q: &[f32]) -> (Vec<f64>, f64) {
        // What was appended is there once.
        let mut counts = vec![0.0; COMMON + RARE];
        counts.resize(self.keys.len(), 1.0);
        (0..length(head)).for_each(|place| counts[self.at(place)] += 1.0);
        let o = self.weighted(&counts, q);
        let mut least = f64::INFINITY;
        for rare in COMMON..counts.len() {
            let mut without = counts.clone();
            without[rare] = 0.0;
            let without = self.weighted(&without, q);
            let off = o.iter().zip(&without).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            least = least.min(off);
        }
        (o, least)
    }

    /// With a new token's row, as heavy as a rare one.
    fn appended(&self, rng: &mut ChaCha8Rng) -> Self {
        let mut table = self.clone();
        let mut row =
            || std::array::from_fn(|_| f16::from_f32(rng.random_range(-0.25..0.25)).to_f32());
        let mut key: [f32; DIM] = row();
        key[0] = LOGIT / 0.125;
        table.keys.push(key);
        table.values.push(row().map(|x| 4.0 * x));
        table
    }

    fn weighted(&self, counts: &[f64], q: &[f32]) -> Vec<f64> {
        let logits = Logits::scaled(0.125);
        let x: Vec<f64> = self.keys.iter().map(|key| logits.of(q, key)).collect();
        let most = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (mut sum, mut o) = (0.0, vec![0.0; DIM]);
        for ((x, count), value) in x.iter().zip(counts).zip(&self.values) {
            let weight = count * (x - most).exp();
            sum += weight;
            o.iter_mut().zip(value).for_each(|(o, v)| *o += weight * f64::from(*v));
        }
        o.iter().map(|o| o / sum).collect()
    }
}

fn words(rows: &[[f32; DIM]]) -> Vec<Vec<u32>> {
    let word = |pair: &[f32]| {
        let [low, high] = [pair[0], pair[1]].map(|x| u32::from(f16::from_f32(x).to_bits()));
        low | high << 16
    };
    rows.iter().map(|row| row.chunks_exact(2).map(word).collect()).collect()
}

fn filled(tables: &[Table]) -> KvCache {
    let shape = CacheShape::new(HEADS, DIM, KvElement::F16).unwrap();
    let lengths: Vec<u32> = (0..HEADS).map(length).collect();
    let layout = Layout::ragged(shape, &lengths, 16, length(HEADS)).unwrap();
    let view = layout.view();
    let mut tensors = [vec![], vec![]];
    for tensor in &mut tensors {
        // What a head does not have is far from 0, lest it be read.
        tensor.resize(layout.rows() as usize * shape.row_words(), 0x7bff_7bff);
    }
    for (head, table) in tables.iter().enumerate() {
        let rows = [words(&table.keys), words(&table.values)];
        let first = view.row(head, 0).unwrap() as usize;
        for place in 0..length(head) {
            let at = (first + place as usize) * shape.row_words();
            for (tensor, rows) in tensors.iter_mut().zip(&rows) {
                tensor[at..at + shape.row_words()].copy_from_slice(&rows[table.at(place)]);
            }
        }
    }
    let [keys, values] = tensors;
    let tensor = |what, words| KvTensor::from_parts(shape, what, words, vec![]).unwrap();
    KvCache::from_parts(layout, tensor("keys", keys), tensor("values", values), None).unwrap()
}

fn queries(rng: &mut ChaCha8Rng) -> Vec<f32> {
    let number = |at: usize| if at.is_multiple_of(DIM) { 1.0 } else { rng.random_range(-1.0..1.0) };
    (0..HEADS * GROUP * DIM).map(number).collect()
}

#[test]
fn a_cache_beyond_a_binding_is_decoded_by_groups_of_heads() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let tables: Vec<Table> = (0..HEADS).map(|head| Table::of(head, &mut rng)).collect();
    let cache = filled(&tables);
    let q = queries(&mut rng);
    let more: Vec<Table> = tables.iter().map(|table| table.appended(&mut rng)).collect();
    let [expected, then] = [&tables, &more].map(|tables| attended(tables, &q));
    // The short way agrees with the plain one, on the smallest head.
    let (one, own) = (cache.of_heads(0..1).unwrap(), &q[..GROUP * DIM]);
    let logits = Logits::scaled(0.125);
    let asked = Queries { q: own, q_len: 1, query_heads: GROUP, logits, window: None };
    for (plain, short) in decode_attention(&asked, &one).unwrap().o.iter().zip(&expected) {
        assert!((plain - short).abs() < 1e-10, "{plain} {short}");
    }

    let limit = Caps::webgpu().bindable_bytes();
    refused_whole(&cache, limit);
    let found = pollster::block_on(adapters());
    assert!(!found.is_empty(), "no adapter: run `cargo xtask test`, which installs one");
    for adapter in &found {
        let ctx = pollster::block_on(Context::open_on(adapter, Features::Full)).unwrap();
        let mut groups = Groups::upload(&ctx, &cache, &q, limit);
        groups.step(&ctx);
        close(&ctx, &groups.o, &expected);
        let row = |rows: &Vec<[f32; DIM]>| *rows.last().unwrap();
        let keys: Vec<f32> = more.iter().flat_map(|table| row(&table.keys)).collect();
        let values: Vec<f32> = more.iter().flat_map(|table| row(&table.values)).collect();
        groups.append(&ctx, &keys, &values);
        groups.step(&ctx);
        close(&ctx, &groups.o, &then);
    }
}

fn attended(tables: &[Table], q: &[f32]) -> Vec<f64> {
    let mut expected = Vec::new();
    for (query_head, q) in q.chunks_exact(DIM).enumerate() {
        let head = query_head / GROUP;
        let (o, least) = tables[head].attend(head, q);
        // A thousand times what is allowed below.
        assert!(least > 2e-2, "a rare row of head {head} hardly matters: {least}");
        expected.extend(o);
    }
    expected
}

fn close(ctx: &Context, o: &View, expected: &[f64]) {
    let o = ctx.block_on(ctx.read::<f32>(o)).unwrap();
    assert_eq!(o.len(), expected.len());
    for (at, (found, expected)) in o.iter().zip(expected).enumerate() {
        let off = (f64::from(*found) - expected).abs();
        assert!(off <= 2e-5, "{} o {at}: {found} for {expected}", ctx.describe());
    }
}

/// One binding of all keys is beyond what every WebGPU device has.
fn refused_whole(cache: &KvCache, limit: u64) {
    let layout = cache.layout();
    let split = Planner::Stream.plan_layout(layout, 8).unwrap();
    let schedule = Schedule::new(&split, layout, &[]).unwrap();
    let spec = DecodeSplit::new(DecodeQueries::new(layout.shape(), GROUP), layout, &schedule);
    let launches = Decode(spec.unwrap()).launches(&Caps::webgpu(), &Knobs::DEFAULT);
    let Err(Error::BindingTooLarge { what, bytes, limit: named }) = launches else {
        panic!("{launches:?}");
    };
    assert!(what.contains("keys"), "{what}");
    assert_eq!((bytes, named), (128 * u64::from(layout.rows()), limit));
    assert!(bytes > limit);
}

/// A layer, as an engine has it.
struct Groups {
    groups: Vec<(DeviceCache, DecodePlan, BoundDecode)>,
    o: View,
}

impl Groups {
    fn upload(ctx: &Context, cache: &KvCache, q: &[f32], limit: u64) -> Self {
        let caches = DeviceCache::upload_groups(ctx, cache, limit).unwrap();
        let heads: Vec<_> = caches.iter().map(|g| (g.first_head(), g.layer_heads())).collect();
        assert_eq!(heads, [(0, HEADS), (7, HEADS)]);
        let (q, o) = (ctx.upload(q).unwrap(), ctx.alloc::<f32>(q.len()).unwrap());
        let planned = |group: &DeviceCache| {
            assert!(group.keys().bytes() <= limit);
            let layout = group.layout();
            let split = Planner::Stream.plan_layout(layout, 8).unwrap();
            let schedule = Schedule::new(&split, layout, &[]).unwrap();
            let schedule = DecodePlan::upload(ctx, schedule).unwrap();
            let queries = DecodeQueries::new(layout.shape(), GROUP);
            let plan = decode::plan(ctx, &schedule, layout, queries, &Knobs::DEFAULT).unwrap();
            (schedule, plan)
        };
        let plans: Vec<_> = caches.iter().map(planned).collect();
        // They follow each other, so they can share it.
        let most = plans.iter().map(|(_, plan)| plan.scratch_bytes()).max().unwrap();
        let scratch = ctx.alloc::<u8>(most as usize).unwrap();
        let mut groups = Vec::new();
        for (cache, (schedule, plan)) in caches.into_iter().zip(plans) {
            let queries = &plan.spec().queries;
            let [q, o] = [&q, &o].map(|whole| cache.part(whole, queries).unwrap());
            let short = cache.part(&q, queries).unwrap_err();
            assert!(matches!(short, Error::Shape { .. }), "{short}");
            let own = scratch.slice(0..plan.scratch_bytes() as usize).unwrap();
            let bound = plan.bind(&schedule, &q, &Rows::of(&cache), &o, None, Some(&own)).unwrap();
            groups.push((cache, schedule, bound));
        }
        Self { groups, o }
    }

    /// Every group in one pass.
    fn step(&self, ctx: &Context) {
        ctx.write(&self.o, &vec![f32::NAN; self.o.len() as usize]).unwrap();
        ctx.submit(|pass| {
            let mut groups = self.groups.iter();
            groups.try_for_each(|(cache, plan, bound)| bound.record(pass, plan, cache.layout()))
        })
        .unwrap();
    }

    /// A token, its keys and values those of all heads.
    fn append(&mut self, ctx: &Context, keys: &[f32], values: &[f32]) {
        let [keys, values] = [keys, values].map(|rows| ctx.upload(rows).unwrap());
        for (cache, schedule, _) in &mut self.groups {
            let spec = cache.append_spec(1, Activation::F32, None);
            let plan = append_kv::plan(ctx, &spec, &Knobs::DEFAULT).unwrap();
            let bound = plan.bind(cache, &keys, &values, None).unwrap();
            cache.append(ctx, 1, 0).unwrap();
            ctx.submit(|pass| bound.record(pass)).unwrap();
            schedule.update(ctx, cache.layout(), &[]).unwrap();
        }
    }
}
