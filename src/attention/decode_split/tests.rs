use super::*;
use crate::attention::{KeepMask, KvElement, Planner};
use crate::launch::Reduce;
use crate::linear::Arithmetic;

fn subgroups_of_8() -> Caps {
    Caps { subgroups: true, subgroup_min: 8, subgroup_max: 8, ..Caps::webgpu() }
}

fn spec(element: KvElement, dim: usize, group: usize) -> DecodeSplit {
    let shape = CacheShape::new(2, dim, element).unwrap();
    let layout = Layout::paged(shape, &[100, 30], 16, 20, 100).unwrap();
    let plan = Planner::Stream.plan_layout(&layout, 2).unwrap();
    let schedule = Schedule::new(&plan, &layout, &[]).unwrap();
    let queries = DecodeQueries { lse: true, ..DecodeQueries::new(&shape, group) };
    DecodeSplit::new(queries, &layout, &schedule).unwrap()
}

#[test]
fn everything_that_may_be_bound_fits_a_baseline_device() {
    let spec = spec(KvElement::Int4, 256, 16);
    let launches = Decode(spec).launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap();
    let names: Vec<_> = launches.iter().map(|l| (l.kernel(), l.variant())).collect();
    assert_eq!(names, [("decode_split", "baseline"), ("decode_merge", "baseline")]);
    assert_eq!(launches[0].needs().storage_buffers, 8);
    // Keys, values and parameters of 130 rows, and q and o; the merge moves nothing that counts.
    let bytes = launches[0].traffic().bytes();
    assert_eq!(bytes, 130 * 2 * (128 + 4) + 2 * 4 * 2 * 16 * 256);
    assert_eq!(launches[1].traffic(), Traffic::default());
    // Both take the states from the same scratch memory.
    assert_eq!(launches[0].scratch(), launches[1].scratch());
    assert_eq!(launches[0].scratch()[0].bytes, 4 * spec.states_len());
}

#[test]
fn subgroups_have_to_hold_the_lanes_of_a_row() {
    let form = |dim, reduce| {
        let knobs = Knobs { reduce, ..Knobs::DEFAULT };
        spec(KvElement::F16, dim, 4).launches(&subgroups_of_8(), &knobs).map(|l| l[0].variant())
    };
    assert_eq!(form(128, None).unwrap(), "subgroup");
    assert_eq!(form(256, None).unwrap(), "baseline");
    assert_eq!(form(128, Some(Reduce::Workgroup)).unwrap(), "baseline");
    let error = form(256, Some(Reduce::Subgroup)).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
}

