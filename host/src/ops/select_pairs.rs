//! `select_pairs`: the pairs of keys and values with the best scores.
//!
//! An eviction is one [`Selection`] of all layers and then a compaction of each cache:
//!
//! ```no_run
//! # use fewbytes::attention::SelectPairs;
//! # use fewbytes_wgpu::{Context, View, ops::{DeviceCache, select_pairs::{Around, Selection}}};
//! # async fn evict(ctx: &Context, scores: &[View], caches: &mut [DeviceCache]) -> fewbytes::Result<()> {
//! let selection = Selection::new(ctx, &SelectPairs::new(32, 8, 4096).in_pieces(ctx.caps()))?;
//! let report = selection.select(ctx, scores, &[32 * 8 * 4096 / 10 * 3]).await?;
//! selection.compact_all(ctx, &report, caches, Around { prefix: 20, reserve: 512 })?;
//! # Ok(()) }
//! ```
//!
//! The host reads the report once, some words a head, because a cache's size follows from it.

use super::{DeviceCache, list_pairs};
use crate::{Arg, Bound, Context, Element, View};
use fewbytes::attention::select_pairs::{
    BLOCKS, BUDGETS, MASK, NAME, REPORT, Report as Found, SCORES, Segments,
};
use fewbytes::attention::{KeepMask, ListPairs, SelectPairs, Selection as Selected};
use fewbytes::launch::Traffic;
use fewbytes::{Error, Knobs, Result};
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};

/// The launches of one selection; none where there are no scores.
pub struct Plan {
    spec: SelectPairs,
    plan: crate::Plan,
}

/// Plans a selection.
///
/// # Errors
/// As [`Context::plan_with`].
pub fn plan(ctx: &Context, spec: &SelectPairs, knobs: &Knobs) -> Result<Plan> {
    Ok(Plan { spec: *spec, plan: ctx.plan_with(spec, knobs)? })
}

/// What a selection writes.
#[derive(Debug, Clone)]
pub struct Outputs {
    /// Kept pairs, [`SelectPairs::mask_len`] of u32.
    pub mask: View,
    /// Kept pairs of blocks, [`SelectPairs::blocks_len`] of u32.
    pub blocks: View,
    /// What a host reads, [`SelectPairs::report_len`] of u32.
    pub report: View,
}

impl Outputs {
    /// New buffers for a selection.
    ///
    /// # Errors
    /// As [`Context::alloc`].
    pub fn new(ctx: &Context, spec: &SelectPairs) -> Result<Self> {
        Ok(Self {
            mask: ctx.alloc::<u32>(spec.mask_len())?,
            blocks: ctx.alloc::<u32>(spec.blocks_len())?,
            report: ctx.alloc::<u32>(spec.report_len())?,
        })
    }
}

impl Plan {
    /// What was planned.
    pub fn spec(&self) -> &SelectPairs {
        &self.spec
    }

    /// Bytes of one selection, as the kernel's documentation predicts them.
    pub fn traffic(&self) -> Traffic {
        self.plan.traffic()
    }

    /// Bytes of scratch memory that [`Plan::bind`] wants.
    pub fn scratch_bytes(&self) -> u64 {
        self.plan.scratch_bytes()
    }

