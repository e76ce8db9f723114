//! How fast the newest token attends to a ragged cache.

use crate::options::Cli;
use crate::section;
use crate::table::{microseconds, table};
use anyhow::Result;
use fewbytes::attention::append_kv::{self, AppendKv, Step};
use fewbytes::attention::{
    CacheShape, Decode, DecodeQueries, DecodeSplit, KvElement, Layout, Places, Schedule,
};
use fewbytes::linear::{Activation, Arithmetic};
use fewbytes::stream::StreamRead;
use fewbytes::{Knobs, Spec as _};
use fewbytes_wgpu::measure::{self, Budget, Operands, Options, Order, Probe};
use fewbytes_wgpu::ops::decode::{self, CalibrationOptions};
use fewbytes_wgpu::{Context, wgpu};
use serde::Serialize;
use std::process::ExitCode;
use std::time::Duration;

/// KV heads, query heads of each, head dimension: Llama-3.1-8B, Qwen2.5-7B, Gemma-2-9B, SmolLM2-135M.
const SHAPES: [(usize, usize, usize); 4] = [(8, 4, 128), (4, 7, 128), (8, 2, 256), (3, 3, 64)];
const CONTEXTS: [u32; 5] = [1 << 10, 4 << 10, 16 << 10, 32 << 10, 124 << 10];
const RATIOS: [f64; 4] = [1.0, 0.6, 0.3, 0.1];
/// Workgroups to try; the fastest at 32K rows is taken for a shape and element.
const GROUPS: [u32; 4] = [132, 264, 528, 1056];
const TRIED: u32 = 32 << 10;

/// How rows are spread over heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Spread {
    Uniform,
    /// A head has as much as the first divided by its rank.
    Zipf,
    /// One head has all.
    One,
}

/// One point.
#[derive(Serialize)]
struct Line {
    kv_heads: usize,
    group: usize,
    head_dim: usize,
    element: &'static str,
    context: u32,
    ratio: f64,
    spread: Spread,
    groups: u32,
    /// Bytes of the rows that are kept, and of queries and outputs.
    bytes: u64,
    ns: f64,
    merge_ns: Option<f64>,
    percent: f64,
    settled: bool,
}

/// One new token of 8 heads of 128 behind so many rows.
#[derive(Serialize)]
struct Append {
    element: &'static str,
    rows: u32,
    bytes: u64,
    ns: f64,
}

#[derive(Serialize)]
struct Found {
    device: String,
    stream_gb_s: f64,
    lines: Vec<Line>,
    appends: Vec<Append>,
}

pub(crate) fn run(cli: &Cli, chosen: &[wgpu::Adapter]) -> Result<ExitCode> {
    section::run(cli, chosen, false, measured, text)?;
    Ok(ExitCode::SUCCESS)
}

/// What rows are, and what dot products are made in where that is not f32.
fn label(element: KvElement, arithmetic: Arithmetic) -> &'static str {
    match arithmetic {
        Arithmetic::F32 => element.name(),
        Arithmetic::F16 => "f16-products",
    }
}

pub(crate) fn timing(quick: bool) -> Options {
    Options {
        min_pass: Duration::from_millis(2),
        samples: if quick { 5 } else { 11 },
        warm_up: Duration::from_millis(5),
        apart: Duration::ZERO,
        settle_limit: Duration::from_millis(300),
        ..Options::quick(Order::Chain)
    }
}

fn measured(ctx: &Context, cli: &Cli, device: String) -> Result<Found> {
    let software = ctx.info().device_type == wgpu::DeviceType::Cpu;
    let mut probe = Probe::new(ctx, Probe::WAKE_UP)?;
    probe.wake(ctx)?;
    let stream_gb_s = stream(ctx, software)?;
    let mut lines = Vec::new();
    for (kv_heads, group, head_dim) in SHAPES {
        for (element, arithmetic) in [
            (KvElement::F16, Arithmetic::F32),
            (KvElement::F16, Arithmetic::F16),
            (KvElement::Int8, Arithmetic::F32),
        ] {
            if arithmetic == Arithmetic::F16 && !(ctx.caps().f16 && ctx.caps().subgroups) {
                continue;
            }
            let name = format!("{kv_heads}x{group}x{head_dim} {}", label(element, arithmetic));
            if !cli.filter.iter().all(|part| name.contains(part.as_str())) {
                continue;
            }
            let point = Point {
                ctx,
                kv_heads,
                group,
                head_dim,
                element,
                arithmetic,
                options: timing(cli.quick),
            };
            lines.extend(point.lines(cli.quick || software, software, stream_gb_s)?);
        }
    }
    anyhow::ensure!(!lines.is_empty(), "no shape matches the filter");
    let appends = appends(ctx, software, &timing(cli.quick))?;
    Ok(Found { device, stream_gb_s, lines, appends })
}

