//! Which times count, without a device worth the name.

use super::*;
use crate::measure::{Clock, Order, Spread};
use fewbytes::stream::StreamRead;
use std::time::Duration;

#[test]
fn a_settled_time_wins_against_a_better_one_that_is_not() {
    let winner = |tried: &[Trial]| best(tried, 0.01).and_then(|(knobs, _)| knobs.rows);
    let doubtful = |rows, median| {
        let mut trial = timed(rows, median);
        if let Outcome::Timed(timing) = &mut trial.outcome {
            timing.settled = false;
        }
        trial
    };
    assert_eq!(winner(&[doubtful(1, 5.0), timed(2, 9.0), timed(3, 8.0)]), Some(3));
    assert_eq!(winner(&[timed(1, 9.0), doubtful(2, 5.0)]), Some(1));
    assert_eq!(winner(&[doubtful(1, 9.0), doubtful(2, 5.0)]), Some(2));
}

#[test]
fn what_was_timed_before_the_clock_rose_is_timed_again() {
    let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
    let ctx = Context::new(&device, &queue).unwrap();
    let spec = StreamRead::new(256);
    let launches = spec.launches(ctx.caps(), &Knobs::default()).unwrap();
    let options = TuneOptions::quick(Order::Chain);
    let budget = Budget { past_cache: 0, memory: 0 };
    let mut run = Run {
        ctx: &ctx,
        options: &options,
        operands: Operands::new(&ctx, &launches, Order::Chain, &budget).unwrap(),
        bound_ns: None,
        watch: |_, _| (),
        // So slow at best that nothing which it sees on this device is slower.
        probe: Probe::watching(&ctx, 1e15).unwrap(),
        done: 0,
        timings: 0,
    };
    let mut tried = [1e15, 3e15, 1e15].map(|probe_ns| {
        let mut trial = timed(2, 10.0);
        if let Outcome::Timed(timing) = &mut trial.outcome {
            timing.probe_ns = Some(probe_ns);
        }
        trial
    });
    let before = tried.clone();
    let launches = vec![Some(launches); 3];
    let short = measure::Options {
        max_dispatches: 1,
        warm_up: Duration::ZERO,
        apart: Duration::ZERO,
        tolerance: f64::MAX,
        ..options.screen.clone()
    };
    run.repeat(&mut tried[..2], &launches, &[0, 1], &short).unwrap();
    assert_eq!(run.done, 1);
    assert_ne!(tried[1], before[1]);
    assert!(tried[1].timing().unwrap().settled);
    // The clock has risen since, so the first is now one of those, and is marked where it is
    // not among those to be timed.
    let seen = tried[1].timing().unwrap().probe_ns.unwrap();
    assert!(seen < 1e14);
    run.repeat(&mut tried, &launches, &[2], &short).unwrap();
    assert_eq!(run.done, 2);
    assert!(!tried[0].timing().unwrap().settled);
}

fn timed(rows: u32, median: f64) -> Trial {
    let timing = Timing {
        clock: Clock::Wall,
        order: Order::Chain,
        dispatch_ns: Spread { median, min: median, max: median },
        wall_ns: median,
        dispatches: 1,
        samples: 1,
        rotation: 1,
        settled: true,
        probe_ns: None,
    };
    let knobs = Knobs { rows: Some(rows), ..Knobs::default() };
    Trial { knobs, outcome: Outcome::Timed(timing) }
}

#[test]
fn the_fastest_wins_and_a_tie_goes_to_the_earlier() {
    let winner = |tried: &[Trial]| best(tried, 0.01).and_then(|(knobs, _)| knobs.rows);
    assert_eq!(winner(&[timed(1, 100.0), timed(2, 90.0), timed(3, 95.0)]), Some(2));
    assert_eq!(winner(&[timed(1, 100.0), timed(2, 99.1)]), Some(1));
    assert_eq!(winner(&[timed(1, 100.0), timed(2, 99.5), timed(3, 98.9)]), Some(3));
    let refused = Trial { outcome: Outcome::Refused(String::new()), ..timed(1, 1.0) };
    assert_eq!(winner(&[refused.clone(), timed(2, 7.0)]), Some(2));
    assert_eq!(winner(&[refused]), None);
    assert_eq!(winner(&[]), None);
}