    /// Binds the scores of f32, one view a piece, the budgets `[segments]` of u32 and what is written:
    /// recording then allocates nothing. Budgets on a device are not looked at: one above the pairs
    /// of a segment keeps all of them, and one below those that are always kept keeps these.
    ///
    /// # Errors
    /// [`Error::Shape`] for views of another type or length and another number of pieces, and as
    /// [`crate::Plan::bind`].
    pub fn bind(
        &self,
        scores: &[View],
        budgets: &View,
        outputs: &Outputs,
        scratch: Option<&View>,
    ) -> Result<Bound> {
        let pieces: Vec<_> = self.spec.pieces().collect();
        if scores.len() != pieces.len() {
            return Err(Error::shape(
                format!("pieces of scores of {NAME}"),
                pieces.len(),
                scores.len(),
            ));
        }
        for (view, layers) in scores.iter().zip(&pieces) {
            view.expect("a piece of scores", Element::F32, self.spec.piece_len(layers.len()))?;
        }
        budgets.expect("budgets", Element::U32, self.spec.segment_count())?;
        outputs.mask.expect("mask of kept pairs", Element::U32, self.spec.mask_len())?;
        outputs.blocks.expect("counts of kept pairs", Element::U32, self.spec.blocks_len())?;
        outputs.report.expect("report of a selection", Element::U32, self.spec.report_len())?;
        let arg = |binding, view| Arg { binding, pieces: std::slice::from_ref(view) };
        let args = [
            Arg { binding: SCORES, pieces: scores },
            arg(BUDGETS, budgets),
            arg(MASK, &outputs.mask),
            arg(BLOCKS, &outputs.blocks),
            arg(REPORT, &outputs.report),
        ];
        self.plan.bind(&args, scratch)
    }
}

/// A selection with buffers of its own: planned once, for any scores and budgets of its sizes.
pub struct Selection {
    plan: Plan,
    budgets: View,
    outputs: Outputs,
    scratch: Option<View>,
    /// The number of the report that tells of `outputs`.
    current: AtomicU64,
}

/// The number of the next report of whichever selection; none has number 0.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// What a selection tells, and which one that was: whatever is compacted by it has to be compacted by the
/// mask that it tells of.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    number: u64,
    found: Found,
}

impl Report {
    /// Its number, which no other report of this process has.
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl Deref for Report {
    type Target = Found;

    fn deref(&self) -> &Found {
        &self.found
    }
}

/// What is around the context of a cache that is compacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Around {
    /// Rows before the context, the system prefix, which stay.
    pub prefix: u32,
    /// Rows that every head has room for afterwards:
    /// [`RESERVE`](fewbytes::attention::RESERVE) is usual.
    pub reserve: u32,
}

impl Selection {
    /// Plans a selection with default knobs and makes its buffers.
    ///
    /// # Errors
    /// As [`plan`] and [`Context::alloc`].
    pub fn new(ctx: &Context, spec: &SelectPairs) -> Result<Self> {
        let plan = plan(ctx, spec, &Knobs::DEFAULT)?;
        let bytes = usize::try_from(plan.scratch_bytes()).unwrap_or(usize::MAX);
        Ok(Self {
            budgets: ctx.alloc::<u32>(spec.segment_count())?,
            outputs: Outputs::new(ctx, spec)?,
            scratch: if bytes > 0 { Some(ctx.alloc::<u8>(bytes)?) } else { None },
            current: AtomicU64::new(0),
            plan,
        })
    }

    /// What was planned.
    pub fn spec(&self) -> &SelectPairs {
        &self.plan.spec
    }

    /// What the last selection wrote: [`DecodePlan::copy_mask`](super::decode::DecodePlan::copy_mask) takes a layer's part of its mask.
    pub fn outputs(&self) -> &Outputs {
        &self.outputs
    }

    /// Binds scores: recording then selects of what they hold, by the budgets last given. Whoever records
    /// reads a [`Selection::report`] afterwards: nothing else tells that earlier ones are of another mask.
    ///
    /// # Errors
    /// As [`Plan::bind`].
    pub fn bind(&self, scores: &[View]) -> Result<Bound> {
        self.plan.bind(scores, &self.budgets, &self.outputs, self.scratch.as_ref())
    }

    /// Gives budgets, one a segment, to what is submitted next.
    ///
    /// # Errors
    /// As [`SelectPairs::check_budgets`] and [`Context::write`].
    pub fn set_budgets(&self, ctx: &Context, budgets: &[u32]) -> Result<()> {
        self.spec().check_budgets(budgets)?;
        ctx.write(&self.budgets, budgets)
    }

