//! `sort_columns`: sorted runs of the columns of an index.

use super::index_tensors::{IndexTensors, SortedTensors};
use crate::{Bound, Context};
use fewbytes::attention::SortColumns;
use fewbytes::attention::sparse::{COLUMNS, INDEX_MAP, SORTED, SortedPair};
use fewbytes::launch::Traffic;
use fewbytes::{Error, Knobs, Result};

/// The launch of new rows.
pub struct Plan {
    spec: SortColumns,
    plan: crate::Plan,
}

/// Plans it; [`super::build_index`] plans all that an index takes.
///
/// # Errors
/// As [`Context::plan_with`].
pub fn plan(ctx: &Context, spec: &SortColumns) -> Result<Plan> {
    Ok(Plan { spec: *spec, plan: ctx.plan_with(spec, &Knobs::DEFAULT)? })
}

impl Plan {
    /// What was planned.
    pub fn spec(&self) -> &SortColumns {
        &self.spec
    }

    /// Bytes of one launch.
    pub fn traffic(&self) -> Traffic {
        self.plan.traffic()
    }

    /// Binds the index and, where runs go there, other sorted columns: recording then allocates nothing. The
    /// map is read when the pass runs.
    ///
    /// # Errors
    /// [`Error::Shape`] for views of another type or length or missing, and as [`crate::Plan::bind`].
    pub fn bind(
        &self,
        index: &IndexTensors<'_>,
        other: Option<&SortedTensors<'_>>,
    ) -> Result<Bound> {
        let shape = &self.spec.index;
        let mut args = index.args(shape, &[INDEX_MAP, COLUMNS])?;
        match self.spec.to {
            SortedPair::Index => args.extend(index.args(shape, &[SORTED])?),
            SortedPair::Other => {
                let missing = || Error::shape("other sorted columns", "given", "none");
                args.extend(other.ok_or_else(missing)?.args(shape, SortedPair::Other)?);
            }
        }
        self.plan.bind(&args, None)
    }
}
