//! Scores of other methods, for comparison: all of them selections of the same pairs from the same
//! cache.
//!
//! Everything here is plain loops in f64 over the rows that a [`KvCache`](crate::attention::KvCache)
//! stores, from the definitions. Most look at attention that queries pay, which an [`Observed`] holds;
//! of `q_len` queries over `n` positions that takes `q_len query_heads n head_dim` steps a layer.
//!
//! | source | looks at | usual eviction |
//! |---|---|---|
//! | [`random`] | nothing | any |
//! | [`recent`] | places | [`Rule::PairUniform`](super::Rule::PairUniform) |
//! | [`snap_kv`] | attention of the last queries, pooled | `PairUniform`, `n_recent` the window |
//! | [`pyramid_budgets`] | the same, other budgets for every layer | [`select_budgets`](super::select_budgets) |
//! | [`observed_attention`] | attention of all queries | any |
//! | [`expected_attention`] | mean and covariance of queries | any; 4 sink positions |

mod expected;
mod observed;
mod places;
mod snap;
#[cfg(test)]
mod tests;

pub use expected::{QueryStatistics, Turns, expected_attention};
pub use observed::{Accumulate, Observed, observed_attention};
pub use places::{random, recent};
pub use snap::{SNAP_POOL, SNAP_WINDOW, pyramid_budgets, snap_kv};
