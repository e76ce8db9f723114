//! A whole step of sparse attention: which kernels follow which.

use super::greedy::Low;
use super::{
    Amount, COUNTS, FOUND, HITS, IndexShape, LISTS, Lists, Mode, PICKED, RANKS, REST, RUNS, SCORES,
    Selection, TOPS, Tail, UNREAD,
};
use crate::attention::score_rows::Scored;
use crate::attention::top_rows::Ranked;
use crate::attention::{
    AttendRows, AttendScored, Attending, CacheShape, ComponentScores, DecodeQueries, GreedyHits,
    GreedyRuns, ListRows, Listed, RowMapShape, ScoreRows, TopRows,
};
use crate::launch::{Caps, Knobs, Launch, Spec};
use crate::{Error, Result};

/// Numbers of the bindings of what one kernel of a step leaves for the next: tensors of the step's own, each
/// in memory that no other of them is in. What they hold means nothing to the step that follows.
pub const WORK: [u32; 11] =
    [RUNS, FOUND, HITS, LISTS, COUNTS, SCORES, TOPS, RANKS, UNREAD, REST, PICKED];

/// One step, described: rows are found as a [`Mode`] says, and attended to.
///
/// | mode | launches |
/// |---|---|
/// | [`Selection::ComponentTopR`] | `component_scores`, `top_rows`, `attend_rows`, `decode_merge` |
/// | [`Selection::Greedy`] | `greedy_runs`, `greedy_hits`, `list_rows`, then of a share of 0 `attend_rows`, of others `score_rows` and `attend_scored`; `decode_merge` |
/// | [`Selection::TopK`], [`Selection::Threshold`] | `score_rows`, `top_rows`, `attend_scored`, `decode_merge`; no index |
///
/// [`Selection::TopKApprox`] is offered by the [reference](super::attend) alone.
///
/// All launches share tensors by the numbers of their bindings. Nothing depends on how many rows an index
/// covers or a cache has, so a step is planned once; but for a [fraction](Amount::Fraction) of exact top-k, which
/// is one of [`SparseStep::rows`] and not of the rows that there are when it runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SparseStep {
    /// What rows are.
    pub shape: CacheShape,
    /// Rows of the tensors.
    pub tensor_rows: u32,
    /// Who asks.
    pub queries: DecodeQueries,
    /// How long the row map is; without starts.
    pub map: RowMapShape,
    /// The index, for modes that search one; its map's budgets are [`SparseStep::budget`] of the rows of each
    /// head.
    pub index: Option<IndexShape>,
    /// Whose lists, and how long. Those of a greedy search, and those of a threshold, have to have room for
    /// all rows of a head.
    pub lists: Lists,
    /// How rows are found, and whether the others count.
    pub mode: Mode,
    /// Parts that each list is cut into: see [`AttendRows::usual_splits`].
    pub splits: u32,
    /// Rows of a head that an index covers, or that there are: for
    /// [`Traffic`](crate::launch::Traffic) and the most that exact top-k looks for.
    pub rows: u32,
}

impl SparseStep {
    /// What a search may take of a head of an index: its budget.
    pub fn budget(&self) -> Option<Amount> {
        budget(&self.mode.selection)
    }

