//! An [index](super#index) in host memory, which grows as a cache does.

mod number;
#[cfg(test)]
mod tests;

pub use number::{number, sort_column, sort_key};

use super::{IndexMap, IndexShape};
use crate::attention::{HeadData, KvCache};
use crate::{Error, Result};
use half::f16;
use number::merge_column;

/// Rows that wait unsorted, at most, unless told otherwise.
pub const TAIL_ROWS: u32 = 512;
/// First rows of every head that are listed whatever was found, unless told otherwise.
pub const SINKS: u32 = 4;

/// The columns of all heads, sorted and not, their sums and flags.
///
/// New rows wait in an unsorted tail until there are too many of them, or [`KeyIndex::flush_tail`] is
/// called: then they are sorted and merged into the one sorted run of each column. What has been
/// appended step by step equals what was built at once, bit by bit.
///
/// ```
/// use fewbytes::attention::HeadData;
/// use fewbytes::attention::sparse::sorted::{KeyIndex, TAIL_ROWS};
///
/// # fn main() -> fewbytes::Result<()> {
/// // Three rows of one head of two columns.
/// let keys = vec![0.5, 1.0, -2.0, 3.0, 0.25, 1.0];
/// let data = HeadData { values: keys.clone(), keys };
/// let mut index = KeyIndex::build(2, &[data], TAIL_ROWS)?;
/// assert_eq!(index.rows_by_number(0, 0), [1, 2, 0]);
/// index.append(&[0.0, 1.0], &[1.0, 1.0])?;
/// assert_eq!((index.rows(0), index.len(0)), (3, 4));
/// index.flush_tail()?;
/// // Of equal numbers the first row comes first.
/// assert_eq!(index.rows_by_number(0, 0), [1, 3, 2, 0]);
/// assert_eq!(index.rows_by_number(0, 1), [0, 2, 3, 1]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct KeyIndex {
    map: IndexMap,
    /// Bits of every element.
    columns: Vec<u16>,
    sorted: Vec<u16>,
    /// Rows, whether they are stored narrow or wide.
    order: Vec<u32>,
    /// `[H][3][D]`, rounded to f32 only when they are read: so they do not depend on the steps.
    sums: Vec<f64>,
    flags: Vec<u32>,
    /// `[H][D]`: what columns are less than keys.
    offsets: Vec<f32>,
    /// Rows that wait, of each head.
    tail: Vec<HeadData>,
    tail_rows: u32,
}

impl KeyIndex {
    /// An index of no rows with room for so many of each head, rounded up to 64; it makes more room by
    /// itself. Up to `tail_rows` rows wait unsorted.
    ///
    /// # Errors
    /// What [`IndexMap::new`] refuses.
    pub fn new(dim: usize, room: &[u32], tail_rows: u32) -> Result<Self> {
        let map = IndexMap::new(dim, room)?;
        let elements = map.shape().elements as usize;
        let tail = vec![HeadData { keys: Vec::new(), values: Vec::new() }; room.len()];
        Ok(Self {
            columns: vec![0; elements],
            sorted: vec![0; elements],
            order: vec![0; elements],
            sums: vec![0.0; map.shape().sums_len() as usize],
            flags: vec![0; room.len()],
            offsets: vec![0.0; room.len() * dim],
            map,
            tail,
            tail_rows,
        })
    }

    /// An index of all rows of some heads, of `dim` numbers each.
    ///
    /// # Errors
    /// [`Error::Shape`] for lengths that are not whole rows or differ, [`Error::Range`] for more rows than
    /// u32 counts, and what [`IndexMap::new`] refuses.
    pub fn build(dim: usize, heads: &[HeadData], tail_rows: u32) -> Result<Self> {
        let rows: Result<Vec<u32>> = heads.iter().map(|data| whole_rows(dim, data)).collect();
        let mut index = Self::new(dim, &rows?, tail_rows)?;
        index.tail = heads.to_vec();
        index.flush_tail()?;
        Ok(index)
    }

