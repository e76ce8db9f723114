//! `score_lse`: what the attention of a scoring pass is divided by.

use super::prefill::{KeyRows, args_of};
use super::{BoundByMap, DeviceRowMap};
use crate::{Arg, Context, Element, View};
use fewbytes::attention::ScoreLse;
use fewbytes::attention::decode::LSE;
use fewbytes::launch::Traffic;
use fewbytes::{Knobs, Result};

/// The launch of one pass; none for no tokens.
pub struct Plan {
    spec: ScoreLse,
    plan: crate::Plan,
}

/// Plans a pass of [`ScoreLse::new`]; [`super::max_attention`] plans both.
///
/// # Errors
/// As [`Context::plan_with`].
pub fn plan(ctx: &Context, spec: &ScoreLse, knobs: &Knobs) -> Result<Plan> {
    Ok(Plan { spec: *spec, plan: ctx.plan_with(spec, knobs)? })
}

impl Plan {
    /// What was planned.
    pub fn spec(&self) -> &ScoreLse {
        &self.spec
    }

    /// Bytes and operations of one pass.
    pub fn traffic(&self) -> Traffic {
        self.plan.traffic()
    }

    /// Binds `q [q_len, H G, D]`, the rows, the map and `lse [q_len, H G]` of f32: recording
    /// then allocates nothing.
    ///
    /// # Errors
    /// [`fewbytes::Error::Shape`] for a map of another shape, for views of another type or length and
    /// for parameters too many or missing, and as [`crate::Plan::bind`].
    pub fn bind(
        &self,
        q: &View,
        rows: &KeyRows<'_>,
        map: &DeviceRowMap,
        lse: &View,
    ) -> Result<BoundByMap> {
        let ScoreLse { shape, tensor_rows, queries, map: map_shape, .. } = &self.spec;
        let mut args = args_of(shape, *tensor_rows, queries, (q, map, map_shape), rows)?;
        lse.expect("lse", Element::F32, queries.lse_len(shape.kv_heads()))?;
        args.push(Arg { binding: LSE, pieces: std::slice::from_ref(lse) });
        Ok(BoundByMap::new(self.plan.bind(&args, None)?, map, *tensor_rows))
    }
}
