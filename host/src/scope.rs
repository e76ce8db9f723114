//! Creation calls inside error scopes.

use fewbytes::{Error, Result};
use futures::FutureExt as _;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Poll;

/// The outcome of a scope. In a browser nothing of wgpu's may leave its thread.
#[cfg(not(target_arch = "wasm32"))]
type Outcome = futures::future::BoxFuture<'static, Option<Error>>;
#[cfg(target_arch = "wasm32")]
type Outcome = futures::future::LocalBoxFuture<'static, Option<Error>>;

#[cfg(not(target_arch = "wasm32"))]
fn boxed(outcome: impl Future<Output = Option<Error>> + Send + 'static) -> Outcome {
    outcome.boxed()
}
#[cfg(target_arch = "wasm32")]
fn boxed(outcome: impl Future<Output = Option<Error>> + 'static) -> Outcome {
    outcome.boxed_local()
}

/// A device with what is known about its troubles.
#[derive(Clone)]
pub(crate) struct Guarded {
    pub(crate) device: wgpu::Device,
    /// Why the device was lost, once it is.
    pub(crate) lost: Arc<OnceLock<String>>,
    /// Scopes whose outcome is not known yet. Outside browsers every scope is settled at once.
    pending: Arc<Mutex<Vec<Outcome>>>,
}

impl Guarded {
    pub(crate) fn new(device: wgpu::Device) -> Self {
        Self { device, lost: Arc::default(), pending: Arc::default() }
    }

    /// An error when the device is known to be lost.
    pub(crate) fn alive(&self) -> Result<()> {
        match self.lost.get() {
            Some(reason) => Err(Error::DeviceLost { reason: reason.clone() }),
            None => Ok(()),
        }
    }

    /// Runs `make` inside error scopes, so that nothing it does wrong reaches the device owner's
    /// handler of uncaptured errors.
    ///
    /// In a browser the outcome arrives later; it is then kept for [`Guarded::settle`].
    pub(crate) fn scoped<T>(
        &self,
        what: impl Into<String>,
        make: impl FnOnce(&wgpu::Device) -> T,
    ) -> Result<T> {
        self.alive()?;
        let what = what.into();
        let scopes = [
            wgpu::ErrorFilter::OutOfMemory,
            wgpu::ErrorFilter::Validation,
            wgpu::ErrorFilter::Internal,
        ]
        .map(|filter| self.device.push_error_scope(filter));
        let made = make(&self.device);
        // Scopes form a stack: the last one pushed is popped first.
        let [memory, validation, internal] = scopes;
        let (internal, validation, memory) = (internal.pop(), validation.pop(), memory.pop());
        let lost = Arc::clone(&self.lost);
        let mut outcome = boxed(async move {
            let first = internal.await.or(validation.await).or(memory.await);
            first.map(|error| translate(&what, error, &lost))
        });
        match (&mut outcome).now_or_never() {
            Some(Some(error)) => return Err(error),
            Some(None) => {}
            None => self.defer(outcome),
        }
        // The call that meets the loss of the device is the first one to say so.
        self.alive()?;
        Ok(made)
    }

    /// Keeps an outcome for [`Guarded::settle`], and drops those that turned out well meanwhile.
    fn defer(&self, outcome: Outcome) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = std::mem::take(&mut *pending);
        pending.extend(waiting.into_iter().filter_map(|mut outcome| {
            match (&mut outcome).now_or_never() {
                Some(None) => None,
                Some(Some(error)) => Some(boxed(std::future::ready(Some(error)))),
                None => Some(outcome),
            }
        }));
        pending.push(outcome);
    }

    /// Waits for scopes that are still open, up to the first error, and reports it.
    pub(crate) async fn settle(&self) -> Result<()> {
        // Outcomes stay in the list until they are known, so that giving up on this future, or
        // two of it at once, loses none.
        let first = poll_fn(|task| {
            let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            while let Some(outcome) = pending.first_mut() {
                match outcome.poll_unpin(task) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(error) => {
                        drop(pending.remove(0));
                        if error.is_some() {
                            return Poll::Ready(error);
                        }
                    }
                }
            }
            Poll::Ready(None)
        });
        first.await.map_or_else(|| self.alive(), Err)
    }
}

fn translate(what: &str, error: wgpu::Error, lost: &OnceLock<String>) -> Error {
    if let Some(reason) = lost.get() {
        return Error::DeviceLost { reason: reason.clone() };
    }
    let what = what.to_owned();
    match error {
        wgpu::Error::OutOfMemory { source } => {
            Error::OutOfMemory { what, message: source.to_string() }
        }
        wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
            Error::Validation { what, message: description }
        }
    }
}
