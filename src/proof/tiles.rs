//! Queries of new tokens over random caches, for kernels over tiles of both.

use super::Tensor;
use super::bitplane::{generator, stored, uniform};
use super::products::gamma;
use crate::Result;
use crate::attention::decode::{KEY_PARAMS, KEYS, Q, VALUE_PARAMS, VALUES};
use crate::attention::reference::{Logits, Queries};
use crate::attention::{
    CacheShape, DecodeQueries, KvCache, KvElement, KvTensor, Layout, ROW_MAP, RowMap,
};
use crate::launch::{Caps, Knobs};
use crate::linear::{Activation, Arithmetic};
use rand_chacha::ChaCha8Rng;

/// Where rows lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Plain,
    Ragged,
    Paged(u32),
}

/// What queries, keys and values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Random,
    /// Logits of -1e4 to 1e4 in steps of 2500, so that keys tie or differ beyond doubt.
    Steps,
    /// The first key's logit is 17 above all others', which are equal: weights of 2^-24.5 that add up. Its
    /// value is 0, theirs are 1.
    Sink,
    /// NaN in a key of head 1, and in column 5 of a value of head 0.
    NotNumbers,
    /// NaN in one query of the last head.
    NoQuery,
}

/// What is asked of what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting {
    pub(super) kept: &'static [u32],
    /// Rows appended behind them.
    pub(super) appended: u32,
    pub(super) dim: usize,
    pub(super) element: KvElement,
    pub(super) place: Place,
    pub(super) group: usize,
    pub(super) q_len: usize,
    pub(super) input: Activation,
    pub(super) softcap: Option<f32>,
    pub(super) window: Option<u32>,
    pub(super) content: Content,
}

/// Sixteen rows of slack.
const SLACK: u32 = 16;

impl Setting {
    pub(super) fn name(&self) -> String {
        let mut name = format!(
            "{:?}+{} D{} {} {:?} G{} q{}",
            self.kept,
            self.appended,
            self.dim,
            self.element.name(),
            self.place,
            self.group,
            self.q_len
        );
        if self.input != Activation::F32 {
            name += &format!(" of {}", self.input.name());
        }
        if let Some(softcap) = self.softcap {
            name += &format!(" softcap {softcap}");
        }
        if let Some(window) = self.window {
            name += &format!(" window {window}");
        }
        if self.content != Content::Random {
            name += &format!(" {:?}", self.content);
        }
        name
    }

    pub(super) fn rng(&self) -> ChaCha8Rng {
        generator(&self.name())
    }

    pub(super) fn queries(&self) -> DecodeQueries {
        let scale = match self.content {
            Content::Steps => 1.0,
            _ => (self.dim as f32).sqrt().recip(),
        };
        let f32 = Activation::F32;
        let Self { group, q_len, softcap, input, .. } = *self;
        DecodeQueries {
            group,
            q_len,
            scale,
            softcap,
            input,
            output: f32,
            lse: true,
            arithmetic: Arithmetic::F32,
        }
    }

    pub(super) fn logits(&self) -> Logits {
        let scale = self.queries().scale.into();
        Logits { scale, softcap: self.softcap.map(f64::from) }
    }

    pub(super) fn query_heads(&self) -> usize {
        self.group * self.kept.len()
    }

    /// The variants that such a device can be asked for.
    pub(super) fn variants(&self, caps: &Caps) -> Vec<(&'static str, Knobs)> {
        let mut all = vec![("baseline", Knobs::baseline())];
        let halves = self.input == Activation::F16
            && matches!(self.element, KvElement::F16 | KvElement::Int8)
            && self.dim <= 128;
        if halves && caps.has_matrices() && caps.max_workgroup_bytes >= 43 << 10 {
            all.push(("matrix", Knobs { matrix: Some(true), ..Knobs::DEFAULT }));
        }
        all
    }

