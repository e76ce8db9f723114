//! The room of caches.

use crate::{Device, row, row_with};
use criterion::{BenchmarkId, Criterion};
use fewbytes::Knobs;
use fewbytes::attention::append_kv::{self, Step};
use fewbytes::attention::select_pairs::Segments;
use fewbytes::attention::{
    AppendKv, CacheShape, DecodeQueries, DecodeSplit, Denominator, GatherKv, KeepLists, KeySpans,
    KvElement, Layout, MaxAttention, Places, Planner, Prefill, ROW_MAP, RowMap, Schedule,
    ScorePlace, SelectPairs, decode, gather_kv,
};
use fewbytes::linear::Activation;

/// A cache of 8 heads of 128, with 4 query heads each.
const HEADS: usize = 8;
const GROUP: usize = 4;

fn shape(element: KvElement) -> CacheShape {
    CacheShape::new(HEADS, 128, element).expect("a shape")
}

/// Selecting from noise, by budgets that are noise too and above what there is: all is kept, and few keys
/// are looked at again. `roofline --selection` times scores as they are.
pub(crate) fn selections(criterion: &mut Criterion) {
    let ctx = Device::open();
    let software = ctx.is_software();
    let (layers, n) = if software { (2, 4096) } else { (32, 32_768) };
    println!("{}: scores of {layers} x {HEADS} x {n}", ctx.describe());
    let mut group = criterion.benchmark_group("select_pairs");
    for segments in [Segments::Model, Segments::Heads] {
        let spec = SelectPairs { segments, ..SelectPairs::new(layers, HEADS, n) };
        let id = BenchmarkId::new(format!("{segments:?}"), n);
        row(&mut group, &ctx, id, &spec, &Knobs::default());
    }
    group.finish();
}

/// New tokens over a cache, and the scores of a chunk of it.
pub(crate) fn prefills(criterion: &mut Criterion) {
    let ctx = Device::open();
    let software = ctx.is_software();
    let (context, tokens) = if software { (256, 40) } else { (8192, 1024) };
    println!("{}: {tokens} tokens behind {context}", ctx.describe());
    for element in [KvElement::F16, KvElement::Int8] {
        let shape = shape(element);
        let layout = Layout::ragged(shape, &[context; HEADS], tokens, context);
        let mut layout = layout.expect("a layout");
        layout.append(tokens).expect("room");
        let map = RowMap::new(&layout, &[]).expect("a map");
        let words = [(ROW_MAP, ctx.upload(map.words()).expect("a buffer"))];
        let f16 = Activation::F16;
        let queries = DecodeQueries {
            q_len: tokens as usize,
            input: f16,
            output: f16,
            ..DecodeQueries::new(&shape, GROUP)
        };
        let mut group = criterion.benchmark_group("prefill");
        let spec = Prefill::new(queries, &layout, &map).expect("a spec");
        let id = BenchmarkId::new(element.name(), tokens);
        row_with(&mut group, &ctx, id, &spec, &Knobs::default(), &words);
        group.finish();
        let mut group = criterion.benchmark_group("max_attention");
        let spans = KeySpans { sink: 4, first: 4, rows: tokens };
        let place = ScorePlace::of_layer(HEADS, tokens as usize);
        let what = (spans, Denominator::Subset);
        let spec = MaxAttention::new(queries, &layout, &map, what, place).expect("a spec");
        let id = BenchmarkId::new(element.name(), tokens);
        row_with(&mut group, &ctx, id, &spec, &Knobs::default(), &words);
        group.finish();
    }
}

/// The newest token over a cache: the first kernel alone, and the second alone.
pub(crate) fn decoding(criterion: &mut Criterion) {
    let ctx = Device::open();
    let (context, workgroups) = if ctx.is_software() { (1024, 16) } else { (32_768, 264) };
    println!("{}: a token behind {context}, {workgroups} workgroups", ctx.describe());
    for element in [KvElement::F16, KvElement::Int8] {
        let shape = shape(element);
        let layout = Layout::ragged(shape, &[context; HEADS], 16, context).expect("a layout");
        let plan = Planner::Stream.plan_layout(&layout, workgroups).expect("a plan");
        let schedule = Schedule::new(&plan, &layout, &[]).expect("a schedule");
        let words = [(decode::SCHEDULE, ctx.upload(schedule.words()).expect("a buffer"))];
        let f16 = Activation::F16;
        let queries =
            DecodeQueries { input: f16, output: f16, ..DecodeQueries::new(&shape, GROUP) };
        let split = DecodeSplit::new(queries, &layout, &schedule).expect("a spec");
        let id = BenchmarkId::new(element.name(), context);
        let mut group = criterion.benchmark_group("decode_split");
        row_with(&mut group, &ctx, id.clone(), &split, &Knobs::default(), &words);
        group.finish();
        let mut group = criterion.benchmark_group("decode_merge");
        row_with(&mut group, &ctx, id, &split.merge(), &Knobs::default(), &words);
        group.finish();
    }
}

/// Rows that are written: one more token, and every other row into a cache of its own.
pub(crate) fn moving(criterion: &mut Criterion) {
    let ctx = Device::open();
    let context = if ctx.is_software() { 1024 } else { 32_768 };
    println!("{}: rows behind and of {context}", ctx.describe());
    let upload = |words: &[u32]| ctx.upload(words).expect("a buffer");
    for element in [KvElement::F16, KvElement::Int8] {
        let shape = shape(element);
        let layout = Layout::ragged(shape, &[context; HEADS], 16, context).expect("a layout");
        let heads = upload(&layout.view().head_words());
        let id = BenchmarkId::new(element.name(), context);

        let mut group = criterion.benchmark_group("append_kv");
        let input = Activation::F16;
        let spec = AppendKv { input, ..AppendKv::new(shape, Places::of(&layout), 1) };
        let step = Step { before: 0, position: context, angle_row: 0 };
        let others = [(append_kv::HEADS, heads.clone()), (append_kv::STEP, upload(&step.words()))];
        row_with(&mut group, &ctx, id.clone(), &spec, &Knobs::default(), &others);
        group.finish();

        let mut group = criterion.benchmark_group("gather_kv");
        let kept: Vec<Vec<u32>> = vec![(0..context).step_by(2).collect(); HEADS];
        let keep = KeepLists::new(&kept, &layout.lengths()).expect("lists");
        let to = layout.compacted(&keep, 16).expect("a layout");
        let (from, rows) = (Places::of(&layout), keep.rows().len() as u32);
        let spec = GatherKv { shape, rows, from, to: Places::of(&to), positions: false };
        let others = [
            (gather_kv::FROM_HEADS, heads),
            (gather_kv::TO_HEADS, upload(&to.view().head_words())),
            (gather_kv::FIRST, upload(keep.first())),
            (gather_kv::ROWS, upload(keep.rows())),
        ];
        row_with(&mut group, &ctx, id, &spec, &Knobs::default(), &others);
        group.finish();
    }
}
