//! The factor that sequential rounding passes errors on with.
//!
//! With `H = R^T R`, `R` lower triangular, the objective is the sum over `i` of
//! `(R[i, i] d[i] + sum over j < i of R[i, j] d[j])^2`. Rounding the inputs in order, each at the
//! value that makes its own square least, is what GPTQ (arXiv 2210.17323) does with the inverse of
//! `H`; this needs no inverse. `R` comes from the Cholesky factor of `H` in reverse order.

use crate::linear::Hessian;
use crate::linear::parallel::each;
use crate::linear::tiled_matrix::{SIDE, Tiles};

/// Damping to begin with, relative to the mean diagonal, as in the published code, and to end with.
const LEAST: f64 = 0.01;
const MOST: f64 = 1.0;

/// `R[i, j] / R[i, i]` at row `j`, column `i`, zero for `i <= j`; and the damping it took. `None`
/// where the group's matrix is zero, or not positive definite with all damping.
pub(super) fn factor(hessian: &Hessian, group: usize, mean: f64) -> (Option<Tiles>, f64) {
    let n = hessian.inputs();
    let mut damping = LEAST;
    while mean > 0.0 && damping <= MOST * 1.5 {
        let mut reversed: Vec<Vec<f64>> = (0..n)
            .map(|row| {
                let mut row: Vec<f64> = (0..=row)
                    .map(|col| hessian.get(group, n - 1 - row, n - 1 - col).map_or(0.0, f64::from))
                    .collect();
                if let Some(last) = row.last_mut() {
                    *last += damping * mean;
                }
                row
            })
            .collect();
        if cholesky(&mut reversed) {
            // R[i, j] is the factor's number at (n - 1 - j, n - 1 - i).
            let tiles = Tiles::new(n, |block, column, tile| {
                for (j, row) in (block * SIDE..n).zip(tile) {
                    for (i, value) in (column * SIDE..n).zip(row) {
                        if i > j {
                            let l = &reversed[n - 1 - j][n - 1 - i];
                            *value = (l / reversed[n - 1 - i][n - 1 - i]) as f32;
                        }
                    }
                }
            });
            return (Some(tiles), damping);
        }
        damping *= 10.0;
    }
    (None, damping)
}

/// Rows eliminated at a time.
const BLOCK: usize = 64;

/// Replaces the lower triangle by its Cholesky factor, a block of columns at a time; false if it
/// is not positive definite.
fn cholesky(rows: &mut [Vec<f64>]) -> bool {
    let n = rows.len();
    for from in (0..n).step_by(BLOCK) {
        let to = n.min(from + BLOCK);
        // All that lies left of the block is done: first its part of every product.
        let (done, rest) = rows.split_at_mut(to);
        let (_, block) = done.split_at_mut(from);
        for i in from..to {
            let (above, own) = block.split_at_mut(i - from);
            let own = &mut own[0];
            for (j, other) in (from..).zip(above.iter()) {
                own[j] = (own[j] - dot(&own[..j], &other[..j])) / other[j];
            }
            let pivot = own[i] - dot(&own[..i], &own[..i]);
            if pivot.is_nan() || pivot <= 0.0 {
                return false;
            }
            own[i] = pivot.sqrt();
        }
        let block = &*block;
        each(rest.iter_mut().collect(), |row: &mut Vec<f64>| {
            for (j, other) in (from..).zip(block) {
                row[j] = (row[j] - dot(&row[..j], &other[..j])) / other[j];
            }
        });
    }
    true
}

/// In eight sums, so that it vectorises.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a8, a) = a.as_chunks::<8>();
    let (b8, b) = b.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for (a, b) in a8.iter().zip(b8) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f64>() + a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>()
}
