//! `greedy_hits`: adds what a greedy search takes of each column to its rows.

use super::greedy_runs::{Index, Outputs, expect_queries};
use crate::{Arg, Bound, Context, Element, View};
use fewbytes::attention::GreedyHits;
use fewbytes::attention::decode::Q;
use fewbytes::attention::sparse::{FOUND, HITS, INDEX_MAP, ORDER, RUNS, SORTED};
use fewbytes::{Knobs, Result};

/// The launch of one search's hits.
pub struct Plan {
    spec: GreedyHits,
    plan: crate::Plan,
}

/// Plans hits.
///
/// # Errors
/// As [`Context::plan_with`].
pub fn plan(ctx: &Context, spec: &GreedyHits, knobs: &Knobs) -> Result<Plan> {
    Ok(Plan { spec: *spec, plan: ctx.plan_with(spec, knobs)? })
}

impl Plan {
    /// What was planned.
    pub fn spec(&self) -> &GreedyHits {
        &self.spec
    }

    /// Binds queries `[T, H G, D]`, the index with the rows of its sorted columns, `order`, words of u32, and
    /// what the search wrote: hits are added to. Recording then allocates nothing.
    ///
    /// # Errors
    /// [`fewbytes::Error::Shape`] for views of another type or length, and as [`crate::Plan::bind`].
    pub fn bind(&self, q: &View, index: &Index, order: &View, outputs: &Outputs) -> Result<Bound> {
        let search = &self.spec.search;
        let shape = &search.index;
        expect_queries(q, search)?;
        index.map.expect("map of an index", Element::U32, shape.map_words() as usize)?;
        index.sorted.expect("sorted columns", Element::U32, shape.words() as usize)?;
        order.expect("rows of sorted columns", Element::U32, shape.order_words() as usize)?;
        outputs.expect(search)?;
        let arg = |binding, view| Arg { binding, pieces: std::slice::from_ref(view) };
        let args = [
            arg(Q, q),
            arg(INDEX_MAP, &index.map),
            arg(SORTED, &index.sorted),
            arg(ORDER, order),
            arg(RUNS, &outputs.runs),
            arg(FOUND, &outputs.found),
            arg(HITS, &outputs.hits),
        ];
        self.plan.bind(&args, None)
    }
}
