//! What was learnt about the speed of kernels, looked up without timing anything.

use super::entry::{Choices, TuneEntry, TunedAdapter, TunedChecks, TunedDriver};
use super::file;
use crate::{Context, Error, Result};
use fewbytes::{Knobs, Spec};

/// The fastest knobs found so far, for any number of devices, drivers and specs.
///
/// An entry counts only for the device, driver, shader checks and spec that it was measured for, and
/// only as long as the knobs to choose from and the shaders' text are what they were: anything else
/// means the defaults. Seeds, which come with the crate, count for their device with any driver, after the
/// entries of one's own.
///
/// ```no_run
/// # use fewbytes::{Knobs, Spec};
/// # use fewbytes_wgpu::{Context, Result, tune::TuneCache};
/// # fn f(ctx: &Context, spec: &dyn Spec) -> Result<()> {
/// let cache = TuneCache::load_or_new("tuned.json")?.with_shipped_seeds();
/// let plan = ctx.plan_with(spec, &cache.knobs(ctx, spec))?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TuneCache {
    entries: Vec<TuneEntry>,
    seeds: Vec<TuneEntry>,
}

/// Where an entry stands with a spec on a device.
enum Standing {
    /// For something else.
    Foreign,
    /// For this, but no longer true, and why.
    Stale(&'static str),
    Good(Knobs),
}

impl TuneCache {
    /// A cache that knows nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// A cache of what comes with the crate: nothing yet.
    pub fn seeded() -> Self {
        Self::new().with_shipped_seeds()
    }

    /// Adds what comes with the crate, as seeds: products of `gemv_bitplane` on an H100, checked.
    #[must_use]
    pub fn with_shipped_seeds(mut self) -> Self {
        for (name, text) in file::SHIPPED {
            match file::parse(name, text.as_bytes()) {
                Ok(entries) => self.seeds.extend(entries),
                Err(error) => log::warn!("a seed that came with the crate is not used: {error}"),
            }
        }
        self
    }

    /// Adds the entries of another cache as seeds: they count for their device with any driver.
    #[must_use]
    pub fn with_seeds(mut self, seeds: &Self) -> Self {
        self.seeds.extend(seeds.entries.iter().cloned());
        self
    }

    /// The entries, without the seeds.
    pub fn entries(&self) -> &[TuneEntry] {
        &self.entries
    }

    /// The seeds.
    pub fn seeds(&self) -> &[TuneEntry] {
        &self.seeds
    }

    /// The fastest knobs known for a spec on this device, or the defaults.
    ///
    /// Never fails and never times anything; `log::debug!` says what was found. Where there is an
    /// entry every candidate's shader text is composed to see whether it still holds, about 0.1 ms
    /// each: ask once for each spec, not once for each launch.
    pub fn knobs(&self, ctx: &Context, spec: &(impl Spec + ?Sized)) -> Knobs {
        let kernel = spec.kernel();
        let key = match spec.tuning_key(ctx.caps()) {
            Ok(key) => key,
            Err(error) => {
                log::debug!("{kernel}: default knobs, the spec is refused: {error}");
                return Knobs::default();
            }
        };
        let (adapter, driver) = (TunedAdapter::of(ctx.info()), TunedDriver::of(ctx.info()));
        let checks = TunedChecks::of(ctx.checks());
        let fits = |entry: &TuneEntry| {
            entry.adapter == adapter
                && entry.checks == checks
                && entry.kernel == kernel
                && entry.key == key
        };
        // Composing every candidate's text is only worth it for an entry that might be used.
        let mut choices = None;
        let mut standing = |entry: &TuneEntry, any_driver: bool| {
            if !fits(entry) {
                return Standing::Foreign;
            }
            if !any_driver && entry.driver != driver {
                return Standing::Stale("the driver is another");
            }
            let choices = choices.get_or_insert_with(|| Choices::of(spec, ctx.caps()));
            if entry.candidates != choices.candidates {
                Standing::Stale("the candidates are others")
            } else if entry.kernels != choices.kernels {
                Standing::Stale("the kernels' text is another")
            } else if !choices.accepted.contains(&entry.knobs) {
                Standing::Stale("its knobs are no candidate of this spec")
            } else {
                Standing::Good(entry.knobs)
            }
        };
        let mut stale = None;
        let own = self.entries.iter().map(|entry| (entry, false));
        let seeds = self.seeds.iter().map(|entry| (entry, true));
        for (entry, is_seed) in own.chain(seeds) {
            let origin = if is_seed { "a seed" } else { "an entry" };
            match standing(entry, is_seed) {
                Standing::Foreign => {}
                Standing::Stale(why) => stale = Some((origin, why)),
                Standing::Good(knobs) => {
                    log::debug!("{key}: {knobs:?} from {origin}");
                    return knobs;
                }
            }
        }
        match stale {
            Some((origin, why)) => log::debug!("{key}: default knobs, {origin} is stale: {why}"),
            None => log::debug!("{key}: default knobs, nothing is known"),
        }
        Knobs::default()
    }

    /// Remembers an entry, in place of one for the same device, driver, checks and spec.
    ///
    /// # Errors
    /// [`Error::Format`] for a time that is not positive or a name of more than 1024 bytes.
    pub fn insert(&mut self, entry: TuneEntry) -> Result<()> {
        entry.check("entry")?;
        self.entries.retain(|old| old.identity() != entry.identity());
        self.entries.push(entry);
        Ok(())
    }

    /// Takes over another cache's entries; where both have one, the other's counts. Seeds stay
    /// what they are.
    pub fn merge(&mut self, other: &Self) {
        for entry in &other.entries {
            self.entries.retain(|old| old.identity() != entry.identity());
            self.entries.push(entry.clone());
        }
    }

    /// Removes entries for which `keep` says no.
    pub fn retain(&mut self, keep: impl FnMut(&TuneEntry) -> bool) {
        self.entries.retain(keep);
    }

    /// Reads the text of a cache file; `name` is what errors call it.
    ///
    /// # Errors
    /// [`Error::Format`] naming the field: for anything that is not a cache of this version, with
    /// no unknown or missing field, positive times, and one entry for each device, driver,
    /// checks and spec. Knobs that are not named are left to the kernel; one that this build does not know
    /// is refused like any other unknown field, since without it the others are another choice.
    pub fn from_json(name: &str, text: &[u8]) -> Result<Self> {
        Ok(Self { entries: file::parse(name, text)?, seeds: Vec::new() })
    }

    /// The entries as the text of a cache file, in an order that does not depend on when they
    /// were measured. Seeds are not part of it.
    pub fn to_json(&self) -> String {
        file::text(&self.entries)
    }

    /// Reads a cache file.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Range`] for more than 16 MiB, and as [`TuneCache::from_json`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn load(path: impl AsRef<std::path::Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::from_json(&path.display().to_string(), &file::read(path)?)
    }

    /// As [`TuneCache::load`], and an empty cache where there is no such file.
    ///
    /// # Errors
    /// As [`TuneCache::load`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn load_or_new(path: impl AsRef<std::path::Path>) -> Result<Self> {
        match Self::load(path) {
            Err(Error::Io { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => {
                Ok(Self::new())
            }
            loaded => loaded,
        }
    }

    /// Writes a cache file, seeds excluded. Whoever reads it meanwhile sees the old file or the
    /// new one, never a part; so does who reads it after a crash.
    ///
    /// # Errors
    /// [`Error::Io`]; the old file is then as it was.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn save(&self, path: impl AsRef<std::path::Path>) -> Result<()> {
        file::write(path.as_ref(), &self.to_json())
    }
}
