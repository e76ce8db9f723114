//! Error against bits, as a picture.

use crate::measure::Width;
use crate::source::Source;
use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use std::path::Path;

const WEIGHTS: RGBColor = RGBColor(31, 98, 168);
const OUTPUT: RGBColor = RGBColor(211, 94, 18);
const INK: RGBColor = RGBColor(60, 60, 60);

/// Writes the SVG, making its folder where there is none.
pub(crate) fn draw(path: &Path, source: &Source, widths: &[Width]) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (760, 500)).into_drawing_area();
        plot(&area, source, widths).map_err(|e| anyhow!("{e}"))?;
    }
    Ok(std::fs::write(path, svg)?)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn plot(
    area: &Area<'_>,
    source: &Source,
    widths: &[Width],
) -> Result<(), Box<dyn std::error::Error>> {
    area.fill(&WHITE)?;
    let errors = |pick: fn(&Width) -> f64| {
        // A logarithmic axis has no place for 0, which few distinct weights can reach.
        let points = widths.iter().map(move |w| (f64::from(w.bits), pick(w)));
        points.filter(|(_, e)| e.is_finite() && *e > 0.0).collect::<Vec<_>>()
    };
    let (weights, output) = (errors(|w| w.weight_error), errors(|w| w.output_error));
    let all = || weights.iter().chain(&output).map(|p| p.1);
    let low = decade(all().fold(f64::INFINITY, f64::min), f64::floor).min(0.1);
    let high = decade(all().fold(0.0, f64::max), f64::ceil).max(low * 10.0);

    // Names differ at their ends, so of a long one the front is cut to fit.
    let cut = source.name.char_indices().rev().nth(54).map_or(0, |(at, _)| at);
    let (dots, name) = (if cut > 0 { "..." } else { "" }, &source.name[cut..]);
    let caption = format!("Error by bits: {dots}{name} ({} x {})", source.rows, source.cols);
    let mut chart = ChartBuilder::on(area)
        .caption(caption, ("sans-serif", 19).into_font().color(&INK))
        .margin(16)
        .x_label_area_size(48)
        .y_label_area_size(72)
        // A little below the decade, so that rounding does not cost it its label.
        .build_cartesian_2d(1.8f64..8.2, (0.99 * low..high).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("bits per weight")
        .y_desc("relative error")
        .x_labels(7)
        .x_max_light_lines(0)
        .x_label_formatter(&|bits| format!("{bits:.0}"))
        .y_label_formatter(&|error| percent(*error))
        .bold_line_style(INK.mix(0.25))
        .light_line_style(INK.mix(0.08))
        .label_style(("sans-serif", 15).into_font().color(&INK))
        .axis_desc_style(("sans-serif", 16).into_font().color(&INK))
        .draw()?;
    chart
        .draw_series(LineSeries::new(weights.clone(), WEIGHTS.stroke_width(2)))?
        .label("weights")
        .legend(|(x, y)| Circle::new((x + 10, y), 5, WEIGHTS.filled()));
    chart.draw_series(weights.iter().map(|&at| Circle::new(at, 5, WEIGHTS.filled())))?;
    chart
        .draw_series(LineSeries::new(output.clone(), OUTPUT.stroke_width(2)))?
        .label("output y = W x")
        .legend(|(x, y)| TriangleMarker::new((x + 10, y), 7, OUTPUT.filled()));
    chart.draw_series(output.iter().map(|&at| TriangleMarker::new(at, 7, OUTPUT.filled())))?;
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .margin(14)
        .background_style(WHITE.filled())
        .border_style(INK.mix(0.3))
        .label_font(("sans-serif", 15).into_font().color(&INK))
        .draw()?;
    area.present()?;
    Ok(())
}

/// The power of ten next to a value.
fn decade(value: f64, round: fn(f64) -> f64) -> f64 {
    if value > 0.0 && value.is_finite() { 10f64.powf(round(value.log10())) } else { 1.0 }
}

/// A share as a label: as many digits as it has.
fn percent(share: f64) -> String {
    let digits = (-2.0 - share.log10()).ceil().max(0.0) as usize;
    format!("{:.digits$} %", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_decades_are_short() {
        assert_eq!([1.0, 0.1, 0.01].map(percent), ["100 %", "10 %", "1 %"]);
        assert_eq!([1e-3, 1e-4].map(percent), ["0.1 %", "0.01 %"]);
        assert_eq!(decade(0.03, f64::floor), 0.01);
        assert_eq!(decade(0.0, f64::floor), 1.0);
    }
}
