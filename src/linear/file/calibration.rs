//! Calibration inputs in safetensors files: what went into each layer, and how much the end loss
//! minds an error of each token.

use super::super::hessian::divisors;
use super::super::{Hessian, HessianAccumulator};
use super::metadata::{entry, header, same_settings, twin};
use super::open;
use crate::{Error, Result};
use half::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;

const FORMAT: &str = "calibration";
const VERSION: u32 = 1;
/// Numbers of x that are widened at a time.
const PIECE: usize = 1 << 22;

/// What a file says of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationShape {
    /// Inputs of the layer.
    pub inputs: usize,
    /// Groups of outputs that there are sensitivities for; 0 where there are none.
    pub groups: usize,
    /// Vectors that went into the layer.
    pub tokens: usize,
}

#[derive(serde::Deserialize)]
struct FileHeader {
    settings: Option<String>,
    layers: BTreeMap<String, CalibrationShape>,
}

struct Stored<'a> {
    shape: CalibrationShape,
    x: TensorView<'a>,
    s: Option<TensorView<'a>>,
}

/// A file of calibration inputs, in memory or mapped into it. Layers are read piece by piece.
///
/// ```text
/// 8 bytes     N, the length of the header, u64
/// N bytes     the header: JSON, tensor names with element type, shape and place in the body, and
///             in `__metadata__` the entry `fewbytes`, which is JSON again, in a string:
///                 {"format": "calibration", "version": 1, "settings": "any text",
///                  "layers": {"NAME": {"inputs": 4096, "groups": 4, "tokens": 262144}}}
///             `settings` may be absent; groups are 0 where there are no sensitivities.
/// the rest    the body. Tensor `NAME.x`, F32, F16 or BF16 [tokens, inputs], and `NAME.s`, F32 or
///             BF16 [tokens, groups], where groups are above 0
/// ```
///
/// `s[t, k]` is the mean over the outputs of group `k` of the squared gradient of the loss with
/// respect to the layer's output at token `t`, times any constant.
///
/// A file without our metadata entry is read as well: each tensor `NAME.x` or `NAME` of F32, F16 or
/// BF16 and two dimensions or more is what went into layer `NAME`, the last dimension being the
/// inputs, and `NAME.s`, if there is one, its sensitivities. Other tensors are left out.
pub struct CalibrationFile<'a> {
    first: String,
    settings: Option<String>,
    layers: BTreeMap<String, Stored<'a>>,
}

impl<'a> CalibrationFile<'a> {
    /// Reads the header and checks every tensor's type and shape; `name` stands for the file in
    /// errors.
    ///
    /// # Errors
    /// [`Error::Format`] when this is no safetensors file, has our metadata entry of another format
    /// or version, or has nothing that could be a layer's inputs; [`Error::Layer`] around
    /// [`Error::Format`] or [`Error::Shape`] when a layer's tensor is missing or of another shape,
    /// and around [`Error::Unsupported`] for another element type. Sensitivities in F16 are such:
    /// squared gradients are often below 6e-8, where halves end.
    pub fn parse(name: &str, bytes: &'a [u8]) -> Result<Self> {
        let tensors = open(name, bytes)?;
        let mut layers = BTreeMap::new();
        let Some(text) = entry(name, bytes)? else {
            for (tensor, view) in tensors.iter() {
                let Some(layer) = plain_layer(&tensors, tensor, &view) else { continue };
                let stored = plain(&tensors, layer, view).map_err(|e| e.in_layer(layer))?;
                if layers.insert(layer.to_owned(), stored).is_some() {
                    return Err(twin(layer));
                }
            }
            if layers.is_empty() {
                let message = "tensors [tokens, inputs] of F32, F16 or BF16 expected, none found";
                return Err(Error::format(name, message));
            }
            return Ok(Self { first: name.to_owned(), settings: None, layers });
        };
        let header: FileHeader = header(name, &text, FORMAT, VERSION)?;
        for (layer, shape) in header.layers {
            let stored = listed(&tensors, &layer, shape).map_err(|e| e.in_layer(&layer))?;
            layers.insert(layer, stored);
        }
        Ok(Self { first: name.to_owned(), settings: header.settings, layers })
    }

    /// Takes in the layers of another file, so that a model may lie in a file a layer.
    ///
    /// # Errors
    /// As [`CalibrationFile::parse`], and [`Error::Format`] when the file was made with other
    /// settings or has a layer that is already there. Nothing is taken in then.
    pub fn add(&mut self, name: &str, bytes: &'a [u8]) -> Result<()> {
        let other = Self::parse(name, bytes)?;
        same_settings((&self.first, self.settings()), (name, other.settings()))?;
        if let Some(layer) = other.layers.keys().find(|layer| self.layers.contains_key(*layer)) {
            return Err(twin(layer));
        }
        self.layers.extend(other.layers);
        Ok(())
    }

