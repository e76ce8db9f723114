//! For solvers that do the half steps elsewhere, on a GPU say: what they begin with, when a row is
//! to be taken back, and how a layer is finished.

use super::problem::{inverse_diagonal, with_ridge};
use super::report::{Lnq, LnqStep};
use super::{LabelStep, LnqOptions, Precision};
use super::{check_layer, check_start, clusters, run};
use crate::linear::parallel::each;
use crate::linear::{Hessian, LnqLayout, Quantized, Weights};
use crate::{Error, Result};
use std::ops::Range;

/// Rows of a matrix that are filled together.
const SLAB: usize = 64;

/// A layer to be solved elsewhere: checked, with its clusters.
///
/// In turn with [`lnq`](super::lnq) on the same arguments: the start, [`LnqOptions::half_steps`] half
/// steps, after each of which rows that [`LnqJob::accepts`] refuses get back what they had, and
/// [`LnqJob::finish`].
#[derive(Debug, Clone)]
pub struct LnqJob<'a> {
    weights: &'a Weights<'a>,
    hessian: &'a Hessian,
    options: LnqOptions,
    start: Quantized,
}

impl<'a> LnqJob<'a> {
    /// Checks the arguments and makes clusters.
    ///
    /// # Errors
    /// As [`lnq`](super::lnq); also [`Error::Layer`] around [`Error::Unsupported`] for what only
    /// [`lnq`](super::lnq) does: more than [`LnqLayout::MAX_BITS`] bits, [`LabelStep::Feedback`],
    /// [`Precision::F64`].
    pub fn new(
        weights: &'a Weights<'a>,
        hessian: &'a Hessian,
        options: &LnqOptions,
    ) -> Result<Self> {
        let made = || {
            check(weights, hessian, options)?;
            let start = clusters(weights, hessian, options)?;
            Ok(Self { weights, hessian, options: *options, start })
        };
        made().map_err(|e: Error| e.in_layer(weights.name()))
    }

    /// That settings are in range, and none of those that only [`lnq`](super::lnq) takes: to be seen
    /// before there are weights.
    ///
    /// # Errors
    /// [`Error::Range`] for a setting out of its range, and [`Error::Unsupported`] for more than
    /// [`LnqLayout::MAX_BITS`] bits, [`LabelStep::Feedback`] and [`Precision::F64`].
    pub fn supports(options: &LnqOptions) -> Result<()> {
        options.check()?;
        let bits = options.bits;
        let only_here = "lnq on the CPU does it";
        if bits > LnqLayout::MAX_BITS {
            return Err(Error::unsupported(format!("LNQ kernels of {bits} bits"), only_here));
        }
        if options.labels != LabelStep::Descent {
            return Err(Error::unsupported("LNQ kernels with labels by feedback", only_here));
        }
        if options.precision != Precision::F32 {
            return Err(Error::unsupported("LNQ kernels in f64", only_here));
        }
        Ok(())
    }

    /// Begins from given labels and tables instead of clusters.
    ///
    /// # Errors
    /// As [`LnqJob::new`] and as [`lnq_from`](super::lnq_from).
    pub fn from_start(
        weights: &'a Weights<'a>,
        hessian: &'a Hessian,
        start: &Quantized,
        options: &LnqOptions,
    ) -> Result<Self> {
        let made = || {
            check(weights, hessian, options)?;
            check_start(weights, start, options.bits)?;
            let mut start = start.clone();
            sort(&mut start);
            Ok(Self { weights, hessian, options: *options, start })
        };
        made().map_err(|e: Error| e.in_layer(weights.name()))
    }

    /// The layer.
    pub fn weights(&self) -> &'a Weights<'a> {
        self.weights
    }

    /// The settings.
    pub fn options(&self) -> &LnqOptions {
        &self.options
    }

    /// Where to begin: `codes` and the table of `options.bits`, ascending in every row.
    pub fn start(&self) -> &Quantized {
        &self.start
    }

    /// Matrices of the Hessian.
    pub fn groups(&self) -> usize {
        self.hessian.groups()
    }

    /// The rows that a group's matrix is for.
    pub fn rows(&self, group: usize) -> Range<usize> {
        let share = self.weights.rows() / self.hessian.groups();
        group * share..(group + 1) * share
    }

    /// How kernels hold some of the rows.
    pub fn layout(&self, rows: usize) -> LnqLayout {
        LnqLayout { rows, cols: self.weights.cols(), bits: self.options.bits }
    }

    /// `1 / H[i, i]` of the matrix of [`LnqJob::hessian_rows`], 0 for inactive inputs and for padding, [`LnqLayout::stride`] numbers.
    pub fn inverse(&self, group: usize) -> Vec<f32> {
        let mut inverse: Vec<f32> = inverse_diagonal(&self.hessian.diagonal(group)).collect();
        inverse.resize(self.layout(1).stride(), 0.0);
        inverse
    }

