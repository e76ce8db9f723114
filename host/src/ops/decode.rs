//! Attention of the newest tokens to one layer's cache: `decode_split` and `decode_merge` as one.
//!
//! A [`Schedule`] is uploaded once for a plan ([`DecodePlan::upload`]); appended rows cost a write of
//! four bytes a step ([`DecodePlan::update`]). [`BoundDecode::record`] refuses a plan that is stale or a
//! schedule that was not brought up to date. Under a mask of pairs that stay ([`Schedule::with_mask`]) many
//! ratios are tried on one cache: [`DecodePlan::set_mask`]. How many workgroups to plan for
//! [`calibrate`] finds out.
//!
//! ```no_run
//! use fewbytes::Knobs;
//! use fewbytes::attention::{CacheShape, DecodeQueries, KvCache, KvElement, Layout, Planner, Schedule};
//! use fewbytes_wgpu::ops::decode::{self, DecodePlan, Rows};
//! use fewbytes_wgpu::{Context, Result};
//!
//! fn step(ctx: &Context, cache: &KvCache, q: &[f32]) -> Result<Vec<f32>> {
//!     let (keys, values) = (ctx.upload(cache.keys().words())?, ctx.upload(cache.values().words())?);
//!     let rows = Rows { keys: &keys, values: &values, params: None };
//!     let split = Planner::Stream.plan_layout(cache.layout(), 264)?;
//!     let schedule = DecodePlan::upload(ctx, Schedule::new(&split, cache.layout(), &[])?)?;
//!     let queries = DecodeQueries::new(cache.shape(), 4);
//!     let plan = decode::plan(ctx, &schedule, cache.layout(), queries, &Knobs::DEFAULT)?;
//!     let scratch = ctx.alloc::<u8>(plan.scratch_bytes() as usize)?;
//!     let (q, o) = (ctx.upload(q)?, ctx.alloc::<f32>(q.len())?);
//!     let bound = plan.bind(&schedule, &q, &rows, &o, None, Some(&scratch))?;
//!     ctx.submit(|pass| bound.record(pass, &schedule, cache.layout()))?;
//!     ctx.block_on(ctx.read::<f32>(&o))
//! }
//! ```

#[cfg(not(target_arch = "wasm32"))]
pub use super::decode_calibration::{
    Calibration, CalibrationOptions, CalibrationTrial, calibrate, calibrate_with, time,
};

use super::DeviceCache;
use super::decode_merge::expect_lse;
use super::decode_split::expect_queries;
use crate::{Arg, Bound, Context, Element, View};
use fewbytes::attention::decode::{KEY_PARAMS, KEYS, LSE, O, Q, SCHEDULE, VALUE_PARAMS, VALUES};
use fewbytes::attention::{Decode, DecodeQueries, DecodeSplit, KeepMask, Layout, Schedule};
use fewbytes::launch::Traffic;
use fewbytes::{Error, Knobs, Result};
use std::ops::Range;

/// The rows of a cache on the device.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// `[rows, row_words]`, u32.
    pub keys: &'a View,
    /// `[rows, row_words]`, u32.
    pub values: &'a View,
    /// Parameters of keys and of values, `[rows]` each, u32; of int8 and int4 only.
    pub params: Option<[&'a View; 2]>,
}

impl<'a> Rows<'a> {
    /// Keys and values of a cache.
    pub fn of(cache: &'a DeviceCache) -> Self {
        let params = cache.key_params().zip(cache.value_params());
        Self { keys: cache.keys(), values: cache.values(), params: params.map(<[_; 2]>::from) }
    }
}

/// A schedule on the device.
#[derive(Debug, Clone)]
pub struct DecodePlan {
    schedule: Schedule,
    words: View,
}

/// Both kernels of a step, compiled.
pub struct Plan {
    spec: DecodeSplit,
    plan: crate::Plan,
}

/// Both kernels bound to their tensors.
pub struct BoundDecode {
    bound: Bound,
    words: View,
}

