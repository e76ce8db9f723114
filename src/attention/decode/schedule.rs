//! One buffer with everything about where rows lie and who reads them.

use crate::attention::{KeepMask, Layout, LayoutView, Plan};
use crate::{Error, Result};
use std::ops::Range;

/// Words before the first array: the appended rows, and three that mean nothing.
const HEADER: u64 = 4;

/// How long the arrays of a [`Schedule`] are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ScheduleShape {
    /// KV heads.
    pub heads: u32,
    /// New tokens that have a start in every head, under a sliding window; else 0.
    pub starts: u32,
    /// Workgroups.
    pub groups: u32,
    /// Segments.
    pub segments: u32,
    /// Slots of partial states.
    pub slots: u32,
    /// Rows of a page; 0 where the layout is not paged.
    pub page_rows: u32,
    /// Entries of the page table, those that may come included.
    pub entries: u32,
    /// Rows of every head that have a bit in a mask; 0 where there is none.
    pub mask_rows: u32,
    /// The first of them.
    pub mask_first: u32,
}

/// What kernels read of a plan and a layout, in words of u32:
///
/// | array | words |
/// |---|---|
/// | the appended rows; 3 unused | 4 |
/// | [`LayoutView::head_words`] | `2 H` |
/// | under a sliding window, the first row that each new token sees of each head | `q_len H` |
/// | [`Plan::group_first`] | `groups + 1` |
/// | [`Plan::head_slots`] | `H + 1` |
/// | [`Plan::segment_words`] | `4 S` |
/// | the page table, with room for all pages of the pool | |
/// | with a mask, a bit for each of its rows, whole words a head: [`Schedule::with_mask`] | `H ceil(n / 32)` |
///
/// One buffer, as baseline devices bind 8 in all. Only the first two arrays, starts and the page table
/// change from step to step: [`Schedule::update`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    shape: ScheduleShape,
    words: Vec<u32>,
    plan: Plan,
    version: u64,
    appended: u32,
    rows: u64,
}

impl ScheduleShape {
    fn head_rows(&self) -> u64 {
        HEADER
    }

    fn starts_at(&self) -> u64 {
        self.head_rows() + 2 * u64::from(self.heads)
    }

    fn group_first(&self) -> u64 {
        self.starts_at() + u64::from(self.starts) * u64::from(self.heads)
    }

    fn head_slots(&self) -> u64 {
        self.group_first() + u64::from(self.groups) + 1
    }

    fn segments_at(&self) -> u64 {
        self.head_slots() + u64::from(self.heads) + 1
    }

    fn pages(&self) -> u64 {
        self.segments_at() + 4 * u64::from(self.segments)
    }

    fn masks(&self) -> u64 {
        self.pages() + u64::from(self.entries)
    }

    fn mask_words(&self) -> u32 {
        self.mask_rows.div_ceil(32)
    }

    /// Words of all arrays.
    pub fn words(&self) -> u64 {
        self.masks() + u64::from(self.heads) * u64::from(self.mask_words())
    }

    /// Whether heads of so many rows have all that a mask has bits for.
    fn check_masked(&self, lengths: impl Iterator<Item = u32>) -> Result<()> {
        if self.mask_rows == 0 {
            return Ok(());
        }
        let least = u64::from(self.mask_first) + u64::from(self.mask_rows);
        for (head, rows) in lengths.enumerate() {
            if u64::from(rows) < least {
                let what = format!("rows of head {head} under a mask");
                return Err(Error::range(what, format!("{least}.., prefix and mask"), rows));
            }
        }
        Ok(())
    }

    /// The parameters that say where arrays begin; what only one kernel uses is 0.
    pub(in crate::attention) fn params(&self) -> Result<super::Params> {
        let limit = u64::from(u32::MAX);
        if self.words() > limit {
            let what = "words of a decode schedule";
            return Err(Error::range(what, format!("0..={limit}"), self.words()));
        }
        // All below the number of words.
        Ok(super::Params {
            heads: self.heads,
            groups: self.groups,
            slots: self.slots,
            page_rows: self.page_rows,
            head_rows: self.head_rows() as u32,
            starts: self.starts_at() as u32,
            group_first: self.group_first() as u32,
            head_slots: self.head_slots() as u32,
            segments: self.segments_at() as u32,
            pages: self.pages() as u32,
            inner: 0.0,
            outer: 0.0,
            masks: self.masks() as u32,
            mask_words: self.mask_words(),
            mask_first: self.mask_first,
            mask_rows: self.mask_rows,
        })
    }
}

