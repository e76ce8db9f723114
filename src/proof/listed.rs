//! Cases of attention to listed rows: with the merge that follows, so that whole outputs are judged.

use super::bitplane::{generator, stored, uniform};
use super::products::gamma;
use super::{Case, Expected, Output, Proof, Tensor};
use crate::Result;
use crate::attention::attend_scored;
use crate::attention::decode::{KEY_PARAMS, KEYS, LSE, O, Q, VALUE_PARAMS, VALUES};
use crate::attention::reference::{Logits, State};
use crate::attention::sparse::{
    COUNTS, INDEX_MAP, IndexMap, LISTS, Lists, PICKED, REST, SUMS, Share, TOPS,
};
use crate::attention::{
    AttendRows, AttendScored, Attending, CacheShape, DecodeQueries, HeadData, KvCache, KvElement,
    KvTensor, Layout, Listed, NO_KEY,
};
use crate::launch::{Caps, Knobs, Reduce, Spec as _};
use crate::linear::{Activation, Arithmetic};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng as _;
use std::f64::consts::LN_2;

/// What logits and values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Random,
    /// All keys are the same.
    Equal,
    /// NaN in the key of the first row of every third list, or its logit.
    NotNumbers,
}

/// One case.
#[derive(Debug, Clone, Copy)]
pub(super) struct ListedCase {
    /// Rows of the lists, by turns.
    pub(super) lengths: &'static [u32],
    pub(super) capacity: u32,
    pub(super) heads: u32,
    pub(super) dim: usize,
    pub(super) element: KvElement,
    /// Query heads of a KV head, and tokens.
    pub(super) queries: [u32; 2],
    pub(super) share: Share,
    pub(super) splits: u32,
    pub(super) input: Activation,
    pub(super) output: Activation,
    pub(super) softcap: Option<f32>,
    pub(super) lse: bool,
    /// Whether the rest of the rows counts.
    pub(super) rest: bool,
    pub(super) arithmetic: Arithmetic,
    pub(super) content: Content,
    /// Logits are given, and rows kept whose weight is at least so much of the largest.
    pub(super) scored: Option<f32>,
    /// Every other list has all rows: none is left out.
    pub(super) all: bool,
}

pub(super) const DEFAULT: ListedCase = ListedCase {
    lengths: &[100, 1, 0, 37],
    capacity: 128,
    heads: 3,
    dim: 64,
    element: KvElement::F16,
    queries: [4, 1],
    share: Share::Group,
    splits: 3,
    input: Activation::F32,
    output: Activation::F32,
    softcap: None,
    lse: true,
    rest: false,
    arithmetic: Arithmetic::F32,
    content: Content::Random,
    scored: None,
    all: false,
};

/// Rows of the tensors: more than any list has.
const TENSOR_ROWS: u32 = 1500;

impl ListedCase {
    fn lists(&self) -> Lists {
        let [group, tokens] = self.queries;
        let Self { heads, share, capacity, .. } = *self;
        Lists { tokens, heads, group, share, capacity, sinks: 0, causal: false }
    }

    fn length(&self, list: u32) -> u32 {
        self.lengths[list as usize % self.lengths.len()]
    }

    /// A cache of one head, whose rows any list may have.
    fn cache(&self, rng: &mut ChaCha8Rng) -> Result<KvCache> {
        let shape = CacheShape::new(1, self.dim, self.element)?;
        let mut layout = Layout::plain(shape, TENSOR_ROWS)?;
        layout.append(TENSOR_ROWS)?;
        let row: Vec<f32> = (0..self.dim).map(|_| uniform(rng)).collect();
        let numbers = TENSOR_ROWS as usize * self.dim;
        let mut draw = || (0..numbers).map(|_| uniform(rng)).collect::<Vec<f32>>();
        let (mut keys, values) = (draw(), draw());
        if self.content == Content::Equal {
            keys = row.repeat(TENSOR_ROWS as usize);
        }
        if self.content == Content::NotNumbers && self.scored.is_none() {
            keys[5] = f32::NAN;
        }
        let keys = KvTensor::encode(shape, "keys", &keys)?;
        KvCache::from_parts(layout, keys, KvTensor::encode(shape, "values", &values)?, None)
    }

