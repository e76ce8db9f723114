//! One real layer at every width: what it costs to read and what it does to the result.
//!
//! `cargo run --release --example demo`

mod chart;
mod measure;
mod source;

use anyhow::{Context as _, Result};
use clap::Parser;
use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};
use fewbytes::linear::{BitplaneLayer, QuantizeOptions, Weights, quantize_with_progress};
use fewbytes_wgpu::{Context, OpenOptions, wgpu};
use indicatif::{ProgressBar, ProgressStyle};
use measure::Width;
use source::Source;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Quantize one layer once, multiply with it at 2 to 8 bits, and show what each width costs.
///
/// Uses a layer of a real model where the data folder has it, a tensor of your own file with
/// --weights, and otherwise a random matrix; the first line says which.
#[derive(Debug, Parser)]
#[command(name = "demo")]
struct Cli {
    /// Take the weights from this safetensors file
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Matrix in that file [default: the largest one that is no embedding]
    #[arg(long, value_name = "NAME", requires = "weights")]
    tensor: Option<String>,
    /// GPU or driver whose name contains this [default: FEWBYTES_ADAPTER, else the best one]
    #[arg(long, value_name = "NAME")]
    adapter: Option<String>,
    /// Where to draw the errors
    #[arg(long, value_name = "PATH", default_value = "target/demo/error_by_bits.svg")]
    svg: PathBuf,
    /// Data folder [default: FEWBYTES_DATA, else ../shared/data beside the workspace]
    #[arg(long, value_name = "DIR", conflicts_with = "weights")]
    data: Option<PathBuf>,
}

/// Exit code where no GPU, not even a software one, can be used.
const NO_ADAPTER: u8 = 3;

fn main() -> ExitCode {
    // A machine without a driver gets one clear sentence below, not the Vulkan loader's as well.
    let filter = "error,wgpu_hal::vulkan::instance=off";
    env_logger::init_from_env(env_logger::Env::default().default_filter_or(filter));
    let cli = Cli::parse();
    let mut options = OpenOptions::from_env();
    if cli.adapter.is_some() {
        options.adapter.clone_from(&cli.adapter);
    }
    // First of all: without a device the rest would be in vain.
    let ctx = match pollster::block_on(Context::open(&options)) {
        Ok(ctx) => ctx,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(NO_ADAPTER);
        }
    };
    match run(&cli, &ctx) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli, ctx: &Context) -> Result<()> {
    let source = match &cli.weights {
        Some(path) => Source::from_file(path, cli.tensor.as_deref())?,
        None => Source::find(cli.data.as_deref())?,
    };
    let weights = Weights::new(&source.name, source.rows, source.cols, &source.values, None)?;
    println!("weights    {}, {} x {}", source.origin, source.rows, source.cols);

    let started = Instant::now();
    let (layer, errors) = quantized(&weights)?;
    println!("quantized  once, for 2 to 8 bits together, in {:.2?}", started.elapsed());
    let widths = measure::all(ctx, &layer, &weights, &errors)?;
    let variants: Vec<&str> = widths.iter().flat_map(|w| w.variants.iter().copied()).collect();
    let mut distinct = variants.clone();
    distinct.dedup();
    println!("ran on     {}", ctx.describe());
    println!("kernel     gemv_bitplane, variant {}", distinct.join(", "));
    println!("\n{}\n", table(&widths, &source).trim_fmt());
    print_notes(ctx, &layer, &widths);

    chart::draw(&cli.svg, &source, &widths)
        .with_context(|| format!("cannot draw {}", cli.svg.display()))?;
    println!("chart      {}", cli.svg.display());
    for width in &widths {
        // Thousands of times what f32 sums lose, so no rounding looks like this. NaN fails too.
        let right = width.kernel_error < 5e-4;
        anyhow::ensure!(
            right,
            "wrong results at {} bits on this adapter; the doctor example says more",
            width.bits
        );
    }
    println!(
        "\nYour own model:   cargo run --release --example quantize -- MODEL.safetensors PACKED"
    );
    println!("Is it all right?  cargo run --release --example doctor");
    Ok(())
}

/// The layer at 2 to 8 bits, and the relative error of its weights at each width.
fn quantized(weights: &Weights<'_>) -> Result<(BitplaneLayer, Vec<(u8, f64)>)> {
    let style = ProgressStyle::with_template("quantizing {bar:30} {pos}/{len} rows, {eta} left");
    let bar = ProgressBar::new(weights.rows() as u64);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let options = QuantizeOptions { seed_bits: 2, ..QuantizeOptions::default() };
    let outcome = quantize_with_progress(weights, &options, &|_| bar.inc(1));
    bar.finish_and_clear();
    let quantized = outcome?;
    let errors = (2..=8).map(|bits| Ok((bits, quantized.error(weights, bits)?.relative)));
    let errors = errors.collect::<fewbytes::Result<_>>()?;
    // A bias would only dilute the output errors.
    Ok((quantized.pack(None)?, errors))
}

fn table(widths: &[Width], source: &Source) -> Table {
    let f16 = 2 * source.rows as u64 * source.cols as u64;
    let mut table = Table::new();
    let line = LineStyle::none().fill('─').junction('─');
    table.load_style(TableStyle::new().header_separator(line)).set_header([
        "bits",
        "bytes read",
        "of f16",
        "weight error",
        "output error",
        "kernel's own",
        "wall time",
    ]);
    for width in widths {
        table.add_row([
            width.bits.to_string(),
            width.read_bytes.to_string(),
            format!("{:.1} %", 100.0 * width.read_bytes as f64 / f16 as f64),
            format!("{:.3} %", 100.0 * width.weight_error),
            format!("{:.3} %", 100.0 * width.output_error),
            format!("{:.1e}", width.kernel_error),
            format!("{:.1} us", width.time.as_secs_f64() * 1e6),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn print_notes(ctx: &Context, layer: &BitplaneLayer, widths: &[Width]) {
    println!("bytes read    size of the planes and tables that a product at this width uses");
    println!("weight error  against the original weights, relative (root of squares)");
    println!("output error  of y = W x against the original weights multiplied in f64");
    println!("kernel's own  of y against f64 with the same quantized weights");
    println!("wall time     incl. submit and wait, median of {}; not a benchmark", measure::TIMED);
    if ctx.info().device_type == wgpu::DeviceType::Cpu {
        println!("              this adapter is a CPU driver: its times say nothing about a GPU");
    }
    // Short rows pay more for their tables than real models do, and the column looks odd then.
    let tables = layer.tables().bytes(8).map_or(0, <[u8]>::len) as f64;
    let share = widths.last().map_or(0.0, |w| tables / w.read_bytes as f64);
    if share > 0.2 {
        println!(
            "\nRows of {} weights are short: at 8 bits {:.0} % of the bytes are tables (11 % at 4096).",
            layer.cols(),
            100.0 * share
        );
    }
}
