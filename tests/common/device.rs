//! A real device, or words on how to get one.

use fewbytes_wgpu::{Context, Features, OpenOptions};

/// Opens a device; `FEWBYTES_ADAPTER` chooses among several adapters.
pub(crate) fn open(features: Features) -> Context {
    let options = OpenOptions { features, ..OpenOptions::from_env() };
    pollster::block_on(Context::open(&options)).unwrap_or_else(|error| {
        panic!("this test runs kernels: {error}; `cargo xtask test` finds or installs a driver")
    })
}
