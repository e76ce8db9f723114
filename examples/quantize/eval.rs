//! The error at the output of packed layers.

use crate::calibration::{Found, Source};
use crate::device::Device;
use crate::options::EvalLayer;
use crate::origin::{self, Dense};
use crate::run::progress_bar;
use crate::select::layer_of;
use crate::{input, inspect, report};
use anyhow::{Context as _, Result, bail, ensure};
use fewbytes::linear::file::{DenseFile, DenseShape, PackedFile};
use fewbytes::linear::{
    BitplaneLayer, Hessian, QuantizeOptions, Quantized, TableElement, TableLayer, Weights,
    objectives, quantize,
};
use indicatif::ProgressBar;
use std::ops::Range;

/// Rows of a packed layer that are a layer of the dense file.
struct Part<'a> {
    layer: &'a BitplaneLayer,
    /// In words: the dense layer, and of which packed one it is a part.
    shown: String,
    rows: Range<usize>,
    shape: &'a DenseShape,
    found: Found,
    widths: Vec<u8>,
}

/// Prints the error of every layer and width beside that of clusters, each as soon as it is known.
pub(crate) fn eval(options: &EvalLayer) -> Result<()> {
    let bytes = input::map(&options.packed)?;
    let name = options.packed.display().to_string();
    let (_, layers) = inspect::read(&name, &bytes).context("nothing to evaluate")?;
    let packed = PackedFile::parse(&name, &bytes).ok();
    let fused = origin::fused(packed.as_ref().and_then(PackedFile::settings));
    let dense = input::map(&options.weights)?;
    let dense_name = options.weights.display().to_string();
    let dense = DenseFile::parse(&dense_name, &dense)?;
    let matrices = Dense::new(&dense_name, &dense);
    let maps = options.calibration.map()?;
    let source = Source::new(&options.calibration, &maps)?;

    source.check_rules(matrices.tensors().map(layer_of))?;
    let (mut parts, mut failures) = (Vec::new(), Vec::new());
    let mut wanted = Vec::new();
    for (layer_name, layer) in &layers {
        let of = matrices.parts_of(layer_name, &options.fuse, &fused);
        if origin::chosen(&options.layers, layer_name, &of) {
            wanted.push((layer_name, layer, of));
        }
    }
    for (layer_name, layer, of) in &wanted {
        match split(layer_name, layer, of, &matrices, &source, options.bits) {
            Ok(found) => parts.extend(found),
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    let work: usize = parts.iter().map(|part| part.widths.len()).sum();
    if work == 0 && failures.is_empty() {
        bail!("no layer and width to evaluate in {name}; see `inspect`");
    }

    if work > 0 {
        let width = parts.iter().map(|part| part.shown.chars().count()).max().unwrap_or(0).max(5);
        let line = |cells: [&str; 8]| {
            let [layer, shape, bits, average, clusters, packed, ratio, output] = cells;
            println!(
                "{layer:width$}  {shape:13}  {bits:>4}  {average:>7}  {clusters:>10}  {packed:>10}  \
                 {ratio:>7}  {output:>11}"
            );
        };
        println!("{}:\n", report::objective(options.calibration.damped()));
        line(["layer", "shape", "bits", "average", "clusters", "packed", "ratio", "of output"]);
        println!("{}", "─".repeat(width + 76));
        let bar = progress_bar(work as u64, "layers and widths");
        for part in &parts {
            let print = |cells: [String; 6]| {
                let shape = format!("{} x {}", part.shape.rows, part.shape.cols);
                let [a, b, c, d, e, f] = cells.each_ref().map(String::as_str);
                bar.suspend(|| line([&part.shown, &shape, a, b, c, d, e, f]));
                bar.inc(1);
            };
            if let Err(error) = evaluate(part, &dense, &source, &bar, &print) {
                let text = format!("layer {}: {error:#}", part.shown);
                bar.suspend(|| println!("{text}"));
                failures.push(text);
            }
        }
        bar.finish_and_clear();
        println!(
            "\nclusters: of this width, weighted with the Hessian's diagonal; of output: share of \
             the output's own square"
        );
    }
    ensure!(failures.is_empty(), "{}", report::failures(&failures, wanted.len()));
    Ok(())
}

/// Finds weights and Hessian of all parts of a packed layer.
fn split<'a>(
    name: &str,
    layer: &'a BitplaneLayer,
    of: &[String],
    matrices: &'a Dense<'_>,
    source: &Source<'_>,
    bits: Option<u8>,
) -> Result<Vec<Part<'a>>> {
    let (joined, cols) = (of != [name], layer.cols());
    let shapes = matrices.find(name, (layer.rows(), cols), of)?;
    let mut from = 0;
    let part = |(part, shape): (&String, &'a DenseShape)| {
        let shown = if joined { format!("{part} (of {name})") } else { part.clone() };
        let rows = from..from + shape.rows;
        from = rows.end;
        let found = source.find(part, shape.rows, cols)?;
        let widths = layer.tables().widths().filter(|&b| bits.is_none_or(|only| only == b));
        Ok(Part { layer, shown, rows, shape, found, widths: widths.collect() })
    };
    of.iter().zip(shapes).map(part).collect()
}

