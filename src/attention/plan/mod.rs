//! How decoding is spread over workgroups: pure functions of the rows that heads have.

mod chunked;
mod stream;
#[cfg(test)]
mod tests;

use super::Layout;
use crate::{Error, Result};
use std::ops::Range;

/// Rows of a tile: what segments are cut at.
pub const TILE: u32 = 64;

/// [`Segment::slot`] of a segment that is all of its head: its output is written directly.
pub const DIRECT: u32 = u32::MAX;

/// [`Segment::end`] of a head's last segment: the rows that the head has when the kernel runs.
pub const OPEN: u32 = u32::MAX;

/// Rows that may be appended before a plan is better made anew.
pub const REPLAN_ROWS: u32 = 512;

/// Rows of one head that one workgroup reads, one after the other: `start .. min(end, len)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Segment {
    /// The KV head.
    pub head: u32,
    /// Its first row, counted within the head.
    pub start: u32,
    /// The end of its rows; [`OPEN`] for the last segment of its head.
    pub end: u32,
    /// Where its partial state goes; [`DIRECT`] where it is all of its head.
    pub slot: u32,
}

/// How a plan is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Planner {
    /// A segment a workgroup, at most `C` rows long: the least `C`, a multiple of [`TILE`] and at least
    /// 128, with which there are no more segments than workgroups were asked for. FlashInfer's. Where
    /// heads are more than those, every head is one segment.
    Chunked,
    /// The tiles of all heads on one axis, cut into equal spans: workgroups differ by at most one tile,
    /// however ragged the heads are. A span may cover several heads. A head without rows counts as one
    /// tile, as its output has to be written too.
    Stream,
}

/// What every workgroup reads, and where partial states go: [the rules](crate::attention#plans).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    planner: Planner,
    spans: Vec<Range<u32>>,
    segments: Vec<Segment>,
    group_first: Vec<u32>,
    head_slots: Vec<u32>,
    /// Of the layout that it was made for, where there was one: its generation and appended rows.
    made_for: Option<(u64, u32)>,
}

impl Planner {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Chunked, Self::Stream];

    /// A plan for heads of so many rows, spread over at most `workgroups` workgroups, but one a head
    /// for [`Planner::Chunked`].
    ///
    /// # Errors
    /// [`Error::Range`] for no heads, no workgroups, more than 65,535 of either, or lengths from 2^31 on.
    pub fn plan(self, lengths: &[u32], workgroups: u32) -> Result<Plan> {
        let spans: Vec<Range<u32>> = lengths.iter().map(|length| 0..*length).collect();
        self.plan_spans(&spans, workgroups)
    }

    /// A plan for rows `start .. end` of every head: under a sliding window rows before `start` are seen
    /// by no query any more. The window may move on afterwards, but not back.
    ///
    /// # Errors
    /// As [`Planner::plan`], and [`Error::Range`] for a start beyond the end.
    pub fn plan_spans(self, spans: &[Range<u32>], workgroups: u32) -> Result<Plan> {
        check_count("heads of a plan", spans.len())?;
        check_count("workgroups of a plan", workgroups as usize)?;
        for (head, span) in spans.iter().enumerate() {
            let limit = OPEN >> 1;
            if span.end > limit {
                let what = format!("rows of head {head}");
                return Err(Error::range(what, format!("0..={limit}"), span.end));
            }
            if span.start > span.end {
                let what = format!("first row of head {head}");
                return Err(Error::range(what, format!("0..={}", span.end), span.start));
            }
        }
        let groups = match self {
            Self::Chunked => chunked::groups(spans, workgroups),
            Self::Stream => stream::groups(spans, workgroups),
        };
        Ok(Plan::assemble(self, spans.to_vec(), &groups))
    }

    /// A plan for all rows of a layout, which [`Plan::check`] knows again.
    ///
    /// # Errors
    /// As [`Planner::plan`].
    pub fn plan_layout(self, layout: &Layout, workgroups: u32) -> Result<Plan> {
        self.plan_window(layout, &vec![0; layout.shape().kv_heads()], workgroups)
    }

    /// The same for the rows that a sliding window still sees: from `starts[h]` on of every head, as
    /// [`KvCache::window_starts`](crate::attention::KvCache::window_starts) finds them.
    ///
    /// # Errors
    /// As [`Planner::plan_spans`], and [`Error::Shape`] for other than one start a head.
    pub fn plan_window(self, layout: &Layout, starts: &[u32], workgroups: u32) -> Result<Plan> {
        let lengths = layout.lengths();
        if starts.len() != lengths.len() {
            return Err(Error::shape("starts of heads", lengths.len(), starts.len()));
        }
        let spans: Vec<_> = starts.iter().zip(lengths).map(|(start, end)| *start..end).collect();
        let mut plan = self.plan_spans(&spans, workgroups)?;
        plan.made_for = Some((layout.generation(), layout.appended()));
        Ok(plan)
    }
}

/// Tiles of one head: `tiles`, counted from the first tile of its span.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    head: usize,
    tiles: Range<u32>,
}

/// The tiles that a span touches, at least one.
fn tiles(span: &Range<u32>) -> u32 {
    (span.end.div_ceil(TILE) - span.start / TILE).max(1)
}

