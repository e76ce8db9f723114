//! Segments of one length, a workgroup each.

use super::{Piece, TILE, tiles};
use std::ops::Range;

/// Tiles of the shortest chunk.
const LEAST: u32 = 128 / TILE;

pub(super) fn groups(spans: &[Range<u32>], workgroups: u32) -> Vec<Vec<Piece>> {
    let chunk = chunk(spans, workgroups);
    let mut groups = Vec::new();
    for (head, span) in spans.iter().enumerate() {
        let tiles = tiles(span);
        let starts = (0..tiles).step_by(chunk as usize);
        groups.extend(starts.map(|from| {
            let to = tiles.min(from.saturating_add(chunk));
            vec![Piece { head, tiles: from..to }]
        }));
    }
    groups
}

/// The least chunk, in tiles, with which `workgroups` are enough; where they never are, the longest
/// head.
fn chunk(spans: &[Range<u32>], workgroups: u32) -> u32 {
    let count = |chunk: u32| spans.iter().map(|s| u64::from(tiles(s).div_ceil(chunk))).sum::<u64>();
    let (mut low, mut high) = (LEAST, spans.iter().map(tiles).max().unwrap_or(LEAST).max(LEAST));
    // Longer chunks are never more.
    while low < high {
        let middle = low + (high - low) / 2;
        if count(middle) <= u64::from(workgroups) { high = middle } else { low = middle + 1 }
    }
    low
}
