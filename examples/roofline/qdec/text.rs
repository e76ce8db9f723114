//! The figures as tables.

use super::{Found, KNEE, Line};
use crate::table::{microseconds, table};
use std::fmt::Write as _;

pub(super) fn of(found: &Found) -> String {
    let mut text = String::new();
    if let Some(residence) = &found.residence {
        let _ = writeln!(
            text,
            "  buffers for host memory: in {}; read at {:.1} GB/s, device memory at {:.1}, copies over \
             the link at {:.1}",
            residence.place.name(),
            residence.read_gb_s,
            residence.device_gb_s,
            residence.link_gb_s
        );
    } else {
        text += "  this device cannot read host memory: residuals are in its own\n";
    }
    let _ = writeln!(text, "  residuals of int4 in {} memory\n", found.memory);
    text += &format!("{}\n", knees(&found.layers));
    let _ = writeln!(
        text,
        "knee: channels of 1024 from which on a step takes {:.0} % longer; model: those that hide behind the \
         product, from the times of product and compensation alone; ideal: from the product's and \
         streaming, with nothing else.\n",
        100.0 * KNEE
    );
    for line in &found.layers {
        text += &format!("{}\n", curves(line));
    }
    text += &format!("{}\n", choices(found));
    text
}

fn knees(layers: &[Line]) -> comfy_table::Table {
    let header = [
        "layer",
        "bits",
        "product us",
        "add us",
        "overhead us",
        "fetch GB/s",
        "stream GB/s",
        "% of it",
        "overlap %",
        "knee",
        "model",
        "ideal",
        "% of ideal",
        "device KB",
    ];
    let mut rows = table(&header, 1);
    for line in layers {
        let measured = &line.measured;
        let overhead = measured.alone_line().map_or(0.0, |(overhead, _)| overhead);
        let share = 100.0 * line.link_gb_s / measured.stream_gb_s;
        rows.add_row([
            format!("{} {}x{}", line.layer, line.rows, line.cols),
            line.bits.to_string(),
            microseconds(measured.times.base_ns),
            microseconds(measured.add_ns),
            microseconds(overhead),
            format!("{:.1}", line.link_gb_s),
            format!("{:.1}", measured.stream_gb_s),
            format!("{share:.0}"),
            line.overlap.map_or(String::new(), |overlap| format!("{:.0}", 100.0 * overlap)),
            format!("{:.1}", line.knee),
            format!("{:.1}", line.modelled),
            format!("{:.1}", line.ideal),
            format!("{:.0}", 100.0 * line.knee / line.ideal),
            format!("{:.0}", measured.device_bytes as f64 / 1e3),
        ]);
    }
    rows
}

/// Slowdowns in percent, a row for each structure and number of workgroups.
fn curves(line: &Line) -> comfy_table::Table {
    let times = &line.measured.times;
    let mut header =
        vec![format!("{} {} bits, slower by %", line.layer, line.bits), "groups".into()];
    header.extend(times.k_chunks.iter().map(|k| format!("k {k}")));
    let mut rows = table(&header.iter().map(String::as_str).collect::<Vec<_>>(), 1);
    for curve in &times.curves {
        let mut cells = vec![curve.structure.name().to_owned(), curve.groups.to_string()];
        let slower = |ns: &f64| format!("{:.1}", 100.0 * (ns / times.base_ns - 1.0));
        cells.extend(curve.ns.iter().map(slower));
        rows.add_row(cells);
    }
    let mut cells = vec!["alone, us".to_owned(), String::new()];
    cells.extend(line.measured.alone_ns.iter().map(|ns| microseconds(*ns)));
    rows.add_row(cells);
    rows
}

fn choices(found: &Found) -> comfy_table::Table {
    let header = ["bits", "allowed %", "groups", "k_chunk of each layer", "slower by %"];
    let mut rows = table(&header, 0);
    for spent in &found.choices {
        let layers = spent.choice.layers.iter().map(|layer| {
            format!(
                "{} {} {}",
                layer.name.split(' ').next().unwrap_or(""),
                layer.k_chunk,
                layer.structure.name()
            )
        });
        rows.add_row([
            spent.bits.to_string(),
            format!("{:.1}", 100.0 * spent.slowdown),
            spent.choice.most_groups.to_string(),
            layers.collect::<Vec<_>>().join(", "),
            format!("{:.1}", 100.0 * spent.choice.slowdown()),
        ]);
    }
    rows
}
