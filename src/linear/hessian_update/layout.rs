//! Sums of a layer's Hessians on a device.

use super::super::Hessian;
use super::super::hessian::{check_tokens, triangle};
use crate::launch::Caps;
use crate::{Error, Result};
use std::ops::Range;

/// Rows and columns of a tile.
pub(super) const SIDE: usize = 64;
/// Numbers in a tile.
const TILE: usize = SIDE * SIDE;

/// How the sums of a layer's Hessians lie on a device: whole tiles of 64 x 64 numbers, f32, on the
/// diagonal and above it; of each group row after row of tiles, each tile row-major.
///
/// Tiles beyond one binding go on in another buffer. What lies below the diagonal within a tile on
/// it, and past the last input, means nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct HessianLayout {
    inputs: usize,
    groups: usize,
    piece_tiles: usize,
}

impl HessianLayout {
    /// The layout for a device.
    ///
    /// # Errors
    /// [`Error::Shape`] when a number is 0 or the tiles cannot be counted in 32 bits,
    /// [`Error::BindingTooLarge`] when not even a tile can be bound.
    pub fn new(inputs: usize, groups: usize, caps: &Caps) -> Result<Self> {
        let tiles = triangle(inputs.div_ceil(SIDE)).and_then(|each| each.checked_mul(groups));
        let counted = tiles.and_then(|tiles| u32::try_from(tiles).ok());
        if inputs == 0 || groups == 0 || counted.is_none() || u32::try_from(inputs).is_err() {
            let found = format!("{groups} x {inputs} x {inputs}");
            let expected = "groups > 0, inputs > 0 and fewer than 2^32 tiles of 64 x 64";
            return Err(Error::shape("Hessian", expected, found));
        }
        let (bytes, limit) = (4 * TILE as u64, caps.bindable_bytes());
        if bytes > limit {
            return Err(Error::BindingTooLarge { what: "a tile of sums".to_owned(), bytes, limit });
        }
        let piece_tiles = usize::try_from(limit / bytes).unwrap_or(usize::MAX);
        Ok(Self { inputs, groups, piece_tiles })
    }

    /// Inputs of the layer.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Groups of outputs.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Tiles in the first row of a matrix.
    pub(super) fn across(&self) -> usize {
        self.inputs.div_ceil(SIDE)
    }

    /// Tiles of one group.
    fn each(&self) -> usize {
        triangle(self.across()).unwrap_or_default()
    }

    /// The tiles of every piece, counted over all groups; each piece is a buffer of its own.
    pub fn pieces(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let tiles = self.each() * self.groups;
        let starts = (0..tiles).step_by(self.piece_tiles);
        starts.map(move |start| start..tiles.min(start.saturating_add(self.piece_tiles)))
    }

    /// Elements of a piece.
    pub fn piece_len(&self, piece: &Range<usize>) -> usize {
        piece.len() * TILE
    }

    /// Elements of all pieces together.
    pub fn sums_len(&self) -> usize {
        self.each() * self.groups * TILE
    }

    /// Numbers of the matrices, on the diagonal and above it, that lie in some tiles: the others
    /// there mean nothing.
    pub(super) fn numbers(&self, tiles: &Range<usize>) -> u64 {
        self.numbers_before(tiles.end) - self.numbers_before(tiles.start)
    }

    fn numbers_before(&self, tile: usize) -> u64 {
        let (across, inputs) = (self.across(), self.inputs as u64);
        let side = SIDE as u64;
        let below = |n: u64| n * (n + 1) / 2;
        let (group, mut left) = (tile / self.each(), (tile % self.each()) as u64);
        let mut sum = group as u64 * below(inputs);
        for row in 0..across as u64 {
            let (tiles, width) = (across as u64 - row, inputs - row * side);
            if left < tiles {
                // The last tile of a row, which may be narrower, is not among them.
                return sum + if left > 0 { below(side) + (left - 1) * side * side } else { 0 };
            }
            left -= tiles;
            sum += below(width) - below(width.saturating_sub(side));
        }
        sum
    }

    /// Whether these are whole tokens that can be added; how many. Shapes: `x [tokens, inputs]`,
    /// `s [tokens, groups]`.
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::Value`] as [`crate::linear::HessianAccumulator::add_batch`].
    pub fn check_batch(&self, x: &[f32], s: Option<&[f32]>) -> Result<usize> {
        check_tokens(self.inputs, self.groups, x, s)
    }

    /// The Hessians that came back from a device, piece by piece.
    ///
    /// # Errors
    /// [`Error::Layer`] around [`Error::Shape`] where a piece is missing or too short or no token
    /// was added, around [`Error::Value`] where a sum is beyond f32 or a diagonal is negative.
    pub fn unpack(&self, name: &str, tokens: u64, pieces: &[Vec<f32>]) -> Result<Hessian> {
        self.packed(tokens, pieces)
            .map_err(|e| e.in_layer(name))
            .and_then(|packed| Hessian::from_packed(name, self.inputs, self.groups, tokens, packed))
    }

    fn packed(&self, tokens: u64, pieces: &[Vec<f32>]) -> Result<Vec<f32>> {
        if tokens == 0 {
            return Err(Error::shape("tokens", "at least one", 0));
        }
        let expected: Vec<usize> = self.pieces().map(|piece| self.piece_len(&piece)).collect();
        let found: Vec<usize> = pieces.iter().map(Vec::len).collect();
        if expected != found {
            let (expected, found) = (format!("{expected:?}"), format!("{found:?}"));
            return Err(Error::shape("numbers of each piece of the sums", expected, found));
        }
        let (inputs, across) = (self.inputs, self.across());
        let mut packed = Vec::with_capacity(triangle(inputs).unwrap_or_default() * self.groups);
        for group in 0..self.groups {
            for i in 0..inputs {
                let row = i / SIDE;
                // Tiles before this row, and then those of the row itself.
                let first = group * self.each() + row * across - row * row.saturating_sub(1) / 2;
                for column in row..across {
                    let tile = first + column - row;
                    let at = tile % self.piece_tiles * TILE + i % SIDE * SIDE;
                    let sums = &pieces[tile / self.piece_tiles][at..at + SIDE];
                    let from = i.max(column * SIDE);
                    let sums = &sums[from % SIDE..SIDE.min(inputs - column * SIDE)];
                    if let Some(off) = sums.iter().position(|sum| !sum.is_finite()) {
                        let what = format!("Hessian of group {group}");
                        let rule = "must be within f32; scale the sensitivities down";
                        let (col, value) = (from + off, sums[off].into());
                        return Err(Error::Value { what, row: i, col, value, rule });
                    }
                    packed.extend_from_slice(sums);
                }
            }
        }
        Ok(packed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_the_triangles_lies_in_one_tile() {
        for (inputs, groups) in [(1, 1), (64, 2), (65, 1), (131, 3), (250, 2)] {
            let layout = HessianLayout::new(inputs, groups, &Caps::webgpu()).unwrap();
            let mut tile = 0;
            for _ in 0..groups {
                for row in (0..inputs).step_by(SIDE) {
                    for column in (row..inputs).step_by(SIDE) {
                        let end = |from: usize| inputs.min(from + SIDE);
                        let columns = |i: usize| i.max(column)..end(column);
                        let numbers: u64 = (row..end(row)).map(|i| columns(i).len() as u64).sum();
                        assert_eq!(layout.numbers(&(tile..tile + 1)), numbers, "{row} {column}");
                        tile += 1;
                    }
                }
            }
            let all = (groups * inputs * (inputs + 1) / 2) as u64;
            assert_eq!(layout.numbers(&(0..tile)), all);
        }
    }
}
