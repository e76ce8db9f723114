//! An index that grows with its cache on every adapter, and lists of what was found in it.

use crate::contexts;
use fewbytes::attention::sparse::{
    BuildIndex, HeadColumns, IndexMap, IndexParts, IndexSource, Lists, Share, Tail,
};
use fewbytes::attention::{
    CacheShape, DecodeQueries, KvCache, KvElement, Layout, ListRows, RowMap, key_columns,
    list_rows as listing, row_sums, sort_columns,
};
use fewbytes::{Error, Result};
use fewbytes_wgpu::ops::decode::Rows;
use fewbytes_wgpu::ops::{
    DeviceRowMap, IndexTensors, SortedTensors, build_index, key_columns as columns_op, list_rows,
    merge_columns, row_sums as sums_op, sort_columns as sort_op,
};
use fewbytes_wgpu::{Context, View};
use half::f16;
use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;

const DIM: usize = 64;
const HEADS: usize = 2;
/// Rows of either head before any is appended, and of most indexes.
const KEPT: [u32; HEADS] = [2300, 70];
const ROOM: u32 = 700;

/// A paged cache, many of whose numbers are equal.
struct Grown {
    rng: ChaCha8Rng,
    cache: KvCache,
    views: [View; 2],
    map: DeviceRowMap,
}

impl Grown {
    fn new(ctx: &Context) -> Self {
        let shape = CacheShape::new(HEADS, DIM, KvElement::F16).unwrap();
        let layout = Layout::paged(shape, &KEPT, 16, 300, 2300).unwrap();
        let (rng, cache) = (ChaCha8Rng::seed_from_u64(7), KvCache::new(layout).unwrap());
        let map = RowMap::new(cache.layout(), &[]).unwrap();
        let views = [cache.keys(), cache.values()].map(|t| ctx.upload(t.words()).unwrap());
        Self { rng, cache, views, map: DeviceRowMap::upload(ctx, map).unwrap() }
    }

    fn append(&mut self, ctx: &Context, tokens: usize) {
        let mut draw = || -> Vec<f32> {
            let number = |_| f32::from(self.rng.random_range(-50i16..50));
            (0..tokens * HEADS * DIM).map(number).collect()
        };
        let (keys, values) = (draw(), draw());
        self.cache.append(&keys, &values).unwrap();
        for (view, tensor) in self.views.iter().zip([self.cache.keys(), self.cache.values()]) {
            ctx.write(view, tensor.words()).unwrap();
        }
        self.map.update(ctx, self.cache.layout(), &[]).unwrap();
    }

    fn rows(&self) -> Rows<'_> {
        Rows { keys: &self.views[0], values: &self.views[1], params: None }
    }
}

/// The tensors of an index.
struct Tensors {
    map: View,
    columns: View,
    flags: View,
    sums: View,
    sorted: [View; 2],
}

impl Tensors {
    fn new(ctx: &Context, map: &IndexMap) -> Self {
        let shape = map.shape();
        let halves = || ctx.alloc::<f16>(shape.elements as usize).unwrap();
        Self {
            map: ctx.upload(map.words()).unwrap(),
            columns: halves(),
            flags: ctx.alloc::<u32>(HEADS).unwrap(),
            sums: ctx.alloc::<f32>(shape.sums_len() as usize).unwrap(),
            sorted: [halves(), ctx.alloc::<u32>(shape.order_words() as usize).unwrap()],
        }
    }

    fn of(&self) -> IndexTensors<'_> {
        let [sorted, order] = &self.sorted;
        IndexTensors {
            map: &self.map,
            columns: &self.columns,
            flags: &self.flags,
            sums: Some(&self.sums),
            sorted: Some(SortedTensors { sorted, order }),
        }
    }
}

/// Elements of the rows that an index covers, column by column.
fn covered<T: Copy>(all: &[T], map: &IndexMap) -> Vec<T> {
    let of_head = |place: &HeadColumns| -> Vec<T> {
        let begin = |column: u32| (place.first + column * place.stride) as usize;
        let rows = place.rows as usize;
        (0..DIM as u32).flat_map(|column| all[begin(column)..][..rows].to_vec()).collect()
    };
    map.heads().iter().flat_map(of_head).collect()
}

