//! Linear layers: any-precision weights, their quantizer, and the kernels that multiply with them.

mod weights;

pub use weights::Weights;
