//! Whole steps of sparse attention over keys and queries that are hard to search, on every adapter.

use fewbytes::attention::reference::Logits;
use fewbytes::attention::sparse::attend::{HeadSlices, SparseQueries, attend};
use fewbytes::attention::sparse::sorted::KeyIndex;
use fewbytes::attention::sparse::{Amount, Mode, Selection, Share, Tail};
use fewbytes::attention::{
    CacheShape, DecodeQueries, HeadData, KvCache, KvElement, Layout, RowMap,
};
use fewbytes_wgpu::ops::sparse::{DeviceIndex, IndexOptions, SparseAttention, SparseOptions};
use fewbytes_wgpu::ops::{DeviceCache, DeviceRowMap};
use fewbytes_wgpu::{Context, Features, adapters};
use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;

const DIM: usize = 64;
const GROUP: usize = 2;
const TOKENS: usize = 4;
const ROWS: usize = 333;
/// What the keys of each head are.
const HEADS: [fn(usize, usize, f32) -> f32; 7] = [
    |_, _, x| x,
    |row, col, x| if (row, col) == (50, 3) { f32::NAN } else { x },
    // No finite f16.
    |row, col, x| if (row, col) == (51, 4) { 1e5 } else { x },
    |_, col, _| (col as f32 - 31.5) / 32.0,
    |_, _, _| 0.0,
    // Subnormal f16: nothing to an index.
    |_, _, x| x * 3e-5,
    // All against the query, which is positive there.
    |_, _, x| -x.abs() - 0.1,
];

fn contexts() -> Vec<Context> {
    let found = pollster::block_on(adapters());
    assert!(!found.is_empty(), "no adapter: run `cargo xtask test`, which installs one");
    let open = |adapter| pollster::block_on(Context::open_on(adapter, Features::Full)).unwrap();
    found.iter().map(open).collect()
}

fn cache(rng: &mut ChaCha8Rng) -> KvCache {
    let shape = CacheShape::new(HEADS.len(), DIM, KvElement::F32).unwrap();
    let mut cache = KvCache::new(Layout::plain(shape, 400).unwrap()).unwrap();
    let count = ROWS * HEADS.len() * DIM;
    let mut keys: Vec<f32> = (0..count).map(|_| rng.random_range(-1.0..1.0)).collect();
    for (at, key) in keys.iter_mut().enumerate() {
        let (col, head, row) = (at % DIM, at / DIM % HEADS.len(), at / DIM / HEADS.len());
        *key = HEADS[head](row, col, *key);
    }
    let values: Vec<f32> = (0..count).map(|_| rng.random_range(-1.0..1.0)).collect();
    cache.append(&keys, &values).unwrap();
    cache
}

