//! The sums by plain loops in f64.

use super::HessianUpdate;
use super::layout::SIDE;
use crate::{Error, Result};

/// Sums after a batch, and for every one the sum of magnitudes that bounds the rounding error of
/// any order of summation.
#[derive(Debug, Clone, PartialEq)]
pub struct Updated {
    /// All pieces' tiles one after another, in f64.
    pub sums: Vec<f64>,
    /// The condition of every sum.
    pub condition: Vec<f64>,
}

/// What the sums are after adding a batch to `before`, by plain loops in f64. All of a tile counts,
/// below the diagonal too; what lies past the last input stays as it was.
///
/// # Errors
/// [`Error::Shape`] when `x`, `s` or `before` do not have the elements that the spec and its layout
/// say.
pub fn reference(
    spec: &HessianUpdate,
    x: &[f32],
    s: Option<&[f32]>,
    before: &[f32],
) -> Result<Updated> {
    for (what, expected, found) in [
        ("length of x", spec.x_len(), x.len()),
        ("length of s", spec.s_len(), s.map_or(0, <[f32]>::len)),
        ("length of the sums", spec.layout.sums_len(), before.len()),
    ] {
        if expected != found {
            return Err(Error::shape(what, expected, found));
        }
    }
    let (inputs, groups) = (spec.layout.inputs(), spec.layout.groups());
    let across = inputs.div_ceil(SIDE);
    let mut sums: Vec<f64> = before.iter().map(|&v| f64::from(v)).collect();
    let mut condition: Vec<f64> = sums.iter().map(|v| v.abs()).collect();
    let mut at = 0;
    for group in 0..groups {
        for row in 0..across {
            for column in row..across {
                for i in row * SIDE..(row + 1) * SIDE {
                    for j in column * SIDE..(column + 1) * SIDE {
                        if i < inputs && j < inputs {
                            for (t, x) in x.chunks_exact(inputs).enumerate() {
                                let s = s.map_or(1.0, |s| f64::from(s[t * groups + group]));
                                let product = s * f64::from(x[i]) * f64::from(x[j]);
                                sums[at] += product;
                                condition[at] += product.abs();
                            }
                        }
                        at += 1;
                    }
                }
            }
        }
    }
    Ok(Updated { sums, condition })
}
