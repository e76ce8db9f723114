//! Tuning on a real device: what is timed, what is not, and that nothing else ever is.

use super::{EIGHT_ROWS, REFUSED, SPELT_OUT, TWO_ROWS, noop, tunable};
use fewbytes::{Error, Knobs, Spec as _};
use fewbytes_wgpu::measure::{self, Budget, Order};
use fewbytes_wgpu::tune::{Outcome, Roof, TuneCache, TuneOptions, Tuned};
use fewbytes_wgpu::{Context, Features, wgpu};
use std::time::Duration;

use super::device::open;

/// As short as a measurement can be: which candidate wins is of no interest here.
fn hasty() -> TuneOptions {
    let screen = measure::Options {
        min_pass: Duration::from_micros(1),
        max_dispatches: 4,
        samples: 3,
        warm_up: Duration::ZERO,
        apart: Duration::ZERO,
        // Whatever two medians are, they agree.
        tolerance: f64::MAX,
        ..measure::Options::quick(Order::Chain)
    };
    TuneOptions {
        screen,
        budget: Some(Budget { past_cache: 1 << 16, memory: 1 << 22 }),
        ..TuneOptions::quick(Order::Chain)
    }
}

fn tune(ctx: &Context, candidates: &[Knobs], options: &TuneOptions) -> Tuned {
    ctx.tune_with(&tunable(ctx, candidates), options, |_, _| ()).unwrap()
}

#[test]
fn the_fastest_is_a_candidate_and_every_candidate_is_accounted_for() {
    let ctx = open(Features::Full);
    let candidates = [Knobs::default(), SPELT_OUT, REFUSED, TWO_ROWS, TWO_ROWS, EIGHT_ROWS];
    let mut timings = Vec::new();
    let spec = tunable(&ctx, &candidates);
    let tuned = ctx.tune_with(&spec, &hasty(), |done, of| timings.push((done, of))).unwrap();

    let tried: Vec<Knobs> = tuned.tried.iter().map(|trial| trial.knobs).collect();
    assert_eq!(tried, candidates);
    let winner = tuned.tried.iter().find(|trial| trial.knobs == tuned.knobs).unwrap();
    assert_eq!(winner.timing(), Some(&tuned.timing));
    assert!(tuned.timing.dispatch_ns.median > 0.0);
    let [default, spelt_out, refused, two, again, eight] = tuned.tried.as_slice() else {
        panic!("{} trials", tuned.tried.len())
    };
    // With subgroups the defaults are another kernel than the baseline spelt out.
    match ctx.caps().subgroups {
        true => assert!(spelt_out.timing().is_some()),
        false => assert_eq!(spelt_out.outcome, Outcome::SameAs(0)),
    }
    let Outcome::Refused(why) = &refused.outcome else { panic!("{:?}", refused.outcome) };
    assert!(why.contains("workgroup") && why.contains('3'), "{why}");
    assert_eq!(again.outcome, Outcome::SameAs(3));
    for trial in [default, two, eight] {
        assert!(trial.timing().is_some(), "{trial:?}");
    }
    // Equal work is timed once, and the watcher hears of every timing; on a GPU whose clock falls
    // meanwhile of more.
    let timed = tuned.tried.iter().filter(|trial| trial.timing().is_some()).count();
    let cpu = ctx.info().device_type == wgpu::DeviceType::Cpu;
    assert!(timings.len() == timed || !cpu && timings.len() > timed, "{timings:?} of {timed}");
    assert!(timings.iter().map(|(done, _)| *done).eq(0..timings.len()));
    assert!(timings.iter().all(|(done, of)| done < of));
    let bytes = tuned.traffic.bytes();
    assert_eq!(bytes, ctx.plan(&spec).unwrap().traffic().bytes());
}

