//! The product by plain loops in f64.

use crate::linear::VectorLayer;
use crate::linear::gemv_bitplane::Product;
use crate::{Error, Result};

/// The product by plain loops in f64, from codes and tables.
///
/// # Errors
/// [`Error::Shape`] when `x` does not have `cols` elements.
pub fn reference(layer: &VectorLayer, x: &[f32], bias: bool) -> Result<Product> {
    let cols = layer.cols();
    if x.len() != cols {
        return Err(Error::shape("length of x", cols, x.len()));
    }
    let codes = layer.codes();
    let per_row = layer.shape().codes_per_row();
    let mut product = Product::default();
    for row in 0..layer.rows() {
        let table = layer.table(row).unwrap_or_default();
        let mut sum = layer.bias().filter(|_| bias).map_or(0.0, |bias| f64::from(bias[row]));
        let mut condition = sum.abs();
        for (col, &x) in x.iter().enumerate() {
            let code = usize::from(codes[row * per_row + col / 2]);
            let term = f64::from(table[code][col % 2]) * f64::from(x);
            sum += term;
            condition += term.abs();
        }
        product.y.push(sum);
        product.condition.push(condition);
    }
    Ok(product)
}
