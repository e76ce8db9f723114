//! The case table of `decode_split`: with the merge that follows it, so that whole outputs are judged.

mod masks;
mod tolerances;

use super::bitplane::{generator, stored, uniform};
use super::{Case, Expected, Output, Proof, Tensor};
use crate::Result;
use crate::attention::decode::{KEY_PARAMS, KEYS, LSE, O, Q, SCHEDULE, VALUE_PARAMS, VALUES};
use crate::attention::decode_split::NAME;
use crate::attention::reference::{Logits, Queries, decode_attention};
use crate::attention::{
    CacheShape, Decode, DecodeQueries, DecodeSplit, KvCache, KvElement, KvTensor, Layout, Planner,
    Schedule,
};
use crate::launch::{Caps, Knobs, Reduce, Spec as _};
use crate::linear::{Activation, Arithmetic};
use rand_chacha::ChaCha8Rng;

/// Where rows lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Plain,
    Ragged,
    Paged(u32),
}

/// What keys and values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Random,
    /// Logits of -1e4 to 1e4 in steps of 2500, so that keys tie or differ beyond doubt.
    Steps,
    /// All logits are 0.
    Equal,
    /// One key has all the weight.
    Dominant,
    /// Keys and values of 65504, f16's largest number.
    Largest,
    /// NaN among the keys of head 1, and in column 5 of the values of head 0.
    NotNumbers,
}

/// One case.
#[derive(Debug, Clone, Copy)]
pub(super) struct SplitCase {
    kept: &'static [u32],
    /// Rows appended before the plan is made, and afterwards.
    appended: [u32; 2],
    dim: usize,
    element: KvElement,
    place: Place,
    queries: [usize; 2],
    planner: Planner,
    workgroups: u32,
    input: Activation,
    output: Activation,
    softcap: Option<f32>,
    window: Option<u32>,
    lse: bool,
    content: Content,
    arithmetic: Arithmetic,
    /// Rows before a mask of the kept ones, and which of them stay: every so-many-th, and the last head's
    /// not at all.
    mask: Option<[u32; 2]>,
}

const DEFAULT: SplitCase = SplitCase {
    kept: &[130, 0, 67],
    appended: [3, 2],
    dim: 64,
    element: KvElement::F16,
    place: Place::Ragged,
    queries: [4, 1],
    planner: Planner::Stream,
    workgroups: 5,
    input: Activation::F32,
    output: Activation::F32,
    softcap: None,
    window: None,
    lse: true,
    content: Content::Random,
    arithmetic: Arithmetic::F32,
    mask: None,
};

