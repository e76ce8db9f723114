//! `decode_merge`: puts the states of parts of attention together.

use super::decode::expect;
use crate::{Arg, Bound, Context, Element, View};
use fewbytes::attention::DecodeMerge;
use fewbytes::attention::decode::{LSE, O, SCHEDULE, STATES};
use fewbytes::attention::decode_merge::{GIVEN_LSE, GIVEN_O, Parts};
use fewbytes::launch::Traffic;
use fewbytes::{Error, Knobs, Result};

/// The launch of one merge; none where there is nothing to merge.
pub struct Plan {
    spec: DecodeMerge,
    plan: crate::Plan,
}

/// Plans a merge.
///
/// # Errors
/// As [`Context::plan_with`].
pub fn plan(ctx: &Context, spec: &DecodeMerge) -> Result<Plan> {
    Ok(Plan { spec: *spec, plan: ctx.plan_with(spec, &Knobs::DEFAULT)? })
}

/// What is merged.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// The slots that [`super::decode_split`] wrote.
    Slots {
        /// The schedule's words.
        schedule: &'a View,
        /// The states, f32.
        states: &'a View,
    },
    /// Attention to several sets of rows that have none in common: a shared prefix and what follows.
    Given {
        /// Outputs, `[parts, q_len, H G, D]` of f32.
        o: &'a View,
        /// Natural logarithms of sums, `[parts, q_len, H G]` of f32.
        lse: &'a View,
    },
}

impl Plan {
    /// What was planned.
    pub fn spec(&self) -> &DecodeMerge {
        &self.spec
    }

    /// Bytes and operations of one merge.
    pub fn traffic(&self) -> Traffic {
        self.plan.traffic()
    }

    /// Binds what is merged, `o [q_len, H G, D]` and, where asked for, `lse [q_len, H G]` of f32:
    /// recording then allocates nothing.
    ///
    /// # Errors
    /// [`Error::Shape`] for views of another type or length, another source than was planned, and an
    /// `lse` too many or missing, and as [`crate::Plan::bind`].
    pub fn bind(&self, source: &Source<'_>, o: &View, lse: Option<&View>) -> Result<Bound> {
        let DecodeMerge { shape, queries, parts } = &self.spec;
        o.expect("o", queries.output.into(), queries.q_len_of(shape))?;
        let sums = queries.lse_len(shape.kv_heads());
        expect_lse(lse, queries.lse, sums)?;
        let one = std::slice::from_ref;
        let mut args = match (*source, parts) {
            (Source::Slots { schedule, states }, Parts::Slots(planned)) => {
                expect(schedule, "schedule", Element::U32, planned.words())?;
                expect(states, "states", Element::F32, self.spec.parts_len())?;
                vec![
                    Arg { binding: SCHEDULE, pieces: one(schedule) },
                    Arg { binding: STATES, pieces: one(states) },
                ]
            }
            (Source::Given { o, lse }, Parts::Given(parts)) => {
                expect(o, "given outputs", Element::F32, self.spec.parts_len())?;
                let all = u64::from(*parts).saturating_mul(sums as u64);
                expect(lse, "given sums", Element::F32, all)?;
                vec![
                    Arg { binding: GIVEN_O, pieces: one(o) },
                    Arg { binding: GIVEN_LSE, pieces: one(lse) },
                ]
            }
            (found, planned) => {
                let planned = match planned {
                    Parts::Slots(_) => "slots",
                    Parts::Given(_) => "given parts",
                    Parts::Lists(_) => "parts of lists, which ops::attend_rows binds",
                };
                let found = match found {
                    Source::Slots { .. } => "slots",
                    Source::Given { .. } => "given parts",
                };
                return Err(Error::shape("source of decode_merge", planned, found));
            }
        };
        args.push(Arg { binding: O, pieces: one(o) });
        args.push(Arg { binding: LSE, pieces: lse.map(one).unwrap_or_default() });
        self.plan.bind(&args, None)
    }
}

/// An `lse` where it was asked for, and none otherwise.
pub(super) fn expect_lse(lse: Option<&View>, asked: bool, len: usize) -> Result<()> {
    if lse.is_some() != asked {
        let words = |given| if given { "given" } else { "none" };
        return Err(Error::shape("lse", words(asked), words(lse.is_some())));
    }
    lse.map_or(Ok(()), |lse| lse.expect("lse", Element::F32, len))
}
