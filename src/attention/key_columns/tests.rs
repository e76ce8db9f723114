use super::*;
use crate::attention::sparse::{IndexMap, IndexShape};
use crate::attention::{CacheShape, KvElement, RowMapShape};
use half::f16;

fn source() -> IndexSource {
    let shape = CacheShape::new(3, 80, KvElement::Int8).unwrap();
    let index = *IndexMap::new(80, &[100, 5, 1000]).unwrap().shape();
    let map = RowMapShape { heads: 3, starts: 0, page_rows: 16, entries: 80 };
    IndexSource { shape, tensor_rows: 1280, map, index, at_once: 1000 }
}

#[test]
fn small_numbers_are_zero_and_there_is_one_that_is_none() {
    let bits = |x: f32| index_number(x).to_bits();
    let least = 2f32.powi(-14);
    for (x, expected) in [
        (1.0, 0x3c00),
        (-0.0, 0),
        (least, 0x400),
        (-least, 0x8400),
        // Rounded first.
        (least * (1.0 - 2f32.powi(-12)), 0x400),
        (least * (1.0 - 2f32.powi(-10)), 0),
        (-1e-30, 0),
        (65_519.0, 0x7bff),
        (65_520.0, 0x7c00),
        (f32::NEG_INFINITY, 0xfc00),
        (f32::NAN, 0x7e00),
        (-f32::NAN, 0x7e00),
    ] {
        assert_eq!(bits(x), expected, "{x}");
    }
    assert_eq!(index_number(2048.5), f16::from_f32(2048.0));
}

#[test]
fn an_index_fits_its_cache_and_map() {
    let caps = Caps::webgpu();
    let launches = KeyColumns(source()).launches(&caps, &Knobs::DEFAULT).unwrap();
    assert_eq!(launches[0].grid(), [3 * 16 * 2, 1, 1]);
    assert_eq!(launches[0].traffic().bytes(), 3000 * (84 + 160));
    assert!(launches[0].operands().iter().all(|o| ![VALUES, VALUE_PARAMS].contains(&o.binding)));
    let refused = |source: IndexSource| {
        KeyColumns(source).launches(&caps, &Knobs::DEFAULT).unwrap_err().to_string()
    };
    let index = |index: IndexShape| IndexSource { index, ..source() };
    let own = source().index;
    assert!(refused(index(IndexShape { dim: 64, ..own })).contains("columns"));
    assert!(refused(index(IndexShape { heads: 2, ..own })).contains("KV heads"));
    assert!(
        refused(index(IndexShape { elements: 1 << 27, ..own })).contains("columns of an index")
    );
    let map = RowMapShape { starts: 1, ..source().map };
    assert!(refused(IndexSource { map, ..source() }).contains("starts"));
    for at_once in [0, 1025] {
        let error = refused(IndexSource { at_once, ..source() });
        assert!(error.contains("1..=1024"), "{error}");
    }
}