#[test]
fn keys_and_queries_that_are_hard_to_search_give_what_the_definition_gives() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let whole = cache(&mut rng);
    let data: Vec<HeadData> = (0..HEADS.len()).map(|head| whole.head(head).unwrap()).collect();
    let slices: Vec<HeadSlices<'_>> = data.iter().map(HeadSlices::from).collect();
    let rows = TOKENS * HEADS.len() * GROUP;
    let mut asked: Vec<f32> = (0..rows * DIM).map(|_| rng.random_range(0.0..4.0)).collect();
    for (row, q) in asked.chunks_exact_mut(DIM).enumerate() {
        let first = (row / GROUP).is_multiple_of(HEADS.len());
        match (first, row % 4) {
            (true, 1) => q.fill(0.0),
            (true, 3) => q[7] = -q[7],
            _ => q.iter_mut().skip(1).step_by(3).for_each(|q| *q = q.abs() / 8.0),
        }
    }
    let (few, all) = (Amount::Count(40), Amount::Count(1000));
    let components = |r, k, tail| Mode { selection: Selection::ComponentTopR { r, k }, tail };
    let modes = [
        Mode::conservative(),
        Mode::balanced(),
        Mode::new(Selection::Greedy { steps: all, keep: 0.0, exact: true }),
        Mode::new(Selection::Greedy { steps: Amount::Count(u32::MAX), keep: 0.0, exact: false }),
        Mode::new(Selection::Greedy { steps: Amount::Count(1), keep: 1.0, exact: true }),
        components(8, few, Tail::Mean),
        components(64, all, Tail::Mean),
        components(1, Amount::Count(0), Tail::None),
        Mode::new(Selection::TopK { k: few }),
        Mode::new(Selection::TopK { k: all }),
    ];
    for ctx in contexts() {
        let device = DeviceCache::upload(&ctx, &whole).unwrap();
        let map = RowMap::new(device.layout(), &[]).unwrap();
        let map = DeviceRowMap::upload(&ctx, map).unwrap();
        // Room for more rows than u16 counts, of one of two.
        for room in [None, Some(70_000)] {
            let options = IndexOptions { room, ..IndexOptions::sorted() };
            let mut index = DeviceIndex::new(&ctx, &device, &map, &options).unwrap();
            let update = index.update(&ctx, device.layout(), TOKENS).unwrap();
            ctx.submit(|pass| index.record(pass, update, &map, device.layout())).unwrap();
            let covered: Vec<u32> = index.map().heads().iter().map(|head| head.rows).collect();
            assert_eq!(covered, [320; HEADS.len()]);
            let host = KeyIndex::from_cache(&whole, &covered, 0).unwrap();
            for (mode, share) in
                modes.iter().flat_map(|mode| [(*mode, Share::Query), (*mode, Share::Group)])
            {
                let queries = DecodeQueries {
                    q_len: TOKENS,
                    lse: true,
                    ..DecodeQueries::new(whole.shape(), GROUP)
                };
                let options = SparseOptions { share, ..SparseOptions::new(mode) };
                // One of both exact modes is given an index that it does not need.
                let bare = mode.selection == (Selection::TopK { k: few });
                let given = (!bare).then_some(&index);
                let attention =
                    SparseAttention::new(&ctx, &device, &map, given, queries, &options).unwrap();
                let budget = attention.budget();
                if budget.is_some() {
                    index.set_budget(&ctx, budget).unwrap();
                }
                let given = (!bare).then_some(&index);
                let q = ctx.upload(&asked).unwrap();
                let (o, lse) =
                    (ctx.alloc::<f32>(rows * DIM).unwrap(), ctx.alloc::<f32>(rows).unwrap());
                let bound = attention.bind(&q, &device, &map, given, &o, Some(&lse)).unwrap();
                ctx.submit(|pass| bound.record(pass, &map, given, device.layout())).unwrap();
                let logits = Logits::scaled(f64::from((DIM as f32).sqrt().recip()));
                let lists = attention.spec().lists;
                let asking = SparseQueries { q: &asked, lists, logits, mode };
                let expected = attend(&asking, &host, &slices).unwrap();
                let what = format!("{mode:?} {share:?} room {room:?} on {}", ctx.describe());
                let report = ctx.block_on(attention.report(&ctx)).unwrap();
                for (list, (found, expected)) in report.iter().zip(&expected.lists).enumerate() {
                    let found = (found.listed, found.always, found.fallback, found.left_out);
                    let rows = expected.rows.len() as u32;
                    if budget.is_some() {
                        let expected = (rows, expected.always, expected.fallback, 0);
                        assert_eq!(found, expected, "list {list} of {what}");
                    } else {
                        assert_eq!((found.0, found.3), (rows, 0), "list {list} of {what}");
                    }
                }
                for (name, view, expected, of_row) in
                    [("o", &o, &expected.o, DIM), ("lse", &lse, &expected.lse, 1)]
                {
                    let found = ctx.block_on(ctx.read::<f32>(view)).unwrap();
                    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
                        let row = at / of_row;
                        let head = row / GROUP % HEADS.len();
                        let off = (f64::from(*found) - expected).abs();
                        let same = off <= 1e-4 * expected.abs().max(1.0)
                            || (found.is_nan() && expected.is_nan());
                        assert!(
                            same,
                            "{name} {at} of row {row}, head {head}: {found}, not {expected}: {what}"
                        );
                    }
                }
            }
        }
    }
}