fn check(ctx: &Context, tensors: &Tensors, cache: &KvCache, map: &IndexMap) {
    let read = |view| ctx.block_on(ctx.read::<f16>(view)).unwrap();
    // As if all rows had come at once.
    let mut whole = map.clone();
    whole.clear();
    let rows: Vec<u32> = map.heads().iter().map(|place| place.rows).collect();
    whole.extend(&rows).unwrap();
    let elements = map.shape().elements as usize;
    let (mut columns, mut flags) = (vec![f16::ZERO; elements], vec![0; HEADS]);
    key_columns::reference(cache, &whole, &mut columns, &mut flags).unwrap();
    let mut sorted =
        sort_columns::SortedColumns { sorted: columns.clone(), order: vec![0; elements] };
    let all = |place: &HeadColumns| std::iter::once(0..place.rows).collect::<Vec<_>>();
    sort_columns::reference(&columns, &whole, all, &mut sorted);
    assert_eq!(covered(&read(&tensors.columns), map), covered(&columns, map));
    assert_eq!(covered(&read(&tensors.sorted[0]), map), covered(&sorted.sorted, map));
    let order = ctx.block_on(ctx.read::<u32>(&tensors.sorted[1])).unwrap();
    let order: Vec<u32> = order.iter().flat_map(|word| [word & 0xffff, word >> 16]).collect();
    assert_eq!(covered(&order, map), covered(&sorted.order, map));
    assert_eq!(ctx.block_on(ctx.read::<u32>(&tensors.flags)).unwrap(), flags);
    let before = vec![0.0; map.shape().sums_len() as usize];
    let expected = row_sums::reference(cache, &whole, &before).unwrap();
    let sums = ctx.block_on(ctx.read::<f32>(&tensors.sums)).unwrap();
    for ((sum, expected), magnitude) in sums.iter().zip(&expected.sums).zip(&expected.magnitudes) {
        // Whole numbers below 2^24, all of them.
        assert_eq!(f64::from(*sum), *expected, "{magnitude}");
    }
}

#[test]
fn an_index_that_grew_is_one_that_was_built_at_once() {
    for ctx in contexts() {
        let mut grown = Grown::new(&ctx);
        grown.append(&ctx, 50);
        let mut map = IndexMap::new(DIM, &KEPT.map(|kept| kept + ROOM)).unwrap();
        let tensors = Tensors::new(&ctx, &map);
        let layout = grown.cache.layout();
        let plan = |at_once, grows| {
            let (shape, tensor_rows, index) = (*layout.shape(), layout.rows(), *map.shape());
            let source =
                IndexSource { shape, tensor_rows, map: *grown.map.map().shape(), index, at_once };
            let parts = IndexParts { sums: true, sorted: true };
            build_index::plan(&ctx, &BuildIndex { source, parts, grows }).unwrap()
        };
        let (build, extend) = (plan(map.shape().most, false), plan(320, true));
        let scratch = build.scratch_bytes().max(extend.scratch_bytes());
        let scratch = ctx.alloc::<u8>(scratch as usize).unwrap();
        let bind = |plan: &build_index::Plan| {
            plan.bind(&grown.rows(), &grown.map, &tensors.of(), Some(&scratch)).unwrap()
        };
        let (build, extend) = (bind(&build), bind(&extend));
        map.extend(&[2304, 64]).unwrap();
        ctx.write(&tensors.map, map.words()).unwrap();
        ctx.submit(|pass| build.record(pass, &map, &grown.map, grown.cache.layout())).unwrap();
        check(&ctx, &tensors, &grown.cache, &map);
        // None of one head, some of both, more of one than of the other; an odd number at the end.
        for (tokens, rows) in [(100, [2432, 64]), (200, [2560, 320]), (61, [2600, 411])] {
            grown.append(&ctx, tokens);
            map.extend(&rows).unwrap();
            ctx.write(&tensors.map, map.words()).unwrap();
            let layout = grown.cache.layout();
            ctx.submit(|pass| extend.record(pass, &map, &grown.map, layout)).unwrap();
            check(&ctx, &tensors, &grown.cache, &map);
        }
        // What was not planned is not recorded: rows beyond the cache, too many, behind an odd number.
        let layout = grown.cache.layout();
        let refused = |map: &IndexMap, what: &str| {
            let recorded = ctx.submit(|pass| extend.record(pass, map, &grown.map, layout));
            let error = recorded.unwrap_err();
            assert!(matches!(error, Error::Range { .. }) && error.to_string().contains(what));
        };
        let mut beyond = map.clone();
        beyond.extend(&[2800, 411]).unwrap();
        refused(&beyond, "0..=2711");
        beyond.extend(&[2800, 500]).unwrap();
        refused(&beyond, "even");
        beyond.clear();
        beyond.extend(&[330, 0]).unwrap();
        refused(&beyond, "0..=320");
    }
}

