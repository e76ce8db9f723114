//! Attention on every adapter to real keys and values: SmolLM2-135M, 3 KV heads of 3 query heads each.
//!
//! `FEWBYTES_DATA` names the folder of real data; `../shared/data` beside this package by default. Keys,
//! values and queries of layers 9 and 29 come from 4096 tokens; those of the last four are asked. A file
//! that is missing is named.

// The model's weights are not asked for here.
#[allow(dead_code)]
#[path = "fixtures/smollm.rs"]
mod smollm;

use fewbytes::Knobs;
use fewbytes::attention::reference::{Logits, Queries, decode_attention};
use fewbytes::attention::{
    CacheShape, DecodeQueries, KeepLists, KvCache, KvElement, Layout, Planner, Schedule,
};
use fewbytes_wgpu::ops::decode::{self, DecodePlan, Rows};
use fewbytes_wgpu::{Context, Features, adapters};
use half::f16;

const TOKENS: usize = 4096;
const HEADS: usize = 3;
const GROUP: usize = 3;
const DIM: usize = 64;
const Q_LEN: usize = 4;

/// A tensor of f16 of the trace.
fn tensor(file: &[u8], name: &str) -> Vec<f32> {
    let file = safetensors::SafeTensors::deserialize(file).unwrap();
    let bytes = file.tensor(name).unwrap().data().to_vec();
    bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
}

/// Rows that each head keeps: everything, half, and one in 40 with all of the last four.
fn keep() -> Vec<Vec<u32>> {
    let all = 0..TOKENS as u32;
    let last = TOKENS as u32 - Q_LEN as u32;
    vec![
        all.clone().collect(),
        all.clone().filter(|row| row % 2 == 0 || *row >= last).collect(),
        all.filter(|row| row % 40 == 7 || *row >= last).collect(),
    ]
}

/// The device's attention within the bound of the reference's, for every plan.
fn check(ctx: &Context, cache: &KvCache, q: &[f32], name: &str) {
    let logits = Logits::scaled(1.0 / (DIM as f64).sqrt());
    let queries = Queries { q, q_len: Q_LEN, query_heads: HEADS * GROUP, logits, window: None };
    let expected = decode_attention(&queries, cache).unwrap();
    let largest = (0..HEADS).flat_map(|head| cache.head(head).unwrap().values);
    let largest = largest.fold(0.0f64, |largest, v| largest.max(f64::from(v.abs())));

    let (keys, values) = (cache.keys(), cache.values());
    let [k, v] = [keys.words(), values.words()].map(|words| ctx.upload(words).unwrap());
    let scaled = !keys.params().is_empty();
    let params = [keys.params(), values.params()].map(|p| ctx.upload(p).unwrap());
    let params = scaled.then_some([&params[0], &params[1]]);
    let rows = Rows { keys: &k, values: &v, params };
    let (on_device, o) = (ctx.upload(q).unwrap(), ctx.alloc::<f32>(q.len()).unwrap());
    let lse = ctx.alloc::<f32>(Q_LEN * HEADS * GROUP).unwrap();
    let queries =
        DecodeQueries { q_len: Q_LEN, lse: true, ..DecodeQueries::new(cache.shape(), GROUP) };
    for (planner, groups) in [(Planner::Stream, 24), (Planner::Chunked, 7), (Planner::Stream, 1)] {
        let split = planner.plan_layout(cache.layout(), groups).unwrap();
        let schedule = Schedule::new(&split, cache.layout(), &[]).unwrap();
        let schedule = DecodePlan::upload(ctx, schedule).unwrap();
        let plan = decode::plan(ctx, &schedule, cache.layout(), queries, &Knobs::DEFAULT).unwrap();
        let scratch = ctx.alloc::<u8>(usize::try_from(plan.scratch_bytes()).unwrap()).unwrap();
        let bound =
            plan.bind(&schedule, &on_device, &rows, &o, Some(&lse), Some(&scratch)).unwrap();
        ctx.submit(|pass| bound.record(pass, &schedule, cache.layout())).unwrap();
        let found = ctx.block_on(ctx.read::<f32>(&o)).unwrap();
        for (at, (found, expected)) in found.iter().zip(&expected.o).enumerate() {
            let off = (f64::from(*found) - expected).abs();
            assert!(off <= 2e-5 * largest, "{name} {groups}: o[{at}] is {found} for {expected}");
        }
        let found = ctx.block_on(ctx.read::<f32>(&lse)).unwrap();
        for (at, (found, expected)) in found.iter().zip(&expected.lse).enumerate() {
            let off = (f64::from(*found) - expected).abs();
            let most = 2e-5 * expected.abs().max(1.0);
            assert!(off <= most, "{name} {groups}: lse[{at}] is {found} for {expected}");
        }
    }
}

#[test]
fn devices_attend_to_real_rows_as_the_reference_does() {
    let Some(file) = smollm::read(smollm::TRACE, "attention::devices_attend_to_real_rows") else {
        return;
    };
    let found = pollster::block_on(adapters());
    assert!(!found.is_empty(), "no adapter: run `cargo xtask test`, which installs one");
    for adapter in &found {
        let ctx = pollster::block_on(Context::open_on(adapter, Features::Full)).unwrap();
        for layer in ["l9", "l29"] {
            let of = |part: &str| tensor(&file, &format!("{layer}.{part}"));
            let (keys, values, q) = (of("k"), of("v"), of("q"));
            let q = &q[q.len() - Q_LEN * HEADS * GROUP * DIM..];
            for element in KvElement::ALL {
                let shape = CacheShape::new(HEADS, DIM, element).unwrap();
                let mut plain = KvCache::new(Layout::plain(shape, TOKENS as u32).unwrap()).unwrap();
                plain.append(&keys, &values).unwrap();
                let name = format!("{layer} {}", element.name());
                let kept = KeepLists::new(&keep(), &plain.layout().lengths()).unwrap();
                let ragged = plain.compact(&kept, 16).unwrap();
                check(&ctx, &ragged, q, &format!("{name} ragged"));
                if layer == "l9" {
                    check(&ctx, &plain, q, &format!("{name} plain"));
                    let paged = ragged.to_paged(16, 1000).unwrap();
                    check(&ctx, &paged, q, &format!("{name} paged"));
                }
            }
        }
    }
}