    /// Bytes of the tensors of [`WORK`], those that there are.
    ///
    /// # Errors
    /// As [`Spec::launches`].
    pub fn work(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<(u32, u64)>> {
        let mut all: Vec<(u32, u64)> = Vec::new();
        for launch in self.launches(caps, knobs)? {
            for operand in launch.operands().iter().filter(|o| WORK.contains(&o.binding)) {
                match all.iter_mut().find(|(binding, _)| *binding == operand.binding) {
                    Some((_, bytes)) => *bytes = operand.bytes.max(*bytes),
                    None => all.push((operand.binding, operand.bytes)),
                }
            }
        }
        Ok(all)
    }

    fn index(&self) -> Result<IndexShape> {
        let needed = || Error::shape("index of a step that searches one", "given", "none");
        self.index.ok_or_else(needed)
    }

    /// Rows of all heads.
    fn all_rows(&self) -> u64 {
        u64::from(self.rows) * self.shape.kv_heads() as u64
    }

    /// Rows of all lists, of so many that are found for each.
    fn listed(&self, found: u64) -> u64 {
        let most = u64::from(self.lists.capacity.min(self.rows));
        u64::from(self.lists.count()) * (found + u64::from(self.lists.sinks)).min(most)
    }

    fn attend(&self, rows: u64, rest: Option<IndexShape>) -> Listed {
        let Self { shape, tensor_rows, queries, lists, splits, .. } = *self;
        let attend = AttendRows { shape, tensor_rows, queries, lists, splits, rows };
        Listed { attend: Attending::Rows(attend), rest }
    }

    fn attend_scored(&self, share: f64, rows: u64, rest: Option<IndexShape>) -> Listed {
        let Self { shape, tensor_rows, queries, lists, splits, .. } = *self;
        // How many are kept only a device knows.
        let (share, kept) = (share as f32, rows);
        let attend = AttendScored { shape, tensor_rows, queries, lists, splits, share, rows, kept };
        Listed { attend: Attending::Scored(attend), rest }
    }

    fn score_rows(&self, scored: Scored, rows: u64) -> ScoreRows {
        let Self { shape, tensor_rows, queries, lists, .. } = *self;
        ScoreRows { shape, tensor_rows, queries, lists, scored, rows }
    }

    fn components(&self, r: u32, k: Amount) -> Result<Vec<Box<dyn Spec>>> {
        let index = self.index()?;
        let Self { queries, lists, mode: Mode { tail, .. }, map, .. } = *self;
        let scores = ComponentScores {
            index,
            lists,
            components: r,
            scale: queries.scale,
            input: queries.input,
            tail,
            rows: self.all_rows(),
        };
        let listed = self.listed(k.of(self.rows));
        let top = TopRows { listed, ..TopRows::of_components(&scores, map) };
        let rest = (tail == Tail::Mean).then_some(index);
        Ok(vec![Box::new(scores), Box::new(top), Box::new(self.attend(listed, rest))])
    }

    fn greedy(&self, steps: Amount, keep: f64, exact: bool) -> Result<Vec<Box<dyn Spec>>> {
        let index = self.index()?;
        let Self { queries, lists, mode: Mode { tail, .. }, map, .. } = *self;
        let saturated = |amount: u64| u32::try_from(amount).unwrap_or(u32::MAX);
        let search = GreedyRuns {
            index,
            tokens: lists.tokens,
            group: lists.group,
            input: queries.input,
            low: if exact { Low::Exact } else { Low::Cheap },
            // Memory of the exact form is for as many as there may come to be rows for.
            budget: saturated(steps.of(if exact { index.most } else { self.rows })),
        };
        // At most as many as steps; hits spread evenly would meet so many rows.
        let share = 1.0 - (-(steps.of(self.rows) as f64) / f64::from(self.rows.max(1))).exp();
        let listed = self.listed((share * f64::from(self.rows)) as u64);
        let covered = self.all_rows();
        let list = ListRows { lists, queries, index, map, tail, covered, listed };
        let rest = (tail == Tail::Mean).then_some(index);
        let mut all: Vec<Box<dyn Spec>> =
            vec![Box::new(search), Box::new(GreedyHits { search }), Box::new(list)];
        if keep == 0.0 {
            all.push(Box::new(self.attend(listed, rest)));
        } else {
            all.push(Box::new(self.score_rows(Scored::Listed, listed)));
            all.push(Box::new(self.attend_scored(keep, listed, rest)));
        }
        Ok(all)
    }

    fn exact(&self, k: u64, keep: f64) -> Result<Vec<Box<dyn Spec>>> {
        let Self { lists, map, mode: Mode { tail, .. }, .. } = *self;
        if tail == Tail::Mean {
            let what = "the rest of the rows in exact top-k attention";
            return Err(Error::unsupported(what, "no index has their mean"));
        }
        let Some(stride) = self.rows.max(1).checked_next_multiple_of(4) else {
            let what = "rows of a head of exact top-k attention";
            return Err(Error::range(what, format!("0..={}", u32::MAX - 3), self.rows));
        };
        let k = u32::try_from(k).unwrap_or(u32::MAX);
        let (rows, listed) = (self.all_rows(), self.listed(k.into()));
        let top = TopRows { lists, map, ranked: Ranked::Seen { stride, k }, rows, listed };
        let scores = self.score_rows(Scored::Seen { map, stride }, rows);
        Ok(vec![Box::new(scores), Box::new(top), Box::new(self.attend_scored(keep, listed, None))])
    }

    fn specs(&self) -> Result<Vec<Box<dyn Spec>>> {
        self.lists.check()?;
        // Largest products are largest parts of logits.
        if self.queries.scale <= 0.0 {
            let what = "scale of a search";
            return Err(Error::range(what, "numbers above 0", self.queries.scale));
        }
        // 256 numbers at most.
        self.mode.selection.check(self.shape.head_dim() as u32)?;
        match self.mode.selection {
            Selection::ComponentTopR { r, k } => self.components(r, k),
            Selection::Greedy { steps, keep, exact } => self.greedy(steps, keep, exact),
            Selection::TopK { k } => self.exact(k.of(self.rows), 0.0),
            Selection::Threshold { keep } => self.exact(self.rows.into(), keep),
            Selection::TopKApprox { .. } => Err(Error::unsupported(
                "the best of a greedy search's candidates on a device",
                "take Greedy with a share, or TopK",
            )),
        }
    }
}

pub(super) fn budget(selection: &Selection) -> Option<Amount> {
    match *selection {
        Selection::Greedy { steps, .. } => Some(steps),
        Selection::ComponentTopR { k, .. } => Some(k),
        _ => None,
    }
}

impl Spec for SparseStep {
    fn kernel(&self) -> &'static str {
        "sparse_step"
    }

