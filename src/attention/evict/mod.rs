//! Which cached pairs stay: scores, rules, and the selection on the host.
//!
//! A *pair* is the key and the value of one context position of one KV head of one layer. [`Scores`] say
//! how much each matters, whoever made them: a scoring pass, another
//! [source](sources), or the caller. An [`Eviction`] says how many stay and by which
//! rule, [`select`] makes it a [`Selection`], which becomes [`KeepLists`](crate::attention::KeepLists)
//! for caches that are compacted, or a [`KeepMask`] for caches that are kept whole, so that many ratios
//! can be tried on one prefill.
//!
//! Source: "KVzip: Query-Agnostic KV Cache Compression with Context Reconstruction", Kim et al., NeurIPS
//! 2025, arXiv 2505.23416, and its released code, whose threshold [`PairRule::RefStrict`] is.
//!
//! # Order
//! Everywhere larger scores come first, and equal ones in the order of layer, head and position. NaN
//! counts as 0 and is counted ([`Scores::nan`]), -0 is 0. So a selection is one, bit by bit, on every
//! machine.
//!
//! # Ratio
//! Of `N = layers heads n` pairs `floor(N ratio)` stay, where a product that misses a whole number by
//! rounding alone is that number: 0.3 of 10 is 3 and 0.29 of 100 is 29 ([`share`]). 1 keeps everything,
//! by any rule.
//!
//! # Positions that always stay
//! The first `n_sink` and the last `n_recent` positions of every head come before all scores. They count
//! in the budget, which is never less than them: a ratio of 0 still keeps them. Rows of the system prefix,
//! and those appended after the context, are not the context's: they always stay, beside any budget.
//!
//! | rule | budget |
//! |---|---|
//! | [`Rule::Pair`] | one for all pairs: the best of all layers and heads |
//! | [`Rule::PairPerLayer`] | `floor(heads n ratio)` for every layer |
//! | [`Rule::PairUniform`] | `floor(n ratio)` for every head |
//! | [`Rule::Head`] | as `Pair`; a head's context stays or goes whole, by its largest score |

mod eviction;
mod head_scores;
pub(super) mod key;
mod mask;
pub mod reference;
mod scores;
mod select;
mod selection;
pub mod sources;
#[cfg(test)]
mod tests;

pub use eviction::{Eviction, PairRule, Rule, share};
pub use head_scores::HeadScores;
pub use mask::KeepMask;
pub use scores::Scores;
pub use select::{select, select_budgets, select_heads};
pub use selection::Selection;
