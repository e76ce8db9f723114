//! What an eviction did.

use super::ModelSizes;
use crate::attention::evict::{Eviction, Selection};
use std::fmt;
use std::time::Duration;

/// How long everything took; 0 where there is no clock, as in a browser.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Phases {
    /// The model's passes over the repetition.
    pub passes: Duration,
    /// The scorer, as the host sees it: a device may only have been told.
    pub scoring: Duration,
    /// From scores to pairs that stay.
    pub selecting: Duration,
    /// Copying rows of the host's caches.
    pub compacting: Duration,
}

/// What an eviction did. Written out it is a table: a line a layer with how many pairs of the context
/// every head keeps.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// What was asked for.
    pub eviction: Eviction,
    /// Rows before the context, which stay.
    pub prefix: u32,
    /// Positions of the context.
    pub n: u32,
    /// KV heads of a layer.
    pub heads: usize,
    /// Pairs of the context that stay, `[layers, heads]`.
    pub kept: Vec<u32>,
    /// Bytes of rows of keys and values of the scored layers before.
    pub bytes_before: u64,
    /// The same of rows that stay, without the room beside them.
    pub bytes_after: u64,
    /// The score that divides, of rules with one: [`Selection::threshold`].
    pub threshold: Option<f32>,
    /// How many scores were NaN, and counted as 0.
    pub nan: u64,
    /// Times.
    pub phases: Phases,
}

impl Report {
    pub(super) fn new(
        sizes: &ModelSizes,
        eviction: &Eviction,
        selection: &Selection,
        prefix: u32,
    ) -> Self {
        let (heads, n) = (selection.heads(), selection.n());
        let always = selection.kept().len() as u64 * u64::from(prefix);
        let row = sizes.shape.bytes(1);
        let pairs = selection.kept().len() as u64 * u64::from(n);
        Self {
            eviction: *eviction,
            prefix,
            n,
            heads,
            kept: selection.kept().to_vec(),
            bytes_before: (always + pairs) * row,
            bytes_after: (always + selection.total()) * row,
            threshold: selection.threshold(),
            nan: selection.nan(),
            phases: Phases::default(),
        }
    }

    /// The fraction of pairs of the context that stays; 1 of an empty one.
    pub fn kept_ratio(&self) -> f64 {
        let pairs = self.kept.len() as f64 * f64::from(self.n);
        let kept: u64 = self.kept.iter().map(|kept| u64::from(*kept)).sum();
        if pairs == 0.0 { 1.0 } else { kept as f64 / pairs }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.n.max(1).to_string().len().max(3);
        write!(f, "{:>6}", "layer")?;
        (0..self.heads).try_for_each(|head| write!(f, " {:>width$}", format!("h{head}")))?;
        writeln!(f, " {:>6}", "kept")?;
        for (layer, kept) in self.kept.chunks(self.heads.max(1)).enumerate() {
            write!(f, "{layer:>6}")?;
            kept.iter().try_for_each(|kept| write!(f, " {kept:>width$}"))?;
            let sum: u64 = kept.iter().map(|kept| u64::from(*kept)).sum();
            let pairs = (kept.len() as u64 * u64::from(self.n)).max(1);
            writeln!(f, " {:>5.1}%", 100.0 * sum as f64 / pairs as f64)?;
        }
        write!(
            f,
            "kept {:.2}% of {} positions, asked for {:.2}%",
            100.0 * self.kept_ratio(),
            self.n,
            100.0 * self.eviction.ratio
        )?;
        writeln!(f, "; {} rows of the prefix stay", self.prefix)?;
        writeln!(f, "bytes {} -> {}", self.bytes_before, self.bytes_after)?;
        match self.threshold {
            Some(threshold) => write!(f, "threshold {threshold:e}")?,
            None => write!(f, "no one threshold")?,
        }
        match self.nan {
            0 => writeln!(f)?,
            nan => writeln!(f, "; {nan} scores were NaN and counted as 0")?,
        }
        let Phases { passes, scoring, selecting, compacting } = self.phases;
        write!(
            f,
            "passes {passes:.1?}, scoring {scoring:.1?}, selecting {selecting:.1?}, \
             compacting {compacting:.1?}"
        )
    }
}

/// A clock where there is one: a browser's may not be asked this way.
pub(super) struct Watch(#[cfg(not(target_family = "wasm"))] std::time::Instant);

impl Watch {
    #[cfg(not(target_family = "wasm"))]
    pub(super) fn start() -> Self {
        Self(std::time::Instant::now())
    }

    #[cfg(not(target_family = "wasm"))]
    pub(super) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    #[cfg(target_family = "wasm")]
    pub(super) fn start() -> Self {
        Self()
    }

    #[cfg(target_family = "wasm")]
    pub(super) fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}
