//! The rows that are worked on together, and the two half steps.

use super::cholesky::solve_damped;
use super::problem::Problem;
use crate::linear::tiled_matrix::{
    Real, SIDE, Terms, Tile, Vectorised, add_by_label, add_dense, add_sparse, vectorised,
};

/// Rows worked on together: each tile of the Hessian that is fetched serves all of them.
pub(super) const ROWS: usize = 64;

/// Labels, tables and products of up to [`ROWS`] rows. Per-input numbers are
/// `[tiles][rows][SIDE]`, so that a tile's work is in one place.
#[derive(Clone, PartialEq)]
pub(super) struct State<T> {
    pub(super) labels: Vec<[u8; SIDE]>,
    /// `[rows][levels]`, ascending within a row.
    pub(super) tables: Vec<T>,
    /// Quantized minus original weight; 0 in the padding.
    off: Vec<[T; SIDE]>,
    /// `off * H`, kept up to date.
    pull: Vec<[T; SIDE]>,
}

/// A block of rows with its original weights.
#[derive(Clone)]
pub(super) struct Block<'a, T> {
    pub(super) problem: &'a Problem,
    pub(super) rows: usize,
    pub(super) levels: usize,
    pub(super) weights: Vec<[f32; SIDE]>,
    pub(super) state: State<T>,
}

impl<'a, T: Real> Block<'a, T> {
    /// `weights` and `labels` are `[rows, cols]`, `tables` is `[rows, levels]`. Without products:
    /// [`Block::refresh`] makes them.
    pub(super) fn new(
        problem: &'a Problem,
        weights: &[f32],
        labels: &[u8],
        tables: &[f32],
        levels: usize,
    ) -> Self {
        let (cols, rows) = (problem.cols, weights.len() / problem.cols);
        let state = State {
            labels: tiled(labels, rows, cols),
            tables: tables.iter().map(|&v| T::of(v)).collect(),
            off: Vec::new(),
            pull: Vec::new(),
        };
        let weights = tiled(weights, rows, cols);
        let mut block = Self { problem, rows, levels, weights, state };
        block.sort();
        block
    }

    /// Labels row by row, `[rows, cols]`.
    pub(super) fn write_labels(&self, out: &mut [u8]) {
        for (row, out) in out.chunks_exact_mut(self.problem.cols).enumerate() {
            let labels = self.state.labels.iter().skip(row).step_by(self.rows);
            for (out, labels) in out.chunks_mut(SIDE).zip(labels) {
                out.copy_from_slice(&labels[..out.len()]);
            }
        }
    }

    /// Makes `off` and `pull` what labels and tables say.
    pub(super) fn refresh(&mut self) {
        self.state.off = self.offsets();
        self.state.pull = product(self.problem, &self.state.off, self.rows);
    }

    /// Quantized minus original weights, in any precision.
    fn offsets<U: Real>(&self) -> Vec<[U; SIDE]> {
        let (rows, levels, cols) = (self.rows, self.levels, self.problem.cols);
        let mut off = vec![[U::default(); SIDE]; self.weights.len()];
        for (at, (off, weights)) in off.iter_mut().zip(&self.weights).enumerate() {
            let (tile, row) = (at / rows, at % rows);
            let table = &self.state.tables[row * levels..(row + 1) * levels];
            let inside = SIDE.min(cols - tile * SIDE);
            let labels = &self.state.labels[at][..inside];
            for ((off, &label), &w) in off.iter_mut().zip(labels).zip(weights) {
                *off = U::round(table[usize::from(label)].wide()) - U::of(w);
            }
        }
        off
    }

    /// The objective of every row in `f64` throughout, from labels and tables alone.
    pub(super) fn exact_objectives(&self) -> Vec<f64> {
        let (rows, tiles) = (self.rows, &self.problem.tiles);
        let off: Vec<[f64; SIDE]> = self.offsets();
        let mut sums = vec![0.0; rows];
        let mut products = vec![[0.0; SIDE]; rows];
        for column in 0..tiles.across() {
            // One side of the diagonal counts twice, instead of both once.
            products.fill([0.0; SIDE]);
            for row in 0..column {
                add_dense(&mut products, &off[row * rows..][..rows], tiles.at(row, column));
            }
            products.as_flattened_mut().iter_mut().for_each(|p| *p *= 2.0);
            let own = &off[column * rows..][..rows];
            add_dense(&mut products, own, tiles.at(column, column));
            for ((sum, own), products) in sums.iter_mut().zip(own).zip(&products) {
                *sum += own.iter().zip(products).map(|(d, p)| d * p).sum::<f64>();
            }
        }
        sums
    }