    /// What the writer said of how the file was made.
    pub fn settings(&self) -> Option<&str> {
        self.settings.as_deref()
    }

    /// Every layer's name, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.layers.keys().map(String::as_str)
    }

    /// What there is of a layer, if there is such a layer.
    pub fn shape(&self, layer: &str) -> Option<CalibrationShape> {
        self.layers.get(layer).map(|stored| stored.shape)
    }

    /// The tokens of a layer in order, in pieces of some megabytes, for any accumulator. The
    /// sensitivities of `groups` groups are means of neighbours among those of the file; a file
    /// without sensitivities has one group, and no `s`.
    ///
    /// # Errors
    /// [`Error::Layer`] around [`Error::Format`] when there is no such layer, and around
    /// [`Error::Shape`] when `groups` does not divide those of the file. Each piece may be
    /// [`Error::Layer`] around [`Error::Value`] where an input is not finite or a sensitivity is
    /// negative or not finite, named by its token and column; and after the last one comes
    /// [`Error::Layer`] around [`Error::Format`] when every sensitivity is 0, which is what
    /// gradients come to that were rounded away. A group without any, beside others with some,
    /// gets Hessians of zeros.
    pub fn batches(&self, layer: &str, groups: usize) -> Result<Batches<'_>> {
        let Some(stored) = self.layers.get(layer) else {
            let error = Error::format("layer", "the file has no layer of this name");
            return Err(error.in_layer(layer));
        };
        let found = stored.shape.groups;
        if groups == 0 || !found.max(1).is_multiple_of(groups) {
            let expected = match found {
                0 => "1, there are no sensitivities".to_owned(),
                _ => format!("a divisor of {found}: {}", divisors(found)),
            };
            return Err(Error::shape("groups", expected, groups).in_layer(layer));
        }
        let any = stored.s.is_none();
        Ok(Batches { layer: layer.to_owned(), stored, groups, token: 0, any })
    }

    /// Adds up a layer's Hessians, of as many groups as asked for, on the CPU.
    ///
    /// # Errors
    /// As [`CalibrationFile::batches`] and its pieces, and [`HessianAccumulator::finish`].
    pub fn accumulate(&self, layer: &str, groups: usize) -> Result<Hessian> {
        let batches = self.batches(layer, groups)?;
        let inputs = batches.stored.shape.inputs;
        let mut sums = HessianAccumulator::new(layer, inputs, groups)?;
        for batch in batches {
            let Batch { x, s } = batch?;
            sums.add_batch(&x, s.as_deref())?;
        }
        sums.finish()
    }
}

/// All sensitivities of a layer are 0.
fn underflow() -> Error {
    let message = "every sensitivity is 0: the layer does not reach the loss, or its gradients were \
                   rounded away; scale the loss up and store squares as BF16 or F32";
    Error::format("s", message)
}

/// Some tokens of a layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// What went into the layer, `[tokens, inputs]`.
    pub x: Vec<f32>,
    /// Sensitivities `[tokens, groups]`, where the file has them.
    pub s: Option<Vec<f32>>,
}

/// The tokens of a layer, piece by piece.
pub struct Batches<'a> {
    layer: String,
    stored: &'a Stored<'a>,
    groups: usize,
    /// The first one that is still to come.
    token: usize,
    /// Whether there are no sensitivities, or one above 0 came by, or this was told.
    any: bool,
}

impl Batches<'_> {
    /// Tokens of the whole layer.
    pub fn tokens(&self) -> usize {
        self.stored.shape.tokens
    }

    fn piece(&self, tokens: usize) -> Result<Batch> {
        let CalibrationShape { inputs, groups: found, .. } = self.stored.shape;
        let x = numbers(&self.stored.x, self.token * inputs, tokens * inputs);
        let bad = |what: &str, values: &[f32], width, rule, valid: fn(&f32) -> bool| {
            let at = values.iter().position(|value| !valid(value));
            at.map_or(Ok(()), |at| {
                let (what, value, row) =
                    (what.to_owned(), values[at].into(), self.token + at / width);
                Err(Error::Value { what, row, col: at % width, value, rule })
            })
        };
        bad("x", &x, inputs, "must be finite", |v| v.is_finite())?;
        let Some(view) = &self.stored.s else { return Ok(Batch { x, s: None }) };
        let s = numbers(view, self.token * found, tokens * found);
        let rule = "must be finite and not negative";
        bad("s", &s, found, rule, |v| v.is_finite() && *v >= 0.0)?;
        let share = found / self.groups;
        let mean = |s: &[f32]| {
            let sum: f64 = s.iter().map(|&s| f64::from(s)).sum();
            (sum / share as f64) as f32
        };
        Ok(Batch { x, s: Some(s.chunks_exact(share).map(mean).collect()) })
    }
}

