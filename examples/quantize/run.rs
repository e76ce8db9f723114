//! From a dense file to a packed one.

use crate::device::Device;
use crate::fuse::{self, Group};
use crate::options::{Format, How, Quantize};
use crate::parts::Parts;
use crate::select::{Chosen, Selection};
use crate::{input, lnq, origin, output, report};
use anyhow::{Context as _, Result, ensure};
use fewbytes::linear::file::{DenseFile, save_packed_with, save_reference};
use fewbytes::linear::{
    BitplaneLayer, QuantizeOptions, TableElement, WeightError, Weights, quantize_with_progress,
};
use fewbytes_wgpu::OpenOptions;
use indicatif::{ProgressBar, ProgressStyle};
use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What is known of a layer once it is done.
struct Done {
    /// Bytes of planes, tables and bias.
    packed: u64,
    /// Bytes of the tables.
    tables: u64,
    /// One for every shipped width.
    errors: Vec<WeightError>,
    unweighted_rows: usize,
    time: Duration,
}

/// Quantizes as the command line says. Everything that can be seen beforehand is checked first,
/// and the output appears only when all of it is there.
pub(crate) fn run(options: &Quantize, adapter: &OpenOptions) -> Result<()> {
    options.check_method()?;
    let widths = options.shipped()?;
    let others = options.lnq.calibration.paths()?;
    let inputs = options.sensitivities.iter().chain([&options.input]).chain(&others);
    output::check(&options.output, inputs.map(PathBuf::as_path), options.force)?;
    let bytes = input::map(&options.input)?;
    let name = options.input.display().to_string();
    let file = DenseFile::parse(&name, &bytes)?;
    let selection = Selection::new(&file, options)?;
    if selection.chosen.is_empty() {
        selection.print_skipped();
        anyhow::bail!("nothing to quantize in {name}");
    }
    check_format(options, &selection)?;
    let groups = fuse::groups(&options.fuse, &selection)?;
    check_tables(options, &selection, &groups)?;
    let mapped = options.sensitivities.as_deref().map(input::map).transpose()?;
    let sensitivities = match (&options.sensitivities, &mapped) {
        (Some(path), Some(bytes)) => {
            let name = path.display().to_string();
            let file = DenseFile::parse(&name, bytes)?;
            selection.check_sensitivities(&file).with_context(|| format!("in {name}"))?;
            Some(file)
        }
        _ => None,
    };
    selection.print_skipped();

    let device = Device::open(options, adapter)?;
    let started = Instant::now();
    let mut settings = settings(options, &device)?;
    let parts = Parts::new(&options.output, &settings.to_string());
    let sensitive = sensitivities.as_ref();
    let (layers, accounts): (Vec<_>, _) = if options.method == How::Lnq {
        let done = lnq::layers(options, &selection, &file, sensitive, &parts, &device);
        let done = done.context("the output was not written")?;
        settings["made_of"] = done.made_of.into();
        (done.layers, Accounts::Lnq(done.accounts))
    } else {
        let done = all(options, &selection, &file, sensitive, &widths);
        let (layers, done) = done.context("nothing was written")?.into_iter().unzip();
        (layers, Accounts::Widths(done))
    };
    let time = started.elapsed();

    let (layers, joined) = join(layers, &groups, &selection).context("nothing was written")?;
    let layers: Vec<(&str, &BitplaneLayer)> = layers.iter().map(|(n, l)| (*n, l)).collect();
    if !groups.is_empty() {
        let name = |&at: &usize| selection.chosen[at].layer.as_str();
        let parts =
            |g: &Group| (g.name.clone(), g.parts.iter().map(name).collect::<serde_json::Value>());
        settings[origin::FUSED] = groups.iter().map(parts).collect();
    }
    let settings = settings.to_string();
    let written = match options.format {
        Format::Packed => save_packed_with(&options.output, Some(&settings), &layers),
        Format::Reference => save_reference(&options.output, &layers),
    };
    written.context("nothing was written")?;
    match accounts {
        Accounts::Lnq(accounts) => {
            parts.remove(selection.chosen.iter().map(|chosen| chosen.layer.as_str()));
            lnq::print_table(&accounts, options.lnq.calibration.damped());
        }
        Accounts::Widths(done) => print_table(&selection, &done, &widths, sensitive.is_some()),
    }
    if !joined.is_empty() {
        println!("\njoined, with the rows of every part:");
        joined.iter().for_each(|line| println!("  {line}"));
    }
    let output = options.output.display();
    let size = std::fs::metadata(&options.output).map_or(0, |m| m.len());
    println!("\nwrote {output} ({}) in {time:.1?}", report::size(size));
    println!("see it with: cargo run --release --example quantize -- inspect {output}");
    Ok(())
}

