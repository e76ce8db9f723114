//! The case tables of `greedy_runs` and `greedy_hits`.

mod index;

use self::index::{Asked, Head, Index, Keys};
use super::bitplane::{Squeeze, generator, stored};
use super::{CANARY_BYTES, Case, Expected, Output, POISON, Proof, Tensor};
use crate::Result;
use crate::attention::decode::Q;
use crate::attention::greedy_runs::reference;
use crate::attention::sparse::greedy::Low;
use crate::attention::sparse::{FLAGS, FOUND, HITS, INDEX_MAP, ORDER, RUNS, SORTED};
use crate::attention::{GreedyHits, GreedyRuns, greedy_hits, greedy_runs};
use crate::launch::{Caps, Knobs, Reduce, Spec as _};
use crate::linear::Activation;
use half::f16;

/// One case.
#[derive(Debug, Clone, Copy)]
pub(super) struct GreedyCase {
    kernel: &'static str,
    dim: usize,
    heads: &'static [Head],
    tokens: u32,
    group: u32,
    keys: Keys,
    /// Of query rows in turns.
    asked: &'static [Asked],
    input: Activation,
    low: Low,
    /// Largest budget of an exact search.
    budget: u32,
    /// The head that is marked.
    marked: Option<usize>,
    slices: Option<u32>,
    squeeze: Squeeze,
}

const fn head(room: u32, rows: u32, budget: u32) -> Head {
    Head { room, rows, budget }
}

const DEFAULT: GreedyCase = GreedyCase {
    kernel: greedy_runs::NAME,
    dim: 64,
    heads: &[head(500, 300, 150), head(77, 77, 40)],
    tokens: 2,
    group: 4,
    keys: Keys::Bell,
    asked: &[Asked::Bell],
    input: Activation::F32,
    low: Low::Cheap,
    budget: 1024,
    marked: None,
    slices: None,
    squeeze: Squeeze::None,
};

/// No rows, one, and budgets from none to more than there are elements.
const RAGGED: &[Head] = &[
    head(1, 1, 1),
    head(64, 0, 5),
    head(130, 129, 0),
    head(9, 7, 1000),
    head(200, 64, 64 * 80),
    head(65, 65, 7),
    head(8, 8, 3),
];

const WIDE: &[Head] = &[head(70_000, 70_000, 20_000)];
const ONE: &[Head] = &[head(1000, 999, 250)];

/// Shapes and inputs of both kernels.
fn common() -> Vec<GreedyCase> {
    vec![
        GreedyCase { asked: &Asked::ALL, ..DEFAULT },
        GreedyCase { asked: &Asked::ALL, input: Activation::F16, keys: Keys::Positive, ..DEFAULT },
        GreedyCase { dim: 80, heads: RAGGED, tokens: 1, group: 2, ..DEFAULT },
        // Ties over columns, two of them a lane.
        GreedyCase { dim: 256, keys: Keys::Coarse, asked: &[Asked::Coarse], ..DEFAULT },
        // Rows of more than 16 bits.
        GreedyCase { dim: 2, heads: WIDE, tokens: 1, group: 2, ..DEFAULT },
        GreedyCase { marked: Some(1), squeeze: Squeeze::Groups(7), ..DEFAULT },
    ]
}

/// All cases of `greedy_runs`.
pub(super) fn run_cases() -> Vec<GreedyCase> {
    let mut all = common();
    for low in [Low::Cheap, Low::Exact, Low::All] {
        all.push(GreedyCase { low, dim: 128, heads: ONE, tokens: 1, ..DEFAULT });
        all.push(GreedyCase { low, dim: 32, keys: Keys::Equal, ..DEFAULT });
    }
    for (low, budget) in [(Low::Exact, 64 * 80), (Low::All, 0)] {
        all.push(GreedyCase { low, budget, dim: 80, heads: RAGGED, tokens: 1, ..DEFAULT });
    }
    let exact = GreedyCase { low: Low::Exact, ..DEFAULT };
    all.push(GreedyCase { dim: 256, keys: Keys::Coarse, asked: &[Asked::Coarse], ..exact });
    all.push(GreedyCase { asked: &Asked::ALL, input: Activation::F16, ..exact });
    // One head's is above what there is memory for.
    all.push(GreedyCase { budget: 100, ..exact });
    // Few columns, and so numbers of many bits.
    all.push(GreedyCase { dim: 2, heads: ONE, asked: &[Asked::Bell, Asked::Negative], ..DEFAULT });
    all.push(GreedyCase { dim: 6, keys: Keys::Positive, asked: &[Asked::Negative], ..DEFAULT });
    all
}

/// All cases of `greedy_hits`.
pub(super) fn hit_cases() -> Vec<GreedyCase> {
    let mut all = common();
    all.push(GreedyCase { low: Low::All, heads: RAGGED, slices: Some(5), tokens: 1, ..DEFAULT });
    all.push(GreedyCase { dim: 128, heads: ONE, slices: Some(64), ..DEFAULT });
    all.into_iter().map(|case| GreedyCase { kernel: greedy_hits::NAME, ..case }).collect()
}

