//! Measuring rows on a device.

use crate::checks::{Checks, Contexts};
use crate::published::Published;
use crate::report::{Device, Failure, Figure};
use crate::rows::{Extent, Row};
use crate::work::Work;
use anyhow::{Context as _, Result};
use fewbytes::stream::{StreamCopy, StreamRead};
use fewbytes::{Error, Knobs, Launch};
use fewbytes_wgpu::Context;
use fewbytes_wgpu::measure::{Budget, Operands, Options, Order, Probe, Timing};
use indicatif::{ProgressBar, ProgressStyle};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Streams are halved while memory does not suffice, down to this many bytes.
const SMALLEST_STREAM: u64 = 64 << 20;

pub(crate) fn progress(rows: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("  {bar:40} {pos}/{len} {msg}, {eta} left");
    let bar = ProgressBar::new(rows);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Everything that measuring rows of one device takes.
pub(crate) struct Bench<'a> {
    pub(crate) contexts: Contexts<'a>,
    pub(crate) extent: Extent,
    pub(crate) bar: &'a ProgressBar,
    /// Times to show beside ours, where they compare.
    pub(crate) published: Option<&'a Published>,
    probe: Probe,
}

impl<'a> Bench<'a> {
    /// Compiles what the rows need, on every core, and then keeps the device busy until its clock
    /// has risen: from here on nothing makes it wait.
    pub(crate) fn new(
        ctx: &'a Context,
        adapter: &wgpu::Adapter,
        extent: Extent,
        rows: &[Row],
        bar: &'a ProgressBar,
        published: Option<&'a Published>,
    ) -> Result<Self> {
        let contexts = Contexts::new(ctx, adapter, rows)?;
        bar.set_message("compiling");
        compile(&contexts, rows, bar);
        let mut probe = Probe::new(ctx, Probe::WAKE_UP).context("cannot compile the probe")?;
        let (read, copy) = streams_of(extent.stream_bytes(ctx.caps()));
        for work in [read, copy] {
            for knobs in work.candidates(ctx.caps()) {
                prepare(ctx, &work, &knobs);
            }
        }
        bar.set_message("waking the device");
        probe.wake(ctx).context("cannot run the probe")?;
        Ok(Self { contexts, extent, bar, published, probe })
    }

    /// The streams, which every row is compared with.
    pub(crate) fn streams(&mut self) -> Result<Device> {
        let ctx = self.contexts.of(Checks::Bounds);
        let bytes = self.extent.stream_bytes(ctx.caps());
        self.bar.set_message("reading memory");
        let read = self.stream(bytes, |bytes| streams_of(bytes).0);
        let read = read.context("cannot measure the read stream")?;
        self.bar.inc(1);
        self.bar.set_message("copying memory");
        let copy = self.stream(bytes, |bytes| streams_of(bytes).1);
        let copy = copy.context("cannot measure copying")?;
        self.bar.inc(1);
        Ok(Device::new(self.contexts.of(Checks::Bounds), read, copy))
    }

    /// Every row. Those that were measured before the device reached its highest clock are marked.
    pub(crate) fn rows(&mut self, rows: &[Row], device: &mut Device) -> Result<()> {
        for row in rows {
            self.bar.set_message(row.name());
            match self.figure(row) {
                Ok(figure) => device.figures.push(figure),
                Err(error @ Error::DeviceLost { .. }) => return Err(error).context(row.name()),
                Err(error) => {
                    device.failures.push(Failure { row: row.name(), error: error.to_string() });
                }
            }
            self.bar.inc(1);
        }
        let streams = [&mut device.read, &mut device.copy];
        for figure in streams.into_iter().chain(&mut device.figures) {
            figure.timing.settled &= !self.probe.outran(&figure.timing);
        }
        Ok(())
    }

    pub(crate) fn budget(&self) -> Budget {
        let default = Budget::for_device(self.contexts.of(Checks::Bounds).info());
        Budget { past_cache: self.extent.past_cache.unwrap_or(default.past_cache), ..default }
    }

    /// The fastest of a stream's candidates: the ruler should not be shorter than it has to be.
    /// Where a CPU has to be quick about it, the default.
    fn stream(&mut self, mut bytes: u64, work: impl Fn(u64) -> Work) -> fewbytes::Result<Figure> {
        loop {
            match self.fastest(bytes, &work(bytes)) {
                Err(Error::OutOfMemory { .. }) if bytes / 2 >= SMALLEST_STREAM => {
                    bytes = bytes / 32 * 16;
                }
                outcome => return outcome,
            }
        }
    }

