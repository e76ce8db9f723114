//! Our packed format.

use super::super::planes::words_for;
use super::super::tables::{check_bits, list_widths};
use super::super::{BitplaneLayer, BitplaneShape, TableElement, Tables};
use super::header::{Kind, PLANES};
use super::{dtype, header, replace, tensor, view};
use crate::{Error, Result};
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;
use std::path::Path;

const KIND: Kind = Kind { format: "bitplane", layout: PLANES };

/// What a packed file says of one layer.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerHeader {
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub cols: usize,
    /// Narrowest width.
    pub seed_bits: u8,
    /// Widest width.
    pub parent_bits: u8,
    /// Widths that have tables, ascending.
    pub widths: Vec<u8>,
    /// `"f16"` or `"f32"`.
    pub table: TableElement,
    /// Whether there is a bias.
    pub bias: bool,
}

/// A packed file in memory, or mapped into it. Layers are unpacked one by one.
pub struct PackedFile<'a> {
    tensors: SafeTensors<'a>,
    settings: Option<String>,
    layers: BTreeMap<String, LayerHeader>,
}

impl<'a> PackedFile<'a> {
    /// Reads the header; `name` stands for the file in errors.
    ///
    /// # Errors
    /// [`Error::Format`] when this is not a packed file or one of another version or layout.
    pub fn parse(name: &str, bytes: &'a [u8]) -> Result<Self> {
        let header::Contents { tensors, settings, layers } = header::read(KIND, name, bytes)?;
        Ok(Self { tensors, settings, layers })
    }

    /// What the writer said of how the layers were made.
    pub fn settings(&self) -> Option<&str> {
        self.settings.as_deref()
    }

    /// Every layer's name and header, by name.
    pub fn layers(&self) -> impl Iterator<Item = (&str, &LayerHeader)> {
        self.layers.iter().map(|(name, header)| (name.as_str(), header))
    }

    /// Unpacks one layer.
    ///
    /// # Errors
    /// [`Error::Layer`] around [`Error::Format`] or [`Error::Shape`] when tensors are missing or
    /// differ from the header, and around whatever [`BitplaneLayer::from_planes`] finds.
    pub fn layer(&self, name: &str) -> Result<BitplaneLayer> {
        self.unpack(name).map_err(|e| e.in_layer(name))
    }

    fn unpack(&self, name: &str) -> Result<BitplaneLayer> {
        let header = self
            .layers
            .get(name)
            .ok_or_else(|| Error::format("layer", "the file has no layer of this name"))?;
        let LayerHeader { rows, cols, seed_bits, parent_bits, table, .. } = *header;
        check_bits("parent bits", parent_bits, 2, 8)?;
        check_bits("seed bits", seed_bits, 2, parent_bits)?;
        if !header.widths.is_sorted_by(|a, b| a < b) {
            let found = list_widths(header.widths.iter().copied());
            return Err(Error::shape("widths", "ascending, each once", found));
        }
        let shape = [usize::from(parent_bits), rows, words_for(cols)];
        let planes = tensor(&self.tensors, &format!("{name}.planes"), Dtype::U32, &shape)?;
        let mut tables = Tables::new(table, rows);
        for &bits in &header.widths {
            check_bits("table width", bits, seed_bits, parent_bits)?;
            let shape = [rows, 1 << bits];
            let view = tensor(&self.tensors, &format!("{name}.table{bits}"), dtype(table), &shape)?;
            tables.insert_bytes(bits, view.data())?;
        }
        let bias = match header.bias {
            false => None,
            true => {
                let view = tensor(&self.tensors, &format!("{name}.bias"), Dtype::F32, &[rows])?;
                Some(bytemuck::pod_collect_to_vec(view.data()))
            }
        };
        let shape = BitplaneShape { rows, cols, seed_bits, parent_bits };
        let planes = bytemuck::pod_collect_to_vec(planes.data());
        BitplaneLayer::from_planes(shape, planes, tables, bias)
    }
}

/// The bytes of a packed file.
///
/// # Errors
/// [`Error::Format`] when two layers have one name.
pub fn write_packed(layers: &[(&str, &BitplaneLayer)]) -> Result<Vec<u8>> {
    write_packed_with(None, layers)
}

/// [`write_packed`] with words of the caller's that say how the layers were made:
/// [`PackedFile::settings`] gives them back.
///
/// # Errors
/// As [`write_packed`].
pub fn write_packed_with(
    settings: Option<&str>,
    layers: &[(&str, &BitplaneLayer)],
) -> Result<Vec<u8>> {
    let mut headers = BTreeMap::new();
    let mut tensors = Vec::new();
    for &(name, layer) in layers {
        let (rows, table) = (layer.rows(), layer.table_element());
        let widths: Vec<u8> = layer.tables().widths().collect();
        let shape = vec![layer.parent_bits().into(), rows, layer.words()];
        let planes = view(Dtype::U32, shape, bytemuck::cast_slice(layer.planes()))?;
        tensors.push((format!("{name}.planes"), planes));
        for &bits in &widths {
            let bytes = layer.tables().bytes(bits).unwrap_or_default();
            let table = view(dtype(table), vec![rows, 1 << bits], bytes)?;
            tensors.push((format!("{name}.table{bits}"), table));
        }
        if let Some(bias) = layer.bias() {
            let bias = view(Dtype::F32, vec![rows], bytemuck::cast_slice(bias))?;
            tensors.push((format!("{name}.bias"), bias));
        }
        let header = LayerHeader {
            rows,
            cols: layer.cols(),
            seed_bits: layer.seed_bits(),
            parent_bits: layer.parent_bits(),
            widths,
            table,
            bias: layer.bias().is_some(),
        };
        header::add(&mut headers, name, header)?;
    }
    header::write(KIND, settings, headers, tensors)
}

/// Writes a packed file; an existing one is replaced only once the new one is complete.
///
/// # Errors
/// As [`write_packed`], and [`Error::Io`].
pub fn save_packed(path: &Path, layers: &[(&str, &BitplaneLayer)]) -> Result<()> {
    replace(path, &write_packed(layers)?)
}

/// [`save_packed`] with words that say how the layers were made.
///
/// # Errors
/// As [`save_packed`].
pub fn save_packed_with(
    path: &Path,
    settings: Option<&str>,
    layers: &[(&str, &BitplaneLayer)],
) -> Result<()> {
    replace(path, &write_packed_with(settings, layers)?)
}
