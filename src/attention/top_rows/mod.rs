//! `top_rows`: lists of the rows with the highest ranks.
//!
//! For every list, of the rows `sinks .. n` of its head, `n` those that are ranked, the `k` with the highest
//! ranks: NaN above all, -0 as 0, of equal ones those with lower numbers. What a list has besides, and in
//! which order, is told [there](super::sparse#lists). Where no more than `k` rows are ranked, and of heads
//! that are flagged, all are listed and no rank is read. Found rows for which a list has no room are not found:
//! it has the best of those it has room for, of a flagged head the first. Nothing is written beyond a list.
//!
//! | binding | tensor | contents |
//! |---|---|---|
//! | 0 | params | 16 words, see `shaders/attention/top_rows/params.wgsl` |
//! | 6 | schedule | u32: [`RowMap`](super::RowMap), without starts |
//! | 10 | index_map | `[H][8]`, u32: [`IndexMap`](super::sparse::IndexMap), `budget` is `k`; of [`Ranked::Index`] |
//! | 15 | flags | `[H]`, u32; of [`Ranked::Index`] |
//! | 19 | lists | `[L][capacity]`, u32 |
//! | 20 | counts | `[L][4]`, u32: rows listed; those among them that always are; 1 of a flagged head; rows left out for want of room |
//! | 21 | scores | f32, `[T H G][stride]`; of an index with several query rows a list then ranks `[L][stride]` |
//! | 22 | tops | `[T H G]`, u32; of [`Ranked::Seen`] with several query rows a list |
//! | 24 | unread | f32, `[T H G]`: of [`component_scores`](super::component_scores); for [`Tail::Mean`] |
//! | 25 | rest | `[T H G]`, f32; for [`Tail::Mean`] |
//! | 27 | picked | `[L][Q][capacity]`, f32, the scores of listed rows; of [`Ranked::Seen`] |
//! | 28 | work | u32, scratch memory, where a list has several slices: see `shaders/attention/top_rows/slices.wgsl` |
//!
//! Ranks of an index are [those of `component_scores`](super::component_scores#ranks). [`Ranked::Seen`] ranks
//! all rows that a token sees by exact logits, [those of `score_rows`](super::score_rows): of several query
//! rows by the largest logit, each less its query row's largest; sinks are listed then only if they are found.
//!
//! `rest` is the base-2 logarithm of the sum of `2^score` over the ranked rows that are not listed, plus what the
//! components that were not read come to: their estimated weight. -1e30 where there are none, and of flagged
//! heads. They are added up themselves, for all sums less those of listed rows would leave rounding where these
//! have nearly everything.
//!
//! # Selection
//! A radix selection by digits of 11 bits would count nearly all keys in few bins,
//! since ranks are logarithms of one magnitude, and lanes would wait for each other. So ranks are first
//! counted in 2048 bins of equal width. They go from a rank that, by a sample of 4 rows a lane, somewhat more
//! rows than are wanted are above of, to the sample's highest; the last goes on, and lower ranks are not
//! counted, which spares most of the additions. Where too few are above, all are counted, from the sample's
//! lowest on. A bin's number does not fall as a rank rises, rounded or not, so the bin in
//! which the `k`-th rank lies is found exactly, whatever the sample was. Its keys are gathered in workgroup
//! memory and compared with each other; where they are more than 512 (equal ranks, outliers), digits of 11, 11
//! and 10 bits of them are counted instead. Ranks are read three times (six then), 16 bytes a lane and four
//! loads under way: counting, gathering, listing; after the first time from caches. Where listed rows lie in
//! the tensors, and what they weigh, is looked up last, by all lanes side by side.
//!
//! # Slices
//! A workgroup makes a list, which leaves most of a large device idle where there are few long ones. So lists
//! that have room for 16,384 rows or more are cut into slices of about 8192, but not into more than make 256
//! workgroups of all lists, and at most 32 (more beyond 2^20 rows: a slice has fewer than 2^16). There are three
//! launches then:
//!
//! 1. every slice takes the same sample, of the whole list, and so counts its own ranks in the same bins;
//! 2. every slice adds up all slices' counts, which tells the bin of the `k`-th rank and how many rows above it
//!    earlier slices have; it lists its own ones of these, looks up what there is to, and keeps those of the bin;
//! 3. a workgroup a list compares the keys of the bin, and moves what is listed to make room for the rows among
//!    them that are wanted: lists are the same whatever the slices.
//!
//! Where the sample was not like the others, or the bin has more than 512 rows, the last launch makes the whole
//! list as one workgroup does. Lists for which no rank matters are copied by slices.
//!
//! | variant | needs |
//! |---|---|
//! | `baseline` | nothing |
//! | `subgroup` | subgroups of 4 to 128 lanes |
//!
//! Knobs: `reduce`, [`Reduce::Workgroup`](crate::launch::Reduce) is `baseline` and the others `subgroup`, the default where the
//! device has it; `workgroup`, 256, 512 or 1024 lanes, by default the most that the device allows; `slices`, 1
//! or from 2 to 32. [`Traffic`], all of it the first launch's, is the ranks read once, and what is listed; `rows`
//! and `listed` say how many they are.
//!
//! Source: exact top-k by radix selection; the bins are this project's.