    /// # Errors
    /// As those of the kernels; [`Error::Range`] for a scale that is not above 0, [`Error::Shape`] for an index
    /// that is missing, [`Error::Unsupported`] for [`Selection::TopKApprox`] and for [`Tail::Mean`] where nothing
    /// knows a mean.
    fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        let mut all = Vec::new();
        for spec in self.specs()? {
            all.extend(spec.launches(caps, knobs)?);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::KvElement;
    use crate::attention::sparse::Share;

    #[test]
    fn what_cannot_be_is_an_error() {
        let shape = CacheShape::new(2, 64, KvElement::F16).unwrap();
        let share = Share::Group;
        let (sinks, causal) = (4, true);
        let lists = Lists { tokens: 1, heads: 2, group: 3, share, capacity: 64, sinks, causal };
        let step = SparseStep {
            shape,
            tensor_rows: 128,
            queries: DecodeQueries::new(&shape, 3),
            map: RowMapShape { heads: 2, starts: 0, page_rows: 0, entries: 0 },
            index: None,
            lists,
            mode: Mode::new(Selection::TopK { k: Amount::Count(5) }),
            splits: 1,
            rows: 64,
        };
        let launches = |step: &SparseStep| step.launches(&Caps::webgpu(), &Knobs::DEFAULT);
        launches(&step).unwrap();
        for bad in [
            SparseStep { lists: Lists { group: 0, ..lists }, ..step },
            SparseStep { lists: Lists { heads: u32::MAX, ..lists }, ..step },
            SparseStep { rows: u32::MAX, ..step },
            SparseStep { queries: DecodeQueries { scale: -1.0, ..step.queries }, ..step },
        ] {
            assert!(matches!(launches(&bad), Err(Error::Range { .. })));
        }
        assert_eq!(AttendRows::usual_splits(&Lists { group: 0, ..lists }, 8), 1);
    }
}
