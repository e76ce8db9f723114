//! One timed pass.

use super::{Clock, elapsed_ns};
use crate::{Bound, Context, Element, View};
use fewbytes::{Error, Result};
use std::time::Instant;

/// Times of one pass, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct PassTime {
    /// By the clock that was chosen; 0 where the pass was too short for the device's stamps.
    pub(super) ns: f64,
    /// By the host's clock.
    pub(super) wall_ns: f64,
}

/// Where the device puts its stamps.
struct Stamps {
    queries: wgpu::QuerySet,
    view: View,
    period: f32,
}

/// Runs passes over a rotation, each going on where the last one ended.
pub(super) struct Passes<'a> {
    ctx: &'a Context,
    bounds: &'a [Bound],
    stamps: Option<Stamps>,
    next: usize,
}

impl<'a> Passes<'a> {
    pub(super) fn new(ctx: &'a Context, bounds: &'a [Bound], clock: Option<Clock>) -> Result<Self> {
        let able = ctx.device().features().contains(wgpu::Features::TIMESTAMP_QUERY);
        let stamps = match (clock, able) {
            (Some(Clock::Timestamps), false) => {
                let why = "the device has no TIMESTAMP_QUERY";
                return Err(Error::unsupported("timing by timestamps", why));
            }
            (Some(Clock::Wall), _) | (None, false) => None,
            (Some(Clock::Timestamps) | None, true) => Some(Stamps::new(ctx)?),
        };
        Ok(Self { ctx, bounds, stamps, next: 0 })
    }

    pub(super) fn clock(&self) -> Clock {
        if self.stamps.is_some() { Clock::Timestamps } else { Clock::Wall }
    }

    /// Runs one pass of this many dispatches and waits for it.
    pub(super) fn run(&mut self, dispatches: u32) -> Result<PassTime> {
        let (ctx, bounds, stamps) = (self.ctx, self.bounds, self.stamps.as_ref());
        let wanted = dispatches as usize;
        let start = self.next.checked_rem(bounds.len()).unwrap_or(0);
        self.next = start + wanted;
        let commands = ctx.guarded().scoped("a timed pass", |device| {
            let mut encoder = device.create_command_encoder(&Default::default());
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: Some("fewbytes timed pass"),
                timestamp_writes: stamps.map(|stamps| wgpu::ComputePassTimestampWrites {
                    query_set: &stamps.queries,
                    beginning_of_pass_write_index: Some(0),
                    end_of_pass_write_index: Some(1),
                }),
            });
            let turns = bounds.iter().cycle().skip(start).take(wanted);
            let recorded = turns.into_iter().try_for_each(|bound| bound.record(&mut pass));
            drop(pass);
            if let Some(stamps) = stamps {
                encoder.resolve_query_set(&stamps.queries, 0..2, stamps.view.buffer(), 0);
            }
            recorded.map(|()| encoder.finish())
        })??;
        let begun = ctx.guarded().scoped("a timed submission", |_| {
            let begun = Instant::now();
            ctx.queue().submit([commands]);
            begun
        })?;
        ctx.wait()?;
        let wall_ns = begun.elapsed().as_secs_f64() * 1e9;
        let ns = match stamps {
            Some(stamps) => stamps.read(ctx, wall_ns)?,
            None => wall_ns,
        };
        Ok(PassTime { ns, wall_ns })
    }
}

impl Stamps {
    fn new(ctx: &Context) -> Result<Self> {
        let (queries, buffer) = ctx.guarded().scoped("queries of timestamps", |device| {
            let queries = device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("fewbytes timestamps"),
                ty: wgpu::QueryType::Timestamp,
                count: 2,
            });
            let buffer = device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("fewbytes timestamps"),
                size: 16,
                usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            });
            (queries, buffer)
        })?;
        let view = View::new(&buffer, 0, 4, Element::U32)?;
        Ok(Self { queries, view, period: ctx.queue().get_timestamp_period() })
    }

    fn read(&self, ctx: &Context, wall_ns: f64) -> Result<f64> {
        let words = ctx.block_on(ctx.read::<u32>(&self.view))?;
        let [low, high, end_low, end_high] = words.as_slice() else {
            return Err(Error::shape("words of two timestamps", 4, words.len()));
        };
        let stamp = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        pass_ns(stamp(*low, *high), stamp(*end_low, *end_high), self.period, wall_ns)
    }
}

/// As [`elapsed_ns`], but equal stamps are 0: a clock that ticks slowly shows a short pass so.
fn pass_ns(begin: u64, end: u64, period: f32, wall_ns: f64) -> Result<f64> {
    if begin == end && begin != 0 {
        return Ok(0.0);
    }
    elapsed_ns(begin, end, period, wall_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_stamps_are_a_pass_too_short_and_others_as_they_are() {
        assert_eq!(pass_ns(9, 9, 1.0, 1e9).unwrap(), 0.0);
        assert_eq!(pass_ns(9, 12, 2.0, 1e9).unwrap(), 6.0);
        for (begin, end) in [(0, 0), (9, 5), (0, 9), (9, 0)] {
            assert!(matches!(pass_ns(begin, end, 1.0, 1e9), Err(Error::Range { .. })));
        }
    }
}
