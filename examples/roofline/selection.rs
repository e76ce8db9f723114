//! How fast the pairs of a cache are selected by their scores, and listed.

use crate::attention::{stream, timing};
use crate::options::Cli;
use crate::section;
use crate::table::{microseconds, table};
use anyhow::{Context as _, Result};
use fewbytes::attention::select_pairs::{Report, Segments};
use fewbytes::attention::{
    CacheShape, GatherKv, KvElement, Layout, ListPairs, Places, SelectPairs, gather_kv,
};
use fewbytes::launch::Reduce;
use fewbytes::{Error, Knobs, Spec as _};
use fewbytes_wgpu::measure::{Budget, Operands, Options, Order, Probe};
use fewbytes_wgpu::ops::select_pairs::{Outputs, Plan};
use fewbytes_wgpu::ops::{list_pairs, select_pairs};
use fewbytes_wgpu::{Bound, Context, View, wgpu};
use serde::Serialize;
use std::process::ExitCode;

/// Layers, KV heads and context: Llama-3.1-8B at 32K tokens, and 10^8 scores.
const SHAPES: [[usize; 3]; 2] = [[32, 8, 32_768], [32, 8, 390_625]];
const SOFTWARE_SHAPES: [[usize; 3]; 1] = [[4, 8, 4096]];
/// Kept share.
const RATIO: f64 = 0.3;
/// Different scores, repeated; no multiple of what is repeated elsewhere.
const DRAWN: usize = (1 << 20) + 7;

/// What the scores are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Scores {
    /// Over twelve powers of two, as those of attention.
    Attention,
    /// The same in bf16, with many ties.
    Bf16,
    /// One number: every key has to be looked at again, and there are nothing but ties.
    Equal,
}

impl Scores {
    fn draw(self) -> Vec<f32> {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let share = (state >> 40) as f32 / (1u64 << 24) as f32;
            let score = (-12.0 * share).exp2();
            match self {
                Self::Attention => score,
                Self::Bf16 => f32::from_bits(score.to_bits() & 0xffff_0000),
                Self::Equal => 0.25,
            }
        };
        (0..DRAWN).map(|_| next()).collect()
    }
}

/// One point.
#[derive(Serialize)]
struct Line {
    shape: [usize; 3],
    scores: Scores,
    segments: &'static str,
    variant: &'static str,
    blocks: Option<u32>,
    /// As the kernel's documentation predicts.
    bytes: u64,
    ns: f64,
    percent: f64,
    /// Time in readings of all scores at the stream's speed.
    readings: f64,
    settled: bool,
}

/// The lists of a layer, and the copy of its keys and values by them.
#[derive(Serialize)]
struct Listed {
    shape: [usize; 3],
    rows: u32,
    ns: f64,
    gather_bytes: u64,
    gather_ns: f64,
}

#[derive(Serialize)]
struct Found {
    device: String,
    stream_gb_s: f64,
    lines: Vec<Line>,
    lists: Vec<Listed>,
}

pub(crate) fn run(cli: &Cli, chosen: &[wgpu::Adapter]) -> Result<ExitCode> {
    section::run(cli, chosen, false, measured, text)?;
    Ok(ExitCode::SUCCESS)
}

fn measured(ctx: &Context, cli: &Cli, device: String) -> Result<Found> {
    let software = ctx.info().device_type == wgpu::DeviceType::Cpu;
    let mut probe = Probe::new(ctx, Probe::WAKE_UP)?;
    probe.wake(ctx)?;
    let stream_gb_s = stream(ctx, software)?;
    let (mut lines, mut lists) = (Vec::new(), Vec::new());
    let shapes: &[[usize; 3]] = if software { &SOFTWARE_SHAPES } else { &SHAPES };
    for &shape in shapes {
        let [layers, heads, n] = shape;
        let name = format!("{layers}x{heads}x{n}");
        if !cli.filter.iter().all(|part| name.contains(part.as_str())) {
            continue;
        }
        for scores in [Scores::Attention, Scores::Bf16, Scores::Equal] {
            let spec = SelectPairs::new(layers, heads, n).in_pieces(ctx.caps());
            let copies = Copies::new(ctx, &spec, scores, software)?;
            let point = Point { ctx, shape, scores, options: timing(cli.quick), stream_gb_s };
            for (segments, knobs) in forms(scores, cli.quick) {
                lines.extend(point.line(&copies, SelectPairs { segments, ..spec }, &knobs)?);
            }
            if scores == Scores::Attention {
                lists.push(point.lists(&copies, &spec)?);
            }
        }
    }
    anyhow::ensure!(!lines.is_empty(), "no shape matches the filter");
    Ok(Found { device, stream_gb_s, lines, lists })
}

