//! Which covered rows a list gets.

use super::products::{search_by_totals, walks};
use crate::attention::NO_KEY;
use crate::attention::reference::Logits;
use crate::attention::sparse::sorted::KeyIndex;
use crate::attention::sparse::{Selection, greedy};
use half::f16;
use std::cmp::Ordering;

/// Who searches for what.
pub(super) struct Find<'a> {
    pub(super) index: &'a KeyIndex,
    pub(super) head: usize,
    /// `[3][D]`, of the head.
    pub(super) sums: &'a [f32],
    pub(super) logits: &'a Logits,
    /// The query rows of the list.
    pub(super) queries: Vec<&'a [f32]>,
    /// The query rows of the list's token and KV head, which components are chosen by.
    pub(super) group: Vec<&'a [f32]>,
}

/// What a search found.
pub(super) struct Found {
    /// Covered rows, ascending.
    pub(super) rows: Vec<u32>,
    /// Whether all rows are to be taken.
    pub(super) fallback: bool,
    /// For each query row the logits of covered rows, as far as they are known.
    pub(super) estimates: Vec<Vec<f64>>,
    /// For each query row the rows that its own search pointed at.
    pub(super) candidates: Vec<u32>,
    /// For each query row the entries of sorted columns that its own search took.
    pub(super) entries: Vec<u64>,
}