    /// Rows of every list, all different, and row 0 only where a case wants it.
    fn rows(&self, rng: &mut ChaCha8Rng) -> Vec<Vec<u32>> {
        let row = |list: u32| {
            let step = [7, 11, 13, 17][rng.next_u32() as usize % 4];
            let from = rng.next_u32() % TENSOR_ROWS;
            let mut rows: Vec<u32> =
                (0..self.length(list)).map(|i| 1 + (from + i * step) % (TENSOR_ROWS - 1)).collect();
            if list.is_multiple_of(3)
                && self.content == Content::NotNumbers
                && let Some(first) = rows.first_mut()
            {
                *first = 0;
            }
            rows
        };
        (0..self.lists().count()).map(row).collect()
    }

    fn queries(&self, shape: &CacheShape) -> DecodeQueries {
        let [group, tokens] = self.queries.map(|count| count as usize);
        let Self { input, output, softcap, lse, arithmetic, .. } = *self;
        let usual = DecodeQueries::new(shape, group);
        DecodeQueries { q_len: tokens, input, output, softcap, lse, arithmetic, ..usual }
    }

    /// Logits in base 2 of a query row's list, and the integer of the largest.
    fn logits(&self, count: usize, odd: bool, rng: &mut ChaCha8Rng) -> (Vec<f32>, u32) {
        let mut logits: Vec<f32> = (0..count).map(|_| 6.0 * uniform(rng)).collect();
        if self.content == Content::Equal {
            logits.fill(-3.5);
        }
        if odd && self.content == Content::NotNumbers {
            logits.iter_mut().take(1).for_each(|logit| *logit = f32::NAN);
        }
        let image = |x: &f32| {
            let bits = x.to_bits();
            if bits >> 31 == 1 { !bits } else { bits | 0x8000_0000 }
        };
        let top = logits.iter().map(image).max().unwrap_or(0);
        (logits, top)
    }

    /// The state of a list for a query row, natural base, and how far its logits may be off.
    fn state(&self, q: &[f32], data: &HeadData, rows: &[u32], scale: f64) -> (State, f64) {
        let logits = Logits { scale, softcap: self.softcap.map(f64::from) };
        let state = State::over(q, data, rows, &logits);
        let condition = |&row: &u32| {
            let k = &data.keys[row as usize * self.dim..][..self.dim];
            let products = q.iter().zip(k).map(|(q, k)| f64::from((q * k).abs()));
            scale * products.filter(|p| p.is_finite()).sum::<f64>()
        };
        let condition = rows.iter().map(condition).fold(0.0, f64::max);
        let mut off = gamma(self.dim + 8) * condition;
        if self.arithmetic == Arithmetic::F16 {
            off += 4.0 * condition / 2048.0;
        }
        (state, off)
    }
}

