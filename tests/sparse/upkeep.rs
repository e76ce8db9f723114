//! What an index was not told, a step does not search; and modes without an index, on every adapter.

use crate::contexts;
use fewbytes::attention::reference::Logits;
use fewbytes::attention::sparse::attend::{HeadSlices, SparseQueries, attend};
use fewbytes::attention::sparse::sorted::KeyIndex;
use fewbytes::attention::sparse::{Amount, Mode, Selection, Share};
use fewbytes::attention::{
    CacheShape, DecodeQueries, HeadData, KvCache, KvElement, Layout, RowMap,
};
use fewbytes_wgpu::ops::sparse::{
    DeviceIndex, IndexOptions, SparseAttention, SparseOptions, Update,
};
use fewbytes_wgpu::ops::{DeviceCache, DeviceRowMap};
use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;

const DIM: usize = 64;
const HEADS: usize = 2;
const GROUP: usize = 3;
const Q_LEN: usize = HEADS * GROUP * DIM;

fn numbers(rng: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn cache(rows: usize) -> KvCache {
    let mut rng = ChaCha8Rng::seed_from_u64(rows as u64);
    let shape = CacheShape::new(HEADS, DIM, KvElement::F32).unwrap();
    let mut cache = KvCache::new(Layout::plain(shape, rows as u32).unwrap()).unwrap();
    let [keys, values] = [0; 2].map(|_| numbers(&mut rng, rows * HEADS * DIM));
    cache.append(&keys, &values).unwrap();
    cache
}

#[test]
fn an_index_that_was_cleared_or_not_made_is_not_searched() {
    for ctx in contexts() {
        let mut device = DeviceCache::upload(&ctx, &cache(300)).unwrap();
        let map = RowMap::new(device.layout(), &[]).unwrap();
        let mut map = DeviceRowMap::upload(&ctx, map).unwrap();
        let mut index = DeviceIndex::new(&ctx, &device, &map, &IndexOptions::columns()).unwrap();
        let queries = DecodeQueries::new(device.layout().shape(), GROUP);
        let mode = |count| Mode::new(Selection::ComponentTopR { r: 8, k: Amount::Count(count) });
        let plan = |device: &DeviceCache, map: &DeviceRowMap, index: &DeviceIndex, count| {
            let options = SparseOptions::new(mode(count));
            SparseAttention::new(&ctx, device, map, Some(index), queries, &options).unwrap()
        };
        let attention = plan(&device, &map, &index, 5);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let q = ctx.upload(&numbers(&mut rng, Q_LEN)).unwrap();
        let o = ctx.alloc::<f32>(Q_LEN).unwrap();
        let bound = attention.bind(&q, &device, &map, Some(&index), &o, None).unwrap();
        let step = |map: &DeviceRowMap, index: &DeviceIndex, device: &DeviceCache| {
            ctx.submit(|pass| bound.record(pass, map, Some(index), device.layout()))
        };
        // An update that is not recorded is owed, and not before a step that searches.
        assert_eq!(index.update(&ctx, device.layout(), 1).unwrap(), Update::Build);
        let error = step(&map, &index, &device).unwrap_err().to_string();
        assert!(error.contains("update of an index"), "{error}");
        let update = index.update(&ctx, device.layout(), 1).unwrap();
        assert_eq!(update, Update::Build);
        ctx.submit(|pass| index.record(pass, update, &map, device.layout())).unwrap();
        assert_eq!(index.update(&ctx, device.layout(), 1).unwrap(), Update::None);
        // Told no budget, and another's.
        for budget in [None, plan(&device, &map, &index, 6).budget()] {
            index.set_budget(&ctx, budget).unwrap();
            let error = step(&map, &index, &device).unwrap_err().to_string();
            assert!(error.contains("budget of an index"), "{error}");
        }
        index.set_budget(&ctx, attention.budget()).unwrap();
        step(&map, &index, &device).unwrap();
        let report = ctx.block_on(attention.report(&ctx)).unwrap();
        // 4 sinks, 5 found, and the 44 rows behind 256.
        assert!(report.iter().all(|list| (list.listed, list.always) == (53, 48)), "{report:?}");
        // So few rows are left that none is covered.
        device.truncate(&ctx, 30).unwrap();
        map.update(&ctx, device.layout(), &[]).unwrap();
        index.clear();
        let error = step(&map, &index, &device).unwrap_err().to_string();
        assert!(error.contains("cleared"), "{error}");
        assert_eq!(index.update(&ctx, device.layout(), 1).unwrap(), Update::None);
        step(&map, &index, &device).unwrap();
        let report = ctx.block_on(attention.report(&ctx)).unwrap();
        assert!(report.iter().all(|list| (list.listed, list.always) == (30, 30)), "{report:?}");
    }
}

#[test]
fn modes_without_an_index_give_what_the_definition_gives() {
    for ctx in contexts() {
        let whole = cache(333);
        let data: Vec<HeadData> = (0..HEADS).map(|head| whole.head(head).unwrap()).collect();
        let slices: Vec<HeadSlices<'_>> = data.iter().map(HeadSlices::from).collect();
        let host = KeyIndex::from_cache(&whole, &[0; HEADS], 0).unwrap();
        let device = DeviceCache::upload(&ctx, &whole).unwrap();
        let map = RowMap::new(device.layout(), &[]).unwrap();
        let map = DeviceRowMap::upload(&ctx, map).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let asked: Vec<f32> = numbers(&mut rng, Q_LEN).iter().map(|q| 8.0 * q).collect();
        let q = ctx.upload(&asked).unwrap();
        let o = ctx.alloc::<f32>(Q_LEN).unwrap();
        let lse = ctx.alloc::<f32>(Q_LEN / DIM).unwrap();
        for selection in [
            Selection::TopK { k: Amount::Count(20) },
            Selection::TopK { k: Amount::Fraction(2.0) },
            Selection::Threshold { keep: 0.05 },
            Selection::Threshold { keep: 0.0 },
        ] {
            for share in [Share::Query, Share::Group] {
                let mode = Mode::new(selection);
                let queries =
                    DecodeQueries { lse: true, ..DecodeQueries::new(whole.shape(), GROUP) };
                let options = SparseOptions { share, ..SparseOptions::new(mode) };
                let attention =
                    SparseAttention::new(&ctx, &device, &map, None, queries, &options).unwrap();
                let bound = attention.bind(&q, &device, &map, None, &o, Some(&lse)).unwrap();
                ctx.submit(|pass| bound.record(pass, &map, None, device.layout())).unwrap();
                let logits = Logits::scaled(f64::from((DIM as f32).sqrt().recip()));
                let lists = attention.spec().lists;
                let asking = SparseQueries { q: &asked, lists, logits, mode };
                let expected = attend(&asking, &host, &slices).unwrap();
                for (view, expected) in [(&o, &expected.o), (&lse, &expected.lse)] {
                    let found = ctx.block_on(ctx.read::<f32>(view)).unwrap();
                    for (found, expected) in found.iter().zip(expected) {
                        let off = (f64::from(*found) - expected).abs();
                        assert!(off <= 1e-4, "{selection:?} {share:?}: {found}, not {expected}");
                    }
                }
            }
        }
    }
}
