//! One remembered choice, and what it is remembered for.

use crate::Context;
use crate::module::Checks;
use fewbytes::launch::StableHash;
use fewbytes::{Caps, Error, Knobs, Result, Spec};
use serde::{Deserialize, Serialize};

/// The device that was measured.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TunedAdapter {
    /// The adapter's name.
    pub name: String,
    /// Vendor number, as the backend gives it.
    pub vendor: u32,
    /// Device number, as the backend gives it.
    pub device: u32,
    /// The graphics API: `vulkan`, `metal`, `dx12`, ...
    pub backend: String,
}

/// The driver that compiled the kernels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TunedDriver {
    /// The driver's name.
    pub name: String,
    /// Its version, in the driver's own words.
    pub info: String,
}

/// The run-time checks that were in the shaders, as the [`Context`] had them: they cost some kernels
/// more than others, so what is fastest without them need not be with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TunedChecks {
    /// Bounds checks: there unless [`Context::trust_sizes`].
    pub bounds: bool,
    /// Counted loops: [`Context::with_loop_guard`].
    pub loop_guard: bool,
    /// Zeros at first: [`Context::with_zeroed_workgroup_memory`].
    pub zeroed_workgroup_memory: bool,
}

impl TunedChecks {
    pub(super) fn of(Checks { bounds, loops, zeroed }: Checks) -> Self {
        Self { bounds, loop_guard: loops, zeroed_workgroup_memory: zeroed }
    }
}

impl TunedAdapter {
    pub(super) fn of(info: &wgpu::AdapterInfo) -> Self {
        Self {
            name: info.name.clone(),
            vendor: info.vendor,
            device: info.device,
            backend: info.backend.to_str().to_owned(),
        }
    }
}

impl TunedDriver {
    pub(super) fn of(info: &wgpu::AdapterInfo) -> Self {
        Self { name: info.driver.clone(), info: info.driver_info.clone() }
    }
}

/// One line of a [`super::TuneCache`]: the fastest knobs of one spec on one device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TuneEntry {
    /// The device.
    pub adapter: TunedAdapter,
    /// Its driver.
    pub driver: TunedDriver,
    /// The checks in its shaders.
    pub checks: TunedChecks,
    /// The kernel's name.
    pub kernel: String,
    /// [`Spec::tuning_key`].
    pub key: String,
    /// Checksum of the knobs there were to choose from.
    #[serde(with = "hex")]
    pub candidates: u64,
    /// Checksum of what they compile to: of the shaders' text and override values.
    #[serde(with = "hex")]
    pub kernels: u64,
    /// The fastest.
    pub knobs: Knobs,
    /// Median seconds of all of the spec's launches with these knobs.
    pub seconds: f64,
}

impl TuneEntry {
    /// The entry for a choice, however it was made; [`super::TuneCache::remember`] is for one that
    /// was timed.
    ///
    /// # Errors
    /// [`Error::Range`] when `knobs` are no candidate that the spec accepts on this device, or
    /// `seconds` is not positive, and as [`Spec::tuning_key`].
    pub fn new(
        ctx: &Context,
        spec: &(impl Spec + ?Sized),
        knobs: Knobs,
        seconds: f64,
    ) -> Result<Self> {
        let key = spec.tuning_key(ctx.caps())?;
        let choices = Choices::of(spec, ctx.caps());
        if !choices.accepted.contains(&knobs) {
            let what = format!("knobs of {}", spec.kernel());
            return Err(Error::range(what, "its candidates", format!("{knobs:?}")));
        }
        if !(seconds.is_finite() && seconds > 0.0) {
            return Err(Error::range("seconds", "the positive numbers", seconds));
        }
        Ok(Self {
            adapter: TunedAdapter::of(ctx.info()),
            driver: TunedDriver::of(ctx.info()),
            checks: TunedChecks::of(ctx.checks()),
            kernel: spec.kernel().to_owned(),
            key,
            candidates: choices.candidates,
            kernels: choices.kernels,
            knobs,
            seconds,
        })
    }

    /// What may occur only once in a cache.
    pub(super) fn identity(&self) -> (&TunedAdapter, &TunedDriver, TunedChecks, &str, &str) {
        (&self.adapter, &self.driver, self.checks, &self.kernel, &self.key)
    }

    /// Checks what JSON's types do not; `at` names the entry.
    pub(super) fn check(&self, at: &str) -> Result<()> {
        let texts = [
            ("adapter.name", &self.adapter.name),
            ("adapter.backend", &self.adapter.backend),
            ("driver.name", &self.driver.name),
            ("driver.info", &self.driver.info),
            ("kernel", &self.kernel),
            ("key", &self.key),
        ];
        if let Some((field, text)) = texts.iter().find(|(_, text)| text.len() > MAX_TEXT) {
            let message = format!("at most {MAX_TEXT} bytes are allowed, found {}", text.len());
            return Err(Error::format(format!("{at}.{field}"), message));
        }
        if !(self.seconds.is_finite() && self.seconds > 0.0) {
            let message = format!("expected a positive number, found {}", self.seconds);
            return Err(Error::format(format!("{at}.seconds"), message));
        }
        Ok(())
    }
}

/// Bytes of the longest name; real ones have a few dozen.
const MAX_TEXT: usize = 1024;

/// What an entry has to agree with before it is believed.
pub(super) struct Choices {
    /// The knobs that the spec accepts on this device, in its order.
    pub(super) accepted: Vec<Knobs>,
    pub(super) candidates: u64,
    pub(super) kernels: u64,
}

impl Choices {
    pub(super) fn of(spec: &(impl Spec + ?Sized), caps: &Caps) -> Self {
        let (mut candidates, mut kernels) = (StableHash::default(), StableHash::default());
        let mut accepted = Vec::new();
        for knobs in spec.candidates(caps) {
            // Plain data with no map in it: writing it as JSON cannot fail.
            candidates.field(&serde_json::to_vec(&knobs).unwrap_or_default());
            let Ok(launches) = spec.launches(caps, &knobs) else {
                kernels.field(b"refused");
                continue;
            };
            for launch in &launches {
                kernels.field(&launch.key().to_le_bytes());
            }
            accepted.push(knobs);
        }
        Self { accepted, candidates: candidates.finish(), kernels: kernels.finish() }
    }
}

/// Checksums as 16 hexadecimal digits: JSON's numbers are floating-point to many readers.
mod hex {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};
    use std::borrow::Cow;

    pub(super) fn serialize<S: Serializer>(value: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{value:016x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        let text = Cow::<str>::deserialize(from)?;
        let digits = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        digits.then(|| u64::from_str_radix(&text, 16).ok()).flatten().ok_or_else(|| {
            D::Error::custom(format!("expected 16 hexadecimal digits, found {text:?}"))
        })
    }
}
