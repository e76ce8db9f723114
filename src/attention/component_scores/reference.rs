//! What scores and ranks are, and what components come to, from the definition.

use std::f64::consts::{LN_2, LOG2_E};

/// The query rows of a token and KV head, and what they are asked of.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// `[G, D]`.
    pub q: &'a [f32],
    /// Query heads that share a KV head: `G`.
    pub group: usize,
    /// What dot products are multiplied by.
    pub scale: f64,
    /// Rows of the index, `[rows, D]`.
    pub keys: &'a [f32],
    /// Sums of the keys and of their squares, `[2, D]`.
    pub sums: &'a [f32],
}

impl Asked<'_> {
    fn dim(&self) -> usize {
        self.q.len() / self.group.max(1)
    }

    /// A component of a query row, so that its products are logits in base 2.
    fn factor(&self, query: usize, component: usize) -> f64 {
        let q = self.q.get(query * self.dim() + component).copied().unwrap_or(0.0);
        self.scale * LOG2_E * f64::from(q)
    }
}

/// The `r` components with the largest sum of magnitudes over the query rows, added in their order in f32,
/// ascending; of equal ones the lower, NaN above all.
pub fn choice(asked: &Asked<'_>, r: usize) -> Vec<usize> {
    let dim = asked.dim();
    let sum = |j: usize| {
        let column = asked.q.iter().skip(j).step_by(dim.max(1));
        column.fold(0.0f32, |sum, q| sum + q.abs())
    };
    let mut all: Vec<(f32, usize)> = (0..dim).map(|j| (sum(j).abs(), j)).collect();
    // Numbers without a sign are in the order of `total_cmp`.
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut chosen: Vec<usize> = all.into_iter().take(r).map(|(_, j)| j).collect();
    chosen.sort_unstable();
    chosen
}

/// Scores `[G][rows]` from these components.
pub fn scores(asked: &Asked<'_>, components: &[usize]) -> Vec<Vec<f64>> {
    let rows = || asked.keys.chunks(asked.dim().max(1));
    let score = |query: usize, key: &[f32]| -> f64 {
        components.iter().map(|&j| asked.factor(query, j) * f64::from(key[j])).sum()
    };
    (0..asked.group).map(|query| rows().map(|key| score(query, key)).collect()).collect()
}

/// What the logarithms of the mean weights that these components make are, `[G]`, of keys that are normal: in
/// base 2.
pub fn expected(asked: &Asked<'_>, components: &[usize]) -> Vec<f64> {
    let dim = asked.dim();
    let count = (asked.keys.len() / dim.max(1)).max(1) as f64;
    let sum = |at: usize| f64::from(asked.sums.get(at).copied().unwrap_or(0.0));
    let of = |query: usize, j: usize| {
        let (mean, x) = (sum(j) / count, asked.factor(query, j));
        let variance = (sum(dim + j) / count - mean * mean).max(0.0);
        x * mean + LN_2 / 2.0 * x * x * variance
    };
    (0..asked.group).map(|query| components.iter().map(|&j| of(query, j)).sum()).collect()
}

/// Ranks `[rows]` of scores, less what is expected of each query row.
pub fn ranks(scores: &[Vec<f64>], expected: &[f64]) -> Vec<f64> {
    let rows = scores.first().map_or(0, Vec::len);
    let rank = |row: usize| {
        let all = || scores.iter().zip(expected).map(|(scores, less)| scores[row] - less);
        let top = all().fold(f64::NEG_INFINITY, f64::max);
        top + all().map(|score| (score - top).exp2()).sum::<f64>().log2()
    };
    (0..rows).map(rank).collect()
}
