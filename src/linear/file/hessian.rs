//! Hessians in safetensors files.

use super::super::Hessian;
use super::super::hessian::triangle;
use super::metadata::{ENTRY, entry, header, same_settings, twin};
use super::{Contents, open, replace_contents, view};
use crate::{Error, Result};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

const FORMAT: &str = "hessian";
const VERSION: u32 = 1;
const SUFFIX: &str = ".hessian";

/// What a file says of one layer's Hessians.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HessianShape {
    /// Inputs of the layer.
    pub inputs: usize,
    /// Groups of outputs.
    pub groups: usize,
    /// Calibration inputs that were added up; 0 where that is not known.
    pub tokens: u64,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct FileHeader {
    format: String,
    version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    settings: Option<String>,
    layers: BTreeMap<String, HessianShape>,
}

struct Stored<'a> {
    shape: HessianShape,
    view: TensorView<'a>,
}

/// Hessians in a file in memory, or mapped into it, or in several such files that go together.
///
/// Layers are read one by one: those of a whole model are larger than the memory of many machines.
///
/// ```text
/// 8 bytes     N, the length of the header, u64
/// N bytes     the header: JSON, tensor names with element type, shape and place in the body, and
///             in `__metadata__` the entry `fewbytes`, which is JSON again, in a string:
///                 {"format": "hessian", "version": 1, "settings": "any text",
///                  "layers": {"NAME": {"inputs": 4096, "groups": 1, "tokens": 262144}}}
///             `settings` may be absent.
/// the rest    the body. Tensor `NAME.hessian`, F32 [groups, inputs * (inputs + 1) / 2]: of each
///             group the upper triangle, row after row, of row i the columns i .. inputs
/// ```
///
/// All numbers are little-endian. In the place of triangles a file may have whole matrices, F32
/// `[groups, inputs, inputs]` or, for one group, `[inputs, inputs]`. A file without our metadata
/// entry is read as well: each of its tensors has to be such whole matrices, and is the layer of
/// its name without `.hessian`.
pub struct HessianFile<'a> {
    first: String,
    settings: Option<String>,
    layers: BTreeMap<String, Stored<'a>>,
}

impl<'a> HessianFile<'a> {
    /// Reads the header and checks every tensor's type and shape; `name` stands for the file in
    /// errors.
    ///
    /// # Errors
    /// [`Error::Format`] when this is no safetensors file, or one with our metadata entry of
    /// another format or version; [`Error::Layer`] around [`Error::Format`] or [`Error::Shape`]
    /// when a layer's tensor is missing or is no Hessian of the shape that the header gives.
    pub fn parse(name: &str, bytes: &'a [u8]) -> Result<Self> {
        let tensors = open(name, bytes)?;
        let mut layers = BTreeMap::new();
        let Some(text) = entry(name, bytes)? else {
            for (tensor, view) in tensors.iter() {
                let layer = tensor.strip_suffix(SUFFIX).unwrap_or(tensor);
                let shape = whole_shape(tensor, &view).map_err(|e| e.in_layer(layer))?;
                if layers.insert(layer.to_owned(), Stored { shape, view }).is_some() {
                    return Err(twin(layer));
                }
            }
            return Ok(Self { first: name.to_owned(), settings: None, layers });
        };
        let header: FileHeader = header(name, &text, FORMAT, VERSION)?;
        for (layer, shape) in header.layers {
            let tensor = format!("{layer}{SUFFIX}");
            let found = tensors.tensor(&tensor).map_err(|_| missing(&tensor));
            let view = found.and_then(|view| check(&tensor, shape, &view).map(|()| view));
            let view = view.map_err(|e| e.in_layer(&layer))?;
            layers.insert(layer, Stored { shape, view });
        }
        Ok(Self { first: name.to_owned(), settings: header.settings, layers })
    }

    /// Takes in the layers of another file, so that a model may lie in a file a layer.
    ///
    /// # Errors
    /// As [`HessianFile::parse`], and [`Error::Format`] when the file was made with other settings
    /// or has a layer that is already there. Nothing is taken in then.
    pub fn add(&mut self, name: &str, bytes: &'a [u8]) -> Result<()> {
        let other = Self::parse(name, bytes)?;
        same_settings((&self.first, self.settings()), (name, other.settings()))?;
        if let Some(layer) = other.layers.keys().find(|layer| self.layers.contains_key(*layer)) {
            return Err(twin(layer));
        }
        self.layers.extend(other.layers);
        Ok(())
    }

    /// What the writer said of how the Hessians were made.
    pub fn settings(&self) -> Option<&str> {
        self.settings.as_deref()
    }

