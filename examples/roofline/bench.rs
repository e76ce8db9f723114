//! Measuring rows on a device.

use crate::report::{Device, Failure, Figure};
use crate::rows::{Extent, Row, Work};
use anyhow::{Context as _, Result};
use fewbytes::stream::{StreamCopy, StreamRead};
use fewbytes::{Error, Knobs};
use fewbytes_wgpu::Context;
use fewbytes_wgpu::measure::{Budget, Operands, Options, Order, Timing, time};
use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// Streams are halved while memory does not suffice, down to this many bytes.
const SMALLEST_STREAM: u64 = 64 << 20;
/// Warm-up of the read stream on a GPU: clocks of idle ones take their time to rise.
const WAKE_UP: Duration = Duration::from_millis(700);

pub(crate) fn progress(rows: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("  {bar:40} {pos}/{len} {msg}, {eta} left");
    let bar = ProgressBar::new(rows);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Knobs in a few words.
pub(crate) fn name_of(knobs: &Knobs) -> String {
    let parts = [
        knobs.workgroup.map(|lanes| format!("{lanes} lanes")),
        knobs.rows.map(|rows| format!("{rows} rows")),
        knobs.reduce.map(|reduce| format!("{reduce:?}").to_lowercase()),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "defaults".to_owned() } else { parts.join(", ") }
}

/// The streams, which every row is compared with.
pub(crate) fn streams(ctx: &Context, extent: Extent, bar: &ProgressBar) -> Result<Device> {
    let bytes = extent.stream_bytes(ctx.caps());
    let words = |bytes: u64| usize::try_from(bytes / 4).unwrap_or(usize::MAX);
    bar.set_message("reading memory");
    let read = |bytes| Work::Read(StreamRead::new(words(bytes)));
    let read = stream(ctx, extent, bytes, read).context("cannot measure the read stream")?;
    bar.inc(1);
    bar.set_message("copying memory");
    // Half as much in each direction, and all places of the output in one buffer.
    let copy = |bytes| Work::Copy(StreamCopy::new(words(bytes)));
    let copy = stream(ctx, extent, bytes / 32 * 16, copy).context("cannot measure copying")?;
    bar.inc(1);
    Ok(Device::new(ctx, read, copy))
}

/// Every row.
pub(crate) fn rows(
    ctx: &Context,
    unchecked: Option<&Context>,
    extent: Extent,
    rows: &[Row],
    device: &mut Device,
    bar: &ProgressBar,
) -> Result<()> {
    for row in rows {
        bar.set_message(row.name());
        let on = if row.checked { ctx } else { unchecked.unwrap_or(ctx) };
        match figure(on, extent, row) {
            Ok(figure) => device.figures.push(figure),
            Err(error @ Error::DeviceLost { .. }) => return Err(error).context(row.name()),
            Err(error) => {
                device.failures.push(Failure { row: row.name(), error: error.to_string() });
            }
        }
        bar.inc(1);
    }
    Ok(())
}

/// The same device, compiling without bounds checks.
#[allow(unsafe_code)]
pub(crate) fn without_checks(ctx: &Context) -> fewbytes::Result<Context> {
    let twin = Context::new(ctx.device(), ctx.queue())?;
    // SAFETY: tensors are made from the launches' own operands, nobody destroys them while they are
    // in use, and codes are masked before they index a table.
    Ok(unsafe { twin.trust_sizes() })
}

/// The fastest of a stream's candidates: the ruler should not be shorter than it has to be. Where a
/// CPU has to be quick about it, the default.
fn stream(
    ctx: &Context,
    extent: Extent,
    mut bytes: u64,
    work: impl Fn(u64) -> Work,
) -> fewbytes::Result<Figure> {
    loop {
        let work = work(bytes);
        match fastest(ctx, extent, bytes, &work) {
            Err(Error::OutOfMemory { .. }) if bytes / 2 >= SMALLEST_STREAM => {
                bytes = bytes / 32 * 16;
            }
            outcome => return outcome,
        }
    }
}

fn fastest(ctx: &Context, extent: Extent, bytes: u64, work: &Work) -> fewbytes::Result<Figure> {
    let mut best: Option<Figure> = None;
    let shape = format!("{} MiB", bytes.div_ceil(1 << 20));
    let launches = work.launches(ctx.caps(), &Knobs::default())?;
    let operands = Operands::new(ctx, &launches, Order::Chain, &budget(ctx, extent))?;
    let mut candidates = work.candidates(ctx.caps());
    if extent.quick && extent.software {
        candidates.truncate(1);
    }
    for knobs in candidates {
        let row = Row {
            work: work.clone(),
            shape: shape.clone(),
            setting: String::new(),
            variant: "baseline",
            knobs,
            order: Order::Chain,
            checked: true,
        };
        let found = timed(ctx, extent, &row, &operands)?;
        if best.as_ref().is_none_or(|best| found.gb_per_s > best.gb_per_s) {
            best = Some(found);
        }
    }
    best.ok_or_else(|| Error::shape("candidates of a stream", "at least one", 0))
}

pub(crate) fn budget(ctx: &Context, extent: Extent) -> Budget {
    let default = Budget::for_device(ctx.info());
    Budget { past_cache: extent.past_cache.unwrap_or(default.past_cache), ..default }
}

fn figure(ctx: &Context, extent: Extent, row: &Row) -> fewbytes::Result<Figure> {
    let launches = row.work.launches(ctx.caps(), &row.knobs)?;
    let operands = Operands::new(ctx, &launches, row.order, &budget(ctx, extent))?;
    timed(ctx, extent, row, &operands)
}

fn timed(
    ctx: &Context,
    extent: Extent,
    row: &Row,
    operands: &Operands,
) -> fewbytes::Result<Figure> {
    let plan = ctx.plan_launches(row.work.launches(ctx.caps(), &row.knobs)?)?;
    let rotation = operands.rotation(ctx, &plan)?;
    let mut options =
        if extent.quick { Options::quick(row.order) } else { Options::full(row.order) };
    if matches!(row.work, Work::Read(_)) && !extent.software {
        // The first rows of all: the device has been idle, and everything is compared with them.
        options.warm_up = WAKE_UP;
    }
    let timing: Timing = time(ctx, &rotation, &options)?;
    let variant = plan.variants().next().map_or(row.variant, |(_, variant)| variant);
    Ok(Figure {
        kernel: row.work.kernel().to_owned(),
        shape: row.shape.clone(),
        setting: row.setting.clone(),
        variant: variant.to_owned(),
        knobs: row.knobs,
        checked: row.checked,
        bytes: plan.traffic().bytes(),
        gb_per_s: timing.gigabytes_per_second(plan.traffic()),
        timing,
    })
}
