//! What listing makes, from the definition.

use crate::attention::reference::Logits;
use crate::attention::sparse::{HeadColumns, Lists};

/// What is known of one KV head when its lists are made.
#[derive(Debug, Clone, Copy)]
pub struct Searched<'a> {
    /// Rows of the head.
    pub len: u32,
    /// Its columns.
    pub columns: HeadColumns,
    /// Whether it is flagged.
    pub flagged: bool,
    /// For each query row of a list, whether it could not be searched for, and the sums of rows.
    pub queries: &'a [(bool, &'a [i32])],
}

/// A list of rows of a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its rows, as the head numbers them.
    pub rows: Vec<u32>,
    /// `counts` of it.
    pub counts: [u32; 4],
}

/// List number `list`.
pub fn reference(lists: &Lists, list: u32, searched: &Searched<'_>) -> Listed {
    let seen = lists.seen(list, searched.len);
    let covered = searched.columns.rows;
    let is_hit = |row: u32| {
        searched.queries.iter().any(|(_, hits)| hits.get(row as usize).is_some_and(|hit| *hit > 0))
    };
    let nothing = searched.flagged
        || searched.queries.iter().any(|(blind, _)| *blind)
        || !(0..covered.min(seen)).any(is_hit);
    let is_sink = |row: &u32| *row < lists.sinks;
    let mut rows: Vec<u32> = (0..seen).filter(is_sink).collect();
    rows.extend((0..seen).filter(|row| *row >= covered && !is_sink(row)));
    let always = rows.len();
    rows.extend(
        (0..seen).filter(|row| *row < covered && !is_sink(row) && (nothing || is_hit(*row))),
    );
    let capacity = lists.capacity as usize;
    let left_out = rows.len().saturating_sub(capacity);
    rows.truncate(capacity);
    // Rows are counted by u32.
    let counts = [rows.len(), always.min(capacity), nothing.into(), left_out].map(|n| n as u32);
    Listed { rows, counts }
}

/// The weight in base 2 of `left` rows that no list has, from the sums of keys and of their squares over
/// `rows` rows; -1e30 of none, and where none are known.
pub fn reference_rest(
    q: &[f32],
    [keys, squares]: [&[f32]; 2],
    (rows, left): (u32, u32),
    logits: Logits,
) -> f64 {
    if rows == 0 || left == 0 {
        return -1e30;
    }
    let count = f64::from(rows);
    let mut x = 0.0;
    for ((q, sum), square) in q.iter().zip(keys).zip(squares) {
        let mean = f64::from(*sum) / count;
        let variance = (f64::from(*square) / count - mean * mean).max(0.0);
        let share = logits.scale * f64::from(*q);
        x += share * mean + share * share * variance / 2.0;
    }
    if let Some(c) = logits.softcap {
        x = c * (x / c).tanh();
    }
    f64::from(left).log2() + x * std::f64::consts::LOG2_E
}
