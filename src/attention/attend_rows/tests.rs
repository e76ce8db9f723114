use super::*;
use crate::attention::KvElement;
use crate::attention::sparse::Share;

fn lists() -> Lists {
    Lists {
        tokens: 2,
        heads: 3,
        group: 4,
        share: Share::Group,
        capacity: 200,
        sinks: 4,
        causal: true,
    }
}

fn spec() -> AttendRows {
    let shape = CacheShape::new(3, 64, KvElement::Int4).unwrap();
    let queries = DecodeQueries { q_len: 2, ..DecodeQueries::new(&shape, 4) };
    AttendRows { shape, tensor_rows: 1000, queries, lists: lists(), splits: 3, rows: 600 }
}

#[test]
fn everything_that_may_be_bound_fits_a_baseline_device() {
    let launches = spec().launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap();
    assert_eq!(launches[0].needs().storage_buffers, 8);
    assert_eq!(launches[0].grid(), [18, 1, 1]);
    // 600 rows of int4 keys and values with a parameter each and a place, q, and 18 states of 4 queries.
    let bytes = 600 * (2 * (32 + 4) + 4) + 4 * 24 * 64 + 18 * 4 * 4 * 68;
    assert_eq!(launches[0].traffic().bytes(), bytes);
}

#[test]
fn parts_are_as_many_as_workgroups_ask_for_and_rows_allow() {
    assert_eq!(AttendRows::usual_splits(&lists(), 0), 1);
    assert_eq!(AttendRows::usual_splits(&lists(), 12), 2);
    // 200 rows are three parts of 64.
    assert_eq!(AttendRows::usual_splits(&lists(), 10_000), 3);
}

#[test]
fn lists_of_others_are_refused() {
    let refused = |lists: Lists, splits| {
        let spec = AttendRows { lists, splits, ..spec() };
        spec.launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap_err().to_string()
    };
    let base = lists();
    assert!(refused(Lists { heads: 2, ..base }, 3).contains("KV heads of lists"));
    assert!(refused(Lists { group: 3, ..base }, 3).contains("query heads of a KV head"));
    assert!(refused(Lists { tokens: 1, ..base }, 3).contains("new tokens of lists"));
    assert!(refused(Lists { capacity: 6, ..base }, 3).contains("capacity of lists"));
    assert!(refused(base, 0).contains("parts of a list"));
}

#[test]
fn a_merge_takes_an_index_of_the_same_heads() {
    let index = crate::attention::sparse::IndexMap::new(64, &[100, 100]).unwrap();
    let listed = Listed { attend: Attending::Rows(spec()), rest: Some(*index.shape()) };
    let error = listed.launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap_err();
    assert!(error.to_string().contains("index of a merge"), "{error}");
    assert_eq!(listed.tail(), Tail::Mean);
}
