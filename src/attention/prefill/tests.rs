use super::*;
use crate::attention::KvElement;
use crate::{Error, attention::DecodeQueries};

fn layout(element: KvElement) -> Layout {
    let shape = CacheShape::new(2, 128, element).unwrap();
    let mut layout = Layout::ragged(shape, &[100, 30], 64, 100).unwrap();
    layout.append(40).unwrap();
    layout
}

fn spec(element: KvElement) -> Prefill {
    let layout = layout(element);
    let map = RowMap::new(&layout, &[]).unwrap();
    let queries = DecodeQueries { q_len: 40, lse: true, ..DecodeQueries::new(layout.shape(), 3) };
    Prefill::new(queries, &layout, &map).unwrap()
}

fn refused(spec: Prefill) -> Error {
    spec.launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap_err()
}

#[test]
fn everything_that_may_be_bound_fits_a_baseline_device() {
    let spec = spec(KvElement::Int8);
    let [launch] = &spec.launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap()[..] else {
        panic!("one launch")
    };
    assert_eq!((launch.needs().storage_buffers, launch.needs().workgroup_bytes), (8, 16 << 10));
    // 120 query rows are two tiles of each head.
    assert_eq!(launch.grid(), [4, 1, 1]);
    // 210 rows of 32 words and one of params, twice; 40 tokens of 6 heads of 128 in and out.
    let traffic = launch.traffic();
    assert_eq!(traffic.bytes(), 210 * 8 * 33 + 2 * 4 * 40 * 6 * 128);
    // Token 0 sees 101 and 31 rows, each token one more.
    let pairs = 3 * (0..40).map(|token| 101 + 31 + 2 * token).sum::<u64>();
    assert_eq!(traffic.flops, 4 * 128 * pairs);
    let none = Prefill { queries: DecodeQueries { q_len: 0, ..spec.queries }, ..spec };
    assert!(none.launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap().is_empty());
}

#[test]
fn what_does_not_fit_is_refused() {
    let good = spec(KvElement::F16);
    let queries = good.queries;
    for queries in [
        DecodeQueries { group: usize::MAX, ..queries },
        // Query rows are counted by u32.
        DecodeQueries { group: 1 << 27, ..queries },
        DecodeQueries { group: 0, ..queries },
        DecodeQueries { q_len: usize::MAX, ..queries },
        DecodeQueries { scale: f32::NAN, ..queries },
        DecodeQueries { softcap: Some(0.0), ..queries },
    ] {
        let error = refused(Prefill { queries, ..good });
        assert!(matches!(error, Error::Range { .. }), "{error}");
    }
    for map in [RowMapShape { heads: 3, ..good.map }, RowMapShape { starts: 39, ..good.map }] {
        assert!(matches!(refused(Prefill { map, ..good }), Error::Shape { .. }));
    }
    let map = RowMapShape { entries: u32::MAX, ..good.map };
    assert!(refused(Prefill { map, ..good }).to_string().contains("words of a row map"));
    let large = Prefill { tensor_rows: 1 << 20, ..good };
    assert!(matches!(refused(large), Error::BindingTooLarge { .. }));
}

#[test]
fn maps_follow_their_layout() {
    let mut layout = layout(KvElement::F16);
    let mut map = RowMap::new(&layout, &[]).unwrap();
    assert_eq!(map.words(), [40, 0, 0, 0, 0, 100, 176, 30]);
    assert!(map.update(&layout, &[]).unwrap().is_empty());
    layout.append(3).unwrap();
    assert!(map.check(&layout).unwrap_err().to_string().contains("stale row map"));
    let queries = DecodeQueries { q_len: 3, ..DecodeQueries::new(layout.shape(), 3) };
    Prefill::new(queries, &layout, &map).unwrap_err();
    let changed = map.update(&layout, &[]).unwrap();
    assert_eq!((changed.len(), changed[0].clone()), (1, 0..8));
    map.check(&layout).unwrap();
    assert!(matches!(map.update(&layout, &[1]), Err(Error::Shape { .. })));
    assert!(matches!(map.update(&layout, &[1, 2]), Err(Error::Shape { .. })));
    layout.relayout().unwrap();
    map.check(&layout).unwrap_err();
    map.update(&layout, &[]).unwrap();
    map.check(&layout).unwrap();
}

#[test]
fn windows_count_from_their_starts() {
    let layout = layout(KvElement::F16);
    let starts: Vec<u32> = (0..40).flat_map(|token| [90 + token, 20 + token]).collect();
    let map = RowMap::new(&layout, &starts).unwrap();
    let queries = DecodeQueries { q_len: 40, ..DecodeQueries::new(layout.shape(), 2) };
    let spec = Prefill::new(queries, &layout, &map).unwrap();
    assert_eq!((spec.rows, spec.pairs), (50 + 50, 2 * 40 * 22));
}
