//! The figures as data and as a file.

use crate::checks::Checks;
use anyhow::{Context as _, Result, ensure};
use fewbytes::Knobs;
use fewbytes_wgpu::Context;
use fewbytes_wgpu::measure::{Order, Timing};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// Version of the file's contents.
const FORMAT: u32 = 2;

/// All figures of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) format: u32,
    /// Day of the run, UTC.
    pub(crate) date: String,
    /// Version of the kernels.
    pub(crate) fewbytes: String,
    pub(crate) devices: Vec<Device>,
}

/// Figures of one device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Device {
    pub(crate) adapter: String,
    pub(crate) backend: String,
    pub(crate) driver: String,
    /// Reading memory: what 100 % is.
    pub(crate) read: Figure,
    pub(crate) copy: Figure,
    pub(crate) figures: Vec<Figure>,
    pub(crate) failures: Vec<Failure>,
}

/// One measured row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) kernel: String,
    pub(crate) shape: String,
    pub(crate) setting: String,
    /// What the kernel made of the knobs, for the reader.
    pub(crate) variant: String,
    /// The knobs that were asked for in words; empty for the defaults.
    pub(crate) form: String,
    pub(crate) knobs: Knobs,
    /// Whether the knobs were found by measurement, as those of the streams are.
    pub(crate) tuned: bool,
    pub(crate) checks: Checks,
    /// Bytes that the work needs.
    pub(crate) bytes: u64,
    pub(crate) gb_per_s: f64,
    /// Microseconds that others published for this work, where that compares.
    #[serde(default)]
    pub(crate) published_us: Option<f64>,
    pub(crate) timing: Timing,
}

/// A row that could not be measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) row: String,
    pub(crate) error: String,
}

impl Figure {
    /// What was asked for beyond the defaults: knobs and checks.
    pub(crate) fn asked(&self) -> String {
        joined(&[&self.form, self.checks.name()], ", ")
    }

    /// Variant and whatever is special about the row.
    pub(crate) fn label(&self) -> String {
        joined(&[&self.variant, &self.special()], ", ")
    }

    /// What is special about the row: knobs, order, checks.
    pub(crate) fn special(&self) -> String {
        let order = match self.timing.order {
            Order::Chain => "",
            Order::Independent => "independent",
        };
        joined(&[&self.form, order, self.checks.name()], ", ")
    }

    /// What makes a row the same row in another run: what was asked for, whatever became of it.
    pub(crate) fn key(&self) -> String {
        joined(&[&self.kernel, &self.shape, &self.setting, &self.special()], " ")
    }

    fn check(&self) -> Result<()> {
        let spread = self.timing.dispatch_ns;
        let numbers = [self.gb_per_s, spread.median, spread.min, spread.max, self.timing.wall_ns];
        let sound = numbers.iter().all(|n| n.is_finite() && *n > 0.0)
            && spread.min <= spread.median
            && spread.median <= spread.max;
        ensure!(sound, "row {:?} holds a time that cannot be: {spread:?}", self.key());
        let expected = self.bytes as f64 / spread.median;
        ensure!(
            (self.gb_per_s - expected).abs() <= 1e-6 * expected,
            "row {:?} says {} GB/s where its bytes and time make {expected}",
            self.key(),
            self.gb_per_s
        );
        Ok(())
    }
}

/// Those parts that say something.
fn joined(parts: &[&str], between: &str) -> String {
    parts.iter().copied().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(between)
}

impl Device {
    pub(crate) fn new(ctx: &Context, read: Figure, copy: Figure) -> Self {
        let info = ctx.info();
        Self {
            adapter: info.name.clone(),
            backend: info.backend.to_string(),
            driver: [info.driver.as_str(), info.driver_info.as_str()].join(" ").trim().to_owned(),
            read,
            copy,
            figures: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// A row's needed bytes a second as a share of the read stream, in percent. Not clamped: what a
    /// cache serves can be above 100.
    pub(crate) fn percent(&self, figure: &Figure) -> f64 {
        100.0 * figure.gb_per_s / self.read.gb_per_s
    }

    /// The streams, then the rows.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Figure> {
        [&self.read, &self.copy].into_iter().chain(&self.figures)
    }

    pub(crate) fn title(&self) -> String {
        format!("{} ({}, {})", self.adapter, self.backend, self.driver)
    }
}

impl Report {
    pub(crate) fn new() -> Self {
        Self {
            format: FORMAT,
            date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
            fewbytes: env!("CARGO_PKG_VERSION").to_owned(),
            devices: Vec::new(),
        }
    }