    /// Reads what was selected. Reports that were read before are refused from then on.
    ///
    /// # Errors
    /// As [`Context::read`].
    pub async fn report(&self, ctx: &Context) -> Result<Report> {
        let number = self.renumber();
        let found = Found::of(self.spec(), &ctx.read::<u32>(&self.outputs.report).await?)?;
        Ok(Report { number, found })
    }

    /// Makes all reports so far stale.
    fn renumber(&self) -> u64 {
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        self.current.store(number, Ordering::Relaxed);
        number
    }

    /// Whether a report is of what `outputs` hold.
    fn check(&self, report: &Report) -> Result<()> {
        let current = self.current.load(Ordering::Relaxed);
        if report.number == current {
            return Ok(());
        }
        Err(Error::shape("number of the report of the last selection", current, report.number))
    }

    /// Reads which pairs the last selection keeps, a bit each, as a host's own selection would tell: for
    /// [`Kvzip::apply`](fewbytes::attention::Kvzip::apply), and to evict a copy in host memory.
    ///
    /// # Errors
    /// [`Error::Shape`] for a report of an earlier selection or another's; as [`Context::read`] and
    /// [`KeepMask::from_words`].
    pub async fn kept(&self, ctx: &Context, report: &Report) -> Result<Selected> {
        self.check(report)?;
        let spec = self.spec();
        let n = u32::try_from(spec.n).map_err(|_| {
            Error::range("positions of a context", format!("0..={}", u32::MAX), spec.n)
        })?;
        let words = ctx.read::<u32>(&self.outputs.mask).await?;
        let mask = KeepMask::from_words(spec.layers, spec.heads, n, words)?;
        // Of many budgets there is no one threshold, and none where nothing goes.
        let threshold = match report.segments.as_slice() {
            [one] if spec.segments == Segments::Model && report.pairs() < spec.pairs() as u64 => {
                one.threshold
            }
            _ => None,
        };
        Ok(Selected::from_parts(mask, threshold, report.nans.into()))
    }

    /// Selects by these budgets: submits the launches and reads the report. Without scores nothing is
    /// kept.
    ///
    /// # Errors
    /// As [`Selection::bind`], [`Selection::set_budgets`] and [`Selection::report`].
    pub async fn select(&self, ctx: &Context, scores: &[View], budgets: &[u32]) -> Result<Report> {
        self.set_budgets(ctx, budgets)?;
        let bound = self.bind(scores)?;
        if !bound.is_empty() {
            // Also where no report comes to be read.
            self.renumber();
            ctx.submit(|pass| bound.record(pass))?;
        }
        self.report(ctx).await
    }

    /// What the last selection leaves of a cache whose heads are rows `first_row ..` of the scores, as a
    /// ragged cache in buffers of its own: `around.prefix` rows, the kept pairs of the context after
    /// them, and all rows that follow. Submits the copy; the cache stays as it is.
    ///
    /// # Errors
    /// [`Error::Range`] for heads that were not scored and a cache with fewer rows than prefix and context;
    /// [`Error::Shape`] for a head that has lost rows before, and a report of an earlier selection or
    /// another's, which names both numbers; as [`DeviceCache::compact_listed`].
    pub fn compact(
        &self,
        ctx: &Context,
        report: &Report,
        first_row: usize,
        cache: &DeviceCache,
        around: Around,
    ) -> Result<DeviceCache> {
        self.copied(ctx, &self.remaining(report, first_row, cache, around)?, cache, around)
    }