    /// As the reference is given them.
    pub(super) fn asked<'a>(&self, q: &'a [f32]) -> Queries<'a> {
        let (q_len, query_heads) = (self.q_len, self.query_heads());
        Queries { q, q_len, query_heads, logits: self.logits(), window: self.window }
    }

    /// `[q_len, H G, D]`, numbers that the input can hold.
    pub(super) fn q(&self, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let rows = self.q_len * self.query_heads();
        let round = |x: f32| match self.input {
            Activation::F32 => x,
            Activation::F16 => half::f16::from_f32(x).to_f32(),
        };
        let row = |at: usize| -> Vec<f32> {
            let mut q: Vec<f32> = (0..self.dim).map(|_| 3.0 * uniform(rng)).collect();
            match self.content {
                Content::Steps => q[0] = if at.is_multiple_of(2) { 2500.0 } else { -2500.0 },
                Content::Sink => q[0] = 17.0 / 8.0,
                Content::NoQuery if at + 1 == rows => q[2] = f32::NAN,
                _ => {}
            }
            q
        };
        (0..rows).flat_map(row).map(round).collect()
    }

    /// Tensors hold garbage where no head has a row, and positions are three apart.
    pub(super) fn cache(&self, rng: &mut ChaCha8Rng) -> Result<KvCache> {
        let shape = CacheShape::new(self.kept.len(), self.dim, self.element)?;
        let most = self.kept.iter().copied().max().unwrap_or(0);
        let room = self.appended + SLACK;
        let mut layout = match self.place {
            // All rows of a plain layout are appended ones, as many of every head.
            Place::Plain => Layout::plain(shape, most + room)?,
            Place::Ragged => Layout::ragged(shape, self.kept, room, 3 * most)?,
            Place::Paged(rows) => {
                let pages: u32 =
                    self.kept.iter().map(|kept| (kept + room).div_ceil(rows) + 1).sum();
                Layout::paged(shape, self.kept, rows, pages, 3 * most)?
            }
        };
        let before = if self.place == Place::Plain { most } else { 0 };
        layout.append(before + self.appended)?;
        let (view, rows) = (layout.view(), layout.rows() as usize);
        let garbage = if self.element.scaled() { 1e4 } else { f32::NAN };
        let mut keys = vec![garbage; rows * self.dim];
        let mut values = keys.clone();
        let mut positions = vec![u32::MAX; rows];
        for head in 0..shape.kv_heads() {
            let len = layout.len(head);
            for row in 0..len {
                let at = view.row(head, row).unwrap_or(0) as usize;
                let own = at * self.dim..(at + 1) * self.dim;
                keys[own.clone()].copy_from_slice(&self.key((head, row), rng));
                values[own].copy_from_slice(&self.value((head, row), rng));
                // New rows follow each other.
                let back = len - row;
                let spread = back + 2 * back.saturating_sub(self.appended);
                positions[at] = match self.place {
                    Place::Plain => row,
                    _ => layout.next_position().saturating_sub(spread),
                };
            }
        }
        let keys = KvTensor::encode(shape, "keys", &keys)?;
        let values = KvTensor::encode(shape, "values", &values)?;
        KvCache::from_parts(layout, keys, values, Some(positions))
    }

    fn key(&self, (head, row): (usize, u32), rng: &mut ChaCha8Rng) -> Vec<f32> {
        let mut key: Vec<f32> = (0..self.dim).map(|_| uniform(rng)).collect();
        match self.content {
            Content::Steps => {
                key.fill(0.0);
                // -4 to 4.
                key[0] = (row * 7 % 9) as f32 - 4.0;
            }
            Content::Sink => {
                key.fill(0.0);
                if row == 0 {
                    key[0] = 8.0 * (self.dim as f32).sqrt();
                }
            }
            Content::NotNumbers if (head, row) == (1, 1) => key[3] = f32::NAN,
            _ => {}
        }
        key
    }

    fn value(&self, (head, row): (usize, u32), rng: &mut ChaCha8Rng) -> Vec<f32> {
        let mut value: Vec<f32> = (0..self.dim).map(|_| uniform(rng)).collect();
        match self.content {
            Content::Sink => value.fill(if row == 0 { 0.0 } else { 1.0 }),
            Content::NotNumbers if (head, row) == (0, 2) => value[5] = f32::NAN,
            _ => {}
        }
        value
    }

    /// What each new token sees first of every head.
    pub(super) fn starts(&self, cache: &KvCache) -> Vec<u32> {
        let Some(window) = self.window else { return Vec::new() };
        let q_len = self.q_len as u32;
        let of = |token| cache.window_starts(q_len - token, window).unwrap_or_default();
        (0..q_len).flat_map(of).collect()
    }

    /// Queries, rows and their map as a device holds them; values where they are read.
    pub(super) fn tensors(
        &self,
        q: &[f32],
        cache: &KvCache,
        map: &RowMap,
        values: bool,
    ) -> Vec<Tensor> {
        // A buffer has some bytes.
        let bytes = |words: &[u32]| match words {
            [] => vec![0; 4],
            words => bytemuck::cast_slice(words).to_vec(),
        };
        let mut tensors = vec![
            Tensor::input(Q, stored(q, self.input)),
            Tensor::input(ROW_MAP, bytes(map.words())),
        ];
        let both = [(cache.keys(), KEYS, KEY_PARAMS), (cache.values(), VALUES, VALUE_PARAMS)];
        for (tensor, words, params) in both.into_iter().take(if values { 2 } else { 1 }) {
            tensors.push(Tensor::input(words, bytes(tensor.words())));
            if self.element.scaled() {
                tensors.push(Tensor::input(params, bytes(tensor.params())));
            }
        }
        tensors
    }

    /// By how much logits of every query row, `[q_len, H G]`, may be off: products, their sum and the
    /// roundings after it, with the largest of the row's keys. Units for matrices add sums of four and more
    /// products with fewer bits.
    pub(super) fn logit_errors(
        &self,
        q: &[f32],
        cache: &KvCache,
        knobs: &Knobs,
    ) -> Result<Vec<f64>> {
        let units = if knobs.matrix == Some(true) { 4.0 } else { 1.0 };
        let scale = units * f64::from(self.queries().scale).abs();
        let mut errors = vec![0.0; self.q_len * self.query_heads()];
        for head in 0..self.kept.len() {
            let data = cache.head(head)?;
            for (row, error) in errors.iter_mut().enumerate() {
                if row % self.query_heads() / self.group != head {
                    continue;
                }
                let q = &q[row * self.dim..(row + 1) * self.dim];
                let condition = |k: &[f32]| {
                    let products = q.iter().zip(k).map(|(q, k)| f64::from((q * k).abs()));
                    scale * products.filter(|p| p.is_finite()).sum::<f64>()
                };
                let most = data.keys.chunks(self.dim).map(condition).fold(0.0, f64::max);
                *error = gamma(self.dim + 8) * most;
            }
        }
        Ok(errors)
    }
}

/// By how much sums' logarithms may be off, whose logits may be off so much.
pub(super) fn lse_errors(lse: &[f64], logits: &[f64]) -> Vec<f64> {
    let unit = f64::from(f32::EPSILON);
    // A logarithm of what adds up to less than 2^17 weights.
    lse.iter().zip(logits).map(|(lse, off)| off + unit * (8.0 * lse.abs() + 64.0)).collect()
}
