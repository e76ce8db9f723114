//! A layer, group by group and block by block.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::problem::Problem;
use super::report::{Lnq, LnqReport, LnqStep, Phase};
use super::state::{Block, ROWS};
use super::{LabelStep, LnqOptions, Precision};
use crate::linear::parallel::each;
use crate::linear::quantize::{Report, idle_codes};
use crate::linear::tables::BEYOND_F16;
use crate::linear::tiled_matrix::Real;
use crate::linear::{Hessian, Quantized, TableElement, Weights};
use crate::{Error, Result};

/// Rise of an objective that rounding explains, relative.
pub(super) const SLACK: f64 = 1e-6;

/// Rows `first ..` of a layer, all of one group.
struct Part<'a> {
    first: usize,
    weights: &'a [f32],
    labels: &'a [u8],
    tables: &'a [f32],
}

impl Part<'_> {
    fn block<'p, T: Real>(&self, problem: &'p Problem, levels: usize) -> Block<'p, T> {
        Block::new(problem, self.weights, self.labels, self.tables, levels)
    }
}

/// One group's rows in parts of a bounded number of rows.
fn parts<'a>(
    group: usize,
    hessian: &Hessian,
    weights: &'a Weights<'_>,
    start: &'a Quantized,
) -> Vec<Part<'a>> {
    let (cols, levels) = (weights.cols(), 1 << start.parent_bits);
    let share = weights.rows() / hessian.groups();
    let table = start.table(start.parent_bits).unwrap_or_default();
    let (from, to) = (group * share, (group + 1) * share);
    (from..to)
        .step_by(ROWS)
        .map(|first| {
            let end = to.min(first + ROWS);
            Part {
                first,
                weights: &weights.values()[first * cols..end * cols],
                labels: &start.codes[first * cols..end * cols],
                tables: &table[first * levels..end * levels],
            }
        })
        .collect()
}

/// What becomes of a part.
struct Done {
    labels: Vec<u8>,
    tables: Vec<f32>,
    steps: Vec<LnqStep>,
    unsolved: usize,
    /// The rows of the part that it happened to, each once.
    unsolved_rows: BTreeSet<usize>,
}

