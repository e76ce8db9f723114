//! The case table of `score_max`: with the sums before it and the merge after it, chunk by chunk and layer
//! by layer until a whole tensor of scores is there.

use super::tiles::{Content, Place, Setting};
use super::{Case, Expected, Output, Proof, Tensor};
use crate::Result;
use crate::attention::decode::LSE;
use crate::attention::reference::{ScoreProblem, decode_attention, score_max};
use crate::attention::score_max::{NAME, SCORE};
use crate::attention::{
    Denominator, HEAD_DIMS, KeySpans, KvCache, KvElement, MaxAttention, RowMap, ScorePlace,
};
use crate::launch::{Caps, Knobs, Spec as _};
use crate::linear::Activation;
use std::ops::Range;

/// A cache of heads that have as many rows each, and a pass over it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scored {
    pub(super) setting: Setting,
}

/// One case.
#[derive(Debug, Clone, Copy)]
pub(super) struct ScoreCase {
    scored: Scored,
    sink: u32,
    /// Rows of a chunk; the last may have fewer.
    chunk: u32,
    layers: usize,
    denominator: Denominator,
    slices: Option<u32>,
}

impl Scored {
    pub(super) const DEFAULT: Self = Self {
        setting: Setting {
            kept: &[70, 70, 70],
            appended: 22,
            dim: 64,
            element: KvElement::F32,
            place: Place::Ragged,
            group: 4,
            q_len: 22,
            input: Activation::F32,
            softcap: None,
            window: None,
            content: Content::Random,
        },
    };

    /// Every dimension and element, by turns with every layout and number of query heads; f16 queries, a
    /// softcap.
    pub(super) fn kinds() -> Vec<Self> {
        let base = Self::DEFAULT.setting;
        let mut all = Vec::new();
        let places = [Place::Ragged, Place::Paged(16), Place::Plain];
        for (at, dim) in HEAD_DIMS.into_iter().enumerate() {
            let element = KvElement::ALL[(at + 1) % 5];
            let (place, group) = (places[at % 3], [4, 7, 1, 3, 2][at]);
            all.push(Setting { dim, element, place, group, kept: &[70, 70], ..base });
        }
        for (dim, element) in [
            (64, KvElement::F16),
            (80, KvElement::Int8),
            (96, KvElement::F16),
            (128, KvElement::Int8),
        ] {
            all.push(Setting { input: Activation::F16, dim, element, ..base });
        }
        all.push(Setting { softcap: Some(3.0), ..base });
        all.into_iter().map(|setting| Self { setting }).collect()
    }

    pub(super) fn problem<'a>(
        &self,
        q: &'a [f32],
        sink: u32,
        chunk: Range<u32>,
        denominator: Denominator,
    ) -> ScoreProblem<'a> {
        let setting = &self.setting;
        let kept = setting.kept.first().copied().unwrap_or(0);
        let (q_len, query_heads, logits) = (setting.q_len, setting.query_heads(), setting.logits());
        let new = kept..kept + setting.appended;
        ScoreProblem { q, q_len, query_heads, sink, chunk, new, denominator, lse: None, logits }
    }
}

pub(super) fn cases() -> Vec<ScoreCase> {
    use Denominator::{Full, None, Subset};
    let base = ScoreCase {
        scored: Scored::DEFAULT,
        sink: 3,
        chunk: 40,
        layers: 1,
        denominator: Subset,
        slices: Option::None,
    };
    let with = |setting: Setting| ScoreCase { scored: Scored { setting }, ..base };
    let setting = base.scored.setting;
    let mut all: Vec<_> =
        Scored::kinds().into_iter().map(|scored| ScoreCase { scored, ..base }).collect();
    all.push(ScoreCase { denominator: Full, layers: 2, ..base });
    all.push(ScoreCase { denominator: None, layers: 2, ..base });
    let capped = Setting { softcap: Some(2.0), ..setting };
    all.push(ScoreCase { denominator: None, ..with(capped) });
    // One chunk, chunks of a tile and one over, the last of one row; no sink.
    for (sink, chunk) in [(0, 70), (3, 64), (0, 65), (1, 23), (69, 1)] {
        all.push(ScoreCase { sink, chunk, ..base });
    }
    for (group, q_len) in [(1, 1), (1, 3), (7, 17), (1, 64), (1, 65), (3, 70)] {
        let appended = q_len as u32;
        all.push(with(Setting { group, q_len, appended, ..setting }));
    }
    // More query heads of a KV head than decoding takes, and more than a tile has rows.
    for (group, denominator) in [(17, Subset), (32, None), (70, Full)] {
        let setting = Setting { group, q_len: 2, appended: 2, ..setting };
        all.push(ScoreCase { denominator, ..with(setting) });
    }
    // 350 query rows are six tiles.
    let long = with(Setting { group: 5, q_len: 70, appended: 70, ..setting });
    for slices in [1, 2, 4, 6] {
        all.push(ScoreCase { slices: Some(slices), ..long });
    }
    all.push(ScoreCase { slices: Some(3), denominator: None, ..long });
    let (input, element) = (Activation::F16, KvElement::F16);
    let long_f16 = with(Setting { input, element, ..long.scored.setting });
    all.push(ScoreCase { slices: Some(3), ..long_f16 });
    all.push(ScoreCase { denominator: Full, ..long_f16 });
    for content in [Content::Steps, Content::NotNumbers, Content::NoQuery] {
        all.push(with(Setting { content, ..setting }));
        let setting = Setting { content, group: 5, q_len: 70, appended: 70, ..setting };
        all.push(ScoreCase { slices: Some(5), denominator: None, ..with(setting) });
    }
    all
}

