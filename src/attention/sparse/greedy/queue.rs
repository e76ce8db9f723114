//! The search as it is defined: one step after the other.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// What each row has got. Candidates are the rows above 0.
    pub hits: Vec<i64>,
    /// Elements of each column that were taken from the end of the largest products, positive ones only.
    pub highest: Vec<u32>,
    /// And from the other end, negative ones only.
    pub lowest: Vec<u32>,
    /// Steps on the side of the smallest products, those without effect included.
    pub low_steps: u64,
}

impl Found {
    /// Rows above 0, ascending.
    pub fn candidates(&self) -> Vec<u32> {
        let rows = self.hits.iter().enumerate().filter(|(_, hit)| **hit > 0);
        // Rows are counted by u32.
        rows.map(|(row, _)| row as u32).collect()
    }
}

/// The search, one step after the other. `columns[j]` are products and rows, from the largest product to the
/// smallest; `rows` is how many rows there are. Whether the low side may step is asked after the high side
/// has, in the same step.
pub fn search(columns: &[Vec<(i64, u32)>], rows: usize, steps: u64) -> Found {
    let mut found = Found {
        hits: vec![0; rows],
        highest: vec![0; columns.len()],
        lowest: vec![0; columns.len()],
        low_steps: 0,
    };
    let mut sum = 0i64;
    // A side's queue: the next product of every column, the best first, then columns ascending.
    let mut high: BinaryHeap<_> = (0..columns.len())
        .filter_map(|j| columns[j].first().map(|&(product, _)| (product, Reverse(j), 0usize)))
        .collect();
    let mut low: BinaryHeap<_> = (0..columns.len())
        .filter_map(|j| columns[j].last().map(|&(product, _)| (-product, Reverse(j), 0usize)))
        .collect();
    for _ in 0..steps {
        // Without products of the one side the sum stays, and so does what it forbids the other.
        if high.is_empty() && (low.is_empty() || sum < 0) {
            break;
        }
        if let Some((product, Reverse(j), at)) = high.pop() {
            if product > 0 {
                found.hits[columns[j][at].1 as usize] += product;
                found.highest[j] += 1;
                sum += product;
            }
            if let Some(&(next, _)) = columns[j].get(at + 1) {
                high.push((next, Reverse(j), at + 1));
            }
        }
        if sum < 0 {
            continue;
        }
        if let Some((magnitude, Reverse(j), at)) = low.pop() {
            found.low_steps += 1;
            let column = &columns[j];
            if magnitude > 0 {
                found.hits[column[column.len() - 1 - at].1 as usize] -= magnitude;
                found.lowest[j] += 1;
                sum -= magnitude;
            }
            if let Some(&(next, _)) = column.len().checked_sub(at + 2).and_then(|i| column.get(i)) {
                low.push((-next, Reverse(j), at + 1));
            }
        }
    }
    found
}
