//! Scores of real queries and keys: SmolLM2-135M, 4096 tokens, layers 9 and 29.
//!
//! `FEWBYTES_DATA` names the folder of real data; `../shared/data` beside this package by default. A file
//! that is missing is named.

use super::smollm_trace::{self, HEADS, Layer, N, PREFIX, QUERY_HEADS, logits};
use super::{close, contexts};
use fewbytes::attention::evict::{Eviction, PairRule, Rule, select};
use fewbytes::attention::kvzip::{HostLayer, ModelSizes, ReferenceScorer, RepeatPass, Scorer};
use fewbytes::attention::{Denominator, Scores};
use fewbytes_wgpu::ops::select_pairs::Selection;
use fewbytes_wgpu::ops::{DeviceCache, DeviceLayer, DeviceScorer};
use half::f16;

/// How many of the tokens behind the context make scores.
const ASKED: u32 = 64;

fn layers(test: &str) -> Vec<Layer> {
    smollm_trace::layers(ASKED, &format!("kvzip_device::{test}"))
}

fn sizes(layers: &[Layer]) -> ModelSizes {
    let (shape, group) = (*layers[0].cache.shape(), QUERY_HEADS / HEADS);
    ModelSizes { layers: layers.len(), shape, group, positions: 8192, logits: logits() }
}

/// Passes as the driver's, of chunks of 2000, whose tokens are those that followed.
fn passes() -> Vec<RepeatPass> {
    let pass = |(number, start): (usize, u32)| RepeatPass {
        number,
        tokens: vec![0; ASKED as usize],
        position: PREFIX + N,
        sink: PREFIX,
        chunk: PREFIX + start..PREFIX + N.min(start + 2000),
        start,
    };
    (0..N).step_by(2000).enumerate().map(pass).collect()
}

fn expected(layers: &[Layer], denominator: Denominator) -> Scores {
    let mut scorer = ReferenceScorer::default();
    scorer.begin(&sizes(layers), N, denominator).unwrap();
    for pass in passes() {
        for (at, Layer { cache, q }) in layers.iter().enumerate() {
            scorer.score(&pass, at, HostLayer { q, cache, lse: None }).unwrap();
        }
    }
    scorer.finish().unwrap()
}

#[test]
fn real_scores_and_what_they_keep_are_those_of_the_definition() {
    let layers = layers("real_scores");
    if layers.is_empty() {
        return;
    }
    let expected = Denominator::ALL.map(|denominator| expected(&layers, denominator));
    for ctx in contexts() {
        let upload = |layer: &Layer| {
            let halves: Vec<f16> = layer.q.iter().map(|x| f16::from_f32(*x)).collect();
            (DeviceCache::upload(&ctx, &layer.cache).unwrap(), ctx.upload(&halves).unwrap())
        };
        let device: Vec<_> = layers.iter().map(upload).collect();
        let mut scorer = DeviceScorer::new(&ctx);
        for (denominator, expected) in Denominator::ALL.into_iter().zip(&expected) {
            scorer.begin(&sizes(&layers), N, denominator).unwrap();
            for pass in passes() {
                for (at, (cache, q)) in device.iter().enumerate() {
                    scorer.score(&pass, at, DeviceLayer::new(q, cache)).unwrap();
                }
            }
            let found = scorer.finish().unwrap();
            close(&found, expected, denominator);
            for rule in [
                Rule::Pair(PairRule::Exact),
                Rule::Pair(PairRule::RefStrict),
                Rule::PairPerLayer,
                Rule::PairUniform,
            ] {
                for tenths in 1..=10u32 {
                    let eviction = Eviction { rule, ..Eviction::new(f64::from(tenths) / 10.0) };
                    let (spec, budgets) = scorer.spec().unwrap().evicting(&eviction).unwrap();
                    let selection = Selection::new(&ctx, &spec).unwrap();
                    let views = scorer.scores().unwrap();
                    let report = ctx.block_on(selection.select(&ctx, views, &budgets)).unwrap();
                    let kept = ctx.block_on(selection.kept(&ctx, &report)).unwrap();
                    assert_eq!(kept, select(&found, &eviction).unwrap(), "{eviction:?}");
                }
            }
        }
    }
}
