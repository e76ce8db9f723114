//! Decoding: a row comes with every step, the index follows in its own time, and outputs are held against
//! attention to all rows.

use crate::data::Source;
use crate::{error, mebibytes, median, table};
use anyhow::Result;
use clap::{Args, ValueEnum};
use fewbytes::Knobs;
use fewbytes::attention::sparse::{Amount, Mode, Selection, Tail};
use fewbytes::attention::{
    CacheShape, DecodeQueries, KvCache, KvElement, Layout, Planner, RowMap, Schedule,
};
use fewbytes::linear::Activation;
use fewbytes_wgpu::ops::decode::{self, BoundDecode, DecodePlan, Rows};
use fewbytes_wgpu::ops::sparse::{
    DeviceIndex, IndexOptions, SparseAttention, SparseOptions, Update,
};
use fewbytes_wgpu::ops::{DeviceCache, DeviceRowMap, append_kv};
use fewbytes_wgpu::{Context, View};
use indicatif::{ProgressBar, ProgressStyle};

/// Workgroups that attention to all rows is planned for; `ops::decode::calibrate` finds out how many suit a
/// device.
const WORKGROUPS: u32 = 264;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Rows of every head before the first step.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(64..))]
    pub(crate) context: u32,
    /// Tokens to decode.
    #[arg(long, default_value_t = 160, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) steps: u32,
    /// Numbers of a key: 64, 80, 96, 128 or 256.
    #[arg(long, default_value_t = 64)]
    pub(crate) dim: usize,
    /// KV heads.
    #[arg(long, default_value_t = 2)]
    pub(crate) heads: usize,
    /// Query heads of each, up to 16.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub(crate) group: u32,
    /// How rows are found.
    #[arg(long, value_enum, default_value = "components")]
    pub(crate) mode: Finding,
    /// Rows beyond the index, at most, before it is extended.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) tail: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Finding {
    /// A sixteenth of the rows, by a quarter of the components; the rest estimated.
    Components,
    /// A^3's greedy search, its conservative setting; the rest estimated.
    Greedy,
    /// A sixteenth of the rows, by all keys.
    TopK,
}

impl Arguments {
    fn shape(&self) -> fewbytes::Result<CacheShape> {
        CacheShape::new(self.heads, self.dim, KvElement::F16)
    }

    fn mode(&self) -> Mode {
        let k = Amount::Fraction(1.0 / 16.0);
        match self.mode {
            Finding::Components => {
                let selection = Selection::ComponentTopR { r: self.dim as u32 / 4, k };
                Mode { selection, tail: Tail::Mean }
            }
            Finding::Greedy => Mode::balanced(),
            Finding::TopK => Mode::new(Selection::TopK { k }),
        }
    }

    fn index(&self) -> Option<IndexOptions> {
        match self.mode {
            Finding::Components => {
                Some(IndexOptions { tail: self.tail, ..IndexOptions::columns() })
            }
            Finding::Greedy => Some(IndexOptions { tail: self.tail, ..IndexOptions::sorted() }),
            Finding::TopK => None,
        }
    }

    pub(crate) fn check(&self) -> fewbytes::Result<()> {
        let rows = u64::from(self.context) + u64::from(self.steps);
        self.shape()?.checked_rows(rows * self.heads as u64)?;
        self.mode().selection.check(self.dim as u32)
    }
}

/// What decoding came to.
#[derive(Default)]
pub(crate) struct Found {
    /// Steps at which the index was made or extended, and the rows that it covered then.
    pub(crate) updates: Vec<(u32, Update, u32)>,
    /// Of every step and query head, against attention to all rows.
    pub(crate) errors: Vec<f64>,
    /// Of the last step, by the kernels' count.
    pub(crate) bytes: u64,
    pub(crate) dense_bytes: u64,
    /// Rows of the last step's lists.
    pub(crate) listed: Vec<u32>,
    pub(crate) rows: u32,
    pub(crate) index_bytes: u64,
}

