//! A whole measurement: warm up, settle, sample.

use super::pass::{PassTime, Passes};
use super::{Options, Order, Settling, Spread, Timing, agree, dispatches_for};
use crate::{Bound, Context};
use fewbytes::{Error, Result};
use std::time::{Duration, Instant};

/// Passes that give one median while warming up.
const ROUND: u32 = 3;

/// How many times longer a pass is made that was too short for the clock.
const LENGTHEN: u32 = 4;

/// Times one dispatch of a rotation, or all launches of one bound where it has several.
///
/// Every bound must do the same work on tensors of its own; see the [module](super) for what
/// [`Options::order`] expects of their outputs, and [`super::Operands::rotation`] for a way to make
/// them.
///
/// # Errors
/// [`Error::Shape`] for an empty rotation or a bound without launches, [`Error::Range`] for options
/// that make no sense and for stamps that cannot be true (they are never clamped),
/// [`Error::Unsupported`] when stamps are asked for and the device has none, [`Error::Validation`],
/// [`Error::OutOfMemory`], [`Error::DeviceLost`].
pub fn time(ctx: &Context, rotation: &[Bound], options: &Options) -> Result<Timing> {
    check(rotation, options)?;
    let options = &options.on(ctx.info());
    let turn = u32::try_from(rotation.len()).unwrap_or(u32::MAX);
    let most = match options.order {
        Order::Chain => options.max_dispatches,
        Order::Independent => options.max_dispatches.min(turn),
    };
    let mut passes = Passes::new(ctx, rotation, options.clock)?;
    let begun = Instant::now();
    loop {
        let warm = warm_up(&mut passes, most, options, begun)?;
        let mut dispatches = warm.dispatches;
        let samples = sample(&mut passes, &mut dispatches, most, options.samples)?;
        let dispatch_ns = spread(&samples, dispatches, |pass| pass.ns)?;
        // A device whose clock rises in steps agrees with itself on every step.
        let settled = warm.settled && agree(warm.median, dispatch_ns.median, options.tolerance);
        if settled || begun.elapsed() >= limit(options) {
            return Ok(Timing {
                clock: passes.clock(),
                order: options.order,
                dispatch_ns,
                wall_ns: spread(&samples, dispatches, |pass| pass.wall_ns)?.median,
                dispatches,
                samples: options.samples,
                rotation: turn,
                settled,
                probe_ns: None,
            });
        }
    }
}

/// What the warm-up found out.
struct Warm {
    /// Dispatches of a pass.
    dispatches: u32,
    /// The last median.
    median: f64,
    /// Whether it agreed with the one before.
    settled: bool,
}

/// When to give up settling.
fn limit(options: &Options) -> Duration {
    options.settle_limit.max(options.warm_up)
}

fn check(rotation: &[Bound], options: &Options) -> Result<()> {
    if rotation.is_empty() {
        return Err(Error::shape("rotation to time", "at least one bound", 0));
    }
    if rotation.iter().any(Bound::is_empty) {
        return Err(Error::shape("launches of a bound to time", "at least one", 0));
    }
    for (what, value) in [("max_dispatches", options.max_dispatches), ("samples", options.samples)]
    {
        if value == 0 {
            return Err(Error::range(what, "1 and above", value));
        }
    }
    if !(options.tolerance.is_finite() && options.tolerance >= 0.0) {
        let limit = "finite numbers from 0";
        return Err(Error::range("tolerance of two medians", limit, options.tolerance));
    }
    Ok(())
}

/// Runs passes until the device has settled, or the limit is reached.
fn warm_up(passes: &mut Passes<'_>, most: u32, options: &Options, begun: Instant) -> Result<Warm> {
    let pass_ns = options.min_pass.as_secs_f64() * 1e9;
    let mut settling = Settling::new(options.warm_up, options.apart, options.tolerance);
    // Fewer the clock does not see.
    let mut least = 1;
    let mut dispatches = 1;
    loop {
        let before = dispatches;
        let round = sample(passes, &mut dispatches, most, ROUND)?;
        if dispatches != before {
            settling.skip(Duration::ZERO);
            least = dispatches;
        }
        let median = spread(&round, dispatches, |pass| pass.ns)?.median;
        let busy = busy(&round);
        let wanted = dispatches_for(pass_ns, median, most)?.max(least);
        // A cold device, and what a short pass costs besides, make the first counts too small; one
        // too large by less than a half only takes longer.
        let fits = dispatches >= wanted && dispatches / 2 <= wanted;
        let settled = match fits {
            true => settling.add(median, busy),
            false => {
                settling.skip(busy);
                false
            }
        };
        if settled {
            return Ok(Warm { dispatches, median, settled });
        }
        if begun.elapsed() >= limit(options) {
            return Ok(Warm { dispatches: dispatches.max(wanted), median, settled });
        }
        if !fits {
            // A tenth more, so that noise does not change the count once more.
            dispatches = wanted.saturating_add(wanted / 10).min(most);
        }
    }
}

