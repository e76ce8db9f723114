//! Which covered rows a list gets.

use super::products::walks;
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
    /// Rows that are listed whatever is found.
    pub(super) sinks: u32,
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
    /// Ascending: of the rows covered, for exact ranks of all rows seen.
    pub(super) rows: Vec<u32>,
    /// Whether sinks and rows beyond the index are listed besides.
    pub(super) always: bool,
    /// Rows that were ranked by exact logits, where more were than are found.
    pub(super) ranked: Option<u32>,
    /// Whether all rows are to be taken.
    pub(super) fallback: bool,
    /// For each query row the logits of those rows, as far as they are known.
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
        let every = |rows: usize| (0..).take(rows).collect::<Vec<u32>>();
        if let Selection::TopK { k } = *selection {
            let seen = logits.first().map_or(0, Vec::len);
            let ranks = ranks_by_largest(logits, &every(seen));
            // Counted by u32.
            let found = self.best(&ranks, k.of(seen as u32));
            return Found { estimates: logits.to_vec(), always: false, ..found };
        }
        if let Selection::Threshold { .. } = *selection {
            return self.everything(false);
        }
        if self.index.flags().get(self.head).is_some_and(|flag| *flag != 0) {
            return self.everything(true);
        }
        match *selection {
            Selection::TopK { .. } | Selection::Threshold { .. } => self.everything(false),
            Selection::Greedy { steps, exact, .. } => self.greedy(steps.of(covered), exact),
            Selection::TopKApprox { k, steps } => {
                let mut found = self.greedy(steps.of(covered), false);
                if found.fallback {
                    return found;
                }
                for (estimates, logits) in found.estimates.iter_mut().zip(logits) {
                    found.rows.iter().for_each(|row| {
                        estimates[*row as usize] = logits[*row as usize];
                    });
                }
                found.rows.retain(|row| *row >= self.sinks);
                let ranks = ranks_by_largest(logits, &found.rows);
                // Rows are counted by u32.
                let ranked = Some(ranks.len() as u32);
                Found { rows: self.best(&ranks, k.of(covered)).rows, ranked, ..found }
            }
            Selection::ComponentTopR { r, k } => {
                let read = self.components(r as usize);
                let unread: Vec<usize> =
                    self.all().into_iter().filter(|j| !read.contains(j)).collect();
                let mut known: Vec<Vec<f64>> =
                    self.queries.iter().map(|q| self.known(q, &read)).collect();
                let ranks: Vec<(f64, u32)> = every(covered as usize)
                    .into_iter()
                    .filter(|row| *row >= self.sinks)
                    .map(|row| (self.rank(&known, &read, row), row))
                    .collect();
                for (known, q) in known.iter_mut().zip(&self.queries) {
                    let rest = self.mean_logit(q, &unread);
                    known.iter_mut().for_each(|x| *x += rest);
                }
                Found { estimates: known, ..self.best(&ranks, k.of(covered)) }
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
            always: true,
            ranked: None,
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
                false => greedy::plan(&columns, steps, greedy::Low::Cheap).found(&columns, rows),
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
        Found { rows, always: true, ranked: None, fallback: false, estimates, candidates, entries }
    }

    /// What a list is chosen by where only some components of logits are known.
    fn rank(&self, known: &[Vec<f64>], components: &[usize], row: u32) -> f64 {
        match known {
            [one] => one[row as usize],
            all => {
                let each = all.iter().zip(&self.queries);
                log_sum(each.map(|(x, q)| x[row as usize] - self.mean_logit(q, components)))
            }
        }
    }

    /// The `k` best rows by their ranks.
    fn best(&self, ranks: &[(f64, u32)], k: u64) -> Found {
        let mut ranked = ranks.to_vec();
        // Numbers that are none go first, then the largest.
        ranked.sort_by(|(a, i), (b, j)| {
            let nan = b.is_nan().cmp(&a.is_nan());
            nan.then(b.partial_cmp(a).unwrap_or(Ordering::Equal)).then(i.cmp(j))
        });
        ranked.truncate(usize::try_from(k).unwrap_or(usize::MAX));
        let mut rows: Vec<u32> = ranked.into_iter().map(|(_, row)| row).collect();
        rows.sort_unstable();
        // Rows are counted by u32.
        let (lists, count) = (self.queries.len(), rows.len() as u32);
        Found {
            rows,
            always: true,
            ranked: None,
            fallback: false,
            estimates: Vec::new(),
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
        let offsets = self.index.offsets(self.head);
        let centre = |j: &usize| self.logits.scale * f64::from(q[*j]) * f64::from(offsets[*j]);
        let centre: f64 = components.iter().map(centre).sum();
        let mut known = vec![centre; self.covered() as usize];
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

/// Of some rows the largest exact logit of all query rows, each less the largest that its query row has.
fn ranks_by_largest(logits: &[Vec<f64>], rows: &[u32]) -> Vec<(f64, u32)> {
    let largest =
        |x: &Vec<f64>| rows.iter().map(|row| x[*row as usize]).fold(f64::NEG_INFINITY, f64::max);
    let tops: Vec<f64> = logits.iter().map(largest).collect();
    let rank = |row: &u32| match logits {
        [one] => one[*row as usize],
        all => {
            let each = all.iter().zip(&tops).map(|(x, top)| x[*row as usize] - top);
            each.fold(f64::NEG_INFINITY, |a, b| if b > a || b.is_nan() { b } else { a })
        }
    };
    rows.iter().map(|row| (rank(row), *row)).collect()
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