    /// Rows of the full matrix that a group is solved with: the Hessian with 2^-23 of its trace added
    /// to the diagonal of active inputs, and 0 throughout for inactive ones. Padded to [`LnqLayout::stride`] columns; rows past the last
    /// input are 0.
    pub fn hessian_rows(&self, group: usize, rows: Range<usize>) -> Vec<f32> {
        let (n, stride) = (self.weights.cols(), self.layout(1).stride());
        let packed = self.hessian.group(group);
        let diagonal = with_ridge(&self.hessian.diagonal(group));
        let inactive: Vec<usize> = (0..n).filter(|&i| diagonal[i] == 0.0).collect();
        let mut all = vec![0.0; rows.len() * stride];
        // Few rows at a time, so that columns are written to lines that are in the cache.
        let slabs = all.chunks_mut(SLAB * stride).zip(rows.step_by(SLAB)).collect();
        each(slabs, |(slab, first): (&mut [f32], usize)| {
            let end = n.min(first + slab.len() / stride);
            for j in 0..end {
                // Row j of the triangle begins with the diagonal.
                let start = j * n - j * j.saturating_sub(1) / 2;
                let triangle = &packed[start..start + n - j];
                let from = first.max(j);
                for (i, &h) in (from..end).zip(&triangle[from - j..]) {
                    slab[(i - first) * stride + j] = h;
                }
                if j >= first {
                    let at = (j - first) * stride;
                    slab[at + j..at + n].copy_from_slice(triangle);
                }
            }
            for (i, row) in (first..n).zip(slab.chunks_exact_mut(stride)) {
                if diagonal[i] == 0.0 {
                    row.fill(0.0);
                }
                inactive.iter().for_each(|&j| row[j] = 0.0);
                row[i] = diagonal[i];
            }
        });
        all
    }

    /// Whether a row keeps what a half step made of it: its objective did not rise by more than
    /// rounding explains.
    pub fn accepts(before: f64, after: f64) -> bool {
        after <= before + run::SLACK * before.abs()
    }

    /// Places inactive inputs, rounds tables, takes the final cycle where that is asked for, and
    /// recomputes every objective in f64 where `exact` says so.
    ///
    /// `labels` are `[rows, cols]`, `tables` `[rows, 2^bits]`, `steps` the start and every half step,
    /// `unsolved` the times that a row kept its table because nothing solved its system. Recomputing
    /// takes `rows * cols^2` operations of the CPU, which can be more time than a GPU needs for all
    /// the rest; without it and without a final cycle the account ends with the last half step.
    ///
    /// # Errors
    /// As [`lnq_from`](super::lnq_from) for its start, and [`Error::Layer`] around [`Error::Value`] at
    /// the first entry that would be infinite as `f16`.
    pub fn finish(
        &self,
        labels: Vec<u8>,
        tables: Vec<f32>,
        steps: Vec<LnqStep>,
        unsolved: usize,
        exact: bool,
    ) -> Result<Lnq> {
        let done = || {
            let found = Quantized {
                codes: labels,
                tables: vec![(self.options.bits, tables)],
                ..self.start.clone()
            };
            check_start(self.weights, &found, self.options.bits)?;
            let mut done = run::conclude(self.weights, self.hessian, &found, &self.options, exact)?;
            let rounded = std::mem::replace(&mut done.report.steps, steps);
            done.report.steps.extend(rounded);
            done.report.unsolved += unsolved;
            Ok(done)
        };
        done().map_err(|e: Error| e.in_layer(self.weights.name()))
    }
}

fn check(weights: &Weights<'_>, hessian: &Hessian, options: &LnqOptions) -> Result<()> {
    options.check()?;
    check_layer(weights, hessian)?;
    LnqJob::supports(options)
}

/// Makes tables ascend, codes with them.
fn sort(start: &mut Quantized) {
    let (bits, cols) = (start.parent_bits, start.cols);
    for (_, tables) in start.tables.iter_mut().filter(|(width, _)| *width == bits) {
        for (table, codes) in tables.chunks_exact_mut(1 << bits).zip(start.codes.chunks_mut(cols)) {
            let before = table.to_vec();
            let mut order: Vec<usize> = (0..table.len()).collect();
            order.sort_by(|&a, &b| before[a].total_cmp(&before[b]));
            let mut place = vec![0u8; table.len()];
            for (to, &from) in order.iter().enumerate() {
                table[to] = before[from];
                place[from] = to as u8;
            }
            codes.iter_mut().for_each(|code| *code = place[usize::from(*code)]);
        }
    }
}