/// What is measured of scores: all choices only of the usual ones.
fn forms(scores: Scores, quick: bool) -> Vec<(Segments, Knobs)> {
    let subgroup = Knobs { reduce: Some(Reduce::Subgroup), ..Knobs::DEFAULT };
    let rows = |rows| Knobs { rows: Some(rows), ..Knobs::DEFAULT };
    let model = |knobs| (Segments::Model, knobs);
    let mut all = vec![model(Knobs::DEFAULT), model(subgroup)];
    if scores == Scores::Attention {
        all.extend([Segments::Layers, Segments::Heads].map(|s| (s, Knobs::DEFAULT)));
        if !quick {
            all.extend([4, 8, 16, 32, 64, 128].map(|blocks| model(rows(blocks))));
        }
    }
    all
}

/// The same scores several times, past the cache.
struct Copies(Vec<Vec<View>>);

impl Copies {
    fn new(ctx: &Context, spec: &SelectPairs, scores: Scores, software: bool) -> Result<Self> {
        let bytes = 4 * spec.pairs() as u64;
        let past_cache: u64 = if software { 4 << 20 } else { 256 << 20 };
        let drawn = scores.draw();
        let one = || -> Result<Vec<View>> {
            let mut pieces = Vec::new();
            for layers in spec.pieces() {
                let len = spec.piece_len(layers.len());
                let piece: Vec<f32> = drawn.iter().copied().cycle().take(len).collect();
                pieces.push(ctx.upload_in(&piece, fewbytes_wgpu::Placement::Device)?);
            }
            Ok(pieces)
        };
        let copies = (past_cache.div_ceil(bytes) + 1).max(2);
        Ok(Self((0..copies).map(|_| one()).collect::<Result<_>>()?))
    }
}

struct Point<'a> {
    ctx: &'a Context,
    shape: [usize; 3],
    scores: Scores,
    options: Options,
    stream_gb_s: f64,
}

/// A selection of every copy, and what it writes.
struct Bounds {
    plan: Plan,
    outputs: Outputs,
    rotation: Vec<Bound>,
}

