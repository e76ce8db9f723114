//! The case table of `score_rows`.

use super::bitplane::Squeeze;
use super::products::gamma;
use super::tiles::{Content, Place, Setting};
use super::{CANARY_BYTES, Case, Expected, Output, POISON, Proof, Tensor};
use crate::Result;
use crate::attention::score_rows::reference::score;
use crate::attention::score_rows::{NAME, Scored};
use crate::attention::sparse::{COUNTS, LISTS, Lists, PICKED, SCORES, Share, TOPS};
use crate::attention::{HEAD_DIMS, KvElement, NO_KEY, ROW_MAP, RowMap, ScoreRows};
use crate::launch::{Caps, Knobs, Reduce, Spec as _};
use crate::linear::Activation;
use rand_chacha::rand_core::Rng as _;
use std::f64::consts::LOG2_E;

/// One case.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowsCase {
    setting: Setting,
    /// Whose lists have logits; of none, all rows have.
    share: Option<Share>,
    causal: bool,
    squeeze: Squeeze,
}

/// What words hold that nobody writes.
const KEPT: f32 = 7.0;
/// Words of a list.
const CAPACITY: u32 = 80;

pub(super) fn cases() -> Vec<RowsCase> {
    let setting = Setting {
        kept: &[300, 0, 67],
        appended: 3,
        dim: 64,
        element: KvElement::F16,
        place: Place::Ragged,
        group: 4,
        q_len: 1,
        input: Activation::F32,
        softcap: None,
        window: None,
        content: Content::Random,
    };
    let base = RowsCase { setting, share: None, causal: true, squeeze: Squeeze::None };
    let shares = [None, Some(Share::Group), Some(Share::Query)];
    let places = [Place::Ragged, Place::Paged(16), Place::Plain];
    let mut all = vec![base];
    for (at, dim) in HEAD_DIMS.into_iter().enumerate() {
        for of in 0..2 {
            let element = KvElement::ALL[(at + 3 * of) % 5];
            let (group, q_len) = [(4, 1), (1, 1), (3, 2), (8, 2), (2, 1)][(at + of) % 5];
            let input = [Activation::F16, Activation::F32][at % 2];
            let (place, share) = (places[(at + of) % 3], shares[(at + 2 * of) % 3]);
            let setting = Setting { dim, element, group, q_len, input, place, ..setting };
            all.push(RowsCase { setting, share, causal: of == 0, ..base });
        }
    }
    for element in [KvElement::Int8, KvElement::Int4] {
        let setting = Setting { element, group: 7, dim: 128, ..setting };
        all.push(RowsCase { setting, ..base });
        all.push(RowsCase { setting, share: Some(Share::Group), ..base });
    }
    let capped = Setting { softcap: Some(3.0), q_len: 2, ..setting };
    all.push(RowsCase { setting: capped, ..base });
    for content in [Content::NotNumbers, Content::Steps] {
        let setting = Setting { content, ..setting };
        all.push(RowsCase { setting, ..base });
        all.push(RowsCase { setting, share: Some(Share::Group), ..base });
    }
    // Fewer rows than new tokens: some see none. Workgroups that go on to further keys; a grid of two dimensions.
    let few = Setting { kept: &[0, 1], appended: 2, q_len: 5, group: 2, ..setting };
    all.push(RowsCase { setting: few, ..base });
    let long = Setting { kept: &[3000; 40], group: 1, ..setting };
    all.push(RowsCase { setting: long, ..base });
    all.push(RowsCase { squeeze: Squeeze::Groups(3), ..base });
    all
}

impl RowsCase {
    fn lists(&self) -> Lists {
        Lists {
            tokens: self.setting.q_len as u32,
            heads: self.setting.kept.len() as u32,
            group: self.setting.group as u32,
            share: self.share.unwrap_or_default(),
            capacity: CAPACITY,
            sinks: 0,
            causal: self.causal,
        }
    }
}

/// Scores as a device has them, and by how much each may be off.
#[derive(Default)]
struct Numbers {
    values: Vec<f64>,
    tolerance: Vec<f64>,
}

impl Numbers {
    fn tensor(&self, binding: u32) -> Tensor {
        let before = |value: &f64| match *value == f64::from(KEPT) {
            true => KEPT.to_le_bytes(),
            false => [POISON; 4],
        };
        let mut bytes: Vec<u8> = self.values.iter().flat_map(before).collect();
        bytes.resize(bytes.len() + CANARY_BYTES, POISON);
        Tensor::input(binding, bytes)
    }
}

impl Case for RowsCase {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> String {
        let mut name = self.setting.name();
        if let Some(share) = self.share {
            name += &format!(" lists of {share:?}");
        }
        if !self.causal {
            name += " not causal";
        }
        if self.squeeze != Squeeze::None {
            name += &format!(" {:?}", self.squeeze);
        }
        name
    }

