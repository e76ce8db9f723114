//! What attention to some of the rows comes to, and how such parts are put together.

use super::Logits;
use crate::attention::{HeadData, NO_KEY};

/// One query over some rows: [partial states](crate::attention#partial-states-and-outputs), with `m` to
/// the natural base.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// The largest logit; [`NO_KEY`] without rows.
    pub m: f64,
    /// The sum of `exp(x - m)`; 0 without rows.
    pub l: f64,
    /// The sum of `exp(x - m) v`, `[head_dim]`.
    pub o: Vec<f64>,
}

impl State {
    /// Of no rows.
    pub fn empty(head_dim: usize) -> Self {
        Self { m: NO_KEY.into(), l: 0.0, o: vec![0.0; head_dim] }
    }

    /// Of the listed rows of a head; rows that it has not are left out.
    pub fn over(q: &[f32], data: &HeadData, rows: &[u32], logits: &Logits) -> Self {
        let dim = q.len();
        let pair = |&at: &u32| {
            let v = row(&data.values, at, dim)?;
            Some((logits.of(q, row(&data.keys, at, dim)?), v))
        };
        let pairs: Vec<(f64, &[f32])> = rows.iter().filter_map(pair).collect();
        if pairs.is_empty() {
            return Self::empty(dim);
        }
        let m = pairs.iter().map(|(x, _)| *x).fold(f64::NEG_INFINITY, f64::max);
        let mut state = Self { m, l: 0.0, o: vec![0.0; dim] };
        for (x, v) in pairs {
            let weight = (x - m).exp();
            state.l += weight;
            state.o.iter_mut().zip(v).for_each(|(o, v)| *o += weight * f64::from(*v));
        }
        state
    }

    /// The state of all rows of some states, which have no row in common. Those without rows change
    /// nothing.
    pub fn merge(states: &[Self], head_dim: usize) -> Self {
        // A sum that is not a number is live: it has to reach the output.
        let live = || states.iter().filter(|state| state.l != 0.0);
        let Some(first) = live().next() else { return Self::empty(head_dim) };
        let m = live().map(|state| state.m).fold(first.m, f64::max);
        let mut merged = Self { m, l: 0.0, o: vec![0.0; head_dim] };
        for state in live() {
            let weight = (state.m - m).exp();
            merged.l += weight * state.l;
            merged.o.iter_mut().zip(&state.o).for_each(|(sum, o)| *sum += weight * o);
        }
        merged
    }

    /// The output `[head_dim]` and the natural logarithm of the sum of `exp(x)`; without rows 0 and
    /// [`NO_KEY`].
    pub fn finish(&self) -> (Vec<f64>, f64) {
        if self.l == 0.0 {
            return (vec![0.0; self.o.len()], NO_KEY.into());
        }
        (self.o.iter().map(|o| o / self.l).collect(), self.m + self.l.ln())
    }
}

fn row(of: &[f32], at: u32, dim: usize) -> Option<&[f32]> {
    let from = (at as usize).checked_mul(dim)?;
    of.get(from..from.checked_add(dim)?)
}
