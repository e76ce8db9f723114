//! What selected channels add, by plain loops in f64.

use super::ResidualLayer;
use crate::linear::gemv_bitplane::Product;
use crate::{Error, Result};

/// `sum over selected channels i of R[:, i] x_i`, of the residual as it is stored, and for every
/// output the condition `sum |R x|` that bounds the rounding error of any order of summation.
///
/// `x` holds the activations of all channels, `selected` the numbers of those that are taken, in any
/// order; none of them adds 0 everywhere.
///
/// # Errors
/// [`Error::Shape`] when `x` does not have `cols` elements or a channel is selected twice,
/// [`Error::Range`] for a channel that there is not.
pub fn compensate(layer: &ResidualLayer, x: &[f32], selected: &[u32]) -> Result<Product> {
    let (rows, cols) = (layer.rows(), layer.cols());
    if x.len() != cols {
        return Err(Error::shape("length of x", cols, x.len()));
    }
    let mut taken = vec![false; cols];
    let mut product = Product { y: vec![0.0; rows], condition: vec![0.0; rows] };
    for (at, &channel) in selected.iter().enumerate() {
        let Some(taken) = taken.get_mut(channel as usize) else {
            let what = format!("selected channel number {at}");
            return Err(Error::range(what, format!("0..={}", cols - 1), channel));
        };
        if std::mem::replace(taken, true) {
            let found = format!("again as number {at}");
            return Err(Error::shape(format!("selected channel {channel}"), "once", found));
        }
        let channel = channel as usize;
        let x = f64::from(x[channel]);
        let sums = product.y.iter_mut().zip(&mut product.condition);
        for ((y, condition), weight) in sums.zip(layer.channel_values(channel)) {
            let term = f64::from(weight) * x;
            *y += term;
            *condition += term.abs();
        }
    }
    Ok(product)
}
