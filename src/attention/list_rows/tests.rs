use super::*;
use crate::attention::sparse::{HeadColumns, IndexMap, Share};
use crate::attention::{CacheShape, KvElement};

const LISTS: Lists = Lists {
    tokens: 2,
    heads: 3,
    group: 2,
    share: Share::Group,
    capacity: 8,
    sinks: 2,
    causal: true,
};

fn spec() -> ListRows {
    let shape = CacheShape::new(3, 64, KvElement::F16).unwrap();
    let index = *IndexMap::new(64, &[100, 5, 1000]).unwrap().shape();
    let map = RowMapShape { heads: 3, starts: 0, page_rows: 0, entries: 0 };
    let queries = DecodeQueries { q_len: 2, ..DecodeQueries::new(&shape, 2) };
    let (tail, covered, listed) = (Tail::Mean, 900, 30);
    ListRows { lists: LISTS, queries, index, map, tail, covered, listed }
}

#[test]
fn the_reference_lists_sinks_new_rows_and_hits() {
    let columns = HeadColumns { stride: 64, rows: 6, ..bytemuck::Zeroable::zeroed() };
    let hits: [&[i32]; 2] = [&[5, 0, -1, 0, 0, 7], &[0, 0, 2, -9, 0, 1]];
    let of = |list, lists: &Lists, flagged, queries: &[(bool, &[i32])]| {
        reference(lists, list, &Searched { len: 9, columns, flagged, queries })
    };
    let both = [(false, hits[0]), (false, hits[1])];
    // Of the first token, which does not see the last row.
    let listed = of(0, &LISTS, false, &both);
    assert_eq!((listed.rows, listed.counts), (vec![0, 1, 6, 7, 2, 5], [6, 4, 0, 0]));
    let listed = of(3, &LISTS, false, &both);
    assert_eq!((listed.rows, listed.counts), (vec![0, 1, 6, 7, 8, 2, 5], [7, 5, 0, 0]));
    let all = (vec![0, 1, 6, 7, 8, 2, 3, 4], [8, 5, 1, 1]);
    let none: &[i32] = &[0, -3, 0, 0, 0, 0];
    for (flagged, queries) in [
        (true, both),
        (false, [(false, hits[0]), (true, hits[1])]),
        (false, [(false, none), (false, none)]),
    ] {
        let listed = of(3, &LISTS, flagged, &queries);
        assert_eq!((listed.rows, listed.counts), all);
    }
    let short = Lists { capacity: 4, ..LISTS };
    let listed = of(3, &short, false, &both);
    assert_eq!((listed.rows, listed.counts), (vec![0, 1, 6, 7], [4, 4, 0, 3]));
}

#[test]
fn a_rest_of_equal_keys_weighs_what_they_would() {
    let (q, keys) = ([2.0, -1.0], [12.0, 4.0]);
    let logits = crate::attention::reference::Logits { scale: 0.5, softcap: None };
    // Four keys of (3, 1): logits of 2.5.
    let rest = reference_rest(&q, [&keys, &[36.0, 4.0]], (4, 8), logits);
    assert!((rest - (3.0 + 2.5 * std::f64::consts::LOG2_E)).abs() < 1e-12, "{rest}");
    // A variance of 4 in the first: half of (0.5 2)^2 4 more.
    let rest = reference_rest(&q, [&keys, &[52.0, 4.0]], (4, 8), logits);
    assert!((rest - (3.0 + 4.5 * std::f64::consts::LOG2_E)).abs() < 1e-12, "{rest}");
    for rows in [(0, 8), (4, 0)] {
        assert_eq!(reference_rest(&q, [&keys, &keys], rows, logits), -1e30);
    }
}

#[test]
fn lists_queries_index_and_map_fit_each_other() {
    let caps = Caps::webgpu();
    let launches = spec().launches(&caps, &Knobs::DEFAULT).unwrap();
    assert_eq!(launches.len(), 2);
    assert_eq!((launches[0].grid(), launches[1].grid()), ([6, 1, 1], [12, 1, 1]));
    assert_eq!(launches[0].traffic().read_bytes, 4 * 4 * 900 + 16 * 12);
    let one = ListRows { tail: Tail::None, ..spec() };
    assert_eq!(one.launches(&caps, &Knobs::DEFAULT).unwrap().len(), 1);
    let refused = |spec: ListRows| spec.launches(&caps, &Knobs::DEFAULT).unwrap_err().to_string();
    let lists = |lists| ListRows { lists, ..spec() };
    assert!(refused(lists(Lists { heads: 2, ..LISTS })).contains("KV heads"));
    assert!(refused(lists(Lists { tokens: 1, ..LISTS })).contains("new tokens"));
    assert!(refused(lists(Lists { group: 3, ..LISTS })).contains("query heads"));
    assert!(refused(lists(Lists { capacity: 7, ..LISTS })).contains("multiples of 4"));
    let map = RowMapShape { starts: 2, ..spec().map };
    assert!(refused(ListRows { map, ..spec() }).contains("starts"));
    let map = RowMapShape { heads: 2, ..spec().map };
    assert!(refused(ListRows { map, ..spec() }).contains("row map"));
    let index = IndexShape { dim: 66, ..spec().index };
    assert!(refused(ListRows { index, ..spec() }).contains("multiples of 4"));
    let error = refused(lists(Lists { capacity: 1 << 25, ..LISTS }));
    assert!(error.contains("lists of rows"), "{error}");
}
