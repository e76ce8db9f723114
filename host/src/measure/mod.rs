//! The one clock: how long a kernel takes on this device.
//!
//! Everything that reports a speed uses it, so that figures compare. One measurement is
//!
//! 1. a *rotation*: the same launches bound to several copies of their tensors, so that
//!    successive dispatches touch different memory and the last-level cache holds none of it
//!    ([`Budget`], [`Operands`]);
//! 2. a warm-up: so much sustained load of the rotation itself ([`Options::warm_up`]), and then
//!    until two medians agree that lie some load apart ([`Options::apart`]), and again should the
//!    samples not agree with them; a measurement that never settled says so ([`Timing::settled`]);
//! 3. several passes of as many dispatches as make a pass last [`Options::min_pass`], so that what
//!    a pass and a submission cost is a small share of it; the times of the passes, divided by
//!    their dispatches, give median, least and greatest.
//!
//! # Clock speed
//! An idle GPU lowers its clock, and one that gets short bursts of work between pauses may leave it
//! there: an H100 did 25 ms of work between pauses of 200 ms, in which pipelines were compiled, at
//! 345 MHz instead of 1980, four to five times slower, and successive medians agreed perfectly.
//! Hence the sustained load, and three more rules for whoever measures several things: compile all
//! of them first; measure them back to back; and let a [`Probe`] watch, a kernel bound by
//! arithmetic that is timed after each measurement. Reading memory would not show it: at 345 MHz
//! that can still be near full speed.
//!
//! Where the adapter is a CPU warm-ups are short and nothing watches: it has no such clock.
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
//! wait. Both are reported where both are known, and which one the figures are, always. A pass
//! whose stamps are equal was too short for the device's clock and is run again with more
//! dispatches; stamps that cannot be true are errors.
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
mod probe;
mod residence;
mod run;
mod stats;

pub use budget::{Budget, MOST_COPIES};
pub use operands::Operands;
#[cfg(feature = "tune")]
pub(crate) use operands::noise_words;
pub use probe::Probe;
pub use residence::{Place, Residence, host_residence, residence, stream};
pub use run::time;
pub use stats::{SLOWED, Settling, Spread, agree, dispatches_for, elapsed_ns, slowed};

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

/// The longest that [`Options::warm_up`] can be where the adapter is a CPU.
pub const CPU_WARM_UP: Duration = Duration::from_millis(100);

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
    /// Shortest warm-up, as time under load; at most [`CPU_WARM_UP`] where the adapter is a CPU.
    pub warm_up: Duration,
    /// Load between the two medians that have to agree; none where the adapter is a CPU.
    pub apart: Duration,
    /// Longest warm-up; what has not settled by then is measured all the same, and marked.
    pub settle_limit: Duration,
    /// Largest difference of two medians that agree, as a share of the smaller one.
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
            warm_up: Duration::from_millis(500),
            apart: Duration::from_millis(50),
            settle_limit: Duration::from_secs(5),
            tolerance: 0.02,
        }
    }

    /// Passes of 2 ms, 7 of them: for many rows, and for choosing between candidates.
    pub fn quick(order: Order) -> Self {
        Self {
            min_pass: Duration::from_millis(2),
            samples: 7,
            warm_up: Duration::from_millis(300),
            settle_limit: Duration::from_secs(2),
            ..Self::full(order)
        }
    }

    /// The same where such an adapter's clock allows less.
    fn on(&self, info: &wgpu::AdapterInfo) -> Self {
        match info.device_type {
            wgpu::DeviceType::Cpu => Self {
                warm_up: self.warm_up.min(CPU_WARM_UP),
                apart: Duration::ZERO,
                ..self.clone()
            },
            _ => self.clone(),
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
    /// Whether two medians agreed before the samples were taken, theirs with them, and, where a
    /// [`Probe`] watched, the device had not become slower.
    pub settled: bool,
    /// Nanoseconds that the [`Probe`] took after it, where one watched.
    #[cfg_attr(feature = "serde", serde(default))]
    pub probe_ns: Option<f64>,
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
