//! Sparse attention: an index of a cache's keys, searches of it, and attention to what they find.
//!
//! A [`DeviceIndex`] is made from a [`DeviceCache`](super::DeviceCache) and follows it as rows are appended; a
//! [`SparseAttention`] finds rows as its [`Mode`](fewbytes::attention::sparse::Mode) says and attends to them.
//! Exact top-k needs no index; a fraction of its rows is one of those that a head may come to have, so that a
//! cache with much room is better asked for a count. Outputs with `lse` merge with attention to other rows
//! ([`decode_merge`](super::decode_merge)).
//!
//! ```no_run
//! use fewbytes::attention::sparse::{Amount, Mode, Selection, Tail};
//! use fewbytes::attention::{DecodeQueries, RowMap};
//! use fewbytes_wgpu::ops::sparse::{DeviceIndex, IndexOptions, SparseAttention, SparseOptions};
//! use fewbytes_wgpu::ops::{DeviceCache, DeviceRowMap};
//! use fewbytes_wgpu::{Context, Result, View};
//!
//! fn step(ctx: &Context, cache: &DeviceCache, q: &View, o: &View) -> Result<()> {
//!     let map = DeviceRowMap::upload(ctx, RowMap::new(cache.layout(), &[])?)?;
//!     let mut index = DeviceIndex::new(ctx, cache, &map, &IndexOptions::columns())?;
//!     let (r, k) = (32, Amount::Fraction(1.0 / 16.0));
//!     let mode = Mode { selection: Selection::ComponentTopR { r, k }, tail: Tail::Mean };
//!     let queries = DecodeQueries::new(cache.layout().shape(), 4);
//!     let options = SparseOptions::new(mode);
//!     let attention = SparseAttention::new(ctx, cache, &map, Some(&index), queries, &options)?;
//!     let bound = attention.bind(q, cache, &map, Some(&index), o, None)?;
//!     // Whenever rows have been appended, and the map and what else is bound brought up to date:
//!     index.set_budget(ctx, attention.budget())?;
//!     let update = index.update(ctx, cache.layout(), queries.q_len)?;
//!     ctx.submit(|pass| {
//!         index.record(pass, update, &map, cache.layout())?;
//!         bound.record(pass, &map, Some(&index), cache.layout())
//!     })
//! }
//! ```

mod attention;
mod index;

pub use attention::{BoundSparse, ListReport, SparseAttention, SparseOptions};
pub use index::{DeviceIndex, IndexOptions, Update};
