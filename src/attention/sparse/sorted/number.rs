//! The numbers of an index, and their order.

use half::f16;

/// The number of an index for a key's: f16, to nearest, ties to even; -0 and what is below 2^-14 in
/// magnitude after rounding as 0.
pub fn number(key: f32) -> f16 {
    let rounded = f16::from_f32(key);
    if rounded.is_normal() || !rounded.is_finite() { rounded } else { f16::ZERO }
}

/// Numbers that ascend as those with these bits do: -infinity, negative numbers, 0, positive ones, infinity.
/// NaN are beyond infinity of their sign.
pub fn sort_key(bits: u16) -> u16 {
    if bits & 0x8000 == 0 { bits | 0x8000 } else { !bits }
}

/// Bits and rows of a column, ascending by number, equal ones by row. Row `i` of `column` is `first + i`.
pub fn sort_column(column: &[u16], first: u32) -> Vec<(u16, u32)> {
    let mut entries: Vec<(u16, u32)> = (first..).zip(column).map(|(i, bits)| (*bits, i)).collect();
    entries.sort_unstable_by_key(|(bits, row)| (sort_key(*bits), *row));
    entries
}

/// Merges entries of later rows into the first `sorted.len() - later.len()` entries of a column, which has
/// room for them behind.
pub(super) fn merge_column(sorted: &mut [u16], order: &mut [u32], later: &[(u16, u32)]) {
    let mut left = sorted.len() - later.len();
    // From the largest down, so that nothing is overwritten before it has moved.
    let mut to = sorted.len();
    for &(bits, row) in later.iter().rev() {
        // Equal numbers that were there have smaller rows.
        while left > 0 && sort_key(sorted[left - 1]) > sort_key(bits) {
            (left, to) = (left - 1, to - 1);
            (sorted[to], order[to]) = (sorted[left], order[left]);
        }
        to -= 1;
        (sorted[to], order[to]) = (bits, row);
    }
}