impl Schedule {
    /// The schedule of a plan over a layout. `starts [q_len, H]` are, under a sliding window, the first
    /// rows that new tokens see: [`KvCache::window_starts`](crate::attention::KvCache::window_starts) of
    /// `q_len - i` for token `i`.
    ///
    /// # Errors
    /// As [`Plan::check`]; [`Error::Shape`] for starts that are not whole tokens; [`Error::Range`] for
    /// more arrays than u32 can count.
    pub fn new(plan: &Plan, layout: &Layout, starts: &[u32]) -> Result<Self> {
        plan.check(layout)?;
        let view = layout.view();
        let heads = plan.heads();
        if !starts.len().is_multiple_of(heads) {
            return Err(Error::shape(
                "starts of a window",
                format!("a multiple of {heads}"),
                starts.len(),
            ));
        }
        let most = |what: &str, value: usize| {
            u32::try_from(value).map_err(|_| Error::range(what, format!("0..={}", u32::MAX), value))
        };
        let shape = ScheduleShape {
            // At most 65,535.
            heads: heads as u32,
            starts: most("starts of a window", starts.len() / heads)?,
            groups: plan.groups(),
            segments: most("segments of a plan", plan.segments().len())?,
            slots: plan.slots(),
            page_rows: view.page_rows,
            entries: layout.rows().checked_div(view.page_rows).unwrap_or(0),
            mask_rows: 0,
            mask_first: 0,
        };
        shape.params()?;
        let mut schedule = Self {
            shape,
            // As many as u32 counts.
            words: vec![0; shape.words() as usize],
            plan: plan.clone(),
            version: layout.version(),
            appended: layout.appended(),
            rows: 0,
        };
        schedule.put(shape.group_first(), plan.group_first());
        schedule.put(shape.head_slots(), plan.head_slots());
        schedule.put(shape.segments_at(), &plan.segment_words());
        schedule.put_layout(&view);
        schedule.put_starts(starts);
        Ok(schedule)
    }

    /// Brings everything that changes from step to step up to date, and tells which words have changed:
    /// those before the plan's arrays, and the page table.
    ///
    /// # Errors
    /// As [`Plan::check`]; [`Error::Shape`] for other than as many starts as before; [`Error::Range`] where
    /// a head has fewer rows left than a mask has bits for. Nothing has changed then.
    pub fn update(&mut self, layout: &Layout, starts: &[u32]) -> Result<Vec<Range<usize>>> {
        self.plan.check(layout)?;
        self.shape.check_masked((0..self.plan.heads()).map(|head| layout.len(head)))?;
        let expected = self.shape.starts as usize * self.shape.heads as usize;
        if starts.len() != expected {
            return Err(Error::shape("starts of a window", expected, starts.len()));
        }
        let mut changed = Vec::new();
        let pages = self.shape.pages() as usize..self.shape.masks() as usize;
        if layout.version() != self.version {
            self.put_layout(&layout.view());
            changed.push(0..self.shape.group_first() as usize);
            if !pages.is_empty() {
                changed.push(pages);
            }
        } else if !starts.is_empty() {
            changed.push(0..self.shape.group_first() as usize);
        } else if layout.appended() != self.appended {
            changed.push(0..1);
        }
        self.words[0] = layout.appended();
        self.put_starts(starts);
        (self.version, self.appended) = (layout.version(), layout.appended());
        Ok(changed)
    }

