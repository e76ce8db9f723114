//! Any-precision weights on a device.

use crate::{Arg, Context, View};
use fewbytes::linear::bitplane::{PLANES, TABLES};
use fewbytes::linear::{BitplaneLayer, BitplaneLayout};
use fewbytes::{Error, Result};

/// The uploaded planes and tables of a layer, up to some width.
#[derive(Debug, Clone)]
pub struct BitplaneWeights {
    layout: BitplaneLayout,
    planes: Vec<View>,
    tables: Vec<View>,
    bias: Option<View>,
}

impl BitplaneWeights {
    /// Uploads the first `max_bits` planes, their tables and the bias. Planes above are not sent.
    ///
    /// wgpu keeps a copy of what was written until the next submission: when uploading a whole
    /// model, submit something (`queue.submit([])` will do) after every few layers.
    ///
    /// # Errors
    /// As [`BitplaneLayout::new`] and [`Context::upload`].
    pub fn upload(ctx: &Context, layer: &BitplaneLayer, max_bits: u8) -> Result<Self> {
        let layout = BitplaneLayout::new(layer, max_bits, ctx.caps())?;
        let planes = layout.pieces().map(|piece| ctx.upload(&layout.plane_piece(layer, &piece)?));
        let planes = planes.collect::<Result<_>>()?;
        let tables = layout.pieces().map(|piece| ctx.upload(&layout.table_piece(layer, &piece)?));
        let tables = tables.collect::<Result<_>>()?;
        let bias = layer.bias().map(|bias| ctx.upload(bias)).transpose()?;
        Ok(Self { layout, planes, tables, bias })
    }

    /// How the layer lies on the device.
    pub fn layout(&self) -> &BitplaneLayout {
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

    /// The tables of all widths, a view a piece.
    pub fn tables(&self) -> &[View] {
        &self.tables
    }

    /// The bias: one view, or none.
    pub fn bias(&self) -> &[View] {
        self.bias.as_slice()
    }

    /// Checks that a plan made for `layout` fits these weights.
    pub(super) fn expect(&self, layout: &BitplaneLayout) -> Result<()> {
        if self.layout == *layout {
            return Ok(());
        }
        // All of it: layouts of one size can differ in widths, tables, bias or pieces.
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