pub(super) fn cases() -> Vec<SplitCase> {
    use Activation::F16;
    use Content::{Dominant, Equal, Largest, NotNumbers, Steps};
    let mut all = Vec::new();
    // Every element of every dimension, by turns with every layout and number of query heads.
    let places = [Place::Ragged, Place::Paged(16), Place::Plain, Place::Paged(32)];
    let groups = [[4, 1], [1, 1], [3, 1], [8, 1], [2, 3], [7, 1], [1, 5]];
    for (d, dim) in crate::attention::HEAD_DIMS.into_iter().enumerate() {
        for (e, element) in KvElement::ALL.into_iter().enumerate() {
            let at = 5 * d + e;
            let (place, queries) = (places[at % 4], groups[at % 7]);
            all.push(SplitCase { dim, element, place, queries, ..DEFAULT });
        }
    }
    // Other numbers of query rows; the most there are.
    for queries in [[16, 1], [1, 16], [3, 5], [5, 3], [1, 3], [8, 2], [6, 1]] {
        let dim = if queries[0] == 16 { 256 } else { 64 };
        all.push(SplitCase { queries, dim, ..DEFAULT });
    }
    all.push(SplitCase { queries: [16, 1], dim: 128, element: KvElement::F32, ..DEFAULT });
    // Any split.
    for planner in Planner::ALL {
        for workgroups in [1, 2, 7, 64] {
            let kept = &[300, 5, 129, 0];
            all.push(SplitCase { kept, planner, workgroups, queries: [2, 2], ..DEFAULT });
        }
    }
    // Heads without rows, none with any, one with all of them; fewer rows than new tokens.
    for (kept, appended) in [
        (&[0, 0][..], [0, 0]),
        (&[0, 0, 0][..], [0, 1]),
        (&[0, 700, 0, 0][..], [0, 0]),
        (&[1][..], [0, 0]),
        (&[63, 64, 65, 1][..], [0, 0]),
        (&[2, 0][..], [1, 1]),
    ] {
        let queries = [3, if appended == [1, 1] { 5 } else { 1 }];
        all.push(SplitCase { kept, appended, queries, ..DEFAULT });
        all.push(SplitCase { kept, appended, queries, place: Place::Paged(16), ..DEFAULT });
    }
    for (input, output) in [(F16, Activation::F32), (Activation::F32, F16), (F16, F16)] {
        let element = KvElement::Bf16;
        all.push(SplitCase { input, output, dim: 80, element, lse: false, ..DEFAULT });
        // All heads are written directly.
        all.push(SplitCase { input, output, kept: &[40, 9], lse: false, workgroups: 2, ..DEFAULT });
    }
    for softcap in [0.5, 50.0] {
        all.push(SplitCase { softcap: Some(softcap), queries: [3, 2], ..DEFAULT });
    }
    for content in [Steps, Equal, Dominant, Largest, NotNumbers] {
        all.push(SplitCase { content, queries: [3, 1], ..DEFAULT });
        let element = KvElement::F32;
        all.push(SplitCase { content, element, dim: 128, queries: [2, 2], ..DEFAULT });
    }
    for (window, q_len) in [(1, 1), (40, 1), (40, 3), (100, 4), (100_000, 2)] {
        all.push(SplitCase { window: Some(window), queries: [2, q_len], ..DEFAULT });
    }
    for (mask, queries) in [([0, 2], [4, 1]), ([5, 3], [7, 2]), ([64, 7], [1, 1])] {
        let mask = Some(mask);
        let kept = &[100, 100, 100];
        all.push(SplitCase { mask, kept, queries, ..DEFAULT });
        let element = KvElement::Int8;
        all.push(SplitCase { mask, kept, queries, element, place: Place::Paged(16), ..DEFAULT });
    }
    // The key that is no number is one of those that are left out, the value is not.
    let (mask, kept) = (Some([0, 2]), &[100, 100, 100]);
    all.push(SplitCase { mask, kept, content: NotNumbers, queries: [3, 1], ..DEFAULT });
    for (at, dim) in crate::attention::HEAD_DIMS.into_iter().enumerate() {
        let half = SplitCase { dim, input: F16, arithmetic: Arithmetic::F16, ..DEFAULT };
        let (place, queries) = (places[at % 4], groups[at]);
        all.push(SplitCase { place, queries, ..half });
        all.push(SplitCase { queries: [7, 2], content: [Equal, Dominant][at % 2], ..half });
    }
    let long = SplitCase { kept: &[100_001], queries: [1, 1], workgroups: 9, ..DEFAULT };
    all.push(long);
    all.push(SplitCase { content: Dominant, element: KvElement::Int8, ..long });
    all
}

impl SplitCase {
    fn shape(&self) -> Result<CacheShape> {
        CacheShape::new(self.kept.len(), self.dim, self.element)
    }

    fn logits_of(&self) -> DecodeQueries {
        let [group, q_len] = self.queries;
        let scale = match self.content {
            Content::Steps => 1.0,
            _ => (self.dim as f32).sqrt().recip(),
        };
        let Self { softcap, input, output, lse, .. } = *self;
        let arithmetic = self.arithmetic;
        DecodeQueries { group, q_len, scale, softcap, input, output, lse, arithmetic }
    }

    /// Keys, or values, of one row.
    fn row(&self, (head, row): (usize, u32), values: bool, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let mut numbers: Vec<f32> = (0..self.dim).map(|_| uniform(rng)).collect();
        let first = |number| {
            let mut only = vec![0.0; self.dim];
            only[0] = number;
            only
        };
        match (self.content, values) {
            // -4 to 4.
            (Content::Steps, false) => numbers = first((row * 7 % 9) as f32 - 4.0),
            (Content::Equal, false) => numbers.fill(0.0),
            (Content::Dominant, false) if row == self.kept[head] / 2 => {
                numbers.iter_mut().for_each(|k| *k = 4.0 * k.signum());
            }
            (Content::Largest, false) => numbers = first(65504.0 * (row % 3) as f32 - 65504.0),
            (Content::Largest, true) => {
                numbers.iter_mut().for_each(|v| *v = 65504.0 * v.signum());
            }
            (Content::NotNumbers, false) if head == 1 && row == 1 => numbers[3] = f32::NAN,
            (Content::NotNumbers, true) if head == 0 && row == 70 => numbers[5] = f32::NAN,
            _ => {}
        }
        numbers
    }

