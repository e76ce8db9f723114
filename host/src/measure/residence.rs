//! Where a buffer really is.

use super::{Clock, Options, Order, Timing, time};
use crate::{Context, Memory, Placement, View, ops};
use fewbytes::stream::StreamRead;
use fewbytes::{Error, Knobs, Result};
use std::time::{Duration, Instant};

/// The least bytes that a judgement rests on: more than caches of GPUs hold. CPUs' are larger than
/// it is worth waiting for.
const LEAST_BYTES: u64 = 256 << 20;
const LEAST_BYTES_CPU: u64 = 16 << 20;

/// How many times as fast as the link memory may be read that lies behind it.
const BEYOND_LINK: f64 = 1.5;

/// How fast buffers are read, and what follows from it.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Residence {
    /// Where the buffer lies.
    pub place: Place,
    /// Bytes that were read of it.
    pub bytes: u64,
    /// GB/s (10^9 bytes) at which the device reads it.
    pub read_gb_s: f64,
    /// GB/s at which the device reads as much of its own memory.
    pub device_gb_s: f64,
    /// GB/s at which the device copies from its own memory to the host's.
    pub link_gb_s: f64,
}

/// The finding about a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum Place {
    /// In the host's memory, behind a link.
    Host,
    /// In the device's memory: it is read faster than any link to the host carries.
    Device,
    /// In the one memory that host and device share.
    Shared,
}

impl Place {
    /// The name in tables and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Host => "host memory",
            Self::Device => "device memory",
            Self::Shared => "memory shared by host and device",
        }
    }

    /// What these speeds say of a device of this type.
    fn of(device: wgpu::DeviceType, read_gb_s: f64, link_gb_s: f64) -> Self {
        match device {
            wgpu::DeviceType::IntegratedGpu | wgpu::DeviceType::Cpu => Self::Shared,
            _ if read_gb_s > BEYOND_LINK * link_gb_s => Self::Device,
            _ => Self::Host,
        }
    }
}

/// Streams a buffer of [`Placement::Host`] that is made for it and tells where such buffers lie on
/// this device. Takes about a second, and three times 256 MiB meanwhile, two of them on the host
/// (16 MiB where the adapter is a CPU, where it says little).
///
/// # Errors
/// [`Error::Unsupported`] where the device has no such buffers, [`Error::OutOfMemory`], and as
/// [`time`].
pub fn host_residence(ctx: &Context) -> Result<Residence> {
    let bytes = least(ctx).min(ctx.caps().bindable_bytes()) / 16 * 16;
    let words = usize::try_from(bytes / 4).unwrap_or(usize::MAX);
    residence(ctx, &ctx.alloc_in::<u32>(words, Placement::Host)?)
}

/// Streams a tensor and tells where it lies: it is read, and compared with the speed of the link,
/// which is that of copying device memory to the host.
///
/// # Errors
/// [`Error::Range`] for a tensor that a cache may hold (less than 256 MiB; 16 MiB where the adapter is
/// a CPU, or as much as the device can bind where that is less), and as [`time`].
pub fn residence(ctx: &Context, view: &View) -> Result<Residence> {
    let most = ctx.caps().bindable_bytes();
    let bytes = view.bytes().min(most) / 16 * 16;
    let least = least(ctx).min(most) / 16 * 16;
    if bytes < least {
        let limit = format!("{least} and above");
        return Err(Error::range("bytes of a tensor to find", limit, view.bytes()));
    }
    let words = usize::try_from(bytes / 4).unwrap_or(usize::MAX);
    let own = ctx.alloc::<u32>(words)?;
    let device_gb_s = stream(ctx, &own)?;
    let view = View::new(view.buffer(), view.offset(), bytes / 4, crate::Element::U32)?;
    let read_gb_s = stream(ctx, &view)?;
    let link_gb_s = copy(ctx, &own)?;
    let place = Place::of(ctx.info().device_type, read_gb_s, link_gb_s);
    Ok(Residence { place, bytes, read_gb_s, device_gb_s, link_gb_s })
}

impl Residence {
    /// Whether the tensor lies where it was put.
    pub fn is(&self, memory: Memory) -> bool {
        match self.place {
            Place::Shared => true,
            Place::Host => memory == Memory::Host,
            Place::Device => memory == Memory::Device,
        }
    }
}

fn least(ctx: &Context) -> u64 {
    match ctx.info().device_type {
        wgpu::DeviceType::Cpu => LEAST_BYTES_CPU,
        _ => LEAST_BYTES,
    }
}

/// GB/s of reading a view of words.
pub fn stream(ctx: &Context, view: &View) -> Result<f64> {
    let spec = StreamRead::new(usize::try_from(view.len()).unwrap_or(usize::MAX));
    let plan = ops::stream_read::plan(ctx, &spec, &Knobs::DEFAULT)?;
    let dst = ctx.alloc::<u32>(usize::try_from(spec.lanes).unwrap_or(usize::MAX))?;
    let timing: Timing = time(ctx, &[plan.bind(view, &dst)?], &Options::quick(Order::Chain))?;
    Ok(timing.gigabytes_per_second(plan.traffic()))
}

/// GB/s of copying from the device's memory to the host's, by the host's clock: the best of several
/// rounds, since what disturbs makes it slower.
fn copy(ctx: &Context, from: &View) -> Result<f64> {
    const ROUNDS: u32 = 5;
    let bytes = from.bytes();
    let to = ctx.guarded().scoped("a buffer to copy to", |device| {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("fewbytes link"),
            size: bytes,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    })?;
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        ctx.guarded().scoped("a copy", |device| {
            let mut encoder = device.create_command_encoder(&Default::default());
            encoder.copy_buffer_to_buffer(from.buffer(), from.offset(), &to, 0, bytes);
            ctx.queue().submit([encoder.finish()])
        })?;
        ctx.wait()?;
        best = best.min(begun.elapsed());
    }
    let ns = best.as_secs_f64() * 1e9;
    if ns > 0.0 {
        return Ok(bytes as f64 / ns);
    }
    Err(Error::range(
        format!("nanoseconds of a copy by {} clock", Clock::Wall.name()),
        "above 0",
        ns,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_outruns_the_link_is_not_behind_it() {
        use wgpu::DeviceType::{Cpu, DiscreteGpu, IntegratedGpu, VirtualGpu};
        for device in [DiscreteGpu, VirtualGpu] {
            assert_eq!(Place::of(device, 51.0, 53.0), Place::Host);
            assert_eq!(Place::of(device, 75.0, 53.0), Place::Host);
            assert_eq!(Place::of(device, 3000.0, 53.0), Place::Device);
        }
        for device in [Cpu, IntegratedGpu] {
            assert_eq!(Place::of(device, 100.0, 10.0), Place::Shared);
        }
    }

    #[test]
    fn small_tensors_are_refused() {
        let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
        let ctx = Context::new(&device, &queue).unwrap();
        let view = ctx.alloc::<u32>(1000).unwrap();
        assert!(matches!(residence(&ctx, &view), Err(Error::Range { .. })));
        let host = ctx.alloc_in::<u32>(1000, Placement::Host).unwrap_err();
        assert!(host.to_string().contains("MAPPABLE_PRIMARY_BUFFERS"), "{host}");
        assert_eq!(ctx.placed(Placement::HostOrDevice).unwrap(), Memory::Device);
        ctx.alloc_in::<u32>(1000, Placement::HostOrDevice).unwrap();
    }
}
