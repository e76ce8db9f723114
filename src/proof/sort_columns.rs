//! The case table of `sort_columns`, and columns that are sorted.

use super::bitplane::{Squeeze, generator, uniform};
use super::growing::held;
use super::{Case, Expected, Output, POISON, Proof, Tensor};
use crate::Result;
use crate::attention::SortColumns;
use crate::attention::sort_columns::{NAME, RUN, SortedColumns, reference};
use crate::attention::sparse::{COLUMNS, HeadColumns, INDEX_MAP, IndexMap, SortedPair};
use crate::launch::{Caps, Knobs, Spec as _};
use half::f16;
use rand_chacha::rand_core::Rng as _;
use std::ops::Range;

/// What numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Numbers {
    /// Between -1 and 1.
    Random,
    /// A few again and again.
    Ties,
    Equal,
    /// Ever smaller ones.
    Falling,
    /// Infinities, none, and the largest and smallest there are.
    Edges,
}

/// Columns of heads of which some rows are new.
#[derive(Debug, Clone, Copy)]
pub(super) struct Columns {
    pub(super) from: &'static [u32],
    pub(super) rows: &'static [u32],
    pub(super) dim: usize,
    pub(super) numbers: Numbers,
    /// Room of every head beyond its rows.
    pub(super) spare: u32,
    /// New rows that there are workgroups for; all that there is room for by default.
    pub(super) at_once: Option<u32>,
    pub(super) to: SortedPair,
    pub(super) squeeze: Squeeze,
}

impl Columns {
    pub(super) const DEFAULT: Self = Self {
        from: &[0, 0, 0],
        rows: &[700, 1, 64],
        dim: 4,
        numbers: Numbers::Random,
        spare: 9,
        at_once: None,
        to: SortedPair::Index,
        squeeze: Squeeze::None,
    };

    pub(super) fn name(&self) -> String {
        let Self { from, rows, dim, numbers, spare, to, .. } = self;
        let mut name = format!("{from:?}..{rows:?} +{spare} D{dim} {numbers:?} to {to:?}");
        if let Some(at_once) = self.at_once {
            name += &format!(" {at_once} at once");
        }
        if self.squeeze != Squeeze::None {
            name += &format!(" {:?}", self.squeeze);
        }
        name
    }

    pub(super) fn map(&self) -> Result<IndexMap> {
        let room: Vec<u32> = self.rows.iter().map(|rows| rows + self.spare).collect();
        let mut map = IndexMap::new(self.dim, &room)?;
        map.extend(self.from)?;
        map.extend(self.rows)?;
        Ok(map)
    }

    /// Every element of the columns; those of no rows are none.
    pub(super) fn columns(&self, map: &IndexMap) -> Vec<f16> {
        const EDGES: [u16; 10] =
            [0, 0x7c00, 0xfc00, 0x7e00, 0x7bff, 0xfbff, 0x400, 0x8400, 0x3c00, 0xbc00];
        let mut rng = generator(&self.name());
        let mut all = vec![f16::NAN; map.shape().elements as usize];
        for place in map.heads() {
            for column in 0..map.shape().dim {
                for row in 0..place.rows {
                    let drawn = rng.next_u32() as usize;
                    let number = match self.numbers {
                        Numbers::Random => f16::from_f32(uniform(&mut rng)),
                        Numbers::Ties => f16::from_f32((drawn % 5) as f32 - 2.0),
                        Numbers::Equal => f16::from_f32(-0.5),
                        Numbers::Falling => f16::from_f32(100.0 - row as f32 / 8.0),
                        Numbers::Edges => f16::from_bits(EDGES[drawn % EDGES.len()]),
                    };
                    all[(place.first + column * place.stride + row) as usize] = number;
                }
            }
        }
        all
    }

    /// Tensors that nobody has written.
    pub(super) fn untouched(map: &IndexMap) -> SortedColumns {
        let elements = map.shape().elements as usize;
        let sorted = vec![f16::from_ne_bytes([POISON; 2]); elements];
        SortedColumns { sorted, order: vec![u32::from_ne_bytes([POISON; 4]); elements] }
    }

