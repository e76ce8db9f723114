//! How far results of attention may be from the reference.

use super::SplitCase;
use crate::Result;
use crate::attention::KvCache;
use crate::attention::reference::Queries;
use crate::linear::{Activation, Arithmetic};
use crate::proof::products::gamma;

impl SplitCase {
    /// Of `o`, shares of the largest value of the head; of `lse`, from the logits' condition.
    pub(super) fn tolerances(
        &self,
        cache: &KvCache,
        queries: &Queries<'_>,
        o: &[f64],
        lse: &[f64],
    ) -> Result<(Vec<f64>, Vec<f64>)> {
        let (dim, group) = (self.dim, self.queries[0]);
        let (mut of_o, mut of_lse) = (vec![0.0; o.len()], vec![0.0; lse.len()]);
        for head in 0..self.kept.len() {
            let data = cache.head(head)?;
            let largest = data.values.iter().filter(|v| v.is_finite());
            let largest = largest.map(|v| f64::from(v.abs())).fold(0.0, f64::max);
            let share = if cache.layout().len(head) > 65_536 { 5e-5 } else { 2e-5 };
            for row in 0..lse.len() {
                if row % queries.query_heads / group != head {
                    continue;
                }
                let q = &queries.q[row * dim..(row + 1) * dim];
                let condition = |k: &[f32]| {
                    let products = q.iter().zip(k).map(|(q, k)| f64::from((q * k).abs()));
                    queries.logits.scale.abs() * products.filter(|p| p.is_finite()).sum::<f64>()
                };
                let condition = data.keys.chunks(dim).map(condition).fold(0.0, f64::max);
                // Products and their sum, a logarithm of what adds up to less than 2^17 weights.
                let unit = f64::from(f32::EPSILON);
                of_lse[row] = gamma(dim + 8) * condition + unit * (8.0 * lse[row].abs() + 64.0);
                let mut share = share;
                if self.arithmetic == Arithmetic::F16 {
                    // A product and sums of two to four: four roundings at most, of less than all of it.
                    let off = 4.0 * condition / 2048.0;
                    of_lse[row] += off;
                    share += (2.0 * off).exp_m1();
                }
                for at in row * dim..(row + 1) * dim {
                    of_o[at] = share * largest;
                    if self.output == Activation::F16 {
                        of_o[at] += ((o[at].abs() + of_o[at]) / 2048.0).max(f64::powi(2.0, -25));
                    }
                }
            }
        }
        Ok((of_o, of_lse))
    }
}