#[test]
fn finalists_are_timed_again_and_one_of_them_wins() {
    let ctx = open(Features::Full);
    let candidates = [SPELT_OUT, TWO_ROWS, EIGHT_ROWS];
    // Everything is close to the fastest.
    let options = TuneOptions {
        finals: Some(measure::Options { samples: 5, ..hasty().screen }),
        close: 1.0,
        ..hasty()
    };
    let mut timings = Vec::new();
    let spec = tunable(&ctx, &candidates);
    let tuned = ctx.tune_with(&spec, &options, |done, of| timings.push((done, of))).unwrap();
    assert!(candidates.contains(&tuned.knobs));
    let finalists = tuned.tried.iter().filter(|t| t.timing().is_some_and(|t| t.samples == 5));
    let finalists = finalists.count();
    let cpu = ctx.info().device_type == wgpu::DeviceType::Cpu;
    let least = candidates.len() + finalists;
    assert!(timings.len() == least || !cpu && timings.len() > least, "{timings:?} of {least}");
    assert!(finalists != 1 && (finalists == 0 || tuned.timing.samples == 5), "{finalists}");
    assert!(timings.iter().all(|(done, of)| done < of), "{timings:?}");
}

#[test]
fn nothing_more_is_timed_once_the_bound_is_reached() {
    let ctx = open(Features::Full);
    // At one byte a second whatever is timed first is fast enough.
    let slow = Roof { read_gb_s: Some(1e-9), gflops: None };
    let options = TuneOptions { roof: slow, ..hasty() };
    let tuned = tune(&ctx, &[SPELT_OUT, REFUSED, TWO_ROWS, EIGHT_ROWS], &options);
    assert_eq!(tuned.knobs, SPELT_OUT);
    assert_eq!(tuned.bound_ns, Some(tuned.traffic.bytes() as f64 * 1e9));
    let outcomes: Vec<_> = tuned.tried[2..].iter().map(|trial| &trial.outcome).collect();
    assert_eq!(outcomes, [&Outcome::NotNeeded; 2]);
    assert!(matches!(tuned.tried[1].outcome, Outcome::Refused(_)));

    // No machine is this fast, so nothing is left out.
    let fast = Roof { read_gb_s: Some(1e12), gflops: Some(1e15) };
    let tuned = tune(&ctx, &[SPELT_OUT, TWO_ROWS], &TuneOptions { roof: fast, ..hasty() });
    assert!(tuned.tried.iter().all(|trial| trial.timing().is_some()));
}

#[test]
fn candidates_with_too_few_workgroups_are_named() {
    let ctx = open(Features::Full);
    // 64 rows: 32 workgroups of two rows, 8 of eight.
    let options = TuneOptions { min_groups: Some(9), ..hasty() };
    let tuned = tune(&ctx, &[TWO_ROWS, EIGHT_ROWS], &options);
    assert_eq!(tuned.tried[1].outcome, Outcome::TooFewGroups(8));
    assert_eq!(tuned.knobs, TWO_ROWS);
}

#[test]
fn outputs_of_their_own_are_tuned_too() {
    let ctx = open(Features::Baseline);
    let screen = measure::Options { order: Order::Independent, ..hasty().screen };
    let tuned = tune(&ctx, &[SPELT_OUT, EIGHT_ROWS], &TuneOptions { screen, ..hasty() });
    assert_eq!(tuned.timing.order, Order::Independent);
}

