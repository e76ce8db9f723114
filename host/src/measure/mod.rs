//! The one clock: how long a kernel takes on this device.
//!
//! Everything that reports a speed uses it, so that figures compare. One measurement is
//!
//! 1. a *rotation*: the same launches bound to several copies of their tensors, so that
//!    successive dispatches touch different memory and the last-level cache holds none of it
//!    ([`Budget`], [`Operands`]);
//! 2. a warm-up until two successive medians agree, because an idle GPU runs at a fraction of its
//!    speed, and again should the samples not agree with them; a measurement that never settled
//!    says so ([`Timing::settled`]);
//! 3. several passes of as many dispatches as make a pass last [`Options::min_pass`], so that what
//!    a pass and a submission cost is a small share of it; the times of the passes, divided by
//!    their dispatches, give median, least and greatest.
//!
//! # Order
//! wgpu tracks hazards by buffer, whatever ranges are bound. Two dispatches that write one buffer
//! are kept apart by a barrier, two that write different ones may overlap.
//!
//! - [`Order::Chain`]: all bounds of the rotation write one buffer, so each dispatch waits for the
//!   one before, as in a network whose layers follow each other. A pass goes round the rotation as
//!   often as it has to.
//! - [`Order::Independent`]: every bound of the rotation writes a buffer of its own. A second turn
//!   would write the same buffers again and wait, so a pass is at most one turn: a long rotation
//!   makes long passes. It may read the same copy several times.
//!
//! [`time`] relies on the caller for that: [`Operands::rotation`] makes rotations of either kind.
//!
//! # Clock
//! With `TIMESTAMP_QUERY` the time of a dispatch is that between the device's stamps at the
//! beginning and at the end of a pass; without it, wall time from submission to the end of the
//! wait. Both are reported where both are known, and which one the figures are, always.
//!
//! Blocks until done; not there in browsers, where nothing may block.
//!
//! ```no_run
//! use fewbytes::{Knobs, Spec, launch::Traffic};
//! use fewbytes_wgpu::measure::{Budget, Operands, Options, Order, time};
//! use fewbytes_wgpu::{Context, Result};
//!
//! fn gigabytes_a_second(ctx: &Context, spec: &impl Spec) -> Result<f64> {
//!     let launches = spec.launches(ctx.caps(), &Knobs::default())?;
//!     let operands = Operands::new(ctx, &launches, Order::Chain, &Budget::for_device(ctx.info()))?;
//!     let plan = ctx.plan_launches(launches)?;
//!     let timing = time(ctx, &operands.rotation(ctx, &plan)?, &Options::quick(Order::Chain))?;
//!     Ok(timing.gigabytes_per_second(plan.traffic()))
//! }
//! ```

mod budget;
mod operands;
mod pass;
mod run;
mod stats;

pub use budget::{Budget, MOST_COPIES};
pub use operands::Operands;
pub use run::time;
pub use stats::{Spread, agree, dispatches_for, elapsed_ns};

use fewbytes::launch::Traffic;
use std::time::Duration;

/// What successive dispatches wait for; see the [module](self).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum Order {
    /// Each for the one before.
    #[default]
    Chain,
    /// For nothing.
    Independent,
}

impl Order {
    /// The name in tables and options.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chain => "chain",
            Self::Independent => "independent",
        }
    }
}

/// What a time was taken with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum Clock {
    /// The device's stamps at the beginning and end of a pass.
    Timestamps,
    /// The host's clock from submission to the end of the wait.
    Wall,
}

impl Clock {
    /// The name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timestamps => "timestamps",
            Self::Wall => "wall",
        }
    }
}

/// How long and how often to measure.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// What the rotation was made for: [`Order::Independent`] keeps a pass within one turn.
    pub order: Order,
    /// The clock; `None` takes stamps where the device has them.
    pub clock: Option<Clock>,
    /// A pass gets as many dispatches as make it last this long.
    pub min_pass: Duration,
    /// Most dispatches of a pass, at least 1.
    pub max_dispatches: u32,
    /// Passes that are timed once warm, at least 1.
    pub samples: u32,
    /// Shortest warm-up.
    pub warm_up: Duration,
    /// Longest warm-up; what has not settled by then is measured all the same, and marked.
    pub settle_limit: Duration,
    /// Largest difference of two successive medians that agree, as a share of the smaller one.
    pub tolerance: f64,
}

impl Options {
    /// Passes of 5 ms, 15 of them: for figures to keep.
    pub fn full(order: Order) -> Self {
        Self {
            order,
            clock: None,
            min_pass: Duration::from_millis(5),
            max_dispatches: 4096,
            samples: 15,
            warm_up: Duration::from_millis(300),
            settle_limit: Duration::from_secs(5),
            tolerance: 0.02,
        }
    }

    /// Passes of 2 ms, 7 of them: for many rows, and for choosing between candidates.
    pub fn quick(order: Order) -> Self {
        Self {
            min_pass: Duration::from_millis(2),
            samples: 7,
            warm_up: Duration::from_millis(100),
            settle_limit: Duration::from_millis(1500),
            ..Self::full(order)
        }
    }
}

/// How long one dispatch takes, or the launches of one bound together.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Timing {
    /// What the times of [`Timing::dispatch_ns`] were taken with.
    pub clock: Clock,
    /// What successive dispatches waited for.
    pub order: Order,
    /// Nanoseconds a dispatch, over the samples.
    pub dispatch_ns: Spread,
    /// Median nanoseconds a dispatch by the host's clock, submission and wait included.
    pub wall_ns: f64,
    /// Dispatches of a pass.
    pub dispatches: u32,
    /// Passes that were timed.
    pub samples: u32,
    /// Bounds in the rotation.
    pub rotation: u32,
    /// Whether two successive medians agreed before the samples were taken, and theirs with them.
    pub settled: bool,
}

impl Timing {
    /// The median, in microseconds.
    pub fn microseconds(&self) -> f64 {
        self.dispatch_ns.median / 1e3
    }

    /// Needed bytes by median time, in GB/s (10^9 bytes).
    pub fn gigabytes_per_second(&self, traffic: Traffic) -> f64 {
        // Bytes a nanosecond.
        traffic.bytes() as f64 / self.dispatch_ns.median
    }
}
