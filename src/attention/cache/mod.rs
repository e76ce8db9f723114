//! A cache in host memory.

mod convert;
mod tensor;
#[cfg(test)]
mod tests;

pub use tensor::KvTensor;

use super::{CacheShape, Layout};
use crate::{Error, Result};

/// Keys and values of the KV heads of one layer: a [`Layout`] and its data, and perhaps the position of
/// every row.
///
/// ```
/// use fewbytes::attention::{CacheShape, KeepLists, KvCache, KvElement, Layout, RESERVE};
///
/// # fn main() -> fewbytes::Result<()> {
/// let shape = CacheShape::new(2, 64, KvElement::F16)?;
/// let mut cache = KvCache::new(Layout::plain(shape, 32)?)?;
/// // Three tokens, of two heads each.
/// let keys: Vec<f32> = (0..3 * 2 * 64).map(|i| i as f32).collect();
/// cache.append(&keys, &keys)?;
/// // The first head keeps its first and last row, the second none.
/// let keep = KeepLists::new(&[vec![0, 2], vec![]], &cache.layout().lengths())?;
/// let mut evicted = cache.compact(&keep, RESERVE)?;
/// assert_eq!(evicted.layout().lengths(), [2, 0]);
/// // The next token is at position 3 still.
/// assert_eq!(evicted.layout().next_position(), 3);
/// evicted.append(&keys[..128], &keys[..128])?;
/// assert_eq!(evicted.head(0)?.keys[2 * 64..], keys[..64]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvCache {
    layout: Layout,
    keys: KvTensor,
    values: KvTensor,
    /// One for each row of the tensors.
    positions: Option<Vec<u32>>,
}

/// The rows of one head, decoded.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadData {
    /// `[len, head_dim]`.
    pub keys: Vec<f32>,
    /// `[len, head_dim]`.
    pub values: Vec<f32>,
}

impl KvCache {
    /// A layout with data that are 0, and without positions.
    ///
    /// # Errors
    /// [`Error::Range`] for more rows than a tensor can have.
    pub fn new(layout: Layout) -> Result<Self> {
        let zeros = || KvTensor::zeros(*layout.shape(), layout.rows() as usize);
        let (keys, values) = (zeros()?, zeros()?);
        Ok(Self { layout, keys, values, positions: None })
    }

    /// A layout and its data, read back from a device perhaps. `positions [rows]` is the position of
    /// every row; those of rows that no head has are not looked at.
    ///
    /// # Errors
    /// [`Error::Shape`] for tensors of another shape or of other than the layout's rows, and for
    /// positions that do not ascend within a head; [`Error::Range`] for a position that is not below
    /// that of the first appended row, or of an appended row, that is not in its place after it.
    pub fn from_parts(
        layout: Layout,
        keys: KvTensor,
        values: KvTensor,
        positions: Option<Vec<u32>>,
    ) -> Result<Self> {
        let rows = layout.rows() as usize;
        for (what, tensor) in [("keys", &keys), ("values", &values)] {
            if tensor.shape() != layout.shape() {
                let (expected, found) = (layout.shape(), tensor.shape());
                let [expected, found] = [expected, found].map(|shape| format!("{shape:?}"));
                return Err(Error::shape(format!("shape of the {what}"), expected, found));
            }
            if tensor.rows() != rows {
                return Err(Error::shape(format!("rows of the {what}"), rows, tensor.rows()));
            }
        }
        let cache = Self { layout, keys, values, positions };
        cache.check_positions()?;
        Ok(cache)
    }

    /// The same with the position of every row, from now on.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where rows have been removed and their positions with them.
    pub fn with_positions(mut self) -> Result<Self> {
        let mut positions = vec![0; self.layout.rows() as usize];
        let view = self.layout.view();
        for head in 0..self.shape().kv_heads() {
            for row in 0..self.layout.len(head) {
                let position = self.position(head, row).ok_or_else(unknown_positions)?;
                let at = view.row(head, row).ok_or_else(|| no_row(head, row))?;
                positions[at as usize] = position;
            }
        }
        self.positions = Some(positions);
        Ok(self)
    }

    /// Sizes and places.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Heads, their dimension and element.
    pub fn shape(&self) -> &CacheShape {
        self.layout.shape()
    }

    /// The keys.
    pub fn keys(&self) -> &KvTensor {
        &self.keys
    }

    /// The values.
    pub fn values(&self) -> &KvTensor {
        &self.values
    }

    /// The position of every row of the tensors, `[rows]`, if they are stored; of rows that no head has
    /// it is any number.
    pub fn positions(&self) -> Option<&[u32]> {
        self.positions.as_deref()
    }

    /// The position of one row of a head; nothing where there is no such row, or nobody knows: the row
    /// was kept when others were removed, and positions are not stored.
    pub fn position(&self, head: usize, row: u32) -> Option<u32> {
        if row >= self.layout.len(head) {
            return None;
        }
        let (kept, origin) = (self.layout.kept(head), self.layout.origin());
        if row >= kept {
            return Some(origin + (row - kept));
        }
        match &self.positions {
            Some(positions) => {
                let at = self.layout.view().row(head, row)?;
                positions.get(at as usize).copied()
            }
            // As many rows as there were tokens: none was removed.
            None => (kept == origin).then_some(row),
        }
    }

