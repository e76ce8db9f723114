//! A group's Hessian on the device, and the rows that are worked on together.

use super::Settings;
use super::queue::{Work, submit};
use crate::{Arg, Context, Scalar, View};
use fewbytes::linear::lnq_descent::{CHANGES, INVERSE};
use fewbytes::linear::lnq_gram::{GRAM, HESSIAN};
use fewbytes::linear::lnq_objective::OBJECTIVES;
use fewbytes::linear::lnq_table::{LABELS, OFF, PULL, TABLES, UNSOLVED, WEIGHTS};
use fewbytes::linear::{
    HessianPiece, LnqDescent, LnqGram, LnqJob, LnqLayout, LnqObjective, LnqProduct, LnqTable, Panel,
};
use fewbytes::{Knobs, Result, Spec};
use std::ops::Range;

/// Bytes that are written before they are sent on their way: they wait in memory of their own.
const WRITTEN: usize = 64 << 20;

/// One group's Hessian.
pub(super) struct Group {
    pieces: Vec<HessianPiece>,
    hessian: Vec<View>,
    inverse: View,
}

impl Group {
    pub(super) fn upload(ctx: &Context, job: &LnqJob<'_>, group: usize) -> Result<Self> {
        let layout = job.layout(1);
        let stride = layout.stride();
        let pieces = layout.pieces(ctx.caps())?;
        let mut hessian = Vec::with_capacity(pieces.len());
        for piece in &pieces {
            let view = ctx.alloc::<f32>(piece.len * stride)?;
            fill(ctx, &view, piece.len, stride, |rows| {
                job.hessian_rows(group, piece.first + rows.start..piece.first + rows.end)
            })?;
            hessian.push(view);
        }
        Ok(Self { pieces, hessian, inverse: ctx.upload(&job.inverse(group))? })
    }
}

/// Writes `[rows, stride]` elements, some rows at a time.
fn fill<T: Scalar>(
    ctx: &Context,
    view: &View,
    rows: usize,
    stride: usize,
    make: impl Fn(Range<usize>) -> Vec<T>,
) -> Result<()> {
    let each = (WRITTEN / (stride * size_of::<T>())).max(64);
    for first in (0..rows).step_by(each) {
        let end = rows.min(first + each);
        ctx.write(&view.slice(first * stride..end * stride)?, &make(first..end))?;
        ctx.submit(|_| Ok(()))?;
    }
    Ok(())
}

/// A tensor with a second one that keeps what it was.
struct Kept {
    now: View,
    saved: View,
}

impl Kept {
    fn new<T: Scalar>(ctx: &Context, len: usize) -> Result<Self> {
        Ok(Self { now: ctx.alloc::<T>(len)?, saved: ctx.alloc::<T>(len)? })
    }
}

/// Rows of one group with all their tensors, and every launch bound to them.
pub(super) struct Block {
    layout: LnqLayout,
    off: Kept,
    pull: Kept,
    labels: Kept,
    tables: Kept,
    unsolved: View,
    objectives: View,
    limit: u64,
    products: Vec<Work>,
    /// Of every panel in turn the visits, and what they do to all products.
    cycle: Vec<Work>,
    solve: Vec<Work>,
    judge: Work,
}

