//! `select_pairs`: the pairs of keys and values with the best scores, of a whole model or of its parts.
//!
//! Of scores `[layers, heads, n]` of f32, pair by pair the importance of key and value number `p` of a
//! KV head's context, the largest are kept: of every *segment* ([`Segments`]: the model, a layer, a head)
//! as many as its budget says. Equal scores go by (layer, head, position), ascending. NaN and -0 count as
//! 0, and the report tells how many NaN there were; infinities and negative numbers are numbers as others.
//! The first [`SelectPairs::sink`] positions and the last [`SelectPairs::recent`] of every head are kept
//! before all others and count in the budget.
//!
//! | binding | tensor | contents |
//! |---|---|---|
//! | 0 | params | 16 words, see `shaders/attention/select/params.wgsl` |
//! | 1 | scores | `[layers][stride]`, f32, in pieces of [`SelectPairs::piece_layers`] layers |
//! | 2 | budgets | `[segments]`, u32, see [`SelectPairs::check_budgets`] |
//! | 3 | mask | `[layers][heads][ceil(n / 32)]`, u32: bits of kept pairs, see below |
//! | 4 | blocks | `[layers][heads][ceil(n / 2048)]`, u32: kept pairs of 2048 positions |
//! | 5 | report | u32, see [`Report`]: thresholds, NaN, kept pairs of every head |
//! | 6, 7, 8 | work, candidates, tallies | scratch |
//!
//! Bit `p % 32` of word `p / 32` of a row of the mask is 1 where pair `p` is kept; bits beyond the last pair
//! are 0. Mask and blocks are what [`list_pairs`](super::list_pairs) makes lists of rows from. The report
//! is small, and what a host needs to lay out the cache that is to come.
//!
//! # Steps
//! Scores become u32 keys of the same order; a pair that is always kept has a key above them all. Digits
//! of 11, 11 and 10 bits of the last key that is wanted are found by histograms in workgroup memory, which
//! atomic additions of integers join: nothing depends on the order in which lanes run, and what comes out
//! repeats bit by bit.
//!
//! | launch | for | reads | writes |
//! |---|---|---|---|
//! | clear | | | histograms, report |
//! | count | pieces | scores | first digits |
//! | find | segments | histogram | first digit |
//! | classify | pieces | scores | mask of keys above it, lists of those that begin with it, second digits |
//! | find | segments | histogram | second digit |
//! | refine | pieces | lists | last digits of those that begin with both |
//! | find | segments | histogram | the key, how many equal ones are kept |
//! | resolve | pieces | lists, mask | mask, blocks, report |
//! | finish | pieces | lists, where only some of equal keys are kept | mask, blocks, report |
//!
//! So `N` scores are read twice, not once for each of three histograms, the counting and the writing: 8
//! `N` bytes, `3 N / 8` of the mask, and 4 bytes four times for each key that shares its first 11 bits
//! (sign, exponent, two bits of the fraction) with the one that is found. A block of 2048 keys has room for
//! a list of up to 512; where there are more, its scores are read again instead, two or three times more.
//! [`Traffic`](crate::launch::Traffic) counts `8 N + 3 N / 8`: 838 MB of 10^8 scores, against 2 GB of five
//! readings.
//!
//! Scratch memory: 8 KB a segment, and `N` bytes of lists.
//!
//! # Variants
//! `baseline` needs no feature and default limits. `subgroup`, where subgroups are of one size, is another
//! way to count and to classify: keys of a subgroup are counted at once where they share a bin, and masks
//! are made by ballots. Knobs: `reduce`, [`Reduce::Workgroup`] unless asked otherwise (on an H100 subgroups are
//! slower), and `rows`, the blocks of 2048 keys that a workgroup counts before
//! it adds its histogram to the segment's; by default so many that there are 1024 workgroups.
//!
//! Whole heads, [`Rule::Head`](super::evict::Rule::Head), are not selected here: their scores are read back,
//! see [`SelectPairs::evicting`].
//!
//! Source: the eviction of "KVzip", arXiv 2505.23416, whose code sorts; the selection by digits is this
//! project's.

mod bindings;
mod eviction;
mod launches;
mod reference;
mod report;
#[cfg(test)]
mod tests;