fn check_count(what: &str, count: usize) -> Result<()> {
    let fits = (1..=0xffff).contains(&count);
    fits.then_some(()).ok_or_else(|| Error::range(what, "1..=65535", count))
}

impl Plan {
    /// Pieces ascend by head, and within a head by tile.
    fn assemble(planner: Planner, spans: Vec<Range<u32>>, groups: &[Vec<Piece>]) -> Self {
        let mut pieces = vec![0u32; spans.len()];
        groups.iter().flatten().for_each(|piece| pieces[piece.head] += 1);
        let slots = |pieces: u32| if pieces > 1 { pieces } else { 0 };
        let mut head_slots = vec![0];
        let mut total = 0;
        for pieces in pieces {
            total += slots(pieces);
            head_slots.push(total);
        }
        let (mut segments, mut group_first, mut slot) = (Vec::new(), vec![0], 0);
        for group in groups {
            for Piece { head, tiles: of } in group {
                let span = &spans[*head];
                let whole = of.len() as u32 == tiles(span);
                let row = |tile: u32| (span.start / TILE + tile) * TILE;
                let last = of.end == tiles(span);
                let start = row(of.start).max(span.start);
                let end = if last { OPEN } else { row(of.end) };
                let at = if whole { DIRECT } else { slot };
                slot += u32::from(!whole);
                // At most 65,535 heads.
                segments.push(Segment { head: *head as u32, start, end, slot: at });
            }
            // At most as many segments as heads and workgroups.
            group_first.push(segments.len() as u32);
        }
        Self { planner, spans, segments, group_first, head_slots, made_for: None }
    }

    /// How it was made.
    pub fn planner(&self) -> Planner {
        self.planner
    }

    /// KV heads.
    pub fn heads(&self) -> usize {
        self.spans.len()
    }

    /// The rows of every head that it was made for.
    pub fn spans(&self) -> &[Range<u32>] {
        &self.spans
    }

    /// Workgroups that have segments: what is dispatched.
    pub fn groups(&self) -> u32 {
        // One more than there are workgroups, at most 65,536.
        self.group_first.len() as u32 - 1
    }

    /// All segments, workgroup after workgroup.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The same as kernels bind them: `head, start, end, slot` of every segment.
    pub fn segment_words(&self) -> Vec<u32> {
        let words = |s: &Segment| [s.head, s.start, s.end, s.slot];
        self.segments.iter().flat_map(words).collect()
    }

    /// Where each workgroup's segments begin and, last, their number: `[groups + 1]`.
    pub fn group_first(&self) -> &[u32] {
        &self.group_first
    }

    /// The segments of one workgroup; none where there is no such workgroup.
    pub fn group(&self, group: usize) -> &[Segment] {
        match self.group_first.get(group..group.saturating_add(2)) {
            Some(&[from, to]) => &self.segments[from as usize..to as usize],
            _ => &[],
        }
    }

    /// Where each head's slots begin and, last, their number: `[H + 1]`. A head that is written
    /// directly has none.
    pub fn head_slots(&self) -> &[u32] {
        &self.head_slots
    }

    /// Partial states that have to be kept.
    pub fn slots(&self) -> u32 {
        self.head_slots.last().copied().unwrap_or(0)
    }

    /// The most rows that one workgroup reads of the spans that it was made for.
    pub fn longest_group(&self) -> u64 {
        let rows = |segment: &Segment| {
            let end = segment.end.min(self.spans[segment.head as usize].end);
            u64::from(end.saturating_sub(segment.start))
        };
        let groups = (0..self.groups() as usize).map(|w| self.group(w).iter().map(rows).sum());
        groups.max().unwrap_or(0)
    }

    /// Whether the plan is for this layout as it is now: of the same generation, with the same kept
    /// rows, and no fewer appended ones. More of them are covered, by the last workgroup of every head.
    ///
    /// # Errors
    /// [`Error::Shape`] that says what has changed, or that the plan was made for lengths alone.
    pub fn check(&self, layout: &Layout) -> Result<()> {
        let stale = |what: &str, planned: String, found: String| {
            Err(Error::shape(format!("stale plan: {what}"), planned, found))
        };
        let Some((generation, appended)) = self.made_for else {
            return stale(
                "layout",
                "one that the plan was made for".into(),
                "lengths alone".into(),
            );
        };
        if layout.shape().kv_heads() != self.heads() {
            let found = layout.shape().kv_heads().to_string();
            return stale("KV heads", self.heads().to_string(), found);
        }
        if layout.generation() != generation {
            let found = layout.generation().to_string();
            return stale("generation of the layout", generation.to_string(), found);
        }
        if layout.appended() < appended {
            let found = layout.appended().to_string();
            return stale("appended rows", format!("{appended} or more"), found);
        }
        for (head, span) in self.spans.iter().enumerate() {
            let (planned, found) = (span.end - appended, layout.kept(head));
            if planned != found {
                let what = format!("kept rows of head {head}");
                return stale(&what, planned.to_string(), found.to_string());
            }
        }
        Ok(())
    }

    /// The most appended rows with which the plan is still about as balanced as it was made to be:
    /// [`REPLAN_ROWS`] more than there were.
    pub fn balanced_until(&self) -> u32 {
        self.made_for.map_or(0, |(_, appended)| appended).saturating_add(REPLAN_ROWS)
    }
}
