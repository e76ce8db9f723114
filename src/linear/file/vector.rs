//! Weights in pairs.

use super::super::planes::words_for;
use super::super::tables::check_bits;
use super::super::{TableElement, VectorLayer, VectorShape};
use super::header::{Kind, PLANES};
use super::{dtype, header, replace, tensor, view};
use crate::{Error, Result};
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;
use std::path::Path;

const KIND: Kind = Kind { format: "vector-2d", layout: PLANES };

/// What a file says of one layer of weights in pairs.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VectorHeader {
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub cols: usize,
    /// Bits of a code, which stands for two weights.
    pub code_bits: u8,
    /// `"f16"` or `"f32"`.
    pub table: TableElement,
    /// Whether there is a bias.
    pub bias: bool,
}

/// A file of layers of weights in pairs in memory, or mapped into it. Layers are unpacked one by
/// one.
pub struct VectorFile<'a> {
    tensors: SafeTensors<'a>,
    layers: BTreeMap<String, VectorHeader>,
}

impl<'a> VectorFile<'a> {
    /// Reads the header; `name` stands for the file in errors.
    ///
    /// # Errors
    /// [`Error::Format`] when this is no such file or one of another format, version or layout.
    pub fn parse(name: &str, bytes: &'a [u8]) -> Result<Self> {
        let header::Contents { tensors, layers, .. } = header::read(KIND, name, bytes)?;
        Ok(Self { tensors, layers })
    }

    /// Every layer's name and header, by name.
    pub fn layers(&self) -> impl Iterator<Item = (&str, &VectorHeader)> {
        self.layers.iter().map(|(name, header)| (name.as_str(), header))
    }

    /// Unpacks one layer.
    ///
    /// # Errors
    /// [`Error::Layer`] around [`Error::Format`] or [`Error::Shape`] when tensors are missing or
    /// differ from the header, and around whatever [`VectorLayer::from_planes`] finds.
    pub fn layer(&self, name: &str) -> Result<VectorLayer> {
        self.unpack(name).map_err(|e| e.in_layer(name))
    }

    fn unpack(&self, name: &str) -> Result<VectorLayer> {
        let header = self
            .layers
            .get(name)
            .ok_or_else(|| Error::format("layer", "the file has no layer of this name"))?;
        let VectorHeader { rows, cols, code_bits, table, bias } = *header;
        check_bits("code bits", code_bits, 2, 6)?;
        let shape = [usize::from(code_bits), rows, words_for(cols.div_ceil(2))];
        let planes = tensor(&self.tensors, &format!("{name}.planes"), Dtype::U32, &shape)?;
        let shape = [rows, 1 << code_bits, 2];
        let vectors = tensor(&self.tensors, &format!("{name}.vectors"), dtype(table), &shape)?;
        let bias = match bias {
            false => None,
            true => {
                let view = tensor(&self.tensors, &format!("{name}.bias"), Dtype::F32, &[rows])?;
                Some(bytemuck::pod_collect_to_vec(view.data()))
            }
        };
        let shape = VectorShape { rows, cols, code_bits };
        let planes = bytemuck::pod_collect_to_vec(planes.data());
        VectorLayer::from_planes(shape, planes, table, vectors.data(), bias)
    }
}

/// The bytes of a file of layers of weights in pairs.
///
/// # Errors
/// [`Error::Format`] when two layers have one name.
pub fn write_vectors(layers: &[(&str, &VectorLayer)]) -> Result<Vec<u8>> {
    let mut headers = BTreeMap::new();
    let mut tensors = Vec::new();
    for &(name, layer) in layers {
        let VectorShape { rows, cols, code_bits } = layer.shape();
        let table = layer.table_element();
        let shape = vec![code_bits.into(), rows, layer.words()];
        let planes = view(Dtype::U32, shape, bytemuck::cast_slice(layer.planes()))?;
        tensors.push((format!("{name}.planes"), planes));
        let shape = vec![rows, 1 << code_bits, 2];
        tensors.push((format!("{name}.vectors"), view(dtype(table), shape, layer.table_bytes())?));
        if let Some(bias) = layer.bias() {
            let bias = view(Dtype::F32, vec![rows], bytemuck::cast_slice(bias))?;
            tensors.push((format!("{name}.bias"), bias));
        }
        let bias = layer.bias().is_some();
        let header = VectorHeader { rows, cols, code_bits, table, bias };
        header::add(&mut headers, name, header)?;
    }
    header::write(KIND, None, headers, tensors)
}

/// Writes a file of layers of weights in pairs; an existing one is replaced only once the new one
/// is complete.
///
/// # Errors
/// As [`write_vectors`], and [`Error::Io`].
pub fn save_vectors(path: &Path, layers: &[(&str, &VectorLayer)]) -> Result<()> {
    replace(path, &write_vectors(layers)?)
}
