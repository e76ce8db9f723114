//! `key_columns`: the columns of an index, from the keys of a cache.

use super::decode::Rows;
use super::index_tensors::{IndexTensors, args_of_source};
use super::{BoundByMap, DeviceRowMap};
use crate::Context;
use fewbytes::attention::KeyColumns;
use fewbytes::attention::sparse::{COLUMNS, FLAGS, INDEX_MAP};
use fewbytes::launch::Traffic;
use fewbytes::{Knobs, Result};

/// The launches of new rows.
pub struct Plan {
    spec: KeyColumns,
    plan: crate::Plan,
}

/// Plans them; [`super::build_index`] plans all that an index takes.
///
/// # Errors
/// As [`Context::plan_with`].
pub fn plan(ctx: &Context, spec: &KeyColumns) -> Result<Plan> {
    Ok(Plan { spec: *spec, plan: ctx.plan_with(spec, &Knobs::DEFAULT)? })
}

impl Plan {
    /// What was planned.
    pub fn spec(&self) -> &KeyColumns {
        &self.spec
    }

    /// Bytes and operations.
    pub fn traffic(&self) -> Traffic {
        self.plan.traffic()
    }

    /// Binds the rows of a cache, the row map and the index: recording then allocates nothing. Both maps are
    /// read when the pass runs, and the caller sees to it that the index's covers no more rows than a
    /// head has.
    ///
    /// # Errors
    /// [`fewbytes::Error::Shape`] for a map of another shape and for views of another type or length or
    /// missing, and as [`crate::Plan::bind`].
    pub fn bind(
        &self,
        rows: &Rows<'_>,
        map: &DeviceRowMap,
        index: &IndexTensors<'_>,
    ) -> Result<BoundByMap> {
        let source = &self.spec.0;
        let mut args = args_of_source(source, rows, map)?;
        args.extend(index.args(&source.index, &[COLUMNS, FLAGS, INDEX_MAP])?);
        Ok(BoundByMap::new(self.plan.bind(&args, None)?, map, source.tensor_rows))
    }
}