    /// The positions of all rows of a head, ascending, as [`KvCache::position`] has them.
    pub fn head_positions(&self, head: usize) -> Option<Vec<u32>> {
        let (kept, origin) = (self.layout.kept(head), self.layout.origin());
        let known: Option<Vec<u32>> = match &self.positions {
            Some(positions) => {
                let view = self.layout.view();
                let of = |row| positions.get(view.row(head, row)? as usize).copied();
                (0..kept).map(of).collect()
            }
            None => (kept == origin).then(|| (0..kept).collect()),
        };
        let mut known = known?;
        let appended = self.layout.len(head) - kept;
        known.extend(origin..origin + appended);
        Some(known)
    }

    /// The first row of every head that a sliding window of `window` tokens still shows to the oldest of
    /// the `q_len` newest ones; the number of rows where it shows none. Nothing where positions are not
    /// known.
    pub fn window_starts(&self, q_len: u32, window: u32) -> Option<Vec<u32>> {
        let newest = u64::from(self.layout.next_position());
        let outside =
            |position: &u32| u64::from(*position) + u64::from(window) + u64::from(q_len) <= newest;
        let start = |head| {
            // No more rows than positions, which are u32.
            Some(self.head_positions(head)?.partition_point(outside) as u32)
        };
        (0..self.shape().kv_heads()).map(start).collect()
    }

    /// The rows of one head, decoded, in their order.
    ///
    /// # Errors
    /// [`Error::Range`] where there is no such head.
    pub fn head(&self, head: usize) -> Result<HeadData> {
        let heads = self.shape().kv_heads();
        if head >= heads {
            return Err(Error::range("KV head", format!("0..{heads}"), head));
        }
        let view = self.layout.view();
        let mut data = HeadData { keys: Vec::new(), values: Vec::new() };
        for row in 0..self.layout.len(head) {
            let at = view.row(head, row).ok_or_else(|| no_row(head, row))? as usize;
            self.keys.decode_into(at, &mut data.keys)?;
            self.values.decode_into(at, &mut data.values)?;
        }
        Ok(data)
    }

    /// Appends the rows of some tokens, keys and values `[tokens, kv_heads, head_dim]`, and gives back
    /// how many rows had been appended before. A ragged cache that is full is laid out anew, with twice
    /// the reserve until they fit; its generation tells.
    ///
    /// # Errors
    /// [`Error::Shape`] for lengths that are not whole tokens or differ; [`Error::Value`] for a number
    /// that cannot be stored, with row `token kv_heads + head`; [`Error::Range`] where there is no room.
    /// Nothing has changed then.
    pub fn append(&mut self, keys: &[f32], values: &[f32]) -> Result<u32> {
        let shape = *self.shape();
        let token = shape.kv_heads() * shape.head_dim();
        if !keys.len().is_multiple_of(token) {
            let expected = format!("a multiple of {} x {}", shape.kv_heads(), shape.head_dim());
            return Err(Error::shape("length of keys to append", expected, keys.len()));
        }
        if values.len() != keys.len() {
            let what = "length of values to append";
            return Err(Error::shape(what, keys.len(), values.len()));
        }
        let keys = KvTensor::encode(shape, "keys to append", keys)?;
        let values = KvTensor::encode(shape, "values to append", values)?;
        let tokens = shape.checked_rows((keys.rows() / shape.kv_heads()) as u64)?;
        self.make_room(tokens)?;
        let before = self.layout.append(tokens)?;
        let (view, origin) = (self.layout.view(), self.layout.origin());
        for head in 0..shape.kv_heads() {
            for token in 0..tokens {
                let row = self.layout.kept(head) + before + token;
                let to = view.row(head, row).ok_or_else(|| no_row(head, row))? as usize;
                let from = token as usize * shape.kv_heads() + head;
                self.keys.copy_row(to, &keys, from)?;
                self.values.copy_row(to, &values, from)?;
                if let Some(positions) = &mut self.positions {
                    positions[to] = origin + before + token;
                }
            }
        }
        Ok(before)
    }

    /// Goes back to when `appended` rows had been appended, bit by bit.
    ///
    /// # Errors
    /// [`Error::Range`] for more than there are.
    pub fn truncate(&mut self, appended: u32) -> Result<()> {
        self.layout.truncate(appended)
    }

    fn check_positions(&self) -> Result<()> {
        let Some(positions) = &self.positions else { return Ok(()) };
        if positions.len() != self.keys.rows() {
            return Err(Error::shape("positions", self.keys.rows(), positions.len()));
        }
        let (view, origin) = (self.layout.view(), self.layout.origin());
        for head in 0..self.shape().kv_heads() {
            let (kept, mut least) = (self.layout.kept(head), 0);
            for row in 0..self.layout.len(head) {
                let at = view.row(head, row).ok_or_else(|| no_row(head, row))?;
                let position = positions[at as usize];
                let what = || format!("position of row {row} of head {head}");
                if row < kept && position >= origin {
                    return Err(Error::range(what(), format!("0..{origin}"), position));
                }
                if row >= kept && position != origin + (row - kept) {
                    return Err(Error::range(what(), origin + (row - kept), position));
                }
                if position < least {
                    return Err(Error::shape(what(), format!("{least} or more"), position));
                }
                least = position.saturating_add(1);
            }
        }
        Ok(())
    }
}

fn no_row(head: usize, row: u32) -> Error {
    Error::range(format!("row of head {head}"), "rows that the layout has", row)
}

fn unknown_positions() -> Error {
    let why = "rows were removed without keeping positions; ask for them before the eviction";
    Error::unsupported("positions of rows", why)
}