    fn variants(&self, caps: &Caps) -> Vec<(&'static str, Knobs)> {
        let lanes = (self.setting.dim as u32).div_ceil(16).next_power_of_two();
        let mut all = vec![("baseline", Knobs::baseline())];
        if caps.subgroups && caps.subgroup_min >= lanes && caps.subgroup_max <= 128 {
            let reduce = Some(Reduce::Subgroup);
            all.push(("subgroup", Knobs { reduce, ..Knobs::DEFAULT }));
        }
        all
    }

    fn build(&self, caps: &Caps, knobs: &Knobs) -> Result<Proof> {
        let setting = &self.setting;
        let mut rng = setting.rng();
        let (cache, q) = (setting.cache(&mut rng)?, setting.q(&mut rng));
        let map = RowMap::new(cache.layout(), &[])?;
        let lists = self.lists();
        let lengths = cache.layout().lengths();
        let stride = lengths.iter().copied().max().unwrap_or(0).next_multiple_of(4) + 8;
        let scored = match self.share {
            None => Scored::Seen { map: *map.shape(), stride },
            Some(_) => Scored::Listed,
        };
        let spec = ScoreRows {
            shape: *cache.shape(),
            tensor_rows: cache.layout().rows(),
            queries: setting.queries(),
            lists,
            scored,
            rows: lengths.iter().map(|len| u64::from(*len)).sum(),
        };
        // Every list has some rows of its head, in any order; those beyond are no rows.
        let view = cache.layout().view();
        let mut rows: Vec<Vec<u32>> = Vec::new();
        let (mut words, mut counts) = (Vec::new(), Vec::new());
        for list in 0..lists.count() {
            let head = lists.head_of(list) as usize;
            let count = lengths[head].min(rng.next_u32() % (CAPACITY + 1));
            let own: Vec<u32> = (0..count).map(|_| rng.next_u32() % lengths[head].max(1)).collect();
            let end = words.len() + CAPACITY as usize;
            words.extend(own.iter().map(|row| view.row(head, *row).unwrap_or(0)));
            words.resize(end, u32::MAX);
            counts.extend([count, 0, 0, 0]);
            rows.push(own);
        }
        let heads: Vec<_> =
            (0..setting.kept.len()).map(|h| cache.head(h)).collect::<Result<_>>()?;
        let logits = setting.logits();
        let dim = setting.dim;
        let mut numbers = Numbers::default();
        let mut tops = Numbers::default();
        for query in 0..lists.query_rows() {
            let list = query / lists.queries();
            let head = lists.head_of(list) as usize;
            let (len, seen) = (lengths[head], lists.seen(list, lengths[head]));
            let own: Vec<u32> = match self.share {
                None => (0..len).collect(),
                Some(_) => rows[list as usize].clone(),
            };
            let q = &q[query as usize * dim..][..dim];
            let (mut top, mut off_top) = (f64::NEG_INFINITY, 0.0f64);
            let end = numbers.values.len() + spec.stride() as usize;
            for &row in &own {
                if self.share.is_none() && row >= seen {
                    numbers.values.push(NO_KEY.into());
                    numbers.tolerance.push(0.0);
                    continue;
                }
                let key = &heads[head].keys[row as usize * dim..][..dim];
                let value = score(&logits, q, key);
                let condition: f64 = q.iter().zip(key).map(|(q, k)| f64::from((q * k).abs())).sum();
                let off = gamma(dim + 16) * condition * logits.scale.abs() * LOG2_E;
                numbers.values.push(value);
                numbers.tolerance.push(off);
                // NaN is above all.
                if value > top || value.is_nan() {
                    top = value;
                }
                off_top = off_top.max(off);
            }
            numbers.values.resize(end, KEPT.into());
            numbers.tolerance.resize(end, 0.0);
            tops.values.push(top);
            tops.tolerance.push(off_top);
        }
        // A buffer has some bytes.
        let bytes = |words: &[u32]| match words {
            [] => vec![0; 4],
            words => bytemuck::cast_slice(words).to_vec(),
        };
        let mut tensors = setting.tensors(&q, &cache, &map, false);
        tensors.retain(|tensor| self.share.is_none() || tensor.binding != ROW_MAP);
        let binding = if self.share.is_none() { SCORES } else { PICKED };
        tensors.push(numbers.tensor(binding));
        tensors.push(Tensor::output(TOPS, 4 * tops.values.len()));
        if self.share.is_some() {
            tensors.push(Tensor::input(LISTS, bytes(&words)));
            tensors.push(Tensor::input(COUNTS, bytes(&counts)));
        }
        let Numbers { values, tolerance } = tops;
        let mut outputs =
            vec![Output { binding: TOPS, expected: Expected::Images { values, tolerance } }];
        // Nobody writes where there is no row.
        if numbers.values.iter().any(|value| *value != f64::from(KEPT)) {
            let Numbers { values, tolerance } = numbers;
            let (element, relative) = (Activation::F32, 1e-4);
            let expected = Expected::Close { element, values, tolerance, relative };
            outputs.push(Output { binding, expected });
        }
        Ok(Proof { launches: spec.launches(&self.squeeze.apply(caps), knobs)?, tensors, outputs })
    }
}
