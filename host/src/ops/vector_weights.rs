//! Weights in pairs on a device.

use crate::{Arg, Context, View};
use fewbytes::linear::bitplane::{PLANES, TABLES};
use fewbytes::linear::{VectorLayer, VectorLayout};
use fewbytes::{Error, Result};

/// The uploaded planes and tables of a layer of weights in pairs.
#[derive(Debug, Clone)]
pub struct VectorWeights {
    layout: VectorLayout,
    planes: Vec<View>,
    tables: Vec<View>,
    bias: Option<View>,
}

impl VectorWeights {
    /// Uploads the planes, the tables and the bias.
    ///
    /// wgpu keeps a copy of what was written until the next submission: when uploading a whole
    /// model, submit something (`queue.submit([])` will do) after every few layers.
    ///
    /// # Errors
    /// As [`VectorLayout::new`] and [`Context::upload`].
    pub fn upload(ctx: &Context, layer: &VectorLayer) -> Result<Self> {
        let layout = VectorLayout::new(layer, ctx.caps())?;
        let planes = layout.pieces().map(|piece| ctx.upload(&layout.plane_piece(layer, &piece)?));
        let planes = planes.collect::<Result<_>>()?;
        let tables = layout.pieces().map(|piece| ctx.upload(&layout.table_piece(layer, &piece)?));
        let tables = tables.collect::<Result<_>>()?;
        let bias = layer.bias().map(|bias| ctx.upload(bias)).transpose()?;
        Ok(Self { layout, planes, tables, bias })
    }

    /// How the layer lies on the device.
    pub fn layout(&self) -> &VectorLayout {
        &self.layout
    }

    /// Bytes on the device.
    pub fn bytes(&self) -> u64 {
        self.planes.iter().chain(&self.tables).chain(&self.bias).map(View::bytes).sum()
    }

    /// The planes, a view a piece.
    pub fn planes(&self) -> &[View] {
        &self.planes
    }

    /// The tables, a view a piece.
    pub fn tables(&self) -> &[View] {
        &self.tables
    }

    /// The bias: one view, or none.
    pub fn bias(&self) -> &[View] {
        self.bias.as_slice()
    }

    /// Checks that a plan made for `layout` fits these weights.
    pub(super) fn expect(&self, layout: &VectorLayout) -> Result<()> {
        if self.layout == *layout {
            return Ok(());
        }
        // All of it: layouts of one size can differ in width, tables, bias or pieces.
        let (expected, found) = (format!("{layout:?}"), format!("{:?}", self.layout));
        Err(Error::shape("layout of the weights", expected, found))
    }

    /// The planes and tables as every kernel binds them.
    pub(super) fn args(&self) -> [Arg<'_>; 2] {
        [
            Arg { binding: PLANES, pieces: &self.planes },
            Arg { binding: TABLES, pieces: &self.tables },
        ]
    }
}