    fn q(&self, shape: &CacheShape, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let round = |x: f32| match self.input {
            Activation::F32 => x,
            Activation::F16 => half::f16::from_f32(x).to_f32(),
        };
        let rows = self.logits_of().lse_len(shape.kv_heads());
        let row = |at: usize| -> Vec<f32> {
            // Roundings to f16 grow with the logits, and so does what a case can tell.
            let size = if self.arithmetic == Arithmetic::F16 { 1.0 } else { 3.0 };
            let mut q: Vec<f32> = (0..self.dim).map(|_| size * uniform(rng)).collect();
            let sign = if at.is_multiple_of(2) { 1.0 } else { -1.0 };
            match self.content {
                Content::Steps => q[0] = sign * 2500.0,
                Content::Largest => q[0] = sign / 1024.0,
                _ => {}
            }
            q
        };
        (0..rows).flat_map(row).map(round).collect()
    }

    /// The cache before the last rows are appended: tensors hold garbage where no head has a row, and
    /// positions are three apart.
    fn cache(&self, rng: &mut ChaCha8Rng) -> Result<KvCache> {
        let shape = self.shape()?;
        let kept = self.kept.iter().copied().max().unwrap_or(0);
        let origin = 3 * kept;
        let layout = match self.place {
            // As many rows of every head as fit: those of a plain layout are appended ones.
            Place::Plain => {
                let mut layout = Layout::plain(shape, kept + 16)?;
                layout.append(kept)?;
                layout
            }
            Place::Ragged => Layout::ragged(shape, self.kept, 16, origin)?,
            Place::Paged(rows) => {
                let pages: u32 = self.kept.iter().map(|kept| (kept + 16).div_ceil(rows) + 1).sum();
                Layout::paged(shape, self.kept, rows, pages, origin)?
            }
        };
        let (view, rows) = (layout.view(), layout.rows() as usize);
        let garbage = if self.element.scaled() { 1e4 } else { f32::NAN };
        let mut keys = vec![garbage; rows * self.dim];
        let mut values = keys.clone();
        let mut positions = vec![u32::MAX; rows];
        for head in 0..shape.kv_heads() {
            for row in 0..layout.len(head) {
                let at = view.row(head, row).unwrap_or(0) as usize;
                let own = at * self.dim..(at + 1) * self.dim;
                keys[own.clone()].copy_from_slice(&self.row((head, row), false, rng));
                values[own].copy_from_slice(&self.row((head, row), true, rng));
                let spread = origin.wrapping_sub(3 * (layout.len(head) - row));
                positions[at] = if self.place == Place::Plain { row } else { spread };
            }
        }
        let keys = KvTensor::encode(shape, "keys", &keys)?;
        let values = KvTensor::encode(shape, "values", &values)?;
        KvCache::from_parts(layout, keys, values, Some(positions))
    }

    fn append(&self, cache: &mut KvCache, tokens: u32, rng: &mut ChaCha8Rng) -> Result<()> {
        let numbers = tokens as usize * self.kept.len() * self.dim;
        let mut draw = || (0..numbers).map(|_| uniform(rng)).collect::<Vec<f32>>();
        let (keys, values) = (draw(), draw());
        cache.append(&keys, &values).map(drop)
    }

    /// What each new token sees first of every head.
    fn starts(&self, cache: &KvCache) -> Vec<u32> {
        let Some(window) = self.window else { return Vec::new() };
        // 16 at most.
        let q_len = self.queries[1] as u32;
        let of = |token| cache.window_starts(q_len - token, window).unwrap_or_default();
        (0..q_len).flat_map(of).collect()
    }
}

