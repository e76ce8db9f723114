//! From what a base layer lost to its residual.

use super::layer::{padded, place};
use super::scale::{code, search};
use super::{ResidualElement, ResidualLayer, ResidualLayout};
use crate::linear::parallel::each;
use crate::linear::{WeightError, Weights};
use crate::{Error, Result};
use half::f16;

const BEYOND_F16: &str = "an f16 residual holds magnitudes below 65520";
const SCALE_BEYOND_F16: &str =
    "an f16 scale is below 65520, and a residual below that times the largest code";
/// Channels that are put in their places at a time: a line of memory of each is at hand then.
const BLOCK: usize = 16;

/// What a residual gives back.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ResidualReport {
    /// Error of the base weights alone, every weight counting alike.
    pub before: WeightError,
    /// Error of base weights and residual together.
    pub after: WeightError,
    /// Share of residuals whose code was clamped: `R / scale` rounds to something beyond the largest
    /// code. 0 for [`ResidualElement::F16`].
    pub clipped: f64,
    /// Outputs that lost something and still have a residual of 0: all they lost is too little for a
    /// scale in f16 (or for an f16).
    pub underflown_rows: usize,
}

/// Quantizes `W - Wq`: `weights` are those of the original layer, `base`, row-major `[rows, cols]`,
/// what the base kernel's codes and tables decode to
/// ([`BitplaneLayer::dequantize`](crate::linear::BitplaneLayer::dequantize)). Sensitivities are not
/// used.
///
/// Of every output, with `P` the largest code and `a` the largest `|R|`, scales `a / P t / 32` for
/// `t = 1..=32` are tried, rounded to f16 before codes `clamp(round(R / s), -P, P)`, ties to even, are
/// made with them, and the first with the least `sum (R - s q)^2` is kept (arXiv 2412.20185, section
/// 4). An output whose scale would be 0 in f16 has codes of 0. For [`ResidualElement::F16`] the
/// residuals are rounded themselves. An activation-aware quantizer's `W` is the scaled one.
///
/// The result depends on the arguments alone, not on the number of threads. Takes twice the bytes of
/// the residual while it works.
///
/// # Errors
/// [`Error::Layer`], naming the layer, around [`Error::Shape`] when `base` has another length,
/// [`Error::Range`] for more words than u32 counts, and [`Error::Value`] for a base weight that is not
/// finite, an f16 residual from 65520, or a residual too large for any scale in f16.
pub fn quantize_residual(
    weights: &Weights<'_>,
    base: &[f32],
    element: ResidualElement,
) -> Result<(ResidualLayer, ResidualReport)> {
    layer(weights, base, element).map_err(|e| e.in_layer(weights.name()))
}

fn layer(
    weights: &Weights<'_>,
    base: &[f32],
    element: ResidualElement,
) -> Result<(ResidualLayer, ResidualReport)> {
    let (rows, cols) = (weights.rows(), weights.cols());
    let layout = ResidualLayout::new(rows, cols, element)?;
    if base.len() != weights.values().len() {
        return Err(Error::shape("base weights", format!("{rows} x {cols}"), base.len()));
    }
    // Outputs of one word together.
    let span = element.per_word() * cols;
    let groups = weights.values().chunks(span).zip(base.chunks(span)).enumerate().collect();
    let groups: Vec<Result<Group>> = each(groups, |(at, (weights, base))| {
        group(element, at * element.per_word(), cols, weights, base)
    });
    let mut sums = Sums::default();
    let (mut scales, mut words) = (Vec::new(), Vec::new());
    // Row by row: sums depend neither on the number of threads nor on the rows of a word, and of several
    // errors the first row's is told.
    for group in groups {
        let group = group?;
        group.sums.iter().for_each(|row| sums.add(row));
        scales.extend(group.scales);
        words.push(group.words);
    }
    let words = channel_major(&layout, &words);
    let layer = ResidualLayer::from_parts(layout, words, padded(&layout, &scales))?;
    Ok((layer, sums.report(rows * cols)))
}

/// The outputs of one word.
struct Group {
    /// One for each channel.
    words: Vec<u32>,
    /// One for each output.
    scales: Vec<f16>,
    /// One for each output.
    sums: Vec<Sums>,
}

#[derive(Default)]
struct Sums {
    norm: f64,
    before: f64,
    after: f64,
    clipped: usize,
    underflown_rows: usize,
}

impl Sums {
    fn add(&mut self, other: &Self) {
        self.norm += other.norm;
        self.before += other.before;
        self.after += other.after;
        self.clipped += other.clipped;
        self.underflown_rows += other.underflown_rows;
    }

