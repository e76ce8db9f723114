//! `merge_columns`: sorted runs of the columns of an index merged by twos.

use super::index_tensors::{IndexTensors, SortedTensors};
use crate::{Bound, Context};
use fewbytes::attention::MergeColumns;
use fewbytes::attention::sparse::{INDEX_MAP, SORTED, SortedPair};
use fewbytes::launch::Traffic;
use fewbytes::{Knobs, Result};

/// The launch of new rows.
pub struct Plan {
    spec: MergeColumns,
    plan: crate::Plan,
}

/// Plans it; [`super::build_index`] plans all that an index takes.
///
/// # Errors
/// As [`Context::plan_with`].
pub fn plan(ctx: &Context, spec: &MergeColumns) -> Result<Plan> {
    Ok(Plan { spec: *spec, plan: ctx.plan_with(spec, &Knobs::DEFAULT)? })
}

impl Plan {
    /// What was planned.
    pub fn spec(&self) -> &MergeColumns {
        &self.spec
    }

    /// Bytes of one launch.
    pub fn traffic(&self) -> Traffic {
        self.plan.traffic()
    }

    /// Binds the index and other sorted columns, of which one is read and one written: recording then
    /// allocates nothing. The map is read when the pass runs.
    ///
    /// # Errors
    /// [`fewbytes::Error::Shape`] for views of another type or length or missing, and as
    /// [`crate::Plan::bind`].
    pub fn bind(&self, index: &IndexTensors<'_>, other: &SortedTensors<'_>) -> Result<Bound> {
        let shape = &self.spec.index;
        let mut args = index.args(shape, &[INDEX_MAP, SORTED])?;
        args.extend(other.args(shape, SortedPair::Other)?);
        self.plan.bind(&args, None)
    }
}