impl Find<'_> {
    fn covered(&self) -> u32 {
        self.index.rows(self.head)
    }

    /// `logits` are the exact ones of each query row and every row seen.
    pub(super) fn rows(&self, selection: &Selection, logits: &[Vec<f64>]) -> Found {
        let covered = self.covered();
        if self.index.flags().get(self.head).is_some_and(|flag| *flag != 0) {
            return self.everything(true);
        }
        let every: Vec<u32> = (0..covered).collect();
        let exact = || logits.iter().map(|x| x[..covered as usize].to_vec()).collect();
        match *selection {
            Selection::Threshold { .. } => self.everything(false),
            Selection::Greedy { steps, exact, .. } => self.greedy(steps.of(covered), exact),
            Selection::TopK { k } => self.ranked(exact(), &self.all(), &every, k.of(covered)),
            Selection::TopKApprox { k, steps } => {
                let mut found = self.greedy(steps.of(covered), false);
                if found.fallback {
                    return found;
                }
                let candidates = std::mem::take(&mut found.rows);
                for (estimates, logits) in found.estimates.iter_mut().zip(logits) {
                    candidates.iter().for_each(|row| {
                        estimates[*row as usize] = logits[*row as usize];
                    });
                }
                let (estimates, all) = (std::mem::take(&mut found.estimates), self.all());
                let ranked = self.ranked(estimates, &all, &candidates, k.of(covered));
                Found { candidates: found.candidates, entries: found.entries, ..ranked }
            }
            Selection::ComponentTopR { r, k } => {
                let read = self.components(r as usize);
                let unread: Vec<usize> =
                    self.all().into_iter().filter(|j| !read.contains(j)).collect();
                let known = self.queries.iter().map(|q| self.known(q, &read)).collect();
                let mut found = self.ranked(known, &read, &every, k.of(covered));
                for (estimates, q) in found.estimates.iter_mut().zip(&self.queries) {
                    let rest = self.mean_logit(q, &unread);
                    estimates.iter_mut().for_each(|x| *x = self.capped(*x + rest));
                }
                found
            }
        }
    }

    fn all(&self) -> Vec<usize> {
        (0..self.index.shape().dim as usize).collect()
    }

    fn everything(&self, fallback: bool) -> Found {
        let (covered, count) = (self.covered(), self.queries.len());
        Found {
            rows: (0..covered).collect(),
            fallback,
            estimates: vec![vec![NO_KEY.into(); covered as usize]; count],
            candidates: vec![covered; count],
            entries: vec![0; count],
        }
    }

    fn greedy(&self, steps: u64, exact: bool) -> Found {
        let rows = self.covered() as usize;
        let mut is_found = vec![false; rows];
        let (mut candidates, mut entries) = (Vec::new(), Vec::new());
        for q in &self.queries {
            let Some(columns) = walks(self.index, self.head, q) else {
                return self.everything(true);
            };
            let found = match exact {
                true => greedy::search(&columns, rows, steps),
                false => search_by_totals(&columns, rows, steps),
            };
            let own = found.candidates();
            own.iter().for_each(|row| is_found[*row as usize] = true);
            // Rows are counted by u32.
            candidates.push(own.len() as u32);
            entries.push(found.highest.iter().chain(&found.lowest).map(|n| u64::from(*n)).sum());
        }
        let rows: Vec<u32> = (0..).zip(&is_found).filter(|(_, is)| **is).map(|(i, _)| i).collect();
        if rows.is_empty() {
            return Found { entries, ..self.everything(true) };
        }
        let estimate = |q: &&[f32]| self.capped(self.mean_logit(q, &self.all()));
        let estimates = self.queries.iter().map(estimate);
        let estimates = estimates.map(|x| vec![x; is_found.len()]).collect();
        Found { rows, fallback: false, estimates, candidates, entries }
    }

    /// The `k` best of some rows by logits of some components.
    fn ranked(&self, logits: Vec<Vec<f64>>, of: &[usize], rows: &[u32], k: u64) -> Found {
        let means: Vec<f64> = self.queries.iter().map(|q| self.mean_logit(q, of)).collect();
        let rank = |row: u32| match logits.as_slice() {
            [one] => one[row as usize],
            all => log_sum(all.iter().zip(&means).map(|(x, mean)| x[row as usize] - mean)),
        };
        let mut ranked: Vec<(f64, u32)> = rows.iter().map(|row| (rank(*row), *row)).collect();
        // Numbers that are none go first, then the best.
        ranked.sort_by(|(a, i), (b, j)| {
            let nan = b.is_nan().cmp(&a.is_nan());
            nan.then(b.partial_cmp(a).unwrap_or(Ordering::Equal)).then(i.cmp(j))
        });
        let count = ranked.len() as u32;
        ranked.truncate(usize::try_from(k).unwrap_or(usize::MAX));
        let mut rows: Vec<u32> = ranked.into_iter().map(|(_, row)| row).collect();
        rows.sort_unstable();
        let lists = self.queries.len();
        Found {
            rows,
            fallback: false,
            estimates: logits,
            candidates: vec![count; lists],
            entries: vec![0; lists],
        }
    }

    /// The components with the largest sums of `|q_j|`.
    fn components(&self, r: usize) -> Vec<usize> {
        let sum = |j: usize| self.group.iter().map(|q| f64::from(q[j].abs())).sum::<f64>();
        let mut all = self.all();
        // NaN is beyond infinity; the sort is stable.
        all.sort_by(|a, b| sum(*b).total_cmp(&sum(*a)));
        all.truncate(r);
        all
    }

    /// What some components make of the logit of every covered row, without softcap.
    fn known(&self, q: &[f32], components: &[usize]) -> Vec<f64> {
        let mut known = vec![0.0; self.covered() as usize];
        for &j in components {
            let x = self.logits.scale * f64::from(q[j]);
            let column = self.index.column(self.head, j);
            known.iter_mut().zip(column).for_each(|(sum, bits)| {
                *sum += x * f16::from_bits(*bits).to_f64();
            });
        }
        known
    }

    /// The logarithm of the mean of `exp` of what some components make of logits, were they normal.
    fn mean_logit(&self, q: &[f32], components: &[usize]) -> f64 {
        let (count, dim) = (f64::from(self.covered()), q.len());
        let term = |&j: &usize| {
            let mean = f64::from(self.sums[j]) / count;
            let variance = (f64::from(self.sums[dim + j]) / count - mean * mean).max(0.0);
            let x = self.logits.scale * f64::from(q[j]);
            x * mean + x * x * variance / 2.0
        };
        components.iter().map(term).sum()
    }

    fn capped(&self, x: f64) -> f64 {
        self.logits.softcap.map_or(x, |c| c * (x / c).tanh())
    }

    /// The mean of the values of covered rows, if there are any.
    pub(super) fn mean_value(&self) -> Option<Vec<f64>> {
        let (count, dim) = (self.covered(), self.sums.len() / 3);
        let mean = |sum: &f32| f64::from(*sum) / f64::from(count);
        (count > 0).then(|| self.sums[2 * dim..].iter().map(mean).collect())
    }
}

/// The logarithm of the sum of `exp`; [`NO_KEY`] of none.
pub(super) fn log_sum(of: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = of.clone().fold(f64::NEG_INFINITY, f64::max);
    let mut all = of.peekable();
    if all.peek().is_none() {
        return NO_KEY.into();
    }
    largest + all.map(|x| (x - largest).exp()).sum::<f64>().ln()
}