#[test]
fn lists_are_those_of_what_was_found() -> Result<()> {
    for ctx in contexts() {
        let mut grown = Grown::new(&ctx);
        grown.append(&ctx, 3);
        let mut map = IndexMap::new(DIM, &KEPT)?;
        map.extend(&[2000, 64])?;
        let (group, tokens) = (3, 2);
        let lists = Lists {
            tokens,
            heads: HEADS as u32,
            group,
            share: Share::Group,
            capacity: 2400,
            sinks: 4,
            causal: true,
        };
        let layout = grown.cache.layout();
        let queries = DecodeQueries {
            q_len: tokens as usize,
            ..DecodeQueries::new(layout.shape(), group as usize)
        };
        let (index, row_map) = (*map.shape(), *grown.map.map().shape());
        let tail = Tail::None;
        let spec =
            ListRows { lists, queries, index, map: row_map, tail, covered: 2064, listed: 1000 };
        let plan = list_rows::plan(&ctx, &spec, layout.rows())?;
        let most = index.most as usize;
        let mut hit = || grown.rng.random_range(-9i32..2);
        let hits: Vec<i32> = (0..most * 12).map(|_| hit()).collect();
        let bits: Vec<u32> = hits.iter().map(|hit| hit.cast_unsigned()).collect();
        let zeros = |len: usize| ctx.upload(&vec![0u32; len]);
        let (index_map, flags, found) = (ctx.upload(map.words())?, zeros(2)?, zeros(4 * 12)?);
        let hits_view = ctx.upload(&bits)?;
        let searched = list_rows::Searched {
            index_map: &index_map,
            flags: &flags,
            found: &found,
            hits: &hits_view,
        };
        let (words, counts) = (ctx.alloc::<u32>(4 * 2400)?, ctx.alloc::<u32>(4 * 4)?);
        let bound = plan.bind(&searched, &grown.map, (&words, &counts), None)?;
        ctx.submit(|pass| bound.record(pass, &grown.map, layout))?;
        let words = ctx.block_on(ctx.read::<u32>(&words))?;
        let counts = ctx.block_on(ctx.read::<u32>(&counts))?;
        let view = layout.view();
        for list in 0..4 {
            let head = lists.head_of(list) as usize;
            let own = |row: u32| (false, &hits[row as usize * most..][..most]);
            let asked: Vec<_> = lists.rows_of(list).map(own).collect();
            let (len, columns) = (layout.len(head), map.heads()[head]);
            let searched = listing::Searched { len, columns, flagged: false, queries: &asked };
            let expected = listing::reference(&lists, list, &searched);
            let rows = expected.rows.iter().map(|row| view.row(head, *row).unwrap());
            let at = list as usize;
            assert_eq!(counts[4 * at..][..4], expected.counts);
            assert_eq!(words[2400 * at..][..expected.rows.len()], rows.collect::<Vec<_>>());
        }
        let short = list_rows::Searched { hits: &found, ..searched };
        let error = plan.bind(&short, &grown.map, (&found, &flags), None);
        assert!(matches!(error.err(), Some(Error::Shape { .. })));
    }
    Ok(())
}

#[test]
fn kernels_of_an_index_are_bound_one_by_one() -> Result<()> {
    use fewbytes::attention::merge_columns::Runs;
    use fewbytes::attention::sparse::SortedPair;
    use fewbytes::attention::{KeyColumns, MergeColumns, RowSums, SortColumns};
    for ctx in contexts() {
        let mut grown = Grown::new(&ctx);
        grown.append(&ctx, 4);
        let mut map = IndexMap::new(DIM, &KEPT)?;
        map.extend(&[2300, 70])?;
        let (tensors, layout) = (Tensors::new(&ctx, &map), grown.cache.layout());
        let (shape, tensor_rows, index) = (*layout.shape(), layout.rows(), *map.shape());
        let at_once = index.most;
        let source =
            IndexSource { shape, tensor_rows, map: *grown.map.map().shape(), index, at_once };
        let columns = columns_op::plan(&ctx, &KeyColumns(source))?;
        let columns = columns.bind(&grown.rows(), &grown.map, &tensors.of())?;
        let sums = sums_op::plan(&ctx, &RowSums(source))?;
        let scratch = ctx.alloc::<u8>(sums.scratch_bytes() as usize)?;
        let sums = sums.bind(&grown.rows(), &grown.map, &tensors.of(), Some(&scratch))?;
        let other = Tensors::new(&ctx, &map);
        let others = other.of().sorted.unwrap();
        let to = SortedPair::Other;
        let sort = sort_op::plan(&ctx, &SortColumns { index, at_once, to })?;
        assert!(matches!(sort.bind(&tensors.of(), None).err(), Some(Error::Shape { .. })));
        let sort = sort.bind(&tensors.of(), Some(&others))?;
        let (runs, to) = (Runs::Wide(sort_columns::RUN), SortedPair::Index);
        let merge = merge_columns::plan(&ctx, &MergeColumns { index, at_once, runs, to })?;
        let merge = merge.bind(&tensors.of(), &others)?;
        ctx.submit(|pass| {
            columns.record(pass, &grown.map, layout)?;
            sums.record(pass, &grown.map, layout)?;
            sort.record(pass)?;
            merge.record(pass)
        })?;
        check(&ctx, &tensors, &grown.cache, &map);
        let without = IndexTensors { sums: None, ..tensors.of() };
        let plan = sums_op::plan(&ctx, &RowSums(source))?;
        let error = plan.bind(&grown.rows(), &grown.map, &without, Some(&scratch));
        assert!(matches!(error.err(), Some(Error::Shape { .. })));
    }
    Ok(())
}
