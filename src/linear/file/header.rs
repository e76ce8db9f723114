//! The header of files of packed layers, residuals and caches: which format and bit order it is, and
//! its layers.

use super::metadata::{ENTRY, entry};
use super::open;
use crate::{Error, Result};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use std::collections::{BTreeMap, HashMap};

const VERSION: u32 = 1;

/// A format's name, and the name of how bits lie within its words.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) format: &'static str,
    pub(crate) layout: &'static str,
}

/// The layout of planes.
pub(super) const PLANES: &str = "skew-1";

#[derive(serde::Serialize, serde::Deserialize)]
struct FileHeader<L> {
    format: String,
    version: u32,
    layout: String,
    /// Words of the writer's on how the layers were made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    settings: Option<String>,
    layers: BTreeMap<String, L>,
}

/// What there is in a file.
pub(crate) struct Contents<'a, L> {
    pub(crate) tensors: SafeTensors<'a>,
    pub(crate) settings: Option<String>,
    pub(crate) layers: BTreeMap<String, L>,
}

/// Only what says whether the rest can be understood.
#[derive(serde::Deserialize)]
struct Identity {
    format: String,
    version: u32,
    layout: String,
}

/// The tensors of a file of this format, and what its header says of every layer.
pub(crate) fn read<'a, L: serde::de::DeserializeOwned>(
    kind: Kind,
    name: &str,
    bytes: &'a [u8],
) -> Result<Contents<'a, L>> {
    let tensors = open(name, bytes)?;
    let text = entry(name, bytes)?.ok_or_else(|| {
        Error::format(name, format!("metadata entry {ENTRY:?} expected, not found"))
    })?;
    let broken = |e: serde_json::Error| Error::format(name, format!("metadata {ENTRY:?}: {e}"));
    let identity: Identity = serde_json::from_str(&text).map_err(broken)?;
    let found = (identity.format.as_str(), identity.version, identity.layout.as_str());
    let expected = (kind.format, VERSION, kind.layout);
    if found != expected {
        let message = format!("expected {expected:?}, found {found:?}");
        return Err(Error::format(name, message));
    }
    let FileHeader { settings, layers, .. } = serde_json::from_str(&text).map_err(broken)?;
    Ok(Contents { tensors, settings, layers })
}

/// The bytes of a file of this format.
pub(super) fn write<L: serde::Serialize>(
    kind: Kind,
    settings: Option<&str>,
    layers: BTreeMap<String, L>,
    tensors: Vec<(String, TensorView<'_>)>,
) -> Result<Vec<u8>> {
    safetensors::serialize(tensors, Some(metadata(kind, settings, layers)?))
        .map_err(|e| Error::format(format!("{} file", kind.format), e.to_string()))
}

/// The metadata of a file of this format.
pub(crate) fn metadata<L: serde::Serialize>(
    kind: Kind,
    settings: Option<&str>,
    layers: BTreeMap<String, L>,
) -> Result<HashMap<String, String>> {
    let (format, layout) = (kind.format.to_owned(), kind.layout.to_owned());
    let settings = settings.map(str::to_owned);
    let header = FileHeader { format, version: VERSION, layout, settings, layers };
    let text = serde_json::to_string(&header).map_err(|e| Error::format(ENTRY, e.to_string()))?;
    Ok(HashMap::from([(ENTRY.to_owned(), text)]))
}

/// Adds what the header says of one layer.
pub(crate) fn add<L>(layers: &mut BTreeMap<String, L>, name: &str, layer: L) -> Result<()> {
    match layers.insert(name.to_owned(), layer) {
        None => Ok(()),
        Some(_) => Err(Error::format(format!("layer {name}"), "there are two of this name")),
    }
}
