//! `score_max`: the largest attention that every key of a chunk gets, from given sums.

use super::prefill::{KeyRows, args_of};
use super::{BoundByMap, DeviceRowMap};
use crate::{Arg, Context, Element, View};
use fewbytes::attention::decode::LSE;
use fewbytes::attention::score_max::SCORE;
use fewbytes::attention::{Denominator, ScoreMax};
use fewbytes::launch::Traffic;
use fewbytes::{Error, Knobs, Result};

/// The launches of one pass; none for a chunk without rows.
pub struct Plan {
    spec: ScoreMax,
    plan: crate::Plan,
}

/// Plans a pass of [`ScoreMax::new`]; [`super::max_attention`] makes the sums too.
///
/// # Errors
/// As [`Context::plan_with`].
pub fn plan(ctx: &Context, spec: &ScoreMax, knobs: &Knobs) -> Result<Plan> {
    Ok(Plan { spec: *spec, plan: ctx.plan_with(spec, knobs)? })
}

impl Plan {
    /// What was planned.
    pub fn spec(&self) -> &ScoreMax {
        &self.spec
    }

    /// Bytes and operations of one pass.
    pub fn traffic(&self) -> Traffic {
        self.plan.traffic()
    }

    /// Bytes of scratch memory for the bests of slices; passes that follow each other can share it.
    pub fn scratch_bytes(&self) -> u64 {
        self.plan.scratch_bytes()
    }

    /// Binds `q [q_len, H G, D]`, the rows, the map, `lse [q_len, H G]` of f32 (none for
    /// [`Denominator::None`]) and the whole tensor of scores, `[layers, heads, positions]` of f32:
    /// recording then allocates nothing, and writes the chunk's part.
    ///
    /// # Errors
    /// [`Error::Shape`] for a map of another shape, for views of another type or length and for parameters
    /// or an `lse` too many or missing, and as [`crate::Plan::bind`].
    pub fn bind(
        &self,
        q: &View,
        rows: &KeyRows<'_>,
        map: &DeviceRowMap,
        lse: Option<&View>,
        score: &View,
        scratch: Option<&View>,
    ) -> Result<BoundByMap> {
        let given = self.spec.denominator != Denominator::None;
        let args = args_of_scores(&self.spec, given, (q, map), rows, (lse, score))?;
        Ok(BoundByMap::new(self.plan.bind(&args, scratch)?, map, self.spec.tensor_rows))
    }
}

/// Everything that a pass reads and writes, once it has the types and lengths that a spec says; `given`
/// says whether sums are.
pub(super) fn args_of_scores<'a>(
    spec: &ScoreMax,
    given: bool,
    (q, map): (&'a View, &'a DeviceRowMap),
    rows: &KeyRows<'a>,
    (lse, score): (Option<&'a View>, &'a View),
) -> Result<Vec<Arg<'a>>> {
    let ScoreMax { shape, tensor_rows, queries, map: map_shape, place, .. } = spec;
    let mut args = args_of(shape, *tensor_rows, queries, (q, map, map_shape), rows)?;
    if lse.is_some() != given {
        let words = |given| if given { "given" } else { "none" };
        return Err(Error::shape("lse of a scoring pass", words(given), words(lse.is_some())));
    }
    if let Some(lse) = lse {
        lse.expect("lse", Element::F32, queries.lse_len(shape.kv_heads()))?;
        args.push(Arg { binding: LSE, pieces: std::slice::from_ref(lse) });
    }
    super::decode::expect(score, "scores", Element::F32, place.elements())?;
    args.push(Arg { binding: SCORE, pieces: std::slice::from_ref(score) });
    Ok(args)
}
