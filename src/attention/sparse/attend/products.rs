//! Products of one query row with the columns of an index, and the cheap form of the greedy search.

use crate::attention::sparse::greedy::{Found, Grid};
use crate::attention::sparse::sorted::KeyIndex;
use half::f16;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Products and rows of every column, from the largest product to the smallest; None where the query cannot
/// be searched for.
pub(super) fn walks(index: &KeyIndex, head: usize, q: &[f32]) -> Option<Vec<Vec<(i64, u32)>>> {
    let number = |bits: &u16| f16::from_bits(*bits).to_f32();
    let largest: Vec<f32> = (0..q.len())
        .map(|j| {
            let column = index.sorted_column(head, j);
            let ends = [column.first(), column.last()].map(|bits| bits.map_or(0.0, number));
            ends[0].abs().max(ends[1].abs())
        })
        .collect();
    let grid = Grid::of(q, &largest)?;
    let walk = |(j, q): (usize, &f32)| {
        let factor = grid.factor(*q, largest[j]);
        let entries = index.sorted_column(head, j).iter().zip(index.rows_by_number(head, j));
        let product =
            |(bits, row): (&u16, &u32)| (Grid::product(factor, number(bits)).into(), *row);
        match *q < 0.0 {
            true => entries.map(product).collect(),
            false => entries.rev().map(product).collect(),
        }
    };
    Some(q.iter().enumerate().map(walk).collect())
}

/// The greedy search with as many steps on the side of the smallest products as the totals allow: the
/// largest `m` up to `steps` for which the sum of the first `m - 1` magnitudes is not above that of all
/// largest products taken.
pub(super) fn search_by_totals(columns: &[Vec<(i64, u32)>], rows: usize, steps: u64) -> Found {
    let none = || vec![0; columns.len()];
    let mut found = Found { hits: vec![0; rows], highest: none(), lowest: none(), low_steps: 0 };
    let mut sum = 0;
    let mut high = Side::new(columns, false);
    for _ in 0..steps {
        let Some((product, j, row)) = high.next() else { break };
        if product <= 0 {
            break;
        }
        found.hits[row as usize] += product;
        found.highest[j] += 1;
        sum += product;
    }
    let mut low = Side::new(columns, true);
    while found.low_steps < steps && sum >= 0 {
        let Some((magnitude, j, row)) = low.next() else { break };
        found.low_steps += 1;
        if magnitude > 0 {
            found.hits[row as usize] -= magnitude;
            found.lowest[j] += 1;
            sum -= magnitude;
        }
    }
    found
}

/// A queue over the columns' next products of one side.
struct Side<'a> {
    columns: &'a [Vec<(i64, u32)>],
    /// Whether magnitudes of the smallest products are walked.
    low: bool,
    queue: BinaryHeap<(i64, Reverse<usize>, usize)>,
}

impl<'a> Side<'a> {
    fn new(columns: &'a [Vec<(i64, u32)>], low: bool) -> Self {
        let mut side = Self { columns, low, queue: BinaryHeap::new() };
        (0..columns.len()).for_each(|j| side.push(j, 0));
        side
    }

    fn entry(&self, j: usize, at: usize) -> Option<(i64, u32)> {
        let column = &self.columns[j];
        match self.low {
            false => column.get(at).copied(),
            true => {
                let (product, row) = column[column.len().checked_sub(at + 1)?];
                Some((-product, row))
            }
        }
    }

    fn push(&mut self, j: usize, at: usize) {
        if let Some((magnitude, _)) = self.entry(j, at) {
            self.queue.push((magnitude, Reverse(j), at));
        }
    }
}

impl Iterator for Side<'_> {
    /// Magnitude, column and row.
    type Item = (i64, usize, u32);

    fn next(&mut self) -> Option<Self::Item> {
        let (magnitude, Reverse(j), at) = self.queue.pop()?;
        let (_, row) = self.entry(j, at)?;
        self.push(j, at + 1);
        Some((magnitude, j, row))
    }
}