impl Case for GreedyCase {
    fn kernel(&self) -> &'static str {
        self.kernel
    }

    fn name(&self) -> String {
        let Self { dim, heads, tokens, group, keys, asked, input, low, .. } = self;
        let head = heads[0];
        let mut name = format!(
            "{tokens}x{}x{group}x{dim} {} of {} {keys:?} {:?} {} {low:?}",
            heads.len(),
            head.budget,
            head.rows,
            asked[asked.len() - 1],
            input.name()
        );
        if *low == Low::Exact {
            name += &format!(" up to {}", self.budget);
        }
        if self.marked.is_some() {
            name += " marked";
        }
        if let Some(slices) = self.slices {
            name += &format!(" {slices} slices");
        }
        if self.squeeze != Squeeze::None {
            name += &format!(" {:?}", self.squeeze);
        }
        name
    }

    fn variants(&self, caps: &Caps) -> Vec<(&'static str, Knobs)> {
        let slices = self.slices;
        let mut all = vec![("baseline", Knobs { slices, ..Knobs::baseline() })];
        let known = caps.subgroups && caps.subgroup_min >= 4;
        if self.kernel == greedy_runs::NAME && known {
            all.push(("subgroup", Knobs { reduce: Some(Reduce::Subgroup), ..Knobs::DEFAULT }));
        }
        all
    }

    fn build(&self, caps: &Caps, knobs: &Knobs) -> Result<Proof> {
        let mut rng = generator(&self.name());
        let index = Index::draw(self.dim, self.heads, self.keys, &mut rng)?;
        let shape = *index.map.shape();
        let spec = GreedyRuns {
            index: shape,
            tokens: self.tokens,
            group: self.group,
            input: self.input,
            low: self.low,
            budget: self.budget,
        };
        let rows = 0..spec.query_rows() as usize;
        let halves = self.input == Activation::F16;
        let asked = |row: usize| self.asked[row % self.asked.len()];
        let q = rows.flat_map(|row| asked(row).draw(self.dim, halves, &mut rng));
        let q: Vec<f32> = match self.input {
            Activation::F32 => q.collect(),
            Activation::F16 => q.map(|q| f16::from_f32(q).to_f32()).collect(),
        };
        let mut flags = vec![0u32; self.heads.len()];
        if let Some(head) = self.marked {
            flags[head] = 1;
        }
        let sorted = (&index.sorted[..], &index.order[..]);
        let searched = reference(&spec, index.map.heads(), &q, sorted, &flags);
        // What hits hold where rows are covered; what is beyond them stays.
        let hits = |added: bool| {
            let mut all = vec![i32::from_ne_bytes([POISON; 4]); spec.hits_len() as usize];
            for (own, hits) in all.chunks_mut(shape.most as usize).zip(&searched.hits) {
                own[..hits.len().next_multiple_of(4)].fill(0);
                let sums = hits.iter().map(|hit| *hit as i32);
                if added {
                    own.iter_mut().zip(sums).for_each(|(own, sum)| *own = sum);
                }
            }
            bytemuck::cast_slice(&all).to_vec()
        };
        let words = |words: &[u32]| bytemuck::cast_slice(words).to_vec();
        let mut tensors = vec![
            Tensor::input(Q, stored(&q, self.input)),
            Tensor::input(INDEX_MAP, words(index.map.words())),
            Tensor::input(SORTED, bytemuck::cast_slice(&index.sorted).to_vec()),
        ];
        let caps = self.squeeze.apply(caps);
        let runs = [(RUNS, &searched.runs), (FOUND, &searched.found)];
        if self.kernel == greedy_hits::NAME {
            tensors.push(Tensor::input(ORDER, index.order_bytes()));
            tensors.extend(runs.map(|(binding, given)| Tensor::input(binding, words(given))));
            let mut before: Vec<u8> = hits(false);
            before.extend([POISON; CANARY_BYTES]);
            tensors.push(Tensor::input(HITS, before));
            let launches = GreedyHits { search: spec }.launches(&caps, knobs)?;
            let outputs = vec![Output { binding: HITS, expected: Expected::Bytes(hits(true)) }];
            return Ok(Proof { launches, tensors, outputs });
        }
        tensors.push(Tensor::input(FLAGS, words(&flags)));
        let mut outputs = vec![Output { binding: HITS, expected: Expected::Bytes(hits(false)) }];
        tensors.push(Tensor::output(HITS, 4 * spec.hits_len() as usize));
        for (binding, found) in runs {
            tensors.push(Tensor::output(binding, 4 * found.len()));
            outputs.push(Output { binding, expected: Expected::Bytes(words(found)) });
        }
        Ok(Proof { launches: spec.launches(&caps, knobs)?, tensors, outputs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn searches_of_the_cases_end_in_every_way() {
        let (mut none, mut short, mut full) = (0, 0, 0);
        for case in run_cases() {
            let proof = case.build(&Caps::webgpu(), &Knobs::baseline()).unwrap();
            let found = proof.outputs.iter().find(|output| output.binding == FOUND).unwrap();
            let Expected::Bytes(found) = &found.expected else { panic!("{found:?}") };
            let found: Vec<u32> = bytemuck::pod_collect_to_vec(found);
            for (row, found) in found.chunks(4).enumerate() {
                let head = case.heads[row / case.group as usize % case.heads.len()];
                let most = head.budget.min(head.rows * case.dim as u32);
                none += usize::from(found[0] == 1);
                short += usize::from(found[0] == 0 && case.low == Low::Cheap && found[1] < most);
                full += usize::from(found[0] == 0 && case.low == Low::Cheap && found[1] == most);
            }
        }
        assert!(none > 10 && short > 20 && full > 20, "{none} {short} {full}");
    }
}
