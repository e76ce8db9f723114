//! What makes an index and keeps it up: all of its kernels, one after the other.

use super::decode::Rows;
use super::index_tensors::{IndexTensors, args_of_source};
use super::{BoundByMap, DeviceRowMap};
use crate::{Context, View};
use fewbytes::attention::Layout;
use fewbytes::attention::sparse::{BuildIndex, COLUMNS, FLAGS, INDEX_MAP, IndexMap, SORTED, SUMS};
use fewbytes::launch::Traffic;
use fewbytes::{Error, Knobs, Result};

/// The launches that bring an index up to date.
pub struct Plan {
    spec: BuildIndex,
    plan: crate::Plan,
}

/// Plans an index, or its extensions. It stays good while the layout's places and the index's room stay.
///
/// # Errors
/// As [`Context::plan_with`].
pub fn plan(ctx: &Context, spec: &BuildIndex) -> Result<Plan> {
    Ok(Plan { spec: *spec, plan: ctx.plan_with(spec, &Knobs::DEFAULT)? })
}

/// The launches, bound to their tensors.
pub struct BoundIndex {
    spec: BuildIndex,
    bound: BoundByMap,
}

impl Plan {
    /// What was planned.
    pub fn spec(&self) -> &BuildIndex {
        &self.spec
    }

    /// Kernel and variant of every launch.
    pub fn variants(&self) -> impl Iterator<Item = (&'static str, &'static str)> + '_ {
        self.plan.variants()
    }

    /// Bytes and operations.
    pub fn traffic(&self) -> Traffic {
        self.plan.traffic()
    }

    /// Bytes of scratch memory; of several indexes it can be the same.
    pub fn scratch_bytes(&self) -> u64 {
        self.plan.scratch_bytes()
    }

    /// Binds the rows of a cache, the row map and the index: recording then allocates nothing. Both maps are
    /// read when the pass runs.
    ///
    /// # Errors
    /// [`Error::Shape`] for a map of another shape, for views of another type or length and for sums, sorted
    /// columns or parameters that are missing, and as [`crate::Plan::bind`].
    pub fn bind(
        &self,
        rows: &Rows<'_>,
        map: &DeviceRowMap,
        index: &IndexTensors<'_>,
        scratch: Option<&View>,
    ) -> Result<BoundIndex> {
        let BuildIndex { source, parts, .. } = &self.spec;
        let mut numbers = vec![INDEX_MAP, COLUMNS, FLAGS];
        if parts.sums {
            numbers.push(SUMS);
        }
        if parts.sorted {
            // And what it is the order of.
            numbers.push(SORTED);
        }
        let mut args = args_of_source(source, rows, map)?;
        args.extend(index.args(&source.index, &numbers)?);
        let bound = self.plan.bind(&args, scratch)?;
        Ok(BoundIndex { spec: self.spec, bound: BoundByMap::new(bound, map, source.tensor_rows) })
    }
}

impl BoundIndex {
    /// Records every launch, for the index's map and the layout as they are now. Both maps have to be written
    /// to the device before the pass is submitted.
    ///
    /// # Errors
    /// As [`BuildIndex::check`]; [`Error::Range`] for an index of more rows than a head has; as
    /// [`BoundByMap::record`]. Nothing is recorded then.
    pub fn record(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        index: &IndexMap,
        map: &DeviceRowMap,
        layout: &Layout,
    ) -> Result<()> {
        self.spec.check(index)?;
        for (head, (columns, len)) in index.heads().iter().zip(layout.lengths()).enumerate() {
            if columns.rows > len {
                let what = format!("rows of head {head} of an index");
                return Err(Error::range(what, format!("0..={len}"), columns.rows));
            }
        }
        self.bound.record(pass, map, layout)
    }
}