impl Iterator for Batches<'_> {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        let CalibrationShape { inputs, groups, tokens } = self.stored.shape;
        let most = (PIECE / inputs.max(groups)).max(1);
        let tokens = most.min(tokens - self.token);
        if tokens == 0 {
            let told = std::mem::replace(&mut self.any, true);
            return (!told).then(|| Err(underflow().in_layer(&self.layer)));
        }
        let piece = self.piece(tokens).map_err(|e| e.in_layer(&self.layer));
        match &piece {
            Ok(Batch { s, .. }) => {
                self.any |= s.iter().flatten().any(|&s| s > 0.0);
                self.token += tokens;
            }
            // There is nothing more to come.
            Err(_) => (self.any, self.token) = (true, self.tokens()),
        }
        Some(piece)
    }
}

/// Some numbers of a tensor, widened.
fn numbers(view: &TensorView<'_>, from: usize, count: usize) -> Vec<f32> {
    let each = if view.dtype() == Dtype::F32 { 4 } else { 2 };
    let bytes = &view.data()[from * each..(from + count) * each];
    let pairs = bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]));
    match view.dtype() {
        Dtype::F32 => bytemuck::pod_collect_to_vec(bytes),
        Dtype::F16 => pairs.map(|bits| f16::from_bits(bits).to_f32()).collect(),
        _ => pairs.map(|bits| bf16::from_bits(bits).to_f32()).collect(),
    }
}

/// The layer of which a tensor of a plain file is the inputs, if it is.
fn plain_layer<'n>(
    tensors: &SafeTensors<'_>,
    name: &'n str,
    view: &TensorView<'_>,
) -> Option<&'n str> {
    let floats = matches!(view.dtype(), Dtype::F32 | Dtype::F16 | Dtype::BF16);
    let belongs_to = |layer: &str| {
        tensors.tensor(layer).is_ok() || tensors.tensor(&format!("{layer}.x")).is_ok()
    };
    let sensitivities = name.strip_suffix(".s").is_some_and(belongs_to);
    let fits = floats && view.shape().len() >= 2 && !sensitivities;
    fits.then(|| name.strip_suffix(".x").unwrap_or(name))
}

/// A layer of a plain file.
fn plain<'a>(tensors: &SafeTensors<'a>, layer: &str, x: TensorView<'a>) -> Result<Stored<'a>> {
    let split = |view: &TensorView<'_>| match view.shape() {
        [before @ .., width] => (before.iter().product(), *width),
        [] => (0, 0),
    };
    let (tokens, inputs) = split(&x);
    let s = tensors.tensor(&format!("{layer}.s")).ok();
    if let Some(flat) = s.as_ref().filter(|s| s.shape().len() < 2) {
        let expected = format!("[tokens, groups], that is [{tokens}, 1] for one group");
        let found = format!("{:?}", flat.shape());
        return Err(Error::shape("shape of s", expected, found));
    }
    let groups = s.as_ref().map_or(0, |s| split(s).1);
    let shape = CalibrationShape { inputs, groups, tokens };
    stored(shape, x, s)
}

/// A layer that the header lists.
fn listed<'a>(
    tensors: &SafeTensors<'a>,
    layer: &str,
    shape: CalibrationShape,
) -> Result<Stored<'a>> {
    let find = |name: String| {
        let missing =
            |_| Error::format(format!("tensor {name}"), "expected in the file, not found");
        tensors.tensor(&name).map_err(missing)
    };
    let x = find(format!("{layer}.x"))?;
    let s = (shape.groups > 0).then(|| find(format!("{layer}.s"))).transpose()?;
    stored(shape, x, s)
}

fn stored<'a>(
    shape: CalibrationShape,
    x: TensorView<'a>,
    s: Option<TensorView<'a>>,
) -> Result<Stored<'a>> {
    let CalibrationShape { inputs, groups, tokens } = shape;
    check("x", "F32, F16 and BF16 are read", &x, tokens, inputs, |dtype| {
        matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16)
    })?;
    if let Some(s) = &s {
        let why = "F32 and BF16 are read; F16 would round small squares of gradients to 0";
        check("s", why, s, tokens, groups, |dtype| matches!(dtype, Dtype::F32 | Dtype::BF16))?;
    }
    Ok(Stored { shape, x, s })
}

/// Whether a tensor has a row for each token, and a type that can be read.
fn check(
    name: &str,
    why: &str,
    view: &TensorView<'_>,
    tokens: usize,
    width: usize,
    readable: fn(Dtype) -> bool,
) -> Result<()> {
    if !readable(view.dtype()) {
        return Err(Error::unsupported(format!("{name} of type {:?}", view.dtype()), why));
    }
    let fits = match view.shape() {
        [before @ .., last] => {
            !before.is_empty() && before.iter().product::<usize>() == tokens && *last == width
        }
        [] => false,
    };
    if tokens == 0 || width == 0 || !fits {
        let expected = format!("[{tokens}, {width}], none 0");
        return Err(Error::shape(
            format!("shape of {name}"),
            expected,
            format!("{:?}", view.shape()),
        ));
    }
    Ok(())
}