impl Block {
    pub(super) fn new(
        ctx: &Context,
        job: &LnqJob<'_>,
        group: &Group,
        rows: Range<usize>,
        settings: &Settings,
    ) -> Result<Self> {
        let layout = job.layout(rows.len());
        let (stride, levels, count) = (layout.stride(), layout.levels(), layout.rows);
        let (inputs, words) = (count * stride, count * stride / 4);
        let off = Kept::new::<f32>(ctx, inputs)?;
        let pull = Kept::new::<f32>(ctx, inputs)?;
        let labels = Kept::new::<u32>(ctx, words)?;
        let tables = Kept::new::<f32>(ctx, count * levels)?;
        let weights = ctx.alloc::<f32>(inputs)?;
        let gram = ctx.alloc::<f32>(count * levels * levels)?;
        let unsolved = ctx.alloc::<u32>(count)?;
        let objectives = ctx.alloc::<f32>(count)?;
        let limit = settings.submission.max(1);
        let per_input = 2 * (count * stride) as u64;
        let width = usize::try_from(limit / per_input).unwrap_or(usize::MAX).min(settings.panel);
        let panels = Panel::all(&group.pieces, width);
        let widest = panels.iter().map(|panel| panel.width).max().unwrap_or(0);
        let changes = ctx.alloc::<f32>(count * widest)?;

        let start = Start::new(job, rows);
        fill(ctx, &weights, count, stride, |rows| start.weights(rows))?;
        fill(ctx, &off.now, count, stride, |rows| start.off(rows))?;
        ctx.write(&labels.now, &layout.pack_labels(start.labels)?)?;
        ctx.write(&tables.now, start.tables)?;

        let one = std::slice::from_ref;
        let mut args = [
            Arg { binding: HESSIAN, pieces: &group.hessian },
            Arg { binding: OFF, pieces: one(&off.now) },
            Arg { binding: PULL, pieces: one(&pull.now) },
            Arg { binding: LABELS, pieces: one(&labels.now) },
            Arg { binding: TABLES, pieces: one(&tables.now) },
            Arg { binding: WEIGHTS, pieces: one(&weights) },
            Arg { binding: INVERSE, pieces: one(&group.inverse) },
            Arg { binding: GRAM, pieces: one(&gram) },
            Arg { binding: UNSOLVED, pieces: one(&unsolved) },
            Arg { binding: OBJECTIVES, pieces: one(&objectives) },
            Arg { binding: CHANGES, pieces: one(&changes) },
        ];
        let bind_to = |args: &[Arg<'_>], spec: &dyn Spec, knobs: &Knobs, operations| -> Result<_> {
            Ok(Work { bound: ctx.plan_with(spec, knobs)?.bind(args, None)?, operations })
        };
        let all = args;
        let bind = |spec: &dyn Spec, knobs: &Knobs, work: u64| bind_to(&all, spec, knobs, work);
        let product = |panel: Panel| {
            let spec = LnqProduct { layout, panel, changed: None };
            bind(&spec, &settings.product, per_input * panel.width as u64)
        };
        // The same product takes changes for offsets.
        args.iter_mut().filter(|arg| arg.binding == OFF).for_each(|arg| arg.pieces = one(&changes));
        let update = |panel: Panel, changed: Panel| {
            let operations = 2 * (count * panel.width) as u64 * changed.width as u64;
            let spec = LnqProduct { layout, panel, changed: Some(changed) };
            bind_to(&args, &spec, &settings.product, operations)
        };
        let visits = |panel: Panel| {
            let spec = LnqDescent { layout, panel };
            // A lane a row is slow: as if every operation were some.
            let operations = 8 * (count * panel.width) as u64 * (panel.width + 4 * levels) as u64;
            bind(&spec, &settings.descent, operations)
        };
        let (mut products, mut cycle) = (Vec::new(), Vec::new());
        for panel in panels {
            products.push(product(panel)?);
            cycle.push(visits(panel)?);
            for piece in Panel::all(&group.pieces, usize::MAX) {
                cycle.push(update(piece, panel)?);
            }
        }
        let mut solve = Vec::new();
        for &piece in &group.pieces {
            let mut spec = LnqGram { layout, piece, rows: 0..count };
            // A reading and a writing in workgroup memory each.
            let each = 8 * spec.additions();
            let rows = usize::try_from(limit / each.max(1)).unwrap_or(usize::MAX).max(64);
            for first in (0..count).step_by(rows) {
                spec.rows = first..count.min(first.saturating_add(rows));
                solve.push(bind(&spec, &settings.gram, each * spec.rows.len() as u64)?);
            }
        }
        solve.push(bind(&LnqTable { layout }, &Knobs::DEFAULT, 16 * inputs as u64)?);
        let judge = bind(&LnqObjective { layout }, &Knobs::DEFAULT, 2 * inputs as u64)?;
        Ok(Self {
            layout,
            off,
            pull,
            labels,
            tables,
            unsolved,
            objectives,
            limit,
            products,
            cycle,
            solve,
            judge,
        })
    }

    /// Makes all products anew.
    pub(super) fn refresh(&self, ctx: &Context) -> Result<()> {
        submit(ctx, &self.products, self.limit)
    }

    /// Every row's objective, from the products at hand.
    pub(super) async fn objectives(&self, ctx: &Context) -> Result<Vec<f64>> {
        submit(ctx, [&self.judge], self.limit)?;
        let found = ctx.read::<f32>(&self.objectives).await?;
        Ok(found.into_iter().map(f64::from).collect())
    }

    /// Takes the best tables for the labels at hand, by the products at hand; gives the rows for
    /// which there are none.
    pub(super) async fn solve_tables(&self, ctx: &Context) -> Result<usize> {
        submit(ctx, &self.solve, self.limit)?;
        let unsolved = ctx.read::<u32>(&self.unsolved).await?;
        Ok(unsolved.into_iter().filter(|&row| row != 0).count())
    }

