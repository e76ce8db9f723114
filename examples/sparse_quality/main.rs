//! What attention to few rows loses and reads, by real queries, keys and values, on the host alone.
//!
//! `docs/a3.md` has the tables and says what they can and cannot tell. Exit code 0: done. 1: a file cannot
//! be read or written.

mod measure;
mod modes;
mod needles;
mod trace;

use anyhow::{Context as _, Result};
use clap::Parser;
use comfy_table::{Table, presets};
use fewbytes::attention::sparse::quality::{Choice, Summary};
use indicatif::{ProgressBar, ProgressStyle};
use measure::Line;
use needles::Needles;
use serde::Serialize;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Attends with queries of two layers of SmolLM2-135M to few of their rows by several modes, and prints for each
/// what it reads of what attention to all rows reads, by how much outputs move, and which rows it finds.
#[derive(Debug, Parser)]
struct Arguments {
    /// Folder of real data, with traces/smollm2_wikitext2_4096_l9_l29.safetensors. Without the file numbers are
    /// seeded.
    #[arg(long, env = "FEWBYTES_DATA", default_value = "../shared/data")]
    data: PathBuf,
    /// One of so many of the last 256 tokens asks.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    every: u16,
    /// Chooses a mode for each KV head besides, for outputs of nine of ten query rows that move by no more than
    /// this: 0.1 is 10 %.
    #[arg(long)]
    tune: Option<f64>,
    /// Prints the spread of errors over query heads besides.
    #[arg(long)]
    heads: bool,
    /// Writes everything as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Writes the tables as Markdown.
    #[arg(long)]
    markdown: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    layers: Vec<(&'static str, Vec<Line>)>,
    needles: Vec<Needles>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let every = usize::from(arguments.every);
    let path = arguments.data.join(trace::FILE);
    let layers = if path.exists() {
        trace::read(&path).context("the trace of real attention")?
    } else {
        eprintln!("{} is missing: seeded numbers instead", path.display());
        vec![trace::seeded()]
    };
    let settings = modes::all();
    let steps = layers.len() * settings.len() * (trace::ASKED / every);
    let bar = ProgressBar::new(steps as u64)
        .with_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} {eta}")?);
    bar.set_message("settings of layers and tokens");
    let measured: Result<Vec<Vec<Line>>> = std::thread::scope(|scope| {
        let layers: Vec<_> = layers
            .iter()
            .map(|layer| scope.spawn(|| measure::measure(layer, &settings, every, &bar)))
            .collect();
        let joined = layers.into_iter().map(|layer| match layer.join() {
            Ok(lines) => lines,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        joined.collect()
    });
    bar.finish_and_clear();
    let names = layers.iter().map(|layer| layer.name);
    let report = Report { layers: names.zip(measured?).collect(), needles: needles::needles()? };

    let mut text = String::new();
    for (layer, (name, lines)) in layers.iter().zip(&report.layers) {
        let (rows, asked) = (layer.rows(), trace::ASKED / every);
        writeln!(text, "{name}, {asked} tokens, {} rows in the index:\n", rows - trace::ASKED)?;
        writeln!(text, "{}\n", table(lines))?;
        if arguments.heads {
            writeln!(
                text,
                "{name}, medians and nine in ten of relative errors by query head, in %:\n"
            )?;
            writeln!(text, "{}\n", heads(lines))?;
        }
        if let Some(target) = arguments.tune {
            writeln!(text, "{name}, by KV head, nine of ten within {:.1} %:\n", 100.0 * target)?;
            let choices = measure::choose(layer, every.max(16), target)?;
            choices
                .iter()
                .enumerate()
                .try_for_each(|(head, choice)| chosen(&mut text, head, choice))?;
            writeln!(text)?;
        }
    }
    writeln!(text, "Needles found of {} among 2048 rows, by dimension:\n", needles::TRIES)?;
    writeln!(text, "{}", needle_table(&report.needles))?;
    println!("{text}");
    if let Some(path) = &arguments.markdown {
        std::fs::write(path, &text).with_context(|| path.display().to_string())?;
    }
    if let Some(path) = &arguments.json {
        let json = serde_json::to_vec_pretty(&report)?;
        std::fs::write(path, json).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

fn markdown(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(header.iter().map(|name| (*name).to_owned()));
    table
}

fn percent(x: f64) -> String {
    format!("{:.1}", 100.0 * x)
}

fn table(lines: &[Line]) -> Table {
    let mut table = markdown(&[
        "mode",
        "lists",
        "read",
        "found",
        "kept",
        "mass",
        "median",
        "9 in 10",
        "best 1",
        "best 5",
        "best 16",
        "fallbacks",
    ]);
    for Line { setting, share, traffic, all, .. } in lines {
        let Summary { candidates, kept, mass, median, p90, recall, .. } = *all;
        let mut row = vec![setting.clone(), (*share).to_owned()];
        let [one, five, sixteen] = recall;
        row.extend(
            [*traffic, candidates, kept, mass, median, p90, one, five, sixteen].map(percent),
        );
        row.push(all.fallbacks.to_string());
        table.add_row(row);
    }
    table
}

fn heads(lines: &[Line]) -> Table {
    let count = lines.first().map_or(0, |line| line.heads.len());
    let names: Vec<String> = (0..count).map(|head| head.to_string()).collect();
    let header: Vec<&str> =
        ["mode", "lists"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let mut table = markdown(&header);
    for Line { setting, share, heads, .. } in lines {
        let mut row = vec![setting.clone(), (*share).to_owned()];
        row.extend(
            heads.iter().map(|head| format!("{} / {}", percent(head.median), percent(head.p90))),
        );
        table.add_row(row);
    }
    table
}

fn chosen(text: &mut String, head: usize, choice: &Choice) -> std::fmt::Result {
    match &choice.mode {
        None => writeln!(text, "- {head}: all rows"),
        Some(mode) => {
            let (error, read) = (percent(choice.error), percent(choice.traffic));
            writeln!(text, "- {head}: {mode:?}, {error} % of error, reads {read} %")
        }
    }
}

fn needle_table(needles: &[Needles]) -> Table {
    let dims = needles::DIMS.map(|dim| dim.to_string());
    let header: Vec<&str> =
        ["search", "deviations"].into_iter().chain(dims.iter().map(String::as_str)).collect();
    let mut table = markdown(&header);
    for Needles { setting, height, found } in needles {
        let mut row = vec![(*setting).to_owned(), height.to_string()];
        row.extend(found.iter().map(u32::to_string));
        table.add_row(row);
    }
    table
}
