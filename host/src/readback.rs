//! Bringing bytes back.

use crate::{Context, Scalar, View};
use fewbytes::{Error, Result};
use futures::channel::oneshot;
use std::future::poll_fn;
#[cfg(not(target_arch = "wasm32"))]
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::Poll;

impl Context {
    /// Copies a view's elements to the host. Submits the copy; await it anywhere in a browser, or
    /// with [`Context::block_on`] elsewhere.
    ///
    /// # Errors
    /// [`Error::Shape`] when `T` is not the view's element type, [`Error::Readback`] when the
    /// buffer lacks `COPY_SRC` or mapping fails, [`Error::DeviceLost`]; in a browser also any
    /// earlier creation error that had not arrived yet.
    pub async fn read<T: Scalar>(&self, view: &View) -> Result<Vec<T>> {
        view.expect("the view to read", T::ELEMENT, usize::try_from(view.len()).unwrap_or(0))?;
        self.settle().await?;
        let what = || format!("{} x {:?}", view.len(), view.element());
        if !view.buffer().usage().contains(wgpu::BufferUsages::COPY_SRC) {
            let message = "the buffer has no COPY_SRC usage".to_owned();
            return Err(Error::Readback { what: what(), message });
        }
        if view.is_empty() {
            return Ok(Vec::new());
        }
        let bytes = view.bytes();
        let staging = self.guarded().scoped(format!("staging of {}", what()), |device| {
            let staging = device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("fewbytes staging"),
                size: bytes,
                usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
                mapped_at_creation: false,
            });
            let mut encoder = device.create_command_encoder(&Default::default());
            encoder.copy_buffer_to_buffer(view.buffer(), view.offset(), &staging, 0, bytes);
            self.queue().submit([encoder.finish()]);
            staging
        })?;
        let (done, mapped) = oneshot::channel();
        // In a scope of its own: on a device that was lost the staging buffer is invalid, which
        // wgpu reports here and, where the loss is the owner's to hear of, nowhere before.
        self.guarded().scoped(format!("mapping of {}", what()), |_| {
            staging.slice(..).map_async(wgpu::MapMode::Read, move |outcome| {
                // The reader may have given up; then nobody wants the answer.
                let _ = done.send(outcome);
            });
        })?;
        let failed = |message: String| match self.guarded().alive() {
            Err(lost) => lost,
            Ok(()) => Error::Readback { what: what(), message },
        };
        // The callback never comes when the wait for the device itself fails.
        let mut mapped = mapped;
        let answer = poll_fn(|task| match Pin::new(&mut mapped).poll(task) {
            Poll::Pending if self.guarded().alive().is_err() => Poll::Ready(Err(oneshot::Canceled)),
            answer => answer,
        });
        answer
            .await
            .map_err(|_| failed("the device went away".to_owned()))?
            .map_err(|e| failed(e.to_string()))?;
        let range = staging.slice(..).get_mapped_range().map_err(|e| failed(e.to_string()))?;
        let len = usize::try_from(view.len() * view.element().bytes()).unwrap_or(usize::MAX);
        let elements = range
            .get(..len)
            .map(bytemuck::pod_collect_to_vec)
            .ok_or_else(|| failed("fewer bytes were mapped than asked for".to_owned()));
        drop(range);
        staging.unmap();
        elements
    }

    /// Waits for a future, driving this device meanwhile. Outside browsers only.
    ///
    /// A future of this crate ends with [`Error::DeviceLost`] when the device is lost; for any
    /// other, ending is its own business.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let mut future = std::pin::pin!(future);
        let mut task = std::task::Context::from_waker(std::task::Waker::noop());
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut task) {
                return output;
            }
            let _ = self.drive();
            std::thread::yield_now();
        }
    }

    /// Waits until the device has done all that was submitted, and gives up when it is lost.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn wait(&self) -> Result<()> {
        let waited = self.drive();
        self.guarded().alive()?;
        waited.map_or(Ok(()), |outcome| {
            let message = |error: wgpu::PollError| Error::Validation {
                what: "waiting for the device".to_owned(),
                message: error.to_string(),
            };
            outcome.map(drop).map_err(message)
        })
    }

    /// Waits for the device and runs callbacks; no outcome when it turned out to be lost.
    #[cfg(not(target_arch = "wasm32"))]
    fn drive(&self) -> Option<std::result::Result<wgpu::PollStatus, wgpu::PollError>> {
        // wgpu panics in `poll` when the driver reports a lost device, and runs no callback;
        // this crate returns errors. Other panics are those of callbacks that the device's
        // owner registered, and go on.
        let wait = || self.device().poll(wgpu::PollType::wait_indefinitely());
        match catch_unwind(AssertUnwindSafe(wait)) {
            Ok(outcome) => Some(outcome),
            Err(panic) => match panic.downcast_ref::<String>() {
                Some(fatal) if fatal.starts_with("Error in Device::poll") => {
                    self.mark_lost(fatal.clone());
                    None
                }
                _ => resume_unwind(panic),
            },
        }
    }
}