pub use bindings::{BLOCKS, BUDGETS, CANDIDATES, MASK, REPORT, SCORES, TALLIES, WORK};
pub use reference::{Selected, reference};
pub use report::{Found, Report};

use crate::launch::{Caps, Knobs, Launch, Reduce, Spec};
use crate::{Error, Result};

/// The kernel's name.
pub const NAME: &str = "select_pairs";

/// Positions of a block: of these lists and counts are made.
pub const BLOCK: usize = 2048;

/// What shares a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Segments {
    /// All pairs of the model: one budget.
    Model,
    /// The pairs of a layer: a budget for each.
    Layers,
    /// The pairs of a KV head of a layer: a budget for each, layer by layer.
    Heads,
}

/// What a budget says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cut {
    /// Exactly so many pairs are kept.
    Exact,
    /// What the published code does with a budget of `k`: kept is what is above number `max(k, 1)` in
    /// descending order, so at most `k - 1` pairs and fewer where scores are equal; all where `k` is all.
    /// Pairs that are always kept stay.
    RefStrict,
}

/// One selection, described.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SelectPairs {
    /// Scored layers.
    pub layers: usize,
    /// KV heads of a layer.
    pub heads: usize,
    /// Positions of the context.
    pub n: usize,
    /// Scores from layer to layer, at least `heads n`. A multiple of 64 lets a kernel write each layer's
    /// scores through a binding of its own.
    pub stride: usize,
    /// Layers of a piece of the scores, a buffer each; the last piece may have fewer.
    pub piece_layers: usize,
    /// What shares a budget.
    pub segments: Segments,
    /// What a budget says.
    pub cut: Cut,
    /// First positions of every head that are always kept.
    pub sink: usize,
    /// Last positions of every head that are always kept.
    pub recent: usize,
}

impl SelectPairs {
    /// Exactly as many pairs of the model as its budget says, of scores in one piece.
    pub fn new(layers: usize, heads: usize, n: usize) -> Self {
        Self {
            layers,
            heads,
            n,
            stride: heads.saturating_mul(n),
            piece_layers: layers.max(1),
            segments: Segments::Model,
            cut: Cut::Exact,
            sink: 0,
            recent: 0,
        }
    }

    /// The same with as many layers a piece as a binding of the device holds, at least one.
    #[must_use]
    pub fn in_pieces(self, caps: &Caps) -> Self {
        let layer = (self.stride as u64).saturating_mul(4).max(1);
        let fitting = usize::try_from(caps.bindable_bytes() / layer).unwrap_or(usize::MAX);
        Self { piece_layers: fitting.clamp(1, self.layers.max(1)), ..self }
    }

    /// Rows of the mask: KV heads of all layers.
    pub fn rows(&self) -> usize {
        self.layers.saturating_mul(self.heads)
    }

    /// Pairs of all segments together.
    pub fn pairs(&self) -> usize {
        self.rows().saturating_mul(self.n)
    }

    /// Number of segments, and of budgets.
    pub fn segment_count(&self) -> usize {
        match self.segments {
            Segments::Model => 1,
            Segments::Layers => self.layers,
            Segments::Heads => self.rows(),
        }
    }

    /// Heads that a segment has.
    pub fn segment_rows(&self) -> usize {
        match self.segments {
            Segments::Model => self.rows(),
            Segments::Layers => self.heads,
            Segments::Heads => 1,
        }
    }

    /// Pairs of a segment.
    pub fn segment_pairs(&self) -> usize {
        self.segment_rows().saturating_mul(self.n)
    }

    /// Pairs of a segment that are always kept.
    pub fn always(&self) -> usize {
        self.sink.saturating_add(self.recent).min(self.n).saturating_mul(self.segment_rows())
    }

