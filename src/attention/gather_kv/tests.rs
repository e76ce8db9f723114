use super::*;
use crate::attention::{KeepLists, KvElement, Layout};

#[test]
fn rows_that_stay_move_twice() {
    let shape = CacheShape::new(2, 64, KvElement::Int8).unwrap();
    let from = Places::of(&Layout::plain(shape, 100).unwrap());
    let to = Places::of(&Layout::paged(shape, &[10, 20], 16, 9, 50).unwrap());
    let spec = GatherKv { shape, rows: 30, from, to, positions: true };
    let launches = spec.launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap();
    assert_eq!(launches.len(), 5);
    let lists = 4 * 30 + 12 + 32 + 8;
    let traffic: Vec<_> = launches.iter().map(|launch| launch.traffic()).collect();
    assert_eq!((traffic[0].read_bytes, traffic[0].write_bytes), (30 * 64 + lists, 30 * 64));
    assert_eq!((traffic[4].read_bytes, traffic[4].write_bytes), (30 * 4 + lists, 30 * 4));
    let none = GatherKv { rows: 0, ..spec };
    assert!(none.launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap().is_empty());
    let refused = |spec: GatherKv, knobs| spec.launches(&Caps::webgpu(), &knobs).unwrap_err();
    assert!(matches!(refused(GatherKv { rows: 145, ..spec }, Knobs::DEFAULT), Error::Range { .. }));
    for lanes in [4, 48, 512] {
        let knobs = Knobs { workgroup: Some(lanes), ..Knobs::DEFAULT };
        assert!(matches!(refused(spec, knobs), Error::Range { .. }), "{lanes}");
    }
    let large = Places { rows: 3 << 20, page_rows: 0, entries: 0 };
    let error = refused(GatherKv { from: large, ..spec }, Knobs::DEFAULT).to_string();
    assert!(error.contains("keys of the old cache"), "{error}");
}

#[test]
fn the_reference_follows_both_views() {
    let shape = CacheShape::new(2, 64, KvElement::F32).unwrap();
    let mut old = Layout::plain(shape, 5).unwrap();
    old.append(5).unwrap();
    let keep = KeepLists::new(&[vec![1, 4], vec![0]], &old.lengths()).unwrap();
    let new = Layout::ragged(shape, &keep.lengths(), 1, 5).unwrap();
    let from: Vec<u32> = (0..10).collect();
    let mut to = vec![99; new.rows() as usize];
    reference(&keep, 1, (&old.view(), &from), (&new.view(), &mut to)).unwrap();
    assert_eq!((to[0], to[1], to[2], to[16]), (1, 4, 99, 5));
    let error = reference(&keep, 1, (&old.view(), &from[..4]), (&new.view(), &mut to)).unwrap_err();
    assert!(matches!(error, Error::Range { .. }), "{error}");
}