#[test]
fn f16_arithmetic_takes_caches_of_f16_and_subgroups() {
    let asked = |element, caps: &Caps, reduce| {
        let plain = spec(element, 128, 4);
        let queries = DecodeQueries { arithmetic: Arithmetic::F16, ..plain.queries };
        let knobs = Knobs { reduce, ..Knobs::DEFAULT };
        DecodeSplit { queries, ..plain }.launches(caps, &knobs).map(|all| all[0].variant())
    };
    let able = Caps { f16: true, ..subgroups_of_8() };
    assert_eq!(asked(KvElement::F16, &able, None).unwrap(), "half");
    for (element, caps, reduce) in [
        (KvElement::Int8, &able, None),
        (KvElement::F16, &able, Some(Reduce::Workgroup)),
        (KvElement::F16, &subgroups_of_8(), None),
        (KvElement::F16, &Caps::webgpu(), None),
    ] {
        let error = asked(element, caps, reduce).unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let good = spec(KvElement::F16, 128, 4);
    let refused = |spec: DecodeSplit| spec.launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap_err();
    let queries = good.queries;
    for queries in [
        DecodeQueries { group: 17, ..queries },
        DecodeQueries { q_len: 5, ..queries },
        DecodeQueries { q_len: 0, ..queries },
        DecodeQueries { scale: f32::INFINITY, ..queries },
        DecodeQueries { softcap: Some(-1.0), ..queries },
    ] {
        let error = refused(DecodeSplit { queries, ..good });
        assert!(matches!(error, Error::Range { .. }), "{error}");
    }
    let schedule = ScheduleShape { heads: 3, ..good.schedule };
    assert!(matches!(refused(DecodeSplit { schedule, ..good }), Error::Shape { .. }));
    let schedule = ScheduleShape { starts: 2, ..good.schedule };
    assert!(matches!(refused(DecodeSplit { schedule, ..good }), Error::Shape { .. }));
    let large = DecodeSplit { tensor_rows: 1 << 20, ..good };
    assert!(matches!(refused(large), Error::BindingTooLarge { .. }));
}

#[test]
fn schedules_say_what_changes() {
    let shape = CacheShape::new(2, 64, KvElement::F16).unwrap();
    let mut layout = Layout::ragged(shape, &[100, 30], 8, 100).unwrap();
    let plan = Planner::Chunked.plan_layout(&layout, 2).unwrap();
    let mut schedule = Schedule::new(&plan, &layout, &[]).unwrap();
    assert_eq!(schedule.rows(), 130);
    assert_eq!(schedule.words()[..8], [0, 0, 0, 0, 0, 100, 112, 30]);
    assert!(schedule.update(&layout, &[]).unwrap().is_empty());
    layout.append(3).unwrap();
    assert!(matches!(schedule.check(&layout), Err(Error::Shape { .. })));
    let changed = schedule.update(&layout, &[]).unwrap();
    assert_eq!((changed.len(), changed[0].clone()), (1, 0..1));
    schedule.check(&layout).unwrap();
    assert_eq!((schedule.words()[0], schedule.rows()), (3, 136));
    assert!(matches!(schedule.update(&layout, &[1, 2]), Err(Error::Shape { .. })));
    layout.relayout().unwrap();
    assert!(matches!(schedule.update(&layout, &[]), Err(Error::Shape { .. })));
}

#[test]
fn masks_have_bits_for_rows_that_every_head_has() {
    let shape = CacheShape::new(2, 64, KvElement::F16).unwrap();
    let mut layout = Layout::ragged(shape, &[100, 30], 8, 100).unwrap();
    layout.append(4).unwrap();
    let plan = Planner::Stream.plan_layout(&layout, 2).unwrap();
    let made = Schedule::new(&plan, &layout, &[]).unwrap();
    let masked = |n: u32, layer, prefix| {
        let words = vec![u32::MAX >> (32 - n); 4];
        let mask = KeepMask::from_words(2, 2, n, words).unwrap();
        made.clone().with_mask(&mask, layer, prefix)
    };
    // Head 1 has 34 rows, appended ones among them.
    for (n, prefix, head) in [(31, 4, 1), (2, 33, 1), (1, u32::MAX, 0), (31, u32::MAX, 0)] {
        let error = masked(n, 0, prefix).unwrap_err();
        assert!(matches!(error, Error::Range { .. }), "{error}");
        let what = format!("rows of head {head} under a mask");
        assert!(error.to_string().contains(&what), "{error}");
    }
    assert!(matches!(masked(20, 2, 0), Err(Error::Range { .. })));
    let mut schedule = masked(30, 1, 4).unwrap();
    let words = made.words().len();
    assert_eq!(schedule.words()[words..], [u32::MAX >> 2; 2]);

    // Another one changes the mask alone, and one that does not fit nothing.
    let none = KeepMask::new(1, 2, 30).unwrap();
    for other in [KeepMask::new(1, 3, 30).unwrap(), KeepMask::new(1, 2, 29).unwrap()] {
        assert!(matches!(schedule.set_mask(&other, 0), Err(Error::Shape { .. })));
    }
    assert!(matches!(schedule.set_mask(&none, 1), Err(Error::Range { .. })));
    assert_eq!(schedule.words()[words..], [u32::MAX >> 2; 2]);
    assert_eq!(schedule.set_mask(&none, 0).unwrap(), words..words + 2);
    assert_eq!(schedule.words()[words..], [0; 2]);

    // Rows that were appended later may have bits too, and can then not be taken back.
    layout.append(2).unwrap();
    let mut schedule = Schedule::new(&plan, &layout, &[]).unwrap();
    schedule = schedule.with_mask(&none, 0, 6).unwrap();
    layout.truncate(5).unwrap();
    let before = schedule.clone();
    let error = schedule.update(&layout, &[]).unwrap_err();
    assert!(error.to_string().contains("rows of head 1 under a mask"), "{error}");
    assert_eq!(schedule, before);
}