/// Prints the errors of one part at all its widths.
fn evaluate(
    part: &Part<'_>,
    dense: &DenseFile<'_>,
    source: &Source<'_>,
    bar: &ProgressBar,
    print: &dyn Fn([String; 6]),
) -> Result<()> {
    let Part { layer, shown, rows, shape, found, widths } = part;
    if widths.is_empty() {
        return Ok(());
    }
    let values = dense.values(&shape.name)?;
    let tokens = |done: usize, all: usize| {
        bar.set_message(format!("{shown}: Hessian, {done} of {all} tokens"));
    };
    bar.set_message(format!("{shown}: Hessian"));
    let hessian = source.hessian(found, &Device::Cpu, &tokens)?;
    let weights = Weights::new(shown, shape.rows, shape.cols, &values, None)?;
    for &bits in widths {
        bar.set_message(format!("{shown}: {bits} bits"));
        let packed = take_rows(Quantized::unpack(layer, bits)?, rows);
        let clusters = clusters(&weights, &hessian, bits)?;
        let zeros = zeros(&clusters);
        let sum = |q: &Quantized| Ok(objectives(&weights, &hessian, q)?.iter().sum());
        let [before, after, output]: [Result<f64>; 3] = [&clusters, &packed, &zeros].map(sum);
        let (before, after, output) = (before?, after?, output?);
        let average = TableLayer::of_width(layer, bits)?.average_bits();
        print([
            bits.to_string(),
            format!("{average:.2}"),
            format!("{before:.4e}"),
            format!("{after:.4e}"),
            report::ratio(after, before),
            if output > 0.0 { format!("{:.4} %", 100.0 * after / output) } else { "-".into() },
        ]);
    }
    Ok(())
}

/// Some rows of a layer.
fn take_rows(all: Quantized, rows: &Range<usize>) -> Quantized {
    let some = |(bits, table): &(u8, Vec<f32>)| {
        let each = table.len() / all.rows;
        (*bits, table[rows.start * each..rows.end * each].to_vec())
    };
    let tables = all.tables.iter().map(some).collect();
    let codes = all.codes[rows.start * all.cols..rows.end * all.cols].to_vec();
    Quantized { rows: rows.len(), codes, tables, ..all }
}

/// The clusters that LNQ starts from.
fn clusters(weights: &Weights<'_>, hessian: &Hessian, bits: u8) -> Result<Quantized> {
    let share = weights.rows() / hessian.groups();
    let groups = 0..hessian.groups();
    let diagonal: Vec<f32> = groups.flat_map(|k| hessian.diagonal(k).repeat(share)).collect();
    let (rows, cols, values) = (weights.rows(), weights.cols(), weights.values());
    let weights = Weights::new(weights.name(), rows, cols, values, Some(&diagonal))?;
    let table = TableElement::F32;
    let widths = QuantizeOptions { seed_bits: bits, parent_bits: bits, ..Default::default() };
    Ok(quantize(&weights, &QuantizeOptions { table, ..widths })?)
}

/// A layer that gives nothing: its error is the output itself.
fn zeros(like: &Quantized) -> Quantized {
    let mut zeros = like.clone();
    zeros.tables.iter_mut().for_each(|(_, table)| table.fill(0.0));
    zeros
}
