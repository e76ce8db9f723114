//! Where scores go.

use super::SCORE;
use crate::launch::{Caps, Operand};
use crate::{Error, Result};

/// Offsets of operands are multiples of this.
const ALIGNMENT: u64 = 256;

/// Part of a tensor of scores `[layers, heads, positions]`, f32: of one layer, from a head and a position
/// on. Only bytes around that part are bound, so the whole may be larger than a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ScorePlace {
    /// Layers of the tensor.
    pub layers: usize,
    /// KV heads of a layer: all of them, where a cache has only some.
    pub heads: usize,
    /// Context positions.
    pub positions: usize,
    /// Which layer.
    pub layer: usize,
    /// Which head the cache's first is.
    pub first_head: usize,
    /// Which position the chunk's first row is.
    pub position: usize,
}

impl ScorePlace {
    /// A tensor of one layer.
    pub fn of_layer(heads: usize, positions: usize) -> Self {
        Self { layers: 1, heads, positions, layer: 0, first_head: 0, position: 0 }
    }

    /// Scores of the tensor.
    pub fn elements(&self) -> u64 {
        let of = |n: usize| n as u64;
        of(self.layers).saturating_mul(of(self.heads)).saturating_mul(of(self.positions))
    }

    /// The first byte of the part, once all of it lies within the tensor.
    fn begin(&self, heads: usize, rows: u32) -> Result<u64> {
        if self.elements().checked_mul(4).is_none_or(|bytes| bytes > u64::MAX / 2) {
            return Err(Error::range("scores of a tensor", "0..2^61", self.elements()));
        }
        for (what, first, count, all) in [
            ("layer of scores", self.layer, 1, self.layers),
            ("heads of scores", self.first_head, heads, self.heads),
            ("positions of scores", self.position, rows as usize, self.positions),
        ] {
            if first.checked_add(count).is_none_or(|end| end > all) {
                let found = format!("{count} from {first}");
                return Err(Error::range(what, format!("within 0..{all}"), found));
            }
        }
        let head = self.layer * self.heads + self.first_head;
        Ok(4 * (head as u64 * self.positions as u64 + self.position as u64))
    }

    /// The part's first element behind the bytes that are bound, and from head to head.
    pub(super) fn params(&self, heads: usize, rows: u32) -> Result<(u32, u32)> {
        let first = self.begin(heads, rows)? % ALIGNMENT / 4;
        let limit = u32::MAX;
        let stride = u32::try_from(self.positions)
            .map_err(|_| Error::range("context positions", format!("0..={limit}"), self.positions));
        Ok((first as u32, stride?))
    }

    pub(super) fn operand(&self, heads: usize, rows: u32, caps: &Caps) -> Result<Operand> {
        let begin = self.begin(heads, rows)?;
        let offset = begin - begin % ALIGNMENT;
        let between = 4 * (heads as u64 - 1) * self.positions as u64;
        let (bytes, limit) =
            (begin - offset + between + 4 * u64::from(rows), caps.bindable_bytes());
        if bytes > limit {
            let what = "scores of a layer".to_owned();
            return Err(Error::BindingTooLarge { what, bytes, limit });
        }
        Ok(Operand { binding: SCORE, piece: 0, offset, bytes })
    }
}