/// What is printed of a run.
enum Accounts {
    Widths(Vec<Done>),
    Lnq(Vec<lnq::Account>),
}

/// What the run is made with, for the header of the output.
fn settings(options: &Quantize, device: &Device) -> Result<serde_json::Value> {
    if options.method == How::Lnq {
        return lnq::settings(options, device);
    }
    let mut settings = serde_json::to_value(options.settings())?;
    settings["sensitivities"] = options.sensitivities.is_some().into();
    Ok(settings)
}

/// Every layer at all widths.
fn all(
    options: &Quantize,
    selection: &Selection,
    file: &DenseFile<'_>,
    sensitivities: Option<&DenseFile<'_>>,
    widths: &[u8],
) -> Result<Vec<(BitplaneLayer, Done)>> {
    let bar = progress_bar(selection.rows() as u64, "rows");
    let (mut done, mut failures) = (Vec::new(), Vec::new());
    for chosen in &selection.chosen {
        bar.set_message(chosen.layer.clone());
        let settings = QuantizeOptions { table: options.table_of(chosen), ..options.settings() };
        match one(chosen, file, sensitivities, &settings, widths, &bar) {
            Ok(layer) => done.push(layer),
            // All that fail are named at once.
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    bar.finish_and_clear();
    ensure!(failures.is_empty(), "{}", report::failures(&failures, selection.chosen.len()));
    Ok(done)
}

/// A layer under the name that it is written by.
type Named<'a> = (&'a str, BitplaneLayer);

/// The layers to write, by name, and what was joined in words. A part is dropped as soon as it is
/// copied: a model need not be there twice.
fn join<'a>(
    layers: Vec<BitplaneLayer>,
    groups: &'a [Group],
    selection: &'a Selection,
) -> Result<(Vec<Named<'a>>, Vec<String>)> {
    let name = |at: usize| selection.chosen[at].layer.as_str();
    let mut layers: Vec<Option<BitplaneLayer>> = layers.into_iter().map(Some).collect();
    let (mut out, mut words) = (Vec::new(), Vec::new());
    for Group { name: joined, parts } in groups {
        let taken: Vec<BitplaneLayer> = parts.iter().filter_map(|&at| layers[at].take()).collect();
        let fused = BitplaneLayer::concat_rows(&taken.iter().collect::<Vec<_>>())
            .map_err(|e| e.in_layer(joined))?;
        let part = |(rows, &at): (&Range<usize>, &usize)| format!("{} {rows:?}", name(at));
        let list: Vec<String> = fused.parts.iter().zip(parts).map(part).collect();
        words.push(format!("{joined}: {}", list.join(", ")));
        out.push((joined.as_str(), fused.layer));
    }
    let kept = layers.into_iter().enumerate();
    out.extend(kept.filter_map(|(at, layer)| Some((name(at), layer?))));
    Ok((out, words))
}

/// The published layout cannot hold everything; found out before the work, not after it.
fn check_format(options: &Quantize, selection: &Selection) -> Result<()> {
    if options.format == Format::Packed {
        return Ok(());
    }
    ensure!(
        options.table == crate::options::Table::F16 && options.f32_tables.is_empty(),
        "--format reference has f16 tables; leave out --table f32 and --f32-tables"
    );
    let odd = selection.chosen.iter().find(|c| c.shape.cols % 32 != 0);
    if let Some(Chosen { shape, .. }) = odd {
        anyhow::bail!(
            "--format reference needs columns in multiples of 32, and {} is {} x {}; --exclude it \
             or use --format packed",
            shape.name,
            shape.rows,
            shape.cols
        );
    }
    Ok(())
}

/// Every layer of --f32-tables is there, and what is joined has tables of one type.
fn check_tables(options: &Quantize, selection: &Selection, groups: &[Group]) -> Result<()> {
    for pattern in &options.f32_tables {
        let any = selection.chosen.iter().any(|chosen| chosen.is_called(pattern));
        ensure!(any, "--f32-tables {pattern}: no layer is called that");
    }
    for Group { name, parts } in groups {
        let f32s = |&&at: &&usize| options.table_of(&selection.chosen[at]) == TableElement::F32;
        let count = parts.iter().filter(f32s).count();
        ensure!(
            count == 0 || count == parts.len(),
            "--fuse {name}: some of its parts have f32 tables, some f16; --f32-tables has to name \
             all or none"
        );
    }
    Ok(())
}

