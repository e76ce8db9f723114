use super::*;
use crate::attention::KvElement;
use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::HashSet;

fn shape(kv_heads: usize) -> CacheShape {
    CacheShape::new(kv_heads, 64, KvElement::F16).unwrap()
}

/// Every row of every head has a row of the tensors to itself; those rows.
fn places(layout: &Layout) -> Vec<Vec<u32>> {
    let view = layout.view();
    let mut taken = HashSet::new();
    let heads = 0..layout.shape().kv_heads();
    heads
        .map(|head| {
            let rows = (0..layout.len(head)).map(|row| {
                let at = view.row(head, row).unwrap();
                assert!(at < layout.rows() && taken.insert(at), "row {row} of head {head}: {at}");
                at
            });
            let rows = rows.collect();
            assert_eq!(view.row(head, layout.len(head)), None);
            rows
        })
        .collect()
}

#[test]
fn heads_of_a_plain_layout_have_one_capacity() {
    let mut layout = Layout::plain(shape(3), 40).unwrap();
    assert!(layout.is_empty() && !layout.is_full());
    assert_eq!((layout.append(25).unwrap(), layout.append(15).unwrap()), (0, 25));
    assert!(layout.is_full());
    assert_eq!(places(&layout)[1], (40..80).collect::<Vec<_>>());
    assert_eq!(layout.view().head_words(), [0, 0, 40, 0, 80, 0]);
    assert!(matches!(layout.append(1), Err(Error::Range { .. })));
    assert!(matches!(layout.relayout(), Err(Error::Unsupported { .. })));
    layout.truncate(7).unwrap();
    assert_eq!((layout.lengths(), layout.next_position()), (vec![7; 3], 7));
    assert!(matches!(layout.truncate(8), Err(Error::Range { .. })));
    assert_eq!((layout.generation(), layout.version()), (0, 0));
    let none = Layout::plain(shape(2), 0).unwrap();
    assert!(none.is_empty() && none.is_full());
}

#[test]
fn segments_have_slack_and_move_when_it_is_doubled() {
    let mut layout = Layout::ragged(shape(3), &[0, 5, 1000], 512, 2000).unwrap();
    assert_eq!(layout.view().head_words(), [0, 0, 512, 5, 512 + 528, 1000]);
    assert_eq!(layout.rows(), 512 + 528 + 1520);
    let Placement::Ragged(ragged) = layout.placement() else { panic!() };
    assert_eq!([0, 1, 2, 3].map(|head| ragged.capacity(head)), [512, 528, 1520, 0]);
    assert_eq!(layout.append(512).unwrap(), 0);
    assert!(layout.is_full());
    assert_eq!((layout.len(0), layout.len(2), layout.len(3)), (512, 1512, 0));
    let before = places(&layout);
    let copies = layout.relayout().unwrap();
    assert_eq!((layout.generation(), layout.version(), layout.room()), (1, 1, 512));
    assert_eq!(layout.next_position(), 2512);
    let after = places(&layout);
    for (head, copy) in copies.iter().enumerate() {
        assert_eq!(copy.head, head as u32);
        assert_eq!(before[head], (copy.from..copy.from + copy.rows).collect::<Vec<_>>());
        assert_eq!(after[head], (copy.to..copy.to + copy.rows).collect::<Vec<_>>());
    }
    layout.truncate(0).unwrap();
    assert_eq!(layout.lengths(), [0, 5, 1000]);
    // Nothing to move for a head without rows.
    assert_eq!(layout.relayout().unwrap().len(), 2);
}

#[test]
fn pages_are_taken_and_released() {
    for page_rows in PAGE_ROWS {
        let kept = [0, 1, page_rows, page_rows + 1];
        let mut layout = Layout::paged(shape(4), &kept, page_rows, 4 + 8, 100).unwrap();
        let free = |layout: &Layout| match layout.placement() {
            Placement::Paged(paged) => paged.pool().free(),
            other => panic!("{other:?}"),
        };
        assert_eq!((free(&layout), layout.room(), layout.version()), (8, 2 * page_rows, 0));
        layout.append(1).unwrap();
        assert_eq!((free(&layout), layout.version()), (4, 1));
        places(&layout);
        // Of the page that was taken there is room for the others.
        layout.append(page_rows - 1).unwrap();
        assert_eq!((free(&layout), layout.version(), layout.room()), (4, 1, page_rows));
        let before = places(&layout);
        layout.append(page_rows).unwrap();
        assert!(layout.is_full() && free(&layout) == 0);
        assert!(matches!(layout.append(1), Err(Error::Range { .. })));
        layout.truncate(page_rows).unwrap();
        assert_eq!((places(&layout), free(&layout)), (before, 4));
        layout.truncate(0).unwrap();
        assert_eq!((layout.lengths(), free(&layout)), (kept.to_vec(), 8));
        assert_eq!(layout.generation(), 0);
    }
}