    /// Every layer's name, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.layers.keys().map(String::as_str)
    }

    /// The shape of a layer's Hessians, if there is such a layer.
    pub fn shape(&self, layer: &str) -> Option<HessianShape> {
        self.layers.get(layer).map(|stored| stored.shape)
    }

    /// Reads one layer's Hessians.
    ///
    /// # Errors
    /// [`Error::Layer`] around [`Error::Format`] when there is no such layer, and around
    /// [`Error::Value`] for numbers that are no Hessian, as [`Hessian::from_full`] says.
    pub fn hessian(&self, layer: &str) -> Result<Hessian> {
        let Stored { shape, view } = self.layers.get(layer).ok_or_else(|| {
            Error::format("layer", "the file has no layer of this name").in_layer(layer)
        })?;
        let HessianShape { inputs, groups, tokens } = *shape;
        let numbers: Vec<f32> = bytemuck::pod_collect_to_vec(view.data());
        if is_packed(*shape, view) {
            return Hessian::from_packed(layer, inputs, groups, tokens, numbers);
        }
        Ok(Hessian::from_full(layer, inputs, groups, &numbers)?.with_tokens(tokens))
    }
}

fn missing(tensor: &str) -> Error {
    Error::format(format!("tensor {tensor}"), "expected in the file, not found")
}

/// Whether a tensor has triangles. One matrix of one input is both, and reads the same.
fn is_packed(shape: HessianShape, view: &TensorView<'_>) -> bool {
    triangle(shape.inputs).is_some_and(|each| view.shape() == [shape.groups, each])
}

/// Whether a tensor is what the header says, as triangles or as whole matrices.
fn check(name: &str, shape: HessianShape, view: &TensorView<'_>) -> Result<()> {
    let HessianShape { inputs, groups, .. } = shape;
    let whole = view.shape() == [groups, inputs, inputs]
        || (groups == 1 && view.shape() == [inputs, inputs]);
    if inputs > 0 && groups > 0 && view.dtype() == Dtype::F32 && (is_packed(shape, view) || whole) {
        return Ok(());
    }
    let each = triangle(inputs).map_or("inputs * (inputs + 1) / 2".to_owned(), |n| n.to_string());
    let expected = format!("F32 [{groups}, {each}] or [{groups}, {inputs}, {inputs}], none 0");
    let found = format!("{:?} {:?}", view.dtype(), view.shape());
    Err(Error::shape(format!("tensor {name}"), expected, found))
}

/// The shape of whole matrices.
fn whole_shape(name: &str, view: &TensorView<'_>) -> Result<HessianShape> {
    let (groups, inputs) = match *view.shape() {
        [rows, inputs] if rows == inputs => (1, inputs),
        [groups, rows, inputs] if rows == inputs => (groups, inputs),
        _ => (0, 0),
    };
    if inputs == 0 || groups == 0 || view.dtype() != Dtype::F32 {
        let expected = "F32 [inputs, inputs] or [groups, inputs, inputs], none 0";
        let found = format!("{:?} {:?}", view.dtype(), view.shape());
        return Err(Error::shape(format!("tensor {name}"), expected, found));
    }
    Ok(HessianShape { inputs, groups, tokens: 0 })
}

fn contents<'a>(settings: Option<&str>, hessians: &[&'a Hessian]) -> Result<Contents<'a>> {
    let mut layers = BTreeMap::new();
    let mut tensors = Vec::new();
    for hessian in hessians {
        let (inputs, groups, tokens) = (hessian.inputs(), hessian.groups(), hessian.tokens());
        let numbers = bytemuck::cast_slice(hessian.packed());
        let shape = vec![groups, hessian.packed().len() / groups];
        tensors.push((format!("{}{SUFFIX}", hessian.name()), view(Dtype::F32, shape, numbers)?));
        let shape = HessianShape { inputs, groups, tokens };
        if layers.insert(hessian.name().to_owned(), shape).is_some() {
            return Err(twin(hessian.name()));
        }
    }
    let header = FileHeader {
        format: FORMAT.to_owned(),
        version: VERSION,
        settings: settings.map(str::to_owned),
        layers,
    };
    let text = serde_json::to_string(&header).map_err(|e| Error::format(ENTRY, e.to_string()))?;
    Ok((tensors, HashMap::from([(ENTRY.to_owned(), text)])))
}

/// The bytes of a file of Hessians, each under its own name. `settings` says how they were made, in
/// words of the caller's: files whose settings differ are not read together.
///
/// # Errors
/// [`Error::Format`] when two layers have one name.
pub fn write_hessians(settings: Option<&str>, hessians: &[&Hessian]) -> Result<Vec<u8>> {
    let (tensors, metadata) = contents(settings, hessians)?;
    safetensors::serialize(tensors, Some(metadata))
        .map_err(|e| Error::format("Hessian file", e.to_string()))
}

/// Writes a file of Hessians, straight from their memory; an existing one is replaced only once
/// the new one is complete.
///
/// # Errors
/// As [`write_hessians`], and [`Error::Io`].
pub fn save_hessians(path: &Path, settings: Option<&str>, hessians: &[&Hessian]) -> Result<()> {
    replace_contents(path, contents(settings, hessians)?)
}