    /// Reads a report and checks that its figures can be true.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let inner = || -> Result<Self> { Self::parse(&fs::read_to_string(path)?) };
        inner().with_context(|| format!("cannot use {}", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        // The version first: what it changes is not known here.
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let Version { format } =
            serde_json::from_str(text).context("this is no report of roofline")?;
        ensure!(format == FORMAT, "its format is {format}, this program reads {FORMAT}");
        let report: Self = serde_json::from_str(text).context("the report is damaged")?;
        report.devices.iter().flat_map(Device::all).try_for_each(Figure::check)?;
        Ok(report)
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Makes the folder of a file that is to be written. Minutes of measuring should not end with a
/// file that cannot be there.
pub(crate) fn make_folder(path: &Path) -> Result<()> {
    ensure!(!path.is_dir(), "cannot write {}: it is a folder", path.display());
    match path.parent() {
        Some(folder) => fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder of {}", path.display())),
        None => Ok(()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use fewbytes_wgpu::measure::{Clock, Spread};

    pub(crate) fn figure(kernel: &str, setting: &str, us: f64) -> Figure {
        let median = us * 1e3;
        Figure {
            kernel: kernel.to_owned(),
            shape: "64x64".to_owned(),
            setting: setting.to_owned(),
            variant: "baseline".to_owned(),
            form: String::new(),
            knobs: Knobs::default(),
            tuned: false,
            checks: Checks::Bounds,
            bytes: 1_000_000,
            gb_per_s: 1e6 / median,
            published_us: None,
            timing: Timing {
                clock: Clock::Timestamps,
                order: Order::Chain,
                dispatch_ns: Spread { median, min: 0.9 * median, max: 1.2 * median },
                wall_ns: 1.5 * median,
                dispatches: 100,
                samples: 7,
                rotation: 3,
                settled: true,
                probe_ns: None,
            },
        }
    }

    pub(crate) fn report(rows: &[(&str, f64)]) -> Report {
        let device = Device {
            adapter: "Test <GPU> & more".to_owned(),
            backend: "vulkan".to_owned(),
            driver: "driver 1.0".to_owned(),
            read: figure("stream_read", "", 10.0),
            copy: figure("stream_copy", "", 20.0),
            figures: rows.iter().map(|(setting, us)| figure("gemv", setting, *us)).collect(),
            failures: Vec::new(),
        };
        Report { devices: vec![device], ..Report::new() }
    }

    #[test]
    fn a_report_survives_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/report.json");
        make_folder(&path).unwrap();
        let report = report(&[("2 bits", 5.0), ("4 bits", 12.5)]);
        report.write(&path).unwrap();
        assert_eq!(Report::read(&path).unwrap(), report);
        assert_eq!(report.date.len(), 10);
    }

    #[test]
    fn a_folder_in_the_place_of_a_file_is_seen_beforehand() {
        let folder = tempfile::tempdir().unwrap();
        let error = make_folder(folder.path()).unwrap_err().to_string();
        assert!(error.contains("it is a folder"), "{error}");
    }

    #[test]
    fn shares_are_of_the_read_stream_and_not_clamped() {
        let report = report(&[("2 bits", 5.0), ("4 bits", 12.5)]);
        let device = &report.devices[0];
        assert_eq!(device.percent(&device.read), 100.0);
        assert_eq!(device.percent(&device.figures[0]).round(), 200.0);
        assert_eq!(device.percent(&device.figures[1]).round(), 80.0);
    }

    #[test]
    fn rows_are_told_apart_by_what_was_asked_for_not_by_what_became_of_it() {
        let plain = figure("gemv", "4 bits f16", 5.0);
        let other = Figure { variant: "subgroup".to_owned(), ..plain.clone() };
        assert_eq!(plain.key(), other.key());
        let mut keys = vec![plain.key()];
        keys.push(Figure { form: "loop".to_owned(), ..plain.clone() }.key());
        for checks in [Checks::Unchecked, Checks::LoopGuard, Checks::ZeroedMemory] {
            keys.push(Figure { checks, ..plain.clone() }.key());
        }
        let mut independent = plain;
        independent.timing.order = Order::Independent;
        keys.push(independent.key());
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 6, "{keys:?}");
    }

    #[test]
    fn files_that_cannot_be_used_say_why() {
        let good = serde_json::to_string(&report(&[("2 bits", 5.0)])).unwrap();
        Report::parse(&good).unwrap();
        let message = |text: &str| format!("{:#}", Report::parse(text).unwrap_err());
        assert!(message("").contains("no report"));
        assert!(message("{\"rows\": []}").contains("no report"));
        assert!(message("{\"format\": 1}").contains("format is 1"));
        assert!(message("{\"format\": 2}").contains("damaged"));
        assert!(message(&good.replace("\"min\":4500.0", "\"min\":-1.0")).contains("cannot be"));
        assert!(message(&good.replace("\"min\":4500.0", "\"min\":5500.0")).contains("cannot be"));
        assert!(message(&good.replace("\"gb_per_s\":200.0", "\"gb_per_s\":1.0")).contains("GB/s"));
        let missing = Report::read(Path::new("no/such/file.json")).unwrap_err();
        assert!(format!("{missing:#}").contains("no/such/file.json"));
    }
}
