//! A device and queue, what they can do, and the pipelines made on them.

use crate::adapter::{self, OpenOptions};
use crate::module::Checks;
use crate::pipeline::Pipelines;
use crate::scope::Guarded;
use crate::{Features, Placement, Plan, Scalar, View};
use fewbytes::{Caps, Error, Knobs, Launch, Result, Spec};
use std::sync::Arc;

/// Where kernels are planned: the caller's device, or one opened here.
///
/// Cheap to keep for the life of the device; compiled pipelines are remembered in it.
pub struct Context {
    guarded: Guarded,
    queue: wgpu::Queue,
    caps: Caps,
    info: wgpu::AdapterInfo,
    checks: Checks,
    pub(crate) pipelines: Pipelines,
    /// Bound where a kernel has a binding that the launch does not use.
    absent: wgpu::Buffer,
}

impl Context {
    /// Works on the caller's device, with the features and limits that it was opened with.
    ///
    /// The device stays the caller's: its callbacks are left alone. Buffers of another device are
    /// refused where both devices come from one [`wgpu::Instance`]; wgpu itself cannot tell apart
    /// objects of different instances.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] or [`Error::Validation`] when not even a small buffer can be made.
    pub fn new(device: &wgpu::Device, queue: &wgpu::Queue) -> Result<Self> {
        let guarded = Guarded::new(device.clone());
        let absent = guarded.scoped("the absent operand's buffer", |device| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("fewbytes absent operand"),
                size: 256,
                usage: wgpu::BufferUsages::STORAGE,
                mapped_at_creation: false,
            })
        })?;
        Ok(Self {
            caps: adapter::caps(device),
            info: device.adapter_info(),
            guarded,
            queue: queue.clone(),
            checks: Checks::default(),
            pipelines: Pipelines::default(),
            absent,
        })
    }

    /// Chooses an adapter and opens a device on it.
    ///
    /// # Errors
    /// [`Error::Unsupported`] listing the adapters when none fits, with what to install when
    /// there is none at all; [`Error::Validation`] when the device cannot be opened.
    pub async fn open(options: &OpenOptions) -> Result<Self> {
        Self::open_on(&adapter::choose(options).await?, options.features).await
    }

    /// Opens a device on an adapter.
    ///
    /// # Errors
    /// As [`Context::open`].
    pub async fn open_on(adapter: &wgpu::Adapter, features: Features) -> Result<Self> {
        let (device, queue) = adapter::open(adapter, features).await?;
        let ctx = Self::new(&device, &queue)?.with_matrices_of(adapter);
        let lost = Arc::clone(&ctx.guarded.lost);
        device.set_device_lost_callback(move |reason, message| {
            // Only the first reason is kept.
            let _ = lost.set(format!("{reason:?}: {message}"));
        });
        Ok(ctx)
    }

    /// Lets kernels use the cooperative matrices that the device's adapter lists, where the device
    /// was opened with `EXPERIMENTAL_COOPERATIVE_MATRIX`; without that it changes nothing.
    ///
    /// For [`Context::new`], since a device does not tell what its adapter lists;
    /// [`Context::open_on`] calls it.
    #[must_use]
    pub fn with_matrices_of(mut self, adapter: &wgpu::Adapter) -> Self {
        self.caps.matrices = adapter::matrices(adapter, &self.guarded.device);
        self
    }

    /// Makes every later call return [`Error::DeviceLost`] with this reason.
    ///
    /// For [`Context::new`]: the callback for losing the device is its owner's, who calls this
    /// from there. Without it wgpu says nothing of allocations, writes and submissions on a lost
    /// device; compiling, uploading and reading fail as [`Error::Validation`].
    pub fn mark_lost(&self, reason: impl Into<String>) {
        // Only the first reason is kept.
        let _ = self.guarded.lost.set(reason.into());
    }

    /// Compiles shaders without bounds checks from now on.
    ///
    /// # Safety
    /// Nothing but the kernels' own arithmetic then keeps accesses within their bindings. The caller
    /// vouches that buffers stay alive while work that uses them is queued (nobody calls
    /// [`wgpu::Buffer::destroy`] on one), and accepts that a driver or compiler fault is no longer
    /// contained. That each binding is as large as its kernel assumes is checked when it is bound.
    #[allow(unsafe_code)]
    #[must_use]
    pub unsafe fn trust_sizes(self) -> Self {
        let checks = Checks { bounds: false, ..self.checks };
        self.with_checks(checks)
    }

    /// Compiles shaders whose loops are counted and end at last from now on, as wgpu does with
    /// shaders that it does not know.
    ///
    /// The kernels' loops end by themselves, so it is off otherwise; this is for measuring what it
    /// costs, and for those who want it all the same.
    #[must_use]
    pub fn with_loop_guard(self) -> Self {
        let checks = Checks { loops: true, ..self.checks };
        self.with_checks(checks)
    }

    /// Compiles shaders whose workgroup memory begins as zeros from now on, as in WebGPU.
    ///
    /// The kernels read nothing there that they did not write, so it is off otherwise; this is for
    /// measuring what it costs, and for those who want it all the same.
    #[must_use]
    pub fn with_zeroed_workgroup_memory(self) -> Self {
        let checks = Checks { zeroed: true, ..self.checks };
        self.with_checks(checks)
    }

    fn with_checks(self, checks: Checks) -> Self {
        // Pipelines made before keep their checks, so they must not be found again.
        let pipelines = Pipelines::new(self.pipelines.cache().cloned());
        Self { checks, pipelines, ..self }
    }

    /// What the device can do.
    pub fn caps(&self) -> &Caps {
        &self.caps
    }

    /// The adapter.
    pub fn info(&self) -> &wgpu::AdapterInfo {
        &self.info
    }

    /// The adapter in words.
    pub fn describe(&self) -> String {
        adapter::describe(&self.info)
    }

    /// The device.
    pub fn device(&self) -> &wgpu::Device {
        &self.guarded.device
    }

    /// The queue.
    pub fn queue(&self) -> &wgpu::Queue {
        &self.queue
    }

    /// Pipelines compiled so far.
    pub fn pipelines(&self) -> usize {
        self.pipelines.len()
    }

    pub(crate) fn guarded(&self) -> &Guarded {
        &self.guarded
    }

    #[cfg(feature = "tune")]
    pub(crate) fn checks(&self) -> Checks {
        self.checks
    }

    /// Plans a spec with default knobs: chooses the variant and compiles what is new.
    ///
    /// In a browser a compile error arrives with the next [`Context::settle`] or
    /// [`Context::read`].
    ///
    /// # Errors
    /// Whatever is wrong with the spec, [`Error::Shader`], [`Error::Validation`],
    /// [`Error::DeviceLost`].
    pub fn plan(&self, spec: &(impl Spec + ?Sized)) -> Result<Plan> {
        self.plan_with(spec, &Knobs::default())
    }

    /// Plans a spec with some choices made.
    ///
    /// # Errors
    /// As [`Context::plan`], and [`Error::Unsupported`] when the device cannot do as chosen.
    pub fn plan_with(&self, spec: &(impl Spec + ?Sized), knobs: &Knobs) -> Result<Plan> {
        self.plan_launches(spec.launches(&self.caps, knobs)?)
    }

    /// Plans launches, in order.
    ///
    /// # Errors
    /// As [`Context::plan`].
    pub fn plan_launches(&self, launches: Vec<Launch>) -> Result<Plan> {
        let max_groups = self.caps.max_groups;
        let pipeline = |launch: &Launch| {
            launch.needs().check(launch.kernel(), &self.caps)?;
            if let Some(groups) = launch.grid().into_iter().find(|&n| n > max_groups) {
                let what = format!("workgroups of {} in one dimension", launch.kernel());
                return Err(Error::range(what, format!("0..={max_groups}"), groups));
            }
            self.pipelines.get(&self.guarded, launch, self.checks)
        };
        Plan::new(&self.guarded, &self.absent, self.caps.storage_alignment, launches, pipeline)
    }

    /// Waits for creation errors that have not arrived yet; outside browsers there are none.
    ///
    /// # Errors
    /// The first of them.
    pub async fn settle(&self) -> Result<()> {
        let settled = self.guarded.settle().await;
        if settled.is_err() {
            // A pipeline whose error came late must not be found again as a good one.
            self.pipelines.clear();
        }
        settled
    }

    /// A new buffer of `len` elements, zeroed, that kernels can use and that can be copied.
    ///
    /// # Errors
    /// [`Error::BindingTooLarge`] beyond the device's buffer size, [`Error::OutOfMemory`],
    /// [`Error::DeviceLost`].
    pub fn alloc<T: Scalar>(&self, len: usize) -> Result<View> {
        self.alloc_in::<T>(len, Placement::Device)
    }

    /// A new buffer with these usages; `memory` says in errors what kind it is.
    pub(crate) fn alloc_with<T: Scalar>(
        &self,
        len: usize,
        usage: wgpu::BufferUsages,
        memory: &str,
    ) -> Result<View> {
        let size = (len as u64)
            .checked_mul(T::ELEMENT.bytes())
            .and_then(|bytes| bytes.max(4).checked_next_multiple_of(4))
            .unwrap_or(u64::MAX);
        if size > self.caps.max_buffer_bytes {
            let (what, limit) = ("a buffer".to_owned(), self.caps.max_buffer_bytes);
            return Err(Error::BindingTooLarge { what, bytes: size, limit });
        }
        let buffer =
            self.guarded.scoped(format!("a buffer of {size} bytes {memory}"), |device| {
                device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("fewbytes"),
                    size,
                    usage,
                    mapped_at_creation: false,
                })
            })?;
        View::new(&buffer, 0, len as u64, T::ELEMENT)
    }

    /// A new buffer with these elements.
    ///
    /// # Errors
    /// As [`Context::alloc`].
    pub fn upload<T: Scalar>(&self, elements: &[T]) -> Result<View> {
        let view = self.alloc::<T>(elements.len())?;
        self.write(&view, elements)?;
        Ok(view)
    }

    /// Replaces a view's elements; takes effect before anything submitted later.
    ///
    /// # Errors
    /// [`Error::Shape`] when type or length differ, [`Error::Validation`] when the buffer lacks
    /// `COPY_DST`, [`Error::DeviceLost`].
    pub fn write<T: Scalar>(&self, view: &View, elements: &[T]) -> Result<()> {
        view.expect("the view to write", T::ELEMENT, elements.len())?;
        let bytes: &[u8] = bytemuck::cast_slice(elements);
        // wgpu writes whole words only; the last one is completed with zeros.
        let (words, rest) = bytes.split_at(bytes.len() & !3);
        let mut last = [0u8; 4];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        self.guarded.scoped("a write", |_| {
            if !words.is_empty() {
                self.queue.write_buffer(view.buffer(), view.offset(), words);
            }
            if !rest.is_empty() {
                let offset = view.offset() + words.len() as u64;
                self.queue.write_buffer(view.buffer(), offset, &last);
            }
        })
    }

    /// Records one compute pass and submits it: for tools, tests and examples. Engines record
    /// into their own passes.
    ///
    /// # Errors
    /// Whatever `record` returns, [`Error::Validation`], [`Error::DeviceLost`].
    pub fn submit(
        &self,
        record: impl FnOnce(&mut wgpu::ComputePass<'_>) -> Result<()>,
    ) -> Result<()> {
        self.guarded.scoped("a compute pass", |device| {
            let mut encoder = device.create_command_encoder(&Default::default());
            let recorded = record(&mut encoder.begin_compute_pass(&Default::default()));
            // A pass that was recorded only in part must not run.
            recorded.map(|()| {
                self.queue.submit([encoder.finish()]);
            })
        })?
    }
}
