//! One thin function family for each kernel: `plan` once, `bind` once for each set of tensors,
//! `record` often.

pub mod add;
pub mod append_kv;
pub mod attend_rows;
pub mod attend_scored;
mod bitplane_weights;
pub mod build_index;
pub mod compensate;
pub mod compensated;
pub mod component_scores;
pub mod decode;
#[cfg(not(target_arch = "wasm32"))]
mod decode_calibration;
pub mod decode_merge;
pub mod decode_split;
pub mod dequantize_bitplane;
pub mod dequantize_vector;
mod device_scorer;
pub mod gather_kv;
pub mod gemm;
pub mod gemm_bitplane;
pub mod gemv_bitplane;
pub mod gemv_vector;
pub mod greedy_hits;
pub mod greedy_runs;
mod head_groups;
pub mod hessian;
pub mod hessian_update;
mod index_tensors;
pub mod key_columns;
mod kv_cache;
pub mod list_pairs;
pub mod list_rows;
pub mod lnq;
pub mod matmul_bitplane;
pub mod max_attention;
pub mod merge_columns;
pub mod prefill;
mod products;
mod residual_weights;
mod row_map;
pub mod row_sums;
pub mod score_lse;
pub mod score_max;
pub mod score_rows;
pub mod select_channels;
pub mod select_pairs;
pub mod sort_columns;
pub mod sparse;
pub mod stream_copy;
pub mod stream_read;
pub mod sum_slices;
pub mod top_rows;
mod vector_weights;

pub use bitplane_weights::BitplaneWeights;
pub use device_scorer::{DeviceLayer, DeviceScorer};
pub use index_tensors::{IndexTensors, SortedTensors};
pub use kv_cache::DeviceCache;
pub use residual_weights::ResidualWeights;
pub use row_map::{BoundByMap, DeviceRowMap};
pub use vector_weights::VectorWeights;

/// Floating-point operations that are submitted at a time, some tens of milliseconds on an
/// integrated GPU: systems reset a device that is busy with one submission for seconds.
const SUBMISSION_FLOPS: u64 = 40_000_000_000;
