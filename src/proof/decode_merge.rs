//! The case table of `decode_merge`.

use super::bitplane::{generator, stored, uniform};
use super::{CANARY_BYTES, Case, Expected, Output, POISON, Proof, Tensor};
use crate::Result;
use crate::attention::decode::{LSE, O, SCHEDULE, STATES};
use crate::attention::decode_merge::{GIVEN_LSE, GIVEN_O, Merged, NAME, reference};
use crate::attention::{
    CacheShape, DecodeMerge, DecodeQueries, KvElement, Layout, NO_KEY, Planner, Schedule,
};
use crate::launch::{Caps, Knobs, Spec as _};
use crate::linear::Activation;
use half::f16;
use rand_chacha::ChaCha8Rng;

/// What states are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// One in four without keys.
    Random,
    /// All without keys.
    Empty,
    /// Maxima of -14400 to 14400.
    Steps,
    /// A state of head 0 is NaN.
    NotNumbers,
}

/// One case.
#[derive(Debug, Clone, Copy)]
pub(super) struct MergeCase {
    /// Rows that the heads have: they decide how many slots there are.
    lengths: &'static [u32],
    workgroups: u32,
    /// Parts that are given instead.
    given: Option<u32>,
    dim: usize,
    queries: [usize; 2],
    output: Activation,
    lse: bool,
    content: Content,
}

const DEFAULT: MergeCase = MergeCase {
    lengths: &[1000, 10, 0, 300],
    workgroups: 9,
    given: None,
    dim: 64,
    queries: [3, 2],
    output: Activation::F32,
    lse: true,
    content: Content::Random,
};

/// One state: m to base 2, l, o.
type Stored = (f32, f32, Vec<f32>);

pub(super) fn cases() -> Vec<MergeCase> {
    let mut all = Vec::new();
    for (at, dim) in crate::attention::HEAD_DIMS.into_iter().enumerate() {
        all.push(MergeCase { dim, queries: [at + 1, 3], ..DEFAULT });
        all.push(MergeCase { dim, output: Activation::F16, lse: at == 2, ..DEFAULT });
    }
    for content in [Content::Empty, Content::Steps, Content::NotNumbers] {
        all.push(MergeCase { content, ..DEFAULT });
        all.push(MergeCase { content, given: Some(3), ..DEFAULT });
    }
    // Many slots of one head; two of each.
    all.push(MergeCase { lengths: &[64 * 150], workgroups: 150, queries: [1, 1], ..DEFAULT });
    all.push(MergeCase { lengths: &[128, 128, 128], workgroups: 6, queries: [16, 1], ..DEFAULT });
    for (parts, output) in [(1, Activation::F32), (2, Activation::F32), (9, Activation::F16)] {
        all.push(MergeCase { given: Some(parts), output, ..DEFAULT });
    }
    all.push(MergeCase { given: Some(2), lse: false, dim: 128, ..DEFAULT });
    all
}

impl MergeCase {
    fn state(&self, first: bool, rng: &mut ChaCha8Rng) -> Stored {
        let empty = match self.content {
            Content::Empty => true,
            _ => uniform(rng) < -0.5,
        };
        if self.content == Content::NotNumbers && first {
            return (f32::NAN, f32::NAN, vec![f32::NAN; self.dim]);
        }
        if empty {
            return (NO_KEY, 0.0, vec![0.0; self.dim]);
        }
        // From a weight of 1, that of the maximum, to many.
        let l = if self.given.is_some() { 1.0 } else { 1.0 + 50.0 * uniform(rng).abs() };
        let m = match self.content {
            Content::Steps => (8.0 * uniform(rng)).round() * 1800.0,
            _ => 5.0 * uniform(rng),
        };
        (m, l, (0..self.dim).map(|_| l * uniform(rng)).collect())
    }
}

impl Case for MergeCase {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> String {
        let [group, q_len] = self.queries;
        let parts = match self.given {
            None => format!("{:?} in {}", self.lengths, self.workgroups),
            Some(parts) => format!("{} heads, {parts} given", self.lengths.len()),
        };
        let output = self.output.name();
        let mut name = format!("{parts} D{} G{group} q{q_len} {output}", self.dim);
        if !self.lse {
            name += " no lse";
        }
        if self.content != Content::Random {
            name += &format!(" {:?}", self.content);
        }
        name
    }

    fn variants(&self, _caps: &Caps) -> Vec<(&'static str, Knobs)> {
        vec![("baseline", Knobs::baseline())]
    }

