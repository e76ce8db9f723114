//! Attention to few of the rows: which keys matter to a query is found without reading all of them.
//!
//! Sources: the greedy search is that of "A^3: Accelerating Attention Mechanisms in Neural Networks with
//! Approximation", Ham et al., HPCA 2020, arXiv 2002.10941; the choice of components is that of "SparQ
//! Attention", Ribar et al., ICML 2024, arXiv 2312.04985. US patent 11,636,173 concerns hardware that
//! selects candidates as the greedy search does: users of [`Greedy`](greedy) should take their own advice.
//! Exact top-k and component-wise search do not use it.
//!
//! `H`, `G`, `D`, rows and query rows are [those of the room](super). `T` new tokens, or independent
//! queries of a memory that does not grow, ask at once.
//!
//! # Index
//! A column is a component of all keys of a head. An index covers rows `0 .. rows[h]` of each head, which
//! every query sees; the rows after them, and the first ones (*sinks*), are attended to whatever was found.
//! Its numbers are f16: rounded from the cache's, those below 2^-14 in magnitude and -0 as 0, so that
//! devices which flush such numbers find the same. Where they lie is an [`IndexMap`]; element `i` of
//! column `j` of head `h` is element `first[h] + j stride[h] + i` of
//!
//! | tensor | elements | contents |
//! |---|---|---|
//! | `columns` | f16 in pairs | component `j` of row `i` |
//! | `sorted` | f16 in pairs | the same numbers in ascending order, equal ones by their rows |
//! | `order` | u16 in pairs, or u32 where a head has room for more than 65,536 rows | the row of each |
//! | `sums` | f32, `[H][3][D]` | sums of keys, of their squares, and of values, over the rows covered |
//!
//! A head one of whose keys is no finite f16 is marked in `flags [H]`, and its queries see all rows.
//!
//! [`key_columns`](super::key_columns), [`row_sums`](super::row_sums), [`sort_columns`](super::sort_columns) and
//! [`merge_columns`](super::merge_columns) make these tensors, and bring them up to date where rows have come
//! since: [`BuildIndex`] says in which order. Flags are cleared by whoever forgets the rows.
//!
//! # Lists
//! What a search finds are lists of rows: one for each query row, or one for all query rows of a token and
//! KV head ([`Share`]), so that each row is read once for them. [`Lists`] says which and how long.
//!
//! | tensor | words | contents |
//! |---|---|---|
//! | `lists` | `[L][capacity]` | rows of the tensors: sinks, then those beyond the index, then those found, each ascending |
//! | `counts` | `[L][4]` | rows listed; sinks and rows beyond the index among them; 1 where all rows were taken because nothing could be searched; rows that did not fit |
//!
//! # The rest
//! What the rows that are not attended to would have added can be estimated ([`Tail::Mean`]): the logit of
//! such a row is the part that is known of it plus, for the other components, `q_j mean_j + q_j^2 var_j / 2`,
//! the mean of `exp` under a normal distribution, and its value is the mean of the values. `lse` then
//! includes it. Without ([`Tail::None`]) outputs and `lse` are those of the attended rows alone, and merge
//! with attention to others as [parts](super::decode_merge) do.

pub mod attend;
mod build;
pub mod greedy;
pub mod hardware;
mod index;
mod lists;
mod mode;
mod operands;
pub mod quality;
pub mod sorted;
mod sorted_pair;
mod source;
mod step;

pub use build::{BuildIndex, IndexParts};
pub use index::{HeadColumns, IndexMap, IndexShape};
pub use lists::{Lists, Share};
pub use mode::{Amount, Mode, Selection};
pub(in crate::attention) use sorted_pair::INDEX_MAP_READ;
pub use sorted_pair::SortedPair;
pub use source::IndexSource;
pub use step::{SparseStep, WORK};

/// Whether the rows that are not attended to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Tail {
    /// They have no weight.
    #[default]
    None,
    /// They have the mean value, with [an estimated weight](self#the-rest).
    Mean,
}

// Numbers of bindings that kernels of several steps share; those below 10 are decoding's.

/// Number of the index map's binding.
pub const INDEX_MAP: u32 = 10;
/// Number of the binding of keys by columns.
pub const COLUMNS: u32 = 11;
/// Number of the binding of sorted columns.
pub const SORTED: u32 = 12;
/// Number of the binding of the rows of sorted columns.
pub const ORDER: u32 = 13;
/// Number of the binding of sums over rows.
pub const SUMS: u32 = 14;
/// Number of the binding of heads' flags.
pub const FLAGS: u32 = 15;
/// Number of the binding of what a greedy search takes of each column.
pub const RUNS: u32 = 16;
/// Number of the binding of what a greedy search found about each query row.
pub const FOUND: u32 = 17;
/// Number of the binding of a greedy search's sums.
pub const HITS: u32 = 18;
/// Number of the lists' binding.
pub const LISTS: u32 = 19;
/// Number of the binding of the lists' counts.
pub const COUNTS: u32 = 20;
/// Number of the binding of logits.
pub const SCORES: u32 = 21;
/// Number of the binding of the largest logits.
pub const TOPS: u32 = 22;
/// Number of the binding of what lists are chosen by.
pub const RANKS: u32 = 23;
/// Number of the binding of what components that are not read come to.
pub const UNREAD: u32 = 24;
/// Number of the binding of the weight of the rest.
pub const REST: u32 = 25;
/// Number of the binding of how many rows of a list were kept.
pub const KEPT: u32 = 26;
/// Number of the binding of logits of listed rows.
pub const PICKED: u32 = 27;
/// Number of the binding of sorted columns that are not yet the index's.
pub const OTHER_SORTED: u32 = 28;
/// Number of the binding of the rows of these.
pub const OTHER_ORDER: u32 = 29;
