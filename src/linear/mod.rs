//! Linear layers: any-precision weights, their quantizer, and the kernels that multiply with them.
//!
//! Source: "Any-Precision LLM: Low-Cost Deployment of Multiple, Different-Sized LLMs", Park et
//! al., ICML 2024, arXiv 2402.10517.

mod activation;
pub mod add;
mod arithmetic;
pub mod bitplane;
pub mod compensate;
mod dense;
pub mod dequantize_bitplane;
pub mod dequantize_vector;
#[cfg(feature = "safetensors")]
pub mod file;
mod fuse;
pub mod gemm;
pub mod gemm_bitplane;
mod gemv;
pub mod gemv_bitplane;
pub mod gemv_vector;
mod hessian;
pub mod hessian_update;
mod layer;
mod layout;
mod lnq;
pub mod lnq_descent;
pub mod lnq_gram;
mod lnq_layout;
pub mod lnq_objective;
pub mod lnq_product;
pub mod lnq_table;
pub mod matmul_bitplane;
mod parallel;
mod planes;
mod product;
mod quantize;
pub mod residual;
pub mod select;
pub mod select_channels;
pub mod sum_slices;
mod table;
mod table_layer;
mod tables;
mod tile;
mod tiled_matrix;
pub mod vector;
mod weights;

pub use activation::Activation;
pub use add::Add;
pub use arithmetic::Arithmetic;
pub use compensate::Compensate;
pub use dequantize_bitplane::DequantizeBitplane;
pub use dequantize_vector::DequantizeVector;
pub use fuse::Fused;
pub use gemm::Gemm;
pub use gemm_bitplane::GemmBitplane;
pub use gemv_bitplane::GemvBitplane;
pub use gemv_vector::GemvVector;
pub use hessian::{Hessian, HessianAccumulator};
pub use hessian_update::{HessianLayout, HessianUpdate};
pub use layer::{BitplaneLayer, BitplaneShape};
pub use layout::BitplaneLayout;
pub use lnq::{
    LabelStep, Lnq, LnqJob, LnqOptions, LnqReport, LnqStep, Phase, Precision, lnq, lnq_from,
    lnq_with_progress, objectives, round_with_feedback,
};
pub use lnq_descent::LnqDescent;
pub use lnq_gram::LnqGram;
pub use lnq_layout::{HessianPiece, LnqLayout, Panel};
pub use lnq_objective::LnqObjective;
pub use lnq_product::LnqProduct;
pub use lnq_table::LnqTable;
pub use matmul_bitplane::MatmulBitplane;
pub use quantize::{
    Method, QuantizeOptions, Quantized, Report, WeightError, quantize, quantize_with_progress,
};
pub use residual::{
    ResidualElement, ResidualLayer, ResidualLayout, ResidualReport, quantize_residual,
};
pub use select_channels::SelectChannels;
pub use sum_slices::SumSlices;
pub use table::TableElement;
pub use table_layer::TableLayer;
pub use tables::Tables;
pub use vector::{VectorLayer, VectorLayout, VectorShape};
pub use weights::Weights;
