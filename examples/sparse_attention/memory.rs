//! A memory that is asked: keys and values that stay as they are, and queries that see all of them.

use crate::data::{Source, memory};
use crate::{error, mebibytes, median, table};
use anyhow::Result;
use clap::Args;
use fewbytes::attention::reference::{Logits, weights};
use fewbytes::attention::sparse::{Amount, Mode, Selection};
use fewbytes::attention::{CacheShape, DecodeQueries, HeadData, KvElement, RowMap};
use fewbytes_wgpu::Context;
use fewbytes_wgpu::ops::sparse::{
    DeviceIndex, IndexOptions, ListReport, SparseAttention, SparseOptions,
};
use fewbytes_wgpu::ops::{DeviceCache, DeviceRowMap};
use indicatif::{ProgressBar, ProgressStyle};
use std::time::Instant;

/// Queries whose outputs are compared with exact attention on the host.
const SAMPLE: usize = 16;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Keys and values of every head.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(64..))]
    pub(crate) rows: u32,
    /// Numbers of a key: 64, 80, 96, 128 or 256.
    #[arg(long, default_value_t = 64)]
    pub(crate) dim: usize,
    /// Heads, each with keys and values of its own; a query asks all of them.
    #[arg(long, default_value_t = 2)]
    pub(crate) heads: usize,
    /// Queries.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) queries: u32,
    /// Queries of a batch.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub(crate) batch: u32,
}

impl Arguments {
    fn shape(&self) -> fewbytes::Result<CacheShape> {
        CacheShape::new(self.heads, self.dim, KvElement::F16)
    }

    pub(crate) fn check(&self) -> fewbytes::Result<()> {
        self.shape()?.checked_rows(u64::from(self.rows) * self.heads as u64)?;
        modes(self).iter().try_for_each(|setting| setting.mode.selection.check(self.dim as u32))
    }
}

/// A mode, and the index that it searches.
struct Setting {
    name: &'static str,
    mode: Mode,
    index: Option<IndexOptions>,
}

fn modes(arguments: &Arguments) -> [Setting; 5] {
    let k = Amount::Fraction(1.0 / 64.0);
    let r = arguments.dim as u32 / 4;
    let of = |name, mode, index| Setting { name, mode, index };
    let sorted = Some(IndexOptions::sorted());
    let components = Mode::new(Selection::ComponentTopR { r, k });
    [
        of("greedy, aggressive", Mode::aggressive(), sorted),
        of("greedy, conservative", Mode::conservative(), sorted),
        of("components, a quarter", components, Some(IndexOptions::columns())),
        of("top-k", Mode::new(Selection::TopK { k }), None),
        // Exact attention, by the same means.
        of("all rows", Mode::new(Selection::Threshold { keep: 0.0 }), None),
    ]
}

/// What a mode came to.
pub(crate) struct Line {
    pub(crate) name: &'static str,
    /// Of the needles of all queries and heads.
    pub(crate) found: usize,
    pub(crate) asked: usize,
    /// The median over the sample and all heads.
    pub(crate) error: f64,
    /// Rows of a list, on average.
    pub(crate) listed: f64,
    /// Lists that took all rows, because nothing could be searched.
    pub(crate) fallbacks: usize,
    pub(crate) index_bytes: u64,
    pub(crate) step_bytes: u64,
    /// Milliseconds, of a batch, the median: with submission, waiting and reading outputs back.
    pub(crate) batch_ms: f64,
    /// Milliseconds to make the index.
    pub(crate) index_ms: f64,
}

/// What is asked, and what comes of it when all rows are attended to.
struct Problem {
    /// `[queries, heads, dim]`.
    q: Vec<f32>,
    /// Values of needles, of the same shape.
    needles: Vec<f32>,
    /// `[sampled queries, heads, dim]`: of the first queries.
    exact: Vec<f64>,
}

impl Problem {
    fn new(source: &mut Source, arguments: &Arguments, data: &[HeadData]) -> Self {
        let (rows, dim) = (arguments.rows as usize, arguments.dim);
        let logits = Logits::scaled((dim as f64).sqrt().recip());
        let mut problem = Self { q: vec![], needles: vec![], exact: vec![] };
        for query in 0..arguments.queries as usize {
            for head in data {
                let needle = source.below(rows);
                let row = needle * dim..(needle + 1) * dim;
                let q = source.ask(&head.keys[row.clone()], rows);
                if query < SAMPLE {
                    problem.exact.extend(attend(&q, head, &logits));
                }
                problem.needles.extend(&head.values[row]);
                problem.q.extend(q);
            }
        }
        problem
    }
}

/// Attention to all rows, by the definition.
fn attend(q: &[f32], head: &HeadData, logits: &Logits) -> Vec<f64> {
    let mut o = vec![0.0; q.len()];
    let weights = weights(q, &head.keys, logits);
    for (weight, value) in weights.iter().zip(head.values.chunks_exact(q.len())) {
        o.iter_mut().zip(value).for_each(|(o, v)| *o += weight * f64::from(*v));
    }
    o
}

