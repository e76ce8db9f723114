//! The selection, by counting instead of sorting.
//!
//! The bits of a score order as an integer, so the score that divides is found in three passes over
//! histograms of 11, 11 and 10 bits, and a last pass in the order of pairs takes as many of the equal ones
//! as are left. Besides scores and bits that needs 16 KB, and time linear in the pairs.

use super::key::{key, score};
use super::{Eviction, HeadScores, KeepMask, PairRule, Rule, Scores, Selection};
use crate::{Error, Result};

/// What stays of a budget: keys above `key`, and of those equal to it the first `equal`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cut {
    key: u32,
    equal: u64,
}

impl Cut {
    /// No score has this key: it would be a NaN's.
    const NOTHING: Self = Self { key: u32::MAX, equal: 0 };

    /// The one for exactly `count` of the scores, or all where there are fewer.
    fn exactly(rows: &[&[f32]], count: u64) -> Self {
        let total = rows.iter().map(|row| row.len() as u64).sum();
        let mut left = count.min(total);
        if left == 0 {
            return Self::NOTHING;
        }
        let mut prefix = 0;
        for (shift, bits) in [(21, 11), (10, 11), (0, 10)] {
            let mut histogram = [0u64; 1 << 11];
            let above = shift + bits;
            // Of the first pass there is nothing above.
            let same = |key: u32| u64::from(key) >> above == u64::from(prefix) >> above;
            let digits = (1u32 << bits) - 1;
            for key in rows.iter().flat_map(|row| row.iter()).map(|score| key(*score)) {
                histogram[(key >> shift & digits) as usize] += u64::from(same(key));
            }
            let mut digit = digits;
            while digit > 0 && histogram[digit as usize] < left {
                left -= histogram[digit as usize];
                digit -= 1;
            }
            prefix |= digit << shift;
        }
        Self { key: prefix, equal: left }
    }

    fn threshold(self) -> Option<f32> {
        (self != Self::NOTHING).then(|| score(self.key))
    }

    /// Whether the next score stays, in the order of pairs.
    fn stays(&mut self, score: f32) -> bool {
        let key = key(score);
        if key == self.key && self.equal > 0 {
            self.equal -= 1;
            return true;
        }
        key > self.key
    }
}

/// The pairs that stay: [order, ratio and rules](super). Larger scores first, equal ones by layer, head and
/// position.
///
/// ```
/// use fewbytes::attention::evict::{Eviction, Scores, select};
///
/// # fn main() -> fewbytes::Result<()> {
/// // One layer of two heads and four positions.
/// let scores = Scores::new(1, 2, 4, vec![0.9, 0.1, 0.5, 0.2, 0.3, 0.5, 0.0, 0.8])?;
/// let selection = select(&scores, &Eviction::new(0.5))?;
/// assert_eq!(selection.kept(), [2, 2]);
/// assert_eq!(selection.positions(0, 1).collect::<Vec<_>>(), [1, 3]);
/// // Rows of a cache with three rows of a system prompt and one token after the context.
/// assert_eq!(selection.keep_lists(0, 3, 8)?.head(1), [0, 1, 2, 4, 6, 7]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::Range`] for a ratio outside 0 to 1, or NaN.
pub fn select(scores: &Scores, eviction: &Eviction) -> Result<Selection> {
    eviction.check()?;
    let (layers, heads, n) = (scores.layers(), scores.heads(), u64::from(scores.n()));
    if let Rule::Head(_) = eviction.rule {
        return select_heads(&scores.head_scores(), scores.n(), eviction);
    }
    let mut marks = Marks::new(layers, heads, scores.n(), eviction)?;
    let rows: Vec<&[f32]> = marks.rows(scores);
    let always = marks.always();
    let (mut threshold, count) = (None, (layers * heads) as u64);
    let budget = |heads: u64| eviction.budget(heads * n).saturating_sub(heads * always);
    match eviction.rule {
        Rule::Pair(rule) => {
            let mut cut = match rule {
                PairRule::RefStrict if eviction.ratio < 1.0 => {
                    let at = eviction.budget(count * n).saturating_sub(1);
                    match at.checked_sub(count * always) {
                        Some(at) => Cut { equal: 0, ..Cut::exactly(&rows, at + 1) },
                        None => Cut::NOTHING,
                    }
                }
                _ => Cut::exactly(&rows, budget(count)),
            };
            threshold = cut.threshold().filter(|_| eviction.ratio < 1.0);
            rows.iter().enumerate().for_each(|(row, scores)| marks.cut(row, scores, &mut cut));
        }
        Rule::PairPerLayer => {
            for (layer, of) in rows.chunks(heads).enumerate() {
                let mut cut = Cut::exactly(of, budget(heads as u64));
                let numbered = (layer * heads..).zip(of);
                numbered.for_each(|(row, scores)| marks.cut(row, scores, &mut cut));
            }
        }
        Rule::PairUniform | Rule::Head(_) => {
            for (row, scores) in rows.iter().enumerate() {
                marks.cut(row, scores, &mut Cut::exactly(&[scores], budget(1)));
            }
        }
    }
    Ok(Selection::new(marks.mask, threshold, scores.nan()))
}