    fn build(&self, caps: &Caps, knobs: &Knobs) -> Result<Proof> {
        let mut rng = generator(&self.name());
        let heads = self.lengths.len();
        let shape = CacheShape::new(heads, self.dim, KvElement::F16)?;
        let [group, q_len] = self.queries;
        let queries = DecodeQueries {
            q_len,
            output: self.output,
            lse: self.lse,
            ..DecodeQueries::new(&shape, group)
        };
        let longest = self.lengths.iter().copied().max().unwrap_or(0);
        let layout = Layout::ragged(shape, self.lengths, 16, longest)?;
        let plan = Planner::Stream.plan_layout(&layout, self.workgroups)?;
        let schedule = Schedule::new(&plan, &layout, &[])?;
        let rows = queries.rows();
        // Of every head its first part and the number of them.
        let parts_of = |head: usize| match (self.given, plan.head_slots()) {
            (Some(parts), _) => 0..parts,
            (None, slots) => slots[head]..slots[head + 1],
        };
        // Of every query row of every head.
        let states: Vec<Vec<Vec<Stored>>> = (0..heads)
            .map(|head| {
                let row = |row: usize| {
                    let first = head == 0 && row == 1;
                    let parts = parts_of(head);
                    parts.map(|part| self.state(first && part == 1, &mut rng)).collect()
                };
                (0..rows).map(row).collect()
            })
            .collect();
        // What heads that are written directly have is made up, and must stay.
        let direct: Vec<Vec<Stored>> =
            (0..heads).map(|_| (0..rows).map(|_| self.state(false, &mut rng)).collect()).collect();

        let round = |x: f32| match self.output {
            Activation::F32 => x,
            Activation::F16 => f16::from_f32(x).to_f32(),
        };
        let len = queries.q_len_of(&shape);
        let (mut before, mut o, mut of_o) = (vec![f32::NAN; len], vec![0.0; len], vec![0.0; len]);
        let mut untouched = vec![false; len];
        let (mut lse, mut of_lse) = (vec![0.0; rows * heads], vec![0.0; rows * heads]);
        for head in 0..heads {
            for row in 0..rows {
                let at = (row / group * heads + head) * group + row % group;
                let own = at * self.dim..(at + 1) * self.dim;
                let states = &states[head][row];
                let view = |states: &[Stored]| -> Merged {
                    let views: Vec<_> = states.iter().map(|(m, l, o)| (*m, *l, &o[..])).collect();
                    reference(&views, self.dim)
                };
                let whole = !parts_of(head).is_empty();
                let merged = view(if whole { states } else { &direct[head][row..=row] });
                let unit = f64::from(f32::EPSILON);
                let largest = states.iter().map(|(m, ..)| f64::from(m.abs())).filter(|m| *m < 1e9);
                let largest = largest.fold(0.0, f64::max);
                lse[at] = merged.lse;
                of_lse[at] = unit * (8.0 * lse[at].abs() + 64.0 + largest);
                for (i, at) in own.enumerate() {
                    if whole {
                        o[at] = merged.o[i];
                        // All values are below 1; maxima to base 2 are those that are given, but
                        // for logarithms that are multiplied first.
                        of_o[at] = unit * (32.0 + 4.0 * largest);
                        if self.output == Activation::F16 {
                            of_o[at] += (o[at].abs() / 2048.0).max(f64::powi(2.0, -25));
                        }
                    } else {
                        before[at] = round(uniform(&mut rng));
                        (o[at], untouched[at]) = (before[at].into(), true);
                    }
                }
            }
        }
        let mut bytes = stored(&before, self.output);
        let each = self.output.bytes();
        for (at, bytes) in bytes.chunks_exact_mut(each).enumerate() {
            if !untouched[at] {
                bytes.fill(POISON);
            }
        }
        bytes.resize(bytes.len() + CANARY_BYTES, POISON);
        let mut tensors = vec![Tensor::input(O, bytes)];
        let spec = match self.given {
            None => {
                let spec = DecodeMerge::of_slots(shape, queries, *schedule.shape());
                let mut words = Vec::new();
                for (head, rows) in states.iter().enumerate() {
                    for slot in 0..parts_of(head).len() {
                        for row in rows {
                            let (m, l, o) = &row[slot];
                            words.extend_from_slice(o);
                            words.extend([*m, *l, 0.0, 0.0]);
                        }
                    }
                }
                for row in direct.iter().flatten().filter(|_| self.lse) {
                    words.extend([row.0, row.1, f32::NAN, f32::NAN]);
                }
                tensors.push(Tensor::input(STATES, stored(&words, Activation::F32)));
                let schedule = bytemuck::cast_slice(schedule.words()).to_vec();
                tensors.push(Tensor::input(SCHEDULE, schedule));
                spec
            }
            Some(parts) => {
                let (mut all, mut sums) = (Vec::new(), Vec::new());
                let number = parts as usize * rows * heads;
                for (part, at) in (0..number).map(|at| (at / (rows * heads), at % (rows * heads))) {
                    let (token, head) = (at / (heads * group), at / group % heads);
                    let (m, l, o) = &states[head][token * group + at % group][part];
                    all.extend_from_slice(o);
                    let log = (f64::from(*m) * std::f64::consts::LN_2) as f32;
                    sums.push(if *l == 0.0 { NO_KEY } else { log });
                }
                tensors.push(Tensor::input(GIVEN_O, stored(&all, Activation::F32)));
                tensors.push(Tensor::input(GIVEN_LSE, stored(&sums, Activation::F32)));
                DecodeMerge::of_given(shape, queries, parts)
            }
        };
        let relative = if self.output == Activation::F16 { 1e-3 } else { 1e-5 };
        let element = self.output;
        let expected = Expected::Close { element, values: o, tolerance: of_o, relative };
        let mut outputs = vec![Output { binding: O, expected }];
        if self.lse {
            tensors.push(Tensor::output(LSE, 4 * lse.len()));
            let (element, relative) = (Activation::F32, 1e-5);
            let expected = Expected::Close { element, values: lse, tolerance: of_lse, relative };
            outputs.push(Output { binding: LSE, expected });
        }
        Ok(Proof { launches: spec.launches(caps, knobs)?, tensors, outputs })
    }
}
