//! Products of one query row with the columns of an index.

use crate::attention::sparse::greedy::Grid;
use crate::attention::sparse::sorted::KeyIndex;
use half::f16;

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
