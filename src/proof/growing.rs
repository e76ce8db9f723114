//! Caches from which an index is made, and the index before its last rows came.

use super::append_kv::Placed;
use super::bitplane::{generator, uniform};
use super::{CANARY_BYTES, POISON, Tensor};
use crate::Result;
use crate::attention::decode::{KEY_PARAMS, KEYS, VALUE_PARAMS, VALUES};
use crate::attention::sparse::{INDEX_MAP, IndexMap, IndexSource};
use crate::attention::{CacheShape, KvCache, KvElement, KvTensor, Layout, ROW_MAP, RowMap};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng as _;

/// What keys, and values, are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Content {
    /// Between -1 and 1.
    Random,
    /// One number.
    Equal,
    /// The largest and the smallest of f16 and beside them, zeros of either sign.
    Edges,
    /// One among others that no finite f16 is: the last of the last row of a head.
    Beyond(usize, f32),
    /// About 1000, a millionth of which matters.
    Offset,
}

/// A cache, and rows of its heads that an index covers and is to cover.
#[derive(Debug, Clone, Copy)]
pub(super) struct Growing {
    pub(super) from: &'static [u32],
    pub(super) rows: &'static [u32],
    pub(super) dim: usize,
    pub(super) element: KvElement,
    pub(super) placed: Placed,
    pub(super) content: Content,
    /// New rows that there are workgroups for; all that there is room for by default.
    pub(super) at_once: Option<u32>,
}

/// Rows of every head behind those that the index is to cover.
const BEYOND: u32 = 7;

impl Growing {
    pub(super) const DEFAULT: Self = Self {
        from: &[0, 0, 0],
        rows: &[200, 1, 77],
        dim: 64,
        element: KvElement::F16,
        placed: Placed::Ragged,
        content: Content::Random,
        at_once: None,
    };

    pub(super) fn name(&self) -> String {
        let Self { from, rows, dim, element, placed, .. } = self;
        let mut name = format!("{from:?}..{rows:?} D{dim} {} {placed:?}", element.name());
        if self.content != Content::Random {
            name += &format!(" {:?}", self.content);
        }
        if let Some(at_once) = self.at_once {
            name += &format!(" {at_once} at once");
        }
        name
    }

    pub(super) fn rng(&self) -> ChaCha8Rng {
        generator(&self.name())
    }

    /// The map as it is when the new rows have come.
    pub(super) fn map(&self) -> Result<IndexMap> {
        let room: Vec<u32> = self.rows.iter().map(|rows| rows + 9).collect();
        let mut map = IndexMap::new(self.dim, &room)?;
        map.extend(self.from)?;
        map.extend(self.rows)?;
        Ok(map)
    }

    /// A number of a row of a head.
    pub(super) fn number(&self, (head, row, at): (usize, u32, usize), rng: &mut ChaCha8Rng) -> f32 {
        const EDGES: [f32; 12] = [
            0.0,
            -0.0,
            6.1035156e-5,
            -6.1035156e-5,
            6.1e-5,
            -5.9604645e-8,
            1e-8,
            65504.0,
            -65504.0,
            1.0,
            -1.000_488_3,
            2049.0,
        ];
        let drawn = rng.next_u32();
        match self.content {
            Content::Random => uniform(rng),
            Content::Equal => 0.5,
            Content::Edges => EDGES[drawn as usize % EDGES.len()],
            Content::Beyond(wrong, x) => {
                let last = (head, row + 1, at + 1) == (wrong, self.rows[wrong], self.dim);
                if last { x } else { uniform(rng) }
            }
            Content::Offset => 1000.0 + uniform(rng),
        }
    }

    /// Tensors hold garbage where no head has a row.
    pub(super) fn cache(&self, rng: &mut ChaCha8Rng) -> Result<KvCache> {
        let shape = CacheShape::new(self.rows.len(), self.dim, self.element)?;
        let kept: Vec<u32> = self.rows.iter().map(|rows| rows + BEYOND).collect();
        let most = kept.iter().copied().max().unwrap_or(0);
        let mut layout = self.placed.layout(shape, &kept, most)?;
        if self.placed == Placed::Plain {
            layout.append(most)?;
        }
        let (view, rows) = (layout.view(), layout.rows() as usize);
        let garbage = if self.element.scaled() { 1e4 } else { f32::NAN };
        let mut both = [vec![garbage; rows * self.dim], vec![garbage; rows * self.dim]];
        for head in 0..shape.kv_heads() {
            for row in 0..layout.len(head) {
                let at = view.row(head, row).unwrap_or(0) as usize * self.dim;
                for numbers in &mut both {
                    let numbers = numbers[at..].iter_mut().take(self.dim).enumerate();
                    numbers.for_each(|(at, x)| *x = self.number((head, row, at), rng));
                }
            }
        }
        let [keys, values] = both;
        let keys = KvTensor::encode(shape, "keys", &keys)?;
        let values = KvTensor::encode(shape, "values", &values)?;
        KvCache::from_parts(layout, keys, values, None)
    }

    /// The source that a spec describes.
    pub(super) fn source(&self, layout: &Layout, map: &IndexMap) -> Result<IndexSource> {
        let (shape, tensor_rows, index) = (*layout.shape(), layout.rows(), *map.shape());
        let at_once = self.at_once.unwrap_or(index.most);
        let map = *RowMap::new(layout, &[])?.shape();
        Ok(IndexSource { shape, tensor_rows, map, index, at_once })
    }

    /// Rows, their map and the index's, as a device holds them; values where they are read.
    pub(super) fn tensors(
        &self,
        cache: &KvCache,
        map: &IndexMap,
        values: bool,
    ) -> Result<Vec<Tensor>> {
        let bytes = |words: &[u32]| bytemuck::cast_slice(words).to_vec();
        let row_map = RowMap::new(cache.layout(), &[])?;
        let mut tensors = vec![
            Tensor::input(ROW_MAP, bytes(row_map.words())),
            Tensor::input(INDEX_MAP, bytes(map.words())),
        ];
        let both = [(cache.keys(), KEYS, KEY_PARAMS), (cache.values(), VALUES, VALUE_PARAMS)];
        for (tensor, words, params) in both.into_iter().take(if values { 2 } else { 1 }) {
            tensors.push(Tensor::input(words, bytes(tensor.words())));
            if self.element.scaled() {
                tensors.push(Tensor::input(params, bytes(tensor.params())));
            }
        }
        Ok(tensors)
    }
}

/// A tensor that holds something before, and has the canary behind it.
pub(super) fn held(binding: u32, mut bytes: Vec<u8>) -> Tensor {
    bytes.extend([POISON; CANARY_BYTES]);
    Tensor::input(binding, bytes)
}
