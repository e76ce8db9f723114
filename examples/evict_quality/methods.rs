//! Who scores pairs.

use crate::trace::{ASKED, DIM, HEADS, LAYERS, Layer, N, PREFIX, QUERY_HEADS, logits};
use fewbytes::Result;
use fewbytes::attention::Denominator;
use fewbytes::attention::append_kv::{Pairing, Rotary};
use fewbytes::attention::evict::sources::{
    Accumulate, Observed, QueryStatistics, SNAP_POOL, SNAP_WINDOW, Turns, expected_attention,
    observed_attention, pyramid_budgets, random, recent, snap_kv,
};
use fewbytes::attention::evict::{PairRule, Rule, Scores};
use fewbytes::attention::reference::{ScoreProblem, score_max};

/// A source of scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Kvzip(Denominator),
    SnapKv,
    H2o(Accumulate),
    /// With norms of values, or without.
    Expected(bool),
    Recent,
    Random,
    /// The largest attention of the held-out queries themselves: what nobody can have.
    HeldOut,
}

impl Method {
    /// Without KVzip's scores by a full softmax: queries behind the context make them H2O's largest.
    pub(crate) const ALL: [Self; 10] = [
        Self::Kvzip(Denominator::Subset),
        Self::Kvzip(Denominator::None),
        Self::SnapKv,
        Self::H2o(Accumulate::Max),
        Self::H2o(Accumulate::Sum),
        Self::Expected(true),
        Self::Expected(false),
        Self::Recent,
        Self::Random,
        Self::HeldOut,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kvzip(Denominator::Subset) => "KVzip",
            Self::Kvzip(Denominator::Full) => "KVzip, full softmax",
            Self::Kvzip(Denominator::None) => "KVzip, logits",
            Self::SnapKv => "SnapKV",
            Self::H2o(Accumulate::Max) => "H2O, max",
            Self::H2o(Accumulate::Sum) => "H2O, sum",
            Self::Expected(true) => "Expected Attention",
            Self::Expected(false) => "the same without norms",
            Self::Recent => "sink + recent",
            Self::Random => "random",
            Self::HeldOut => "held-out queries, max",
        }
    }

    /// The rule that it was published with.
    pub(crate) fn usual(self) -> Rule {
        match self {
            Self::Kvzip(_) | Self::HeldOut | Self::Random => Rule::Pair(PairRule::Exact),
            _ => Rule::PairUniform,
        }
    }

    /// `[HEADS, N]`.
    pub(crate) fn scores(self, layer: &Layer) -> Result<Vec<f32>> {
        let context = PREFIX..PREFIX + N;
        let asked = Observed {
            q: layer.asked(),
            q_len: ASKED,
            query_heads: QUERY_HEADS,
            first: context.end,
            context: context.clone(),
            logits: logits(),
        };
        match self {
            Self::Kvzip(denominator) => {
                let mut scores = Scores::zeros(1, HEADS, N)?;
                for start in (0..N).step_by(2000) {
                    let chunk = PREFIX + start..PREFIX + N.min(start + 2000);
                    let problem = ScoreProblem {
                        q: layer.asked(),
                        q_len: ASKED,
                        query_heads: QUERY_HEADS,
                        sink: PREFIX,
                        chunk,
                        new: context.end..context.end + ASKED as u32,
                        denominator,
                        lse: None,
                        logits: logits(),
                    };
                    let found = score_max(&problem, &layer.cache)?;
                    let found: Vec<f32> = found.into_iter().map(|score| score as f32).collect();
                    scores.write(0, start, &found)?;
                }
                Ok(scores.into_values())
            }
            Self::SnapKv => snap_kv(&asked, &layer.cache, SNAP_WINDOW, SNAP_POOL),
            Self::H2o(accumulate) => observed_attention(&asked, &layer.cache, accumulate),
            Self::Expected(norms) => {
                let rotary = Rotary { dims: DIM, pairing: Pairing::Interleaved, angle_rows: 0 };
                let next = context.end + ASKED as u32;
                let (theta, first, future) = (1e5, context.end, next..next + 512);
                let turns = Turns { rotary, theta, first, future };
                let statistics = QueryStatistics::of(asked.q, QUERY_HEADS, DIM, Some(&turns))?;
                let epsilon = norms.then_some(0.0);
                expected_attention(&statistics, &layer.cache, context, &logits(), epsilon)
            }
            // The prefix is the sink.
            Self::Recent => Ok(recent(1, HEADS, N, 0)?.into_values()),
            Self::Random => Ok(random(1, HEADS, N, layer.name.len() as u64)?.into_values()),
            Self::HeldOut => {
                let first = context.end + ASKED as u32;
                let held = Observed { q: layer.held(), first, ..asked };
                observed_attention(&held, &layer.cache, Accumulate::Max)
            }
        }
    }
}

/// Budgets of both layers, at their places among the model's 30.
pub(crate) fn pyramid(ratio: f64) -> Result<Vec<u32>> {
    let all = pyramid_budgets(30, N, ratio, 0, 20.0)?;
    Ok(LAYERS.iter().filter_map(|(_, at)| all.get(*at).copied()).collect())
}