    /// The same for attention that leaves out rows which a mask has no bit for, as if they had been
    /// evicted: bit `p` of a head is that of its row `prefix + p`. Rows before and after those, appended ones
    /// among them, are seen. The rows are read all the same: this is for trying many ratios on one cache,
    /// not for saving bytes. It is not quite an eviction where a row that is left out has a NaN or infinity
    /// among its *values*: those are multiplied by a weight of 0 and still added, which makes a NaN. Its
    /// keys may be anything.
    ///
    /// # Errors
    /// As [`Schedule::set_mask`]; [`Error::Range`] for more words than u32 counts, and for a head with
    /// fewer than `prefix + n` rows, of `n` that the mask has bits for.
    pub fn with_mask(mut self, mask: &KeepMask, layer: usize, prefix: u32) -> Result<Self> {
        let shape = ScheduleShape { mask_rows: mask.n(), mask_first: prefix, ..self.shape };
        shape.params()?;
        shape.check_masked((0..self.plan.heads()).map(|head| self.head_len(head)))?;
        self.words.resize(shape.words() as usize, 0);
        self.shape = shape;
        self.set_mask(mask, layer)?;
        Ok(self)
    }

    /// Another mask of as many rows, and tells which words have changed: none of the plan's.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of heads or rows, [`Error::Range`] for a layer that the mask
    /// does not have.
    pub fn set_mask(&mut self, mask: &KeepMask, layer: usize) -> Result<Range<usize>> {
        let heads = self.shape.heads as usize;
        if mask.heads() != heads {
            return Err(Error::shape("KV heads of a mask", heads, mask.heads()));
        }
        if mask.n() != self.shape.mask_rows {
            return Err(Error::shape("rows of a mask", self.shape.mask_rows, mask.n()));
        }
        if layer >= mask.layers() {
            return Err(Error::range("layer of a mask", format!("0..{}", mask.layers()), layer));
        }
        let masks = self.shape.masks();
        for head in 0..heads {
            let at = masks + head as u64 * u64::from(self.shape.mask_words());
            self.put(at, mask.head(layer, head));
        }
        Ok(self.mask())
    }

    /// Where the words of the mask are, `[heads][ceil(n / 32)]`; nowhere without one.
    pub fn mask(&self) -> Range<usize> {
        self.shape.masks() as usize..self.words.len()
    }

    /// Whether this is the schedule of a layout as it is now.
    ///
    /// # Errors
    /// As [`Plan::check`], and [`Error::Shape`] where [`Schedule::update`] has not been called since the
    /// layout changed.
    pub fn check(&self, layout: &Layout) -> Result<()> {
        self.plan.check(layout)?;
        let stale = |what: &str, expected: u64, found: u64| {
            Err(Error::shape(format!("stale schedule: {what}"), expected, found))
        };
        if layout.version() != self.version {
            return stale("version of the layout", self.version, layout.version());
        }
        if layout.appended() != self.appended {
            return stale("appended rows", self.appended.into(), layout.appended().into());
        }
        Ok(())
    }

    /// How long the arrays are.
    pub fn shape(&self) -> &ScheduleShape {
        &self.shape
    }

    /// The words.
    pub fn words(&self) -> &[u32] {
        &self.words
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Rows of all heads that are read, counted when the schedule was made.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Rows of a head when the schedule was last brought up to date.
    fn head_len(&self, head: usize) -> u32 {
        self.words[HEADER as usize + 2 * head + 1] + self.words[0]
    }

    fn put(&mut self, at: u64, words: &[u32]) {
        // Within the words that were counted.
        let at = at as usize;
        self.words[at..at + words.len()].copy_from_slice(words);
    }

    fn put_starts(&mut self, starts: &[u32]) {
        self.put(self.shape.starts_at(), starts);
        let rows = self.plan.spans().iter().enumerate().map(|(head, span)| {
            // The oldest token sees the oldest rows.
            let start = starts.get(head).copied().unwrap_or(0).max(span.start);
            u64::from(self.head_len(head).saturating_sub(start))
        });
        self.rows = rows.sum();
    }

    fn put_layout(&mut self, view: &LayoutView) {
        self.words[0] = view.appended;
        self.put(HEADER, &view.head_words());
        self.put(self.shape.pages(), &view.page_table);
    }
}
