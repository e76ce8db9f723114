use super::*;
use crate::attention::sparse::IndexMap;
use crate::attention::{CacheShape, KvCache, KvElement, Layout, RowMapShape};

fn source(at_once: u32) -> IndexSource {
    let shape = CacheShape::new(2, 128, KvElement::F16).unwrap();
    let index = *IndexMap::new(128, &[1 << 20, 100]).unwrap().shape();
    let map = RowMapShape { heads: 2, starts: 0, page_rows: 0, entries: 0 };
    IndexSource { shape, tensor_rows: 100, map, index, at_once }
}

#[test]
fn the_reference_adds_new_rows_alone() {
    let shape = CacheShape::new(1, 64, KvElement::F32).unwrap();
    let mut cache = KvCache::new(Layout::plain(shape, 16).unwrap()).unwrap();
    // Rows of -1, 2, -3.
    let rows: Vec<f32> = [-1.0, 2.0, -3.0].iter().flat_map(|x| [*x; 64]).collect();
    let values: Vec<f32> = rows.iter().map(|x| 10.0 * x).collect();
    cache.append(&rows, &values).unwrap();
    let mut map = IndexMap::new(64, &[16]).unwrap();
    map.extend(&[1]).unwrap();
    map.extend(&[3]).unwrap();
    let found = reference(&cache, &map, &[0.5; 192]).unwrap();
    let each = |all: &[f64]| [all[0], all[64], all[191]];
    assert_eq!(each(&found.sums), [-0.5, 13.5, -9.5]);
    assert_eq!(each(&found.magnitudes), [5.5, 13.5, 50.5]);
    map.clear();
    map.extend(&[2]).unwrap();
    let found = reference(&cache, &map, &[f32::NAN; 192]).unwrap();
    assert_eq!(each(&found.sums), [1.0, 5.0, 10.0]);
    assert!(reference(&cache, &map, &[0.0; 64]).is_err());
}

#[test]
fn a_million_rows_go_through_few_additions() {
    assert_eq!(depth(&source(1 << 20), 1 << 20), 32 + 64 + 8 + 64 + 1);
    assert_eq!(depth(&source(100), 100), 7 + 1 + 8 + 2 + 1);
    let launches = RowSums(source(1 << 20)).launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap();
    let grids: Vec<_> = launches.iter().map(Launch::grid).collect();
    assert_eq!(grids, [[128, 1, 1], [3, 1, 1]]);
    assert_eq!(launches[0].scratch()[0].bytes, 2 * 64 * 3 * 512);
}
