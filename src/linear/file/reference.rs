//! The published layout of Any-Precision LLM, as safetensors.
//!
//! A layer `NAME` is `NAME.qweight` (I32 `[parent_bits, rows, cols / 32]`), `NAME.lut{b}` (F16,
//! BF16 or F32 `[rows, 2^b]`) for some widths, and `NAME.bias` (one of these, `[rows]`) where there
//! is one: the tensors of the published state dictionaries under their own names. The narrowest
//! table gives the seed width, as in those files. GuidedQuant's models are of one width; the
//! inference code published with them calls its only table `NAME.lut`, which is read as well.
//!
//! Tables become f16 where that changes no entry, as with all that are published as F16, and f32
//! otherwise.

use super::super::{BitplaneLayer, BitplaneShape, TableElement, Tables};
use super::{open, replace, tensor, view};
use crate::{Error, Result};
use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeSet;
use std::path::Path;

/// Every layer of a file in the published layout, by name.
///
/// # Errors
/// [`Error::Format`] when the file is not safetensors or has no such layer, [`Error::Layer`]
/// around what is wrong with one.
pub fn read_reference(name: &str, bytes: &[u8]) -> Result<Vec<(String, BitplaneLayer)>> {
    let file = open(name, bytes)?;
    let mut layers: Vec<&str> =
        file.names().into_iter().filter_map(|tensor| tensor.strip_suffix(".qweight")).collect();
    layers.sort_unstable();
    if layers.is_empty() {
        return Err(Error::format(name, "tensors named *.qweight expected, none found"));
    }
    let import = |layer: &str| Ok((layer.to_owned(), import(&file, layer)?));
    layers.into_iter().map(|layer| import(layer).map_err(|e: Error| e.in_layer(layer))).collect()
}

fn import(file: &SafeTensors<'_>, layer: &str) -> Result<BitplaneLayer> {
    let name = format!("{layer}.qweight");
    let shape = file.tensor(&name).map(|view| view.shape().to_vec());
    let shape = shape.map_err(|e| Error::format(&name, e.to_string()))?;
    let &[planes, rows, words] = shape.as_slice() else {
        return Err(Error::shape(name, "[parent_bits, rows, cols / 32]", format!("{shape:?}")));
    };
    let parent_bits = u8::try_from(planes).ok().filter(|bits| (2..=8).contains(bits));
    let parent_bits =
        parent_bits.ok_or_else(|| Error::range("planes of qweight", "2..=8", planes))?;
    let cols = words.saturating_mul(32);
    let qweight = tensor(file, &name, Dtype::I32, &shape)?;
    let mut widths = Vec::new();
    for bits in 2..=parent_bits {
        let own = format!("{layer}.lut{bits}");
        let only = format!("{layer}.lut");
        let name = [own, only].into_iter().find(|name| file.tensor(name).is_ok());
        // The name without a width is that of the widest.
        let name = name.filter(|name| bits == parent_bits || !name.ends_with(".lut"));
        if let Some(name) = name {
            widths.push((bits, numbers(file, &name, &[rows, 1 << bits])?));
        }
    }
    let halves = |(_, values): &(u8, Vec<f32>)| values.iter().all(|&v| is_half(v));
    let single = !widths.iter().all(halves);
    let element = if single { TableElement::F32 } else { TableElement::F16 };
    let mut tables = Tables::new(element, rows);
    for (bits, values) in &widths {
        tables.insert(*bits, values)?;
    }
    let seed_bits = tables.widths().next().unwrap_or(parent_bits);
    let bias = format!("{layer}.bias");
    let bias = file.tensor(&bias).is_ok().then(|| numbers(file, &bias, &[rows])).transpose()?;
    let shape = BitplaneShape { rows, cols, seed_bits, parent_bits };
    let words: Vec<u32> = bytemuck::pod_collect_to_vec(qweight.data());
    BitplaneLayer::from_reference(shape, &words, tables, bias)
}

/// A tensor that must be there and of this shape, widened to f32.
fn numbers(file: &SafeTensors<'_>, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
    let dtype = match file.tensor(name).map(|view| view.dtype()) {
        Ok(dtype @ (Dtype::F32 | Dtype::BF16)) => dtype,
        _ => Dtype::F16,
    };
    let bytes = tensor(file, name, dtype, shape)?.data();
    Ok(match dtype {
        Dtype::F32 => bytemuck::pod_collect_to_vec(bytes),
        Dtype::BF16 => {
            let values: Vec<bf16> = bytemuck::pod_collect_to_vec(bytes);
            values.into_iter().map(bf16::to_f32).collect()
        }
        _ => {
            let values: Vec<f16> = bytemuck::pod_collect_to_vec(bytes);
            values.into_iter().map(f16::to_f32).collect()
        }
    })
}

/// Whether a number is the same as f16. What is not finite is, so that it is told of as such.
fn is_half(value: f32) -> bool {
    !value.is_finite() || f16::from_f32(value).to_f32() == value
}

/// The bytes of a file in the published layout.
///
/// # Errors
/// [`Error::Layer`] around [`Error::Alignment`] when `cols` is not a multiple of 32, and around
/// [`Error::Unsupported`] for f32 tables: that layout knows neither. [`Error::Format`] when two
/// layers have one name.
pub fn write_reference(layers: &[(&str, &BitplaneLayer)]) -> Result<Vec<u8>> {
    // The writer of safetensors files relies on distinct names.
    let mut names = BTreeSet::new();
    if let Some((twin, _)) = layers.iter().find(|(name, _)| !names.insert(name)) {
        return Err(Error::format(format!("layer {twin}"), "there are two of this name"));
    }
    let words: Result<Vec<_>> = layers
        .iter()
        .map(|(name, layer)| {
            if layer.table_element() != TableElement::F16 {
                let error = Error::unsupported("a table of f32", "the published layout has f16");
                return Err(error.in_layer(name));
            }
            layer.to_reference().map_err(|e| e.in_layer(name))
        })
        .collect();
    let words = words?;
    let mut tensors = Vec::new();
    for ((name, layer), words) in layers.iter().zip(&words) {
        let rows = layer.rows();
        let shape = vec![layer.parent_bits().into(), rows, layer.words()];
        let qweight = view(Dtype::I32, shape, bytemuck::cast_slice(words))?;
        tensors.push((format!("{name}.qweight"), qweight));
        for bits in layer.tables().widths() {
            let bytes = layer.tables().bytes(bits).unwrap_or_default();
            tensors.push((
                format!("{name}.lut{bits}"),
                view(Dtype::F16, vec![rows, 1 << bits], bytes)?,
            ));
        }
        if let Some(bias) = layer.bias() {
            let bias = view(Dtype::F32, vec![rows], bytemuck::cast_slice(bias))?;
            tensors.push((format!("{name}.bias"), bias));
        }
    }
    safetensors::serialize(tensors, None).map_err(|e| Error::format("file", e.to_string()))
}

/// Writes a file in the published layout; an existing one is replaced only once the new one is
/// complete.
///
/// # Errors
/// As [`write_reference`], and [`Error::Io`].
pub fn save_reference(path: &Path, layers: &[(&str, &BitplaneLayer)]) -> Result<()> {
    replace(path, &write_reference(layers)?)
}