impl Case for ListedCase {
    fn kernel(&self) -> &'static str {
        match self.scored {
            None => crate::attention::attend_rows::NAME,
            Some(_) => attend_scored::NAME,
        }
    }

    fn name(&self) -> String {
        let [group, tokens] = self.queries;
        let mut name = format!(
            "{:?} of {} for {} D{} {} G{group} q{tokens} {:?} in {}",
            self.lengths,
            self.capacity,
            self.heads,
            self.dim,
            self.element.name(),
            self.share,
            self.splits
        );
        if [self.input, self.output] != [Activation::F32; 2] {
            name += &format!(" {} to {}", self.input.name(), self.output.name());
        }
        if let Some(share) = self.scored {
            name += &format!(" from {share}");
        }
        if let Some(softcap) = self.softcap {
            name += &format!(" softcap {softcap}");
        }
        for (word, said) in [
            (" no lse", !self.lse),
            (" and the rest", self.rest),
            (" all", self.all),
            (" f16-products", self.arithmetic == Arithmetic::F16),
        ] {
            name += if said { word } else { "" };
        }
        if self.content != Content::Random {
            name += &format!(" {:?}", self.content);
        }
        name
    }

    fn variants(&self, caps: &Caps) -> Vec<(&'static str, Knobs)> {
        let lanes = (self.dim as u32).div_ceil(16).next_power_of_two();
        let able = caps.subgroups && caps.subgroup_min >= lanes && caps.subgroup_max <= 128;
        let subgroup = Knobs { reduce: Some(Reduce::Subgroup), ..Knobs::DEFAULT };
        let baseline = ("baseline", Knobs::baseline());
        match (self.arithmetic, able) {
            _ if self.scored.is_some() => vec![baseline],
            (Arithmetic::F32, true) => vec![baseline, ("subgroup", subgroup)],
            (Arithmetic::F32, false) => vec![baseline],
            (Arithmetic::F16, true) if caps.f16 => vec![("half", subgroup)],
            (Arithmetic::F16, _) => Vec::new(),
        }
    }

    fn build(&self, caps: &Caps, knobs: &Knobs) -> Result<Proof> {
        let mut rng = generator(&self.name());
        let cache = self.cache(&mut rng)?;
        let data = cache.head(0)?;
        let lists = self.lists();
        let shape = CacheShape::new(self.heads as usize, self.dim, self.element)?;
        let queries = self.queries(&shape);
        let rows = self.rows(&mut rng);
        let round = |x: f32| match self.input {
            Activation::F32 => x,
            Activation::F16 => half::f16::from_f32(x).to_f32(),
        };
        let size = if self.arithmetic == Arithmetic::F16 { 1.0 } else { 3.0 };
        let q: Vec<f32> =
            (0..queries.q_len_of(&shape)).map(|_| round(size * uniform(&mut rng))).collect();
        // The index has a mean of the values, whatever they were.
        let mut index = IndexMap::new(self.dim, &vec![640; self.heads as usize])?;
        index.extend(&(1..=self.heads).map(|head| 100 * head).collect::<Vec<_>>())?;
        let sums: Vec<f32> =
            (0..index.shape().sums_len()).map(|_| 100.0 * uniform(&mut rng)).collect();
        let capacity = self.capacity as usize;
        let mut words = vec![u32::MAX; rows.len() * capacity];
        let mut counts = Vec::new();
        let (mut picked, mut tops, mut rests) = (Vec::new(), Vec::new(), Vec::new());
        let (mut o, mut lse, mut of_o, mut of_lse) = (vec![], vec![], vec![], vec![]);
        for (list, rows) in rows.iter().enumerate() {
            words[list * capacity..][..rows.len()].copy_from_slice(rows);
            // A list may have all rows for want of a search.
            let all = self.all && list.is_multiple_of(2);
            counts.extend([rows.len() as u32, 7, u32::from(all), 7]);
            let head = lists.head_of(list as u32) as usize;
            let mean = |col: usize| {
                let rows = index.heads()[head].rows;
                f64::from(sums[(3 * head + 2) * self.dim + col]) / f64::from(rows)
            };
            for row in lists.rows_of(list as u32) {
                let q = &q[row as usize * self.dim..][..self.dim];
                let odd = list.is_multiple_of(3);
                let (given, top) = self.logits(rows.len(), odd, &mut rng);
                let values: Vec<&[f32]> = rows
                    .iter()
                    .map(|&row| &data.values[row as usize * self.dim..][..self.dim])
                    .collect();
                let (mut state, off, left) = match self.scored {
                    None => {
                        let (state, off) = self.state(q, &data, rows, queries.scale.into());
                        (state, off, 0.0)
                    }
                    Some(share) => {
                        let keep = if share == 0.0 || all { f32::MAX } else { -share.log2() };
                        let kept = attend_scored::reference(&given, &values, keep, self.dim);
                        (kept.state, 0.0, kept.left)
                    }
                };
                picked.extend(given.iter().copied());
                picked.extend(std::iter::repeat_n(f32::NAN, capacity - given.len()));
                tops.push(top);
                // A logarithm to base 2, now and then of nothing.
                let rest = if row % 5 == 4 { NO_KEY } else { 4.0 * uniform(&mut rng) };
                rests.push(rest);
                if self.rest {
                    state.l += left;
                    state.o.iter_mut().enumerate().for_each(|(col, o)| *o += left * mean(col));
                    let l = if rest == NO_KEY { 0.0 } else { 1.0 };
                    let o = (0..self.dim).map(mean).collect();
                    let rest = State { m: f64::from(rest) * LN_2, l, o };
                    state = State::merge(&[state, rest], self.dim);
                }
                let (row_o, row_lse) = state.finish();
                let largest = values.iter().flat_map(|value| value.iter());
                let largest = largest.map(|v| f64::from(v.abs())).fold(0.0, f64::max);
                let means = (0..self.dim).map(|col| mean(col).abs());
                let largest = if self.rest { means.fold(largest, f64::max) } else { largest };
                for o in &row_o {
                    let mut tolerance = (2e-5 + (2.0 * off).exp_m1()) * largest;
                    if self.output == Activation::F16 {
                        tolerance += ((o.abs() + tolerance) / 2048.0).max(f64::powi(2.0, -25));
                    }
                    of_o.push(tolerance);
                }
                of_lse.push(off + f64::from(f32::EPSILON) * (8.0 * row_lse.abs() + 64.0));
                o.extend(row_o);
                lse.push(row_lse);
            }
        }
        let mut tensors = vec![
            Tensor::input(LISTS, bytemuck::cast_slice(&words).to_vec()),
            Tensor::input(COUNTS, bytemuck::cast_slice(&counts).to_vec()),
            Tensor::output(O, o.len() * self.output.bytes()),
        ];
        let mut inputs = vec![(cache.values(), VALUES, VALUE_PARAMS)];
        if self.scored.is_some() {
            tensors.push(Tensor::input(PICKED, bytemuck::cast_slice(&picked).to_vec()));
            tensors.push(Tensor::input(TOPS, bytemuck::cast_slice(&tops).to_vec()));
        } else {
            tensors.push(Tensor::input(Q, stored(&q, self.input)));
            inputs.push((cache.keys(), KEYS, KEY_PARAMS));
        }
        for (tensor, words, params) in inputs {
            tensors.push(Tensor::input(words, bytemuck::cast_slice(tensor.words()).to_vec()));
            if self.element.scaled() {
                let bytes = bytemuck::cast_slice(tensor.params()).to_vec();
                tensors.push(Tensor::input(params, bytes));
            }
        }
        if self.rest {
            tensors.push(Tensor::input(INDEX_MAP, bytemuck::cast_slice(index.words()).to_vec()));
            tensors.push(Tensor::input(SUMS, bytemuck::cast_slice(&sums).to_vec()));
            tensors.push(Tensor::input(REST, bytemuck::cast_slice(&rests).to_vec()));
        }
        let half = self.arithmetic == Arithmetic::F16;
        let relative = if half || self.output == Activation::F16 { 1e-3 } else { 5e-5 };
        let element = self.output;
        let expected = Expected::Close { element, values: o, tolerance: of_o, relative };
        let mut outputs = vec![Output { binding: O, expected }];
        if self.lse {
            tensors.push(Tensor::output(LSE, 4 * lse.len()));
            let (element, relative) = (Activation::F32, if half { 1e-3 } else { 1e-5 });
            let expected = Expected::Close { element, values: lse, tolerance: of_lse, relative };
            outputs.push(Output { binding: LSE, expected });
        }
        let (tensor_rows, splits) = (TENSOR_ROWS, self.splits);
        let attend = match self.scored {
            None => {
                Attending::Rows(AttendRows { shape, tensor_rows, queries, lists, splits, rows: 0 })
            }
            Some(share) => {
                let (rows, kept) = (0, 0);
                Attending::Scored(AttendScored {
                    shape,
                    tensor_rows,
                    queries,
                    lists,
                    splits,
                    share,
                    rows,
                    kept,
                })
            }
        };
        let spec = Listed { attend, rest: self.rest.then_some(*index.shape()) };
        Ok(Proof { launches: spec.launches(caps, knobs)?, tensors, outputs })
    }
}