#[test]
fn any_history_leaves_every_row_a_place_of_its_own() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for round in 0..60 {
        let heads = rng.random_range(1..6);
        let kept: Vec<u32> = (0..heads).map(|_| rng.random_range(0..90)).collect();
        let mut layout = match round % 3 {
            0 => Layout::plain(shape(heads), 200).unwrap(),
            1 => Layout::ragged(shape(heads), &kept, rng.random_range(1..40), 90).unwrap(),
            _ => Layout::paged(shape(heads), &kept, 16, 80, 90).unwrap(),
        };
        for _ in 0..12 {
            match rng.random_range(0..3) {
                0 => layout.truncate(rng.random_range(0..=layout.appended())).unwrap(),
                _ => {
                    let rows = rng.random_range(0..20);
                    if rows > layout.room() && layout.relayout().is_err() {
                        continue;
                    }
                    let before = (rows <= layout.room()).then(|| layout.clone());
                    match (layout.append(rows), before) {
                        (Ok(before), Some(of)) => assert_eq!(before, of.appended()),
                        (Err(Error::Range { .. }), None) => {}
                        (other, _) => panic!("{other:?}"),
                    }
                }
            }
            places(&layout);
        }
    }
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    let range = |layout: Result<Layout>| assert!(matches!(layout, Err(Error::Range { .. })));
    // 8 pieces a row.
    range(Layout::plain(shape(8), u32::MAX / 64 + 1));
    assert!(Layout::plain(shape(8), u32::MAX / 64).is_ok());
    range(Layout::plain(shape(2), u32::MAX));
    range(Layout::ragged(shape(2), &[u32::MAX, u32::MAX], 512, u32::MAX));
    range(Layout::ragged(shape(2), &[1, 2], 0, 10));
    range(Layout::ragged(shape(2), &[1, 2], u32::MAX, 10));
    // More rows than there were tokens.
    range(Layout::ragged(shape(2), &[1, 11], 512, 10));
    range(Layout::paged(shape(2), &[1, 11], 16, 100, 10));
    range(Layout::paged(shape(2), &[1, 2], 64, 100, 10));
    range(Layout::paged(shape(2), &[1, 17], 16, 2, 20));
    range(Layout::paged(shape(2), &[1, 2], 32, u32::MAX, 10));
    let kept = Layout::ragged(shape(2), &[1], 512, 10);
    assert!(matches!(kept, Err(Error::Shape { .. })));
    // Positions end where u32 does.
    let mut last = Layout::ragged(shape(1), &[1], 512, u32::MAX - 3).unwrap();
    assert_eq!(last.room(), 3);
    range(last.append(4).map(|_| last.clone()));
    last.append(3).unwrap();
    assert_eq!(last.next_position(), u32::MAX);
    // Twice the reserve would be too many rows.
    let mut wide = Layout::ragged(shape(1), &[0], 1 << 28, 0).unwrap();
    let before = wide.clone();
    assert!(matches!(wide.relayout(), Err(Error::Range { .. })));
    assert_eq!(wide, before);
}

#[test]
fn lists_ascend_within_their_heads() {
    let keep = KeepLists::new(&[vec![0, 3], vec![], vec![7]], &[4, 0, 8]).unwrap();
    assert_eq!((keep.first(), keep.rows()), (&[0, 2, 2, 3][..], &[0, 3, 7][..]));
    assert_eq!((keep.lengths(), keep.heads()), (vec![2, 0, 1], 3));
    assert_eq!((keep.head(0), keep.head(2)), (&[0, 3][..], &[7][..]));
    assert!(keep.head(1).is_empty() && keep.head(3).is_empty() && keep.head(usize::MAX).is_empty());
    let error = |lists: &[&[u32]]| KeepLists::new(lists, &[4, 4]).unwrap_err().to_string();
    assert!(error(&[&[0], &[2, 1]]).contains("kept row number 1 of head 1"));
    assert!(error(&[&[0], &[2, 2]]).contains("kept row number 1 of head 1"));
    assert!(error(&[&[4], &[]]).contains("kept row of head 0 = 4"));
    assert!(error(&[&[]]).contains("lists of kept rows"));
}

#[test]
fn some_of_the_heads_are_a_layout_by_themselves() {
    let kept = [5, 40, 0, 17];
    let ragged = Layout::ragged(shape(4), &kept, 20, 50).unwrap();
    let paged = Layout::paged(shape(4), &kept, 16, 30, 50).unwrap();
    for mut layout in [Layout::plain(shape(4), 60).unwrap(), ragged, paged] {
        layout.append(18).unwrap();
        for heads in [0..4, 1..3, 3..4] {
            let mut group = layout.of_heads(heads.clone()).unwrap();
            assert_eq!(group.lengths(), layout.lengths()[heads.clone()]);
            assert_eq!(group.next_position(), layout.next_position());
            assert_eq!(group.generation(), layout.generation());
            places(&group);
            assert!(group.room() > 0 && group.room() <= layout.room().max(14));
            group.append(1).unwrap();
            places(&group);
        }
        for heads in [0..0, 3..5, 4..4] {
            assert!(matches!(layout.of_heads(heads), Err(Error::Range { .. })));
        }
    }
}

#[test]
fn groups_of_heads_fit_their_limit_in_order() {
    // 128 bytes a row; segments of 32, 64, 32 and 48 rows.
    let layout = Layout::ragged(shape(4), &[5, 40, 0, 17], 20, 50).unwrap();
    let rows = |rows: u64| layout.head_groups(rows * 128);
    assert_eq!(rows(176).unwrap(), vec![0..4; 1]);
    assert_eq!(rows(175).unwrap(), [0..3, 3..4]);
    assert_eq!(rows(95).unwrap(), [0..1, 1..2, 2..4]);
    assert_eq!(rows(64).unwrap(), [0..1, 1..2, 2..3, 3..4]);
    let error = rows(63).unwrap_err();
    assert!(matches!(error, Error::BindingTooLarge { bytes: 8192, .. }), "{error}");
    assert!(error.to_string().contains("head 1"), "{error}");
}