impl Point<'_> {
    fn bound(&self, copies: &Copies, spec: &SelectPairs, knobs: &Knobs) -> Result<Bounds> {
        let ctx = self.ctx;
        let plan = select_pairs::plan(ctx, spec, knobs)?;
        let budget = u32::try_from((spec.segment_pairs() as f64 * RATIO) as u64)?;
        let budgets = ctx.upload(&vec![budget; spec.segment_count()])?;
        let outputs = Outputs::new(ctx, spec)?;
        let scratch = ctx.alloc::<u8>(usize::try_from(plan.scratch_bytes())?)?;
        let bind = |scores: &Vec<View>| plan.bind(scores, &budgets, &outputs, Some(&scratch));
        let rotation = copies.0.iter().map(bind).collect::<fewbytes::Result<_>>()?;
        Ok(Bounds { plan, outputs, rotation })
    }

    /// Nothing where a choice of the knobs is none on this device.
    fn line(&self, copies: &Copies, spec: SelectPairs, knobs: &Knobs) -> Result<Option<Line>> {
        let launches = match spec.launches(self.ctx.caps(), knobs) {
            Err(Error::Unsupported { .. }) if knobs.reduce.is_some() => return Ok(None),
            launches => launches?,
        };
        let own = launches.iter().any(|launch| launch.needs().subgroups);
        let bounds = self.bound(copies, &spec, knobs)?;
        let timing = fewbytes_wgpu::measure::time(self.ctx, &bounds.rotation, &self.options)?;
        let ns = timing.dispatch_ns.median;
        let reading = 4.0 * spec.pairs() as f64 / self.stream_gb_s;
        Ok(Some(Line {
            shape: self.shape,
            scores: self.scores,
            segments: match spec.segments {
                Segments::Model => "model",
                Segments::Layers => "layers",
                Segments::Heads => "heads",
            },
            variant: if own { "subgroup" } else { "baseline" },
            blocks: knobs.rows,
            bytes: bounds.plan.traffic().bytes(),
            ns,
            percent: 100.0 * timing.gigabytes_per_second(bounds.plan.traffic()) / self.stream_gb_s,
            readings: ns / reading,
            settled: timing.settled,
        }))
    }

    /// The lists of the first layer.
    fn lists(&self, copies: &Copies, spec: &SelectPairs) -> Result<Listed> {
        let ctx = self.ctx;
        let bounds = self.bound(copies, spec, &Knobs::DEFAULT)?;
        if let Some(bound) = bounds.rotation.first() {
            ctx.submit(|pass| bound.record(pass))?;
        }
        let words = ctx.block_on(ctx.read::<u32>(&bounds.outputs.report))?;
        let report = Report::of(spec, &words)?;
        let rows: u32 = report.kept.iter().take(spec.heads).sum();
        let lists = ListPairs {
            n: spec.n,
            mask_rows: spec.rows(),
            first_row: 0,
            heads: spec.heads,
            prefix: 0,
            appended: 0,
            rows,
        };
        let plan = list_pairs::plan(ctx, &lists)?;
        let (mask, blocks) = (&bounds.outputs.mask, &bounds.outputs.blocks);
        let outputs = |_| Ok((ctx.alloc::<u32>(spec.heads + 1)?, ctx.alloc::<u32>(rows as usize)?));
        let outputs: Vec<(View, View)> = (0..2).map(outputs).collect::<fewbytes::Result<_>>()?;
        let bind = |(first, rows): &(View, View)| plan.bind(mask, blocks, first, rows);
        let rotation: Vec<Bound> = outputs.iter().map(bind).collect::<fewbytes::Result<_>>()?;
        let timing = fewbytes_wgpu::measure::time(ctx, &rotation, &self.options)?;
        let kept = report.kept.get(..spec.heads).unwrap_or_default();
        let lists = outputs.first().context("no lists")?;
        let (gather_bytes, gather_ns) = self.gather(spec, kept, lists)?;
        let ns = timing.dispatch_ns.median;
        Ok(Listed { shape: self.shape, rows, ns, gather_bytes, gather_ns })
    }

    /// Bytes and time of copying what the lists of a layer keep, f16 of 128 numbers.
    fn gather(&self, spec: &SelectPairs, kept: &[u32], lists: &(View, View)) -> Result<(u64, f64)> {
        let ctx = self.ctx;
        let shape = CacheShape::new(spec.heads, 128, KvElement::F16)?;
        let n = u32::try_from(spec.n)?;
        let from = Layout::ragged(shape, &vec![n; spec.heads], 16, n)?;
        let to = Layout::ragged(shape, kept, 16, n)?;
        let gather = GatherKv {
            shape,
            rows: kept.iter().sum(),
            from: Places::of(&from),
            to: Places::of(&to),
            positions: false,
        };
        let launches = gather.launches(ctx.caps(), &Knobs::DEFAULT)?;
        let given = [
            (gather_kv::FROM_HEADS, ctx.upload(&from.view().head_words())?),
            (gather_kv::TO_HEADS, ctx.upload(&to.view().head_words())?),
            (gather_kv::FIRST, lists.0.clone()),
            (gather_kv::ROWS, lists.1.clone()),
        ];
        let budget = Budget::for_device(ctx.info());
        let operands = Operands::new(ctx, &launches, Order::Chain, &budget)?;
        let plan = ctx.plan_launches(launches)?;
        let rotation = operands.rotation_with(ctx, &plan, &given)?;
        let timing = fewbytes_wgpu::measure::time(ctx, &rotation, &self.options)?;
        Ok((plan.traffic().bytes(), timing.dispatch_ns.median))
    }
}

fn text(found: &Found) -> String {
    let shape = |[layers, heads, n]: [usize; 3]| format!("{layers}x{heads}x{n}");
    let header = [
        "scores",
        "",
        "best of a",
        "variant",
        "blocks",
        "MB",
        "us",
        "GB/s",
        "% of read",
        "readings",
        "",
    ];
    let mut rows = table(&header, 4);
    for line in &found.lines {
        rows.add_row([
            shape(line.shape),
            format!("{:?}", line.scores).to_lowercase(),
            line.segments.trim_end_matches('s').to_owned(),
            line.variant.to_owned(),
            line.blocks.map_or(String::new(), |blocks| blocks.to_string()),
            format!("{:.1}", line.bytes as f64 / 1e6),
            microseconds(line.ns),
            format!("{:.0}", line.bytes as f64 / line.ns),
            format!("{:.0}", line.percent),
            format!("{:.2}", line.readings),
            if line.settled { String::new() } else { "not settled".to_owned() },
        ]);
    }
    let header = ["lists of a layer of", "rows", "us", "gather MB", "gather us", "GB/s"];
    let mut lists = table(&header, 1);
    for line in &found.lists {
        lists.add_row([
            shape(line.shape),
            line.rows.to_string(),
            microseconds(line.ns),
            format!("{:.1}", line.gather_bytes as f64 / 1e6),
            microseconds(line.gather_ns),
            format!("{:.0}", line.gather_bytes as f64 / line.gather_ns),
        ]);
    }
    format!(
        "  read stream {:.0} GB/s\n{rows}\n{lists}\n\
         {RATIO} of all pairs are kept. MB: two readings of the scores and three of the mask; readings: the \
         time in readings of the scores as fast as the stream; blocks: of 2048 scores a workgroup, where \
         chosen; gather: copying the rows that stay of keys and values, f16 of 128 numbers\n",
        found.stream_gb_s
    )
}
