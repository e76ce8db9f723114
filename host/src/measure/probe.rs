//! Watching the clock of a device.

use super::pass::Passes;
use super::run::{busy, sample, spread};
use super::{Budget, Operands, Options, Order, Timing, dispatches_for, slowed, time};
use crate::{Bound, Context};
use fewbytes::linear::{BitplaneLayout, BitplaneShape, GemvBitplane, TableElement};
use fewbytes::{Knobs, Result, Spec};
use std::time::Duration;

/// Rows and columns of the probe's matrix: 8 MiB at its width, which most GPUs' caches hold, and
/// with as many vectors as there may be bound by arithmetic even where they do not.
const SIDE: usize = 4096;
const BITS: u8 = 4;
const BATCH: usize = 8;
/// One look: passes of this long, so many of them. The shortest counts, since all that disturbs
/// makes passes longer.
const PASS: Duration = Duration::from_millis(2);
const PASSES: u32 = 5;
/// Most dispatches of a pass.
const MOST: u32 = 4096;

/// Watches the clock of a device: a kernel that is bound by arithmetic and so shows it.
///
/// Make it before anything is timed, since that compiles; wake the device; then measure through
/// [`Probe::time`]. Where the adapter is a CPU it does nothing, see the [module](super).
pub struct Probe {
    watch: Option<Watch>,
    wake_up: Duration,
}

struct Watch {
    rotation: Vec<Bound>,
    dispatches: u32,
    /// Nanoseconds a dispatch, at the highest clock seen.
    best: f64,
}

impl Probe {
    /// Load of the first warm-up of all that is enough for GPUs that have been idle.
    pub const WAKE_UP: Duration = Duration::from_millis(1500);

    /// Compiles the probe. `wake_up` is how long [`Probe::wake`] keeps the device busy.
    ///
    /// # Errors
    /// As [`Context::plan`] and [`Context::alloc`].
    pub fn new(ctx: &Context, wake_up: Duration) -> Result<Self> {
        let watch = match ctx.info().device_type {
            wgpu::DeviceType::Cpu => None,
            _ => Some(Watch::new(ctx, SIDE)?),
        };
        Ok(Self { watch, wake_up })
    }

    /// A probe that has seen a device take `best` nanoseconds.
    #[cfg(all(test, feature = "tune"))]
    pub(crate) fn watching(ctx: &Context, best: f64) -> Result<Self> {
        let watch = Watch { best, ..Watch::new(ctx, 64)? };
        Ok(Self { watch: Some(watch), wake_up: Duration::from_millis(1) })
    }

    /// Keeps the device busy until its clock should have risen, and remembers how fast it is then.
    ///
    /// # Errors
    /// As [`time`].
    pub fn wake(&mut self, ctx: &Context) -> Result<()> {
        let load = self.wake_up;
        self.watch.as_mut().map_or(Ok(()), |watch| watch.load(ctx, load))
    }

    /// As [`time`], then looks at the clock. Where that has fallen, wakes the device and measures
    /// again; where it has fallen then too, the measurement counts as not settled.
    ///
    /// # Errors
    /// As [`time`].
    pub fn time(&mut self, ctx: &Context, rotation: &[Bound], options: &Options) -> Result<Timing> {
        let first = time(ctx, rotation, options)?;
        let Some(watch) = &mut self.watch else {
            return Ok(first);
        };
        let now = watch.look(ctx)?;
        if !slowed(watch.best, now) {
            return Ok(Timing { probe_ns: Some(now), ..first });
        }
        log::info!("the probe takes {now:.0} ns after {:.0}: once more", watch.best);
        watch.load(ctx, self.wake_up)?;
        let again = time(ctx, rotation, options)?;
        let now = watch.look(ctx)?;
        let settled = again.settled && !slowed(watch.best, now);
        Ok(Timing { settled, probe_ns: Some(now), ..again })
    }

    /// Whether a measurement was made at a lower clock than the highest seen since: then it does
    /// not compare with later ones.
    pub fn outran(&self, timing: &Timing) -> bool {
        match (&self.watch, timing.probe_ns) {
            (Some(watch), Some(then)) => slowed(watch.best, then),
            _ => false,
        }
    }
}

