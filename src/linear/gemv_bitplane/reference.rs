//! The product by plain loops in f64.

use crate::linear::BitplaneLayer;
use crate::{Error, Result};

/// A reference product and, for every row, the condition `sum |w x| + |bias|` that bounds the
/// rounding error of any order of summation.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Product {
    /// `y`, in f64.
    pub y: Vec<f64>,
    /// The condition of every element of `y`.
    pub condition: Vec<f64>,
}

impl Product {
    /// Adds the products of one vector with dense rows of as many weights, and their bias.
    pub(in crate::linear) fn push(&mut self, weights: &[f32], bias: Option<&[f32]>, x: &[f32]) {
        for (row, weights) in weights.chunks_exact(x.len().max(1)).enumerate() {
            let mut sum = bias.map_or(0.0, |bias| f64::from(bias[row]));
            let mut condition = sum.abs();
            for (&w, &x) in weights.iter().zip(x) {
                let term = f64::from(w) * f64::from(x);
                sum += term;
                condition += term.abs();
            }
            self.y.push(sum);
            self.condition.push(condition);
        }
    }
}

/// The product by plain loops in f64, from codes and tables.
///
/// # Errors
/// As [`BitplaneLayer::check_width`], and [`Error::Shape`] when `x` does not have `cols` elements.
pub fn reference(layer: &BitplaneLayer, bits: u8, x: &[f32], bias: bool) -> Result<Product> {
    if x.len() != layer.cols() {
        return Err(Error::shape("length of x", layer.cols(), x.len()));
    }
    let mut product = Product::default();
    product.push(&layer.dequantize(bits)?, layer.bias().filter(|_| bias), x);
    Ok(product)
}
