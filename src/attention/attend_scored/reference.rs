//! Attention to rows of known logits, from the definition.

use crate::attention::reference::State;
use std::f64::consts::LN_2;

/// What a query row comes to over a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// Of the rows that are kept: `m` is the largest logit of the whole list, to the natural base.
    pub state: State,
    /// The weight of the others, as `l` counts.
    pub left: f64,
    /// How many are kept.
    pub rows: usize,
}

/// A query row over a list of logits in base 2 and values. A logit is kept that is not below the largest
/// less `keep`, in f32; one that is not a number is always.
pub fn reference(logits: &[f32], values: &[&[f32]], keep: f32, head_dim: usize) -> Kept {
    let mut kept = Kept { state: State::empty(head_dim), left: 0.0, rows: 0 };
    let larger = |a: f32, b: f32| if b.is_nan() || b > a { b } else { a };
    let Some(top) = logits.iter().copied().reduce(larger) else { return kept };
    kept.state.m = f64::from(top) * LN_2;
    for (&logit, value) in logits.iter().zip(values) {
        let weight = (f64::from(logit) - f64::from(top)).exp2();
        if logit < top - keep {
            kept.left += weight;
            continue;
        }
        kept.rows += 1;
        kept.state.l += weight;
        kept.state.o.iter_mut().zip(*value).for_each(|(o, v)| *o += weight * f64::from(*v));
    }
    kept
}