/// Over all layers; indicatif shows nothing where stderr is not a terminal.
pub(crate) fn progress_bar(steps: u64, what: &str) -> ProgressBar {
    let template = format!("{{bar:30}} {{pos}}/{{len}} {what}, {{eta}} left  {{wide_msg}}");
    let style = ProgressStyle::with_template(&template);
    let bar = ProgressBar::new(steps);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn one(
    chosen: &Chosen,
    file: &DenseFile<'_>,
    sensitivities: Option<&DenseFile<'_>>,
    settings: &QuantizeOptions,
    widths: &[u8],
    bar: &ProgressBar,
) -> Result<(BitplaneLayer, Done)> {
    let started = Instant::now();
    let (tensor, rows, cols) = (&chosen.shape.name, chosen.shape.rows, chosen.shape.cols);
    let values = file.values(tensor)?;
    let sensitivities = sensitivities.map(|file| file.values(tensor)).transpose()?;
    let weights = Weights::new(&chosen.layer, rows, cols, &values, sensitivities.as_deref())?;
    let mut quantized = quantize_with_progress(&weights, settings, &|_| bar.inc(1))?;
    quantized.tables.retain(|(bits, _)| widths.contains(bits));
    let errors = widths.iter().map(|&bits| quantized.error(&weights, bits));
    let errors = errors.collect::<Result<_, _>>()?;
    let bias = chosen.bias.as_ref().map(|name| file.values(name)).transpose()?;
    let layer = quantized.pack(bias).map_err(|e| e.in_layer(&chosen.layer))?;
    let unweighted_rows = quantized.report.unweighted_rows;
    let (packed, tables) = (packed_bytes(&layer), table_bytes(&layer));
    Ok((layer, Done { packed, tables, errors, unweighted_rows, time: started.elapsed() }))
}

fn print_table(selection: &Selection, done: &[Done], widths: &[u8], weighted: bool) {
    let kind = if weighted { "sensitivity-weighted" } else { "relative" };
    println!("{kind} error of the weights, in percent, at every width:\n");
    let mut header: Vec<String> = ["layer", "shape"].map(String::from).to_vec();
    header.extend(widths.iter().map(|b| format!("{b} bits")));
    header.extend(["bias", "f16", "packed", "time"].map(String::from));
    let mut table = report::table(header, 2);
    let (mut dense_all, mut packed_all) = (0, 0);
    for (chosen, done) in selection.chosen.iter().zip(done) {
        let (dense, packed) = (dense_bytes(chosen), done.packed);
        (dense_all, packed_all) = (dense_all + dense, packed_all + packed);
        let shape = format!("{} x {}", chosen.shape.rows, chosen.shape.cols);
        let mut row = vec![chosen.layer.clone(), shape];
        row.extend(done.errors.iter().map(|e| format!("{:.3}", 100.0 * e.relative)));
        row.push(if chosen.bias.is_some() { "yes" } else { "no" }.to_owned());
        row.extend([report::size(dense), report::size(packed)]);
        row.push(format!("{:.2} s", done.time.as_secs_f64()));
        table.add_row(row);
    }
    println!("{}", table.trim_fmt());
    println!(
        "\n{}: {} as f16, {} packed ({}) for all widths together; {} of it tables",
        report::count(done.len(), "layer"),
        report::size(dense_all),
        report::size(packed_all),
        report::percent(packed_all, dense_all),
        report::size(done.iter().map(|d| d.tables).sum()),
    );
    let rows: usize = if weighted { done.iter().map(|d| d.unweighted_rows).sum() } else { 0 };
    if rows > 0 {
        let rows = report::count(rows, "row");
        println!("no sensitivity above 0 in {rows}: quantized as if all were 1");
    }
}

fn dense_bytes(chosen: &Chosen) -> u64 {
    let bias = if chosen.bias.is_some() { chosen.shape.rows } else { 0 };
    2 * (chosen.shape.rows * chosen.shape.cols + bias) as u64
}

fn packed_bytes(layer: &BitplaneLayer) -> u64 {
    let words = layer.planes().len() + layer.bias().map_or(0, <[f32]>::len);
    4 * words as u64 + table_bytes(layer)
}

fn table_bytes(layer: &BitplaneLayer) -> u64 {
    let tables = layer.tables();
    tables.widths().filter_map(|b| tables.bytes(b)).map(|bytes| bytes.len() as u64).sum()
}