    fn report(&self, count: usize) -> ResidualReport {
        let error = |squared: f64| {
            let relative = if squared == 0.0 { 0.0 } else { (squared / self.norm).sqrt() };
            WeightError { squared, relative }
        };
        ResidualReport {
            before: error(self.before),
            after: error(self.after),
            clipped: self.clipped as f64 / count as f64,
            underflown_rows: self.underflown_rows,
        }
    }
}

fn group(
    element: ResidualElement,
    first: usize,
    cols: usize,
    weights: &[f32],
    base: &[f32],
) -> Result<Group> {
    let mut group = Group { words: vec![0; cols], scales: Vec::new(), sums: Vec::new() };
    let mut residuals = Vec::with_capacity(cols);
    let pairs = weights.chunks_exact(cols).zip(base.chunks_exact(cols));
    for (row, (weights, base)) in (first..).zip(pairs) {
        if let Some(col) = base.iter().position(|v| !v.is_finite()) {
            let (what, value) = ("base weight".to_owned(), f64::from(base[col]));
            return Err(Error::Value { what, row, col, value, rule: "must be finite" });
        }
        residuals.clear();
        residuals.extend(weights.iter().zip(base).map(|(w, base)| w - base));
        let mut sums =
            Sums { norm: squares(weights), before: squares(&residuals), ..Sums::default() };
        let out = (group.words.as_mut_slice(), place(element, row).1);
        if element.scaled() {
            group.scales.push(codes(element, row, &residuals, out, &mut sums)?);
        } else {
            halves(row, &residuals, out, &mut sums)?;
        }
        group.sums.push(sums);
    }
    Ok(group)
}

/// One output in f16, to these bits of every word.
fn halves(
    row: usize,
    residuals: &[f32],
    (words, shift): (&mut [u32], u32),
    sums: &mut Sums,
) -> Result<()> {
    let (mut lost, mut kept) = (false, false);
    for (col, (word, &residual)) in words.iter_mut().zip(residuals).enumerate() {
        let half = f16::from_f32(residual);
        if !half.is_finite() {
            let (what, value) = ("residual".to_owned(), f64::from(residual));
            return Err(Error::Value { what, row, col, value, rule: BEYOND_F16 });
        }
        *word |= u32::from(half.to_bits()) << shift;
        sums.after += f64::from(residual - half.to_f32()).powi(2);
        lost |= residual != 0.0;
        kept |= half != f16::ZERO;
    }
    sums.underflown_rows += usize::from(lost && !kept);
    Ok(())
}

/// One output in codes, to these bits of every word; its scale.
fn codes(
    element: ResidualElement,
    row: usize,
    residuals: &[f32],
    (words, shift): (&mut [u32], u32),
    sums: &mut Sums,
) -> Result<f16> {
    let (col, largest) = largest(residuals);
    let p = element.largest() as f32;
    let stored = search(residuals, largest, p);
    if !stored.is_finite() {
        let (what, value) = ("residual".to_owned(), f64::from(residuals[col]));
        return Err(Error::Value { what, row, col, value, rule: SCALE_BEYOND_F16 });
    }
    sums.underflown_rows += usize::from(stored == f16::ZERO && largest > 0.0);
    let scale = stored.to_f32();
    for (word, &residual) in words.iter_mut().zip(residuals) {
        let q = if scale == 0.0 { 0.0 } else { code(residual, scale, p) };
        // From 1 to 2 P + 1.
        *word |= ((q + p + 1.0) as u32) << shift;
        sums.after += f64::from(residual - scale * q).powi(2);
        let clipped = scale != 0.0 && (residual / scale).round_ties_even().abs() > p;
        sums.clipped += usize::from(clipped);
    }
    Ok(stored)
}

fn squares(values: &[f32]) -> f64 {
    values.iter().map(|&v| f64::from(v) * f64::from(v)).sum()
}

/// Place and magnitude of the largest residual.
fn largest(residuals: &[f32]) -> (usize, f32) {
    let mut largest = (0, 0.0);
    for (col, residual) in residuals.iter().enumerate() {
        if residual.abs() > largest.1 {
            largest = (col, residual.abs());
        }
    }
    largest
}

/// Words `[ceil(rows / n)][cols]` as words `[cols, stride]`.
fn channel_major(layout: &ResidualLayout, groups: &[Vec<u32>]) -> Vec<u32> {
    let stride = layout.stride();
    let mut words = vec![0; layout.words()];
    let blocks = words.chunks_mut(BLOCK * stride).enumerate().collect();
    each(blocks, |(block, words): (usize, &mut [u32])| {
        for (at, group) in groups.iter().enumerate() {
            let channels = words.chunks_exact_mut(stride);
            for (channel, word) in channels.zip(&group[block * BLOCK..]) {
                channel[at] = *word;
            }
        }
    });
    words
}