impl Watch {
    fn new(ctx: &Context, side: usize) -> Result<Self> {
        let shape = BitplaneShape { rows: side, cols: side, seed_bits: 2, parent_bits: BITS };
        let (caps, table) = (ctx.caps(), TableElement::F16);
        let layout = BitplaneLayout::for_shape(shape, &[BITS], table, false, BITS, caps)?;
        let spec = GemvBitplane { batch: BATCH, ..GemvBitplane::new(layout, BITS) };
        let launches = spec.launches(caps, &Knobs::default())?;
        // One copy: what the cache holds is read fast, which leaves the arithmetic.
        let budget = Budget { past_cache: 0, memory: 0 };
        let operands = Operands::new(ctx, &launches, Order::Chain, &budget)?;
        let rotation = operands.rotation(ctx, &ctx.plan_launches(launches)?)?;
        Ok(Self { rotation, dispatches: 1, best: f64::INFINITY })
    }

    /// Keeps the device busy for so long, and takes a look.
    fn load(&mut self, ctx: &Context, load: Duration) -> Result<()> {
        let mut passes = Passes::new(ctx, &self.rotation, None)?;
        let mut done = Duration::ZERO;
        loop {
            let round = sample(&mut passes, &mut self.dispatches, MOST, PASSES)?;
            let ns = spread(&round, self.dispatches, |pass| pass.ns)?.min;
            done = done.saturating_add(busy(&round));
            self.dispatches = dispatches_for(PASS.as_secs_f64() * 1e9, ns, MOST)?;
            if done >= load {
                break;
            }
        }
        self.look(ctx).map(|_| ())
    }

    /// Nanoseconds a dispatch now.
    fn look(&mut self, ctx: &Context) -> Result<f64> {
        let mut passes = Passes::new(ctx, &self.rotation, None)?;
        let round = sample(&mut passes, &mut self.dispatches, MOST, PASSES)?;
        let now = spread(&round, self.dispatches, |pass| pass.ns)?.min;
        self.best = self.best.min(now);
        Ok(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device that takes hardly any time, with a watch on it.
    fn watched() -> (Context, Probe, Vec<Bound>) {
        let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
        let ctx = Context::new(&device, &queue).unwrap();
        let [watch, work] = [(); 2].map(|()| Watch::new(&ctx, 64).unwrap());
        let probe = Probe { watch: Some(watch), wake_up: Duration::from_millis(1) };
        (ctx, probe, work.rotation)
    }

    fn options() -> Options {
        Options {
            max_dispatches: 1,
            warm_up: Duration::ZERO,
            apart: Duration::ZERO,
            settle_limit: Duration::from_millis(50),
            tolerance: f64::MAX,
            ..Options::quick(Order::Chain)
        }
    }

    #[test]
    fn a_measurement_on_a_watched_device_has_the_probes_time() {
        let (ctx, mut probe, work) = watched();
        probe.wake(&ctx).unwrap();
        let best = probe.watch.as_ref().unwrap().best;
        assert!(best.is_finite() && best > 0.0);
        let timing = probe.time(&ctx, &work, &options()).unwrap();
        assert!(timing.probe_ns.is_some_and(|ns| ns >= probe.watch.as_ref().unwrap().best));
    }

    #[test]
    fn a_device_that_stays_slow_gives_a_time_that_did_not_settle() {
        let (ctx, mut probe, work) = watched();
        probe.watch.as_mut().unwrap().best = 1e-3;
        let timing = probe.time(&ctx, &work, &options()).unwrap();
        assert!(!timing.settled);
        assert!(probe.outran(&timing));
    }

    #[test]
    fn what_was_measured_before_the_clock_rose_does_not_compare() {
        let (ctx, mut probe, work) = watched();
        probe.wake(&ctx).unwrap();
        let timing = probe.time(&ctx, &work, &options()).unwrap();
        let then = timing.probe_ns.unwrap();
        probe.watch.as_mut().unwrap().best = then;
        assert!(!probe.outran(&timing));
        probe.watch.as_mut().unwrap().best = then / 1.2;
        assert!(probe.outran(&timing));
        probe.watch = None;
        assert!(!probe.outran(&timing), "nobody watched");
    }
}
