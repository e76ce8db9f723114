//! `greedy_runs`: what a greedy search takes of each column of an index.

use crate::{Arg, Bound, Context, Element, View};
use fewbytes::attention::GreedyRuns;
use fewbytes::attention::decode::Q;
use fewbytes::attention::sparse::{FLAGS, FOUND, HITS, INDEX_MAP, RUNS, SORTED};
use fewbytes::linear::Activation;
use fewbytes::{Knobs, Result};

/// The launch of one search.
pub struct Plan {
    spec: GreedyRuns,
    plan: crate::Plan,
}

/// What a search reads besides the queries.
#[derive(Debug, Clone)]
pub struct Index {
    /// Where columns lie, `[H][8]` of u32.
    pub map: View,
    /// Sorted columns, words of u32.
    pub sorted: View,
    /// Which heads are marked, `[H]` of u32.
    pub flags: View,
}

/// What a search writes.
#[derive(Debug, Clone)]
pub struct Outputs {
    /// [`GreedyRuns::runs_len`] of u32.
    pub runs: View,
    /// [`GreedyRuns::found_len`] of u32.
    pub found: View,
    /// [`GreedyRuns::hits_len`] of u32, which are i32.
    pub hits: View,
}

impl Outputs {
    /// New buffers for a search.
    ///
    /// # Errors
    /// As [`Context::alloc`].
    pub fn new(ctx: &Context, spec: &GreedyRuns) -> Result<Self> {
        Ok(Self {
            runs: ctx.alloc::<u32>(spec.runs_len() as usize)?,
            found: ctx.alloc::<u32>(spec.found_len() as usize)?,
            hits: ctx.alloc::<u32>(spec.hits_len() as usize)?,
        })
    }

    pub(super) fn expect(&self, spec: &GreedyRuns) -> Result<()> {
        self.runs.expect("runs of a search", Element::U32, spec.runs_len() as usize)?;
        self.found.expect("findings of a search", Element::U32, spec.found_len() as usize)?;
        self.hits.expect("hits of a search", Element::U32, spec.hits_len() as usize)
    }
}

pub(super) fn expect_queries(q: &View, spec: &GreedyRuns) -> Result<()> {
    let element = match spec.input {
        Activation::F32 => Element::F32,
        Activation::F16 => Element::F16,
    };
    q.expect("queries of a search", element, spec.q_len() as usize)
}

/// Plans a search.
///
/// # Errors
/// As [`Context::plan_with`].
pub fn plan(ctx: &Context, spec: &GreedyRuns, knobs: &Knobs) -> Result<Plan> {
    Ok(Plan { spec: *spec, plan: ctx.plan_with(spec, knobs)? })
}

impl Plan {
    /// What was planned.
    pub fn spec(&self) -> &GreedyRuns {
        &self.spec
    }

    /// Bytes of scratch memory that [`Plan::bind`] wants.
    pub fn scratch_bytes(&self) -> u64 {
        self.plan.scratch_bytes()
    }

    /// Binds queries `[T, H G, D]`, the index and what is written. Recording then allocates nothing.
    ///
    /// # Errors
    /// [`fewbytes::Error::Shape`] for views of another type or length, and as [`crate::Plan::bind`].
    pub fn bind(
        &self,
        q: &View,
        index: &Index,
        outputs: &Outputs,
        scratch: Option<&View>,
    ) -> Result<Bound> {
        let shape = &self.spec.index;
        expect_queries(q, &self.spec)?;
        index.map.expect("map of an index", Element::U32, shape.map_words() as usize)?;
        index.sorted.expect("sorted columns", Element::U32, shape.words() as usize)?;
        index.flags.expect("flags of an index", Element::U32, shape.heads as usize)?;
        outputs.expect(&self.spec)?;
        let arg = |binding, view| Arg { binding, pieces: std::slice::from_ref(view) };
        let args = [
            arg(Q, q),
            arg(INDEX_MAP, &index.map),
            arg(SORTED, &index.sorted),
            arg(FLAGS, &index.flags),
            arg(RUNS, &outputs.runs),
            arg(FOUND, &outputs.found),
            arg(HITS, &outputs.hits),
        ];
        self.plan.bind(&args, scratch)
    }
}
