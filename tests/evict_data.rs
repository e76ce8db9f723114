//! Selecting pairs by real attention: SmolLM2-135M, 4096 tokens, layers 9 and 29.
//!
//! `FEWBYTES_DATA` names the folder of real data; `../shared/data` beside this package by default. A file
//! that is missing is named. `examples/evict_quality` measures what the selections do.

// The model's weights are not asked for here.
#[allow(dead_code)]
#[path = "fixtures/smollm.rs"]
mod smollm;
#[path = "fixtures/smollm_trace.rs"]
mod smollm_trace;

use fewbytes::attention::evict::sources::{Accumulate, Observed, observed_attention};
use fewbytes::attention::evict::{Eviction, PairRule, Rule, Scores, reference, select, share};
use fewbytes::attention::reference::{Queries, ScoreProblem, decode_attention, score_max};
use fewbytes::attention::{Denominator, KvCache, RESERVE};
use smollm_trace::{AFTER, DIM, HEADS, Layer, N, PREFIX, QUERY_HEADS, logits};

/// Tokens whose queries make scores, and those whose outputs are looked at.
const ASKED: usize = 8;

const TOKENS: u32 = PREFIX + N + AFTER;

fn layers(test: &str) -> Vec<Layer> {
    smollm_trace::layers(AFTER, &format!("evict::{test}"))
}

/// What is asked of a layer.
trait Asked {
    fn scores(&self, denominator: Denominator) -> Vec<f32>;
    fn outputs(&self, cache: &KvCache) -> Vec<f64>;
}

impl Asked for Layer {
    /// KVzip's scores by the queries of the first tokens behind the context, chunk by chunk.
    fn scores(&self, denominator: Denominator) -> Vec<f32> {
        let mut scores = Scores::zeros(1, HEADS, N).unwrap();
        for start in (0..N).step_by(2000) {
            let problem = ScoreProblem {
                q: &self.q[..ASKED * QUERY_HEADS * DIM],
                q_len: ASKED,
                query_heads: QUERY_HEADS,
                sink: PREFIX,
                chunk: PREFIX + start..PREFIX + N.min(start + 2000),
                new: PREFIX + N..PREFIX + N + ASKED as u32,
                denominator,
                lse: None,
                logits: logits(),
            };
            let found = score_max(&problem, &self.cache).unwrap();
            let found: Vec<f32> = found.into_iter().map(|score| score as f32).collect();
            scores.write(0, start, &found).unwrap();
        }
        scores.into_values()
    }

    /// Outputs of the last tokens' queries.
    fn outputs(&self, cache: &KvCache) -> Vec<f64> {
        let q = &self.q[self.q.len() - ASKED * QUERY_HEADS * DIM..];
        let (q_len, query_heads, logits) = (ASKED, QUERY_HEADS, logits());
        let queries = Queries { q, q_len, query_heads, logits, window: None };
        decode_attention(&queries, cache).unwrap().o
    }
}

fn scores(layers: &[Layer], denominator: Denominator) -> Scores {
    let pieces: Vec<Vec<f32>> = layers.iter().map(|layer| layer.scores(denominator)).collect();
    Scores::from_layers(HEADS, N, &pieces).unwrap()
}

#[test]
fn counting_keeps_of_real_scores_what_sorting_keeps() {
    let layers = layers("counting_keeps");
    if layers.is_empty() {
        return;
    }
    for denominator in [Denominator::Subset, Denominator::None] {
        let exact = scores(&layers, denominator);
        assert_eq!(exact.nan(), 0);
        // As they would be in bf16: few values, many of them equal.
        let coarse = exact.values().iter().map(|x| f32::from_bits(x.to_bits() & 0xffff_0000));
        let coarse = Scores::new(2, HEADS, N, coarse.collect()).unwrap();
        for scores in [&exact, &coarse] {
            for rule in [
                Rule::Pair(PairRule::Exact),
                Rule::Pair(PairRule::RefStrict),
                Rule::PairPerLayer,
                Rule::PairUniform,
                Rule::Head(PairRule::Exact),
            ] {
                for tenths in 1..=10u32 {
                    let ratio = f64::from(tenths) / 10.0;
                    let eviction = Eviction { rule, ..Eviction::new(ratio) };
                    let found = select(scores, &eviction).unwrap();
                    assert_eq!(found, reference::select(scores, &eviction).unwrap());
                    if rule == Rule::Pair(PairRule::Exact) {
                        assert_eq!(found.total(), share(scores.pairs(), ratio));
                    }
                }
            }
        }
    }
}

#[test]
fn a_chunk_of_the_whole_context_scores_as_full_attention_does() {
    for layer in layers("a_chunk_of_the_whole") {
        let asked = Observed {
            q: &layer.q[..ASKED * QUERY_HEADS * DIM],
            q_len: ASKED,
            query_heads: QUERY_HEADS,
            first: PREFIX + N,
            context: PREFIX..PREFIX + N,
            logits: logits(),
        };
        let observed = observed_attention(&asked, &layer.cache, Accumulate::Max).unwrap();
        let full = layer.scores(Denominator::Full);
        let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-6 * b.abs() + f32::MIN_POSITIVE;
        assert!(observed.iter().zip(&full).all(close));
        // A denominator of fewer keys is no larger.
        let subset = layer.scores(Denominator::Subset);
        assert!(subset.iter().zip(&full).all(|(a, b)| *a >= b * (1.0 - 1e-6)));
    }
}

#[test]
fn kept_pairs_by_kvzip_move_real_outputs_less_than_chance_does() {
    let layers = layers("kept_pairs_by_kvzip");
    if layers.is_empty() {
        return;
    }
    let zipped = scores(&layers, Denominator::Subset);
    let chance = fewbytes::attention::evict::sources::random(2, HEADS, N, 1).unwrap();
    for ratio in [1.0, 0.5, 0.3] {
        let eviction = Eviction { rule: Rule::PairPerLayer, ..Eviction::new(ratio) };
        for (at, layer) in layers.iter().enumerate() {
            let exact = layer.outputs(&layer.cache);
            let [zipped, chance] = [&zipped, &chance].map(|scores| {
                let selection = select(scores, &eviction).unwrap();
                let lists = selection.keep_lists(at, PREFIX, TOKENS).unwrap();
                let found = layer.outputs(&layer.cache.compact(&lists, RESERVE).unwrap());
                exact.iter().zip(&found).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
            });
            if ratio == 1.0 {
                assert_eq!((zipped, chance), (0.0, 0.0));
            } else {
                assert!(zipped < chance, "layer {at}, {ratio}: {zipped} and {chance}");
            }
        }
    }
}
