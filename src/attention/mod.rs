//! Attention over KV caches from which rows have been removed: cache formats, layouts, plans of how
//! decoding is spread over a device, and scalar references.
//!
//! Sources: "KVzip: Query-Agnostic KV Cache Compression with Context Reconstruction", Kim et al.,
//! NeurIPS 2025, arXiv 2505.23416; split decoding as in "FlashInfer", Ye et al., MLSys 2025,
//! arXiv 2501.01005.
//!
//! `H` is KV heads, `G` query heads that share one, `D` the head dimension. A *row* is one token's key
//! or value of one KV head: `D` numbers. Keys and values are tensors of their own and a row has the same
//! number in both. Everything that kernels read is u32.
//!
//! # Rows
//! `words [rows, row_words]`: a row is `row_words` words, a multiple of 4 (16 bytes), its numbers in
//! order, the first in the lowest bits; bits beyond the last number are 0. `params [rows]`, of int8 and
//! int4 only, is one word a row.
//!
//! | [`KvElement`] | numbers of a word | a number | `params` | words of `D` = 64, 80, 96, 128, 256 |
//! |---|---|---|---|---|
//! | `F32` | 1 | the word | | 64, 80, 96, 128, 256 |
//! | `F16` | 2 | the half word: `unpack2x16float` | | 32, 40, 48, 64, 128 |
//! | `Bf16` | 2 | the half word, above 16 bits of 0 | | 32, 40, 48, 64, 128 |
//! | `Int8` | 4 | `scale q`, q the signed byte | `scale`, f16, low half; high half 0 | 16, 20, 24, 32, 64 |
//! | `Int4` | 8 | `scale c + zero`, c the nibble, 0 to 15 | `scale`, f16, low half; `zero`, f16, high half | 8, 12, 12, 16, 32 |
//!
//! Only `Int4` with `D` = 80 has padding: 10 words of numbers and 2 of zeros. How numbers are rounded
//! is told at [`encode_row`].
//!
//! # Layouts
//! A head has `kept[h]` rows, those that an eviction left it, and after them `appended` rows, as many
//! for every head: `len[h] = kept[h] + appended`. Where they lie is one rule for three layouts, given by
//! [`LayoutView`]:
//!
//! | array | words | contents |
//! |---|---|---|
//! | `heads` | `[H][2]` | `first, kept` of each head: [`HeadRows`] |
//! | `page_table` | `[entries]` | page numbers; one unused word, or none, where `page_rows` is 0 |
//! | `page_rows`, `appended` | 1 each | scalars: 0, 16 or 32, and the appended rows |
//!
//! Row `r` of head `h`, `r < kept[h] + appended`, is row
//! - `heads[h].first + r` of the tensors where `page_rows` is 0 ([`PlainLayout`], [`RaggedLayout`]),
//! - `page_table[heads[h].first + r / page_rows] page_rows + r % page_rows` else ([`PagedLayout`]).
//!
//! New row `i` of a step that appends `t` is row `r = kept[h] + before + i` of every head, `before` the
//! rows appended already ([`Layout::append`] makes the place and gives `before`). A row's number times
//! `row_words / 4` fits u32: tensors are indexed in pieces of 16 bytes. The true position of a new token
//! is [`Layout::next_position`], not its row.
//!
//! An eviction copies rows as they are stored: with lists `first [H + 1]` and `rows`, ascending within a
//! head ([`KeepLists`]), row `rows[first[h] + i]` of head `h` becomes its row `i`, for `i` below
//! `first[h + 1] - first[h]`, by the view of the old layout on one side and of the new one on the other.
//! When segments are laid out anew ([`Layout::relayout`]), [`RowCopy`] lists what moves.
//!
//! On a device [`append_kv`] writes new rows, [`select_pairs`] finds those with the best scores,
//! [`list_pairs`] lists them and [`gather_kv`] copies them. [`prefill`] attends to rows with many new
//! tokens at once and [`MaxAttention`] scores them by the largest attention that a pass pays them; a
//! [`RowMap`] tells both where rows lie.
//!
//! A [`KvCache`] is a layout with its data in host memory, and perhaps the position of every row,
//! `positions [rows]`; files of caches are `file::CacheFile`'s (feature `safetensors`).
//!
//! # Plans
//! Decoding reads every row of every head once. A [`Plan`] spreads them over workgroups, each a list of
//! [`Segment`]s, which are rows `start .. min(end, len[h])` of one head:
//!
//! | array | words | contents |
//! |---|---|---|
//! | `segments` | `[S][4]` | `head, start, end, slot` |
//! | `group_first` | `[groups + 1]` | workgroup `w` has segments `group_first[w] .. group_first[w + 1]` |
//! | `head_slots` | `[H + 1]` | head `h` has slots `head_slots[h] .. head_slots[h + 1]` |
//!
//! - `end` of a head's last segment is [`OPEN`], the largest u32, so that it extends to rows that are
//!   appended later. The other ends are multiples of [`TILE`] = 64, as are all starts but that of a
//!   sliding window.
//! - `slot` is [`DIRECT`], the largest u32, where the segment is all of its head: its workgroup writes
//!   the output. Else it writes a partial state to the slot. A head written directly has no slots.
//! - A head without rows has one segment all the same; it may grow. A segment whose `start` is not below
//!   `min(end, len[h])` is empty, and its state is `m = -1e30`, `l = 0`, `o = 0`.
//! - Slots of a head ascend with the rows. There are at most `groups + H` of them.
//! - Every workgroup has a segment; there may be fewer workgroups than were asked for.
//!
//! As every head's last segment is open and the others are contiguous from its first row, a plan covers
//! every row of any layout of as many heads: a stale one is slow, never wrong (but for the start of a
//! sliding window). [`Plan::check`] finds stale ones.
//!
//! # Partial states and outputs
//! A state of one query row over some keys is `m`, the largest of its logits, `l`, the sum of
//! `exp(x - m)`, and `o [D]`, the sum of `exp(x - m) v`, not divided. Kernels keep `m` in base 2: theirs
//! is `m log2(e)`, and `2^` stands for `exp`. A logit is `scale q.k`, then `c tanh(x / c)` under a
//! softcap `c`. `l` = 0 marks a state of no keys; then `m` is [`NO_KEY`] = -1e30, never an infinity.
//!
//! A query is `q [q_len, H G, D]`; query head `h G + g` reads KV head `h`. Output is `o` of the same
//! shape and `lse [q_len, H G]`, the *natural* logarithm of the sum of `exp(x)`. Without keys `o` is 0
//! and `lse` is -1e30. The `q_len` new rows have been appended before: query row `i` sees the first
//! `len[h] - q_len + i + 1` rows of head `h` (none where that is negative), the causal rule aligned at
//! the bottom right. Under a
//! sliding window of `w` it sees of those the ones whose position is above its own less `w`.