    /// Gives a row back what it had in an earlier state.
    pub(super) fn restore(&mut self, row: usize, before: &State<T>) {
        let span = row * self.levels..(row + 1) * self.levels;
        let state = &mut self.state;
        state.tables[span.clone()].copy_from_slice(&before.tables[span]);
        for at in (row..self.weights.len()).step_by(self.rows) {
            state.labels[at] = before.labels[at];
            state.off[at] = before.off[at];
            state.pull[at] = before.pull[at];
        }
    }

    /// The best table for the labels at hand, sorted. Gives the rows whose system could not be
    /// solved, which keep their table.
    pub(super) fn solve_tables(&mut self) -> Vec<usize> {
        let (rows, levels) = (self.rows, self.levels);
        let systems = self.systems();
        let mut unsolved = Vec::new();
        let bounds = self.bounds();
        for (row, system) in systems.chunks_exact(levels * levels).enumerate() {
            let mut r = vec![0.0; levels];
            for at in (row..self.weights.len()).step_by(rows) {
                // The padding's pull is zero.
                for (&label, pull) in self.state.labels[at].iter().zip(&self.state.pull[at]) {
                    r[usize::from(label)] += -pull.wide();
                }
            }
            // Entries without weights, or only with inactive ones, have nothing to gain.
            let used: Vec<usize> = (0..levels).filter(|&q| system[q * levels + q] > 0.0).collect();
            if used.is_empty() {
                continue;
            }
            let g: Vec<f64> = used
                .iter()
                .flat_map(|&p| used.iter().map(move |&q| system[p * levels + q]))
                .collect();
            let r: Vec<f64> = used.iter().map(|&q| r[q]).collect();
            let table = &self.state.tables[row * levels..(row + 1) * levels];
            let fits = |change: &[f64]| {
                used.iter().zip(change).all(|(&q, change)| {
                    let old = table[q].wide();
                    let (low, high) = bounds[row];
                    (low.min(old)..=high.max(old)).contains(&(old + change))
                })
            };
            let Some(change) = solve_damped(&g, &r, fits) else {
                unsolved.push(row);
                continue;
            };
            for (q, change) in used.into_iter().zip(change) {
                let entry = &mut self.state.tables[row * levels + q];
                let changed = T::round(entry.wide() + change);
                if changed.wide().is_finite() {
                    *entry = changed;
                }
            }
        }
        self.sort();
        self.refresh();
        unsolved
    }

    /// How far new entries of each row may lie: the range of its weights and four times that range
    /// on either side. The best table for given labels may be anywhere along directions that hardly
    /// count.
    fn bounds(&self) -> Vec<(f64, f64)> {
        let (rows, cols) = (self.rows, self.problem.cols);
        let mut bounds = vec![(f64::INFINITY, f64::NEG_INFINITY); rows];
        for (at, weights) in self.weights.iter().enumerate() {
            let inside = SIDE.min(cols - at / rows * SIDE);
            let (low, high) = &mut bounds[at % rows];
            for &w in &weights[..inside] {
                (*low, *high) = (low.min(w.into()), high.max(w.into()));
            }
        }
        // A row of one value has a range of rounding's size, not of 0.
        let room = |low: f64, high: f64| 4.0 * (high - low).max(high.abs().max(low.abs()) * 1e-3);
        bounds.iter().map(|&(low, high)| (low - room(low, high), high + room(low, high))).collect()
    }

