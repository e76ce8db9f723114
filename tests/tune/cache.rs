//! What a cache answers, and when it does not believe an entry.
#![allow(unsafe_code)]

use super::{EIGHT_ROWS, REFUSED, SPELT_OUT, TWO_ROWS, Tunable, gemv, noop, tunable};
use fewbytes::{Error, Knobs, Spec as _};
use fewbytes_wgpu::Context;
use fewbytes_wgpu::tune::{TuneCache, TuneEntry};

const CANDIDATES: [Knobs; 3] = [SPELT_OUT, TWO_ROWS, EIGHT_ROWS];

/// A cache with one entry, and the context and spec that it is for.
fn known() -> (Context, Tunable, TuneEntry) {
    let ctx = noop();
    let spec = tunable(&ctx, &CANDIDATES);
    let entry = TuneEntry::new(&ctx, &spec, EIGHT_ROWS, 1.25e-5).unwrap();
    (ctx, spec, entry)
}

fn cache(entries: impl IntoIterator<Item = TuneEntry>) -> TuneCache {
    let mut cache = TuneCache::new();
    entries.into_iter().for_each(|entry| cache.insert(entry).unwrap());
    cache
}

#[test]
fn an_entry_is_found_for_what_it_was_measured_on() {
    let (ctx, spec, entry) = known();
    assert_eq!(cache([entry]).knobs(&ctx, &spec), EIGHT_ROWS);
}

#[test]
fn an_unknown_spec_means_the_defaults() {
    let (ctx, spec, entry) = known();
    assert_eq!(TuneCache::new().knobs(&ctx, &spec), Knobs::default());
    let other = Tunable { gemv: gemv(65, ctx.caps()), ..tunable(&ctx, &CANDIDATES) };
    assert_eq!(cache([entry]).knobs(&ctx, &other), Knobs::default());
}

#[test]
fn a_refused_spec_means_the_defaults() {
    let (ctx, spec, entry) = known();
    let mut refused = tunable(&ctx, &CANDIDATES);
    refused.gemv.batch = 9;
    assert!(refused.tuning_key(ctx.caps()).is_err());
    let cache = cache([entry]);
    assert_eq!(cache.knobs(&ctx, &refused), Knobs::default());
    assert_eq!(cache.knobs(&ctx, &spec), EIGHT_ROWS);
}

#[test]
fn another_adapter_or_driver_makes_an_entry_stale() {
    let (ctx, spec, entry) = known();
    let changes: [fn(&mut TuneEntry); 6] = [
        |e| e.adapter.name.push('!'),
        |e| e.adapter.vendor += 1,
        |e| e.adapter.device += 1,
        |e| e.adapter.backend.push('!'),
        |e| e.driver.name.push('!'),
        |e| e.driver.info.push('!'),
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut other = entry.clone();
        change(&mut other);
        assert_eq!(cache([other.clone()]).knobs(&ctx, &spec), Knobs::default(), "{number}");
        // Two drivers' entries live side by side.
        assert_eq!(cache([other, entry.clone()]).knobs(&ctx, &spec), EIGHT_ROWS, "{number}");
    }
}

#[test]
fn an_entry_counts_only_under_the_checks_that_it_was_timed_with() {
    let changes: [fn(Context) -> Context; 4] = [
        |ctx| ctx,
        // SAFETY: nothing runs on this device.
        |ctx| unsafe { ctx.trust_sizes() },
        Context::with_loop_guard,
        Context::with_zeroed_workgroup_memory,
    ];
    let contexts = changes.map(|change| change(noop()));
    let spec = tunable(&contexts[0], &CANDIDATES);
    let entry = |ctx| TuneEntry::new(ctx, &spec, EIGHT_ROWS, 1e-5).unwrap();
    for (timed, known) in contexts.iter().enumerate() {
        let cache = cache([entry(known)]);
        let seeds = TuneCache::new().with_seeds(&cache);
        for (asked, ctx) in contexts.iter().enumerate() {
            let expected = if asked == timed { EIGHT_ROWS } else { Knobs::default() };
            assert_eq!(cache.knobs(ctx, &spec), expected, "{timed}, {asked}");
            assert_eq!(seeds.knobs(ctx, &spec), expected, "{timed}, {asked}");
        }
    }
    // They live side by side, also in a file.
    let all = cache(contexts.iter().map(entry));
    assert_eq!(all.entries().len(), 4);
    let read = TuneCache::from_json("all.json", all.to_json().as_bytes()).unwrap();
    assert_eq!(read.entries().len(), 4);
}

