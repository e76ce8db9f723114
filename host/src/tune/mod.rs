//! Choosing knobs by measurement, when asked to and never otherwise.

mod cache;
mod entry;
mod file;

pub use cache::TuneCache;
pub use entry::{TuneEntry, TunedAdapter, TunedDriver};