    /// Pieces of the scores, as layers.
    pub fn pieces(&self) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
        let (layers, each) = (self.layers, self.piece_layers.max(1));
        (0..layers).step_by(each).map(move |first| first..layers.min(first.saturating_add(each)))
    }

    /// Elements of a piece of the scores that has so many layers.
    pub fn piece_len(&self, layers: usize) -> usize {
        let before = layers.saturating_sub(1).saturating_mul(self.stride);
        before.saturating_add(self.heads.saturating_mul(self.n))
    }

    /// Words of a row of the mask.
    pub fn row_words(&self) -> usize {
        self.n.div_ceil(32)
    }

    /// Words of the mask.
    pub fn mask_len(&self) -> usize {
        self.rows().saturating_mul(self.row_words())
    }

    /// Blocks of a row.
    pub fn row_blocks(&self) -> usize {
        self.n.div_ceil(BLOCK)
    }

    /// Words of the counts of blocks.
    pub fn blocks_len(&self) -> usize {
        self.rows().saturating_mul(self.row_blocks())
    }

    /// Words of the report.
    pub fn report_len(&self) -> usize {
        let segments = self.segment_count().saturating_mul(report::SEGMENT);
        self.rows().saturating_add(report::HEADER).saturating_add(segments)
    }

    /// Whether these are budgets of the segments: one each, none above the pairs of a segment and none
    /// below those that are always kept.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of them, [`Error::Range`] naming the segment.
    pub fn check_budgets(&self, budgets: &[u32]) -> Result<()> {
        self.check_budget_count(budgets)?;
        let allowed = self.always()..=self.segment_pairs();
        match budgets.iter().position(|&budget| !allowed.contains(&(budget as usize))) {
            None => Ok(()),
            Some(at) => {
                let (least, most) = allowed.into_inner();
                let limit = format!("{least}..={most}, what is always kept and what there is");
                Err(Error::range(format!("budget of segment {at} of {NAME}"), limit, budgets[at]))
            }
        }
    }

    fn check_budget_count(&self, budgets: &[u32]) -> Result<()> {
        let (expected, found) = (self.segment_count(), budgets.len());
        if found != expected {
            return Err(Error::shape(format!("budgets of {NAME}"), expected, found));
        }
        Ok(())
    }

    /// Whether it can be done at all.
    pub(super) fn check(&self) -> Result<()> {
        let least = self.heads.saturating_mul(self.n);
        if self.stride < least {
            let what = format!("scores from layer to layer of {NAME}");
            return Err(Error::range(what, format!("{least}.."), self.stride));
        }
        if self.piece_layers == 0 {
            return Err(Error::range(format!("layers of a piece of {NAME}"), "1..", 0));
        }
        if u32::try_from(self.pairs()).is_err() {
            let limit = format!("0..={}", u32::MAX);
            return Err(Error::range(format!("scores of {NAME}"), limit, self.pairs()));
        }
        Ok(())
    }

    /// The size of subgroups, where they are used.
    pub(super) fn subgroup(&self, caps: &Caps, knobs: &Knobs) -> Result<Option<u32>> {
        let size = caps.subgroup_min;
        let whole = (4..=128).contains(&size) && size.is_power_of_two();
        let known = caps.subgroups && size == caps.subgroup_max && whole;
        match knobs.reduce {
            None | Some(Reduce::Workgroup) => Ok(None),
            Some(Reduce::Subgroup) if known => Ok(Some(size)),
            Some(reduce) => {
                let why =
                    "it needs subgroups of one size, a power of two in 4..=128, and no shuffles";
                Err(Error::unsupported(format!("{reduce:?} of {NAME}"), why))
            }
        }
    }
}

impl Spec for SelectPairs {
    fn kernel(&self) -> &'static str {
        NAME
    }

    /// None where there are no scores.
    ///
    /// # Errors
    /// [`Error::Range`] for sizes that cannot be, more scores than u32 counts among them,
    /// [`Error::BindingTooLarge`] naming the tensor, [`Error::Unsupported`] for knobs that the device
    /// does not have.
    fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        self.check()?;
        if self.pairs() == 0 {
            return Ok(Vec::new());
        }
        launches::all(self, caps, knobs)
    }

    fn candidates(&self, caps: &Caps) -> Vec<Knobs> {
        let rows = |rows| Knobs { rows: Some(rows), ..Knobs::DEFAULT };
        let mut all = vec![Knobs::DEFAULT, rows(4), rows(16), rows(64)];
        let subgroup = Knobs { reduce: Some(Reduce::Subgroup), ..Knobs::DEFAULT };
        if self.subgroup(caps, &subgroup).is_ok() {
            all.push(subgroup);
        }
        all
    }
}
