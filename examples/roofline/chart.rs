//! The figures as a picture: one bar a row against the read stream.

use crate::checks::Checks;
use crate::report::{Device, Figure, Report};
use crate::table::microseconds;
use anyhow::{Context as _, Result, anyhow};
use fewbytes_wgpu::measure::Clock;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::path::Path;

const INK: RGBColor = RGBColor(60, 60, 60);
const STREAM: RGBColor = RGBColor(150, 150, 150);
const BASELINE: RGBColor = RGBColor(122, 170, 214);
const FASTER: RGBColor = RGBColor(31, 98, 168);
const UNCHECKED: RGBColor = RGBColor(211, 94, 18);
const GUARDED: RGBColor = RGBColor(120, 94, 160);

const WIDTH: i32 = 1080;
/// Where bars begin and where 100 % or more end.
const LEFT: i32 = 250;
const RIGHT: i32 = WIDTH - 220;
const LINE: i32 = 19;
const BAR: i32 = 13;
/// Above the rows of a device: title, legend, axis.
const HEAD: i32 = 92;
const GROUP: i32 = 26;
const FOOT: i32 = 24;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// Writes the SVG.
pub(crate) fn draw(path: &Path, report: &Report) -> Result<()> {
    let svg = svg(report)?;
    std::fs::write(path, svg).with_context(|| format!("cannot write {}", path.display()))
}

fn svg(report: &Report) -> Result<String> {
    let mut svg = String::new();
    let heights: Vec<i32> = report.devices.iter().map(height).collect();
    let height = heights.iter().sum::<i32>().max(1);
    {
        let size = (WIDTH.unsigned_abs(), height.unsigned_abs());
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let plot = || -> Drawn {
            area.fill(&WHITE)?;
            let mut top = 0;
            for (device, height) in report.devices.iter().zip(&heights) {
                panel(&area, device, &report.date, top)?;
                top += height;
            }
            area.present()?;
            Ok(())
        };
        plot().map_err(|error| anyhow!("cannot draw: {error}"))?;
    }
    Ok(svg)
}

/// Rows of one kernel and shape, in the order of the table.
fn groups(device: &Device) -> Vec<(String, Vec<&Figure>)> {
    let mut groups: Vec<(String, Vec<&Figure>)> = Vec::new();
    for figure in device.all() {
        let streams = figure.kernel.starts_with("stream_");
        let title = match streams {
            true => "memory".to_owned(),
            false => format!("{} {}", figure.kernel, figure.shape),
        };
        match groups.last_mut().filter(|(last, _)| *last == title) {
            Some((_, rows)) => rows.push(figure),
            None => groups.push((title, vec![figure])),
        }
    }
    groups
}

fn height(device: &Device) -> i32 {
    let rows = |(_, rows): &(String, Vec<_>)| GROUP + LINE * i32::try_from(rows.len()).unwrap_or(0);
    HEAD + FOOT + groups(device).iter().map(rows).sum::<i32>()
}

/// The right end of the axis in percent: 100 with some air, or as far as the longest bar.
fn longest(device: &Device) -> f64 {
    device.all().map(|figure| device.percent(figure)).fold(105.0, f64::max)
}

fn color(figure: &Figure) -> RGBColor {
    match figure.checks {
        _ if figure.kernel.starts_with("stream_") => STREAM,
        Checks::Unchecked => UNCHECKED,
        Checks::LoopGuard | Checks::ZeroedMemory => GUARDED,
        Checks::Bounds if figure.variant == "baseline" => BASELINE,
        Checks::Bounds => FASTER,
    }
}