    /// Leaves of all caches what the last selection does, as [`Selection::compact`]: a cache a layer, or
    /// several with some of its heads each, which have the scored heads in their order. Every old cache
    /// goes as soon as it is copied.
    ///
    /// What does not fit is refused before any cache is touched. Where the device fails later, caches before
    /// the one that is named are compacted, and it and those after it are whole:
    /// [`Selection::compact`] goes on with them.
    ///
    /// # Errors
    /// [`Error::Shape`] for caches of other heads than were scored and a stale report; [`Error::Layer`] naming the cache, from
    /// 0, for what [`Selection::compact`] refuses.
    pub fn compact_all(
        &self,
        ctx: &Context,
        report: &Report,
        caches: &mut [DeviceCache],
        around: Around,
    ) -> Result<()> {
        self.check(report)?;
        let heads = |cache: &DeviceCache| cache.layout().shape().kv_heads();
        let all: usize = caches.iter().map(heads).sum();
        if all != self.spec().rows() {
            return Err(Error::shape("heads of all caches", self.spec().rows(), all));
        }
        let mut first_row = 0;
        let mut remaining = Vec::with_capacity(caches.len());
        for (at, cache) in caches.iter().enumerate() {
            let left = self.remaining(report, first_row, cache, around);
            remaining.push(left.map_err(|error| error.in_layer(&at.to_string()))?);
            first_row += heads(cache);
        }
        for (at, (cache, left)) in caches.iter_mut().zip(&remaining).enumerate() {
            let small = self.copied(ctx, left, cache, around);
            *cache = small.map_err(|error| error.in_layer(&at.to_string()))?;
        }
        Ok(())
    }

    /// What is to stay of a cache.
    fn remaining(
        &self,
        report: &Report,
        first_row: usize,
        cache: &DeviceCache,
        around: Around,
    ) -> Result<Remaining> {
        self.check(report)?;
        let (spec, heads) = (self.spec(), cache.layout().shape().kv_heads());
        let end = first_row.saturating_add(heads);
        let Some(kept) = report.kept.get(first_row..end) else {
            let limit = format!("0..={}", report.kept.len());
            return Err(Error::range("heads of a cache among those that were scored", limit, end));
        };
        let all = cache.layout().lengths();
        let length = all.iter().copied().max().unwrap_or(0);
        if let Some((head, other)) = all.iter().enumerate().find(|(_, other)| **other != length) {
            return Err(Error::shape(format!("rows of head {head}, none evicted"), length, other));
        }
        let least = u64::from(around.prefix).saturating_add(spec.n as u64);
        let Some(appended) = u64::from(length).checked_sub(least) else {
            let limit = format!("{least}.., prefix and context");
            return Err(Error::range("rows of a head of a cache", limit, length));
        };
        // Not above the length.
        let appended = appended as u32;
        let always = around.prefix.saturating_add(appended);
        let lengths: Vec<u32> = kept.iter().map(|kept| kept.saturating_add(always)).collect();
        let rows = lengths.iter().fold(0u64, |sum, length| sum + u64::from(*length));
        let rows = u32::try_from(rows)
            .map_err(|_| Error::range("kept rows", format!("0..={}", u32::MAX), rows))?;
        // Also refused here, before anything is copied.
        cache.layout().compacted_to(&lengths, around.reserve)?;
        Ok(Remaining { first_row, appended, lengths, rows })
    }

    fn copied(
        &self,
        ctx: &Context,
        remaining: &Remaining,
        cache: &DeviceCache,
        around: Around,
    ) -> Result<DeviceCache> {
        let (spec, heads) = (self.spec(), cache.layout().shape().kv_heads());
        let Remaining { first_row, appended, ref lengths, rows } = *remaining;
        if rows == 0 || spec.n == 0 {
            return cache.compact(ctx, &cache.rows_of(lengths)?, around.reserve);
        }
        let lists = list_pairs::plan(
            ctx,
            &ListPairs {
                n: spec.n,
                mask_rows: spec.rows(),
                first_row,
                heads,
                prefix: around.prefix,
                appended,
                rows,
            },
        )?;
        let (first, listed) = (ctx.alloc::<u32>(heads + 1)?, ctx.alloc::<u32>(rows as usize)?);
        let before = lists.bind(&self.outputs.mask, &self.outputs.blocks, &first, &listed)?;
        cache.compact_listed(ctx, lengths, Some(before), (&first, &listed), around.reserve)
    }
}

/// What is to stay of a cache.
struct Remaining {
    first_row: usize,
    appended: u32,
    /// Rows of every head.
    lengths: Vec<u32>,
    /// Of all heads.
    rows: u32,
}
