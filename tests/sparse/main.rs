//! Sparse attention on devices: indexes that grow, searches, and whole steps.

#[path = "../fixtures/device.rs"]
mod device;
mod edges;
mod greedy;
mod greedy_data;
mod index;
mod rest;
// The model's weights are not asked for here.
#[allow(dead_code)]
#[path = "../fixtures/smollm.rs"]
mod smollm;
// Nor is everything about evictions.
#[allow(dead_code)]
#[path = "../fixtures/smollm_trace.rs"]
mod smollm_trace;
mod steps;
mod upkeep;

use fewbytes_wgpu::{Context, Features, adapters};

/// All adapters, each with what it can do.
fn contexts() -> Vec<Context> {
    let found = pollster::block_on(adapters());
    assert!(!found.is_empty(), "no adapter: run `cargo xtask test`, which installs one");
    let open = |adapter| pollster::block_on(Context::open_on(adapter, Features::Full)).unwrap();
    found.iter().map(open).collect()
}
