//! Which rows are listed, from the definition.

use crate::attention::NO_KEY;
use crate::attention::sparse::Lists;

/// What is known of a list's KV head.
#[derive(Debug, Clone, Copy)]
pub struct Ranking<'a> {
    /// Rows of the head.
    pub len: u32,
    /// Ranks of its first rows; those after them, as far as they are seen, and sinks are always listed.
    pub ranks: &'a [f32],
    /// How many rows are looked for.
    pub k: u32,
    /// Whether the head is flagged.
    pub flagged: bool,
}

/// A list of rows of a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its rows, as the head numbers them.
    pub rows: Vec<u32>,
    /// `counts` of it.
    pub counts: [u32; 4],
}

/// List number `list`.
pub fn reference(lists: &Lists, list: u32, ranking: &Ranking<'_>) -> Found {
    let seen = lists.seen(list, ranking.len);
    let is_sink = |row: &u32| *row < lists.sinks;
    let is_ranked = |row: &u32| (*row as usize) < ranking.ranks.len();
    let mut rows: Vec<u32> = (0..seen).filter(is_sink).collect();
    rows.extend((0..seen).filter(|row| !is_sink(row) && !is_ranked(row)));
    let always = rows.len();
    let capacity = lists.capacity as usize;
    rows.truncate(capacity);
    let there = rows.len();

    let mut ranked: Vec<u32> = (0..seen).filter(|row| !is_sink(row) && is_ranked(row)).collect();
    let wanted = match ranking.flagged {
        true => ranked.len(),
        false => ranked.len().min(ranking.k as usize),
    };
    if !ranking.flagged {
        // The best first; the order of equal ones stays.
        let rank = |row: &u32| {
            let rank = ranking.ranks[*row as usize];
            (rank.is_nan(), if rank.is_nan() { 0.0 } else { rank })
        };
        ranked.sort_by(|a, b| rank(b).partial_cmp(&rank(a)).unwrap_or(std::cmp::Ordering::Equal));
    }
    ranked.truncate(wanted.min(capacity - there));
    ranked.sort_unstable();
    let left_out = always - there + wanted - ranked.len();
    rows.extend(ranked);
    // Rows are counted by u32.
    let counts = [rows.len(), there, ranking.flagged.into(), left_out].map(|n| n as u32);
    Found { rows, counts }
}

/// The logarithm in base 2 of what the scores of the rows that are not in a list weigh, `unread` besides;
/// -1e30 of none.
pub fn rest(scores: &[f32], listed: &[u32], unread: f64) -> f64 {
    let left = (0..scores.len()).filter(|row| !listed.contains(&(*row as u32)));
    let all: Vec<f64> = left.map(|row| f64::from(scores[row])).collect();
    let top = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if all.is_empty() {
        return NO_KEY.into();
    }
    top + all.iter().map(|score| (score - top).exp2()).sum::<f64>().log2() + unread
}
