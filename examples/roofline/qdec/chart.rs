//! Slowdown by channels as a picture, the knee marked.

use super::{Found, Line};
use anyhow::{Context as _, Result, anyhow};
use plotters::prelude::*;
use std::path::Path;

const INK: RGBColor = RGBColor(60, 60, 60);
const MEASURED: RGBColor = RGBColor(31, 98, 168);
const MODEL: RGBColor = RGBColor(150, 150, 150);
const KNEE: RGBColor = RGBColor(211, 94, 18);
const PANEL: (u32, u32) = (520, 300);
const COLUMNS: usize = 2;
const HEAD: u32 = 40;

type Drawn = Result<(), Box<dyn std::error::Error>>;

pub(super) fn draw(path: &Path, all: &[Found]) -> Result<()> {
    let svg = svg(all)?;
    std::fs::write(path, svg).with_context(|| format!("cannot write {}", path.display()))
}

fn svg(all: &[Found]) -> Result<String> {
    let lines: Vec<(&Found, &Line)> =
        all.iter().flat_map(|found| found.layers.iter().map(move |line| (found, line))).collect();
    let tall = u32::try_from(lines.len().div_ceil(COLUMNS)).unwrap_or(1);
    let mut svg = String::new();
    {
        let size = (PANEL.0 * COLUMNS as u32, HEAD + PANEL.1 * tall);
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let plot = || -> Drawn {
            area.fill(&WHITE)?;
            let title = "Slowdown of a product by residual channels fetched beside it; grey: model";
            let style = ("sans-serif", 17).into_font().color(&INK);
            area.draw(&Text::new(title.to_owned(), (16, 12), style))?;
            let (_, below) = area.split_vertically(HEAD);
            let panels = below.split_evenly((lines.len().div_ceil(COLUMNS), COLUMNS));
            for ((found, line), panel) in lines.iter().zip(&panels) {
                draw_line(panel, found, line)?;
            }
            area.present()?;
            Ok(())
        };
        plot().map_err(|error| anyhow!("cannot draw: {error}"))?;
    }
    Ok(svg)
}

fn draw_line(
    panel: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    found: &Found,
    line: &Line,
) -> Drawn {
    let times = &line.measured.times;
    let percent = |ns: f64| 100.0 * (ns / times.base_ns - 1.0);
    let Some(best) = line.measured.knee(super::KNEE).map(|(_, curve)| curve) else { return Ok(()) };
    let measured: Vec<(f64, f64)> = std::iter::once((0.0, 0.0))
        .chain(times.k_chunks.iter().map(|k| *k as f64).zip(best.ns.iter().map(|ns| percent(*ns))))
        .collect();
    let last = times.k_chunks.last().map_or(1.0, |k| *k as f64);
    let highest = measured.iter().map(|point| point.1).fold(10.0, f64::max) * 1.1;
    let caption = format!(
        "{} {}x{}, {} bits, {} {} groups, {}",
        line.layer,
        line.rows,
        line.cols,
        line.bits,
        best.structure.name(),
        best.groups,
        found.device.split(" (").next().unwrap_or_default()
    );
    let mut chart = ChartBuilder::on(panel)
        .caption(caption, ("sans-serif", 13).into_font().color(&INK))
        .margin(10)
        .x_label_area_size(34)
        .y_label_area_size(46)
        .build_cartesian_2d(0.0..last * 1.02, -5.0..highest)?;
    chart
        .configure_mesh()
        .x_desc("k_chunk: channels of each 1024")
        .y_desc("slower by %")
        .light_line_style(WHITE)
        .draw()?;
    // Free up to the knee of the model, then at the rate of fetching.
    let (overhead, each) = line.measured.alone_line().unwrap_or((0.0, 0.0));
    let model = |k: f64| percent(times.base_ns.max(overhead + each * k));
    chart.draw_series(LineSeries::new(
        (0..=200).map(|at| last * f64::from(at) / 200.0).map(|k| (k, model(k))),
        MODEL.stroke_width(2),
    ))?;
    chart.draw_series(LineSeries::new(measured.clone(), MEASURED.stroke_width(2)))?;
    chart.draw_series(measured.iter().map(|point| Circle::new(*point, 3, MEASURED.filled())))?;
    chart.draw_series(LineSeries::new(
        [(line.knee, -5.0), (line.knee, highest)],
        KNEE.stroke_width(1),
    ))?;
    let label = format!("knee {:.1}, ideal {:.1}", line.knee, line.ideal);
    let style = ("sans-serif", 12).into_font().color(&KNEE);
    chart.draw_series([Text::new(label, (line.knee + last * 0.01, highest * 0.95), style)])?;
    Ok(())
}
