//! Measured curves in a file.

use super::{CompensatedLayer, CompensationOptions, Measured};
use crate::tune::file::{read, read_json, write};
use crate::tune::{TunedAdapter, TunedChecks, TunedDriver};
use crate::{Context, Error, Memory, Result};
use fewbytes::linear::compensate::LayerTimes;
use serde::{Deserialize, Serialize};
use std::path::Path;

const FORMAT: &str = "fewbytes-compensation";
const VERSION: u64 = 1;

/// What was measured of one layer on one device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompensationEntry {
    /// The device.
    pub adapter: TunedAdapter,
    /// Its driver.
    pub driver: TunedDriver,
    /// The checks in its shaders.
    pub checks: TunedChecks,
    /// [`fewbytes::Spec::tuning_key`] of the product.
    pub product: String,
    /// The product's knobs; rows, columns and element of the residual, activations, memory; structures,
    /// channels and workgroups that were asked for.
    pub residual: String,
    /// The curves; the name is that of the layer that was measured first.
    pub times: LayerTimes,
}

/// Measured curves of any number of layers and devices: layers of one shape share theirs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CompensationCache {
    entries: Vec<CompensationEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    version: u64,
    entries: Vec<CompensationEntry>,
}

impl CompensationEntry {
    fn new(
        ctx: &Context,
        layer: &CompensatedLayer<'_>,
        options: &CompensationOptions,
        times: LayerTimes,
    ) -> Result<Self> {
        let CompensatedLayer { residual, activation, knobs, .. } = layer;
        let memory: Memory = ctx.placed(options.placement)?;
        let CompensationOptions { structures, k_chunks, most_groups, .. } = options;
        Ok(Self {
            adapter: TunedAdapter::of(ctx.info()),
            driver: TunedDriver::of(ctx.info()),
            checks: TunedChecks::of(ctx.checks()),
            product: layer.product.tuning_key(ctx.caps())?,
            residual: format!(
                "{}x{} {} {} {} {structures:?} {k_chunks:?} {most_groups} {knobs:?}",
                residual.rows(),
                residual.cols(),
                residual.element().name(),
                activation.name(),
                memory.name()
            ),
            times,
        })
    }

    /// Whether another is for the same layer on the same device.
    fn is_for(&self, other: &Self) -> bool {
        (&self.adapter, &self.driver, self.checks, &self.product, &self.residual)
            == (&other.adapter, &other.driver, other.checks, &other.product, &other.residual)
    }
}

impl CompensationCache {
    /// A cache that knows nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a file; where there is none, a cache that knows nothing.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Range`] for a file of more than 16 MiB, [`Error::Format`] naming the field
    /// for a file that is none.
    pub fn load_or_new(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = match read(path) {
            Err(Error::Io { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::new());
            }
            text => text?,
        };
        Self::parse(&path.display().to_string(), &text)
    }

    /// Reads a file's text; `name` stands for it in errors.
    ///
    /// # Errors
    /// [`Error::Format`].
    pub fn parse(name: &str, text: &[u8]) -> Result<Self> {
        let file: File = read_json(name, text)?;
        if (file.format.as_str(), file.version) != (FORMAT, VERSION) {
            let message = format!("this build reads {FORMAT:?}, version {VERSION}");
            return Err(Error::format(format!("{name}: format, version"), message));
        }
        for (at, entry) in file.entries.iter().enumerate() {
            // Searching checks times before anything is done with them.
            fewbytes::linear::compensate::search(std::slice::from_ref(&entry.times), 0.0)
                .map_err(|e| Error::format(format!("{name}: entries[{at}]"), e.to_string()))?;
        }
        Ok(Self { entries: file.entries })
    }

    /// Writes a file, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let (format, entries) = (FORMAT.to_owned(), self.entries.clone());
        // Plain data whose times are numbers: writing it cannot fail.
        let file = File { format, version: VERSION, entries };
        let text = serde_json::to_string_pretty(&file).unwrap_or_default() + "\n";
        write(path.as_ref(), &text)
    }

    /// What is known.
    pub fn entries(&self) -> &[CompensationEntry] {
        &self.entries
    }

    /// Remembers what was measured, in place of an earlier measurement.
    ///
    /// # Errors
    /// As [`Context::placed`] and [`fewbytes::Spec::tuning_key`].
    pub fn remember(
        &mut self,
        ctx: &Context,
        layer: &CompensatedLayer<'_>,
        options: &CompensationOptions,
        measured: &Measured,
    ) -> Result<()> {
        let entry = CompensationEntry::new(ctx, layer, options, measured.times.clone())?;
        self.entries.retain(|old| !old.is_for(&entry));
        self.entries.push(entry);
        Ok(())
    }

    /// The times of a layer with this product and residual on this device, under the layer's name.
    ///
    /// # Errors
    /// As [`CompensationCache::remember`].
    pub fn times(
        &self,
        ctx: &Context,
        layer: &CompensatedLayer<'_>,
        options: &CompensationOptions,
    ) -> Result<Option<LayerTimes>> {
        let nothing = LayerTimes {
            name: layer.name.to_owned(),
            base_ns: 0.0,
            k_chunks: Vec::new(),
            curves: Vec::new(),
        };
        let like = CompensationEntry::new(ctx, layer, options, nothing)?;
        let found = self.entries.iter().find(|entry| entry.is_for(&like));
        Ok(found.map(|entry| LayerTimes { name: layer.name.to_owned(), ..entry.times.clone() }))
    }
}
