//! What makes an index of a cache, and lists of what a search of it found.

use crate::{Device, row_with};
use criterion::{BenchmarkId, Criterion};
use fewbytes::Knobs;
use fewbytes::attention::merge_columns::Runs;
use fewbytes::attention::sparse::{
    BuildIndex, FLAGS, FOUND, INDEX_MAP, IndexMap, IndexParts, IndexSource, Lists, Share,
    SortedPair, Tail,
};
use fewbytes::attention::{
    CacheShape, DecodeQueries, KeyColumns, KvElement, Layout, ListRows, MergeColumns, ROW_MAP,
    RowMap, RowSums, SortColumns, sort_columns,
};
use fewbytes_wgpu::View;

/// A cache of 8 heads of 128, with 4 query heads each.
const HEADS: usize = 8;
const GROUP: usize = 4;

/// All rows of a cache as new ones of an index: each kernel alone, and all of them. Columns are noise, and so
/// are what is merged and what was found: half of all rows, for each query.
pub(crate) fn indexes(criterion: &mut Criterion) {
    let ctx = Device::open();
    let context = if ctx.is_software() { 1024 } else { 32_768 };
    println!("{}: an index of {HEADS} x {context} x 128", ctx.describe());
    let shape = CacheShape::new(HEADS, 128, KvElement::F16).expect("a shape");
    let mut layout = Layout::ragged(shape, &[context; HEADS], 16, context).expect("a layout");
    layout.append(1).expect("room");
    let row_map = RowMap::new(&layout, &[]).expect("a map");
    let mut index_map = IndexMap::new(128, &[context; HEADS]).expect("an index");
    index_map.extend(&[context; HEADS]).expect("room");
    let (index, map) = (*index_map.shape(), *row_map.shape());
    let upload = |words: &[u32]| ctx.upload(words).expect("a buffer");
    let maps = [(ROW_MAP, upload(row_map.words())), (INDEX_MAP, upload(index_map.words()))];
    let (tensor_rows, at_once) = (layout.rows(), context);
    let source = IndexSource { shape, tensor_rows, map, index, at_once };
    let id = |what: &str| BenchmarkId::new(what, context);
    let knobs = Knobs::default();

    let mut group = criterion.benchmark_group("key_columns");
    row_with(&mut group, &ctx, id("f16"), &KeyColumns(source), &knobs, &maps);
    group.finish();
    let mut group = criterion.benchmark_group("row_sums");
    row_with(&mut group, &ctx, id("f16"), &RowSums(source), &knobs, &maps);
    group.finish();
    let of_index = &maps[1..];
    let mut group = criterion.benchmark_group("sort_columns");
    let spec = SortColumns { index, at_once, to: SortedPair::Index };
    row_with(&mut group, &ctx, id("runs"), &spec, &knobs, of_index);
    group.finish();
    let mut group = criterion.benchmark_group("merge_columns");
    let (runs, to) = (Runs::Wide(sort_columns::RUN), SortedPair::Other);
    let spec = MergeColumns { index, at_once, runs, to };
    row_with(&mut group, &ctx, id("a pass"), &spec, &knobs, of_index);
    group.finish();
    let mut group = criterion.benchmark_group("build_index");
    let parts = IndexParts { sums: true, sorted: true };
    let spec = BuildIndex { source, parts, grows: false };
    row_with(&mut group, &ctx, id("f16"), &spec, &knobs, &maps);
    group.finish();
    listing(criterion, &ctx, (index, map), &maps);
}

fn listing(
    criterion: &mut Criterion,
    ctx: &Device,
    (index, map): (fewbytes::attention::sparse::IndexShape, fewbytes::attention::RowMapShape),
    maps: &[(u32, View)],
) {
    let shape = CacheShape::new(HEADS, 128, KvElement::F16).expect("a shape");
    let mut group = criterion.benchmark_group("list_rows");
    for share in [Share::Query, Share::Group] {
        // Counted by u32, all of them.
        let (heads, of_head) = (index.heads, GROUP as u32);
        let lists = Lists {
            tokens: 1,
            heads,
            group: of_head,
            share,
            capacity: index.most,
            sinks: 4,
            causal: true,
        };
        let zeros = |words: usize| ctx.upload(&vec![0u32; words]).expect("a buffer");
        let rows = lists.query_rows() as usize;
        let searched = [(FLAGS, zeros(HEADS)), (FOUND, zeros(4 * rows))];
        let others: Vec<_> = maps.iter().cloned().chain(searched).collect();
        let covered = u64::from(index.heads) * u64::from(index.most);
        let listed = u64::from(lists.count()) * u64::from(index.most) / 2;
        let queries = DecodeQueries::new(&shape, GROUP);
        let tail = Tail::None;
        let spec = ListRows { lists, queries, index, map, tail, covered, listed };
        let id = BenchmarkId::new(format!("{share:?}"), index.most);
        row_with(&mut group, ctx, id, &spec, &Knobs::default(), &others);
    }
    group.finish();
}
