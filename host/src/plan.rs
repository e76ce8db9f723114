//! Planned launches: compiled, with their parameters on the device, ready to record.

use crate::View;
use crate::pipeline::Pipeline;
use crate::scope::Guarded;
use fewbytes::launch::{Access, Binding, Operand, Scratch, Traffic};
use fewbytes::{Error, Launch, Result};
use std::sync::Arc;

/// What every device's storage alignment divides.
const SCRATCH_ALIGNMENT: u64 = 256;

/// A tensor for one binding: one view a piece.
#[derive(Debug, Clone, Copy)]
pub struct Arg<'a> {
    /// The binding's number.
    pub binding: u32,
    /// The tensor's pieces; most tensors have one.
    pub pieces: &'a [View],
}

/// Launches that are ready to be bound and recorded, any number of times.
pub struct Plan {
    guarded: Guarded,
    absent: wgpu::Buffer,
    alignment: u32,
    steps: Arc<[Step]>,
    scratch_bytes: u64,
}

/// Launches bound to their tensors: recording them allocates nothing.
///
/// Keeps the tensors' buffers alive, and needs the plan no more.
pub struct Bound {
    guarded: Guarded,
    /// Plans one after the other, each with a group for every step.
    parts: Vec<(Arc<[Step]>, Vec<wgpu::BindGroup>)>,
}

impl Bound {
    /// Whether there is nothing to record.
    pub fn is_empty(&self) -> bool {
        self.parts.iter().all(|(steps, _)| steps.is_empty())
    }

    /// These launches and then those of another, as one.
    ///
    /// Launches that do not write what others use may run beside each other.
    #[must_use]
    pub fn then(mut self, next: Self) -> Self {
        self.parts.extend(next.parts);
        self
    }

    /// Records every launch into the caller's pass.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] when that is known; nothing is recorded then.
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) -> Result<()> {
        self.guarded.alive()?;
        for (step, group) in self.parts.iter().flat_map(|(steps, groups)| steps.iter().zip(groups))
        {
            pass.set_pipeline(&step.pipeline.pipeline);
            pass.set_bind_group(0, group, &[]);
            let [x, y, z] = step.grid;
            pass.dispatch_workgroups(x, y, z);
        }
        Ok(())
    }
}

/// One launch.
struct Step {
    kernel: &'static str,
    variant: &'static str,
    pipeline: Arc<Pipeline>,
    params: wgpu::Buffer,
    bindings: &'static [Binding],
    operands: Vec<Operand>,
    scratch: Vec<Scratch>,
    grid: [u32; 3],
    traffic: Traffic,
}

impl Plan {
    pub(crate) fn new(
        guarded: &Guarded,
        absent: &wgpu::Buffer,
        alignment: u32,
        launches: Vec<Launch>,
        pipeline: impl Fn(&Launch) -> Result<Arc<Pipeline>>,
    ) -> Result<Self> {
        let steps: Result<Vec<_>> = launches
            .into_iter()
            .map(|launch| Step::new(guarded, &launch, pipeline(&launch)?))
            .collect();
        Self::of_steps(guarded, absent, alignment, steps?)
    }

    fn of_steps(
        guarded: &Guarded,
        absent: &wgpu::Buffer,
        alignment: u32,
        steps: Vec<Step>,
    ) -> Result<Self> {
        let mut scratch_bytes = 0;
        for step in &steps {
            for part in &step.scratch {
                scratch_bytes = scratch_bytes.max(scratch_end(step, part)?);
            }
        }
        Ok(Self {
            guarded: guarded.clone(),
            absent: absent.clone(),
            alignment,
            steps: steps.into(),
            scratch_bytes,
        })
    }

    /// Bytes of scratch memory that [`Plan::bind`] wants; 0 where no launch needs any.
    ///
    /// Its contents do not matter and mean nothing afterwards. Plans whose passes follow each
    /// other can share one view, of the largest size that any of them wants.
    pub fn scratch_bytes(&self) -> u64 {
        self.scratch_bytes
    }