    /// The same with the mean key of each head taken from all of its keys before they are rounded, and from those
    /// that are appended later. Every logit of a query changes by one number, so that without a softcap no
    /// weight does, but a greedy search sees how rows differ: where a component is large in all keys, its
    /// products are the largest ones and tell nothing.
    ///
    /// # Errors
    /// Those of [`KeyIndex::build`].
    pub fn build_centred(dim: usize, heads: &[HeadData], tail_rows: u32) -> Result<Self> {
        let rows: Result<Vec<u32>> = heads.iter().map(|data| whole_rows(dim, data)).collect();
        let mut index = Self::new(dim, &rows?, tail_rows)?;
        for (data, offsets) in heads.iter().zip(index.offsets.chunks_exact_mut(dim)) {
            let rows = (data.keys.len() / dim).max(1) as f64;
            for (j, offset) in offsets.iter_mut().enumerate() {
                let column = data.keys.iter().skip(j).step_by(dim);
                let mean = (column.map(|k| f64::from(*k)).sum::<f64>() / rows) as f32;
                // A head with a key that is no finite number is marked whatever its offsets.
                *offset = if mean.is_finite() { mean } else { 0.0 };
            }
        }
        index.tail = heads.to_vec();
        index.flush_tail()?;
        Ok(index)
    }

    /// An index of the first `rows[h]` rows of every head of a cache.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of heads, [`Error::Range`] for more rows than a head has, and
    /// what [`IndexMap::new`] refuses.
    pub fn from_cache(cache: &KvCache, rows: &[u32], tail_rows: u32) -> Result<Self> {
        let (heads, dim) = (cache.shape().kv_heads(), cache.shape().head_dim());
        if rows.len() != heads {
            return Err(Error::shape("KV heads of an index", heads, rows.len()));
        }
        let first = |(head, rows): (usize, &u32)| {
            let len = cache.layout().len(head);
            if *rows > len {
                let what = format!("rows of head {head} of an index");
                return Err(Error::range(what, format!("0..={len}"), rows));
            }
            let mut data = cache.head(head)?;
            data.keys.truncate(*rows as usize * dim);
            data.values.truncate(*rows as usize * dim);
            Ok(data)
        };
        let data: Result<Vec<HeadData>> = rows.iter().enumerate().map(first).collect();
        Self::build(dim, &data?, tail_rows)
    }

    /// Adds `[tokens, H, D]` keys and values to the tail. Where they would make it longer than it may be,
    /// the rows that wait already are sorted first: new ones always wait for the next time, so that
    /// every new token sees all rows that are covered.
    ///
    /// # Errors
    /// [`Error::Shape`] for lengths that are not whole tokens or differ; [`Error::Range`] where the rows
    /// cannot be counted. Nothing has changed then but that waiting rows may have been sorted.
    pub fn append(&mut self, keys: &[f32], values: &[f32]) -> Result<()> {
        let (heads, dim) = (self.tail.len(), self.shape().dim as usize);
        if !keys.len().is_multiple_of(heads * dim) {
            let expected = format!("a multiple of {heads} x {dim}");
            return Err(Error::shape("length of keys to append", expected, keys.len()));
        }
        if values.len() != keys.len() {
            return Err(Error::shape("length of values to append", keys.len(), values.len()));
        }
        let tokens = keys.len() / (heads * dim);
        let longest = self.tail.iter().map(|data| data.keys.len() / dim).max().unwrap_or(0);
        if longest + tokens > self.tail_rows as usize {
            self.flush_tail()?;
        }
        for head in 0..heads {
            if u32::try_from(self.len(head) as usize + tokens).is_err() {
                let (limit, rows) = (u32::MAX - self.len(head), tokens);
                return Err(Error::range(
                    "rows to append to an index",
                    format!("0..={limit}"),
                    rows,
                ));
            }
        }
        let rows = keys.chunks_exact(dim).zip(values.chunks_exact(dim));
        for (at, (key, value)) in rows.enumerate() {
            let tail = &mut self.tail[at % heads];
            tail.keys.extend_from_slice(key);
            tail.values.extend_from_slice(value);
        }
        Ok(())
    }

