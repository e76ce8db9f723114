//! What kernels would read of keys, values and indices.

use super::{Outcome, Selection, Share, SparseQueries};
use crate::attention::sparse::sorted::KeyIndex;

/// Bytes for one KV head, over all tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HeadTraffic {
    /// What attention to few rows reads.
    pub read: u64,
    /// What attention to all rows reads.
    pub dense: u64,
}

/// What each KV head's keys, values and index cost to read, from rows of f16.
///
/// Of all rows that are seen attention reads `4 D` bytes each, once for each token and KV head. To few of them:
/// - `2 D` bytes of the key of every row that is scored and of the value of every row that a query row
///   of the list attends to, and 4 of each listed row's number, for each list; where all rows are
///   scored, keys once for each token and KV head, 4 bytes a query row for each of their logits, and no
///   lists for [`Selection::Threshold`];
/// - of a greedy search for each query row 4 bytes for each entry taken, 6 where row numbers are wide, and 8
///   for each row's sum, which is cleared and then read;
/// - of components `2 r` bytes of every row of the index for each token and KV head, and 4 of each rank for
///   each list.
pub fn traffic(
    queries: &SparseQueries<'_>,
    index: &KeyIndex,
    outcome: &Outcome,
) -> Vec<HeadTraffic> {
    let (lists, shape) = (&queries.lists, index.shape());
    let row_bytes = 2 * u64::from(shape.dim);
    let entry = if shape.narrow() { 4 } else { 6 };
    let mut heads = vec![HeadTraffic::default(); lists.heads as usize];
    for (list, listed) in (0..).zip(&outcome.lists) {
        let head = lists.head_of(list) as usize;
        let Some(head_traffic) = heads.get_mut(head) else { continue };
        let rows = lists.rows_of(list);
        let stats = outcome.stats.get(rows.start as usize..rows.end as usize).unwrap_or_default();
        // The first list of its token and head.
        let first = match lists.share {
            Share::Group => true,
            Share::Query => rows.start.is_multiple_of(lists.group),
        };
        let seen = stats.first().map_or(0, |row| u64::from(row.seen));
        let covered = u64::from(index.rows(head));
        let mut kept: Vec<u32> = stats.iter().flat_map(|row| row.kept.iter().copied()).collect();
        kept.sort_unstable();
        kept.dedup();
        let values = row_bytes * kept.len() as u64;
        let found = 4 * listed.rows.len() as u64 + row_bytes * u64::from(listed.scored);
        let once = |bytes: u64| if first { bytes } else { 0 };
        let scores = 4 * seen * stats.len() as u64;
        let read = values
            + match queries.mode.selection {
                Selection::Threshold { .. } => once(row_bytes * seen) + scores,
                Selection::TopK { .. } => {
                    once(row_bytes * seen) + scores + 4 * listed.rows.len() as u64
                }
                Selection::Greedy { .. } | Selection::TopKApprox { .. } => {
                    let entries: u64 = stats.iter().map(|row| row.entries).sum();
                    found + entry * entries + 8 * covered * stats.len() as u64
                }
                Selection::ComponentTopR { r, .. } => {
                    found + once(2 * u64::from(r) * covered) + 4 * covered
                }
            };
        head_traffic.read += read;
        head_traffic.dense += once(2 * row_bytes * seen);
    }
    heads
}
