//! Who makes scores of queries and keys.

use super::{ModelSizes, RepeatPass};
use crate::attention::reference::{ScoreProblem, score_max};
use crate::attention::{Denominator, KvCache, Scores};
use crate::{Error, Result};

/// Makes scores of what an engine hands over, of type `L`. A pair's score is the largest of the pass whose
/// chunk it is in; where a chunk is handed over again, its scores are those of the last time.
pub trait Scorer<L> {
    /// Before the first pass: there will be scores `[layers, heads, n]`; none, and no pass, where `n` is 0.
    ///
    /// # Errors
    /// The scorer's own.
    fn begin(&mut self, sizes: &ModelSizes, n: u32, denominator: Denominator) -> Result<()>;

    /// One layer of a pass. On a device it may be recorded only.
    ///
    /// # Errors
    /// The scorer's own.
    fn score(&mut self, pass: &RepeatPass, layer: usize, data: L) -> Result<()>;

    /// After the last pass.
    ///
    /// # Errors
    /// The scorer's own.
    fn finish(&mut self) -> Result<Scores>;
}

/// One layer of a pass on the host.
#[derive(Debug, Clone, Copy)]
pub struct HostLayer<'a> {
    /// Queries of the pass, `[tokens, query_heads, head_dim]`.
    pub q: &'a [f32],
    /// System prefix, context, and the rows of the pass's tokens.
    pub cache: &'a KvCache,
    /// Natural logarithms of the sums that the pass's attention divided by, `[tokens, query_heads]`, for
    /// [`Denominator::Full`]; worked out again where absent.
    pub lse: Option<&'a [f64]>,
}

/// Scores in f64 from the definition, on one core: for tests and small models.
#[derive(Debug, Clone, Default)]
pub struct ReferenceScorer {
    begun: Option<(ModelSizes, Denominator, Scores)>,
}

impl Scorer<HostLayer<'_>> for ReferenceScorer {
    fn begin(&mut self, sizes: &ModelSizes, n: u32, denominator: Denominator) -> Result<()> {
        let scores = Scores::zeros(sizes.layers, sizes.shape.kv_heads(), n)?;
        self.begun = Some((*sizes, denominator, scores));
        Ok(())
    }

    fn score(&mut self, pass: &RepeatPass, layer: usize, data: HostLayer<'_>) -> Result<()> {
        let (sizes, denominator, scores) = self.begun.as_mut().ok_or_else(not_begun)?;
        let problem = ScoreProblem {
            q: data.q,
            q_len: pass.tokens.len(),
            query_heads: sizes.shape.kv_heads() * sizes.group,
            sink: pass.sink,
            chunk: pass.chunk.clone(),
            new: pass.new_rows(),
            denominator: *denominator,
            lse: data.lse,
            logits: sizes.logits,
        };
        let found: Vec<f32> =
            score_max(&problem, data.cache)?.into_iter().map(|score| score as f32).collect();
        scores.write(layer, pass.start, &found)
    }

    fn finish(&mut self) -> Result<Scores> {
        self.begun.take().map(|(_, _, scores)| scores).ok_or_else(not_begun)
    }
}

fn not_begun() -> Error {
    Error::unsupported("scores of a pass", "the scorer was not begun")
}
