//! What evicting pairs does to attention outputs, by real queries, keys and values: KVzip's scores beside
//! those of other methods, on the host alone.
//!
//! `docs/kvzip.md` has the tables and says what they can and cannot tell. Exit code 0: done. 1: the trace
//! cannot be read.

mod measure;
mod methods;
mod trace;

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};
use comfy_table::{Table, presets};
use fewbytes::attention::evict::{
    Eviction, PairRule, Rule, Scores, Selection, select, select_budgets,
};
use indicatif::{ProgressBar, ProgressStyle};
use measure::Held;
use methods::{Method, pyramid};
use std::path::PathBuf;
use trace::{Layer, N, PREFIX};

/// Evicts the cache of two layers of SmolLM2-135M by several methods, and measures by how much attention
/// outputs of held-out queries move: the root of the mean square of the difference over that of the output
/// from the full cache, in percent.
#[derive(Debug, Parser)]
struct Arguments {
    /// Folder of real data, with traces/smollm2_wikitext2_4096_l9_l29.safetensors.
    #[arg(long, env = "FEWBYTES_DATA", default_value = "../shared/data")]
    data: PathBuf,
    /// Among which pairs scores are compared. Usual takes each method's own rule.
    #[arg(long, value_enum, default_value_t = Compared::Layer)]
    rule: Compared,
    /// Ratios of kept pairs.
    #[arg(long, value_delimiter = ',', default_values_t = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])]
    ratios: Vec<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Compared {
    /// Within every layer: heads share a budget.
    Layer,
    /// Within every head.
    Head,
    /// Over both layers.
    All,
    /// As each method was published.
    Usual,
}

impl Compared {
    fn rule(self, usual: Rule) -> Rule {
        match self {
            Self::Layer => Rule::PairPerLayer,
            Self::Head => Rule::PairUniform,
            Self::All => Rule::Pair(PairRule::Exact),
            Self::Usual => usual,
        }
    }
}

/// A row of the tables: a method and how it selects.
struct Row {
    name: &'static str,
    scores: Scores,
    rule: Rule,
    budgets: bool,
}

impl Row {
    fn select(&self, ratio: f64) -> fewbytes::Result<Selection> {
        match self.budgets && ratio < 1.0 {
            true => select_budgets(&self.scores, &pyramid(ratio)?, 0, 0),
            false => select(&self.scores, &Eviction { rule: self.rule, ..Eviction::new(ratio) }),
        }
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    arguments.ratios.iter().try_for_each(|ratio| Eviction::new(*ratio).check())?;
    let layers = trace::read(&arguments.data).context("the trace of real attention")?;
    let steps = Method::ALL.len() * layers.len()
        + layers.len()
        + (Method::ALL.len() + 1) * arguments.ratios.len();
    let bar = ProgressBar::new(steps as u64)
        .with_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} {eta}")?);

    let mut rows = Vec::new();
    for method in Method::ALL {
        bar.set_message(method.name());
        let pieces: fewbytes::Result<Vec<Vec<f32>>> =
            layers.iter().map(|layer| method.scores(layer).inspect(|_| bar.inc(1))).collect();
        let scores = Scores::from_layers(trace::HEADS, N, &pieces?)?;
        let rule = arguments.rule.rule(method.usual());
        if method == Method::SnapKv && arguments.rule == Compared::Usual {
            let scores = scores.clone();
            rows.push(Row { name: "PyramidKV", scores, rule: Rule::PairUniform, budgets: true });
        }
        rows.push(Row { name: method.name(), scores, rule, budgets: false });
    }
    bar.set_message("attention of the full cache");
    let held: Vec<Held> = layers
        .iter()
        .map(|layer| Held::new(layer).inspect(|_| bar.inc(1)))
        .collect::<fewbytes::Result<_>>()?;

    let mut tables: Vec<Table> = layers.iter().map(|_| table(&arguments.ratios)).collect();
    for row in &rows {
        bar.set_message(row.name);
        let mut lines = vec![vec![row.name.to_owned()]; layers.len()];
        for &ratio in &arguments.ratios {
            let selection = row.select(ratio)?;
            for (at, (line, held)) in lines.iter_mut().zip(&held).enumerate() {
                line.push(format!("{:.1}", 100.0 * held.moved(&selection, at)));
            }
            bar.inc(1);
        }
        tables.iter_mut().zip(lines).for_each(|(table, line)| {
            table.add_row(line);
        });
    }
    bar.finish_and_clear();
    let rule = arguments.rule.to_possible_value();
    let rule = rule.as_ref().map_or("", |value| value.get_name());
    for (layer, table) in layers.iter().zip(tables) {
        let Layer { name, .. } = layer;
        println!("{name}, --rule {rule}: % by which outputs move, by kept ratio");
        println!(
            "({PREFIX} rows before the context of {N}, and {} after it, always stay)",
            trace::AFTER
        );
        println!("{table}\n");
    }
    Ok(())
}

fn table(ratios: &[f64]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    let ratios = ratios.iter().map(|ratio| ratio.to_string());
    table.set_header(std::iter::once("scores".to_owned()).chain(ratios));
    table
}