    /// `G[p, q]`, the sum of `H[i, j]` over all `i` of label `p` and `j` of label `q`, of every row.
    fn systems(&self) -> Vec<f64> {
        let (rows, levels, tiles) = (self.rows, self.levels, &self.problem.tiles);
        let mut systems = vec![0.0; rows * levels * levels];
        let mut sums = vec![[T::default(); SIDE]; rows * levels];
        let labels = |tile: usize| &self.state.labels[tile * rows..(tile + 1) * rows];
        for column in 0..tiles.across() {
            // Tiles above the diagonal also stand for their mirror images.
            for (from, to, mirrored) in [(0, column, true), (column, column + 1, false)] {
                if from == to {
                    continue;
                }
                sums.fill([T::default(); SIDE]);
                for row in from..to {
                    add_by_label(&mut sums, levels, labels(row), tiles.at(row, column));
                }
                let per_row = systems.chunks_exact_mut(levels * levels);
                for ((system, sums), labels) in
                    per_row.zip(sums.chunks_exact(levels)).zip(labels(column))
                {
                    for (p, sums) in sums.iter().enumerate() {
                        for (sum, &q) in sums.iter().zip(labels) {
                            let (sum, q) = (sum.wide(), usize::from(q));
                            system[p * levels + q] += sum;
                            if mirrored {
                                system[q * levels + p] += sum;
                            }
                        }
                    }
                }
            }
        }
        systems
    }

    /// Makes every table ascend, labels with it.
    fn sort(&mut self) {
        let (rows, levels) = (self.rows, self.levels);
        for row in 0..rows {
            let table = &mut self.state.tables[row * levels..(row + 1) * levels];
            if table.is_sorted() {
                continue;
            }
            let mut order: Vec<usize> = (0..levels).collect();
            order.sort_by(|&a, &b| table[a].wide().total_cmp(&table[b].wide()));
            let mut place = [0u8; 256];
            let sorted: Vec<T> = order.iter().map(|&q| table[q]).collect();
            for (to, &from) in order.iter().enumerate() {
                place[from] = to as u8;
            }
            table.copy_from_slice(&sorted);
            for at in (row..self.weights.len()).step_by(rows) {
                for label in &mut self.state.labels[at] {
                    *label = place[usize::from(*label)];
                }
            }
        }
    }

    /// One cycle of coordinate descent over all active inputs, in order. Gives whether any label
    /// changed.
    pub(super) fn descend(&mut self) -> bool {
        let (rows, tiles) = (self.rows, &self.problem.tiles);
        let mut moved = vec![Terms::default(); rows];
        let mut any = false;
        for at in 0..tiles.across() {
            let span = at * rows..(at + 1) * rows;
            vectorised(Visit::<T, false> {
                tile: tiles.at(at, at),
                inverse: &self.problem.inverse[at],
                levels: self.levels,
                tables: &self.state.tables,
                weights: &self.weights[span.clone()],
                labels: &mut self.state.labels[span.clone()],
                off: &mut self.state.off[span.clone()],
                pull: &mut self.state.pull[span],
                moved: &mut moved,
            });
            if moved.iter().all(Terms::is_empty) {
                continue;
            }
            any = true;
            for other in (0..tiles.across()).filter(|&other| other != at) {
                let pull = &mut self.state.pull[other * rows..(other + 1) * rows];
                add_sparse(pull, &moved, tiles.at(at, other));
            }
        }
        any
    }

    /// Rounds all inputs in order, each to the entry nearest to what makes up for the errors before
    /// it. Does nothing where there is no factor.
    pub(super) fn round_in_order(&mut self) {
        let Some(factor) = &self.problem.feedback else { return };
        let rows = self.rows;
        let mut moved = vec![Terms::default(); rows];
        let pull = &mut self.state.pull;
        pull.clear();
        pull.resize(self.weights.len(), [T::default(); SIDE]);
        self.state.off.resize(self.weights.len(), [T::default(); SIDE]);
        for at in 0..factor.across() {
            let span = at * rows..(at + 1) * rows;
            vectorised(Visit::<T, true> {
                tile: factor.at(at, at),
                inverse: &self.problem.inverse[at],
                levels: self.levels,
                tables: &self.state.tables,
                weights: &self.weights[span.clone()],
                labels: &mut self.state.labels[span.clone()],
                off: &mut self.state.off[span.clone()],
                pull: &mut pull[span],
                moved: &mut moved,
            });
            for later in at + 1..factor.across() {
                let pull = &mut pull[later * rows..(later + 1) * rows];
                add_sparse(pull, &moved, factor.at(at, later));
            }
        }
        self.refresh();
    }

