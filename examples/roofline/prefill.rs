//! How fast many new tokens attend to a cache, and how fast the chunk of a scoring pass is scored.

use crate::options::Cli;
use crate::section;
use crate::table::{microseconds, table};
use anyhow::Result;
use fewbytes::attention::{
    CacheShape, DecodeQueries, Denominator, KeySpans, KvElement, Layout, MaxAttention, Prefill,
    ROW_MAP, RowMap, ScoreLse, ScoreMax, ScorePlace,
};
use fewbytes::linear::Activation;
use fewbytes::{Knobs, Launch, Spec};
use fewbytes_wgpu::measure::{self, Budget, Operands, Options, Order, Probe};
use fewbytes_wgpu::{Context, wgpu};
use serde::Serialize;
use std::process::ExitCode;
use std::time::Duration;

/// KV heads, query heads of each, head dimension: Llama-3.1-8B.
const SHAPE: (usize, usize, usize) = (8, 4, 128);
const CONTEXTS: [u32; 2] = [32 << 10, 124 << 10];
const TOKENS: [u32; 2] = [2000, 4096];
/// Rows of a chunk to score, tokens of its pass, rows of a system prefix.
const CHUNK: u32 = 2000;
const PASS: u32 = 2020;
const SINK: u32 = 30;

/// One time.
#[derive(Serialize)]
struct Line {
    kernel: &'static str,
    variant: &'static str,
    element: &'static str,
    /// Rows of every head before the new ones.
    context: u32,
    tokens: u32,
    flops: u64,
    ns: f64,
    settled: bool,
}

#[derive(Serialize)]
struct Found {
    device: String,
    lines: Vec<Line>,
}

pub(crate) fn run(cli: &Cli, chosen: &[wgpu::Adapter]) -> Result<ExitCode> {
    let found = |ctx: &Context, cli: &Cli, device| Ok(Found { device, lines: measured(ctx, cli)? });
    section::run(cli, chosen, cli.experimental, found, text)?;
    Ok(ExitCode::SUCCESS)
}

fn measured(ctx: &Context, cli: &Cli) -> Result<Vec<Line>> {
    let software = ctx.info().device_type == wgpu::DeviceType::Cpu;
    let mut probe = Probe::new(ctx, Probe::WAKE_UP)?;
    probe.wake(ctx)?;
    let contexts: &[u32] = if software { &[512] } else { &CONTEXTS };
    let tokens: &[u32] = if software { &[70] } else { &TOKENS };
    let options = Options {
        min_pass: Duration::from_millis(20),
        samples: if cli.quick || software { 3 } else { 7 },
        warm_up: Duration::from_millis(50),
        apart: Duration::ZERO,
        settle_limit: Duration::from_millis(500),
        ..Options::quick(Order::Chain)
    };
    let mut variants = vec![Knobs::baseline()];
    if ctx.caps().has_matrices() {
        variants.push(Knobs { matrix: Some(true), ..Knobs::DEFAULT });
    }
    let mut lines = Vec::new();
    for element in [KvElement::F16, KvElement::Int8] {
        if !cli.filter.iter().all(|part| element.name().contains(part.as_str())) {
            continue;
        }
        for knobs in &variants {
            let point = Point { ctx, element, options: &options, knobs };
            for &context in contexts {
                for &tokens in tokens {
                    lines.push(point.prefill(context, tokens)?);
                }
            }
            // What is looked at does not depend on the context.
            let (chunk, pass) = if software { (100, 110) } else { (CHUNK, PASS) };
            lines.extend(point.scores(contexts[0].max(chunk + SINK), chunk, pass)?);
        }
    }
    anyhow::ensure!(!lines.is_empty(), "no element matches the filter");
    Ok(lines)
}

/// What is measured at several sizes.
struct Point<'a> {
    ctx: &'a Context,
    element: KvElement,
    options: &'a Options,
    knobs: &'a Knobs,
}

