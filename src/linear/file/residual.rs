//! Residuals in safetensors files.

use super::super::{ResidualElement, ResidualLayer, ResidualLayout};
use super::header::{self, Kind};
use super::{Contents, replace_contents, tensor, view};
use crate::{Error, Result};
use half::f16;
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;
use std::path::Path;

const KIND: Kind = Kind { format: "residual", layout: "channel-1" };

/// What a file says of one layer's residual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResidualHeader {
    /// Outputs of the layer.
    pub rows: usize,
    /// Input channels of the layer.
    pub cols: usize,
    /// `"int2"`, `"int4"`, `"int8"` or `"f16"`.
    pub element: ResidualElement,
    /// Whether there are thresholds.
    pub thresholds: bool,
    /// Whether there are norms of channels.
    pub norms: bool,
}

/// One layer as it is written.
#[derive(Debug, Clone, Copy)]
pub struct ResidualEntry<'a> {
    /// The layer's name.
    pub name: &'a str,
    /// Its residual.
    pub layer: &'a ResidualLayer,
    /// Of every rank the largest magnitude that calibration saw there, `[cols]`, descending, finite and
    /// not negative.
    pub thresholds: Option<&'a [f32]>,
    /// The norm of every channel, `[cols]`, finite and not negative:
    /// [`ResidualLayer::channel_norms`].
    pub norms: Option<&'a [f16]>,
}

impl<'a> ResidualEntry<'a> {
    /// A residual without thresholds and norms.
    pub fn new(name: &'a str, layer: &'a ResidualLayer) -> Self {
        Self { name, layer, thresholds: None, norms: None }
    }

    fn check(&self) -> Result<()> {
        let cols = self.layer.cols();
        let length = |what: &str, found: usize| {
            let error = || Error::shape(format!("length of the {what}"), cols, found);
            (found == cols).then_some(()).ok_or_else(error)
        };
        if let Some(thresholds) = self.thresholds {
            length("thresholds", thresholds.len())?;
            check_thresholds(thresholds)?;
        }
        if let Some(norms) = self.norms {
            length("norms", norms.len())?;
            check_norms(norms)?;
        }
        Ok(())
    }
}

/// A file of residuals in memory, or mapped into it. Layers are read one by one: those of a whole
/// model are some gigabytes.
pub struct ResidualFile<'a> {
    tensors: SafeTensors<'a>,
    settings: Option<String>,
    layers: BTreeMap<String, ResidualHeader>,
}

impl<'a> ResidualFile<'a> {
    /// Reads the header; `name` stands for the file in errors.
    ///
    /// # Errors
    /// [`Error::Format`] when this is no file of residuals or one of another version or layout.
    pub fn parse(name: &str, bytes: &'a [u8]) -> Result<Self> {
        let header::Contents { tensors, settings, layers } = header::read(KIND, name, bytes)?;
        Ok(Self { tensors, settings, layers })
    }

    /// What the writer said of how the residuals were made.
    pub fn settings(&self) -> Option<&str> {
        self.settings.as_deref()
    }

    /// Every layer's name and header, by name. Headers are checked against the tensors where a layer
    /// is read.
    pub fn layers(&self) -> impl Iterator<Item = (&str, &ResidualHeader)> {
        self.layers.iter().map(|(name, header)| (name.as_str(), header))
    }

    /// Reads one layer's residual.
    ///
    /// # Errors
    /// [`Error::Layer`] around [`Error::Format`] or [`Error::Shape`] when there is no such layer or its
    /// tensors are missing or differ from the header, around [`Error::Range`] for a size beyond the
    /// format's, and around whatever [`ResidualLayer::from_parts`] finds.
    pub fn layer(&self, name: &str) -> Result<ResidualLayer> {
        let read = |header: &ResidualHeader| {
            let layout = ResidualLayout::new(header.rows, header.cols, header.element)?;
            let shape = [layout.cols(), layout.stride()];
            let words = self.read(name, "residual", Dtype::U32, &shape)?;
            let scales = match layout.element().scaled() {
                false => Vec::new(),
                true => self.read(name, "scales", Dtype::F16, &[layout.padded_rows()])?,
            };
            ResidualLayer::from_parts(layout, words, scales)
        };
        self.header(name).and_then(read).map_err(|e| e.in_layer(name))
    }

    /// The thresholds of one layer, `[cols]`, where the file has them.
    ///
    /// # Errors
    /// [`Error::Layer`] around [`Error::Format`] or [`Error::Shape`] when there is no such layer or the
    /// tensor is missing or has another shape, and around [`Error::Value`] for a threshold that is
    /// negative, not finite, or above the one before it.
    pub fn thresholds(&self, name: &str) -> Result<Option<Vec<f32>>> {
        let read = |header: &ResidualHeader| {
            if !header.thresholds {
                return Ok(None);
            }
            let thresholds = self.read(name, "thresholds", Dtype::F32, &[header.cols])?;
            check_thresholds(&thresholds).map(|()| Some(thresholds))
        };
        self.header(name).and_then(read).map_err(|e| e.in_layer(name))
    }

