//! The largest attention that every key of a chunk gets from some queries: `score_lse`, where sums are not
//! given, and `score_max` as one. What KVzip scores cached pairs by, and of use wherever a matrix of
//! attention would be made only to take its largest column entries: it is never stored.
//!
//! ```no_run
//! use fewbytes::Knobs;
//! use fewbytes::attention::{
//!     DecodeQueries, Denominator, KeySpans, MaxAttention, RowMap, ScorePlace,
//! };
//! use fewbytes_wgpu::ops::prefill::KeyRows;
//! use fewbytes_wgpu::ops::{DeviceCache, DeviceRowMap, max_attention};
//! use fewbytes_wgpu::{Context, Result, View};
//!
//! /// Scores of 2000 rows behind a system prefix of 30, for a pass of 2020 tokens that were appended.
//! fn score(ctx: &Context, cache: &DeviceCache, q: &View, score: &View) -> Result<()> {
//!     let layout = cache.layout();
//!     let map = DeviceRowMap::upload(ctx, RowMap::new(layout, &[])?)?;
//!     let queries = DecodeQueries { q_len: 2020, ..DecodeQueries::new(layout.shape(), 4) };
//!     let spans = KeySpans { sink: 30, first: 30, rows: 2000 };
//!     let place = ScorePlace::of_layer(layout.shape().kv_heads(), 2000);
//!     let what = (spans, Denominator::Subset);
//!     let spec = MaxAttention::new(queries, layout, map.map(), what, place)?;
//!     let plan = max_attention::plan(ctx, &spec, &Knobs::DEFAULT)?;
//!     let scratch = ctx.alloc::<u8>(plan.scratch_bytes() as usize)?;
//!     let bound = plan.bind(q, &KeyRows::of(cache), &map, None, score, Some(&scratch))?;
//!     ctx.submit(|pass| bound.record(pass, &map, layout))
//! }
//! ```

use super::prefill::KeyRows;
use super::score_max::args_of_scores;
use super::{BoundByMap, DeviceRowMap};
use crate::{Context, View};
use fewbytes::attention::MaxAttention;
use fewbytes::launch::Traffic;
use fewbytes::{Knobs, Result};

/// The launches of both passes; none for a chunk without rows.
pub struct Plan {
    spec: MaxAttention,
    plan: crate::Plan,
}

/// Plans both passes.
///
/// # Errors
/// As [`Context::plan_with`].
pub fn plan(ctx: &Context, spec: &MaxAttention, knobs: &Knobs) -> Result<Plan> {
    Ok(Plan { spec: *spec, plan: ctx.plan_with(spec, knobs)? })
}

impl Plan {
    /// What was planned.
    pub fn spec(&self) -> &MaxAttention {
        &self.spec
    }

    /// Kernel and variant of every launch.
    pub fn variants(&self) -> impl Iterator<Item = (&'static str, &'static str)> + '_ {
        self.plan.variants()
    }

    /// Bytes and operations of both passes.
    pub fn traffic(&self) -> Traffic {
        self.plan.traffic()
    }

    /// Bytes of scratch memory for sums and the bests of slices; passes that follow each other can share
    /// it.
    pub fn scratch_bytes(&self) -> u64 {
        self.plan.scratch_bytes()
    }

    /// Binds `q [q_len, H G, D]`, the rows, the map, the sums `lse [q_len, H G]` of f32 where
    /// they are given ([`MaxAttention::takes_lse`]), and the whole tensor of scores, `[layers, heads,
    /// positions]` of f32: recording then allocates nothing, and writes the chunk's part.
    ///
    /// # Errors
    /// [`fewbytes::Error::Shape`] for a map of another shape, for views of another type or length and for
    /// parameters or an `lse` too many or missing, and as [`crate::Plan::bind`].
    pub fn bind(
        &self,
        q: &View,
        rows: &KeyRows<'_>,
        map: &DeviceRowMap,
        lse: Option<&View>,
        score: &View,
        scratch: Option<&View>,
    ) -> Result<BoundByMap> {
        let given = self.spec.takes_lse();
        let args = args_of_scores(&self.spec.0, given, (q, map), rows, (lse, score))?;
        Ok(BoundByMap::new(self.plan.bind(&args, scratch)?, map, self.spec.0.tensor_rows))
    }
}