/// Attention to all rows.
struct Dense {
    schedule: DecodePlan,
    bound: BoundDecode,
    bytes: u64,
}

impl Dense {
    fn new(
        ctx: &Context,
        cache: &DeviceCache,
        queries: DecodeQueries,
        q: &View,
        o: &View,
    ) -> fewbytes::Result<Self> {
        let plan = Planner::Stream.plan_layout(cache.layout(), WORKGROUPS)?;
        let schedule = Schedule::new(&plan, cache.layout(), &[])?;
        let schedule = DecodePlan::upload(ctx, schedule)?;
        let plan = decode::plan(ctx, &schedule, cache.layout(), queries, &Knobs::DEFAULT)?;
        let scratch = ctx.alloc::<u8>(plan.scratch_bytes() as usize)?;
        let bound = plan.bind(&schedule, q, &Rows::of(cache), o, None, Some(&scratch))?;
        Ok(Self { schedule, bound, bytes: plan.traffic().read_bytes })
    }
}

pub(crate) fn run(ctx: &Context, arguments: &Arguments) -> Result<Found> {
    let mut source = Source::new(2);
    let shape = arguments.shape()?;
    let &Arguments { context, steps, dim, heads, .. } = arguments;
    let group = arguments.group as usize;
    let (new, asked) = (heads * dim, heads * group * dim);
    // `[rows, heads, dim]`: kept here to ask for them; an engine keeps no keys on the host.
    let mut keys = source.normal(context as usize * new);
    let mut cache = KvCache::new(Layout::plain(shape, context + steps)?)?;
    cache.append(&keys, &source.normal(context as usize * new))?;
    let mut cache = DeviceCache::upload(ctx, &cache)?;

    // What is planned and bound once.
    let mut map = DeviceRowMap::upload(ctx, RowMap::new(cache.layout(), &[])?)?;
    let index = arguments.index().map(|options| DeviceIndex::new(ctx, &cache, &map, &options));
    let mut index = index.transpose()?;
    let queries = DecodeQueries::new(&shape, group);
    let options = SparseOptions::new(arguments.mode());
    let attention = SparseAttention::new(ctx, &cache, &map, index.as_ref(), queries, &options)?;
    let (q, o) = (ctx.alloc::<f32>(asked)?, ctx.alloc::<f32>(asked)?);
    let bound = attention.bind(&q, &cache, &map, index.as_ref(), &o, None)?;
    if let Some(index) = &mut index {
        index.set_budget(ctx, attention.budget())?;
    }
    let (new_keys, new_values) = (ctx.alloc::<f32>(new)?, ctx.alloc::<f32>(new)?);
    let append = cache.append_spec(1, Activation::F32, None);
    let append = append_kv::plan(ctx, &append, &Knobs::DEFAULT)?;
    let append = append.bind(&cache, &new_keys, &new_values, None)?;
    let all = ctx.alloc::<f32>(asked)?;
    let mut dense = Dense::new(ctx, &cache, queries, &q, &all)?;

    let mut found = Found::default();
    let bar = ProgressBar::new(steps.into())
        .with_style(ProgressStyle::with_template("{bar:30} {pos}/{len} steps {eta}")?);
    for step in 0..steps {
        // What a model's projections would give.
        let key = source.normal(new);
        ctx.write(&new_keys, &key)?;
        ctx.write(&new_values, &source.normal(new))?;
        keys.extend(key);
        ctx.write(&q, &ask(&mut source, &keys, arguments))?;

        // The host makes place, and tells everybody where: by writes that precede what is submitted next.
        cache.append(ctx, 1, 0)?;
        let layout = cache.layout();
        map.update(ctx, layout, &[])?;
        let update = match &mut index {
            Some(index) => index.update(ctx, layout, queries.q_len)?,
            None => Update::None,
        };
        if layout.appended() > dense.schedule.schedule().plan().balanced_until() {
            dense = Dense::new(ctx, &cache, queries, &q, &all)?;
        }
        dense.schedule.update(ctx, layout, &[])?;

        // The row is written before the index reads it, and the index before it is searched.
        ctx.submit(|pass| {
            append.record(pass)?;
            if let Some(index) = &index {
                index.record(pass, update, &map, layout)?;
            }
            bound.record(pass, &map, index.as_ref(), layout)?;
            dense.bound.record(pass, &dense.schedule, layout)
        })?;

        let few = ctx.block_on(ctx.read::<f32>(&o))?;
        let every = ctx.block_on(ctx.read::<f32>(&all))?;
        let every: Vec<f64> = every.into_iter().map(f64::from).collect();
        let outputs = few.chunks_exact(dim).zip(every.chunks_exact(dim));
        found.errors.extend(outputs.map(|(few, every)| error(few, every)));
        if update != Update::None {
            let covered = index.as_ref().and_then(|index| index.map().heads().first().copied());
            found.updates.push((step, update, covered.map_or(0, |head| head.rows)));
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let report = ctx.block_on(attention.report(ctx))?;
    found.listed = report.iter().map(|list| list.listed).collect();
    found.bytes = attention.traffic().read_bytes;
    // Of as many rows as there are now.
    found.dense_bytes = Dense::new(ctx, &cache, queries, &q, &all)?.bytes;
    found.rows = cache.layout().len(0);
    found.index_bytes = index.as_ref().map_or(0, DeviceIndex::memory_bytes);
    Ok(found)
}

/// Queries of a step, `[heads, group, dim]`: those of a KV head ask for one row, some more sharply than others.
fn ask(source: &mut Source, keys: &[f32], arguments: &Arguments) -> Vec<f32> {
    let &Arguments { heads, dim, .. } = arguments;
    let rows = keys.len() / (heads * dim);
    let mut q = Vec::new();
    for head in 0..heads {
        let at = (source.below(rows) * heads + head) * dim;
        for _ in 0..arguments.group {
            let sharp = 0.5 + 0.5 * source.part();
            q.extend(source.ask(&keys[at..at + dim], rows).iter().map(|q| sharp * q));
        }
    }
    q
}

pub(crate) fn text(arguments: &Arguments, found: &Found) -> String {
    let mut text = String::new();
    for (step, update, rows) in &found.updates {
        text += &format!("step {step}: {update:?}, the index covers {rows} rows\n");
    }
    let count = |update| found.updates.iter().filter(|(_, of, _)| *of == update).count();
    let longest = found.errors.iter().copied().fold(0.0, f64::max);
    let listed = found.listed.iter().map(|rows| f64::from(*rows)).sum::<f64>();
    let listed = listed / found.listed.len().max(1) as f64;
    let mut rows = table(&["last step", "few rows", "all rows"]);
    rows.add_row(["rows of a list", &format!("{listed:.0}"), &found.rows.to_string()]);
    rows.add_row(["bytes read", &found.bytes.to_string(), &found.dense_bytes.to_string()]);
    let Arguments { context, steps, dim, heads, group, .. } = arguments;
    let share = 100.0 * found.bytes as f64 / found.dense_bytes.max(1) as f64;
    let middle = 100.0 * median(found.errors.clone());
    let largest = 100.0 * longest;
    text + &format!(
        "{steps} steps behind {context} rows of {heads} heads of {dim}, {group} query heads each\n\
         index: {} x Build, {} x Grow; {} MiB\n\
         error: median {middle:.2} %, largest {largest:.2} % of the output's length, against attention to \
         all rows\n\n\
         {rows}\n\nbytes by the kernels' count, {share:.1} % of those of attention to all rows",
        count(Update::Build),
        count(Update::Grow),
        mebibytes(found.index_bytes),
    )
}
