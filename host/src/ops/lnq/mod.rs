//! LNQ on the device: table quantization steered by a Hessian, as [`fewbytes::linear::lnq`] does it.
//!
//! The schedule is the same: clusters on the CPU, then tables and labels in turn, every row taken
//! back to where it was where a half step made it worse. Tables come from `lnq_gram` and
//! `lnq_table`; a cycle of descent is `lnq_descent` for one panel of inputs after the other, each time
//! with `lnq_product` to keep all products up to date; `lnq_objective` judges. Products are made anew
//! after each change of tables. Sums are f32 in other orders than on the CPU,
//! so near ties may fall otherwise. Rounding, and the objectives with rounded tables in f64, are the
//! CPU's again.
//!
//! Work goes to the queue in pieces of bounded size, so that no driver takes the device for hung,
//! and rows are worked on in blocks of bounded memory. Between them the caller's executor is given
//! the word: at every half step objectives are read back.

mod block;
mod queue;

use self::block::{Block, Group};
use super::SUBMISSION_FLOPS;
use crate::Context;
use fewbytes::linear::{Hessian, Lnq, LnqJob, LnqOptions, LnqStep, Phase, Quantized, Weights};
use fewbytes::{Knobs, Result};

/// How the work is cut up: changes speed and memory, and results not beyond rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of device memory for the rows that are worked on together, besides one group's Hessian,
    /// `4 * inputs^2` bytes: 2 GiB by default. At least 64 rows are, whatever they take: some 22
    /// bytes for every weight.
    pub memory_bytes: u64,
    /// Inputs of a panel: 512 by default. Products are read and written once for each panel, so
    /// wide ones suit memory, and narrow ones the visits of inputs, a lane a row.
    pub panel: usize,
    /// Floating-point operations that are submitted at a time: 4e10 by default, some tens of
    /// milliseconds on an integrated GPU.
    pub submission: u64,
    /// Whether the CPU recomputes every row's objective with rounded tables in f64, so that what is
    /// reported is exact: yes by default. It takes `rows * inputs^2` operations, more time than a fast
    /// GPU needs for all half steps; without it the account ends with the last of them.
    pub exact: bool,
    /// Knobs of `lnq_product`, which most of the time goes to.
    pub product: Knobs,
    /// Knobs of `lnq_gram`.
    pub gram: Knobs,
    /// Knobs of `lnq_descent`.
    pub descent: Knobs,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            memory_bytes: 2 << 30,
            panel: 512,
            submission: SUBMISSION_FLOPS,
            exact: true,
            product: Knobs::DEFAULT,
            gram: Knobs::DEFAULT,
            descent: Knobs::DEFAULT,
        }
    }
}