/// GB/s of reading as much as one binding holds, up to 1 GiB.
pub(crate) fn stream(ctx: &Context, software: bool) -> Result<f64> {
    let most = if software { 64 << 20 } else { 1 << 30 };
    let words = usize::try_from(ctx.caps().bindable_bytes().min(most) / 16 * 4)?;
    let spec = StreamRead::new(words);
    let launches = spec.launches(ctx.caps(), &Knobs::DEFAULT)?;
    let operands = Operands::new(ctx, &launches, Order::Chain, &Budget::for_device(ctx.info()))?;
    let plan = ctx.plan_launches(launches)?;
    let rotation = operands.rotation(ctx, &plan)?;
    let timing = measure::time(ctx, &rotation, &Options::quick(Order::Chain))?;
    Ok(timing.gigabytes_per_second(plan.traffic()))
}

/// What one more token costs, whatever is there already.
fn appends(ctx: &Context, software: bool, options: &Options) -> Result<Vec<Append>> {
    let contexts: &[u32] = if software { &[1 << 10, 4 << 10] } else { &CONTEXTS };
    let mut all = Vec::new();
    for element in [KvElement::F16, KvElement::Int8] {
        for &rows in contexts {
            let shape = CacheShape::new(8, 128, element)?;
            let layout = Layout::ragged(shape, &[rows; 8], 16, rows)?;
            let input = Activation::F16;
            let spec = AppendKv { input, ..AppendKv::new(shape, Places::of(&layout), 1) };
            let launches = spec.launches(ctx.caps(), &Knobs::DEFAULT)?;
            let step = Step { before: 0, position: rows, angle_row: 0 };
            let others = [
                (append_kv::HEADS, ctx.upload(&layout.view().head_words())?),
                (append_kv::STEP, ctx.upload(&step.words())?),
            ];
            let operands =
                Operands::new(ctx, &launches, Order::Chain, &Budget::for_device(ctx.info()))?;
            let plan = ctx.plan_launches(launches)?;
            let rotation = operands.rotation_with(ctx, &plan, &others)?;
            let timing = measure::time(ctx, &rotation, options)?;
            let (element, bytes) = (element.name(), plan.traffic().bytes());
            all.push(Append { element, rows, bytes, ns: timing.dispatch_ns.median });
        }
    }
    Ok(all)
}

/// What is measured at many contexts.
struct Point<'a> {
    ctx: &'a Context,
    kv_heads: usize,
    group: usize,
    head_dim: usize,
    element: KvElement,
    arithmetic: Arithmetic,
    options: Options,
}

