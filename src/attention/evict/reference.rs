//! The selection by sorting, from the definition: what [`select`](super::select) has to equal.

use super::{Eviction, KeepMask, PairRule, Rule, Scores, Selection, share};
use crate::Result;

/// What [`select`](super::select) gives, by sorting all pairs. Takes 16 bytes and more a pair.
///
/// # Errors
/// As [`select`](super::select).
pub fn select(scores: &Scores, eviction: &Eviction) -> Result<Selection> {
    eviction.check()?;
    let (layers, heads, n) = (scores.layers(), scores.heads(), scores.n() as usize);
    let rank = |row: usize, position: usize| {
        let (sink, recent) = (eviction.n_sink as usize, eviction.n_recent as usize);
        let of = scores.head(row / heads, row % heads);
        // What stays by its place comes before any score.
        let placed = position < sink || position + recent >= n;
        let score = match eviction.rule {
            Rule::Head(_) => of.iter().copied().fold(f32::NEG_INFINITY, f32::max),
            _ => of[position],
        };
        (placed, score)
    };
    // Budgets, each over the pairs of some rows.
    let rows = layers * heads;
    let budgets: Vec<std::ops::Range<usize>> = match eviction.rule {
        Rule::Pair(_) | Rule::Head(_) => std::iter::once(0..rows).collect(),
        Rule::PairPerLayer => (0..layers).map(|layer| layer * heads..(layer + 1) * heads).collect(),
        Rule::PairUniform => (0..rows).map(|row| row..row + 1).collect(),
    };
    let mut mask = KeepMask::new(layers, heads, scores.n())?;
    let mut threshold = None;
    for of in budgets {
        let mut sorted: Vec<(usize, usize)> =
            of.flat_map(|row| (0..n).map(move |position| (row, position))).collect();
        sorted.sort_by(|a, b| {
            let (x, y) = (rank(a.0, a.1), rank(b.0, b.1));
            y.0.cmp(&x.0).then(y.1.total_cmp(&x.1)).then(a.cmp(b))
        });
        let placed = sorted.iter().filter(|(row, position)| rank(*row, *position).0).count();
        let budget = (share(sorted.len() as u64, eviction.ratio) as usize).max(placed);
        let strict = match eviction.rule {
            Rule::Pair(rule) | Rule::Head(rule) => rule == PairRule::RefStrict,
            _ => false,
        };
        let count = if eviction.ratio == 1.0 {
            sorted.len()
        } else if strict && !sorted.is_empty() {
            let at = ((sorted.len() as f64 * eviction.ratio) as usize).saturating_sub(1);
            let (of_place, limit) = rank(sorted[at].0, sorted[at].1);
            threshold = (!of_place).then_some(limit);
            let stays = |pair: &&(usize, usize)| {
                let (own, score) = rank(pair.0, pair.1);
                own || (!of_place && score > limit)
            };
            sorted.iter().filter(stays).count()
        } else if let Rule::Head(_) = eviction.rule {
            // Heads whose last free pair is within the budget.
            let free = (n * rows - placed) / rows;
            placed + (budget - placed).checked_div(free).unwrap_or(0) * free
        } else {
            budget
        };
        let one = matches!(eviction.rule, Rule::Pair(_) | Rule::Head(_));
        if one && !strict && count > placed && eviction.ratio < 1.0 {
            let (row, position) = sorted[count - 1];
            threshold = Some(rank(row, position).1);
        }
        for (row, position) in &sorted[..count] {
            mask.set(*row, *position, std::iter::once(true));
        }
    }
    Ok(Selection::new(mask, threshold, scores.nan()))
}