impl DecodePlan {
    /// Uploads a schedule.
    ///
    /// # Errors
    /// As [`Context::upload`].
    pub fn upload(ctx: &Context, schedule: Schedule) -> Result<Self> {
        let words = ctx.upload(schedule.words())?;
        Ok(Self { schedule, words })
    }

    /// Brings the schedule up to date, before the step that follows an append or a truncation is
    /// submitted. `starts` as for [`Schedule::new`]. The plan has to be good still; it is less balanced
    /// from [`Plan::balanced_until`](fewbytes::attention::Plan::balanced_until) on.
    ///
    /// # Errors
    /// As [`Schedule::update`] and [`Context::write`].
    pub fn update(&mut self, ctx: &Context, layout: &Layout, starts: &[u32]) -> Result<()> {
        for range in self.schedule.update(layout, starts)? {
            self.write(ctx, range)?;
        }
        Ok(())
    }

    /// Another mask of as many rows, for what is submitted later; nothing is bound anew. The schedule was
    /// [made with one](Schedule::with_mask).
    ///
    /// # Errors
    /// As [`Schedule::set_mask`] and [`Context::write`].
    pub fn set_mask(&mut self, ctx: &Context, mask: &KeepMask, layer: usize) -> Result<()> {
        let range = self.schedule.set_mask(mask, layer)?;
        self.write(ctx, range)
    }

    /// The same of words that are on the device, `[heads][ceil(n / 32)]` of u32: those of a layer among
    /// [the outputs of a selection](super::select_pairs::Outputs). Submits a copy, behind everything that
    /// was submitted before. [`DecodePlan::schedule`] goes on to tell the mask that a host gave last.
    ///
    /// # Errors
    /// [`Error::Shape`] for another type or length; [`Error::Validation`] for memory that cannot be copied
    /// from; [`Error::DeviceLost`].
    pub fn copy_mask(&mut self, ctx: &Context, mask: &View) -> Result<()> {
        let to = self.words.slice(self.schedule.mask())?;
        expect(mask, "words of a mask", Element::U32, to.len())?;
        if to.is_empty() {
            return Ok(());
        }
        ctx.guarded().scoped("a copy of a mask", |device| {
            let mut encoder = device.create_command_encoder(&Default::default());
            let (from, offset) = (mask.buffer(), mask.offset());
            encoder.copy_buffer_to_buffer(from, offset, to.buffer(), to.offset(), to.bytes());
            ctx.queue().submit([encoder.finish()]);
        })
    }

    fn write(&self, ctx: &Context, range: Range<usize>) -> Result<()> {
        let view = self.words.slice(range.clone())?;
        ctx.write(&view, self.schedule.words().get(range).unwrap_or_default())
    }

    /// The schedule.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Its words on the device.
    pub fn words(&self) -> &View {
        &self.words
    }
}

/// Plans both kernels for a schedule. They stay good for every update of it; a schedule of another
/// [plan](fewbytes::attention::Plan) is planned anew, which compiles nothing.
///
/// # Errors
/// As [`DecodeSplit::new`] and [`Context::plan_with`].
pub fn plan(
    ctx: &Context,
    schedule: &DecodePlan,
    layout: &Layout,
    queries: DecodeQueries,
    knobs: &Knobs,
) -> Result<Plan> {
    let spec = DecodeSplit::new(queries, layout, &schedule.schedule)?;
    Ok(Plan { spec, plan: ctx.plan_with(&Decode(spec), knobs)? })
}

impl Plan {
    /// What was planned.
    pub fn spec(&self) -> &DecodeSplit {
        &self.spec
    }

    /// Bytes of scratch memory for partial states; layers that follow each other can share it.
    pub fn scratch_bytes(&self) -> u64 {
        self.plan.scratch_bytes()
    }