pub(crate) fn run(ctx: &Context, arguments: &Arguments) -> Result<Vec<Line>> {
    let mut source = Source::new(1);
    let settings = modes(arguments);
    let steps = 2 + settings.len() as u64;
    let bar = ProgressBar::new(steps)
        .with_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}")?);
    bar.set_message("keys and values");
    let cache = memory(&mut source, arguments.shape()?, arguments.rows as usize)?;
    bar.inc(1);
    bar.set_message("exact attention on the host");
    let heads = 0..arguments.heads;
    let data = heads.map(|head| cache.head(head)).collect::<fewbytes::Result<Vec<_>>>()?;
    let problem = Problem::new(&mut source, arguments, &data);
    bar.inc(1);
    let cache = DeviceCache::upload(ctx, &cache)?;
    let mut lines = Vec::new();
    for setting in &settings {
        bar.set_message(setting.name);
        lines.push(line(ctx, arguments, &cache, &problem, setting)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(lines)
}

fn line(
    ctx: &Context,
    arguments: &Arguments,
    cache: &DeviceCache,
    problem: &Problem,
    setting: &Setting,
) -> Result<Line> {
    let layout = cache.layout();
    let tokens = arguments.batch.min(arguments.queries) as usize;

    // Once for a memory: where rows lie, an index of them, and a plan with the memory that it works in.
    let map = DeviceRowMap::upload(ctx, RowMap::new(layout, &[])?)?;
    let index = setting.index.map(|options| DeviceIndex::new(ctx, cache, &map, &options));
    let mut index = index.transpose()?;
    // Every query is a token of its own.
    let queries = DecodeQueries { q_len: tokens, ..DecodeQueries::new(layout.shape(), 1) };
    // They see all rows, of which none matters more than others because it is the first.
    let options = SparseOptions { causal: false, sinks: 0, ..SparseOptions::new(setting.mode) };
    let attention = SparseAttention::new(ctx, cache, &map, index.as_ref(), queries, &options)?;
    let len = queries.q_len_of(layout.shape());
    let (q, o) = (ctx.alloc::<f32>(len)?, ctx.alloc::<f32>(len)?);
    let bound = attention.bind(&q, cache, &map, index.as_ref(), &o, None)?;

    // Once for all rows: they stay as they are.
    let started = Instant::now();
    if let Some(index) = &mut index {
        index.set_budget(ctx, attention.budget())?;
        let update = index.update(ctx, layout, 1)?;
        ctx.submit(|pass| index.record(pass, update, &map, layout))?;
        // Waits.
        ctx.block_on(ctx.read::<u32>(index.flags()))?;
    }
    let index_ms = 1e3 * started.elapsed().as_secs_f64();

    let (mut outputs, mut reports) = (Vec::new(), Vec::new());
    let mut times = Vec::new();
    let first = problem.q.chunks(len).take(1);
    for (at, batch) in first.chain(problem.q.chunks(len)).enumerate() {
        let started = Instant::now();
        let mut asked = batch.to_vec();
        // The last batch may be short: what is left over in it is asked twice.
        asked.extend(problem.q.iter().take(len - batch.len()));
        ctx.write(&q, &asked)?;
        ctx.submit(|pass| bound.record(pass, &map, index.as_ref(), layout))?;
        let mut found = ctx.block_on(ctx.read::<f32>(&o))?;
        if at == 0 {
            // Drivers finish compiling with what is run first: its time and outputs do not count.
            continue;
        }
        times.push(1e3 * started.elapsed().as_secs_f64());
        found.truncate(batch.len());
        outputs.extend(found);
        // An engine has no need to know.
        let report = ctx.block_on(attention.report(ctx))?;
        reports.extend(report.into_iter().take(batch.len() / arguments.dim));
    }

    let dim = arguments.dim;
    let rows = outputs.chunks_exact(dim);
    let same = |(o, needle): &(&[f32], &[f32])| o.iter().zip(*needle).all(|(o, v)| o * v > 0.0);
    let found = rows.clone().zip(problem.needles.chunks_exact(dim)).filter(same).count();
    let errors = rows.zip(problem.exact.chunks_exact(dim)).map(|(o, exact)| error(o, exact));
    let listed: u64 = reports.iter().map(|list: &ListReport| u64::from(list.listed)).sum();
    Ok(Line {
        name: setting.name,
        found,
        asked: problem.needles.len() / dim,
        error: median(errors.collect()),
        listed: listed as f64 / reports.len().max(1) as f64,
        fallbacks: reports.iter().filter(|list| list.fallback).count(),
        index_bytes: index.as_ref().map_or(0, DeviceIndex::memory_bytes),
        step_bytes: attention.memory_bytes(),
        batch_ms: median(times),
        index_ms,
    })
}

pub(crate) fn text(arguments: &Arguments, lines: &[Line]) -> String {
    let header = [
        "mode",
        "found",
        "of",
        "error %",
        "rows listed",
        "fallbacks",
        "index MiB",
        "made in ms",
        "step MiB",
        "ms a batch",
    ];
    let mut rows = table(&header);
    for line in lines {
        rows.add_row([
            line.name.to_owned(),
            line.found.to_string(),
            line.asked.to_string(),
            format!("{:.3}", 100.0 * line.error),
            format!("{:.0}", line.listed),
            line.fallbacks.to_string(),
            mebibytes(line.index_bytes),
            format!("{:.1}", line.index_ms),
            mebibytes(line.step_bytes),
            format!("{:.2}", line.batch_ms),
        ]);
    }
    let Arguments { rows: of, dim, heads, queries, batch } = arguments;
    format!(
        "{heads} heads of {of} rows of {dim}; {queries} queries, {batch} a batch\n\n{rows}\n\n\
         found: needles whose value an output spells by its signs; error: of the output's length, the median \
         of {SAMPLE} queries at most, against attention to all rows in f64; fallbacks: lists of all rows, \
         because nothing could be searched; ms: wall time as the host sees it, with submission and reading \
         back, on the adapter above, after a batch that does not count"
    )
}
