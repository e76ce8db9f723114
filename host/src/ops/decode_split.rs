//! `decode_split`: attention to the rows of a cache, as a plan spreads them.

use super::decode::{Rows, args_of_rows};
use crate::{Arg, Bound, Context, Element, View};
use fewbytes::attention::DecodeSplit;
use fewbytes::attention::decode::{O, Q, SCHEDULE, STATES};
use fewbytes::launch::Traffic;
use fewbytes::{Error, Knobs, Result};

/// The launch of the first kernel of a step.
pub struct Plan {
    spec: DecodeSplit,
    plan: crate::Plan,
}

/// Plans the first kernel of a step; [`super::decode`] plans both.
///
/// # Errors
/// As [`Context::plan_with`].
pub fn plan(ctx: &Context, spec: &DecodeSplit, knobs: &Knobs) -> Result<Plan> {
    Ok(Plan { spec: *spec, plan: ctx.plan_with(spec, knobs)? })
}

impl Plan {
    /// What was planned.
    pub fn spec(&self) -> &DecodeSplit {
        &self.spec
    }

    /// Bytes and operations of one step.
    pub fn traffic(&self) -> Traffic {
        self.plan.traffic()
    }

    /// Binds `q [q_len, H G, D]`, the rows, the schedule's words, `o` of the shape of `q`, and, where
    /// [`DecodeSplit::states_len`] is not 0, `states` of f32: recording then allocates nothing.
    ///
    /// # Errors
    /// [`Error::Shape`] for views of another type or length and for states or parameters too many or
    /// missing, and as [`crate::Plan::bind`].
    pub fn bind(
        &self,
        q: &View,
        rows: &Rows<'_>,
        schedule: &View,
        o: &View,
        states: Option<&View>,
    ) -> Result<Bound> {
        expect_queries(&self.spec, q, schedule, o)?;
        let wanted = self.spec.states_len();
        if let Some(states) = states {
            super::decode::expect(states, "states", Element::F32, wanted)?;
        } else if wanted > 0 {
            return Err(Error::shape("states of decode_split", wanted, "none"));
        }
        let one = std::slice::from_ref;
        let mut args = args_of_rows(&self.spec, rows)?;
        args.extend([
            Arg { binding: Q, pieces: one(q) },
            Arg { binding: SCHEDULE, pieces: one(schedule) },
            Arg { binding: O, pieces: one(o) },
            Arg { binding: STATES, pieces: states.map(one).unwrap_or_default() },
        ]);
        self.plan.bind(&args, None)
    }
}

/// Element types and lengths of what a step reads and writes besides rows.
pub(super) fn expect_queries(
    spec: &DecodeSplit,
    q: &View,
    schedule: &View,
    o: &View,
) -> Result<()> {
    let elements = spec.queries.q_len_of(&spec.shape);
    q.expect("q", spec.queries.input.into(), elements)?;
    o.expect("o", spec.queries.output.into(), elements)?;
    super::decode::expect(schedule, "schedule", Element::U32, spec.schedule.words())
}
