use super::*;
use crate::attention::sparse::{IndexMap, Share};
use crate::launch::Reduce;

const LISTS: Lists = Lists {
    tokens: 2,
    heads: 1,
    group: 2,
    share: Share::Group,
    capacity: 8,
    sinks: 1,
    causal: true,
};

fn of_index() -> TopRows {
    let shape = *IndexMap::new(64, &[1000]).unwrap().shape();
    let ranked = Ranked::Index { shape, tail: Tail::Mean };
    let map = RowMapShape { heads: 1, starts: 0, page_rows: 0, entries: 0 };
    TopRows { lists: LISTS, map, ranked, rows: 900, listed: 16 }
}

#[test]
fn the_reference_lists_sinks_then_new_rows_then_the_best() {
    let ranks = [9.0, 1.0, f32::NAN, 1.0, 0.0, -0.0];
    let ranking = Ranking { len: 8, ranks: &ranks, k: 2, flagged: false };
    // Token 0 sees seven rows.
    let found = reference(&LISTS, 0, &ranking);
    assert_eq!((found.rows, found.counts), (vec![0, 6, 1, 2], [4, 2, 0, 0]));
    let found = reference(&LISTS, 1, &Ranking { k: 4, ..ranking });
    assert_eq!((found.rows, found.counts), (vec![0, 6, 7, 1, 2, 3, 4], [7, 3, 0, 0]));
    let found = reference(&LISTS, 1, &Ranking { flagged: true, ..ranking });
    assert_eq!(found.counts, [8, 3, 1, 0]);
    let short = Lists { capacity: 4, ..LISTS };
    let found = reference(&short, 1, &Ranking { k: 4, ..ranking });
    assert_eq!((found.rows, found.counts), (vec![0, 6, 7, 2], [4, 3, 0, 3]));
    assert_eq!(rest(&[1.0, 1.0, 5.0], &[2, 7], 0.5), 2.5);
    assert_eq!(rest(&[1.0], &[0], 0.5), f64::from(crate::attention::NO_KEY));
}

#[test]
fn lanes_are_as_many_as_the_device_allows() {
    let wide = Caps {
        subgroups: true,
        subgroup_min: 32,
        subgroup_max: 32,
        max_invocations: 1024,
        max_workgroup_bytes: 48 << 10,
        ..Caps::webgpu()
    };
    let form = |caps: &Caps, workgroup| {
        let launches = of_index().launches(caps, &Knobs { workgroup, ..Knobs::DEFAULT });
        launches.map(|all| (all[0].variant(), all[0].needs().invocations))
    };
    assert_eq!(form(&Caps::webgpu(), None).unwrap(), ("baseline", 256));
    assert_eq!(form(&wide, None).unwrap(), ("subgroup", 1024));
    assert_eq!(form(&wide, Some(512)).unwrap(), ("subgroup", 512));
    assert_eq!(form(&Caps { max_workgroup_bytes: 18 << 10, ..wide.clone() }, None).unwrap().1, 512);
    assert!(matches!(form(&wide, Some(128)), Err(Error::Range { .. })));
    assert!(matches!(form(&Caps::webgpu(), Some(1024)), Err(Error::Unsupported { .. })));
    let knobs = Knobs { reduce: Some(Reduce::Subgroup), ..Knobs::DEFAULT };
    let error = of_index().launches(&Caps::webgpu(), &knobs).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let good = of_index();
    let launch = &good.launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap()[0];
    assert_eq!((launch.grid(), launch.needs().storage_buffers), ([2, 1, 1], 8));
    // Ranks of two lists, scores of both query rows of each, and what is not read; lists and counts.
    assert_eq!(launch.traffic().read_bytes, 4 * (3 * 1800 + 4));
    assert_eq!(launch.traffic().write_bytes, 4 * (16 + 8));
    let refused =
        |spec: TopRows| spec.launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap_err().to_string();
    let map = RowMapShape { heads: 2, ..good.map };
    assert!(refused(TopRows { map, ..good }).contains("row map"));
    let map = RowMapShape { starts: 2, ..good.map };
    assert!(refused(TopRows { map, ..good }).contains("starts of a window"));
    let lists = Lists { capacity: 6, ..LISTS };
    assert!(refused(TopRows { lists, ..good }).contains("capacity"));
    let ranked = Ranked::Seen { stride: 1001, k: 5 };
    assert!(refused(TopRows { ranked, ..good }).contains("scores of a query row"));
    let ranked = Ranked::Seen { stride: 1 << 30, k: 5 };
    assert!(refused(TopRows { ranked, ..good }).contains("scores of top_rows"));
    let shape = *IndexMap::new(64, &[1000, 10]).unwrap().shape();
    let ranked = Ranked::Index { shape, tail: Tail::None };
    assert!(refused(TopRows { ranked, ..good }).contains("KV heads"));
}

#[test]
fn few_long_lists_are_cut() {
    let launches = |lists: u32, room: u32, slices| {
        let shape = *IndexMap::new(64, &vec![room; lists as usize]).unwrap().shape();
        let ranked = Ranked::Index { shape, tail: Tail::Mean };
        let of = Lists { tokens: 1, heads: lists, ..LISTS };
        let map = RowMapShape { heads: lists, starts: 0, page_rows: 0, entries: 0 };
        let spec = TopRows { lists: of, map, ranked, ..of_index() };
        spec.launches(&Caps::webgpu(), &Knobs { slices, ..Knobs::DEFAULT })
    };
    let grids = |lists, room, slices| -> Vec<u32> {
        launches(lists, room, slices).unwrap().iter().map(|l| l.grid()[0]).collect()
    };
    assert_eq!(grids(8, 65_536, None), [64, 64, 8]);
    assert_eq!(grids(64, 65_536, None), [256, 256, 64]);
    // Too many, or too short, and whatever is asked for.
    assert_eq!(grids(129, 65_536, None), [129]);
    assert_eq!(grids(8, 16_320, None), [8]);
    assert_eq!(grids(8, 65_536, Some(1)), [8]);
    assert_eq!(grids(1, 640, Some(5)), [5, 5, 1]);
    // Counts of a slice are of 16 bits.
    assert_eq!(grids(1, 1 << 21, None), [64, 64, 1]);
    for (room, slices) in [(640, 0), (640, 33), (1 << 17, 3), (1 << 17, 33)] {
        let error = launches(1, room, Some(slices)).unwrap_err();
        assert!(error.to_string().contains("slices of top_rows"), "{error}");
    }
    // All launches share memory that holds counts, candidates and sums of slices, and nobody counts twice.
    let all = launches(8, 65_536, None).unwrap();
    let words = 8 * (8 + 3 * 512 + 8 * (1024 + 2 * 2));
    for (launch, buffers) in all.iter().zip([5, 7, 8]) {
        assert_eq!(launch.scratch()[0].bytes, 4 * words);
        assert_eq!(launch.needs().storage_buffers, buffers);
    }
    assert_eq!(all[1].traffic().read_bytes + all[2].traffic().write_bytes, 0);
}
