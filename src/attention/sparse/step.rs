//! A whole step of sparse attention: which kernels follow which.

use super::greedy::Low;
use super::{
    Amount, COUNTS, FOUND, HITS, IndexShape, LISTS, Lists, Mode, PARTS, PICKED, RANKS, REST, RUNS,
    SCORES, Selection, TOPS, Tail,
};
use crate::attention::{
    AttendRows, Attending, CacheShape, ComponentScores, DecodeQueries, GreedyHits, GreedyRuns,
    ListRows, Listed, RowMapShape, TopRows,
};
use crate::launch::{Caps, Knobs, Launch, Spec};
use crate::{Error, Result};

/// Numbers of the bindings of what one kernel of a step leaves for the next: tensors of the step's own, each
/// in memory that no other of them is in. What they hold means nothing to the step that follows.
pub const WORK: [u32; 11] =
    [RUNS, FOUND, HITS, LISTS, COUNTS, SCORES, TOPS, RANKS, PARTS, REST, PICKED];

/// One step, described: rows are found as a [`Mode`] says, and attended to.
///
/// | mode | launches |
/// |---|---|
/// | [`Selection::ComponentTopR`] | `component_scores`, `top_rows`, `attend_rows`, `decode_merge` |
/// | [`Selection::Greedy`] | `greedy_runs`, `greedy_hits`, `list_rows`, then of a share of 0 `attend_rows`, of others `score_rows` and `attend_scored`; `decode_merge` |
/// | [`Selection::TopK`], [`Selection::Threshold`] | `score_rows`, `top_rows`, `attend_scored`, `decode_merge`; no index |
///
/// [`Selection::TopKApprox`] is offered by the [reference](super::attend) alone, and so are lists of several
/// query rows for exact top-k, whose definition is of one.
///
/// All launches share tensors by the numbers of their bindings. Nothing depends on how many rows an index
/// covers or a cache has: a step is planned once.
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
        if keep > 0.0 {
            return Err(Error::unsupported("a share of the largest weight", "it needs logits"));
        }
        all.push(Box::new(self.attend(listed, rest)));
        Ok(all)
    }

    fn specs(&self) -> Result<Vec<Box<dyn Spec>>> {
        // 256 numbers at most.
        self.mode.selection.check(self.shape.head_dim() as u32)?;
        match self.mode.selection {
            Selection::ComponentTopR { r, k } => self.components(r, k),
            Selection::Greedy { steps, keep, exact } => self.greedy(steps, keep, exact),
            Selection::TopK { .. } | Selection::Threshold { .. } => {
                Err(Error::unsupported("exact top-k attention", "it needs logits"))
            }
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
    /// As those of the kernels; [`Error::Shape`] for an index that is missing, [`Error::Unsupported`] for
    /// [`Selection::TopKApprox`] and for [`Tail::Mean`] where nothing knows a mean.
    fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        let mut all = Vec::new();
        for spec in self.specs()? {
            all.extend(spec.launches(caps, knobs)?);
        }
        Ok(all)
    }
}
