//! The figures of a device as a table.

use crate::report::{Device, Figure};
use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};
use fewbytes_wgpu::measure::Clock;

/// A table whose columns from `first_number` on are numbers.
pub(crate) fn table(header: &[&str], first_number: usize) -> Table {
    let mut table = Table::new();
    let line = LineStyle::none().fill('─').junction('─');
    table.load_style(TableStyle::new().header_separator(line));
    table.set_header(header.iter().copied());
    for column in table.column_iter_mut().skip(first_number) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Microseconds with four digits that mean something.
pub(crate) fn microseconds(ns: f64) -> String {
    let us = ns / 1e3;
    let digits = if us < 10.0 {
        3
    } else if us < 100.0 {
        2
    } else if us < 1000.0 {
        1
    } else {
        0
    };
    format!("{us:.digits$}")
}

fn gigabytes(per_second: f64) -> String {
    let digits = if per_second < 10.0 { 2 } else { 1 };
    format!("{per_second:.digits$}")
}

/// Everything measured on a device, and what the columns mean. `published` explains the columns of
/// published times, which are there where some rows have any.
pub(crate) fn of_device(device: &Device, published: &str) -> String {
    let compares = device.all().any(|figure| figure.published_us.is_some());
    let mut header =
        vec!["kernel", "shape", "setting", "variant", "us", "min .. max", "GB/s", "% of read", ""];
    if compares {
        header.extend(["published us", "speed-up"]);
    }
    let mut rows = table(&header, 4);
    for figure in device.all() {
        let spread = figure.timing.dispatch_ns;
        let range = format!("{} .. {}", microseconds(spread.min), microseconds(spread.max));
        let mut cells = vec![
            figure.kernel.clone(),
            figure.shape.clone(),
            figure.setting.clone(),
            figure.label(),
            microseconds(spread.median),
            range,
            gigabytes(figure.gb_per_s),
            format!("{:.1}", device.percent(figure)),
            marks(figure).to_owned(),
        ];
        if let Some(us) = figure.published_us {
            let speed_up = us * 1e3 / spread.median;
            cells.extend([microseconds(us * 1e3), format!("{speed_up:.2}x")]);
        }
        rows.add_row(cells);
    }
    let mut text = format!("{}\n", rows.trim_fmt());
    let clock = match device.read.timing.clock {
        Clock::Timestamps => {
            "us         a dispatch, by the device's timestamps: median of several passes"
        }
        Clock::Wall => {
            "us         a dispatch, by WALL time, submission and wait included: the device has no \
             timestamps"
        }
    };
    text += clock;
    text += "\nGB/s       bytes that the work needs, once, by that time\n";
    text += "% of read  of the read stream above, unclamped\n";
    if compares {
        text += published;
    }
    if device.all().any(|figure| !figure.timing.settled) {
        text += "~          the times did not settle or the device's clock fell: do not trust this \
                 row\n";
    }
    if !device.failures.is_empty() {
        text += "\nNot measured:\n";
        for failure in &device.failures {
            text += &format!("  {}: {}\n", failure.row, failure.error);
        }
    }
    text
}

fn marks(figure: &Figure) -> &'static str {
    if figure.timing.settled { "" } else { "~" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Failure, tests::report};

    #[test]
    fn times_have_as_many_digits_as_they_deserve() {
        let text = [1234.5, 12_345.6, 123_456.0, 1_234_567.0].map(microseconds);
        assert_eq!(text, ["1.234", "12.35", "123.5", "1235"]);
    }

    #[test]
    fn a_table_shows_streams_rows_shares_and_failures() {
        let mut report = report(&[("2 bits", 5.0)]);
        let device = &mut report.devices[0];
        let text = of_device(device, "");
        for part in ["stream_read", "stream_copy", "2 bits", "5.000", "200.0", "100.0", "50.0"] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!text.contains('~') && !text.contains("Not measured"));
        device.figures[0].timing.settled = false;
        let error = "out of memory".to_owned();
        device.failures.push(Failure { row: "gemv 3 bits".to_owned(), error });
        let text = of_device(device, "");
        assert!(text.contains("did not settle"));
        assert!(text.contains("gemv 3 bits: out of memory"));
    }

    #[test]
    fn published_times_are_shown_and_explained_where_there_are_any() {
        let mut device = report(&[("2 bits", 5.0), ("3 bits", 5.0)]).devices.remove(0);
        let explained = "published  by somebody\n";
        assert!(!of_device(&device, explained).contains("published"));
        device.figures[1].published_us = Some(6.03);
        let text = of_device(&device, explained);
        for part in ["published us", "6.030", "1.21x", "by somebody"] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
}