impl Point<'_> {
    fn layout(&self, context: u32, tokens: u32) -> Result<Layout> {
        let (heads, _, dim) = SHAPE;
        let shape = CacheShape::new(heads, dim, self.element)?;
        let mut layout = Layout::ragged(shape, &vec![context; heads], tokens, context)?;
        layout.append(tokens)?;
        Ok(layout)
    }

    fn queries(&self, shape: &CacheShape, tokens: u32) -> DecodeQueries {
        let f16 = Activation::F16;
        let q_len = tokens as usize;
        DecodeQueries { q_len, input: f16, output: f16, ..DecodeQueries::new(shape, SHAPE.1) }
    }

    fn prefill(&self, context: u32, tokens: u32) -> Result<Line> {
        let layout = self.layout(context, tokens)?;
        let map = RowMap::new(&layout, &[])?;
        let spec = Prefill::new(self.queries(layout.shape(), tokens), &layout, &map)?;
        self.line(&spec, &map, context, tokens)
    }

    /// Both passes apart, and as one.
    fn scores(&self, context: u32, chunk: u32, tokens: u32) -> Result<Vec<Line>> {
        let layout = self.layout(context, tokens)?;
        let map = RowMap::new(&layout, &[])?;
        let queries = self.queries(layout.shape(), tokens);
        let spans = KeySpans { sink: SINK, first: SINK, rows: chunk };
        let sums = ScoreLse::new(queries, &layout, &map, spans)?;
        let of = |denominator| {
            let place = ScorePlace::of_layer(SHAPE.0, chunk as usize);
            ScoreMax::new(queries, &layout, &map, (spans, denominator), place)
        };
        Ok(vec![
            self.line(&sums, &map, context, tokens)?,
            self.line(&of(Denominator::Full)?, &map, context, tokens)?,
            Line {
                kernel: "both passes",
                ..self.line(&MaxAttention(of(Denominator::Subset)?), &map, context, tokens)?
            },
        ])
    }

    /// Times a spec whose map is given and whose other tensors are noise.
    fn line(&self, spec: &impl Spec, map: &RowMap, context: u32, tokens: u32) -> Result<Line> {
        let ctx = self.ctx;
        let launches = spec.launches(ctx.caps(), self.knobs)?;
        let variant = launches.first().map_or("", Launch::variant);
        let budget = Budget::for_device(ctx.info());
        let operands = Operands::new(ctx, &launches, Order::Chain, &budget)?;
        let plan = ctx.plan_launches(launches)?;
        let words = ctx.upload(map.words())?;
        let rotation = operands.rotation_with(ctx, &plan, &[(ROW_MAP, words)])?;
        let timing = measure::time(ctx, &rotation, self.options)?;
        Ok(Line {
            kernel: spec.kernel(),
            variant,
            element: self.element.name(),
            context,
            tokens,
            flops: plan.traffic().flops,
            ns: timing.dispatch_ns.median,
            settled: timing.settled,
        })
    }
}

fn text(found: &Found) -> String {
    let header =
        ["kernel", "variant", "element", "context", "tokens", "us", "TFLOP/s", "of prefill", ""];
    let mut rows = table(&header, 3);
    for line in &found.lines {
        // By the time in which as many tokens attend to the contexts, shorter and longer.
        let shares: Vec<String> = found
            .lines
            .iter()
            .filter(|other| {
                (other.kernel, other.variant, other.element)
                    == ("prefill", line.variant, line.element)
                    && other.tokens.abs_diff(line.tokens) < 100
                    && line.kernel != "prefill"
            })
            .map(|other| format!("{:.1}% at {}", 100.0 * line.ns / other.ns, other.context))
            .collect();
        rows.add_row([
            line.kernel.to_owned(),
            line.variant.to_owned(),
            line.element.to_owned(),
            line.context.to_string(),
            line.tokens.to_string(),
            microseconds(line.ns),
            format!("{:.2}", line.flops as f64 / line.ns / 1e3),
            shares.join(", "),
            if line.settled { String::new() } else { "not settled".to_owned() },
        ]);
    }
    let (heads, group, dim) = SHAPE;
    format!(
        "{rows}\n{heads} KV heads, {group} query heads of each, dimension {dim}; us of one layer; operations \
         of pairs that are seen only; of prefill: by the attention of as many tokens to a context\n"
    )
}
