//! Caches beyond a binding: several, each of some of the heads.
//!
//! Heads do not meet in attention, so a group of them is a cache by itself: it has its own schedule and
//! plan, and reads and writes its own part of `q` and of `o` ([`DeviceCache::part`]). All groups of a layer
//! are recorded in one pass and can share scratch memory.
//!
//! ```no_run
//! use fewbytes::attention::{DecodeQueries, Planner, Schedule};
//! use fewbytes::{Knobs, Result};
//! use fewbytes_wgpu::ops::decode::{self, DecodePlan, Rows};
//! use fewbytes_wgpu::ops::DeviceCache;
//! use fewbytes_wgpu::{Context, View};
//!
//! fn step(ctx: &Context, groups: &[DeviceCache], q: &View, o: &View) -> Result<()> {
//!     let mut all = Vec::new();
//!     for cache in groups {
//!         let layout = cache.layout();
//!         let split = Planner::Stream.plan_layout(layout, 264)?;
//!         let schedule = DecodePlan::upload(ctx, Schedule::new(&split, layout, &[])?)?;
//!         let queries = DecodeQueries::new(layout.shape(), 4);
//!         let plan = decode::plan(ctx, &schedule, layout, queries, &Knobs::DEFAULT)?;
//!         let scratch = ctx.alloc::<u8>(plan.scratch_bytes() as usize)?;
//!         let (q, o) = (cache.part(q, &queries)?, cache.part(o, &queries)?);
//!         let bound = plan.bind(&schedule, &q, &Rows::of(cache), &o, None, Some(&scratch))?;
//!         all.push((bound, schedule, layout));
//!     }
//!     ctx.submit(|pass| {
//!         all.iter().try_for_each(|(bound, schedule, layout)| bound.record(pass, schedule, layout))
//!     })
//! }
//! ```

use super::DeviceCache;
use crate::{Context, View};
use fewbytes::attention::{DecodeQueries, KvCache};
use fewbytes::{Error, Result};
use std::ops::Range;

impl DeviceCache {
    /// Uploads a cache as several, each of some of the heads, in their order: as few as keep every tensor
    /// within `limit` bytes and a binding of the device. One where all fit. All of them are appended to
    /// from the same keys and values, those of all heads, and ask with [their part](DeviceCache::part) of
    /// the queries.
    ///
    /// # Errors
    /// [`Error::BindingTooLarge`] naming a head that does not fit alone; as [`DeviceCache::upload`].
    pub fn upload_groups(ctx: &Context, cache: &KvCache, limit: u64) -> Result<Vec<Self>> {
        let groups = cache.layout().head_groups(limit.min(ctx.caps().bindable_bytes()))?;
        let input_heads = cache.shape().kv_heads();
        let upload = |heads: Range<usize>| {
            let first_head = heads.start;
            let mut device = Self::upload(ctx, &cache.of_heads(heads)?)?;
            (device.input_heads, device.first_head) = (input_heads, first_head);
            Ok(device)
        };
        groups.into_iter().map(upload).collect()
    }

    /// Which head of the layer is the cache's first.
    pub fn first_head(&self) -> usize {
        self.first_head
    }

    /// KV heads of the layer, those of other groups with them.
    pub fn layer_heads(&self) -> usize {
        self.input_heads
    }

    /// What a cache of some of the heads has of the layer's `q` or `o`: `[q_len, heads G, D]` of its own
    /// heads. In `whole` the groups come one after the other, which for one new token is `[H G, D]`, the
    /// order of heads itself; several new tokens are put into that order by whoever writes `q`.
    ///
    /// It starts a multiple of `4 G D` bytes from the first for f32 and `2 G D` for f16. Where that is no
    /// multiple of the device's storage alignment, binding it is refused with [`Error::Alignment`], and a
    /// buffer for each group serves.
    ///
    /// # Errors
    /// [`Error::Shape`] for a length that is not that of all heads; as [`View::slice`].
    pub fn part(&self, whole: &View, queries: &DecodeQueries) -> Result<View> {
        let shape = self.layout().shape();
        let head = queries.rows().saturating_mul(shape.head_dim());
        let all = head.saturating_mul(self.input_heads);
        if whole.len() != all as u64 {
            return Err(Error::shape("queries or outputs of all heads", all, whole.len()));
        }
        let end = self.first_head + shape.kv_heads();
        whole.slice(self.first_head * head..end * head)
    }
}
