//! A [`RowMap`] on the device, and launches that read rows by it.

use crate::{Bound, Context, View};
use fewbytes::attention::{Layout, RowMap, RowMapShape};
use fewbytes::{Error, Result};

/// A row map on the device.
#[derive(Debug, Clone)]
pub struct DeviceRowMap {
    map: RowMap,
    words: View,
}

/// The launches of a kernel over tiles, bound to their tensors.
pub struct BoundByMap {
    bound: Bound,
    words: View,
    shape: RowMapShape,
    tensor_rows: u32,
}

impl DeviceRowMap {
    /// Uploads a map.
    ///
    /// # Errors
    /// As [`Context::upload`].
    pub fn upload(ctx: &Context, map: RowMap) -> Result<Self> {
        let words = ctx.upload(map.words())?;
        Ok(Self { map, words })
    }

    /// Writes a map into memory that is there already, in which another may have been.
    ///
    /// # Errors
    /// As [`Context::write`].
    pub fn write(ctx: &Context, map: RowMap, words: View) -> Result<Self> {
        ctx.write(&words, map.words())?;
        Ok(Self { map, words })
    }

    /// Brings the map up to date, before the pass that follows an append, a truncation or an eviction is
    /// submitted. `starts` as for [`RowMap::new`].
    ///
    /// # Errors
    /// As [`RowMap::update`] and [`Context::write`].
    pub fn update(&mut self, ctx: &Context, layout: &Layout, starts: &[u32]) -> Result<()> {
        for range in self.map.update(layout, starts)? {
            let view = self.words.slice(range.clone())?;
            ctx.write(&view, self.map.words().get(range).unwrap_or_default())?;
        }
        Ok(())
    }

    /// The map.
    pub fn map(&self) -> &RowMap {
        &self.map
    }

    /// Its words on the device.
    pub fn words(&self) -> &View {
        &self.words
    }

    /// The words, once they are as many as a plan was made for.
    pub(super) fn of_shape(&self, shape: &RowMapShape) -> Result<&View> {
        if self.map.shape() != shape {
            let (expected, found) = (format!("{shape:?}"), format!("{:?}", self.map.shape()));
            return Err(Error::shape("row map of another plan", expected, found));
        }
        Ok(&self.words)
    }
}

impl BoundByMap {
    pub(super) fn new(bound: Bound, map: &DeviceRowMap, tensor_rows: u32) -> Self {
        Self { bound, words: map.words.clone(), shape: *map.map.shape(), tensor_rows }
    }

    /// Whether there is nothing to record.
    pub fn is_empty(&self) -> bool {
        self.bound.is_empty()
    }

    /// Records every launch, for the layout as it is now. The map has to have been updated since rows were
    /// appended, taken back or moved, and is read when the pass runs.
    ///
    /// # Errors
    /// [`Error::Shape`] for a map that was not bound, for a cache of other tensors, and as
    /// [`RowMap::check`]: nothing is recorded then. [`Error::DeviceLost`].
    pub fn record(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        map: &DeviceRowMap,
        layout: &Layout,
    ) -> Result<()> {
        if map.words != self.words {
            return Err(Error::shape("row map", "the one that was bound", "another"));
        }
        map.of_shape(&self.shape)?;
        map.map.check(layout)?;
        if layout.rows() != self.tensor_rows {
            return Err(Error::shape("rows of a cache", self.tensor_rows, layout.rows()));
        }
        self.bound.record(pass)
    }
}
