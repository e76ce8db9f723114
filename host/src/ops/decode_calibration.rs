//! How many workgroups a step of decoding is best spread over, by measurement, when asked to and never
//! otherwise.
//!
//! A plan of too few workgroups leaves part of a device idle; one of too many makes more states to write
//! and to put together. What is enough depends on the device, which does not say, and on the shapes of
//! queries and rows, but hardly on how long the cache is: so one [`calibrate`] for each kind of layer, over
//! a cache as long as those that matter, serves every [`plan`](fewbytes::attention::Planner) on an adapter.

use crate::measure::{self, Budget, Operands, Options, Order, Probe, Timing};
use crate::{Bound, Context};
use fewbytes::attention::decode::SCHEDULE;
use fewbytes::attention::{Decode, DecodeQueries, DecodeSplit, Layout, Planner, Schedule};
use fewbytes::launch::Traffic;
use fewbytes::{Error, Knobs, Result, Spec};

/// How candidates are planned and timed.
#[derive(Debug, Clone, PartialEq)]
pub struct CalibrationOptions {
    /// What spreads rows.
    pub planner: Planner,
    /// How both kernels run.
    pub knobs: Knobs,
    /// How long to measure. Steps have to wait for each other: [`Order::Chain`].
    pub timing: Options,
}

impl Default for CalibrationOptions {
    /// [`Planner::Stream`], the default knobs, [`Options::quick`].
    fn default() -> Self {
        let timing = Options::quick(Order::Chain);
        Self { planner: Planner::Stream, knobs: Knobs::DEFAULT, timing }
    }
}

/// One candidate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CalibrationTrial {
    /// Workgroups that the plan was asked for; it may have fewer over a short cache.
    pub workgroups: u32,
    /// A step, both kernels.
    pub timing: Timing,
}

/// What [`calibrate`] found.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// The fastest of the candidates: what to give a [`Planner`].
    pub workgroups: u32,
    /// All candidates, in their order. Those of the same plan have the same time.
    pub trials: Vec<CalibrationTrial>,
    /// Bytes and operations of a step.
    pub traffic: Traffic,
}

/// Times a step of decoding over a layout by plans of so many workgroups each, with rows and queries that
/// are made up, and finds the fastest. A candidate whose time settled wins against one whose time did not,
/// and of equally fast ones the first.
///
/// Candidates are sensibly one, two, four and eight times the compute units of the device, where those are
/// known, and powers of two else. It takes a second or two for each of them, and memory as
/// [`Budget::for_device`] says.
///
/// # Errors
/// [`Error::Shape`] for no candidates; as [`Planner::plan_layout`], [`DecodeSplit::new`],
/// [`Context::plan_launches`] and [`measure::time`].
pub fn calibrate(
    ctx: &Context,
    queries: &DecodeQueries,
    layout: &Layout,
    candidates: &[u32],
) -> Result<Calibration> {
    calibrate_with(ctx, queries, layout, candidates, &CalibrationOptions::default())
}

/// As [`calibrate`], with a planner, knobs and a duration of one's own.
///
/// # Errors
/// As [`calibrate`].
pub fn calibrate_with(
    ctx: &Context,
    queries: &DecodeQueries,
    layout: &Layout,
    candidates: &[u32],
    options: &CalibrationOptions,
) -> Result<Calibration> {
    let mut schedules: Vec<Schedule> = Vec::new();
    let mut plan_of = Vec::new();
    for &workgroups in candidates {
        let plan = options.planner.plan_layout(layout, workgroups)?;
        let schedule = Schedule::new(&plan, layout, &[])?;
        // Over a short cache several candidates come to one plan.
        let known = schedules.iter().position(|known| known.words() == schedule.words());
        plan_of.push((workgroups, known.unwrap_or(schedules.len())));
        if known.is_none() {
            schedules.push(schedule);
        }
    }
    let spec = |schedule| DecodeSplit::new(*queries, layout, schedule).map(Decode);
    let steps: Vec<Decode> = schedules.iter().map(spec).collect::<Result<_>>()?;
    let with: Vec<(&Decode, &Schedule)> = steps.iter().zip(&schedules).collect();
    let missing = || Error::shape("candidates for workgroups of a plan", "at least one", 0);
    let (rotations, traffic) = bound(ctx, &with, options)?.ok_or_else(missing)?;
    let mut probe = Probe::new(ctx, Probe::WAKE_UP)?;
    probe.wake(ctx)?;
    let mut timings = Vec::new();
    for rotation in &rotations {
        timings.push(probe.time(ctx, rotation, &options.timing)?);
    }
    // Times before the clock was at its highest do not compare with those after.
    for (timing, rotation) in timings.iter_mut().zip(&rotations) {
        if probe.outran(timing) {
            *timing = probe.time(ctx, rotation, &options.timing)?;
        }
    }
    let trial = |&(workgroups, plan): &(u32, usize)| {
        Some(CalibrationTrial { workgroups, timing: *timings.get(plan)? })
    };
    let trials: Vec<_> = plan_of.iter().filter_map(trial).collect();
    let slower = |a: &&CalibrationTrial, b: &&CalibrationTrial| {
        let of =
            |trial: &CalibrationTrial| (!trial.timing.settled, trial.timing.dispatch_ns.median);
        let ((a_moved, a), (b_moved, b)) = (of(a), of(b));
        a_moved.cmp(&b_moved).then(a.total_cmp(&b))
    };
    let workgroups = trials.iter().min_by(slower).ok_or_else(missing)?.workgroups;
    Ok(Calibration { workgroups, trials, traffic })
}

/// Times a spec over a schedule, [`Decode`] or one of its kernels, with rows, queries and states that are
/// made up. Wake the device before, and keep it awake: [`Probe`].
///
/// # Errors
/// [`Error::Shape`] for a spec without launches; as [`Context::plan_launches`] and [`measure::time`].
pub fn time(
    ctx: &Context,
    spec: &impl Spec,
    schedule: &Schedule,
    options: &CalibrationOptions,
) -> Result<(Timing, Traffic)> {
    let bound = bound(ctx, &[(spec, schedule)], options)?;
    let (rotation, traffic) = bound
        .and_then(|(rotations, traffic)| Some((rotations.into_iter().next()?, traffic)))
        .unwrap_or_default();
    Ok((measure::time(ctx, &rotation, &options.timing)?, traffic))
}

/// A rotation of each, all compiled and bound, to tensors that they share but for schedules and states;
/// and the traffic of the last, which is that of all. Nothing for nothing to launch.
fn bound<S: Spec>(
    ctx: &Context,
    steps: &[(&S, &Schedule)],
    options: &CalibrationOptions,
) -> Result<Option<(Vec<Vec<Bound>>, Traffic)>> {
    let launches: Vec<_> = steps
        .iter()
        .map(|(spec, _)| spec.launches(ctx.caps(), &options.knobs))
        .collect::<Result<_>>()?;
    let all = launches.concat();
    if all.is_empty() {
        return Ok(None);
    }
    let budget = Budget::for_device(ctx.info());
    let operands = Operands::new(ctx, &all, options.timing.order, &budget)?;
    let (mut rotations, mut traffic) = (Vec::new(), Traffic::default());
    for (launches, (_, schedule)) in launches.into_iter().zip(steps) {
        let plan = ctx.plan_launches(launches)?;
        traffic = plan.traffic();
        let words = ctx.upload(schedule.words())?;
        rotations.push(operands.rotation_with(ctx, &plan, &[(SCHEDULE, words)])?);
    }
    Ok(Some((rotations, traffic)))
}
