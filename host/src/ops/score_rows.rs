//! `score_rows`: exact logits of all rows of a cache, or of those that lists have.

use super::decode::expect;
use super::prefill::{KeyRows, args_of_params};
use super::{BoundByMap, DeviceRowMap};
use crate::{Arg, Bound, Context, Element, View};
use fewbytes::attention::decode::{KEY_PARAMS, KEYS, Q};
use fewbytes::attention::score_rows::{NAME, Scored};
use fewbytes::attention::sparse::{COUNTS, LISTS, PICKED, SCORES, TOPS};
use fewbytes::attention::{ROW_MAP, ScoreRows};
use fewbytes::launch::Traffic;
use fewbytes::{Error, Knobs, Result};

/// The launches of a step's logits.
pub struct Plan {
    spec: ScoreRows,
    plan: crate::Plan,
}

/// Plans logits.
///
/// # Errors
/// As [`Context::plan_with`].
pub fn plan(ctx: &Context, spec: &ScoreRows, knobs: &Knobs) -> Result<Plan> {
    Ok(Plan { spec: *spec, plan: ctx.plan_with(spec, knobs)? })
}

impl Plan {
    /// What was planned.
    pub fn spec(&self) -> &ScoreRows {
        &self.spec
    }

    /// Bytes and operations of one step.
    pub fn traffic(&self) -> Traffic {
        self.plan.traffic()
    }

    /// Binds a plan of [`Scored::Seen`]: `q [T, H G, D]`, the rows, the map, `scores [T H G][stride]` of f32
    /// and `tops [T H G]` of u32. Recording then allocates nothing.
    ///
    /// # Errors
    /// [`Error::Shape`] for a plan of lists, a map of another shape, and views of another type or length, and
    /// as [`crate::Plan::bind`].
    pub fn bind(
        &self,
        q: &View,
        rows: &KeyRows<'_>,
        map: &DeviceRowMap,
        scores: &View,
        tops: &View,
    ) -> Result<BoundByMap> {
        let Scored::Seen { map: shape, .. } = self.spec.scored else {
            return Err(Error::shape(format!("a plan of {NAME}"), "of all rows", "of lists"));
        };
        let mut args = self.args(q, rows, (SCORES, scores), tops)?;
        let words = map.of_shape(&shape)?;
        args.push(Arg { binding: ROW_MAP, pieces: std::slice::from_ref(words) });
        Ok(BoundByMap::new(self.plan.bind(&args, None)?, map, self.spec.tensor_rows))
    }

    /// Binds a plan of [`Scored::Listed`]: `q [T, H G, D]`, the rows, `lists [L][capacity]` and `counts
    /// [L][4]` of u32, `picked [L][Q][capacity]` of f32 and `tops [T H G]` of u32. Recording then allocates
    /// nothing.
    ///
    /// # Errors
    /// [`Error::Shape`] for a plan of all rows and views of another type or length, and as
    /// [`crate::Plan::bind`].
    pub fn bind_lists(
        &self,
        q: &View,
        rows: &KeyRows<'_>,
        (lists, counts): (&View, &View),
        picked: &View,
        tops: &View,
    ) -> Result<Bound> {
        if self.spec.scored != Scored::Listed {
            return Err(Error::shape(format!("a plan of {NAME}"), "of lists", "of all rows"));
        }
        let mut args = self.args(q, rows, (PICKED, picked), tops)?;
        expect(lists, "lists of rows", Element::U32, self.spec.lists_len())?;
        expect(counts, "counts of lists", Element::U32, 4 * u64::from(self.spec.lists.count()))?;
        args.push(Arg { binding: LISTS, pieces: std::slice::from_ref(lists) });
        args.push(Arg { binding: COUNTS, pieces: std::slice::from_ref(counts) });
        self.plan.bind(&args, None)
    }

    fn args<'a>(
        &self,
        q: &'a View,
        rows: &KeyRows<'a>,
        (binding, scores): (u32, &'a View),
        tops: &'a View,
    ) -> Result<Vec<Arg<'a>>> {
        let spec = &self.spec;
        let count = u64::from(spec.tensor_rows);
        q.expect("q", spec.queries.input.into(), spec.q_len())?;
        expect(rows.keys, "keys", Element::U32, count * spec.shape.row_words() as u64)?;
        expect(scores, &format!("scores of {NAME}"), Element::F32, spec.scores_len())?;
        expect(tops, "largest scores", Element::U32, spec.lists.query_rows().into())?;
        let one = |binding, view| Arg { binding, pieces: std::slice::from_ref(view) };
        let mut args = vec![one(Q, q), one(KEYS, rows.keys), one(binding, scores), one(TOPS, tops)];
        let params = ("parameters of keys", KEY_PARAMS, count);
        args.extend(args_of_params(&spec.shape, params, rows.key_params)?);
        Ok(args)
    }
}