pub mod append_kv;
pub mod attend_rows;
pub mod attend_scored;
mod cache;
pub mod component_scores;
pub mod decode;
pub mod decode_merge;
pub mod decode_split;
mod denominator;
mod element;
mod encode;
pub mod evict;
#[cfg(feature = "safetensors")]
pub mod file;
pub mod gather_kv;
pub mod greedy_hits;
pub mod greedy_runs;
pub mod key_columns;
pub mod kvzip;
mod layout;
pub mod list_pairs;
pub mod list_rows;
pub mod merge_columns;
mod places;
mod plan;
pub mod prefill;
pub mod reference;
pub mod row_sums;
pub mod score_lse;
pub mod score_max;
pub mod score_merge;
pub mod score_rows;
pub mod select_pairs;
mod shape;
pub mod sort_columns;
pub mod sparse;
mod tiles;
pub mod top_rows;

pub use append_kv::AppendKv;
pub use attend_rows::{AttendRows, Attending, Listed};
pub use attend_scored::AttendScored;
pub use cache::{HeadData, KvCache, KvTensor};
pub use component_scores::ComponentScores;
pub use decode::{DecodeQueries, Schedule, ScheduleShape};
pub use decode_merge::DecodeMerge;
pub use decode_split::{Decode, DecodeSplit};
pub use denominator::Denominator;
pub use element::KvElement;
pub use encode::{decode_row, encode_row};
pub use evict::{Eviction, KeepMask, PairRule, Rule, Scores, Selection};
pub use gather_kv::GatherKv;
pub use greedy_hits::GreedyHits;
pub use greedy_runs::GreedyRuns;
pub use key_columns::KeyColumns;
pub use kvzip::Kvzip;
pub use layout::{
    HeadRows, KeepLists, Layout, LayoutView, PAGE_ROWS, PagePool, PagedLayout, Placement,
    PlainLayout, RESERVE, RaggedLayout, RowCopy,
};
pub use list_pairs::ListPairs;
pub use list_rows::ListRows;
pub use merge_columns::MergeColumns;
pub use places::Places;
pub use plan::{DIRECT, OPEN, Plan, Planner, REPLAN_ROWS, Segment, TILE};
pub use prefill::Prefill;
pub use row_sums::RowSums;
pub use score_lse::{KeySpans, ScoreLse};
pub use score_max::{MaxAttention, ScoreMax, ScorePlace};
pub use score_rows::ScoreRows;
pub use select_pairs::SelectPairs;
pub use shape::{CacheShape, HEAD_DIMS, PIECE};
pub use sort_columns::SortColumns;
pub use tiles::{ROW_MAP, RowMap, RowMapShape};
pub use top_rows::TopRows;

/// What `m` of a state and `lse` of a row are where there is no key: no infinity, which WGSL lets
/// compilers assume not to be.
pub const NO_KEY: f32 = -1e30;