    fn fastest(&mut self, bytes: u64, work: &Work) -> fewbytes::Result<Figure> {
        let ctx = self.contexts.of(Checks::Bounds);
        let launches = work.launches(ctx.caps(), &Knobs::default())?;
        let operands = Operands::new(ctx, &launches, Order::Chain, &self.budget())?;
        let mut candidates = work.candidates(ctx.caps());
        if self.extent.quick && self.extent.software {
            candidates.truncate(1);
        }
        let mut best: Option<Figure> = None;
        for knobs in candidates {
            let row = Row {
                work: work.clone(),
                shape: format!("{} MiB", bytes.div_ceil(1 << 20)),
                setting: String::new(),
                knobs,
                tuned: true,
                order: Order::Chain,
                checks: Checks::Bounds,
            };
            let found = Figure { form: String::new(), ..self.timed(&row, &operands)? };
            if best.as_ref().is_none_or(|best| is_better(&found, best)) {
                best = Some(found);
            }
        }
        best.ok_or_else(|| Error::shape("candidates of a stream", "at least one", 0))
    }

    fn figure(&mut self, row: &Row) -> fewbytes::Result<Figure> {
        let ctx = self.contexts.of(row.checks);
        let launches = row.work.launches(ctx.caps(), &row.knobs)?;
        let operands = Operands::new(ctx, &launches, row.order, &self.budget())?;
        self.timed(row, &operands)
    }

    fn timed(&mut self, row: &Row, operands: &Operands) -> fewbytes::Result<Figure> {
        let ctx = self.contexts.of(row.checks);
        let plan = ctx.plan_launches(row.work.launches(ctx.caps(), &row.knobs)?)?;
        let rotation = operands.rotation(ctx, &plan)?;
        let options = match self.extent.quick {
            true => Options::quick(row.order),
            false => Options::full(row.order),
        };
        let timing: Timing = self.probe.time(ctx, &rotation, &options)?;
        let variant = plan.variants().next().map_or("", |(_, variant)| variant);
        Ok(Figure {
            kernel: row.work.kernel().to_owned(),
            shape: row.shape.clone(),
            setting: row.setting.clone(),
            variant: variant.to_owned(),
            form: row.form(),
            knobs: row.knobs,
            tuned: row.tuned,
            checks: row.checks,
            bytes: plan.traffic().bytes(),
            flops: plan.traffic().flops,
            gb_per_s: timing.gigabytes_per_second(plan.traffic()),
            published_us: self.published.and_then(|published| published.microseconds(row)),
            timing,
        })
    }
}

/// Whether one stream is a better ruler than another: a time that did not settle may be too good.
fn is_better(found: &Figure, best: &Figure) -> bool {
    (found.timing.settled, found.gb_per_s) > (best.timing.settled, best.gb_per_s)
}

/// Reading so many bytes, and copying half as many, so that all places of the output fit into one
/// buffer.
fn streams_of(bytes: u64) -> (Work, Work) {
    let words = |bytes: u64| usize::try_from(bytes / 4).unwrap_or(usize::MAX);
    let copied = bytes / 32 * 16;
    (Work::Read(StreamRead::new(words(bytes))), Work::Copy(StreamCopy::new(words(copied))))
}

/// Compiles the pipelines of all rows, several at a time.
fn compile(contexts: &Contexts<'_>, rows: &[Row], bar: &ProgressBar) {
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
            prepare(contexts.of(row.checks), &row.work, &row.knobs);
            bar.inc(1);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        (0..threads).for_each(|_| {
            scope.spawn(work);
        });
    });
}

/// Compiles one launch; the context remembers it. What cannot be compiled is told where it is to be
/// measured.
fn prepare(ctx: &Context, work: &Work, knobs: &Knobs) {
    let launches: fewbytes::Result<Vec<Launch>> = work.launches(ctx.caps(), knobs);
    drop(launches.and_then(|launches| ctx.plan_launches(launches)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::figure;

    #[test]
    fn the_ruler_is_the_fastest_stream_that_settled() {
        let of = |us, settled| {
            let mut figure = figure("stream_read", "", us);
            figure.timing.settled = settled;
            figure
        };
        assert!(is_better(&of(9.0, true), &of(10.0, true)));
        assert!(!is_better(&of(10.0, true), &of(9.0, true)));
        assert!(!is_better(&of(5.0, false), &of(10.0, true)));
        assert!(is_better(&of(10.0, true), &of(5.0, false)));
        assert!(is_better(&of(5.0, false), &of(6.0, false)));
    }
}