mod reference;
mod shader;
mod stages;
#[cfg(test)]
mod tests;

pub use reference::{Found, Ranking, reference, rest};
pub use stages::WORK;

use super::sparse::{IndexShape, Lists, Tail};
use super::{ComponentScores, RowMapShape};
use crate::launch::{Caps, Knobs, Launch, Spec, Traffic};
use crate::{Error, Result};
use stages::Stage;

/// The kernel's name.
pub const NAME: &str = "top_rows";

/// Mirrors `Params` of the shader.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Params {
    heads: u32,
    group: u32,
    tokens: u32,
    causal: u32,
    lists: u32,
    capacity: u32,
    sinks: u32,
    budget: u32,
    stride: u32,
    ranks: u32,
    page_rows: u32,
    pages: u32,
    slices: u32,
    unused: [u32; 3],
}

/// Which rows have ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ranked {
    /// Those of an index, whose map says how many are looked for.
    Index {
        /// What it has room for: scores of a query row are `most`.
        shape: IndexShape,
        /// Whether the weight of the rows that are not listed is asked for.
        tail: Tail,
    },
    /// All that a token sees; sinks have no meaning.
    Seen {
        /// Scores of a query row, a multiple of 4; no head has more rows.
        stride: u32,
        /// How many are looked for.
        k: u32,
    },
}

/// Lists of the best rows, described.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TopRows {
    /// Who asks.
    pub lists: Lists,
    /// How long the row map is.
    pub map: RowMapShape,
    /// Which rows have ranks.
    pub ranked: Ranked,
    /// Rows of all heads that have ranks: for [`Traffic`] only.
    pub rows: u64,
    /// Rows of all lists: for [`Traffic`] only.
    pub listed: u64,
}

impl TopRows {
    /// The rows that these scores rank, of as many as a list has room for.
    pub fn of_components(scores: &ComponentScores, map: RowMapShape) -> Self {
        let (shape, tail) = (scores.index, scores.tail);
        let (lists, ranked) = (scores.lists, Ranked::Index { shape, tail });
        let listed = u64::from(lists.count()) * u64::from(lists.capacity);
        Self { lists, map, ranked, rows: scores.rows, listed }
    }

    /// Scores of a query row.
    pub fn stride(&self) -> u32 {
        match self.ranked {
            Ranked::Index { shape, .. } => shape.most,
            Ranked::Seen { stride, .. } => stride,
        }
    }

    /// Whether ranks are behind the scores of an index.
    fn behind(&self) -> bool {
        matches!(self.ranked, Ranked::Index { .. }) && self.lists.queries() > 1
    }

    fn tail(&self) -> Tail {
        match self.ranked {
            Ranked::Index { tail, .. } => tail,
            Ranked::Seen { .. } => Tail::None,
        }
    }

    /// Elements of `scores`, ranks included.
    pub fn scores_len(&self) -> u64 {
        let ranks = if self.behind() { self.lists.count() } else { 0 };
        (u64::from(self.lists.query_rows()) + u64::from(ranks)) * u64::from(self.stride())
    }

    /// Words of `lists`.
    pub fn lists_len(&self) -> u64 {
        u64::from(self.lists.count()) * u64::from(self.lists.capacity)
    }

    /// Words of `counts`.
    pub fn counts_len(&self) -> u64 {
        4 * u64::from(self.lists.count())
    }

    /// Elements of `unread`; 0 without [`Tail::Mean`].
    pub fn unread_len(&self) -> u64 {
        match self.tail() {
            Tail::None => 0,
            Tail::Mean => self.lists.query_rows().into(),
        }
    }

    /// Elements of `picked`; 0 of an index.
    pub fn picked_len(&self) -> u64 {
        match self.ranked {
            Ranked::Index { .. } => 0,
            Ranked::Seen { .. } => self.lists_len() * u64::from(self.lists.queries()),
        }
    }

