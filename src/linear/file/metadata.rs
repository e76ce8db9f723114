//! Our metadata entry: JSON that says what a file is.

use crate::{Error, Result};
use safetensors::SafeTensors;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Name of the metadata entry.
pub(super) const ENTRY: &str = "fewbytes";

/// Only what says whether the rest can be understood.
#[derive(Deserialize)]
struct Identity {
    format: String,
    version: u32,
}

/// The text of our entry, if the file has one.
pub(super) fn entry(name: &str, bytes: &[u8]) -> Result<Option<String>> {
    let (_, metadata) = SafeTensors::read_metadata(bytes)
        .map_err(|e| Error::format(name, format!("not a safetensors file: {e}")))?;
    Ok(metadata.metadata().as_ref().and_then(|entries| entries.get(ENTRY)).cloned())
}

/// The header in the text of an entry; `name` stands for the file in errors.
///
/// A file of another format or version is recognized as one, whatever else has changed there.
pub(super) fn header<T: DeserializeOwned>(
    name: &str,
    text: &str,
    format: &str,
    version: u32,
) -> Result<T> {
    let broken = |e: serde_json::Error| Error::format(name, format!("metadata {ENTRY:?}: {e}"));
    let identity: Identity = serde_json::from_str(text).map_err(broken)?;
    let found = (identity.format.as_str(), identity.version);
    if found != (format, version) {
        let message = format!("expected {:?}, found {found:?}", (format, version));
        return Err(Error::format(name, message));
    }
    serde_json::from_str(text).map_err(broken)
}

/// Whether files with these names and settings go together.
pub(super) fn same_settings(
    (first, ours): (&str, Option<&str>),
    (name, theirs): (&str, Option<&str>),
) -> Result<()> {
    if ours == theirs {
        return Ok(());
    }
    let [ours, theirs] = [ours, theirs].map(|settings| settings.unwrap_or("none"));
    let message = format!("settings {theirs:?} are not those of {first}, {ours:?}");
    Err(Error::format(name, message))
}

pub(super) fn twin(layer: &str) -> Error {
    Error::format(format!("layer {layer}"), "there are two of this name")
}
