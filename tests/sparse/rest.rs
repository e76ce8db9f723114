//! The estimated weight of rows that are not listed, where listed ones have nearly all that is known.

use fewbytes::attention::reference::Logits;
use fewbytes::attention::sparse::attend::{HeadSlices, SparseQueries, attend};
use fewbytes::attention::sparse::sorted::KeyIndex;
use fewbytes::attention::sparse::{Amount, Mode, Selection, Tail};
use fewbytes::attention::{
    CacheShape, DecodeQueries, HeadData, KvCache, KvElement, Layout, RowMap,
};
use fewbytes_wgpu::ops::sparse::{DeviceIndex, IndexOptions, SparseAttention, SparseOptions};
use fewbytes_wgpu::ops::{DeviceCache, DeviceRowMap};
use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;

const DIM: usize = 64;
const ROWS: usize = 320;

#[test]
fn what_is_left_of_little_is_not_what_rounding_leaves_of_much() {
    let mut rng = ChaCha8Rng::seed_from_u64(30);
    let shape = CacheShape::new(1, DIM, KvElement::F32).unwrap();
    let mut whole = KvCache::new(Layout::plain(shape, ROWS as u32).unwrap()).unwrap();
    let mut keys: Vec<f32> = (0..ROWS * DIM).map(|_| rng.random_range(-1.0..1.0)).collect();
    // The first component alone is read: 40 rows are far above the others by it.
    for (row, key) in keys.chunks_exact_mut(DIM).enumerate() {
        key[0] = if row % 8 == 5 { 20.0 + key[0] } else { 0.0 };
    }
    let values: Vec<f32> = (0..ROWS * DIM).map(|_| rng.random_range(-1.0..1.0)).collect();
    whole.append(&keys, &values).unwrap();
    let data: Vec<HeadData> = vec![whole.head(0).unwrap()];
    let slices: Vec<HeadSlices<'_>> = data.iter().map(HeadSlices::from).collect();
    let host = KeyIndex::from_cache(&whole, &[ROWS as u32], 0).unwrap();
    let selection = Selection::ComponentTopR { r: 1, k: Amount::Count(40) };
    let mode = Mode { selection, tail: Tail::Mean };
    for ctx in crate::contexts() {
        let device = DeviceCache::upload(&ctx, &whole).unwrap();
        let map = RowMap::new(device.layout(), &[]).unwrap();
        let map = DeviceRowMap::upload(&ctx, map).unwrap();
        let mut index = DeviceIndex::new(&ctx, &device, &map, &IndexOptions::columns()).unwrap();
        for x in [4.0, 8.0, 10.0, 11.0, 11.9] {
            let mut asked = vec![x; DIM];
            asked[0] = 12.0;
            let queries = DecodeQueries { lse: true, ..DecodeQueries::new(whole.shape(), 1) };
            let options = SparseOptions::new(mode);
            let attention =
                SparseAttention::new(&ctx, &device, &map, Some(&index), queries, &options).unwrap();
            index.set_budget(&ctx, attention.budget()).unwrap();
            let update = index.update(&ctx, device.layout(), 1).unwrap();
            let q = ctx.upload(&asked).unwrap();
            let (o, lse) = (ctx.alloc::<f32>(DIM).unwrap(), ctx.alloc::<f32>(1).unwrap());
            let bound = attention.bind(&q, &device, &map, Some(&index), &o, Some(&lse)).unwrap();
            ctx.submit(|pass| {
                index.record(pass, update, &map, device.layout())?;
                bound.record(pass, &map, Some(&index), device.layout())
            })
            .unwrap();
            let lists = attention.spec().lists;
            let logits = Logits::scaled(f64::from((DIM as f32).sqrt().recip()));
            let asking = SparseQueries { q: &asked, lists, logits, mode };
            let expected = attend(&asking, &host, &slices).unwrap();
            let found = ctx.block_on(ctx.read::<f32>(&o)).unwrap();
            let sum = f64::from(ctx.block_on(ctx.read::<f32>(&lse)).unwrap()[0]);
            let pairs = found.iter().zip(&expected.o);
            let off = pairs.map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
            assert!(off < 1e-3, "{x}: o is off by {off}");
            assert!((sum - expected.lse[0]).abs() < 1e-3, "{x}: lse {sum} not {}", expected.lse[0]);
        }
    }
}
