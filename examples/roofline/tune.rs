//! `--tune`: the fastest knobs of every row, before it is measured.

use crate::bench::Bench;
use crate::checks::Checks;
use crate::report::{Device, Failure};
use crate::rows::{Row, name_of};
use crate::table::{microseconds, table};
use anyhow::{Context as _, Result};
use fewbytes::{Error, Knobs};
use fewbytes_wgpu::tune::{Outcome, Roof, TuneCache, TuneOptions, Tuned};
use std::path::Path;

/// What tuning found out about one row.
pub(crate) struct Line {
    row: Row,
    tuned: Tuned,
}

/// One row for all forms of a work, order and checks: which one to take is for the tuner. What
/// more checks cost is another question.
pub(crate) fn merged(rows: Vec<Row>) -> Vec<Row> {
    let mut merged: Vec<Row> = Vec::new();
    for row in rows {
        let row = Row { knobs: Knobs::DEFAULT, tuned: true, ..row };
        let seen = merged.iter().any(|other| other.name() == row.name());
        if !seen && matches!(row.checks, Checks::Bounds | Checks::Unchecked) {
            merged.push(row);
        }
    }
    merged
}

/// Where outcomes are kept.
pub(crate) struct Found<'a> {
    pub(crate) cache: &'a mut TuneCache,
    /// Added to after every row, so that what was found outlives a run that is stopped.
    pub(crate) file: Option<&'a Path>,
}

/// Tunes every row, remembers the outcomes and gives the rows with the fastest knobs.
/// What was measured without bounds checks counts for contexts without them only.
///
/// Rows that cannot be tuned end up among the device's failures.
pub(crate) fn rows(
    bench: &Bench<'_>,
    rows: &[Row],
    device: &mut Device,
    found: Found<'_>,
) -> Result<Vec<Line>> {
    let (extent, bar) = (bench.extent, bench.bar);
    let mut lines = Vec::new();
    for row in rows {
        let options = TuneOptions {
            budget: Some(bench.budget()),
            roof: Roof { read_gb_s: Some(device.read.gb_per_s), gflops: None },
            ..match extent.quick {
                true => TuneOptions::quick(row.order),
                false => TuneOptions::full(row.order),
            }
        };
        let name = row.name();
        let on = bench.contexts.of(row.checks);
        let watch = |done, of| bar.set_message(format!("tuning {name}, {done} of {of}"));
        let spec = row.work.spec();
        let tuned = on.tune_with(spec, &options, watch).and_then(|tuned| {
            found.cache.remember(on, spec, &tuned)?;
            Ok(tuned)
        });
        if let (Ok(_), Some(path)) = (&tuned, found.file) {
            let saved = save(path, found.cache);
            saved.with_context(|| format!("cannot save {}", path.display()))?;
        }
        match tuned {
            Ok(tuned) => {
                let row = Row { knobs: tuned.knobs, ..row.clone() };
                lines.push(Line { row, tuned });
            }
            Err(error @ Error::DeviceLost { .. }) => return Err(error).context(row.name()),
            Err(error) => {
                device.failures.push(Failure { row: row.name(), error: error.to_string() });
            }
        }
        bar.inc(1);
    }
    Ok(lines)
}

impl Line {
    /// The row with the fastest knobs.
    pub(crate) fn row(&self) -> Row {
        self.row.clone()
    }

    /// Median nanoseconds of the first candidate, the defaults, where they were timed.
    fn defaults(&self) -> Option<f64> {
        Some(self.tuned.tried.first()?.timing()?.dispatch_ns.median)
    }
}

