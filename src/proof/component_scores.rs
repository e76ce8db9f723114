//! The case table of `component_scores`.

use super::bitplane::{Squeeze, generator, stored, uniform};
use super::products::gamma;
use super::{Case, Expected, Output, POISON, Proof, Tensor};
use crate::Result;
use crate::attention::component_scores::{Asked, NAME, choice, expected, ranks, scores};
use crate::attention::decode::Q;
use crate::attention::sparse::{
    COLUMNS, INDEX_MAP, IndexMap, Lists, SCORES, SUMS, Share, Tail, UNREAD,
};
use crate::attention::{ComponentScores, NO_KEY};
use crate::launch::{Caps, Knobs, Spec as _};
use crate::linear::Activation;
use half::f16;
use rand_chacha::ChaCha8Rng;

/// What queries and keys are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Random,
    /// Components of few magnitudes, so that many are equal; keys that are all alike.
    Coarse,
    /// All queries are 0.
    Zero,
    /// Logits of hundreds.
    Sharp,
    /// NaN in a query of head 1, and in a key of head 0.
    NotNumbers,
}

/// One case.
#[derive(Debug, Clone, Copy)]
pub(super) struct ComponentCase {
    rows: &'static [u32],
    /// Heads, of which those that `rows` does not name have one row.
    heads: usize,
    /// Rows that every named head has room for besides.
    spare: u32,
    dim: usize,
    queries: [u32; 2],
    share: Share,
    components: u32,
    tail: Tail,
    input: Activation,
    content: Content,
    squeeze: Squeeze,
}

const DEFAULT: ComponentCase = ComponentCase {
    rows: &[1100, 0, 67],
    heads: 3,
    spare: 130,
    dim: 64,
    queries: [4, 1],
    share: Share::Group,
    components: 16,
    tail: Tail::Mean,
    input: Activation::F32,
    content: Content::Random,
    squeeze: Squeeze::None,
};

/// What elements hold that nobody writes.
const KEPT: f32 = 7.0;

pub(super) fn cases() -> Vec<ComponentCase> {
    let mut all = vec![DEFAULT];
    let f16 = Activation::F16;
    for (at, (dim, queries, components)) in [
        (128, [1, 1], 32),
        (128, [4, 1], 1),
        (80, [3, 2], 80),
        (96, [5, 1], 11),
        (256, [8, 1], 8),
        (64, [16, 1], 33),
        (256, [1, 5], 200),
        (4, [2, 1], 3),
    ]
    .into_iter()
    .enumerate()
    {
        let (input, share) = ([Activation::F32, f16][at % 2], [Share::Group, Share::Query][at % 2]);
        let tail = [Tail::Mean, Tail::Mean, Tail::None][at % 3];
        all.push(ComponentCase { dim, queries, components, input, share, tail, ..DEFAULT });
    }
    for content in [Content::Coarse, Content::Zero, Content::Sharp] {
        all.push(ComponentCase { content, ..DEFAULT });
    }
    all.push(ComponentCase { content: Content::NotNumbers, tail: Tail::None, ..DEFAULT });
    for rows in [&[1][..], &[7, 8, 9], &[1023, 1024, 1025], &[0, 0]] {
        all.push(ComponentCase {
            rows,
            heads: rows.len(),
            spare: 0,
            dim: 8,
            components: 5,
            ..DEFAULT
        });
    }
    // Workgroups that go on to further pieces; a grid of two dimensions with spare workgroups.
    let (rows, dim, components) = (&[1, 1, 1, 5200][..], 4, 2);
    let many = ComponentCase { rows, heads: 600, dim, components, queries: [1, 1], ..DEFAULT };
    all.push(many);
    all.push(ComponentCase { squeeze: Squeeze::Groups(3), ..DEFAULT });
    all
}

/// A number of an index.
fn number(x: f32) -> f32 {
    let half = f16::from_f32(x).to_f32();
    if half.abs() < f32::powi(2.0, -14) { 0.0 } else { half }
}

impl ComponentCase {
    fn rows_of(&self, head: usize) -> u32 {
        self.rows.get(head).copied().unwrap_or(1)
    }

    fn map(&self) -> Result<IndexMap> {
        let room = |head| self.rows_of(head) + if head < self.rows.len() { self.spare } else { 0 };
        let rooms: Vec<u32> = (0..self.heads).map(room).collect();
        let rows: Vec<u32> = (0..self.heads).map(|head| self.rows_of(head)).collect();
        let mut map = IndexMap::new(self.dim, &rooms)?;
        map.extend(&rows)?;
        Ok(map)
    }