    /// Kernel and variant of every launch, in order.
    pub fn variants(&self) -> impl Iterator<Item = (&'static str, &'static str)> + '_ {
        self.steps.iter().map(|step| (step.kernel, step.variant))
    }

    /// Bytes and operations of all launches together.
    pub fn traffic(&self) -> Traffic {
        self.steps.iter().map(|step| step.traffic).sum()
    }

    /// Binds tensors, and scratch memory where some is needed, to every launch.
    ///
    /// `scratch` is a view of any element type with at least [`Plan::scratch_bytes`] bytes, in a
    /// buffer of its own or in one that no launch uses otherwise; more is fine, and where none is
    /// needed it is not looked at.
    ///
    /// # Errors
    /// [`Error::Shape`] when a tensor or the scratch memory is missing or too small,
    /// [`Error::Alignment`], [`Error::Aliasing`] when written memory is bound twice or a tensor
    /// lies in the scratch memory, [`Error::Unsupported`] when a buffer lacks `STORAGE` usage,
    /// [`Error::Validation`] when a buffer belongs to another device, [`Error::DeviceLost`].
    pub fn bind(&self, args: &[Arg<'_>], scratch: Option<&View>) -> Result<Bound> {
        self.check_scratch(args, scratch)?;
        let groups: Result<_> =
            self.steps.iter().map(|step| self.bind_step(step, args, scratch)).collect();
        Ok(Bound { guarded: self.guarded.clone(), parts: vec![(Arc::clone(&self.steps), groups?)] })
    }

    /// Binds and records in one call, for tensors that are used once; what is recorded often is
    /// better bound once.
    ///
    /// # Errors
    /// As [`Plan::bind`]; nothing is recorded then.
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>, args: &[Arg<'_>]) -> Result<()> {
        self.record_with(pass, args, None)
    }

    /// As [`Plan::record`], with scratch memory where some is needed.
    ///
    /// # Errors
    /// As [`Plan::bind`]; nothing is recorded then.
    pub fn record_with(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        args: &[Arg<'_>],
        scratch: Option<&View>,
    ) -> Result<()> {
        self.bind(args, scratch)?.record(pass)
    }

    /// Scratch memory that is large enough and apart from every tensor.
    ///
    /// A launch that writes scratch need not bind the tensor that lies there, so this is seen here
    /// and not when that launch is bound.
    fn check_scratch(&self, args: &[Arg<'_>], scratch: Option<&View>) -> Result<()> {
        if self.scratch_bytes == 0 {
            return Ok(());
        }
        let first = self.steps.iter().find(|step| !step.scratch.is_empty());
        let what = || format!("scratch memory of {}", first.map_or("a launch", |s| s.kernel));
        let expected = || format!("at least {} bytes", self.scratch_bytes);
        let Some(scratch) = scratch else {
            return Err(Error::shape(what(), expected(), "none"));
        };
        if scratch.bytes() < self.scratch_bytes {
            return Err(Error::shape(what(), expected(), scratch.bytes()));
        }
        let own = scratch.offset()..scratch.offset() + self.scratch_bytes;
        for arg in args {
            let overlaps = |view: &View| {
                view.buffer() == scratch.buffer()
                    && view.offset() < own.end
                    && own.start < view.offset() + view.bytes()
            };
            if arg.pieces.iter().any(overlaps) {
                let bindings = self.steps.iter().flat_map(|step| step.bindings);
                let name = bindings.into_iter().find(|b| b.number == arg.binding).map(|b| b.name);
                let other = name.map_or(format!("binding {}", arg.binding), str::to_owned);
                return Err(Error::Aliasing { written: what(), other });
            }
        }
        Ok(())
    }

    fn bind_step(
        &self,
        step: &Step,
        args: &[Arg<'_>],
        scratch: Option<&View>,
    ) -> Result<wgpu::BindGroup> {
        let mut entries = Vec::with_capacity(step.bindings.len());
        for binding in step.bindings {
            let resource = match binding.access {
                Access::Uniform => step.params.as_entire_buffer_binding(),
                _ => self.storage(step, binding, args, scratch)?,
            };
            entries.push((binding, resource));
        }
        check_aliasing(step, &entries)?;
        let entries: Vec<_> = entries
            .into_iter()
            .map(|(binding, resource)| wgpu::BindGroupEntry {
                binding: binding.number,
                resource: wgpu::BindingResource::Buffer(resource),
            })
            .collect();
        self.guarded.scoped(format!("operands of {}", step.kernel), |device| {
            device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(step.kernel),
                layout: &step.pipeline.layout,
                entries: &entries,
            })
        })
    }

    fn storage<'a>(
        &'a self,
        step: &Step,
        binding: &Binding,
        args: &[Arg<'a>],
        scratch: Option<&'a View>,
    ) -> Result<wgpu::BufferBinding<'a>> {
        let what = || format!("{} of {}", binding.name, step.kernel);
        let number = binding.number;
        let (view, offset, bytes) =
            if let Some(part) = step.scratch.iter().find(|s| s.binding == number) {
                let view = scratch.ok_or_else(|| Error::shape(what(), "scratch memory", "none"))?;
                (view, part.offset, part.bytes)
            } else if let Some(operand) = step.operands.iter().find(|o| o.binding == number) {
                let pieces =
                    args.iter().find(|arg| arg.binding == number).map_or(&[][..], |arg| arg.pieces);
                let view = pieces.get(operand.piece as usize).ok_or_else(|| {
                    Error::shape(format!("pieces of {}", what()), operand.piece + 1, pieces.len())
                })?;
                (view, operand.offset, operand.bytes)
            } else {
                return Ok(self.absent.as_entire_buffer_binding());
            };
        if !view.buffer().usage().contains(wgpu::BufferUsages::STORAGE) {
            return Err(Error::unsupported(what(), "its buffer has no STORAGE usage"));
        }
        if offset + bytes > view.bytes() {
            let expected = format!("at least {} bytes", offset + bytes);
            return Err(Error::shape(what(), expected, view.bytes()));
        }
        let start = view.offset() + offset;
        if !start.is_multiple_of(self.alignment.into()) {
            let (what, multiple) = (format!("offset of {}", what()), self.alignment.into());
            return Err(Error::Alignment { what, multiple, value: start });
        }
        let size = wgpu::BufferSize::new(bytes);
        Ok(wgpu::BufferBinding { buffer: view.buffer(), offset: start, size })
    }
}

