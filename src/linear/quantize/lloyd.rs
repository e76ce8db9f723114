//! The fast seed: greedy splitting, then Lloyd's steps on prefix sums.

use super::argmin::{Inverses, best_split};
use super::prefix::Row;
use super::seed::one_value_each;

const STEPS: usize = 50;

/// One run of the greedy start, with the best way to split it further.
#[derive(Clone, Copy)]
struct Piece {
    start: u32,
    end: u32,
    cost: f64,
}

/// Reusable memory of the fast seed.
#[derive(Default)]
pub(super) struct Lloyd {
    pieces: Vec<Piece>,
    centroids: Vec<f64>,
    trial: Vec<u32>,
}

impl Lloyd {
    /// Fills `borders` as [`Seeder::exact`](super::seed::Seeder::exact) does, at a local optimum.
    ///
    /// The reference starts from a random k-means++; here the costliest run is split at its best
    /// border until there are `k`, which needs no random numbers.
    pub(super) fn seed(&mut self, row: &Row, inverses: &Inverses, borders: &mut [u32]) {
        let (n, k) = (row.len(), borders.len() - 1);
        if n <= k {
            one_value_each(n, borders);
            return;
        }
        self.start(row, inverses, k);
        borders[0] = 0;
        for (border, piece) in borders[1..].iter_mut().zip(&self.pieces) {
            *border = piece.end;
        }
        let mut cost = total(row, borders);
        for _ in 0..STEPS {
            if !self.step(row, borders) {
                break;
            }
            let next = total(row, &self.trial);
            if next >= cost {
                break;
            }
            cost = next;
            borders.copy_from_slice(&self.trial);
        }
    }

    fn start(&mut self, row: &Row, inverses: &Inverses, k: usize) {
        let piece = |start: u32, end: u32| {
            // A run of one value cannot be split, whatever rounding says of its cost.
            let cost = if end - start < 2 { -1.0 } else { row.cost(start as usize, end as usize) };
            Piece { start, end, cost }
        };
        self.pieces.clear();
        self.pieces.push(piece(0, row.len() as u32));
        while self.pieces.len() < k {
            let mut worst = 0;
            for (at, p) in self.pieces.iter().enumerate() {
                if p.cost > self.pieces[worst].cost {
                    worst = at;
                }
            }
            let Piece { start, end, .. } = self.pieces[worst];
            let border = best_split(row, inverses, start as usize, end as usize).0 as u32;
            self.pieces[worst] = piece(start, border);
            self.pieces.insert(worst + 1, piece(border, end));
        }
    }

    /// Moves every border halfway between its centroids; false if that empties a run.
    fn step(&mut self, row: &Row, borders: &[u32]) -> bool {
        let runs = borders.iter().zip(&borders[1..]);
        self.centroids.clear();
        self.centroids.extend(runs.map(|(&a, &c)| row.centroid(a as usize, c as usize)));
        self.trial.clear();
        self.trial.push(0);
        for (&left, &right) in self.centroids.iter().zip(&self.centroids[1..]) {
            let middle = f64::midpoint(left, right);
            self.trial.push(row.x.partition_point(|&x| x < middle) as u32);
        }
        self.trial.push(row.len() as u32);
        self.trial.iter().zip(&self.trial[1..]).all(|(a, c)| a < c)
    }
}

fn total(row: &Row, borders: &[u32]) -> f64 {
    borders.iter().zip(&borders[1..]).map(|(&a, &c)| row.cost(a as usize, c as usize)).sum()
}
