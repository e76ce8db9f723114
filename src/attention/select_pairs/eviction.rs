//! An eviction as a device is told of it.

use super::{Cut, Segments, SelectPairs};
use crate::attention::evict::{Eviction, PairRule, Rule};
use crate::{Error, Result};

impl SelectPairs {
    /// The same scores selected from as an eviction says, and the budgets of its segments: what is kept is
    /// what [`select`](crate::attention::evict::select) keeps of them.
    ///
    /// Whole heads are selected in host memory, by the largest score of each: that needs the scores read
    /// back, [`Scores::head_scores`](crate::attention::Scores::head_scores) of them, and
    /// [`select_heads`](crate::attention::evict::select_heads); head scores that were made once serve any
    /// context of the model without scoring it. Of the selection caches are compacted by its
    /// [`keep_lists`](crate::attention::evict::Selection::keep_lists).
    ///
    /// # Errors
    /// [`Error::Range`] for a ratio outside 0 to 1 and more pairs than u32 counts; [`Error::Unsupported`]
    /// for [`Rule::Head`], whose scores are not those of pairs.
    pub fn evicting(self, eviction: &Eviction) -> Result<(Self, Vec<u32>)> {
        eviction.check()?;
        let (segments, cut) = match eviction.rule {
            Rule::Pair(PairRule::Exact) => (Segments::Model, Cut::Exact),
            Rule::Pair(PairRule::RefStrict) => (Segments::Model, Cut::RefStrict),
            Rule::PairPerLayer => (Segments::Layers, Cut::Exact),
            Rule::PairUniform => (Segments::Heads, Cut::Exact),
            Rule::Head(_) => {
                let why = "heads are compared by their largest score, in host memory";
                return Err(Error::unsupported("a selection of whole heads on a device", why));
            }
        };
        let (sink, recent) = (eviction.n_sink as usize, eviction.n_recent as usize);
        let spec = Self { segments, cut, sink, recent, ..self };
        spec.check()?;
        let budget = eviction.budget(spec.segment_pairs() as u64).max(spec.always() as u64);
        // No more than the pairs, which u32 counts.
        Ok((spec, vec![budget as u32; spec.segment_count()]))
    }
}