/// How long a device had these passes before it.
pub(super) fn busy(passes: &[PassTime]) -> Duration {
    let ns: f64 = passes.iter().map(|pass| pass.wall_ns).sum();
    Duration::try_from_secs_f64(ns * 1e-9).unwrap_or_default()
}

/// So many passes, all of `dispatches`: as many more than asked for, up to `most`, as it takes for
/// the clock to see each pass.
pub(super) fn sample(
    passes: &mut Passes<'_>,
    dispatches: &mut u32,
    most: u32,
    count: u32,
) -> Result<Vec<PassTime>> {
    lengthened(dispatches, most, count, |dispatches| passes.run(dispatches))
}

fn lengthened(
    dispatches: &mut u32,
    most: u32,
    count: u32,
    mut run: impl FnMut(u32) -> Result<PassTime>,
) -> Result<Vec<PassTime>> {
    let mut done = Vec::new();
    while done.len() < count as usize {
        let pass = run(*dispatches)?;
        if pass.ns > 0.0 {
            done.push(pass);
        } else if *dispatches < most {
            *dispatches = dispatches.saturating_mul(LENGTHEN).min(most);
            done.clear();
        } else {
            let what = format!("time between the stamps of a pass of {dispatches} dispatches");
            return Err(Error::range(what, "times above 0", pass.ns));
        }
    }
    Ok(done)
}

/// The spread of the time a dispatch.
pub(super) fn spread(
    passes: &[PassTime],
    dispatches: u32,
    clock: impl Fn(&PassTime) -> f64,
) -> Result<Spread> {
    let times: Vec<f64> = passes.iter().map(|pass| clock(pass) / f64::from(dispatches)).collect();
    Spread::of(&times)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs passes on a device that takes 10 ns a dispatch and whose clock ticks every 1000 ns.
    fn coarse(dispatches: u32, most: u32) -> Result<(u32, Vec<PassTime>)> {
        let mut dispatches = dispatches;
        let run = |n: u32| {
            let wall_ns = f64::from(n) * 10.0;
            Ok(PassTime { ns: (wall_ns / 1000.0).floor() * 1000.0, wall_ns })
        };
        let passes = lengthened(&mut dispatches, most, 3, run)?;
        Ok((dispatches, passes))
    }

    #[test]
    fn a_pass_too_short_for_the_clock_gets_more_dispatches() {
        let (dispatches, passes) = coarse(1, 4096).unwrap();
        assert_eq!((dispatches, passes.len()), (256, 3));
        assert!(passes.iter().all(|pass| pass.ns == 2000.0));
        assert_eq!(coarse(1, 100).unwrap().0, 100);
        assert_eq!(coarse(300, 4096).unwrap().0, 300);
    }

    #[test]
    fn a_clock_that_sees_nothing_of_the_longest_pass_is_an_error() {
        let error = coarse(1, 99).unwrap_err();
        assert!(matches!(error, Error::Range { .. }), "{error:?}");
        assert!(error.to_string().contains("99 dispatches"), "{error}");
    }

    #[test]
    fn passes_of_one_sample_have_the_same_dispatches() {
        let (mut dispatches, mut runs) = (2, 0);
        let passes = lengthened(&mut dispatches, 100, 3, |n| {
            runs += 1;
            let ns = if runs == 3 { 0.0 } else { f64::from(n) };
            Ok(PassTime { ns, wall_ns: 1.0 })
        });
        assert!(passes.unwrap().iter().all(|pass| pass.ns == 8.0));
        assert_eq!((dispatches, runs), (8, 6));
    }
}