impl Point<'_> {
    fn lines(&self, few: bool, software: bool, stream_gb_s: f64) -> Result<Vec<Line>> {
        let contexts: &[u32] = if software { &[1 << 10] } else { &CONTEXTS };
        let tried = contexts.iter().copied().filter(|n| *n <= TRIED).max().unwrap_or(TRIED);
        let layout = self.layout(tried, 1.0, Spread::Uniform)?;
        let queries = self.queries(layout.shape());
        let options = self.calibration();
        let found = decode::calibrate_with(self.ctx, &queries, &layout, &GROUPS, &options)?;
        let groups = found.workgroups;
        let mut lines = Vec::new();
        for &context in contexts {
            for ratio in RATIOS {
                if few && ratio != 1.0 && ratio != 0.3 {
                    continue;
                }
                lines.push(self.line(context, ratio, Spread::Uniform, groups, stream_gb_s)?);
            }
            for spread in [Spread::Zipf, Spread::One] {
                lines.push(self.line(context, 0.3, spread, groups, stream_gb_s)?);
            }
        }
        Ok(lines)
    }

    /// Rows of every head, none above the context.
    fn kept(&self, context: u32, ratio: f64, spread: Spread) -> Vec<u32> {
        let heads = self.kv_heads;
        let all = ratio * f64::from(context) * heads as f64;
        let harmonic: f64 = (1..=heads).map(|rank| 1.0 / rank as f64).sum();
        let of = |head: usize| match spread {
            Spread::Uniform => all / heads as f64,
            Spread::Zipf => all / harmonic / (head + 1) as f64,
            Spread::One if head == heads / 2 => all,
            Spread::One => 0.0,
        };
        (0..heads).map(|head| of(head).min(f64::from(context)).round() as u32).collect()
    }

    fn line(
        &self,
        context: u32,
        ratio: f64,
        spread: Spread,
        groups: u32,
        stream_gb_s: f64,
    ) -> Result<Line> {
        let (ctx, options) = (self.ctx, self.calibration());
        let layout = self.layout(context, ratio, spread)?;
        let plan = options.planner.plan_layout(&layout, groups)?;
        let schedule = Schedule::new(&plan, &layout, &[])?;
        let split = DecodeSplit::new(self.queries(layout.shape()), &layout, &schedule)?;
        let (timing, traffic) = decode::time(ctx, &Decode(split), &schedule, &options)?;
        let merge = split.merge();
        let merge_ns = match merge.launches(ctx.caps(), &options.knobs)?.is_empty() {
            true => None,
            false => Some(decode::time(ctx, &merge, &schedule, &options)?.0.dispatch_ns.median),
        };
        let percent = 100.0 * timing.gigabytes_per_second(traffic) / stream_gb_s;
        Ok(Line {
            kv_heads: self.kv_heads,
            group: self.group,
            head_dim: self.head_dim,
            element: label(self.element, self.arithmetic),
            context,
            ratio,
            spread,
            groups,
            bytes: traffic.bytes(),
            ns: timing.dispatch_ns.median,
            merge_ns,
            percent,
            settled: timing.settled,
        })
    }

    fn layout(&self, context: u32, ratio: f64, spread: Spread) -> Result<Layout> {
        let shape = CacheShape::new(self.kv_heads, self.head_dim, self.element)?;
        Ok(Layout::ragged(shape, &self.kept(context, ratio, spread), 16, context)?)
    }

    fn queries(&self, shape: &CacheShape) -> DecodeQueries {
        let f16 = Activation::F16;
        let arithmetic = self.arithmetic;
        DecodeQueries {
            input: f16,
            output: f16,
            arithmetic,
            ..DecodeQueries::new(shape, self.group)
        }
    }

    fn calibration(&self) -> CalibrationOptions {
        CalibrationOptions { timing: self.options.clone(), ..CalibrationOptions::default() }
    }
}

fn text(found: &Found) -> String {
    let header = [
        "heads",
        "element",
        "context",
        "kept",
        "rows",
        "groups",
        "MB",
        "us",
        "merge us",
        "GB/s",
        "% of read",
        "to all",
        "",
    ];
    let mut rows = table(&header, 2);
    for line in &found.lines {
        let whole = found.lines.iter().find(|other| {
            (other.kv_heads, other.group, other.head_dim, other.element, other.context)
                == (line.kv_heads, line.group, line.head_dim, line.element, line.context)
                && other.ratio == 1.0
        });
        let spread = match line.spread {
            Spread::Uniform => "uniform",
            Spread::Zipf => "zipf",
            Spread::One => "one head",
        };
        rows.add_row([
            format!("{}x{}x{}", line.kv_heads, line.group, line.head_dim),
            line.element.to_owned(),
            line.context.to_string(),
            format!("{:.1}", line.ratio),
            spread.to_owned(),
            line.groups.to_string(),
            format!("{:.1}", line.bytes as f64 / 1e6),
            microseconds(line.ns),
            line.merge_ns.map_or(String::new(), microseconds),
            format!("{:.0}", line.bytes as f64 / line.ns),
            format!("{:.0}", line.percent),
            whole.map_or(String::new(), |whole| format!("{:.2}", line.ns / whole.ns)),
            if line.settled { String::new() } else { "not settled".to_owned() },
        ]);
    }
    let mut appended = table(&["append, 8 x 128", "rows there", "bytes", "us"], 1);
    for line in &found.appends {
        appended.add_row([
            line.element.to_owned(),
            line.rows.to_string(),
            line.bytes.to_string(),
            microseconds(line.ns),
        ]);
    }
    format!(
        "  read stream {:.0} GB/s\n{rows}\n{appended}\n\
         us: both kernels, each step waiting for the one before, tensors rotated past the cache; merge: the \
         second alone; to all: by the time of the whole context\n",
        found.stream_gb_s
    )
}
