//! The products by plain loops in f64.

pub use crate::linear::gemv_bitplane::Product;

use super::GemmBitplane;
use crate::linear::BitplaneLayer;
use crate::{Error, Result};

/// All vectors' products `[batch, y_stride]` by plain loops in f64, from codes and tables; padding
/// between vectors is 0.
///
/// # Errors
/// As [`BitplaneLayer::check_width`], and [`Error::Shape`] when `x` does not have
/// [`GemmBitplane::x_len`] elements or the layer is not of the layout's shape.
pub fn reference(spec: &GemmBitplane, layer: &BitplaneLayer, x: &[f32]) -> Result<Product> {
    let (shape, found) = ((spec.layout.rows(), spec.layout.cols()), (layer.rows(), layer.cols()));
    if shape != found {
        let (expected, found) = (format!("{shape:?}"), format!("{found:?}"));
        return Err(Error::shape("layer of this layout", expected, found));
    }
    if x.len() != spec.x_len() {
        return Err(Error::shape("length of x", spec.x_len(), x.len()));
    }
    let weights = layer.dequantize(spec.bits)?;
    let bias = layer.bias().filter(|_| spec.bias);
    let mut all = Product::default();
    for (vector, x) in x.chunks_exact(layer.cols()).enumerate() {
        all.push(&weights, bias, x);
        let len = ((vector + 1) * spec.y_stride()).min(spec.y_len());
        all.y.resize(len, 0.0);
        all.condition.resize(len, 0.0);
    }
    Ok(all)
}