    fn spec(&self, map: &IndexMap) -> ComponentScores {
        let [group, tokens] = self.queries;
        let lists = Lists {
            tokens,
            heads: self.heads as u32,
            group,
            share: self.share,
            capacity: 64,
            sinks: 4,
            causal: true,
        };
        let scale = match self.content {
            Content::Sharp => 30.0,
            _ => (self.dim as f32).sqrt().recip(),
        };
        let rows = (0..self.heads).map(|head| u64::from(self.rows_of(head))).sum();
        let Self { components, input, tail, .. } = *self;
        ComponentScores { index: *map.shape(), lists, components, scale, input, tail, rows }
    }

    fn keys(&self, head: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let len = self.rows_of(head) as usize * self.dim;
        let mut keys: Vec<f32> = match self.content {
            Content::Coarse => vec![0.75; len],
            _ => (0..len).map(|_| number(uniform(rng))).collect(),
        };
        if self.content == Content::NotNumbers && head == 0 {
            keys[5 * self.dim..6 * self.dim].fill(f32::NAN);
        }
        keys
    }

    fn q(&self, spec: &ComponentScores, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let round = |x: f32| match self.input {
            Activation::F32 => x,
            Activation::F16 => f16::from_f32(x).to_f32(),
        };
        let mut draw = |_| match self.content {
            Content::Zero => 0.0,
            Content::Coarse => (2.0 * uniform(rng)).round(),
            _ => 3.0 * uniform(rng),
        };
        let mut q: Vec<f32> = (0..spec.q_len()).map(&mut draw).map(round).collect();
        if self.content == Content::NotNumbers {
            // The second query row of head 1.
            q[(self.queries[0] as usize + 1) * self.dim + 7] = f32::NAN;
        }
        q
    }
}

/// A tensor's numbers, and by how much each may be off.
#[derive(Default)]
struct Numbers {
    values: Vec<f64>,
    tolerance: Vec<f64>,
}

impl Numbers {
    fn push(&mut self, value: f64, tolerance: f64) {
        self.values.push(value);
        self.tolerance.push(tolerance);
    }

    /// Rows as a device has them: the last eight filled up, and what is not written.
    fn row(&mut self, values: &[f64], tolerance: f64, most: usize) {
        for at in 0..most {
            match values.get(at) {
                Some(value) => self.push(*value, tolerance),
                None if at < values.len().next_multiple_of(8) => self.push(NO_KEY.into(), 0.0),
                None => self.push(KEPT.into(), 0.0),
            }
        }
    }

    fn tensor(&self, binding: u32) -> Tensor {
        let untouched = |value: &f64| match *value == f64::from(KEPT) {
            true => KEPT.to_le_bytes(),
            false => [POISON; 4],
        };
        let mut bytes: Vec<u8> = self.values.iter().flat_map(untouched).collect();
        bytes.resize(bytes.len() + super::CANARY_BYTES, POISON);
        Tensor::input(binding, bytes)
    }

    fn output(self, binding: u32) -> Output {
        let Self { values, tolerance } = self;
        let element = Activation::F32;
        let expected = Expected::Close { element, values, tolerance, relative: 1e-5 };
        Output { binding, expected }
    }
}

impl Case for ComponentCase {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> String {
        let Self { rows, heads, spare, dim, queries: [group, tokens], share, components, .. } =
            self;
        let mut name = format!(
            "{rows:?}+{spare} of {heads} D{dim} r{components} G{group} T{tokens} {share:?} {:?}",
            self.tail
        );
        if self.input != Activation::F32 {
            name += &format!(" of {}", self.input.name());
        }
        if self.content != Content::Random {
            name += &format!(" {:?}", self.content);
        }
        if self.squeeze != Squeeze::None {
            name += &format!(" {:?}", self.squeeze);
        }
        name
    }

    fn variants(&self, _caps: &Caps) -> Vec<(&'static str, Knobs)> {
        vec![("baseline", Knobs::baseline())]
    }