#[test]
fn what_was_tuned_is_remembered_and_found() {
    let ctx = open(Features::Full);
    let spec = tunable(&ctx, &[SPELT_OUT, TWO_ROWS, EIGHT_ROWS]);
    let tuned = ctx.tune_with(&spec, &hasty(), |_, _| ()).unwrap();
    let mut cache = TuneCache::new();
    assert!(cache.remember(&ctx, &spec, &tuned).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tuned.json");
    cache.save(&path).unwrap();
    let loaded = TuneCache::load(&path).unwrap();
    assert_eq!(loaded, cache);
    assert_eq!(loaded.knobs(&ctx, &spec), tuned.knobs);
    assert_eq!(loaded.entries()[0].seconds, tuned.timing.dispatch_ns.median * 1e-9);
    ctx.plan_with(&spec, &loaded.knobs(&ctx, &spec)).unwrap();
}

#[test]
fn what_does_not_settle_is_timed_twice_and_not_remembered() {
    let ctx = open(Features::Full);
    let spec = tunable(&ctx, &[SPELT_OUT, TWO_ROWS, EIGHT_ROWS]);
    // There is no time for a second median that could agree with the first.
    let screen = measure::Options { settle_limit: Duration::ZERO, ..hasty().screen };
    let finals = Some(measure::Options { samples: 5, ..screen.clone() });
    for (finals, close) in [(None, 0.05), (finals, 1.0)] {
        // At one byte a second anything would be fast enough, if only it could be relied on.
        let roof = Roof { read_gb_s: Some(1e-9), gflops: None };
        let options = TuneOptions { screen: screen.clone(), finals, close, roof, ..hasty() };
        let mut timings = Vec::new();
        let tuned = ctx.tune_with(&spec, &options, |done, of| timings.push((done, of))).unwrap();
        let finalists = tuned.tried.iter().filter(|t| t.timing().is_some_and(|t| t.samples == 5));
        assert_eq!(timings.len(), 2 * (3 + finalists.count()));
        assert!(timings.iter().all(|(done, of)| done < of), "{timings:?}");
        assert!(tuned.tried.iter().all(|trial| trial.timing().is_some_and(|t| !t.settled)));
        assert!(!tuned.timing.settled);

        let mut cache = TuneCache::new();
        assert_eq!(tuned.entry(&ctx, &spec).unwrap(), None);
        assert!(!cache.remember(&ctx, &spec, &tuned).unwrap());
        assert_eq!(cache, TuneCache::new());
    }
}

#[test]
fn looking_up_and_planning_compile_and_time_nothing_more() {
    let ctx = open(Features::Full);
    let spec = tunable(&ctx, &[SPELT_OUT, TWO_ROWS, EIGHT_ROWS]);
    let knobs = TuneCache::seeded().knobs(&ctx, &spec);
    assert_eq!(ctx.pipelines(), 0);
    ctx.plan_with(&spec, &knobs).unwrap();
    assert_eq!(ctx.pipelines(), 1);
}

#[test]
fn a_spec_that_cannot_be_tuned_says_why() {
    let ctx = open(Features::Full);
    let fails = |spec: &super::Tunable| ctx.tune_with(spec, &hasty(), |_, _| ()).unwrap_err();

    let mut wrong = tunable(&ctx, &[SPELT_OUT]);
    wrong.gemv.batch = 9;
    assert!(fails(&wrong).to_string().contains("batch of gemv_bitplane"));
    let mut empty = tunable(&ctx, &[SPELT_OUT]);
    empty.gemv.batch = 0;
    assert!(empty.launches(ctx.caps(), &SPELT_OUT).unwrap().is_empty());
    assert!(matches!(fails(&empty), Error::Shape { .. }));
    let refused = fails(&tunable(&ctx, &[REFUSED]));
    assert!(matches!(refused, Error::Unsupported { .. }) && refused.to_string().contains("= 3"));
    assert!(fails(&tunable(&ctx, &[])).to_string().contains("names none"));
    let nonsense = TuneOptions { margin: -1.0, ..hasty() };
    let error = ctx.tune_with(&tunable(&ctx, &[SPELT_OUT]), &nonsense, |_, _| ()).unwrap_err();
    assert!(matches!(error, Error::Range { .. }));
}

#[test]
fn a_lost_device_ends_the_tuning() {
    let ctx = noop();
    ctx.mark_lost("test");
    let error = ctx.tune(&tunable(&ctx, &[SPELT_OUT])).unwrap_err();
    assert!(matches!(error, Error::DeviceLost { .. }), "{error}");
}