impl ScoreCase {
    fn n(&self) -> u32 {
        self.scored.setting.kept.first().copied().unwrap_or(0) - self.sink
    }

    /// The chunks' rows.
    fn chunks(&self) -> Vec<Range<u32>> {
        let end = self.sink + self.n();
        let starts = (self.sink..end).step_by(self.chunk as usize);
        starts.map(|start| start..(start + self.chunk).min(end)).collect()
    }

    /// `[heads, n]`, from `lse` where sums are given.
    fn expected(&self, q: &[f32], cache: &KvCache, lse: &[f64]) -> Result<Vec<f64>> {
        let (heads, n) = (self.scored.setting.kept.len(), self.n() as usize);
        let mut scores = vec![0.0; heads * n];
        for chunk in self.chunks() {
            let problem = self.scored.problem(q, self.sink, chunk.clone(), self.denominator);
            let lse = (self.denominator == Denominator::Full).then_some(lse);
            let found = score_max(&ScoreProblem { lse, ..problem }, cache)?;
            for (head, found) in found.chunks(chunk.len()).enumerate() {
                let at = head * n + (chunk.start - self.sink) as usize;
                scores[at..at + chunk.len()].copy_from_slice(found);
            }
        }
        Ok(scores)
    }

    /// 1e-5 of a score; where logits are large or made by matrices, what their rounding makes of it.
    fn tolerance(
        &self,
        scores: &[f64],
        q: &[f32],
        cache: &KvCache,
        knobs: &Knobs,
    ) -> Result<Vec<f64>> {
        let setting = &self.scored.setting;
        let errors = setting.logit_errors(q, cache, knobs)?;
        let of_head = |head: usize| {
            let rows = errors.iter().enumerate();
            let own = rows.filter(|(row, _)| row % setting.query_heads() / setting.group == head);
            own.map(|(_, error)| *error).fold(0.0, f64::max)
        };
        let (n, unit) = (self.n() as usize, f64::from(f32::EPSILON));
        let of = |(at, score): (usize, &f64)| {
            let logit = of_head(at / n);
            match (self.denominator, setting.content) {
                (Denominator::None, _) => logit + unit * score.abs(),
                // The logit and the sum it is divided by, which are of 1e4.
                (_, Content::Steps) => score * (2.0 * logit + 16.0 * unit * 1e4).exp_m1() + 1e-37,
                _ if knobs.matrix == Some(true) => score * (2.0 * logit + 1e-5).exp_m1() + 1e-37,
                _ => 1e-5 * score + 1e-37,
            }
        };
        Ok(scores.iter().enumerate().map(of).collect())
    }
}

impl Case for ScoreCase {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> String {
        let mut name = format!(
            "{} sink {} chunks of {} {}",
            self.scored.setting.name(),
            self.sink,
            self.chunk,
            self.denominator.name()
        );
        if self.layers > 1 {
            name += &format!(" {} layers", self.layers);
        }
        if let Some(slices) = self.slices {
            name += &format!(" {slices} slices");
        }
        name
    }

    fn variants(&self, caps: &Caps) -> Vec<(&'static str, Knobs)> {
        let sliced = |(name, knobs)| (name, Knobs { slices: self.slices, ..knobs });
        self.scored.setting.variants(caps).into_iter().map(sliced).collect()
    }

    fn build(&self, caps: &Caps, knobs: &Knobs) -> Result<Proof> {
        let setting = &self.scored.setting;
        let mut rng = setting.rng();
        let (cache, q) = (setting.cache(&mut rng)?, setting.q(&mut rng));
        let map = RowMap::new(cache.layout(), &[])?;
        let heads = setting.kept.len();
        let n = self.n() as usize;
        let mut tensors = setting.tensors(&q, &cache, &map, false);
        let mut lse = Vec::new();
        if self.denominator == Denominator::Full {
            let sums = decode_attention(&setting.asked(&q), &cache)?.lse;
            let sums: Vec<f32> = sums.into_iter().map(|sum| sum as f32).collect();
            lse = sums.iter().copied().map(f64::from).collect();
            tensors.push(Tensor::input(LSE, bytemuck::cast_slice(&sums).to_vec()));
        }
        let of_layer = self.expected(&q, &cache, &lse)?;
        let mut launches = Vec::new();
        for layer in 0..self.layers {
            for chunk in self.chunks() {
                let spans =
                    KeySpans { sink: self.sink, first: chunk.start, rows: chunk.len() as u32 };
                let position = (chunk.start - self.sink) as usize;
                let layers = self.layers;
                let place =
                    ScorePlace { layers, layer, position, ..ScorePlace::of_layer(heads, n) };
                let what = (spans, self.denominator);
                let spec = MaxAttention::new(setting.queries(), cache.layout(), &map, what, place)?;
                launches.extend(spec.launches(caps, knobs)?);
            }
        }
        let tolerance = self.tolerance(&of_layer, &q, &cache, knobs)?.repeat(self.layers);
        let values = of_layer.repeat(self.layers);
        tensors.push(Tensor::output(SCORE, 4 * values.len()));
        let relative = match setting.content {
            Content::Steps => 5e-3,
            _ if knobs.matrix == Some(true) => 1e-4,
            _ => 1e-5,
        };
        let expected = Expected::Close { element: Activation::F32, values, tolerance, relative };
        Ok(Proof { launches, tensors, outputs: vec![Output { binding: SCORE, expected }] })
    }
}