/// Where one part of the scratch memory ends, if it is one that can be bound.
fn scratch_end(step: &Step, part: &Scratch) -> Result<u64> {
    let name = step.bindings.iter().find(|binding| binding.number == part.binding);
    let what = |name| format!("scratch {name} of {}", step.kernel);
    let Some(name) = name.filter(|b| b.access != Access::Uniform).map(|b| b.name) else {
        return Err(Error::shape(what("binding"), "a storage binding", part.binding));
    };
    if !part.offset.is_multiple_of(SCRATCH_ALIGNMENT) {
        let (what, multiple) = (format!("offset of {}", what(name)), SCRATCH_ALIGNMENT);
        return Err(Error::Alignment { what, multiple, value: part.offset });
    }
    let end = part.offset.checked_add(part.bytes).filter(|_| part.bytes > 0);
    let found = || format!("{} from {}", part.bytes, part.offset);
    end.ok_or_else(|| Error::shape(what(name), "some bytes within 64 bits", found()))
}

/// WebGPU forbids one buffer as read and as written in one dispatch, whatever the ranges, and
/// written ranges that overlap; distinct written ranges of one buffer are fine.
fn check_aliasing(step: &Step, entries: &[(&Binding, wgpu::BufferBinding<'_>)]) -> Result<()> {
    let range = |r: &wgpu::BufferBinding<'_>| {
        r.offset..r.offset.saturating_add(r.size.map_or(u64::MAX, u64::from))
    };
    for (binding, resource) in entries.iter().filter(|(b, _)| b.access == Access::ReadWrite) {
        let own = range(resource);
        let twin = entries.iter().find(|(other, r)| {
            let theirs = range(r);
            let apart = own.end <= theirs.start || theirs.end <= own.start;
            other.number != binding.number
                && r.buffer == resource.buffer
                && !(other.access == Access::ReadWrite && apart)
        });
        if let Some((other, _)) = twin {
            return Err(Error::Aliasing {
                written: format!("{} of {}", binding.name, step.kernel),
                other: other.name.to_owned(),
            });
        }
    }
    Ok(())
}

impl Step {
    fn new(guarded: &Guarded, launch: &Launch, pipeline: Arc<Pipeline>) -> Result<Self> {
        let params = guarded.scoped(format!("parameters of {}", launch.kernel()), |device| {
            let buffer = device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("fewbytes parameters"),
                size: (launch.params().len() as u64).max(16).next_multiple_of(16),
                usage: wgpu::BufferUsages::UNIFORM,
                mapped_at_creation: true,
            });
            if let Ok(mut range) = buffer.get_mapped_range_mut(..) {
                range.slice(..launch.params().len()).copy_from_slice(launch.params());
            }
            buffer.unmap();
            buffer
        })?;
        Ok(Self {
            kernel: launch.kernel(),
            variant: launch.variant(),
            pipeline,
            params,
            bindings: launch.bindings(),
            operands: launch.operands().to_vec(),
            scratch: launch.scratch().to_vec(),
            grid: launch.grid(),
            traffic: launch.traffic(),
        })
    }
}

#[cfg(test)]
mod tests;