    /// Gives inactive inputs the entry nearest to their weight. Their rows and columns are 0, so that
    /// it costs nothing.
    pub(super) fn place_inactive(&mut self) {
        if self.problem.inactive == 0 {
            return;
        }
        let (rows, levels, cols) = (self.rows, self.levels, self.problem.cols);
        for (at, (labels, weights)) in self.state.labels.iter_mut().zip(&self.weights).enumerate() {
            let (tile, row) = (at / rows, at % rows);
            let table = &self.state.tables[row * levels..(row + 1) * levels];
            let inside = SIDE.min(cols - tile * SIDE);
            let inverse = &self.problem.inverse[tile][..inside];
            for ((label, &w), &inverse) in labels.iter_mut().zip(weights).zip(inverse) {
                if inverse == 0.0 {
                    *label = nearest(table, T::of(w), *label);
                }
            }
        }
    }
}

/// Inputs of one tile, one after the other, in every row; `moved` becomes what rows outside the
/// tile have to hear of. Passes errors on through the factor if `FEEDBACK`, else changes of labels
/// through the Hessian.
struct Visit<'a, T, const FEEDBACK: bool> {
    tile: &'a Tile,
    inverse: &'a [f64; SIDE],
    levels: usize,
    tables: &'a [T],
    weights: &'a [[f32; SIDE]],
    labels: &'a mut [[u8; SIDE]],
    off: &'a mut [[T; SIDE]],
    pull: &'a mut [[T; SIDE]],
    moved: &'a mut [Terms<T>],
}

impl<T: Real, const FEEDBACK: bool> Vectorised for Visit<'_, T, FEEDBACK> {
    #[inline(always)]
    fn run(self) {
        let inverse = self.inverse.map(T::round);
        let tables = self.tables.chunks_exact(self.levels);
        let rows = self.labels.iter_mut().zip(self.off).zip(self.pull).zip(self.moved);
        for ((((labels, off), pull), moved), (table, weights)) in rows.zip(tables.zip(self.weights))
        {
            moved.clear();
            let mut local = *pull;
            for i in 0..SIDE {
                if inverse[i] == T::default() {
                    continue;
                }
                let label = labels[i];
                let value = table[usize::from(label)];
                let target = if FEEDBACK {
                    T::of(weights[i]) - local[i]
                } else {
                    value - local[i] * inverse[i]
                };
                let best = nearest(table, target, label);
                let entry = table[usize::from(best)];
                if best != label {
                    labels[i] = best;
                    off[i] = entry - T::of(weights[i]);
                }
                if FEEDBACK || best != label {
                    let factor = if FEEDBACK { entry - T::of(weights[i]) } else { entry - value };
                    for (sum, &h) in local.iter_mut().zip(&self.tile[i]) {
                        *sum += factor * T::of(h);
                    }
                    moved.push(i, factor);
                }
            }
            *pull = local;
        }
    }
}

/// The entry of an ascending table that is nearest to `target`; at a tie the current one.
#[inline(always)]
fn nearest<T: Real>(table: &[T], target: T, current: u8) -> u8 {
    let above = if table.len() <= 16 {
        table.iter().map(|&entry| usize::from(entry <= target)).sum()
    } else {
        table.partition_point(|&entry| entry <= target)
    };
    let distance = |at: usize| {
        let off = table[at] - target;
        if off < T::default() { -off } else { off }
    };
    let (low, high) = (above.saturating_sub(1), above.min(table.len() - 1));
    let best = if distance(high) < distance(low) { high } else { low };
    if distance(best) < distance(current.into()) {
        // Of equal entries the first.
        let twins = table[..best].iter().rev().take_while(|&&entry| entry == table[best]);
        (best - twins.count()) as u8
    } else {
        current
    }
}

/// `[rows, cols]` as `[tiles][rows][SIDE]`.
fn tiled<V: Copy + Default>(values: &[V], rows: usize, cols: usize) -> Vec<[V; SIDE]> {
    let across = cols.div_ceil(SIDE);
    let mut tiles = vec![[V::default(); SIDE]; across * rows];
    for (row, values) in values.chunks_exact(cols).enumerate() {
        for (tile, values) in values.chunks(SIDE).enumerate() {
            tiles[tile * rows + row][..values.len()].copy_from_slice(values);
        }
    }
    tiles
}

/// `off * H`.
fn product<T: Real>(problem: &Problem, off: &[[T; SIDE]], rows: usize) -> Vec<[T; SIDE]> {
    let tiles = &problem.tiles;
    let mut products = vec![[T::default(); SIDE]; off.len()];
    for (column, products) in products.chunks_exact_mut(rows).enumerate() {
        for row in 0..tiles.across() {
            add_dense(products, &off[row * rows..][..rows], tiles.at(row, column));
        }
    }
    products
}