/// Quantizes a layer to one width so that the error which `hessian` measures is small.
///
/// `progress` is called with the rows that have gone through a half step so far; the last number is
/// `rows * options.half_steps()`.
///
/// # Errors
/// As [`fewbytes::linear::lnq`]; also [`fewbytes::Error::Layer`] around
/// [`fewbytes::Error::Unsupported`] for what only the CPU does (more than 4 bits,
/// `LabelStep::Feedback`, `Precision::F64`), around [`fewbytes::Error::BindingTooLarge`] where not even 64 rows of the Hessian can be bound, around
/// [`fewbytes::Error::OutOfMemory`] and around [`fewbytes::Error::DeviceLost`].
pub async fn lnq(
    ctx: &Context,
    weights: &Weights<'_>,
    hessian: &Hessian,
    options: &LnqOptions,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Lnq> {
    let job = LnqJob::new(weights, hessian, options)?;
    run(ctx, &job, &Settings::default(), progress).await
}

/// [`lnq`] from given labels and tables instead of clusters, see [`fewbytes::linear::lnq_from`].
///
/// # Errors
/// As [`lnq`] and [`fewbytes::linear::lnq_from`].
pub async fn lnq_from(
    ctx: &Context,
    weights: &Weights<'_>,
    hessian: &Hessian,
    start: &Quantized,
    options: &LnqOptions,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Lnq> {
    let job = LnqJob::from_start(weights, hessian, start, options)?;
    run(ctx, &job, &Settings::default(), progress).await
}

/// Does a job with some settings, see [`lnq`].
///
/// # Errors
/// As [`lnq`].
pub async fn run(
    ctx: &Context,
    job: &LnqJob<'_>,
    settings: &Settings,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Lnq> {
    half_steps(ctx, job, settings, progress).await?.finish(job, settings.exact)
}

/// The device's part of [`run`]: all half steps, without rounding and what comes after.
///
/// # Errors
/// As [`lnq`].
pub async fn half_steps(
    ctx: &Context,
    job: &LnqJob<'_>,
    settings: &Settings,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<HalfSteps> {
    let done = improve(ctx, job, settings, progress).await;
    done.map_err(|error| error.in_layer(job.weights().name()))
}

/// What has come of the rows so far: labels, tables that ascend and are not rounded yet.
#[derive(Debug, Clone, Default)]
pub struct HalfSteps {
    labels: Vec<u8>,
    tables: Vec<f32>,
    steps: Vec<LnqStep>,
    unsolved: usize,
}

impl HalfSteps {
    /// The start and every half step.
    pub fn steps(&self) -> &[LnqStep] {
        &self.steps
    }

    /// The CPU's part: inactive inputs, rounded tables, the final cycle where that is asked for, and
    /// objectives in f64 where `exact` says so, see [`Settings::exact`].
    ///
    /// # Errors
    /// As [`LnqJob::finish`].
    pub fn finish(self, job: &LnqJob<'_>, exact: bool) -> Result<Lnq> {
        job.finish(self.labels, self.tables, self.steps, self.unsolved, exact)
    }

    fn add(&mut self, at: usize, phase: Phase, rows: &[f64], restored: usize) {
        match self.steps.get_mut(at) {
            Some(step) => {
                step.rows.extend(rows);
                step.restored += restored;
            }
            None => self.steps.push(LnqStep { phase, rows: rows.to_vec(), restored }),
        }
    }
}

async fn improve(
    ctx: &Context,
    job: &LnqJob<'_>,
    settings: &Settings,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<HalfSteps> {
    let mut done = HalfSteps::default();
    let mut told = 0;
    for number in 0..job.groups() {
        let group = Group::upload(ctx, job, number)?;
        let rows = job.rows(number);
        let each = rows_at_a_time(ctx, job, settings);
        for first in rows.clone().step_by(each) {
            let rows = first..rows.end.min(first.saturating_add(each));
            let count = rows.len();
            let block = Block::new(ctx, job, &group, rows, settings)?;
            block.refresh(ctx)?;
            let mut objectives = block.objectives(ctx).await?;
            done.add(0, Phase::Start, &objectives, 0);
            for half in 0..job.options().half_steps() {
                block.save(ctx)?;
                let phase = if half % 2 == 0 { Phase::Tables } else { Phase::Labels };
                if phase == Phase::Tables {
                    done.unsolved += block.solve_tables(ctx).await?;
                    block.refresh(ctx)?;
                } else {
                    for _ in 0..job.options().cycles {
                        block.descend(ctx)?;
                    }
                }
                let after = block.objectives(ctx).await?;
                let mut worse = Vec::new();
                for (row, (before, after)) in objectives.iter_mut().zip(after).enumerate() {
                    if LnqJob::accepts(*before, after) {
                        *before = after;
                    } else {
                        worse.push(row);
                    }
                }
                block.restore(ctx, &worse)?;
                done.add(half + 1, phase, &objectives, worse.len());
                told += count;
                progress(told);
            }
            let (labels, tables) = block.read(ctx).await?;
            done.labels.extend(labels);
            done.tables.extend(tables);
        }
    }
    Ok(done)
}

/// Rows whose tensors fit the memory and the bindings.
fn rows_at_a_time(ctx: &Context, job: &LnqJob<'_>, settings: &Settings) -> usize {
    let layout = job.layout(1);
    let (stride, levels) = (layout.stride() as u64, layout.levels() as u64);
    // Weights; offsets, products, labels and tables twice; changes; sums over pairs, marks,
    // objectives.
    let changes = 4 * stride.min(settings.panel as u64);
    let each = stride * (4 + 2 * (4 + 4 + 1)) + levels * (8 + 4 * levels) + changes + 8;
    let fitting = usize::try_from(settings.memory_bytes / each).unwrap_or(usize::MAX);
    fitting.max(64).min(layout.most_rows(ctx.caps())).max(1)
}
