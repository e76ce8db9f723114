//! Equal spans of one axis of tiles.

use super::{Piece, tiles};
use std::ops::Range;

pub(super) fn groups(spans: &[Range<u32>], workgroups: u32) -> Vec<Vec<Piece>> {
    // 65,535 heads of at most 2^25 tiles.
    let total: u64 = spans.iter().map(|span| u64::from(tiles(span))).sum();
    let count = total.min(u64::from(workgroups));
    let mut heads = spans.iter().map(tiles).enumerate().peekable();
    let mut done = 0;
    let mut groups = Vec::new();
    for group in 0..count {
        // Lengths are the quotient, or one more.
        let mut left = (group + 1) * total / count - group * total / count;
        let mut pieces = Vec::new();
        while let Some(&(head, tiles)) = heads.peek()
            && left > 0
        {
            let taken = u64::from(tiles - done).min(left);
            // No more than the head's tiles.
            let to = done + taken as u32;
            pieces.push(Piece { head, tiles: done..to });
            left -= taken;
            done = to;
            if done == tiles {
                heads.next();
                done = 0;
            }
        }
        groups.push(pieces);
    }
    groups
}
