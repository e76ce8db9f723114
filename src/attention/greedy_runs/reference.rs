//! The search of every query row, from the definition.

use super::GreedyRuns;
use crate::attention::sparse::greedy::{Grid, Low, plan, search};
use crate::attention::sparse::{HeadColumns, IndexShape};
use half::f16;

/// What is known of every query row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Searched {
    /// `[T H G][D][4]`.
    pub runs: Vec<u32>,
    /// `[T H G][4]`.
    pub found: Vec<u32>,
    /// What each row that is covered has got in the end, of every query row.
    pub hits: Vec<Vec<i64>>,
}

/// A sorted column, and the rows of its numbers.
struct Column<'a> {
    numbers: &'a [f16],
    rows: &'a [u32],
}

impl Column<'_> {
    fn largest(&self) -> f32 {
        let ends = [self.numbers.first(), self.numbers.last()];
        ends.into_iter().flatten().fold(0.0, |largest, number| number.to_f32().abs().max(largest))
    }

    /// Products from the largest to the smallest, equal ones as they are walked.
    fn products(&self, factor: f32) -> Vec<(i64, u32)> {
        let product = |number: &f16| i64::from(Grid::product(factor, number.to_f32()));
        let mut all: Vec<_> =
            self.numbers.iter().map(product).zip(self.rows.iter().copied()).collect();
        if factor >= 0.0 {
            all.reverse();
        }
        all
    }
}

/// Where runs of so many of the largest and the smallest products begin, and their lengths.
fn run_words(factor: f32, rows: usize, highest: u32, lowest: u32) -> [u32; 4] {
    let begin = |length: u32, from_end: bool| match length {
        0 => 0,
        // Rows are counted by u32.
        _ => u32::from(from_end) * (rows as u32 - length),
    };
    let rises = factor >= 0.0;
    [begin(highest, rises), highest, begin(lowest, !rises), lowest]
}

/// What the search finds with queries `q [T, H G, D]`, in an index of `sorted` numbers and their rows,
/// `order`, as many as its shape has elements, and marked heads, `flags [H]`.
pub fn reference(
    spec: &GreedyRuns,
    heads: &[HeadColumns],
    q: &[f32],
    (sorted, order): (&[f16], &[u32]),
    flags: &[u32],
) -> Searched {
    let IndexShape { dim, .. } = spec.index;
    let dim = dim as usize;
    let mut all = Searched { runs: Vec::new(), found: Vec::new(), hits: Vec::new() };
    for (row, q) in q.chunks(dim).enumerate() {
        let head = row / spec.group as usize % heads.len();
        let HeadColumns { first, stride, rows, budget, .. } = heads[head];
        let columns: Vec<_> = (0..dim)
            .map(|j| {
                let at = first as usize + j * stride as usize;
                let elements = at..at + rows as usize;
                Column { numbers: &sorted[elements.clone()], rows: &order[elements] }
            })
            .collect();
        let largest: Vec<_> = columns.iter().map(Column::largest).collect();
        let too_many = spec.low == Low::Exact && budget > spec.budget;
        let grid = Grid::of(q, &largest);
        let grid = grid.filter(|_| flags[head] == 0 && rows > 0 && budget > 0 && !too_many);
        let Some(grid) = grid else {
            all.runs.extend(std::iter::repeat_n(0, 4 * dim));
            all.found.extend([1, 0, 0, 0]);
            all.hits.push(vec![0; rows as usize]);
            continue;
        };
        let factors: Vec<_> = q.iter().zip(&largest).map(|(q, l)| grid.factor(*q, *l)).collect();
        let products: Vec<_> =
            columns.iter().zip(&factors).map(|(column, f)| column.products(*f)).collect();
        let found = match spec.low {
            Low::Exact => search(&products, rows as usize, budget.into()),
            low => plan(&products, budget.into(), low).found(&products, rows as usize),
        };
        for (j, factor) in factors.iter().enumerate() {
            let words = run_words(*factor, rows as usize, found.highest[j], found.lowest[j]);
            all.runs.extend(words);
        }
        // No more than the elements of an index, which u32 counts.
        let steps = found.low_steps as u32;
        all.found.extend([0, steps, grid.exponent as u32, found.highest.iter().sum()]);
        all.hits.push(found.hits);
    }
    all
}
