//! The case table of `lnq_table`.

use super::bitplane::uniform;
use super::lnq::{Shape, below, bytes, random, shapes, updated};
use super::{Case, Expected, Output, Proof, Tensor};
use crate::launch::{Caps, Knobs, Spec as _};
use crate::linear::lnq_descent::Rows;
use crate::linear::lnq_table::{
    GRAM, LABELS, NAME, OFF, PULL, TABLES, UNSOLVED, WEIGHTS, reference,
};
use crate::linear::{Activation, LnqTable};
use crate::{Error, Result};
use rand_chacha::ChaCha8Rng;

/// One case.
#[derive(Debug, Clone, Copy)]
pub(super) struct TableCase(Shape);

pub(super) fn cases() -> Vec<TableCase> {
    shapes().into_iter().chain([Shape::new(3, 5000, 4)]).map(TableCase).collect()
}

/// The diagonal of every system, and the least that one of its eigenvalues can be: rows of the
/// rest add up to less than half of the diagonal.
const DIAGONAL: f64 = 4.0;
const LEAST: f64 = 2.0;

impl TableCase {
    /// Descending tables, a step apart; every fifth row has no solution, every seventh entry no
    /// weight.
    fn rows(&self, rng: &mut ChaCha8Rng) -> (Rows, Vec<f32>) {
        let layout = self.0.layout();
        let levels = layout.levels();
        let mut rows = self.0.rows(rng);
        let step = 0.25;
        for table in rows.tables.chunks_exact_mut(levels) {
            for (q, entry) in table.iter_mut().enumerate() {
                *entry = step * (levels as f32 / 2.0 - q as f32 + 0.4 * uniform(rng));
            }
        }
        // Small beside the steps, so that the order stays clear.
        let scale = 0.1 / (layout.cols as f32).sqrt();
        let pull: Vec<f32> = (0..layout.rows * layout.cols).map(|_| scale * uniform(rng)).collect();
        rows.pull = layout.padded(&pull);
        let mut gram = vec![0.0f32; layout.rows * levels * levels];
        for (row, gram) in gram.chunks_exact_mut(levels * levels).enumerate() {
            for p in 0..levels {
                gram[p * levels + p] = DIAGONAL as f32;
                for q in 0..p {
                    let value = 2.0 / levels as f32 * uniform(rng);
                    // Only the sum of both counts.
                    let share = below(rng, 5) as f32 / 2.0;
                    gram[p * levels + q] = value * share;
                    gram[q * levels + p] = value * (2.0 - share);
                }
            }
            match row % 5 {
                1 => {
                    // Not positive definite, with its own diagonal added either.
                    for at in (0..levels * levels).filter(|at| at % (levels + 1) != 0) {
                        gram[at] = 5.0 * DIAGONAL as f32;
                    }
                }
                2 => {
                    for q in (0..levels).filter(|q| q % 7 == 1) {
                        for p in 0..levels {
                            gram[p * levels + q] = 0.0;
                            gram[q * levels + p] = 0.0;
                        }
                    }
                }
                3 => gram.fill(0.0),
                _ => {}
            }
        }
        (rows, gram)
    }

    /// The error that each row's new entries may have.
    ///
    /// Residuals are sums of f32, so off by at most a unit of their magnitudes for each addition;
    /// the systems, of condition at most 3, are solved backward stably; the change is no larger than
    /// the residual over the least eigenvalue.
    fn tolerances(&self, before: &Rows, lanes: f64) -> Vec<f64> {
        let layout = self.0.layout();
        let (stride, levels) = (layout.stride(), layout.levels());
        let rows = before.tables.chunks_exact(levels).zip(before.pull.chunks_exact(stride));
        rows.map(|(table, pull)| {
            let change = pull.iter().map(|&v| f64::from(v).abs()).sum::<f64>() / LEAST;
            let roundings = stride as f64 / lanes + lanes + 3.0 * (levels * levels) as f64;
            let largest = table.iter().fold(change, |most, v| most.max(f64::from(*v).abs()));
            f64::from(f32::EPSILON) * (roundings * change + 4.0 * largest)
        })
        .collect()
    }
}

impl Case for TableCase {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> String {
        self.0.name()
    }

    fn variants(&self, _caps: &Caps) -> Vec<(&'static str, Knobs)> {
        vec![("baseline", Knobs::baseline())]
    }

    fn build(&self, caps: &Caps, knobs: &Knobs) -> Result<Proof> {
        let (layout, caps) = (self.0.layout(), self.0.squeeze.apply(caps));
        let (stride, levels) = (layout.stride(), layout.levels());
        let spec = LnqTable { layout };
        let mut rng = random(NAME, &self.0);
        let (before, gram) = self.rows(&mut rng);
        let (after, unsolved) = reference(&spec, &gram, &before)?;
        let tolerances = self.tolerances(&before, 64.0);
        for (table, tolerance) in after.tables.chunks_exact(levels).zip(&tolerances) {
            let least = table.windows(2).map(|pair| f64::from(pair[1] - pair[0]));
            let least = least.fold(f64::INFINITY, f64::min);
            if least <= 2.0 * tolerance {
                return Err(Error::range("steps of a table", format!("> {tolerance}"), least));
            }
        }
        let close = |binding, values: &[f32], tolerance: &dyn Fn(usize) -> f64| Output {
            binding,
            expected: Expected::Close {
                element: Activation::F32,
                values: values.iter().map(|&v| v.into()).collect(),
                tolerance: (0..values.len()).map(tolerance).collect(),
                relative: 1e-5,
            },
        };
        let off_tolerance = |at: usize| {
            let rounding = f64::from(after.off[at].abs()) * f64::from(f32::EPSILON);
            if at % stride < layout.cols { tolerances[at / stride] + rounding } else { 0.0 }
        };
        let (labels, labels_after) = updated(LABELS, before.labels, after.labels);
        let (tables, _) = updated(TABLES, bytes(&before.tables), Vec::new());
        let outputs = vec![
            close(TABLES, &after.tables, &|at| tolerances[at / levels]),
            close(OFF, &after.off, &off_tolerance),
            labels_after,
            Output {
                binding: UNSOLVED,
                expected: Expected::Bytes(
                    unsolved.iter().flat_map(|&row| u32::from(row).to_le_bytes()).collect(),
                ),
            },
        ];
        let tensors = vec![
            labels,
            tables,
            Tensor::output(OFF, 4 * after.off.len()),
            Tensor::output(UNSOLVED, 4 * layout.rows),
            Tensor::input(PULL, bytes(&before.pull)),
            Tensor::input(WEIGHTS, bytes(&before.weights)),
            Tensor::input(GRAM, bytes(&gram)),
        ];
        Ok(Proof { launches: spec.launches(&caps, knobs)?, tensors, outputs })
    }
}
