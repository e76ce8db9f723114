//! A whole measurement: warm up, settle, sample.

use super::pass::{PassTime, Passes};
use super::{Options, Order, Settling, Spread, Timing, agree, dispatches_for};
use crate::{Bound, Context};
use fewbytes::{Error, Result};
use std::time::{Duration, Instant};

/// Passes that give one median while warming up.
const ROUND: u32 = 3;

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
        let samples = sample(&mut passes, warm.dispatches, options.samples)?;
        let dispatch_ns = spread(&samples, warm.dispatches, |pass| pass.ns)?;
        // A device whose clock rises in steps agrees with itself on every step.
        let settled = warm.settled && agree(warm.median, dispatch_ns.median, options.tolerance);
        if settled || begun.elapsed() >= limit(options) {
            return Ok(Timing {
                clock: passes.clock(),
                order: options.order,
                dispatch_ns,
                wall_ns: spread(&samples, warm.dispatches, |pass| pass.wall_ns)?.median,
                dispatches: warm.dispatches,
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
    let mut dispatches = 1;
    loop {
        let round = sample(passes, dispatches, ROUND)?;
        let median = spread(&round, dispatches, |pass| pass.ns)?.median;
        let busy = busy(&round);
        let wanted = dispatches_for(pass_ns, median, most)?;
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

pub(super) fn sample(
    passes: &mut Passes<'_>,
    dispatches: u32,
    count: u32,
) -> Result<Vec<PassTime>> {
    (0..count).map(|_| passes.run(dispatches)).collect()
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
