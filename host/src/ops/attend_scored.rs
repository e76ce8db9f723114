//! `attend_scored`: attention to listed rows whose logits are known, and the merge of its parts.

use super::attend_rows::{
    ListViews, Outputs, RestViews, args_of_lists, args_of_outputs, args_of_rest, args_of_rows,
};
use super::decode::expect;
use crate::{Arg, Bound, Context, Element, View};
use fewbytes::attention::sparse::{IndexShape, PICKED, TOPS};
use fewbytes::attention::{AttendScored, Attending, Listed};
use fewbytes::launch::Traffic;
use fewbytes::{Knobs, Result};

/// The values of a cache on the device.
#[derive(Debug, Clone, Copy)]
pub struct ValueRows<'a> {
    /// `[rows, row_words]`, u32.
    pub values: &'a View,
    /// Parameters of values, `[rows]`, u32; of int8 and int4 only.
    pub params: Option<&'a View>,
}

/// Logits of listed rows on the device.
#[derive(Debug, Clone, Copy)]
pub struct Logits<'a> {
    /// `[L][Q][capacity]`, f32, to base 2.
    pub picked: &'a View,
    /// `[L][Q]`, u32: the largest as an integer of the same order.
    pub tops: &'a View,
}

/// The launches of one attention to lists, and of its merge.
pub struct Plan {
    spec: AttendScored,
    rest: Option<IndexShape>,
    plan: crate::Plan,
}

/// Plans attention to lists of known logits; with `rest` the rows that are left out count.
///
/// # Errors
/// As [`Context::plan_with`].
pub fn plan(
    ctx: &Context,
    spec: &AttendScored,
    rest: Option<IndexShape>,
    knobs: &Knobs,
) -> Result<Plan> {
    let listed = Listed { attend: Attending::Scored(*spec), rest };
    Ok(Plan { spec: *spec, rest, plan: ctx.plan_with(&listed, knobs)? })
}

impl Plan {
    /// What was planned.
    pub fn spec(&self) -> &AttendScored {
        &self.spec
    }

    /// Bytes of scratch memory for states of parts.
    pub fn scratch_bytes(&self) -> u64 {
        self.plan.scratch_bytes()
    }

    /// Kernel and variant of every launch.
    pub fn variants(&self) -> impl Iterator<Item = (&'static str, &'static str)> + '_ {
        self.plan.variants()
    }

    /// Bytes and operations, of as many rows as the spec said.
    pub fn traffic(&self) -> Traffic {
        self.plan.traffic()
    }

    /// Binds values, lists and their logits, what is known of the rest where it counts, and the outputs:
    /// recording then allocates nothing.
    ///
    /// # Errors
    /// [`Error::Shape`](fewbytes::Error::Shape) for views of another type or length, and for parameters, a
    /// rest or an `lse` too many or missing; as [`crate::Plan::bind`].
    pub fn bind(
        &self,
        rows: &ValueRows<'_>,
        lists: &ListViews<'_>,
        logits: &Logits<'_>,
        rest: Option<&RestViews<'_>>,
        outputs: &Outputs<'_>,
        scratch: Option<&View>,
    ) -> Result<Bound> {
        let AttendScored { shape, tensor_rows, queries, lists: planned, .. } = &self.spec;
        let (tensors, params) = ([None, Some(rows.values)], [None, rows.params]);
        let mut args = args_of_rows(shape, *tensor_rows, tensors, params)?;
        args.extend(args_of_lists(planned, lists)?);
        let count = u64::from(planned.query_rows());
        let logits_len = count * u64::from(planned.capacity);
        expect(logits.picked, "logits of lists", Element::F32, logits_len)?;
        expect(logits.tops, "largest logits of lists", Element::U32, count)?;
        for (binding, view) in [(PICKED, logits.picked), (TOPS, logits.tops)] {
            args.push(Arg { binding, pieces: std::slice::from_ref(view) });
        }
        args.extend(args_of_rest(planned, self.rest, rest)?);
        args.extend(args_of_outputs(shape, queries, outputs)?);
        self.plan.bind(&args, scratch)
    }
}
