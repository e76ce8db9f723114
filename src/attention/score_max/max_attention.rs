//! Both passes as one.

use super::{DecodeQueries, KeySpans, ScoreMax, ScorePlace, Sums};
use crate::Result;
use crate::attention::decode::LSE;
use crate::attention::{Denominator, Layout, RowMap, ScoreLse};
use crate::launch::{Caps, Knobs, Launch, Operand, Scratch, Spec};

/// The largest attention to every key of a chunk: where sums are of [`Denominator::Subset`]
/// [`score_lse`](crate::attention::score_lse) first, with the sums in scratch memory, and then
/// [`score_max`](super).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MaxAttention(pub ScoreMax);

impl MaxAttention {
    /// As [`ScoreMax::new`].
    ///
    /// # Errors
    /// As [`ScoreMax::new`].
    pub fn new(
        queries: DecodeQueries,
        layout: &Layout,
        map: &RowMap,
        what: (KeySpans, Denominator),
        place: ScorePlace,
    ) -> Result<Self> {
        ScoreMax::new(queries, layout, map, what, place).map(Self)
    }

    /// Whether sums have to be given.
    pub fn takes_lse(&self) -> bool {
        self.0.denominator == Denominator::Full
    }
}

impl Spec for MaxAttention {
    fn kernel(&self) -> &'static str {
        super::NAME
    }

    /// # Errors
    /// As those of the kernels.
    fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        let ScoreMax { shape, tensor_rows, queries, map, spans, denominator, .. } = self.0;
        if denominator != Denominator::Subset {
            return self.0.launches(caps, knobs);
        }
        let scores = self.0.launches_with(Sums::Scratch, caps, knobs)?;
        if scores.is_empty() {
            return Ok(scores);
        }
        let sums = ScoreLse { shape, tensor_rows, queries, map, spans };
        let mut launches = sums.launches(caps, knobs)?;
        for launch in &mut launches {
            let lse = launch.operands.iter().position(|operand| operand.binding == LSE);
            if let Some(Operand { binding, bytes, .. }) = lse.map(|at| launch.operands.remove(at)) {
                launch.scratch = vec![Scratch { binding, offset: 0, bytes }];
            }
        }
        launches.extend(scores);
        Ok(launches)
    }

    fn candidates(&self, caps: &Caps) -> Vec<Knobs> {
        self.0.candidates(caps)
    }
}