    /// Sorts the rows that wait and merges them into the sorted run.
    ///
    /// # Errors
    /// [`Error::Range`] where an index of so many rows cannot be. Nothing has changed then.
    pub fn flush_tail(&mut self) -> Result<()> {
        let rows: Vec<u32> = (0..self.tail.len()).map(|head| self.len(head)).collect();
        self.make_room(&rows)?;
        self.map.extend(&rows)?;
        for head in 0..self.tail.len() {
            let empty = HeadData { keys: Vec::new(), values: Vec::new() };
            let data = std::mem::replace(&mut self.tail[head], empty);
            self.add_sums(head, &data);
            self.add_columns(head, &data);
        }
        Ok(())
    }

    fn add_sums(&mut self, head: usize, data: &HeadData) {
        let dim = self.shape().dim as usize;
        let sums = &mut self.sums[head * 3 * dim..(head + 1) * 3 * dim];
        let (keys, rest) = sums.split_at_mut(dim);
        let (squares, values) = rest.split_at_mut(dim);
        for (k, v) in data.keys.chunks_exact(dim).zip(data.values.chunks_exact(dim)) {
            for j in 0..dim {
                let key = f64::from(k[j]);
                keys[j] += key;
                squares[j] += key * key;
                values[j] += f64::from(v[j]);
            }
        }
    }

    fn add_columns(&mut self, head: usize, data: &HeadData) {
        let dim = self.shape().dim as usize;
        let from = self.map.heads()[head].from;
        for j in 0..dim {
            let offset = self.offsets[head * dim + j];
            let column = data.keys.iter().skip(j).step_by(dim);
            let new: Vec<u16> = column.map(|k| number(*k - offset).to_bits()).collect();
            if new.iter().any(|bits| !f16::from_bits(*bits).is_finite()) {
                self.flags[head] = 1;
            }
            let place = self.place(head, j);
            self.columns[place.clone()][from as usize..].copy_from_slice(&new);
            let later = sort_column(&new, from);
            merge_column(&mut self.sorted[place.clone()], &mut self.order[place], &later);
        }
    }

    /// Lays everything out anew where a head lacks room: half as much again as it had.
    fn make_room(&mut self, rows: &[u32]) -> Result<()> {
        let heads = self.map.heads().iter().zip(rows);
        let room: Vec<u32> = heads
            .map(|(head, &rows)| match rows <= head.stride {
                true => head.stride,
                false => rows.max(head.stride.saturating_add(head.stride / 2)),
            })
            .collect();
        if self.map.heads().iter().zip(&room).all(|(head, room)| head.stride == *room) {
            return Ok(());
        }
        let covered: Vec<u32> = self.map.heads().iter().map(|head| head.rows).collect();
        let mut map = IndexMap::new(self.shape().dim as usize, &room)?;
        map.extend(&covered)?;
        let budgets: Vec<u32> = self.map.heads().iter().map(|head| head.budget).collect();
        map.set_budgets(&budgets)?;
        let old = std::mem::replace(&mut self.map, map);
        let elements = self.shape().elements as usize;
        let (mut columns, mut sorted, mut order) =
            (vec![0; elements], vec![0; elements], vec![0; elements]);
        for (head, was) in old.heads().iter().enumerate() {
            for j in 0..self.shape().dim as usize {
                let from = was.first as usize + j * was.stride as usize;
                let from = from..from + was.rows as usize;
                let to = self.place(head, j);
                columns[to.clone()].copy_from_slice(&self.columns[from.clone()]);
                sorted[to.clone()].copy_from_slice(&self.sorted[from.clone()]);
                order[to].copy_from_slice(&self.order[from]);
            }
        }
        (self.columns, self.sorted, self.order) = (columns, sorted, order);
        Ok(())
    }

    /// The elements of a column's rows; none where there is no such column.
    fn place(&self, head: usize, column: usize) -> std::ops::Range<usize> {
        let Some(head) = self.map.heads().get(head) else { return 0..0 };
        if column >= self.shape().dim as usize {
            return 0..0;
        }
        let from = head.first as usize + column * head.stride as usize;
        from..from + head.rows as usize
    }
}

