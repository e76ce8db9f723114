//! How fast the newest token attends to few rows of a cache, beside attention to all of them.

use crate::attention::{stream, timing};
use crate::options::Cli;
use crate::section;
use crate::table::{microseconds, table};
use anyhow::{Context as _, Result};
use fewbytes::attention::sparse::{
    Amount, BuildIndex, FLAGS, INDEX_MAP, IndexMap, IndexParts, IndexSource, Lists, Mode, ORDER,
    SORTED, SUMS, Selection, Share, SparseStep, Tail,
};
use fewbytes::attention::{
    AttendRows, CacheShape, Decode, DecodeQueries, DecodeSplit, KvElement, Layout, ROW_MAP, RowMap,
    Schedule,
};
use fewbytes::linear::Activation;
use fewbytes::{Knobs, Spec as _};
use fewbytes_wgpu::measure::{Budget, Operands, Options, Order, Probe};
use fewbytes_wgpu::ops::decode::{self, CalibrationOptions};
use fewbytes_wgpu::{Context, View, wgpu};
use serde::Serialize;
use std::process::ExitCode;

/// KV heads, query heads of each, head dimension: a model without sharing, Llama-3.1-8B, one of eight
/// query heads, SmolLM2-135M.
const SHAPES: [(usize, usize, usize); 4] = [(8, 1, 128), (8, 4, 128), (8, 8, 128), (3, 3, 64)];
const CONTEXTS: [u32; 6] = [4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10];
const BATCHES: [usize; 2] = [1, 16];
/// Workgroups to try, of attention to all rows and to few of them.
const TRIED: [u32; 3] = [264, 528, 1056];

/// One point.
#[derive(Serialize)]
struct Line {
    kv_heads: usize,
    group: usize,
    head_dim: usize,
    batch: usize,
    context: u32,
    mode: String,
    /// Workgroups that attend, at least.
    workgroups: u32,
    /// Bytes of the step by the kernels' own count, and of attention to all rows.
    bytes: u64,
    dense_bytes: u64,
    ns: f64,
    dense_ns: f64,
    /// What each launch takes alone, over the same lists every time.
    launches: Vec<(String, f64)>,
    settled: bool,
}

#[derive(Serialize)]
struct Found {
    device: String,
    stream_gb_s: f64,
    lines: Vec<Line>,
    /// Points that one binding cannot hold.
    too_large: Vec<String>,
}

pub(crate) fn run(cli: &Cli, chosen: &[wgpu::Adapter]) -> Result<ExitCode> {
    section::run(cli, chosen, false, measured, text)?;
    Ok(ExitCode::SUCCESS)
}

/// Modes by name, for keys of `dim` numbers: a sixteenth of the rows are found where that is said.
fn modes(dim: u32) -> Vec<(String, Mode)> {
    let sixteenth = Amount::Fraction(1.0 / 16.0);
    let components = |r, tail| {
        let selection = Selection::ComponentTopR { r, k: sixteenth };
        Mode { selection, tail }
    };
    vec![
        (format!("components {}", dim / 4), components(dim / 4, Tail::Mean)),
        (format!("components {}, no tail", dim / 4), components(dim / 4, Tail::None)),
        (format!("components {}", dim / 8), components(dim / 8, Tail::Mean)),
        ("top-k 1/16".to_owned(), Mode::new(Selection::TopK { k: sixteenth })),
        ("greedy aggressive".to_owned(), Mode::aggressive()),
        ("greedy conservative".to_owned(), Mode::conservative()),
    ]
}