    /// One cycle of descent; products are kept up to date.
    pub(super) fn descend(&self, ctx: &Context) -> Result<()> {
        submit(ctx, &self.cycle, self.limit)
    }

    /// Tensors that a half step changes, and bytes of a row in each.
    fn kept(&self) -> [(&Kept, u64); 4] {
        let (stride, levels) = (self.layout.stride() as u64, self.layout.levels() as u64);
        let (off, pull) = ((&self.off, 4 * stride), (&self.pull, 4 * stride));
        [off, pull, (&self.labels, stride), (&self.tables, 4 * levels)]
    }

    /// Keeps what a half step may change.
    pub(super) fn save(&self, ctx: &Context) -> Result<()> {
        ctx.guarded().scoped("saving rows", |device| {
            let mut encoder = device.create_command_encoder(&Default::default());
            for (kept, _) in self.kept() {
                let (from, to) = (&kept.now, &kept.saved);
                encoder.copy_buffer_to_buffer(from.buffer(), 0, to.buffer(), 0, from.bytes());
            }
            ctx.queue().submit([encoder.finish()]);
        })
    }

    /// Gives rows, in ascending order, back what they had when they were saved.
    pub(super) fn restore(&self, ctx: &Context, rows: &[usize]) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        ctx.guarded().scoped("restoring rows", |device| {
            let mut encoder = device.create_command_encoder(&Default::default());
            for run in rows.chunk_by(|a, b| a + 1 == *b) {
                let Some(&first) = run.first() else { continue };
                for (kept, bytes) in self.kept() {
                    let (from, to) = (kept.saved.buffer(), kept.now.buffer());
                    let (offset, size) = (first as u64 * bytes, run.len() as u64 * bytes);
                    encoder.copy_buffer_to_buffer(from, offset, to, offset, size);
                }
            }
            ctx.queue().submit([encoder.finish()]);
        })
    }

    /// Labels `[rows, cols]` and tables.
    pub(super) async fn read(&self, ctx: &Context) -> Result<(Vec<u8>, Vec<f32>)> {
        let words = ctx.read::<u32>(&self.labels.now).await?;
        Ok((self.layout.unpack_labels(&words)?, ctx.read::<f32>(&self.tables.now).await?))
    }
}

/// Where the rows of a block begin.
struct Start<'a> {
    cols: usize,
    layout: LnqLayout,
    weights: &'a [f32],
    labels: &'a [u8],
    tables: &'a [f32],
}

impl<'a> Start<'a> {
    fn new(job: &'a LnqJob<'_>, rows: Range<usize>) -> Self {
        let layout = job.layout(rows.len());
        let (cols, levels) = (layout.cols, layout.levels());
        let table = job.start().table(job.options().bits).unwrap_or_default();
        let inputs = rows.start * cols..rows.end * cols;
        Self {
            cols,
            layout,
            weights: job.weights().values().get(inputs.clone()).unwrap_or_default(),
            labels: job.start().codes.get(inputs).unwrap_or_default(),
            tables: table.get(rows.start * levels..rows.end * levels).unwrap_or_default(),
        }
    }

    fn of<'v, T>(&self, values: &'v [T], rows: &Range<usize>, each: usize) -> &'v [T] {
        values.get(rows.start * each..rows.end * each).unwrap_or_default()
    }

    fn weights(&self, rows: Range<usize>) -> Vec<f32> {
        let layout = LnqLayout { rows: rows.len(), ..self.layout };
        layout.padded(self.of(self.weights, &rows, self.cols))
    }

    /// Quantized minus original weights.
    fn off(&self, rows: Range<usize>) -> Vec<f32> {
        let layout = LnqLayout { rows: rows.len(), ..self.layout };
        let levels = layout.levels();
        let labels = self.of(self.labels, &rows, self.cols).chunks_exact(self.cols);
        let weights = self.of(self.weights, &rows, self.cols).chunks_exact(self.cols);
        let tables = self.of(self.tables, &rows, levels).chunks_exact(levels);
        let off: Vec<f32> = labels
            .zip(weights)
            .zip(tables)
            .flat_map(|((labels, weights), table)| {
                let entry = |&label: &u8| table.get(usize::from(label)).copied().unwrap_or(0.0);
                labels.iter().zip(weights).map(move |(label, w)| entry(label) - w)
            })
            .collect();
        layout.padded(&off)
    }
}