/// What is read of an index.
impl KeyIndex {
    /// Where columns lie, and how many rows they have.
    pub fn map(&self) -> &IndexMap {
        &self.map
    }

    /// How large everything is.
    pub fn shape(&self) -> &IndexShape {
        self.map.shape()
    }

    /// Rows of a head that are covered; 0 where there is no such head.
    pub fn rows(&self, head: usize) -> u32 {
        self.map.heads().get(head).map_or(0, |head| head.rows)
    }

    /// Rows of a head, those that wait included.
    pub fn len(&self, head: usize) -> u32 {
        let waiting = self.tail.get(head).map_or(0, |data| data.keys.len());
        // `append` counts them.
        self.rows(head) + (waiting / self.shape().dim as usize) as u32
    }

    /// Whether no head has a row.
    pub fn is_empty(&self) -> bool {
        (0..self.tail.len()).all(|head| self.len(head) == 0)
    }

    /// What the columns of a head are less than its keys, `[D]`: 0 unless it was [centred](Self::build_centred).
    pub fn offsets(&self, head: usize) -> &[f32] {
        let dim = self.shape().dim as usize;
        self.offsets.get(head * dim..(head + 1) * dim).unwrap_or_default()
    }

    /// Numbers of a column by row, as f16's bits; none where there is no such column, here and below.
    pub fn column(&self, head: usize, column: usize) -> &[u16] {
        &self.columns[self.place(head, column)]
    }

    /// Numbers of a column, ascending, as f16's bits.
    pub fn sorted_column(&self, head: usize, column: usize) -> &[u16] {
        &self.sorted[self.place(head, column)]
    }

    /// The row of each number of [`KeyIndex::sorted_column`].
    pub fn rows_by_number(&self, head: usize, column: usize) -> &[u32] {
        &self.order[self.place(head, column)]
    }

    /// The tensor `columns`.
    pub fn columns(&self) -> Vec<u32> {
        pairs(self.columns.iter().copied())
    }

    /// The tensor `sorted`.
    pub fn sorted(&self) -> Vec<u32> {
        pairs(self.sorted.iter().copied())
    }

    /// The tensor `order`, narrow or wide.
    pub fn order(&self) -> Vec<u32> {
        match self.shape().narrow() {
            // Below 65,536.
            true => pairs(self.order.iter().map(|row| *row as u16)),
            false => self.order.clone(),
        }
    }

    /// The tensor `sums`, `[H][3][D]`.
    pub fn sums(&self) -> Vec<f32> {
        self.sums.iter().map(|sum| *sum as f32).collect()
    }

    /// The tensor `flags`, `[H]`.
    pub fn flags(&self) -> &[u32] {
        &self.flags
    }

    /// Bytes of all tensors of the index, its room included.
    pub fn memory_bytes(&self) -> u64 {
        let shape = self.shape();
        let words = 2 * shape.words() + shape.order_words() + shape.map_words();
        4 * (words + shape.sums_len() + self.flags.len() as u64)
    }
}

fn pairs(halves: impl Iterator<Item = u16>) -> Vec<u32> {
    let halves: Vec<u16> = halves.collect();
    // Columns begin at multiples of 64 elements.
    halves.chunks_exact(2).map(|pair| u32::from(pair[0]) | u32::from(pair[1]) << 16).collect()
}

fn whole_rows(dim: usize, data: &HeadData) -> Result<u32> {
    let keys = data.keys.len();
    if dim == 0 || !keys.is_multiple_of(dim) {
        return Err(Error::shape("length of a head's keys", format!("a multiple of {dim}"), keys));
    }
    if data.values.len() != keys {
        return Err(Error::shape("length of a head's values", keys, data.values.len()));
    }
    let limit = format!("0..={}", u32::MAX);
    u32::try_from(keys / dim).map_err(|_| Error::range("rows of a head", limit, keys / dim))
}