fn measured(ctx: &Context, cli: &Cli, device: String) -> Result<Found> {
    let software = ctx.info().device_type == wgpu::DeviceType::Cpu;
    let mut probe = Probe::new(ctx, Probe::WAKE_UP)?;
    probe.wake(ctx)?;
    let mut found =
        Found { device, stream_gb_s: stream(ctx, software)?, lines: vec![], too_large: vec![] };
    for (kv_heads, group, head_dim) in SHAPES {
        for batch in BATCHES {
            let few = (cli.quick && cli.filter.is_empty()) || software;
            if few && (batch > 1 || group == 8) {
                continue;
            }
            let contexts: &[u32] = match (software, few) {
                (true, _) => &[1 << 10],
                (_, true) => &[8 << 10, 64 << 10],
                _ => &CONTEXTS,
            };
            for &context in contexts {
                let name = format!("{kv_heads}x{group}x{head_dim} b{batch} {context} ");
                let mut modes = modes(head_dim as u32);
                modes.retain(|(mode, _)| {
                    let name = name.clone() + mode;
                    cli.filter.iter().all(|part| name.contains(part.as_str()))
                });
                if modes.is_empty() {
                    continue;
                }
                let options = timing(cli.quick);
                let point = Point { ctx, kv_heads, group, head_dim, batch, context, options };
                point.lines(&mut probe, modes, &mut found)?;
            }
        }
    }
    anyhow::ensure!(!found.lines.is_empty(), "no shape matches the filter");
    Ok(found)
}

struct Point<'a> {
    ctx: &'a Context,
    kv_heads: usize,
    group: usize,
    head_dim: usize,
    batch: usize,
    context: u32,
    options: Options,
}