/// The best `budgets[layer]` positions of every head of a layer, those that stay by their place among
/// them; budgets above the positions are all of them.
///
/// # Errors
/// [`Error::Shape`] for other than one budget a layer.
pub fn select_budgets(
    scores: &Scores,
    budgets: &[u32],
    n_sink: u32,
    n_recent: u32,
) -> Result<Selection> {
    let (layers, heads) = (scores.layers(), scores.heads());
    if budgets.len() != layers {
        return Err(Error::shape("budgets of layers", layers, budgets.len()));
    }
    let places = Eviction { n_sink, n_recent, ..Eviction::default() };
    let mut marks = Marks::new(layers, heads, scores.n(), &places)?;
    let rows = marks.rows(scores);
    for (row, scores) in rows.iter().enumerate() {
        let budget = u64::from(budgets[row / heads]).saturating_sub(marks.always());
        marks.cut(row, scores, &mut Cut::exactly(&[scores], budget));
    }
    Ok(Selection::new(marks.mask, None, scores.nan()))
}

/// Whole heads that stay, of a context of `n` positions, by scores that need not come from it. As many
/// as the budget of all pairs holds, once sink and recent positions of the others are taken from it.
///
/// # Errors
/// As [`select`], and [`Error::Unsupported`] for another rule than [`Rule::Head`].
pub fn select_heads(scores: &HeadScores, n: u32, eviction: &Eviction) -> Result<Selection> {
    eviction.check()?;
    let Rule::Head(rule) = eviction.rule else {
        let why = "scores of whole heads are for Rule::Head; broadcast them for another";
        return Err(Error::unsupported("a selection of pairs by scores of heads", why));
    };
    let mut marks = Marks::new(scores.layers(), scores.heads(), n, eviction)?;
    let count = scores.values().len() as u64;
    let (pairs, always) = (count * u64::from(n), count * marks.always());
    let free = u64::from(n) - marks.always();
    let all = [scores.values()];
    let mut cut = match rule {
        _ if free == 0 => Cut::NOTHING,
        _ if eviction.ratio == 1.0 => Cut::exactly(&all, count),
        PairRule::Exact => Cut::exactly(&all, eviction.budget(pairs).saturating_sub(always) / free),
        PairRule::RefStrict => match eviction.budget(pairs).saturating_sub(1).checked_sub(always) {
            Some(at) => Cut { equal: 0, ..Cut::exactly(&all, at / free + 1) },
            None => Cut::NOTHING,
        },
    };
    let threshold = cut.threshold().filter(|_| eviction.ratio < 1.0);
    for (row, score) in scores.values().iter().enumerate() {
        let stays = cut.stays(*score);
        let (from, to) = marks.free;
        marks.mask.set(row, from, (from..to).map(|_| stays));
    }
    Ok(Selection::new(marks.mask, threshold, scores.nan()))
}

/// A mask in which the positions that stay by their place are set already.
struct Marks {
    mask: KeepMask,
    /// The positions between them.
    free: (usize, usize),
}

impl Marks {
    fn new(layers: usize, heads: usize, n: u32, eviction: &Eviction) -> Result<Self> {
        let mut mask = KeepMask::new(layers, heads, n)?;
        let free = eviction.free(n as usize);
        for row in 0..layers * heads {
            mask.set(row, 0, (0..free.0).map(|_| true));
            mask.set(row, free.1, (free.1..n as usize).map(|_| true));
        }
        Ok(Self { mask, free })
    }

    /// Positions of a head that stay by their place.
    fn always(&self) -> u64 {
        u64::from(self.mask.n()) - (self.free.1 - self.free.0) as u64
    }

    /// The scores of every head's other positions.
    fn rows<'a>(&self, scores: &'a Scores) -> Vec<&'a [f32]> {
        let (from, to) = self.free;
        let heads = |layer| (0..scores.heads()).map(move |head| (layer, head));
        let all = (0..scores.layers()).flat_map(heads);
        all.map(|(layer, head)| &scores.head(layer, head)[from..to]).collect()
    }

    fn cut(&mut self, row: usize, scores: &[f32], cut: &mut Cut) {
        self.mask.set(row, self.free.0, scores.iter().map(|score| cut.stays(*score)));
    }
}
