//! Published times of other kernels for the same work, to stand beside ours.

use crate::rows::Row;
use crate::work::Work;
use anyhow::{Context as _, Result, ensure};
use fewbytes::linear::Activation;
use fewbytes_wgpu::measure::Order;
use serde::Deserialize;

const VERSION: u32 = 1;

/// The file beside this one.
#[derive(Debug, Deserialize)]
pub(crate) struct Published {
    version: u32,
    kernel: String,
    /// Whose times, and of what.
    what: String,
    /// On what and how they were taken.
    how: String,
    /// Part of the name of the adapters that they compare with.
    adapter: String,
    times: Vec<Time>,
}

#[derive(Debug, Deserialize)]
struct Time {
    rows: usize,
    cols: usize,
    bits: u8,
    vectors: usize,
    us: f64,
}

impl Published {
    pub(crate) fn load() -> Result<Self> {
        let inner = || -> Result<Self> {
            let published: Self = serde_json::from_str(include_str!("published.json"))?;
            ensure!(published.version == VERSION, "its version is {}", published.version);
            Ok(published)
        };
        inner().context("published.json cannot be used")
    }

    /// Whether the times are of such an adapter.
    pub(crate) fn fits(&self, adapter: &str) -> bool {
        adapter.contains(&self.adapter)
    }

    /// The published time of a row's work, in microseconds. Layers follow each other in a graph, so
    /// only a chain compares, and only f16 activations are the same work.
    pub(crate) fn microseconds(&self, row: &Row) -> Option<f64> {
        let Work::Gemv(spec) = &row.work else {
            return None;
        };
        if row.order != Order::Chain
            || spec.activation != Activation::F16
            || row.work.kernel() != self.kernel
        {
            return None;
        }
        let time = self.times.iter().find(|time| {
            (time.rows, time.cols) == (spec.layout.rows(), spec.layout.cols())
                && (time.bits, time.vectors) == (spec.bits, spec.batch)
        });
        time.map(|time| time.us)
    }

    /// What the column means.
    pub(crate) fn legend(&self) -> String {
        format!(
            "published  {},\n           {}\nspeed-up   published time by ours\n",
            self.what, self.how
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::{Extent, all};
    use fewbytes::Caps;

    #[test]
    fn every_published_time_has_a_row_of_the_full_run() {
        let published = Published::load().unwrap();
        let caps = Caps { max_binding_bytes: 1 << 31, max_buffer_bytes: 1 << 32, ..Caps::webgpu() };
        let extent = Extent { quick: false, software: false, forms: false, past_cache: None };
        let rows = all(&caps, extent, &[Order::Chain], false).unwrap();
        let found = rows.iter().filter_map(|row| published.microseconds(row)).count();
        assert_eq!(found, published.times.len());
        assert_eq!(published.times.len(), 6 * 7 + 3);
        let independent = all(&caps, extent, &[Order::Independent], false).unwrap();
        assert!(independent.iter().all(|row| published.microseconds(row).is_none()));
    }

    #[test]
    fn a_time_is_found_by_shape_width_and_vectors() {
        let published = Published::load().unwrap();
        let caps = Caps { max_binding_bytes: 1 << 31, max_buffer_bytes: 1 << 32, ..Caps::webgpu() };
        let extent = Extent { quick: false, software: false, forms: false, past_cache: None };
        let rows = all(&caps, extent, &[Order::Chain], false).unwrap();
        let of = |setting: &str| {
            let wanted = |row: &&Row| row.shape == "8192x8192" && row.setting == setting;
            rows.iter().find(wanted).and_then(|row| published.microseconds(row))
        };
        assert_eq!(of("4 bits f16"), Some(25.4));
        assert_eq!(of("4 bits f16, 8 vectors"), Some(57.2));
        assert_eq!(of("4 bits f32"), None);
        assert_eq!(of("5 bits f16, 8 vectors"), None);
        assert!(published.fits("NVIDIA H100 80GB HBM3") && !published.fits("llvmpipe"));
    }
}
