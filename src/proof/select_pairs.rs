//! The case table of `select_pairs`.

use super::bitplane::{Squeeze, generator, uniform};
use super::{Case, Expected, Output, POISON, Proof, Tensor};
use crate::Result;
use crate::attention::SelectPairs;
use crate::attention::select_pairs::{
    BLOCK, BLOCKS, BUDGETS, Cut, MASK, NAME, REPORT, SCORES, Segments, Selected, reference,
};
use crate::launch::{Caps, Knobs, Reduce, Spec as _};
use rand_chacha::rand_core::Rng as _;

/// What the scores are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scores {
    /// In 0..1, of magnitudes as those of attention.
    Attention,
    /// The same rounded to bf16: many ties.
    Bf16,
    /// One number.
    Equal,
    /// Zeros of both signs.
    Zeros,
    /// Of both signs.
    Signed,
    /// Below zero.
    Negative,
    /// NaN, infinities and zeros of both signs among others.
    NotNumbers,
    /// Subnormal ones of both signs.
    Subnormal,
    /// Neighbours: all bits count, and none begins otherwise.
    Close,
    /// Few different numbers.
    Coarse,
    /// Descending with the position within a row.
    Descending,
}

impl Scores {
    const ALL: [Self; 11] = [
        Self::Attention,
        Self::Bf16,
        Self::Equal,
        Self::Zeros,
        Self::Signed,
        Self::Negative,
        Self::NotNumbers,
        Self::Subnormal,
        Self::Close,
        Self::Coarse,
        Self::Descending,
    ];

    fn draw(self, len: usize, n: usize, seed: &str) -> Vec<f32> {
        let mut rng = generator(seed);
        let one = |pair: usize| {
            let (value, bits) = (uniform(&mut rng), rng.next_u32());
            let attention = (-12.0 * value.abs()).exp2();
            match self {
                Self::Attention => attention,
                Self::Bf16 => f32::from_bits(attention.to_bits() & 0xffff_0000),
                Self::Equal => 0.375,
                Self::Zeros if bits & 1 == 0 => -0.0,
                Self::Zeros => 0.0,
                Self::Signed => value,
                Self::Negative => -attention,
                Self::NotNumbers => match bits % 11 {
                    0 => f32::NAN,
                    1 => -f32::NAN,
                    2 => f32::INFINITY,
                    3 => f32::NEG_INFINITY,
                    4 => 0.0,
                    5 => -0.0,
                    6 => f32::from_bits(0x7f80_0001),
                    _ => value,
                },
                Self::Subnormal => f32::from_bits(bits & 0x807f_ffff),
                Self::Close => f32::from_bits(0x3f00_0000 + (bits >> 8 & 0xfff)),
                Self::Coarse => (bits >> 8 & 3) as f32 - 1.0,
                Self::Descending => 1.0 - (pair % n) as f32 / (n + 1) as f32,
            }
        };
        (0..len).map(one).collect()
    }
}

/// How many pairs of a segment are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    /// So many of a thousand.
    Share(usize),
    /// None but those that are always kept.
    Least,
    One,
    AllButOne,
    All,
    /// Another share of each segment, none and all among them.
    Various,
    /// What no host would ask for: less than is always kept, and more than there is.
    Below,
    Above,
}

/// One case.
#[derive(Debug, Clone, Copy)]
pub(super) struct SelectCase {
    spec: SelectPairs,
    scores: Scores,
    keep: Keep,
    span: Option<u32>,
    squeeze: Squeeze,
}

fn case(layers: usize, heads: usize, n: usize) -> SelectCase {
    SelectCase {
        spec: SelectPairs::new(layers, heads, n),
        scores: Scores::Attention,
        keep: Keep::Share(300),
        span: None,
        squeeze: Squeeze::None,
    }
}

/// All cases.
pub(super) fn cases() -> Vec<SelectCase> {
    let mut all = Vec::new();
    for n in [1, 31, 33, 255, 2047, 2048, 2049, 5000] {
        all.push(case(1, 1, n));
        all.push(SelectCase { keep: Keep::One, ..case(2, 3, n) });
    }
    for scores in Scores::ALL {
        for (cut, keep) in [
            (Cut::Exact, Keep::Share(300)),
            (Cut::Exact, Keep::Share(913)),
            (Cut::RefStrict, Keep::Share(300)),
        ] {
            let default = case(2, 2, 3001);
            let spec = SelectPairs { cut, ..default.spec };
            all.push(SelectCase { spec, scores, keep, ..default });
        }
    }
    for segments in [Segments::Model, Segments::Layers, Segments::Heads] {
        let default = case(3, 2, 2500);
        let spec = SelectPairs { segments, ..default.spec };
        for keep in
            [Keep::Share(300), Keep::Least, Keep::One, Keep::AllButOne, Keep::All, Keep::Various]
        {
            for (scores, cut) in [(Scores::Bf16, Cut::Exact), (Scores::NotNumbers, Cut::RefStrict)]
            {
                all.push(SelectCase { spec: SelectPairs { cut, ..spec }, scores, keep, ..default });
            }
        }
        // What is always kept: some, as much as the budget, all of it.
        for (sink, recent, keep) in [
            (4, 100, Keep::Share(300)),
            (4, 100, Keep::Least),
            (0, 2049, Keep::AllButOne),
            (2048, 0, Keep::Various),
            (2000, 600, Keep::Least),
            (4, 100, Keep::Below),
            (4, 100, Keep::Above),
            (2000, 600, Keep::Below),
        ] {
            for (scores, cut) in [(Scores::Coarse, Cut::Exact), (Scores::Signed, Cut::RefStrict)] {
                let spec = SelectPairs { sink, recent, cut, ..spec };
                all.push(SelectCase { spec, scores, keep, ..default });
            }
        }
        // Pieces of layers, gaps between layers, workgroups that go on into the next segment.
        for (piece_layers, gap, span) in [(1, 0, Some(1)), (2, 60, Some(3)), (3, 7, Some(100))] {
            let default = case(5, 3, 2100);
            let stride = default.spec.stride + gap;
            let spec = SelectPairs { piece_layers, stride, segments, ..default.spec };
            for scores in [Scores::Bf16, Scores::Attention, Scores::Equal] {
                all.push(SelectCase { spec, span, scores, keep: Keep::Share(400), ..default });
            }
        }
    }
    // Ties over more blocks than a chunk has.
    for (scores, cut) in [(Scores::Equal, Cut::Exact), (Scores::Coarse, Cut::Exact)] {
        let default = case(30, 20, 70);
        let spec = SelectPairs { cut, ..default.spec };
        all.push(SelectCase { spec, scores, keep: Keep::Share(700), ..default });
    }
    // A grid of two dimensions with spare workgroups.
    let squeeze = Squeeze::Groups(6);
    for scores in [Scores::Attention, Scores::Coarse] {
        all.push(SelectCase { squeeze, scores, span: Some(1), ..case(2, 4, 7000) });
    }
    all
}