    fn build(&self, caps: &Caps, knobs: &Knobs) -> Result<Proof> {
        let mut rng = generator(&self.name());
        let map = self.map()?;
        let spec = self.spec(&map);
        let keys: Vec<Vec<f32>> = (0..self.heads).map(|head| self.keys(head, &mut rng)).collect();
        let q = self.q(&spec, &mut rng);
        // NaN where no row is.
        let mut columns = vec![f16::from_bits(0xffff); map.shape().elements as usize];
        let mut sums = Vec::new();
        for (head, keys) in map.heads().iter().zip(&keys) {
            for (at, key) in keys.iter().enumerate() {
                let (row, j) = (at / self.dim, at % self.dim);
                let at = head.first as usize + j * head.stride as usize + row;
                columns[at] = f16::from_f32(*key);
            }
            for power in [1, 2] {
                let column = |j: usize| keys.iter().skip(j).step_by(self.dim);
                let sum =
                    |j: usize| column(j).map(|k| f64::from(*k).powi(power)).sum::<f64>() as f32;
                sums.extend((0..self.dim).map(sum));
            }
            // Of values: not read.
            sums.extend(vec![f32::NAN; self.dim]);
        }
        let (group, most) = (self.queries[0] as usize, spec.index.most as usize);
        let (mut all, mut ranked, mut of_rest) =
            (Numbers::default(), Numbers::default(), Numbers::default());
        for (place, q) in q.chunks(group * self.dim).enumerate() {
            let head = place % self.heads;
            let sums = &sums[3 * head * self.dim..][..2 * self.dim];
            let asked = Asked { q, group, scale: spec.scale.into(), keys: &keys[head], sums };
            let chosen = choice(&asked, self.components as usize);
            let unread: Vec<usize> = (0..self.dim).filter(|j| !chosen.contains(j)).collect();
            let found = scores(&asked, &chosen);
            let (of_read, of_unread) = (expected(&asked, &chosen), expected(&asked, &unread));
            let judge = Judge { case: self, asked: &asked, chosen: &chosen };
            let off = judge.scores();
            for (g, scores) in found.iter().enumerate() {
                all.row(scores, off, most);
                of_rest.push(of_unread[g], judge.expected(&unread));
            }
            let off = off + judge.expected(&chosen) + 64.0 * f64::from(f32::EPSILON);
            ranked.row(&ranks(&found, &of_read), off, most);
        }
        if spec.ranked() {
            all.values.extend(ranked.values);
            all.tolerance.extend(ranked.tolerance);
        }
        let halves =
            stored(&columns.iter().map(|k| k.to_f32()).collect::<Vec<_>>(), Activation::F16);
        let mut tensors = vec![
            Tensor::input(Q, stored(&q, self.input)),
            Tensor::input(INDEX_MAP, bytemuck::cast_slice(map.words()).to_vec()),
            Tensor::input(COLUMNS, halves),
            all.tensor(SCORES),
        ];
        let mut outputs = Vec::new();
        if spec.reads_sums() {
            tensors.push(Tensor::input(SUMS, bytemuck::cast_slice(&sums).to_vec()));
        }
        // Without rows nothing is written.
        if self.rows.iter().any(|rows| *rows > 0) {
            outputs.push(all.output(SCORES));
        }
        if self.tail == Tail::Mean {
            tensors.push(of_rest.tensor(UNREAD));
            outputs.push(of_rest.output(UNREAD));
        }
        Ok(Proof { launches: spec.launches(&self.squeeze.apply(caps), knobs)?, tensors, outputs })
    }
}

/// By how much results may be off.
struct Judge<'a> {
    case: &'a ComponentCase,
    asked: &'a Asked<'a>,
    chosen: &'a [usize],
}

impl Judge<'_> {
    fn magnitude(&self, j: usize) -> f64 {
        let column = self.asked.q.iter().skip(j).step_by(self.case.dim);
        let most = column.filter(|q| q.is_finite()).map(|q| f64::from(q.abs())).fold(0.0, f64::max);
        most * self.asked.scale * std::f64::consts::LOG2_E
    }

    /// Products with keys of 1 at most, their sum, and the rounding of the factor.
    fn scores(&self) -> f64 {
        let sum: f64 = self.chosen.iter().map(|&j| self.magnitude(j)).sum();
        gamma(self.chosen.len() + 4) * sum
    }

    /// Means and variances of keys of 1 at most.
    fn expected(&self, components: &[usize]) -> f64 {
        let term = |j: usize| self.magnitude(j) + self.magnitude(j).powi(2);
        let sum: f64 = components.iter().map(|&j| term(j)).sum();
        gamma(self.case.dim + 12) * sum
    }
}
