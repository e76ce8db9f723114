//! Attention to few rows on a device: a memory that is asked for what it has learnt, and decoding behind a cache
//! that grows. Both are written as an engine would: what is planned and bound once, and what a step costs.
//!
//! ```text
//! cargo run --release --example sparse_attention -- memory
//! cargo run --release --example sparse_attention -- decode --mode components
//! ```
//!
//! Keys, values and queries are made up; what attention to few rows of real ones loses `sparse_quality` tells.
//! Exit code 0: done. 1: a device cannot do it. 2: arguments that cannot be. 3: no adapter.

mod data;
mod decode;
mod memory;
#[cfg(test)]
mod tests;

use anyhow::Result;
use clap::{Parser, Subcommand};
use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};
use fewbytes::Error;
use fewbytes_wgpu::{Context, OpenOptions};
use std::process::ExitCode;

/// Attends to few of many rows, and to all of them beside it.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Asks a memory of keys and values, by several modes, for needles in it.
    Memory(memory::Arguments),
    /// Decodes behind a cache that grows, with attention to few rows and to all of them.
    Decode(decode::Arguments),
}

impl Command {
    /// Whether it can be, before a device is opened.
    fn check(&self) -> fewbytes::Result<()> {
        match self {
            Self::Memory(arguments) => arguments.check(),
            Self::Decode(arguments) => arguments.check(),
        }
    }

    fn run(&self, ctx: &Context) -> Result<()> {
        match self {
            Self::Memory(arguments) => {
                let lines = memory::run(ctx, arguments)?;
                println!("{}", memory::text(arguments, &lines));
            }
            Self::Decode(arguments) => {
                let found = decode::run(ctx, arguments)?;
                println!("{}", decode::text(arguments, &found));
            }
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    // A machine without a driver gets one clear sentence below, not the Vulkan loader's as well.
    let filter = "error,wgpu_hal::vulkan::instance=off";
    env_logger::init_from_env(env_logger::Env::default().default_filter_or(filter));
    let Cli { command } = Cli::parse();
    if let Err(error) = command.check() {
        return fail(2, &error.to_string());
    }
    let ctx = match pollster::block_on(Context::open(&OpenOptions::from_env())) {
        Ok(ctx) => ctx,
        Err(error @ Error::Unsupported { .. }) => return fail(3, &error.to_string()),
        Err(error) => return fail(1, &error.to_string()),
    };
    println!("adapter: {}", ctx.describe());
    match command.run(&ctx) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &format!("{error:#}")),
    }
}

fn fail(code: u8, message: &str) -> ExitCode {
    eprintln!("error: {message}");
    ExitCode::from(code)
}

/// A table whose columns but the first are numbers.
fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    let line = LineStyle::none().fill('─').junction('─');
    table.load_style(TableStyle::new().header_separator(line));
    table.set_header(header.iter().copied());
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// The middle of some numbers, of an even count the upper; 0 of none.
fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(0.0)
}

/// How far an output is from what it should be, by length: `|found - expected| / |expected|`.
fn error(found: &[f32], expected: &[f64]) -> f64 {
    let off = found.iter().zip(expected).map(|(f, e)| (f64::from(*f) - e).powi(2)).sum::<f64>();
    let length = expected.iter().map(|e| e * e).sum::<f64>();
    (off / length.max(f64::MIN_POSITIVE)).sqrt()
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}