#[test]
fn other_candidates_make_an_entry_stale() {
    let (ctx, _, entry) = known();
    for candidates in [
        &[SPELT_OUT, EIGHT_ROWS][..],
        &[SPELT_OUT, EIGHT_ROWS, TWO_ROWS],
        &[SPELT_OUT, TWO_ROWS, EIGHT_ROWS, REFUSED],
    ] {
        let spec = tunable(&ctx, candidates);
        assert_eq!(cache([entry.clone()]).knobs(&ctx, &spec), Knobs::default());
    }
}

#[test]
fn changed_kernels_make_an_entry_stale() {
    let (ctx, spec, entry) = known();
    let changed = Tunable { other_text: Some(3), ..tunable(&ctx, &CANDIDATES) };
    let caps = ctx.caps();
    assert_eq!(changed.tuning_key(caps).unwrap(), spec.tuning_key(caps).unwrap());
    assert_eq!(cache([entry]).knobs(&ctx, &changed), Knobs::default());
}

#[test]
fn knobs_that_are_no_candidate_are_not_believed() {
    let (ctx, spec, entry) = known();
    for knobs in [REFUSED, Knobs { workgroup: Some(u32::MAX), ..SPELT_OUT }] {
        let entry = TuneEntry { knobs, ..entry.clone() };
        assert_eq!(cache([entry]).knobs(&ctx, &spec), Knobs::default());
        assert!(matches!(TuneEntry::new(&ctx, &spec, knobs, 1.0), Err(Error::Range { .. })));
    }
}

#[test]
fn a_seed_counts_with_any_driver_and_after_own_entries() {
    let (ctx, spec, entry) = known();
    let mut foreign = TuneEntry { knobs: TWO_ROWS, ..entry.clone() };
    foreign.driver.info = "some other version".to_owned();
    let seeds = cache([foreign.clone()]);
    assert_eq!(seeds.knobs(&ctx, &spec), Knobs::default(), "not a seed, so the driver counts");
    assert_eq!(TuneCache::new().with_seeds(&seeds).knobs(&ctx, &spec), TWO_ROWS);
    assert_eq!(cache([entry]).with_seeds(&seeds).knobs(&ctx, &spec), EIGHT_ROWS);

    let mut elsewhere = foreign.clone();
    elsewhere.adapter.device += 1;
    let seeds = cache([elsewhere]);
    assert_eq!(TuneCache::new().with_seeds(&seeds).knobs(&ctx, &spec), Knobs::default());
    let stale = cache([TuneEntry { kernels: foreign.kernels ^ 1, ..foreign }]);
    assert_eq!(TuneCache::new().with_seeds(&stale).knobs(&ctx, &spec), Knobs::default());
}

#[test]
fn seeds_are_not_written_with_the_entries() {
    let (_, _, entry) = known();
    let seeds = cache([entry]);
    let cache = TuneCache::new().with_seeds(&seeds);
    assert_eq!((cache.entries().len(), cache.seeds().len()), (0, 1));
    assert_eq!(cache.to_json(), TuneCache::new().to_json());
}

#[test]
fn a_newer_entry_replaces_an_older_one() {
    let (ctx, spec, entry) = known();
    let newer = TuneEntry { knobs: TWO_ROWS, ..entry.clone() };
    let both = cache([entry.clone(), newer.clone()]);
    assert_eq!((both.entries().len(), both.knobs(&ctx, &spec)), (1, TWO_ROWS));

    let mut merged = cache([entry.clone()]);
    merged.merge(&cache([newer]));
    assert_eq!((merged.entries().len(), merged.knobs(&ctx, &spec)), (1, TWO_ROWS));
    merged.retain(|e| e.kernel != entry.kernel);
    assert!(merged.entries().is_empty());
}

#[test]
fn times_that_are_no_times_are_refused() {
    let (ctx, spec, entry) = known();
    for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let mut cache = TuneCache::new();
        let error = cache.insert(TuneEntry { seconds, ..entry.clone() }).unwrap_err();
        assert!(error.to_string().contains("seconds"), "{error}");
        assert!(TuneEntry::new(&ctx, &spec, EIGHT_ROWS, seconds).is_err());
    }
}

#[test]
fn what_comes_with_the_crate_can_be_read() {
    let shipped = include_bytes!("../../host/seeds/measured.json");
    let entries = TuneCache::from_json("measured.json", shipped).unwrap();
    assert_eq!(TuneCache::seeded().seeds(), entries.entries());
}