impl SelectCase {
    fn budgets(&self) -> Vec<u32> {
        let (least, most) = (self.spec.always(), self.spec.segment_pairs());
        let budget = |segment: usize| match self.keep {
            Keep::Share(thousandths) => most * thousandths / 1000,
            Keep::Least => least,
            Keep::One => 1,
            Keep::AllButOne => most - 1,
            Keep::All => most,
            Keep::Various => [most / 2, 0, most, most / 7][segment % 4],
            Keep::Below | Keep::Above => 0,
        };
        let budget = |segment| match self.keep {
            Keep::Below => [0, least / 2][segment % 2] as u32,
            Keep::Above => [u32::MAX, most as u32 + 1][segment % 2],
            _ => budget(segment).clamp(least, most) as u32,
        };
        (0..self.spec.segment_count()).map(budget).collect()
    }
}

/// A mask and what it keeps of each block, as a device has them.
pub(super) fn masked(keep: &[bool], n: usize) -> (Vec<u32>, Vec<u32>) {
    let word = |bits: &[bool]| {
        bits.iter().enumerate().fold(0, |word, (at, kept)| word | u32::from(*kept) << at)
    };
    let kept = |block: &[bool]| block.iter().filter(|kept| **kept).count() as u32;
    let mask = keep.chunks(n).flat_map(|row| row.chunks(32).map(word)).collect();
    (mask, keep.chunks(n).flat_map(|row| row.chunks(BLOCK).map(kept)).collect())
}

impl Case for SelectCase {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> String {
        let Self { spec, scores, keep, .. } = self;
        let SelectPairs { layers, heads, n, segments, cut, sink, recent, .. } = spec;
        let mut name = format!("{layers}x{heads}x{n} {scores:?} {keep:?} {segments:?} {cut:?}");
        if sink + recent > 0 {
            name += &format!(" always {sink} and {recent}");
        }
        if spec.piece_layers < *layers || spec.stride > heads * n {
            name += &format!(" pieces of {} by {}", spec.piece_layers, spec.stride);
        }
        if let Some(span) = self.span {
            name += &format!(" {span} blocks");
        }
        if self.squeeze != Squeeze::None {
            name += &format!(" {:?}", self.squeeze);
        }
        name
    }

    fn variants(&self, caps: &Caps) -> Vec<(&'static str, Knobs)> {
        let rows = self.span;
        let mut all = vec![("baseline", Knobs { rows, ..Knobs::baseline() })];
        let subgroup = Knobs { rows, reduce: Some(Reduce::Subgroup), ..Knobs::DEFAULT };
        if self.spec.launches(caps, &subgroup).is_ok() {
            all.push(("subgroup", subgroup));
        }
        all
    }

    fn build(&self, caps: &Caps, knobs: &Knobs) -> Result<Proof> {
        let spec = &self.spec;
        let scores = self.scores.draw(spec.pairs(), spec.n, &self.name());
        let budgets = self.budgets();
        let Selected { keep, report } = reference(spec, &scores, &budgets)?;
        let (mask, blocks) = masked(&keep, spec.n);
        let layer = spec.heads * spec.n;
        // Between and behind layers is NaN, which would be counted.
        let nan = f32::from_bits(u32::from_ne_bytes([POISON; 4]));
        let piece = |layers: std::ops::Range<usize>| {
            let mut piece = vec![nan; spec.piece_len(layers.len()) + 64];
            for (at, own) in layers.enumerate() {
                piece[at * spec.stride..][..layer].copy_from_slice(&scores[own * layer..][..layer]);
            }
            bytemuck::cast_slice(&piece).to_vec()
        };
        let outputs = [(MASK, mask), (BLOCKS, blocks), (REPORT, report.words())];
        let mut tensors = vec![
            Tensor { binding: SCORES, pieces: spec.pieces().map(piece).collect() },
            Tensor::input(BUDGETS, bytemuck::cast_slice(&budgets).to_vec()),
        ];
        tensors.extend(
            outputs.iter().map(|(binding, words)| Tensor::output(*binding, 4 * words.len())),
        );
        let outputs = outputs.into_iter().map(|(binding, words)| Output {
            binding,
            expected: Expected::Bytes(bytemuck::cast_slice(&words).to_vec()),
        });
        let launches = spec.launches(&self.squeeze.apply(caps), knobs)?;
        Ok(Proof { launches, tensors, outputs: outputs.collect() })
    }
}