    /// The norms of one layer's channels, `[cols]`, where the file has them.
    ///
    /// # Errors
    /// As [`ResidualFile::thresholds`], for a norm that is negative or not finite.
    pub fn norms(&self, name: &str) -> Result<Option<Vec<f16>>> {
        let read = |header: &ResidualHeader| {
            if !header.norms {
                return Ok(None);
            }
            let norms = self.read(name, "norms", Dtype::F16, &[header.cols])?;
            check_norms(&norms).map(|()| Some(norms))
        };
        self.header(name).and_then(read).map_err(|e| e.in_layer(name))
    }

    fn header(&self, name: &str) -> Result<&ResidualHeader> {
        let missing = || Error::format("layer", "the file has no layer of this name");
        self.layers.get(name).ok_or_else(missing)
    }

    fn read<T: bytemuck::Pod>(
        &self,
        name: &str,
        part: &str,
        dtype: Dtype,
        shape: &[usize],
    ) -> Result<Vec<T>> {
        let view = tensor(&self.tensors, &format!("{name}.{part}"), dtype, shape)?;
        Ok(bytemuck::pod_collect_to_vec(view.data()))
    }
}

fn check_thresholds(thresholds: &[f32]) -> Result<()> {
    let mut before = f32::MAX;
    for (col, &threshold) in thresholds.iter().enumerate() {
        // Not a number is not within.
        if !(0.0..=before).contains(&threshold) {
            let rule = "must be finite, not negative, and not above the one before";
            let (what, value) = ("threshold".to_owned(), threshold.into());
            return Err(Error::Value { what, row: 0, col, value, rule });
        }
        before = threshold;
    }
    Ok(())
}

fn check_norms(norms: &[f16]) -> Result<()> {
    match norms.iter().position(|norm| !norm.is_finite() || *norm < f16::ZERO) {
        None => Ok(()),
        Some(col) => {
            let rule = "must be finite and not negative";
            let (what, value) = ("norm of a channel".to_owned(), norms[col].to_f64());
            Err(Error::Value { what, row: 0, col, value, rule })
        }
    }
}

fn contents<'a>(settings: Option<&str>, entries: &[ResidualEntry<'a>]) -> Result<Contents<'a>> {
    let mut headers = BTreeMap::new();
    let mut tensors = Vec::new();
    for entry in entries {
        let ResidualEntry { name, layer, thresholds, norms } = *entry;
        entry.check().map_err(|e| e.in_layer(name))?;
        let (cols, element) = (layer.cols(), layer.element());
        let mut push = |part: &str, dtype, shape, bytes: &'a [u8]| {
            tensors.push((format!("{name}.{part}"), view(dtype, shape, bytes)?));
            Ok::<_, Error>(())
        };
        let shape = vec![cols, layer.layout().stride()];
        push("residual", Dtype::U32, shape, bytemuck::cast_slice(layer.words()))?;
        if element.scaled() {
            let scales = bytemuck::cast_slice(layer.scales());
            push("scales", Dtype::F16, vec![layer.scales().len()], scales)?;
        }
        if let Some(thresholds) = thresholds {
            push("thresholds", Dtype::F32, vec![cols], bytemuck::cast_slice(thresholds))?;
        }
        if let Some(norms) = norms {
            push("norms", Dtype::F16, vec![cols], bytemuck::cast_slice(norms))?;
        }
        let (thresholds, norms) = (thresholds.is_some(), norms.is_some());
        let header = ResidualHeader { rows: layer.rows(), cols, element, thresholds, norms };
        header::add(&mut headers, name, header)?;
    }
    Ok((tensors, header::metadata(KIND, settings, headers)?))
}

/// The bytes of a file of residuals. `settings` says how they were made, in words of the caller's:
/// which model, and which base weights they belong to.
///
/// # Errors
/// [`Error::Format`] when two layers have one name; [`Error::Layer`] around [`Error::Shape`] or
/// [`Error::Value`] for thresholds or norms that no reader would take.
pub fn write_residuals(settings: Option<&str>, entries: &[ResidualEntry<'_>]) -> Result<Vec<u8>> {
    let (tensors, metadata) = contents(settings, entries)?;
    safetensors::serialize(tensors, Some(metadata))
        .map_err(|e| Error::format("residual file", e.to_string()))
}

/// Writes a file of residuals, straight from their memory; an existing one is replaced only once the
/// new one is complete.
///
/// # Errors
/// As [`write_residuals`], and [`Error::Io`].
pub fn save_residuals(
    path: &Path,
    settings: Option<&str>,
    entries: &[ResidualEntry<'_>],
) -> Result<()> {
    replace_contents(path, contents(settings, entries)?)
}