impl Point<'_> {
    fn shape(&self) -> Result<CacheShape> {
        // Heads of different sequences differ as heads of one do.
        Ok(CacheShape::new(self.kv_heads * self.batch, self.head_dim, KvElement::F16)?)
    }

    fn queries(&self, shape: &CacheShape) -> DecodeQueries {
        let f16 = Activation::F16;
        DecodeQueries { input: f16, output: f16, ..DecodeQueries::new(shape, self.group) }
    }

    fn lines(
        &self,
        probe: &mut Probe,
        modes: Vec<(String, Mode)>,
        found: &mut Found,
    ) -> Result<()> {
        let shape = self.shape()?;
        let layout =
            Layout::ragged(shape, &vec![self.context; shape.kv_heads()], 16, self.context)?;
        let bytes = 4 * u64::from(layout.rows()) * shape.row_words() as u64;
        if bytes > self.ctx.caps().bindable_bytes() {
            let Self { kv_heads, group, head_dim, batch, context, .. } = self;
            found.too_large.push(format!("{kv_heads}x{group}x{head_dim} b{batch} {context}"));
            return Ok(());
        }
        // While pipelines are compiled a device's clock falls.
        probe.wake(self.ctx)?;
        let (dense_ns, dense_bytes) = self.dense(&layout)?;
        let greedy = |mode: &Mode| matches!(mode.selection, Selection::Greedy { .. });
        let searched = modes.iter().any(|(_, mode)| greedy(mode));
        let sorted = if searched { Some(self.sorted(&layout)?) } else { None };
        for (mode, of) in modes {
            let step = match self.step(probe, &layout, of, sorted.as_ref()) {
                Ok(step) => step,
                Err(error) => {
                    println!("  {mode} at {}: {error:#}", self.context);
                    continue;
                }
            };
            println!(
                "  {}x{}x{} b{} {} {mode}: {} us, all rows {} us",
                self.kv_heads,
                self.group,
                self.head_dim,
                self.batch,
                self.context,
                microseconds(step.ns),
                microseconds(dense_ns)
            );
            found.lines.push(Line {
                kv_heads: self.kv_heads,
                group: self.group,
                head_dim: self.head_dim,
                batch: self.batch,
                context: self.context,
                mode,
                workgroups: step.workgroups,
                bytes: step.bytes,
                dense_bytes,
                ns: step.ns,
                dense_ns,
                launches: step.launches,
                settled: step.settled,
            });
        }
        Ok(())
    }

    /// Nanoseconds and bytes of attention to all rows, with the best of some numbers of workgroups.
    fn dense(&self, layout: &Layout) -> Result<(f64, u64)> {
        let options =
            CalibrationOptions { timing: self.options.clone(), ..CalibrationOptions::default() };
        let queries = self.queries(layout.shape());
        let found = decode::calibrate_with(self.ctx, &queries, layout, &TRIED, &options)?;
        let plan = options.planner.plan_layout(layout, found.workgroups)?;
        let schedule = Schedule::new(&plan, layout, &[])?;
        let split = DecodeSplit::new(queries, layout, &schedule)?;
        let (timing, traffic) = decode::time(self.ctx, &Decode(split), &schedule, &options)?;
        Ok((timing.dispatch_ns.median, traffic.bytes()))
    }

    fn index(&self, layout: &Layout, budget: Amount) -> Result<IndexMap> {
        let heads = layout.shape().kv_heads();
        let mut index = IndexMap::new(self.head_dim, &vec![self.context; heads])?;
        index.extend(&vec![self.context; heads])?;
        let budget = u32::try_from(budget.of(self.context))?;
        index.set_budgets(&vec![budget; heads])?;
        Ok(index)
    }

    /// Sorted columns of noise, and their rows.
    fn sorted(&self, layout: &Layout) -> Result<[View; 2]> {
        let ctx = self.ctx;
        let map = RowMap::new(layout, &[])?;
        let index = self.index(layout, Amount::Count(0))?;
        let of = *index.shape();
        let source = IndexSource {
            shape: *layout.shape(),
            tensor_rows: layout.rows(),
            map: *map.shape(),
            index: of,
            at_once: of.most,
        };
        let parts = IndexParts { sums: false, sorted: true };
        let build = BuildIndex { source, parts, grows: false };
        let launches = build.launches(ctx.caps(), &Knobs::DEFAULT)?;
        let operands = Operands::new(
            ctx,
            &launches,
            Order::Chain,
            &Budget { past_cache: 0, ..Budget::for_device(ctx.info()) },
        )?;
        let plan = ctx.plan_launches(launches)?;
        let sorted = ctx.alloc::<u32>(usize::try_from(of.words())?)?;
        let order = ctx.alloc::<u32>(usize::try_from(of.order_words())?)?;
        let others = [
            (ROW_MAP, ctx.upload(map.words())?),
            (INDEX_MAP, ctx.upload(index.words())?),
            (FLAGS, ctx.alloc::<u32>(layout.shape().kv_heads())?),
            (SORTED, sorted.clone()),
            (ORDER, order.clone()),
        ];
        let rotation = operands.rotation_with(ctx, &plan, &others)?;
        if let Some(bound) = rotation.first() {
            ctx.submit(|pass| bound.record(pass))?;
        }
        ctx.block_on(ctx.read::<u32>(&sorted.slice(0..4)?))?;
        Ok([sorted, order])
    }

    fn spec(&self, layout: &Layout, mode: Mode, workgroups: u32) -> Result<SparseStep> {
        let shape = *layout.shape();
        let share = match mode.selection {
            Selection::TopK { .. } => Share::Query,
            _ => Share::Group,
        };
        let lists = Lists {
            tokens: 1,
            heads: shape.kv_heads() as u32,
            group: self.group as u32,
            share,
            capacity: self.context.next_multiple_of(4),
            sinks: 4,
            causal: true,
        };
        let index = self.index(layout, Amount::Count(0))?;
        Ok(SparseStep {
            shape,
            tensor_rows: layout.rows(),
            queries: self.queries(&shape),
            map: *RowMap::new(layout, &[])?.shape(),
            index: Some(*index.shape()),
            lists,
            mode,
            splits: AttendRows::usual_splits(&lists, workgroups),
            rows: self.context,
        })
    }

    /// A step with the best of some numbers of workgroups.
    fn step(
        &self,
        probe: &mut Probe,
        layout: &Layout,
        mode: Mode,
        sorted: Option<&[View; 2]>,
    ) -> Result<Step> {
        let ctx = self.ctx;
        let heads = layout.shape().kv_heads();
        let map = RowMap::new(layout, &[])?;
        let budget = self.spec(layout, mode, 1)?.budget().unwrap_or(Amount::Count(0));
        let index = self.index(layout, budget)?;
        let mut others = vec![
            (ROW_MAP, ctx.upload(map.words())?),
            (INDEX_MAP, ctx.upload(index.words())?),
            (FLAGS, ctx.alloc::<u32>(heads)?),
            (SUMS, ctx.alloc::<f32>(usize::try_from(index.shape().sums_len())?)?),
        ];
        if let Some([sorted, order]) = sorted {
            others.extend([(SORTED, sorted.clone()), (ORDER, order.clone())]);
        }
        let budget = Budget::for_device(ctx.info());
        let mut steps = Vec::new();
        for workgroups in TRIED {
            let spec = self.spec(layout, mode, workgroups)?;
            let launches = spec.launches(ctx.caps(), &Knobs::DEFAULT)?;
            let operands = Operands::new(ctx, &launches, Order::Chain, &budget)?;
            let plan = ctx.plan_launches(launches.clone())?;
            let rotation = operands.rotation_with(ctx, &plan, &others)?;
            steps.push((workgroups, spec, launches, operands, plan, rotation));
        }
        probe.wake(ctx)?;
        let mut best: Option<(f64, usize, bool)> = None;
        for (at, (.., rotation)) in steps.iter().enumerate() {
            let timing = probe.time(ctx, rotation, &self.options)?;
            let ns = timing.dispatch_ns.median;
            if best.is_none_or(|best| ns < best.0) {
                best = Some((ns, at, timing.settled));
            }
        }
        let (ns, at, mut settled) = best.context("nothing was tried")?;
        let (workgroups, spec, launches, operands, plan, _) = steps.swap_remove(at);
        // What a whole step left is what each launch is then given.
        let mut given = others;
        for (binding, bytes) in spec.work(ctx.caps(), &Knobs::DEFAULT)? {
            given.push((binding, ctx.alloc::<u32>(usize::try_from(bytes.div_ceil(4))?)?));
        }
        let whole = operands.rotation_with(ctx, &plan, &given)?;
        ctx.submit(|pass| whole.iter().take(1).try_for_each(|bound| bound.record(pass)))?;
        let mut alone = Vec::new();
        for launch in &launches {
            let plan = ctx.plan_launches(vec![launch.clone()])?;
            alone.push((launch, operands.rotation_with(ctx, &plan, &given)?));
        }
        probe.wake(ctx)?;
        let mut each = Vec::new();
        for (launch, rotation) in &alone {
            let timing = probe.time(ctx, rotation, &self.options)?;
            settled &= timing.settled;
            each.push((launch.kernel().to_owned(), timing.dispatch_ns.median));
        }
        Ok(Step { ns, bytes: plan.traffic().bytes(), workgroups, launches: each, settled })
    }
}

