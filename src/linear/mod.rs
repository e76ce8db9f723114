//! Linear layers: any-precision weights, their quantizer, and the kernels that multiply with them.

mod quantize;
mod table;
mod weights;

pub use quantize::{
    Method, QuantizeOptions, Quantized, Report, WeightError, quantize, quantize_with_progress,
};
pub use table::TableElement;
pub use weights::Weights;
