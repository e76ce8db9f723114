//! Random indexes and queries to search them with.

use crate::Result;
use crate::attention::sparse::{IndexMap, IndexShape};
use crate::proof::POISON;
use crate::proof::bitplane::uniform;
use half::f16;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng as _;

/// A head: rows that it has room for, those that it has, and steps of a search.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) room: u32,
    pub(super) rows: u32,
    pub(super) budget: u32,
}

/// Components of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keys {
    /// As drawn from a bell, some columns wider than others and some 0.
    Bell,
    /// A few numbers.
    Coarse,
    /// All rows the same.
    Equal,
    /// Above 0.
    Positive,
}

/// Components of queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Bell,
    Coarse,
    Zero,
    Negative,
    NotNumber,
    Infinite,
    /// Products of which not all are finite.
    Huge,
    /// The smallest normal numbers of f32 and of f16, and subnormal ones.
    Tiny,
}

impl Asked {
    /// Those that are searched, and those that are not.
    pub(super) const ALL: [Self; 8] = [
        Self::Bell,
        Self::Zero,
        Self::Negative,
        Self::NotNumber,
        Self::Coarse,
        Self::Infinite,
        Self::Tiny,
        Self::Huge,
    ];

    pub(super) fn draw(self, dim: usize, f16: bool, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let mut all: Vec<f32> = (0..dim).map(|_| self.component(f16, rng)).collect();
        match self {
            Self::NotNumber => all[dim / 2] = f32::NAN,
            Self::Infinite => all[dim - 1] = f32::NEG_INFINITY,
            _ => {}
        }
        all
    }

    fn component(self, f16: bool, rng: &mut ChaCha8Rng) -> f32 {
        let bits = rng.next_u32();
        match self {
            Self::Coarse => (bits % 5) as f32 - 2.0,
            Self::Zero if bits & 1 == 0 => -0.0,
            Self::Zero => 0.0,
            Self::Negative => -bell(rng).abs() - 0.01,
            Self::Huge if !f16 => f32::MAX * uniform(rng),
            Self::Tiny if f16 => f32::from(f16::from_bits((bits & 0x87ff) as u16)),
            Self::Tiny => f32::from_bits(bits & 0x80ff_ffff | (bits >> 8 & 3) << 23),
            _ => bell(rng),
        }
    }
}

fn bell(rng: &mut ChaCha8Rng) -> f32 {
    (0..4).map(|_| uniform(rng)).sum()
}

/// An index as a device has it.
pub(super) struct Index {
    pub(super) map: IndexMap,
    /// As many elements as its shape says; not numbers where no row is.
    pub(super) sorted: Vec<f16>,
    pub(super) order: Vec<u32>,
}

impl Index {
    pub(super) fn draw(
        dim: usize,
        heads: &[Head],
        keys: Keys,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        let rooms: Vec<_> = heads.iter().map(|head| head.room).collect();
        let mut map = IndexMap::new(dim, &rooms)?;
        map.extend(&heads.iter().map(|head| head.rows).collect::<Vec<_>>())?;
        let budgets: Vec<_> = heads.iter().map(|head| head.budget).collect();
        map.set_budgets(&budgets)?;
        let elements = map.shape().elements as usize;
        let garbage = u16::from_ne_bytes([POISON; 2]);
        let mut sorted = vec![f16::from_bits(garbage); elements];
        let mut order = vec![u32::MAX; elements];
        for head in map.heads() {
            for j in 0..dim {
                let wide = [1.0, 0.125, 8.0, 0.0, 1.5][rng.next_u32() as usize % 5];
                let same = bell(rng);
                let number = || match keys {
                    Keys::Bell => wide * bell(rng),
                    Keys::Coarse => (rng.next_u32() % 7) as f32 * 0.5 - 1.5,
                    Keys::Equal => same,
                    Keys::Positive => bell(rng).abs() + 0.01,
                };
                let numbers = std::iter::repeat_with(number).take(head.rows as usize);
                let mut column: Vec<_> = numbers.map(stored).zip(0u32..).collect();
                column.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                let at = head.first as usize + j * head.stride as usize;
                for (i, (number, row)) in column.into_iter().enumerate() {
                    (sorted[at + i], order[at + i]) = (number, row);
                }
            }
        }
        Ok(Self { map, sorted, order })
    }

    /// The order as it is stored.
    pub(super) fn order_bytes(&self) -> Vec<u8> {
        let shape: &IndexShape = self.map.shape();
        if !shape.narrow() {
            return bytemuck::cast_slice(&self.order).to_vec();
        }
        let narrow: Vec<u16> = self.order.iter().map(|row| *row as u16).collect();
        bytemuck::cast_slice(&narrow).to_vec()
    }
}

/// As an index has it.
fn stored(number: f32) -> f16 {
    let number = f16::from_f32(number);
    if number.to_f32().abs() < f16::MIN_POSITIVE.to_f32() { f16::ZERO } else { number }
}