/// What was measured of a step.
struct Step {
    ns: f64,
    bytes: u64,
    workgroups: u32,
    launches: Vec<(String, f64)>,
    settled: bool,
}

fn text(found: &Found) -> String {
    let header = [
        "heads",
        "batch",
        "context",
        "mode",
        "of bytes",
        "us",
        "all rows us",
        "times",
        "us by launch",
        "",
    ];
    let mut rows = table(&header, 4);
    for line in &found.lines {
        let launches: Vec<String> = line
            .launches
            .iter()
            .map(|(name, ns)| format!("{name} {}", microseconds(*ns)))
            .collect();
        rows.add_row([
            format!("{}x{}x{}", line.kv_heads, line.group, line.head_dim),
            line.batch.to_string(),
            line.context.to_string(),
            line.mode.clone(),
            line.workgroups.to_string(),
            format!("{:.2}", line.bytes as f64 / line.dense_bytes as f64),
            microseconds(line.ns),
            microseconds(line.dense_ns),
            format!("{:.2}", line.dense_ns / line.ns),
            launches.join(", "),
            if line.settled { String::new() } else { "not settled".to_owned() },
        ]);
    }
    let mut text = format!(
        "  read stream {:.0} GB/s\n{rows}\nof bytes: by the kernels' count, of those of attention to all rows; \
         times: as fast; us by launch: each alone, over the same lists; of several of one \
         kernel only the first, for they leave things for each other\n",
        found.stream_gb_s
    );
    if !found.too_large.is_empty() {
        let points = found.too_large.join(", ");
        text += &format!("keys beyond one binding, to be split by heads: {points}\n");
    }
    text
}
