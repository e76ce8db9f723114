//! The case table of `score_lse`.

use super::score_max::Scored;
use super::tiles::{Content, Place, Setting, lse_errors};
use super::{Case, Expected, Output, Proof, Tensor};
use crate::Result;
use crate::attention::decode::LSE;
use crate::attention::reference::score_lse;
use crate::attention::score_lse::NAME;
use crate::attention::{Denominator, KeySpans, KvElement, RowMap, ScoreLse};
use crate::launch::{Caps, Knobs, Spec as _};
use crate::linear::Activation;

/// One case.
#[derive(Debug, Clone, Copy)]
pub(super) struct LseCase {
    scored: Scored,
    spans: KeySpans,
}

pub(super) fn cases() -> Vec<LseCase> {
    let case = |scored, [sink, first, rows]: [u32; 3]| LseCase {
        scored,
        spans: KeySpans { sink, first, rows },
    };
    let mut all = Vec::new();
    for scored in Scored::kinds() {
        all.push(case(scored, [5, 9, 50]));
    }
    let base = Scored::DEFAULT;
    // No sink, no chunk, neither, all rows; tiles that are whole, one short and one over.
    for spans in
        [[0, 0, 70], [9, 9, 0], [0, 7, 0], [3, 3, 67], [32, 32, 32], [1, 2, 63], [60, 66, 4]]
    {
        all.push(case(base, spans));
    }
    for (group, q_len) in [(1, 1), (1, 3), (3, 22), (7, 17), (1, 64), (1, 65), (4, 70)] {
        let appended = q_len as u32;
        let setting = Setting { group, q_len, appended, ..base.setting };
        all.push(case(Scored { setting }, [4, 10, 30]));
    }
    for content in [Content::Steps, Content::NotNumbers, Content::NoQuery] {
        let setting = Setting { content, ..base.setting };
        all.push(case(Scored { setting }, [5, 9, 50]));
    }
    // More than a column of tiles.
    let setting =
        Setting { kept: &[300], place: Place::Plain, element: KvElement::Int8, ..base.setting };
    all.push(case(Scored { setting }, [40, 50, 250]));
    all
}

impl Case for LseCase {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> String {
        let KeySpans { sink, first, rows } = self.spans;
        format!("{} sink {sink} chunk {first}+{rows}", self.scored.setting.name())
    }

    fn variants(&self, caps: &Caps) -> Vec<(&'static str, Knobs)> {
        self.scored.setting.variants(caps)
    }

    fn build(&self, caps: &Caps, knobs: &Knobs) -> Result<Proof> {
        let setting = &self.scored.setting;
        let mut rng = setting.rng();
        let (cache, q) = (setting.cache(&mut rng)?, setting.q(&mut rng));
        let map = RowMap::new(cache.layout(), &[])?;
        let spec = ScoreLse::new(setting.queries(), cache.layout(), &map, self.spans)?;
        let KeySpans { sink, first, rows } = self.spans;
        let problem = self.scored.problem(&q, sink, first..first + rows, Denominator::Subset);
        let lse = score_lse(&problem, &cache)?;
        let mut tensors = setting.tensors(&q, &cache, &map, false);
        tensors.push(Tensor::output(LSE, 4 * lse.len()));
        let tolerance = lse_errors(&lse, &setting.logit_errors(&q, &cache, knobs)?);
        let element = Activation::F32;
        let expected = Expected::Close { element, values: lse, tolerance, relative: 1e-5 };
        let outputs = vec![Output { binding: LSE, expected }];
        Ok(Proof { launches: spec.launches(caps, knobs)?, tensors, outputs })
    }
}
