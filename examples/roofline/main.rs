//! How fast every kernel is here, as a share of what this machine's memory gives.
//!
//! `cargo run --release --example roofline -- --quick`
//!
//! Exit code 0: all measured. 1: something could not be measured or written. 2: the command line is
//! wrong, names an adapter or rows that are not there, or a file to compare with or to add to cannot
//! be used.
//! 3: this machine has no adapter.

mod attention;
mod batched;
mod bench;
mod chart;
mod checks;
mod compare;
mod forms;
mod options;
mod prefill;
mod published;
mod qdec;
mod report;
mod residual;
mod rows;
mod section;
mod selection;
mod sparse;
mod table;
mod tune;
mod work;

use anyhow::{Context as _, Result};
use bench::Bench;
use clap::Parser;
use fewbytes_wgpu::tune::TuneCache;
use fewbytes_wgpu::{Context, adapters, describe, wgpu};
use options::Cli;
use published::Published;
use report::{Device, Report};
use rows::{Extent, Filter, Row};
use std::process::ExitCode;

fn main() -> ExitCode {
    // A machine without a driver gets one clear sentence below, not the Vulkan loader's as well.
    let filter = "error,wgpu_hal::vulkan::instance=off";
    env_logger::init_from_env(env_logger::Env::default().default_filter_or(filter));
    let cli = Cli::parse();
    // First of all: minutes of measuring should not end with a file that was never there.
    let old = match cli.compare.as_deref().map(Report::read).transpose() {
        Ok(old) => old,
        Err(error) => return fail(2, &format!("{error:#}")),
    };
    if let Some(Err(error)) = cli.save_cache.as_deref().map(TuneCache::load_or_new) {
        return fail(2, &format!("cannot add to the cache: {error}"));
    }
    let chosen = match choose(&cli) {
        Ok(chosen) => chosen,
        Err((code, message)) => return fail(code, &message),
    };
    match run(&cli, &chosen, old.as_ref()) {
        Ok(code) => code,
        Err(error) => fail(1, &format!("{error:#}")),
    }
}

fn fail(code: u8, message: &str) -> ExitCode {
    eprintln!("error: {message}");
    ExitCode::from(code)
}

/// The adapters to measure, or an exit code and words.
fn choose(cli: &Cli) -> std::result::Result<Vec<wgpu::Adapter>, (u8, String)> {
    let found = pollster::block_on(adapters());
    if found.is_empty() {
        let how = "no adapter; `cargo xtask doctor` installs a software one on Debian and Ubuntu, \
                   and says what to do elsewhere";
        return Err((3, how.to_owned()));
    }
    if cli.all {
        return Ok(found);
    }
    let wanted = cli.wanted_adapter().to_lowercase();
    let names: Vec<String> = found.iter().map(|adapter| describe(&adapter.get_info())).collect();
    let at = names.iter().position(|name| name.to_lowercase().contains(&wanted));
    at.and_then(|at| found.into_iter().nth(at))
        .map(|adapter| vec![adapter])
        .ok_or_else(|| (2, format!("no adapter named {wanted:?}; there are: {}", names.join("; "))))
}

fn run(cli: &Cli, chosen: &[wgpu::Adapter], old: Option<&Report>) -> Result<ExitCode> {
    for path in [&cli.json, &cli.svg, &cli.save_cache].into_iter().flatten() {
        report::make_folder(path)?;
    }
    if cli.attention {
        return attention::run(cli, chosen);
    }
    if cli.selection {
        return selection::run(cli, chosen);
    }
    if cli.sparse {
        return sparse::run(cli, chosen);
    }
    if cli.prefill {
        return prefill::run(cli, chosen);
    }
    if cli.qdec {
        return qdec::run(cli, chosen);
    }
    let filter = Filter::new(&cli.filter);
    let published = Published::load()?;
    let mut report = Report::new();
    let mut cache = TuneCache::new();
    let (mut any, mut complete) = (false, true);
    for adapter in chosen {
        let name = describe(&adapter.get_info());
        let ctx = pollster::block_on(Context::open_on(adapter, checks::features(cli.experimental)))
            .with_context(|| format!("cannot open {name}"))?;
        let software = ctx.info().device_type == wgpu::DeviceType::Cpu;
        let extent = Extent {
            quick: cli.quick,
            software,
            forms: cli.forms || !cli.quick,
            past_cache: cli.past_cache.map(|mib| mib << 20),
        };
        let mut rows = rows::all(ctx.caps(), extent, &cli.order.orders(), cli.unchecked)?;
        rows.retain(|row| filter.matches(&row.name()));
        any |= !rows.is_empty();
        println!("{name}");
        if cli.list {
            rows.iter().for_each(|row| println!("  {}", row.name()));
            continue;
        }
        if rows.is_empty() {
            continue;
        }
        if cli.tune {
            rows = tune::merged(rows);
        }
        let beside = (cli.published || published.fits(&ctx.info().name)).then_some(&published);
        let file = cli.save_cache.as_deref();
        let cache = cli.tune.then_some(tune::Found { cache: &mut cache, file });
        let (device, tuned) = measured(&ctx, adapter, extent, rows, cache, beside)?;
        if !tuned.is_empty() {
            println!("{}", tune::text(&tuned));
        }
        complete &= device.failures.is_empty();
        println!("{}\n", table::of_device(&device, &published.legend()));
        println!("{}", batched::text(&device));
        println!("{}", forms::text(&device));
        report.devices.push(device);
    }
    if !any {
        return Ok(fail(2, "no row matches the filter; --list without it shows all of them"));
    }
    if cli.list {
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(path) = &cli.json {
        report.write(path)?;
        println!("figures    {}", path.display());
    }
    if let Some(path) = &cli.svg {
        chart::draw(path, &report)?;
        println!("picture    {}", path.display());
    }
    if let Some(path) = &cli.save_cache {
        println!("tuned      {}", path.display());
    }
    if let (Some(old), Some(path)) = (old, &cli.compare) {
        println!("\nAgainst {} of {}\n{}", path.display(), old.date, compare::text(old, &report));
    }
    Ok(if complete { ExitCode::SUCCESS } else { fail(1, "not everything could be measured") })
}

/// Measures the streams of a device, then the rows; those with the fastest knobs, found first, where
/// there is a cache to put them into.
fn measured(
    ctx: &Context,
    adapter: &wgpu::Adapter,
    extent: Extent,
    mut rows: Vec<Row>,
    found: Option<tune::Found<'_>>,
    published: Option<&Published>,
) -> Result<(Device, Vec<tune::Line>)> {
    let turns = if found.is_some() { 3 } else { 2 };
    let bar = bench::progress(turns * rows.len() as u64 + 2);
    let run = || -> Result<_> {
        let mut bench = Bench::new(ctx, adapter, extent, &rows, &bar, published)?;
        let mut device = bench.streams()?;
        let mut tuned = Vec::new();
        if let Some(found) = found {
            tuned = tune::rows(&bench, &rows, &mut device, found)?;
            rows = tuned.iter().map(tune::Line::row).collect();
        }
        bench.rows(&rows, &mut device)?;
        Ok((device, tuned))
    };
    let outcome = run();
    bar.finish_and_clear();
    outcome
}
