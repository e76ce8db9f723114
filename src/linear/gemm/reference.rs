//! The products by plain loops in f64.

use super::Gemm;
use crate::linear::gemv_bitplane::Product;
use crate::{Error, Result};

/// The whole tensor of `y` after the product, by plain loops in f64. Elements that are none of the
/// products' are those of `y` with a condition of 0.
///
/// # Errors
/// [`Error::Shape`] when `w`, `x` or `y` has fewer elements than the spec says, or the bias not
/// `rows`, and whatever is wrong with the spec itself.
pub fn reference(
    spec: &Gemm,
    w: &[f32],
    x: &[f32],
    bias: Option<&[f32]>,
    y: &[f32],
) -> Result<Product> {
    spec.check()?;
    let lens = [("w", spec.w_len(), w), ("x", spec.x_len(), x), ("y", spec.y_len(), y)];
    for (name, least, found) in lens {
        if found.len() < least {
            let (what, expected) = (format!("length of {name}"), format!("at least {least}"));
            return Err(Error::shape(what, expected, found.len()));
        }
    }
    let (expected, found) = (if spec.bias { spec.rows } else { 0 }, bias.map_or(0, <[f32]>::len));
    if found != expected {
        return Err(Error::shape("length of the bias", expected, found));
    }
    let mut all =
        Product { y: y.iter().copied().map(f64::from).collect(), condition: vec![0.0; y.len()] };
    for vector in 0..spec.batch {
        for row in 0..spec.rows {
            let at = spec.y.offset + vector * spec.y.stride + row;
            let mut sum = bias.map_or(0.0, |bias| f64::from(bias[row]));
            if spec.accumulate {
                sum += f64::from(y[at]);
            }
            let bias = bias.map_or(0.0, |bias| f64::from(bias[row]).abs());
            let before = if spec.accumulate { f64::from(y[at]).abs() } else { 0.0 };
            let mut condition = bias + before;
            for col in 0..spec.cols {
                let w = f64::from(w[spec.w.offset + row * spec.w.stride + col]);
                let term = w * f64::from(x[spec.x.offset + vector * spec.x.stride + col]);
                sum += term;
                condition += term.abs();
            }
            all.y[at] = sum;
            all.condition[at] = condition;
        }
    }
    Ok(all)
}
