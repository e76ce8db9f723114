//! `component_scores`: logits of all rows of an index from the components that matter most.

use super::decode::expect;
use crate::{Arg, Bound, Context, Element, View};
use fewbytes::attention::ComponentScores;
use fewbytes::attention::component_scores::NAME;
use fewbytes::attention::decode::Q;
use fewbytes::attention::sparse::{COLUMNS, INDEX_MAP, SCORES, SUMS, UNREAD};
use fewbytes::launch::Traffic;
use fewbytes::{Error, Knobs, Result};

/// The launch of a step's scores.
pub struct Plan {
    spec: ComponentScores,
    plan: crate::Plan,
}

/// What of an index is read.
#[derive(Debug, Clone, Copy)]
pub struct IndexViews<'a> {
    /// Where columns lie, `[H][8]`, u32.
    pub map: &'a View,
    /// Keys by columns, f16 in pairs: words of u32.
    pub columns: &'a View,
    /// Sums over rows, `[H][3][D]`, f32; where [`ComponentScores::reads_sums`] says so.
    pub sums: Option<&'a View>,
}

/// Plans scores.
///
/// # Errors
/// As [`Context::plan_with`].
pub fn plan(ctx: &Context, spec: &ComponentScores) -> Result<Plan> {
    Ok(Plan { spec: *spec, plan: ctx.plan_with(spec, &Knobs::DEFAULT)? })
}

impl Plan {
    /// What was planned.
    pub fn spec(&self) -> &ComponentScores {
        &self.spec
    }

    /// Bytes and operations of one step.
    pub fn traffic(&self) -> Traffic {
        self.plan.traffic()
    }

    /// Binds `q [T, H G, D]`, the index, `scores` of [`ComponentScores::scores_len`] elements of f32, and
    /// where [`ComponentScores::unread_len`] is not 0 as many of `unread`: recording then allocates nothing.
    ///
    /// # Errors
    /// [`Error::Shape`] for views of another type or length and for sums or unread components too many or missing, and as
    /// [`crate::Plan::bind`].
    pub fn bind(
        &self,
        q: &View,
        index: IndexViews<'_>,
        scores: &View,
        unread: Option<&View>,
    ) -> Result<Bound> {
        let spec = &self.spec;
        let shape = &spec.index;
        expect(q, "q", spec.input.into(), spec.q_len())?;
        expect(index.map, "index map", Element::U32, shape.map_words())?;
        expect(index.columns, "columns of an index", Element::U32, shape.words())?;
        expect(scores, &format!("scores of {NAME}"), Element::F32, spec.scores_len())?;
        let one = |binding, view| Arg { binding, pieces: std::slice::from_ref(view) };
        let mut args = vec![
            one(Q, q),
            one(INDEX_MAP, index.map),
            one(COLUMNS, index.columns),
            one(SCORES, scores),
        ];
        let sums = if spec.reads_sums() { shape.sums_len() } else { 0 };
        for (binding, what, view, wanted) in [
            (SUMS, "sums of an index", index.sums, sums),
            (UNREAD, "unread components of scores", unread, spec.unread_len()),
        ] {
            match view {
                None if wanted == 0 => {}
                Some(view) if wanted > 0 => {
                    expect(view, what, Element::F32, wanted)?;
                    args.push(one(binding, view));
                }
                _ => {
                    let found = view.map_or("none".to_owned(), |view| view.len().to_string());
                    return Err(Error::shape(what, wanted, found));
                }
            }
        }
        self.plan.bind(&args, None)
    }
}