    /// Kernel and variant of every launch.
    pub fn variants(&self) -> impl Iterator<Item = (&'static str, &'static str)> + '_ {
        self.plan.variants()
    }

    /// Bytes and operations of one step: the rows that the schedule was made for, `q` and `o`.
    pub fn traffic(&self) -> Traffic {
        self.plan.traffic()
    }

    /// Binds `q [q_len, H G, D]`, the rows, `o` of the shape of `q` and, where asked for,
    /// `lse [q_len, H G]` of f32: recording then allocates nothing.
    ///
    /// # Errors
    /// [`Error::Shape`] for a schedule of another shape, for views of another type or length, for
    /// parameters or an `lse` too many or missing, and as [`crate::Plan::bind`].
    pub fn bind(
        &self,
        schedule: &DecodePlan,
        q: &View,
        rows: &Rows<'_>,
        o: &View,
        lse: Option<&View>,
        scratch: Option<&View>,
    ) -> Result<BoundDecode> {
        if *schedule.schedule.shape() != self.spec.schedule {
            let of = |shape| format!("{shape:?}");
            let (expected, found) = (of(&self.spec.schedule), of(schedule.schedule.shape()));
            return Err(Error::shape("schedule of another plan", expected, found));
        }
        expect_queries(&self.spec, q, &schedule.words, o)?;
        let sums = self.spec.queries.lse_len(self.spec.shape.kv_heads());
        expect_lse(lse, self.spec.queries.lse, sums)?;
        let one = std::slice::from_ref;
        let mut args = args_of_rows(&self.spec, rows)?;
        args.extend([
            Arg { binding: Q, pieces: one(q) },
            Arg { binding: SCHEDULE, pieces: one(&schedule.words) },
            Arg { binding: O, pieces: one(o) },
            Arg { binding: LSE, pieces: lse.map(one).unwrap_or_default() },
        ]);
        let bound = self.plan.bind(&args, scratch)?;
        Ok(BoundDecode { bound, words: schedule.words.clone() })
    }
}

impl BoundDecode {
    /// Records both kernels, for the layout as it is now. The schedule has to have been updated since
    /// rows were appended, and is read when the pass runs.
    ///
    /// # Errors
    /// [`Error::Shape`] for a schedule that was not bound, and as [`Schedule::check`]: nothing is
    /// recorded then. [`Error::DeviceLost`].
    pub fn record(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        schedule: &DecodePlan,
        layout: &Layout,
    ) -> Result<()> {
        if schedule.words != self.words {
            return Err(Error::shape("schedule", "the one that was bound", "another"));
        }
        schedule.schedule.check(layout)?;
        self.bound.record(pass)
    }
}

/// Checks a view whose length is counted in u64.
pub(super) fn expect(view: &View, what: &str, element: Element, len: u64) -> Result<()> {
    let len = usize::try_from(len).map_err(|_| Error::shape(what, len, view.len()))?;
    view.expect(what, element, len)
}

/// The rows, once they have the types and lengths that the spec says.
pub(super) fn args_of_rows<'a>(spec: &DecodeSplit, rows: &Rows<'a>) -> Result<Vec<Arg<'a>>> {
    let count = u64::from(spec.tensor_rows);
    let words = count * spec.shape.row_words() as u64;
    expect(rows.keys, "keys", Element::U32, words)?;
    expect(rows.values, "values", Element::U32, words)?;
    let scaled = spec.shape.element().scaled();
    if rows.params.is_some() != scaled {
        let words = |given| if given { "given" } else { "none" };
        let (expected, found) = (words(scaled), words(rows.params.is_some()));
        return Err(Error::shape("parameters of rows", expected, found));
    }
    let one = |binding, view: &'a View| Arg { binding, pieces: std::slice::from_ref(view) };
    let mut args = vec![one(KEYS, rows.keys), one(VALUES, rows.values)];
    if let Some([keys, values]) = rows.params {
        expect(keys, "parameters of keys", Element::U32, count)?;
        expect(values, "parameters of values", Element::U32, count)?;
        args.extend([one(KEY_PARAMS, keys), one(VALUE_PARAMS, values)]);
    }
    Ok(args)
}