/// What was tried and won, row by row.
pub(crate) fn text(lines: &[Line]) -> String {
    let header = [
        "tuned",
        "shape",
        "setting",
        "fastest",
        "timed",
        "left out",
        "defaults us",
        "us",
        "gain",
        "",
    ];
    let mut rows = table(&header, 4);
    for line in lines {
        let timed = line.tuned.tried.iter().filter(|trial| trial.timing().is_some()).count();
        let fastest = line.tuned.timing.dispatch_ns.median;
        let gain =
            line.defaults().map(|defaults| format!("{:+.1} %", 100.0 * (defaults / fastest - 1.0)));
        rows.add_row([
            line.row.work.kernel().to_owned(),
            line.row.shape.clone(),
            line.row.setting.clone(),
            name_of(&line.tuned.knobs),
            timed.to_string(),
            (line.tuned.tried.len() - timed).to_string(),
            line.defaults().map_or_else(String::new, microseconds),
            microseconds(fastest),
            gain.unwrap_or_default(),
            if line.tuned.timing.settled { "" } else { "~" }.to_owned(),
        ]);
    }
    let mut text = format!("{}\n", rows.trim_fmt());
    if lines.iter().any(|line| !line.tuned.timing.settled) {
        text += "~          the time did not settle, so the choice is not remembered\n";
    }
    let failed =
        lines.iter().flat_map(|line| line.tuned.tried.iter().map(move |trial| (line, trial)));
    for (line, trial) in failed {
        if let Outcome::Failed(why) = &trial.outcome {
            text += &format!("{}, {}: {why}\n", line.row.name(), name_of(&trial.knobs));
        }
    }
    text
}

/// Adds what `cache` holds to the file, replacing what it had for the same device, driver, checks and spec.
pub(crate) fn save(path: &Path, cache: &TuneCache) -> Result<()> {
    let mut saved = TuneCache::load_or_new(path)?;
    saved.merge(cache);
    Ok(saved.save(path)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::{Extent, all};
    use fewbytes::Caps;
    use fewbytes::launch::Reduce;
    use fewbytes_wgpu::measure::Order;
    use fewbytes_wgpu::tune::Trial;

    fn some_rows() -> Vec<Row> {
        let caps = Caps { subgroups: true, ..Caps::webgpu() };
        let extent = Extent { quick: true, software: true, forms: true, past_cache: None };
        all(&caps, extent, &[Order::Chain], false).unwrap()
    }

    #[test]
    fn forms_of_one_work_become_one_row() {
        let before = some_rows();
        let plain = |row: &&Row| row.form().is_empty() && row.checks == Checks::Bounds;
        let plain = before.iter().filter(plain).count();
        assert!(plain < before.len());
        let after = merged(before);
        assert_eq!(after.len(), plain);
        assert!(after.iter().all(|row| row.form() == "tuned"));
    }

    #[test]
    fn the_table_shows_the_gain_and_what_failed() {
        let timing = crate::report::tests::figure("gemv", "4 bits", 10.0).timing;
        let mut slow = timing;
        slow.dispatch_ns.median *= 1.25;
        let knobs =
            Knobs { workgroup: Some(128), reduce: Some(Reduce::Subgroup), ..Knobs::default() };
        let trial = |knobs, outcome| Trial { knobs, outcome };
        let tried = vec![
            trial(Knobs::default(), Outcome::Timed(slow)),
            trial(knobs, Outcome::Timed(timing)),
            trial(Knobs::baseline(), Outcome::Failed("no memory".to_owned())),
        ];
        let traffic = Default::default();
        let tuned = Tuned { knobs, timing, tried, traffic, bound_ns: None };
        let row = merged(some_rows()).remove(0);
        let mut line = Line { row, tuned };
        let text = text(std::slice::from_ref(&line));
        assert!(!text.contains('~'), "{text}");
        line.tuned.timing.settled = false;
        assert!(super::text(&[line]).contains("is not remembered"));
        for part in [
            "gemv_bitplane",
            "128 lanes, reduce subgroup",
            "12.50",
            "10.00",
            "+25.0 %",
            "no memory",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
    }

    #[test]
    fn saving_keeps_what_the_file_had() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tuned.json");
        save(&path, &TuneCache::new()).unwrap();
        save(&path, &TuneCache::new()).unwrap();
        assert_eq!(TuneCache::load(&path).unwrap(), TuneCache::new());
        std::fs::write(&path, "{}").unwrap();
        assert!(save(&path, &TuneCache::new()).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{}");
    }
}
