//! Bad input, from weights to views: typed errors, before anything reaches a device.
//!
//! What needs no real device runs on wgpu's `noop` device. No handler of uncaptured errors is
//! installed anywhere, so an error that escapes this crate's scopes panics, as wgpu's default is.

#[path = "../fixtures/device.rs"]
mod device;
#[path = "../fixtures/layers.rs"]
mod layers;
mod lost;
mod poisoned;
mod record;
mod slices;
mod specs;
mod vectors;
mod views;
mod weights;

use fewbytes::{Error, Result};
use fewbytes_wgpu::Context;
use layers::Wanted;

/// A device that accepts everything and does nothing, for what is decided on the host.
fn noop() -> Context {
    let [ctx, _] = noops();
    ctx
}

/// Two devices of one instance.
fn noops() -> [Context; 2] {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::NOOP;
    descriptor.backend_options.noop = wgpu::NoopBackendOptions::enabled();
    let instance = wgpu::Instance::new(descriptor);
    let adapter = pollster::block_on(instance.request_adapter(&Default::default())).unwrap();
    [(); 2].map(|()| {
        let opened = adapter.request_device(&wgpu::DeviceDescriptor::default());
        let (device, queue) = pollster::block_on(opened).unwrap();
        Context::new(&device, &queue).unwrap()
    })
}

/// The error of something that has to fail, with the words it has to contain.
#[track_caller]
fn refused<T>(result: Result<T>, words: &[&str]) -> Error {
    let Err(error) = result else { panic!("accepted, but should name {words:?}") };
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text:?}");
    }
    error
}

/// Asserts the kind of an error, inside the layer's name where there is one.
macro_rules! assert_kind {
    ($error:expr, $kind:pat) => {
        let error = match $error {
            fewbytes::Error::Layer { error, .. } => *error,
            other => other,
        };
        assert!(matches!(error, $kind), "{error:?} is not {}", stringify!($kind));
    };
}
use assert_kind;

/// 6 x 64 with tables for 3, 4 and 8 of 8 bits, and a bias.
fn sparse_widths() -> Wanted {
    Wanted { widths: vec![3, 4, 8], bias: true, ..Wanted::new(6, 64, 3, 8) }
}
