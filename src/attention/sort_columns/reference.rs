//! What sorted columns are, from the definition.

use crate::attention::sparse::{HeadColumns, IndexMap};
use half::f16;
use std::ops::Range;

/// `sorted` and `order` of an index, an element each.
#[derive(Debug, Clone, PartialEq)]
pub struct SortedColumns {
    /// Numbers.
    pub sorted: Vec<f16>,
    /// The row of each.
    pub order: Vec<u32>,
}

/// Puts in order, for every column, each of the ranges of rows that `runs` gives for its head: numbers
/// ascending, the one that is none behind all others, equal ones by their rows.
pub fn reference(
    columns: &[f16],
    map: &IndexMap,
    runs: impl Fn(&HeadColumns) -> Vec<Range<u32>>,
    found: &mut SortedColumns,
) {
    for place in map.heads() {
        for column in 0..map.shape().dim {
            let first = place.first + column * place.stride;
            for run in runs(place) {
                let number = |row: u32| columns[(first + row) as usize];
                let mut rows: Vec<u32> = run.clone().collect();
                let value = |row: u32| (number(row).is_nan(), number(row).to_f32());
                rows.sort_by(|a, b| {
                    let ((none_a, a_value), (none_b, b_value)) = (value(*a), value(*b));
                    let values = none_a.cmp(&none_b);
                    let values = match (none_a, none_b) {
                        (false, false) => a_value.total_cmp(&b_value),
                        _ => values,
                    };
                    values.then(a.cmp(b))
                });
                for (at, row) in run.zip(rows) {
                    let to = (first + at) as usize;
                    (found.sorted[to], found.order[to]) = (number(row), row);
                }
            }
        }
    }
}
