//! Finished layers of a run that may be interrupted: a packed file a layer, in a folder beside the
//! output.

use crate::input;
use anyhow::{Context as _, Result, bail};
use fewbytes::launch::StableHash;
use fewbytes::linear::BitplaneLayer;
use fewbytes::linear::file::{PackedFile, save_packed_with};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

pub(crate) struct Parts {
    folder: PathBuf,
    /// What the run is made with.
    settings: String,
}

/// What a part's header says.
#[derive(Serialize, Deserialize)]
struct Entry<A> {
    run: String,
    /// What the layer is made from.
    made_of: String,
    account: A,
}

/// A finished layer and the account of how it came about.
pub(crate) type Part<A> = (BitplaneLayer, A);

impl Parts {
    pub(crate) fn new(output: &Path, settings: &str) -> Self {
        let mut folder = output.as_os_str().to_owned();
        folder.push(".parts");
        Self { folder: PathBuf::from(folder), settings: settings.to_owned() }
    }

    fn path(&self, layer: &str) -> PathBuf {
        // Names of layers need not be names of files.
        let mut hash = StableHash::default();
        hash.field(layer.as_bytes());
        self.folder.join(format!("{:016x}.safetensors", hash.finish()))
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes the folder, so that one that cannot be made is seen before the work, and removes what
    /// an interrupted write left.
    pub(crate) fn prepare(&self) -> Result<()> {
        let folder = &self.folder;
        let cannot = || format!("cannot make {}", folder.display());
        std::fs::create_dir_all(folder).with_context(cannot)?;
        for entry in std::fs::read_dir(folder).with_context(cannot)? {
            let path = entry.with_context(cannot)?.path();
            if path.extension().is_some_and(|end| end == "partial") {
                let named = || format!("cannot remove {}", path.display());
                std::fs::remove_file(&path).with_context(named)?;
            }
        }
        Ok(())
    }

    /// A layer that an earlier run finished, from what `made_of` says: asked only where there is one.
    pub(crate) fn load<A: DeserializeOwned>(
        &self,
        layer: &str,
        made_of: impl FnOnce() -> Result<String>,
    ) -> Result<Option<Part<A>>> {
        let path = self.path(layer);
        if !path.exists() {
            return Ok(None);
        }
        let name = path.display().to_string();
        let bytes = input::map(&path)?;
        let file = PackedFile::parse(&name, &bytes)?;
        let entry: Option<Entry<A>> =
            file.settings().and_then(|settings| serde_json::from_str(settings).ok());
        let Some(entry) = entry else {
            bail!("{name} is no part of a run; remove {}", self.folder.display());
        };
        if entry.run != self.settings {
            bail!(
                "{} holds layers of a run with other settings: remove it, finish that run, or \
                 choose another output\n  there: {}\n  here:  {}",
                self.folder.display(),
                entry.run,
                self.settings
            );
        }
        let made_of = made_of()?;
        if entry.made_of != made_of {
            bail!(
                "{} holds layer {layer} made from other weights, calibration data or tables: \
                 remove {name}, or choose another output\n  there: {}\n  here:  {made_of}",
                self.folder.display(),
                entry.made_of,
            );
        }
        Ok(Some((file.layer(layer)?, entry.account)))
    }

    /// Keeps a finished layer.
    pub(crate) fn save<A: Serialize>(
        &self,
        name: &str,
        layer: &BitplaneLayer,
        made_of: String,
        account: A,
    ) -> Result<()> {
        let entry = serde_json::to_string(&Entry { run: self.settings.clone(), made_of, account })?;
        Ok(save_packed_with(&self.path(name), Some(&entry), &[(name, layer)])?)
    }

    /// Removes the parts of these layers, and the folder once nothing is in it.
    pub(crate) fn remove<'a>(&self, layers: impl Iterator<Item = &'a str>) {
        // The output is there; what cannot be removed is only in the way.
        for layer in layers {
            let _ = std::fs::remove_file(self.path(layer));
        }
        self.remove_empty();
    }

    /// Removes the folder if nothing is in it.
    pub(crate) fn remove_empty(&self) {
        let _ = std::fs::remove_dir(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fewbytes::linear::{TableElement, TableLayer, Tables};

    fn layer() -> TableLayer {
        let mut tables = Tables::new(TableElement::F16, 1);
        tables.insert(2, &[0.0, 1.0, 2.0, 3.0]).unwrap();
        TableLayer::from_codes(1, 4, 2, &[0, 1, 2, 3], tables, None).unwrap()
    }

    #[test]
    fn finished_layers_come_back_and_those_of_other_settings_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("out.safetensors");
        let parts = Parts::new(&output, "a");
        let load = |parts: &Parts, layer: &str, made_of: &str| {
            parts.load::<u32>(layer, || Ok(made_of.to_owned()))
        };
        assert!(load(&parts, "x/y", "1").unwrap().is_none());
        parts.prepare().unwrap();
        let left = parts.folder.join("one.safetensors.17.partial");
        std::fs::write(&left, [1, 2, 3]).unwrap();
        parts.save("x/y", &layer(), "1".to_owned(), 7u32).unwrap();
        parts.prepare().unwrap();
        assert!(!left.exists());
        assert_eq!(load(&parts, "x/y", "1").unwrap(), Some((layer().into_inner(), 7)));
        assert!(load(&parts, "z", "1").unwrap().is_none());
        let error = load(&parts, "x/y", "2").unwrap_err().to_string();
        assert!(error.contains("holds layer x/y made from other weights"), "{error}");

        let other = Parts::new(&output, "b");
        let error = load(&other, "x/y", "1").unwrap_err().to_string();
        assert!(error.contains("out.safetensors.parts holds layers of a run with"), "{error}");
        assert!(error.contains("there: a") && error.contains("here:  b"), "{error}");

        parts.remove(["x/y", "z"].into_iter());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_part_that_is_none_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let parts = Parts::new(&folder.path().join("out"), "a");
        std::fs::create_dir(&parts.folder).unwrap();
        fewbytes::linear::file::save_packed(&parts.path("l"), &[("l", &layer())]).unwrap();
        let error = parts.load::<u32>("l", || Ok(String::new())).unwrap_err().to_string();
        assert!(error.contains("is no part of a run"), "{error}");
        std::fs::write(parts.path("l"), [1, 2, 3]).unwrap();
        let error = parts.load::<u32>("l", || Ok(String::new())).unwrap_err().to_string();
        assert!(error.contains("not a safetensors file"), "{error}");
    }
}