    /// As a device holds them: with halves of words behind odd numbers of `ends`.
    pub(super) fn bytes(map: &IndexMap, mut found: SortedColumns, padded: bool) -> [Vec<u8>; 2] {
        let narrow = map.shape().narrow();
        for place in map.heads().iter().filter(|place| padded && place.rows > place.from) {
            for column in 0..map.shape().dim {
                let end = (place.first + column * place.stride + place.rows) as usize;
                if !end.is_multiple_of(2) {
                    found.sorted[end] = f16::ZERO;
                    if narrow {
                        found.order[end] = 0;
                    }
                }
            }
        }
        let order = match narrow {
            true => {
                let halves: Vec<u16> = found.order.iter().map(|row| *row as u16).collect();
                bytemuck::cast_slice(&halves).to_vec()
            }
            false => bytemuck::cast_slice(&found.order).to_vec(),
        };
        [bytemuck::cast_slice(&found.sorted).to_vec(), order]
    }

    /// Runs of new rows.
    pub(super) fn runs(place: &HeadColumns, width: u32) -> Vec<Range<u32>> {
        let Range { start, end } = place.from..place.rows;
        let begins = (start..end).step_by(width as usize);
        begins.map(|begin| begin..end.min(begin.saturating_add(width))).collect()
    }
}

/// One case.
#[derive(Debug, Clone, Copy)]
pub(super) struct SortCase(Columns);

pub(super) fn cases() -> Vec<SortCase> {
    let default = Columns::DEFAULT;
    let mut all = vec![default];
    // Around powers of two and the length of a run.
    let rows: &[u32] = &[2, 3, 255, 257, 1023, 1025];
    all.push(Columns { from: &[0; 6], rows, dim: 2, ..default });
    all.push(Columns { rows: &[2047, 2048, 2049], ..default });
    for numbers in [Numbers::Ties, Numbers::Equal, Numbers::Falling, Numbers::Edges] {
        all.push(Columns { numbers, rows: &[2048, 500, 33], ..default });
    }
    let later = Columns { from: &[64, 0, 2000], rows: &[6001, 0, 2000], ..default };
    all.push(Columns { to: SortedPair::Other, ..later });
    all.push(Columns { at_once: Some(100), ..later });
    // Rows as u32.
    all.push(Columns { spare: 65_536, dim: 2, ..default });
    let wide: &[u32] = &[66_000];
    all.push(Columns { from: &[63_488], rows: wide, numbers: Numbers::Ties, dim: 2, ..default });
    all.push(Columns { dim: 64, squeeze: Squeeze::Groups(30), ..default });
    all.into_iter().map(SortCase).collect()
}

impl Case for SortCase {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> String {
        self.0.name()
    }

    fn variants(&self, _caps: &Caps) -> Vec<(&'static str, Knobs)> {
        vec![("baseline", Knobs::baseline())]
    }

    fn build(&self, caps: &Caps, knobs: &Knobs) -> Result<Proof> {
        let map = self.0.map()?;
        let at_once = self.0.at_once.unwrap_or(map.shape().most);
        let spec = SortColumns { index: *map.shape(), at_once, to: self.0.to };
        let columns = self.0.columns(&map);
        let mut found = Columns::untouched(&map);
        let before = Columns::bytes(&map, found.clone(), false);
        reference(&columns, &map, |place| Columns::runs(place, RUN), &mut found);
        let mut tensors = vec![
            Tensor::input(INDEX_MAP, bytemuck::cast_slice(map.words()).to_vec()),
            Tensor::input(COLUMNS, bytemuck::cast_slice(&columns).to_vec()),
        ];
        let mut outputs = Vec::new();
        let all = before.into_iter().zip(Columns::bytes(&map, found, true));
        for (binding, (before, after)) in self.0.to.bindings().into_iter().zip(all) {
            tensors.push(held(binding, before));
            outputs.push(Output { binding, expected: Expected::Bytes(after) });
        }
        let launches = spec.launches(&self.0.squeeze.apply(caps), knobs)?;
        Ok(Proof { launches, tensors, outputs })
    }
}