fn panel(area: &Area<'_>, device: &Device, date: &str, top: i32) -> Drawn {
    let style = |size: i32| ("sans-serif", size).into_font().color(&INK);
    let right = |size: i32| style(size).pos(Pos::new(HPos::Right, VPos::Center));
    let left = |size: i32| style(size).pos(Pos::new(HPos::Left, VPos::Center));
    let text = |text: String, at, style: TextStyle<'_>| area.draw(&Text::new(text, at, style));

    text(cut(&device.title(), 96), (16, top + 20), left(17))?;
    let clock = match device.read.timing.clock {
        Clock::Timestamps => "time",
        Clock::Wall => "WALL time, submission and wait included",
    };
    let read = format!(
        "Bytes needed by {clock}, as a share of the read stream, {:.0} GB/s. {date}",
        device.read.gb_per_s
    );
    text(read, (16, top + 42), left(14))?;
    legend(area, device, top + 64)?;

    let most = longest(device);
    let x = |percent: f64| LEFT + (f64::from(RIGHT - LEFT) * percent / most).round() as i32;
    let (first, last) = (top + HEAD - 4, top + height(device) - FOOT + 4);
    for percent in [0.0, 25.0, 50.0, 75.0, 100.0] {
        let bold = percent == 100.0;
        let line = if bold { INK.stroke_width(2) } else { INK.mix(0.15).stroke_width(1) };
        area.draw(&PathElement::new([(x(percent), first), (x(percent), last)], line))?;
        let anchor = style(12).pos(Pos::new(HPos::Center, VPos::Center));
        text(format!("{percent:.0} %"), (x(percent), first - 8), anchor)?;
    }
    let mut y = top + HEAD;
    for (title, rows) in groups(device) {
        text(title, (16, y + GROUP / 2 + 2), left(14))?;
        y += GROUP;
        for figure in rows {
            let middle = y + LINE / 2;
            text(cut(&row_label(figure), 38), (LEFT - 8, middle), right(12))?;
            let end = x(device.percent(figure)).max(LEFT + 1);
            let corners = [(LEFT, middle - BAR / 2), (end, middle + BAR / 2)];
            area.draw(&Rectangle::new(corners, color(figure).filled()))?;
            let label = value_label(device, figure);
            // White behind it, so that the line at 100 % does not strike it through.
            let wide = 7 * i32::try_from(label.len()).unwrap_or(0);
            let behind = [(end + 3, middle - BAR / 2), (end + 6 + wide, middle + BAR / 2)];
            if end < x(100.0) {
                area.draw(&Rectangle::new(behind, WHITE.filled()))?;
            }
            text(label, (end + 6, middle), left(12))?;
            y += LINE;
        }
    }
    Ok(())
}

fn row_label(figure: &Figure) -> String {
    if figure.kernel.starts_with("stream_") {
        return format!("{} {}", figure.kernel, figure.shape);
    }
    // What was asked for says more than the variant, where there is not room for both.
    let special = figure.special();
    let words = if special.is_empty() { &figure.variant } else { &special };
    format!("{}, {words}", figure.setting)
}

fn value_label(device: &Device, figure: &Figure) -> String {
    let time = microseconds(figure.timing.dispatch_ns.median);
    let doubt = if figure.timing.settled { "" } else { ", not settled" };
    format!("{:.0} %, {time} us{doubt}", device.percent(figure))
}

/// The colours that occur, and what they mean.
fn legend(area: &Area<'_>, device: &Device, y: i32) -> Drawn {
    let meanings = [
        (STREAM, "plain reading and copying"),
        (BASELINE, "baseline: runs everywhere"),
        (FASTER, "other variants"),
        (UNCHECKED, "without bounds checks"),
        (GUARDED, "with more checks"),
    ];
    let mut x = 16;
    for (meaning, words) in meanings {
        if !device.all().any(|figure| color(figure) == meaning) {
            continue;
        }
        area.draw(&Rectangle::new([(x, y - 6), (x + 12, y + 6)], meaning.filled()))?;
        let style = ("sans-serif", 13).into_font().color(&INK);
        let style = style.pos(Pos::new(HPos::Left, VPos::Center));
        area.draw(&Text::new(words, (x + 18, y), style))?;
        x += 60 + 7 * i32::try_from(words.len()).unwrap_or(0);
    }
    Ok(())
}

/// At most this many characters.
fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn every_row_has_a_bar_with_its_time_and_share() {
        let mut report = report(&[("2 bits", 5.0), ("4 bits", 12.5)]);
        report.devices[0].figures[1].variant = "subgroup".to_owned();
        let svg = svg(&report).unwrap();
        for part in [
            "200 %, 5.000 us",
            "80 %, 12.50 us",
            "4 bits, subgroup",
            "gemv 64x64",
            "stream_copy 64x64",
            "other variants",
            "driver 1.0",
            &report.date,
        ] {
            assert!(svg.contains(part), "{part} is not in\n{svg}");
        }
        assert!(svg.contains("Test &lt;GPU&gt; &amp; more"), "{svg}");
        assert!(!svg.contains("without bounds checks"));
        assert!(svg.trim_start().starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    }

    #[test]
    fn wall_time_is_called_that() {
        let mut report = report(&[("2 bits", 5.0)]);
        assert!(!svg(&report).unwrap().contains("WALL"));
        report.devices[0].read.timing.clock = Clock::Wall;
        assert!(svg(&report).unwrap().contains("WALL time"));
    }

    #[test]
    fn the_axis_reaches_as_far_as_the_longest_bar() {
        let report = report(&[("2 bits", 5.0), ("4 bits", 12.5)]);
        assert_eq!(longest(&report.devices[0]).round(), 200.0);
        let short = super::super::report::tests::report(&[("2 bits", 50.0)]);
        assert_eq!(longest(&short.devices[0]), 105.0);
    }

    #[test]
    fn devices_follow_each_other() {
        let one = report(&[("2 bits", 5.0)]);
        let mut two = one.clone();
        two.devices.push(one.devices[0].clone());
        let bars = |report| svg(report).unwrap().matches("200 %, 5.000 us").count();
        assert_eq!([bars(&one), bars(&two)], [1, 2]);
    }
}
