//! The merge in f64, of states as kernels store them.

use crate::attention::NO_KEY;
use crate::attention::reference::State;

/// What a merge comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged {
    /// `[head_dim]`.
    pub o: Vec<f64>,
    /// The natural logarithm of the sum; [`NO_KEY`] without keys.
    pub lse: f64,
}

/// The merge of stored states of one query row: `m` to base 2, `l` and `o [head_dim]`, as
/// [`State::merge`] has it.
pub fn reference(states: &[(f32, f32, &[f32])], head_dim: usize) -> Merged {
    let state = |(m, l, o): &(f32, f32, &[f32])| State {
        m: if *l == 0.0 { NO_KEY.into() } else { f64::from(*m) * std::f64::consts::LN_2 },
        l: f64::from(*l),
        o: o.iter().copied().map(f64::from).collect(),
    };
    let states: Vec<State> = states.iter().map(state).collect();
    let (o, lse) = State::merge(&states, head_dim).finish();
    Merged { o, lse }
}