pub(super) fn layer(
    weights: &Weights<'_>,
    hessian: &Hessian,
    start: &Quantized,
    options: &LnqOptions,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Lnq> {
    let counter = AtomicUsize::new(0);
    let tell = |rows| progress(counter.fetch_add(rows, Ordering::Relaxed) + rows);
    every_part(weights, hessian, start, options, &|problem, part| match options.precision {
        Precision::F32 => improve::<f32>(problem, part, options, &tell),
        Precision::F64 => improve::<f64>(problem, part, options, &tell),
    })
}

/// What is left to do once `found` has gone through all half steps.
pub(super) fn conclude(
    weights: &Weights<'_>,
    hessian: &Hessian,
    found: &Quantized,
    options: &LnqOptions,
    exact: bool,
) -> Result<Lnq> {
    every_part(weights, hessian, found, options, &|problem, part| {
        let block: Block<'_, f32> = part.block(problem, 1 << options.bits);
        finish(block, part, options, Vec::new(), exact)
    })
}

/// Does `work` on all parts and joins what becomes of them.
fn every_part(
    weights: &Weights<'_>,
    hessian: &Hessian,
    start: &Quantized,
    options: &LnqOptions,
    work: &(impl Fn(&Problem, &Part<'_>) -> Result<Done> + Sync),
) -> Result<Lnq> {
    let (rows, cols) = (weights.rows(), weights.cols());
    let mut codes = Vec::with_capacity(rows * cols);
    let mut table = Vec::with_capacity(rows << options.bits);
    let mut report = LnqReport {
        steps: Vec::new(),
        unsolved: 0,
        unsolved_rows: Vec::new(),
        inactive_inputs: 0,
        zero_groups: 0,
        groups_without_factor: 0,
        damping: 0.0,
    };
    for group in 0..hessian.groups() {
        let problem = Problem::new(hessian, group, options);
        let without_factor = options.labels == LabelStep::Feedback && problem.feedback.is_none();
        report.inactive_inputs += problem.inactive;
        report.zero_groups += usize::from(problem.inactive == cols);
        report.groups_without_factor += usize::from(without_factor);
        report.damping = report.damping.max(problem.damping);
        let all = parts(group, hessian, weights, start);
        let firsts: Vec<usize> = all.iter().map(|part| part.first).collect();
        let done = each(all, |part| work(&problem, &part));
        for (first, done) in firsts.into_iter().zip(done) {
            // In order of rows: of several errors the first row's is told.
            let done = done?;
            codes.extend(done.labels);
            table.extend(done.tables);
            report.unsolved += done.unsolved;
            report.unsolved_rows.extend(done.unsolved_rows.iter().map(|row| first + row));
            if report.steps.is_empty() {
                report.steps = done.steps;
            } else {
                for (all, step) in report.steps.iter_mut().zip(done.steps) {
                    all.rows.extend(step.rows);
                    all.restored += step.restored;
                }
            }
        }
    }
    let idle_codes = idle_codes(&codes, cols, options.bits);
    let unweighted_rows = start.report.unweighted_rows;
    let quantized = Quantized {
        rows,
        cols,
        seed_bits: options.bits,
        parent_bits: options.bits,
        table: options.table,
        codes,
        tables: vec![(options.bits, table)],
        report: Report { unweighted_rows, idle_codes },
    };
    Ok(Lnq { quantized, report })
}

/// The whole schedule for one part.
fn improve<T: Real>(
    problem: &Problem,
    part: &Part<'_>,
    options: &LnqOptions,
    tell: &(impl Fn(usize) + Sync),
) -> Result<Done> {
    let mut block: Block<'_, T> = part.block(problem, 1 << options.bits);
    block.refresh();
    let slack = slack(options);
    let mut objectives = block.exact_objectives();
    let mut steps = Vec::with_capacity(options.half_steps().min(64) + 3);
    steps.push(LnqStep { phase: Phase::Start, rows: objectives.clone(), restored: 0 });
    let (mut unsolved, mut unsolved_rows) = (0, BTreeSet::new());
    // Rows without a table in the latest tables step, and everything as it was before it.
    let (mut latest, mut before_round) = (0, None);
    let mut settled = false;
    for half in 0..options.half_steps() {
        if settled {
            // What would be done has been done, with the same outcome: two half steps ago.
            let step = steps[steps.len() - 2].clone();
            unsolved += if step.phase == Phase::Tables { latest } else { 0 };
            steps.push(step);
            tell(block.rows);
            continue;
        }
        let phase = if half % 2 == 0 { Phase::Tables } else { Phase::Labels };
        let restored = kept(&mut block, &mut objectives, slack, |block| match phase {
            Phase::Tables => {
                before_round = Some(block.state.clone());
                let rows = block.solve_tables();
                latest = rows.len();
                unsolved += latest;
                unsolved_rows.extend(rows);
            }
            _ => match options.labels {
                LabelStep::Descent => {
                    let mut cycles = 0..options.cycles;
                    while cycles.next().is_some() && block.descend() {}
                }
                LabelStep::Feedback => block.round_in_order(),
            },
        });
        steps.push(LnqStep { phase, rows: objectives.clone(), restored });
        settled = phase == Phase::Labels && before_round.as_ref() == Some(&block.state);
        tell(block.rows);
    }
    Ok(Done { unsolved, unsolved_rows, ..finish(block, part, options, steps, true)? })
}

fn slack(options: &LnqOptions) -> f64 {
    if options.precision == Precision::F64 { 0.0 } else { SLACK }
}

/// Inactive inputs, rounded tables, the final cycle; with the objectives of rounded tables if
/// `exact`.
fn finish<T: Real>(
    mut block: Block<'_, T>,
    part: &Part<'_>,
    options: &LnqOptions,
    mut steps: Vec<LnqStep>,
    exact: bool,
) -> Result<Done> {
    block.place_inactive();
    let tables = rounded(&block, part.first, options)?;
    block.state.tables = tables.iter().map(|&v| T::of(v)).collect();
    if exact || options.final_cycle {
        let rows = block.exact_objectives();
        steps.push(LnqStep { phase: Phase::Rounded, rows, restored: 0 });
    }
    if options.final_cycle {
        block.refresh();
        let mut objectives = block.exact_objectives();
        let restored = kept(&mut block, &mut objectives, slack(options), |block| {
            block.descend();
        });
        let rows = block.exact_objectives();
        steps.push(LnqStep { phase: Phase::Final, rows, restored });
    }
    let mut labels = vec![0; part.labels.len()];
    block.write_labels(&mut labels);
    Ok(Done { labels, tables, steps, unsolved: 0, unsolved_rows: BTreeSet::new() })
}

/// Takes a half step, and takes it back for the rows that it makes worse; gives their number. Judged
/// in f64 from labels and tables: products that were kept up to date in f32 may be off by more than
/// the objective where inputs have a large mean.
fn kept<T: Real>(
    block: &mut Block<'_, T>,
    objectives: &mut [f64],
    slack: f64,
    step: impl FnOnce(&mut Block<'_, T>),
) -> usize {
    let before = block.state.clone();
    step(block);
    let mut restored = 0;
    for (row, after) in block.exact_objectives().into_iter().enumerate() {
        let objective = &mut objectives[row];
        if after <= *objective + slack * objective.abs() {
            *objective = after;
        } else {
            block.restore(row, &before);
            restored += 1;
        }
    }
    restored
}

/// The tables in the element type that is stored.
fn rounded<T: Real>(block: &Block<'_, T>, first: usize, options: &LnqOptions) -> Result<Vec<f32>> {
    let round = |(at, value): (usize, &T)| {
        let value = value.wide();
        let rounded = options.table.round(value);
        if rounded.is_finite() {
            return Ok(rounded);
        }
        Err(Error::Value {
            what: format!("entry of the {}-bit table", options.bits),
            row: first + at / block.levels,
            col: at % block.levels,
            value,
            rule: match options.table {
                TableElement::F16 => BEYOND_F16,
                TableElement::F32 => "must be within f32",
            },
        })
    };
    block.state.tables.iter().enumerate().map(round).collect()
}

pub(super) fn round(
    weights: &Weights<'_>,
    hessian: &Hessian,
    start: &Quantized,
) -> Result<Quantized> {
    let bits = start.parent_bits;
    let options = LnqOptions { bits, labels: LabelStep::Feedback, ..LnqOptions::default() };
    let mut codes = Vec::with_capacity(start.codes.len());
    let mut table = Vec::with_capacity(weights.rows() << bits);
    for group in 0..hessian.groups() {
        let problem = Problem::new(hessian, group, &options);
        if problem.feedback.is_none() && problem.inactive < weights.cols() {
            return Err(Error::unsupported(
                format!("rounding with feedback in group {group}"),
                "the Hessian is not positive definite, whatever is added to its diagonal",
            ));
        }
        let done = each(parts(group, hessian, weights, start), |part| {
            let mut block: Block<'_, f32> = part.block(&problem, 1 << bits);
            block.round_in_order();
            block.place_inactive();
            let mut labels = vec![0; part.labels.len()];
            block.write_labels(&mut labels);
            (labels, block.state.tables)
        });
        for (labels, tables) in done {
            codes.extend(labels);
            table.extend(tables);
        }
    }
    let idle_codes = idle_codes(&codes, start.cols, bits);
    Ok(Quantized {
        seed_bits: bits,
        codes,
        tables: vec![(bits, table)],
        report: Report { idle_codes, ..start.report },
        ..*start
    })
}

pub(super) fn objectives(
    weights: &Weights<'_>,
    hessian: &Hessian,
    quantized: &Quantized,
) -> Result<Vec<f64>> {
    let mut rows = Vec::with_capacity(weights.rows());
    for group in 0..hessian.groups() {
        let problem = Problem::new(hessian, group, &LnqOptions::default());
        rows.extend(each(parts(group, hessian, weights, quantized), |part| {
            let block: Block<'_, f32> = part.block(&problem, 1 << quantized.parent_bits);
            block.exact_objectives()
        }));
    }
    Ok(rows.concat())
}