    /// Words of `tops`; 0 where they are not read.
    pub fn tops_len(&self) -> u64 {
        match self.ranked {
            Ranked::Seen { .. } if self.lists.queries() > 1 => self.lists.query_rows().into(),
            _ => 0,
        }
    }

    fn check(&self) -> Result<()> {
        self.lists.check()?;
        let heads = self.lists.heads;
        if self.map.heads != heads {
            return Err(Error::shape("KV heads of the row map", heads, self.map.heads));
        }
        if self.map.starts != 0 {
            let what = format!("new tokens with starts of a window, of {NAME},");
            return Err(Error::range(what, "0..=0", self.map.starts));
        }
        match self.ranked {
            Ranked::Index { shape, .. } if shape.heads != heads => {
                return Err(Error::shape("KV heads of lists of an index", shape.heads, heads));
            }
            Ranked::Seen { stride, .. } if stride == 0 || !stride.is_multiple_of(4) => {
                let what = format!("scores of a query row of {NAME}");
                return Err(Error::range(what, "multiples of 4", stride));
            }
            _ => {}
        }
        for (what, words) in [("scores", self.scores_len()), ("picked scores", self.picked_len())] {
            if u32::try_from(words).is_err() {
                let limit = format!("0..={}", u32::MAX);
                return Err(Error::range(format!("{what} of {NAME}"), limit, words));
            }
        }
        Ok(())
    }

    fn traffic(&self) -> Traffic {
        let Self { lists, rows, listed, .. } = self;
        let of_head = u64::from(lists.count() / lists.heads);
        let queries = u64::from(lists.queries());
        let each = match self.ranked {
            // Scores of rows that are not listed, where they are not the ranks.
            Ranked::Index { tail: Tail::Mean, .. } if self.behind() => 1 + queries,
            Ranked::Index { .. } => 1,
            Ranked::Seen { .. } => queries,
        };
        let (read, written) = match self.picked_len() {
            0 => (0, 1),
            _ => (queries, 1 + queries),
        };
        Traffic {
            read_bytes: 4 * (rows * of_head * each + listed * read + self.unread_len()),
            write_bytes: 4 * (listed * written + self.counts_len()),
            flops: 0,
        }
    }

    fn params(&self, slices: u32) -> Result<Params> {
        let Self { lists, map, .. } = self;
        let [_, pages] = map.places()?;
        let (sinks, budget) = match self.ranked {
            Ranked::Index { .. } => (lists.sinks, 0),
            Ranked::Seen { k, .. } => (0, k),
        };
        let ranks = if self.behind() { lists.query_rows() * (self.stride() / 4) } else { 0 };
        Ok(Params {
            heads: lists.heads,
            group: lists.group,
            tokens: lists.tokens,
            causal: lists.causal.into(),
            lists: lists.count(),
            capacity: lists.capacity,
            sinks,
            budget,
            stride: self.stride(),
            ranks,
            page_rows: map.page_rows,
            pages,
            slices,
            unused: [0; 3],
        })
    }
}

impl Spec for TopRows {
    fn kernel(&self) -> &'static str {
        NAME
    }

    /// # Errors
    /// As [`Lists::check`]; [`Error::Shape`] for a row map or an index of other heads; [`Error::Range`] for a
    /// map with starts of a window, a `stride` that is no multiple of 4, other lanes than there are forms for,
    /// slices that are too many or too long, and more scores than u32 counts; [`Error::BindingTooLarge`] naming the tensor.
    fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        self.check()?;
        let operands = self.operands(caps)?;
        let (form, slices) = (self.form(caps, knobs)?, self.slices(knobs)?);
        let stages = if slices > 1 { &Stage::SLICED[..] } else { &[Stage::Whole] };
        let one = |stage: &Stage| self.launch(*stage, form, slices, &operands, caps);
        let mut all = stages.iter().map(one).collect::<Result<Vec<Launch>>>()?;
        if let Some(first) = all.first_mut() {
            first.traffic = self.traffic();
        }
        Ok(all)
    }

    fn candidates(&self, _caps: &Caps) -> Vec<Knobs> {
        let lanes = [None, Some(256), Some(512), Some(1024)];
        let mut all = lanes.map(|workgroup| Knobs { workgroup, ..Knobs::DEFAULT }).to_vec();
        let usual = self.usual_slices();
        for slices in [1, usual / 2, 2 * usual] {
            if slices != usual && self.allows(slices) {
                all.push(Knobs { slices: Some(slices), ..Knobs::DEFAULT });
            }
        }
        all
    }
}
