//! What is printed: tables, sizes, errors.

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};

/// A table with a line under its header and numbers to the right of the first `text` columns.
pub(crate) fn table(header: Vec<String>, text: usize) -> Table {
    let mut table = Table::new();
    let style = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));
    table.load_style(style).set_header(header);
    for column in table.column_iter_mut().skip(text) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Bytes in words, to three digits.
pub(crate) fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB"];
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // 999.5 would be rounded to four digits.
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.digits$} {}", units[unit])
}

/// Bytes as a number of KiB, for columns.
pub(crate) fn kib(bytes: u64) -> String {
    bytes.div_ceil(1024).to_string()
}

/// A count with its noun.
pub(crate) fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// A part of a whole in percent.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    format!("{:.1} %", 100.0 * part as f64 / whole.max(1) as f64)
}

/// What the errors of tables are errors of.
pub(crate) fn objective(damped: bool) -> &'static str {
    if damped {
        "damped error of the output (--damp adds to every input what none of them had)"
    } else {
        "error of the output over the calibration inputs"
    }
}

/// Errors of some layers, a line each.
pub(crate) fn failures(failures: &[String], all: usize) -> String {
    let lines: String = failures.iter().map(|line| format!("\n  {line}")).collect();
    format!("{} of {} failed:{lines}", failures.len(), count(all, "layer"))
}

/// What is left of an error.
pub(crate) fn ratio(after: f64, before: f64) -> String {
    if before > 0.0 { format!("{:.3}", after / before) } else { "-".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        let sizes = [0, 1000, 1 << 20, 955 * 1024 + 512, 40 << 20, 13 << 30].map(size);
        assert_eq!(sizes, ["0.00 KiB", "0.98 KiB", "1.00 MiB", "956 KiB", "40.0 MiB", "13.0 GiB"]);
        assert_eq!((kib(1), kib(1024), percent(1, 3)), ("1".into(), "1".into(), "33.3 %".into()));
    }
}
