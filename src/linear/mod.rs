//! Linear layers: any-precision weights, their quantizer, and the kernels that multiply with them.
//!
//! Source: "Any-Precision LLM: Low-Cost Deployment of Multiple, Different-Sized LLMs", Park et
//! al., ICML 2024, arXiv 2402.10517.

mod activation;
mod arithmetic;
pub mod bitplane;
pub mod dequantize_bitplane;
#[cfg(feature = "safetensors")]
pub mod file;
mod fuse;
pub mod gemm;
pub mod gemm_bitplane;
pub mod gemv_bitplane;
mod hessian;
mod layer;
mod layout;
mod lnq;
pub mod matmul_bitplane;
mod parallel;
mod planes;
mod product;
mod quantize;
pub mod sum_slices;
mod table;
mod tables;
mod tile;
mod tiled_matrix;
mod weights;

pub use activation::Activation;
pub use arithmetic::Arithmetic;
pub use dequantize_bitplane::DequantizeBitplane;
pub use fuse::Fused;
pub use gemm::Gemm;
pub use gemm_bitplane::GemmBitplane;
pub use gemv_bitplane::GemvBitplane;
pub use hessian::{Hessian, HessianAccumulator};
pub use layer::{BitplaneLayer, BitplaneShape};
pub use layout::BitplaneLayout;
pub use lnq::{
    LabelStep, Lnq, LnqOptions, LnqReport, LnqStep, Phase, Precision, lnq, lnq_from,
    lnq_with_progress, objectives, round_with_feedback,
};
pub use matmul_bitplane::MatmulBitplane;
pub use quantize::{
    Method, QuantizeOptions, Quantized, Report, WeightError, quantize, quantize_with_progress,
};
pub use sum_slices::SumSlices;
pub use table::TableElement;
pub use tables::Tables;
pub use weights::Weights;