impl Case for SplitCase {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> String {
        let [group, q_len] = self.queries;
        let mut name = format!(
            "{:?}+{:?} D{} {} {:?} G{group} q{q_len} {:?} {}",
            self.kept,
            self.appended,
            self.dim,
            self.element.name(),
            self.place,
            self.planner,
            self.workgroups
        );
        if [self.input, self.output] != [Activation::F32; 2] {
            name += &format!(" {} to {}", self.input.name(), self.output.name());
        }
        if let Some(softcap) = self.softcap {
            name += &format!(" softcap {softcap}");
        }
        if let Some(window) = self.window {
            name += &format!(" window {window}");
        }
        if !self.lse {
            name += " no lse";
        }
        if self.arithmetic == Arithmetic::F16 {
            name += " f16-products";
        }
        if let Some([prefix, step]) = self.mask {
            name += &format!(" every {step} from {prefix}");
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
        match (self.arithmetic, able) {
            (Arithmetic::F32, true) => {
                vec![("baseline", Knobs::baseline()), ("subgroup", subgroup)]
            }
            (Arithmetic::F32, false) => vec![("baseline", Knobs::baseline())],
            (Arithmetic::F16, true) if caps.f16 => vec![("half", subgroup)],
            (Arithmetic::F16, _) => Vec::new(),
        }
    }

    fn build(&self, caps: &Caps, knobs: &Knobs) -> Result<Proof> {
        let mut rng = generator(&self.name());
        let mut cache = self.cache(&mut rng)?;
        self.append(&mut cache, self.appended[0], &mut rng)?;
        let plan = match self.window {
            None => self.planner.plan_layout(cache.layout(), self.workgroups)?,
            Some(_) => {
                let starts = self.starts(&cache);
                // Of the oldest token.
                let starts = &starts[..self.kept.len()];
                self.planner.plan_window(cache.layout(), starts, self.workgroups)?
            }
        };
        self.append(&mut cache, self.appended[1], &mut rng)?;
        let mut schedule = Schedule::new(&plan, cache.layout(), &self.starts(&cache))?;
        // What a mask leaves is what an eviction would have left.
        let mut left = cache.clone();
        if let Some((mask, lists)) = self.masked(&cache)? {
            schedule = schedule.with_mask(&mask, 0, self.mask.unwrap_or_default()[0])?;
            left = cache.compact(&lists, 1)?;
        }
        let spec = DecodeSplit::new(self.logits_of(), cache.layout(), &schedule)?;
        let q = self.q(cache.shape(), &mut rng);

        let queries = Queries {
            q: &q,
            q_len: spec.queries.q_len,
            query_heads: spec.queries.group * self.kept.len(),
            logits: Logits {
                scale: spec.queries.scale.into(),
                softcap: self.softcap.map(f64::from),
            },
            window: self.window,
        };
        let found = decode_attention(&queries, &left)?;
        let mut tensors = vec![
            Tensor::input(Q, stored(&q, self.input)),
            Tensor::input(SCHEDULE, bytemuck::cast_slice(schedule.words()).to_vec()),
            Tensor::output(O, found.o.len() * self.output.bytes()),
        ];
        for (tensor, words, params) in
            [(cache.keys(), KEYS, KEY_PARAMS), (cache.values(), VALUES, VALUE_PARAMS)]
        {
            // A buffer has some bytes.
            let some = |words: &[u32]| if words.is_empty() { vec![0; 4] } else { words.to_vec() };
            let bytes = |words| bytemuck::cast_slice(&some(words)).to_vec();
            tensors.push(Tensor::input(words, bytes(tensor.words())));
            if self.element.scaled() {
                tensors.push(Tensor::input(params, bytes(tensor.params())));
            }
        }
        let (o, lse) = self.tolerances(&cache, &queries, &found.o, &found.lse)?;
        let half = self.arithmetic == Arithmetic::F16;
        let relative = if half || self.output == Activation::F16 { 1e-3 } else { 5e-5 };
        let expected =
            Expected::Close { element: self.output, values: found.o, tolerance: o, relative };
        let mut outputs = vec![Output { binding: O, expected }];
        if self.lse {
            tensors.push(Tensor::output(LSE, 4 * found.lse.len()));
            let (element, relative) = (Activation::F32, if half { 1e-3 } else { 1e-5 });
            let expected = Expected::Close { element, values: found.lse, tolerance: lse, relative };
            outputs.push(Output { binding: LSE, expected });
        }
        Ok(Proof { launches: Decode(spec).launches(caps, knobs)?, tensors, outputs })
    }
}
