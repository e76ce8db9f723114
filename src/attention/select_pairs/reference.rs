//! What is selected, from the definition: sorted.

use super::{Cut, Found, NAME, Report, SelectPairs};
use crate::{Error, Result};

/// What a selection makes.
#[derive(Debug, Clone, PartialEq)]
pub struct Selected {
    /// Whether each pair is kept, `[layers, heads, n]`.
    pub keep: Vec<bool>,
    /// What a host reads.
    pub report: Report,
}

/// The pairs kept of scores `[layers, heads, n]`, one layer after the other without gaps. A budget above
/// the pairs of its segment counts as all of them, and one below those that are always kept as these, as
/// on a device: [`SelectPairs::check_budgets`] refuses both.
///
/// # Errors
/// As [`Spec::launches`](crate::launch::Spec::launches); [`Error::Shape`] for another number of budgets or
/// scores.
pub fn reference(spec: &SelectPairs, scores: &[f32], budgets: &[u32]) -> Result<Selected> {
    spec.check()?;
    spec.check_budget_count(budgets)?;
    if scores.len() != spec.pairs() {
        return Err(Error::shape(format!("scores of {NAME}"), spec.pairs(), scores.len()));
    }
    let size = spec.segment_pairs();
    let mut keep = vec![false; scores.len()];
    let mut segments = Vec::new();
    for (segment, &budget) in budgets.iter().enumerate() {
        let budget = (budget as usize).clamp(spec.always(), size);
        let always = |pair: usize| {
            let position = pair % spec.n;
            position < spec.sink || position.saturating_add(spec.recent) >= spec.n
        };
        let score = |pair: usize| match scores[pair] {
            score if score.is_nan() || score == 0.0 => 0.0,
            score => score,
        };
        // Always kept, whatever the score, or not, and then by score: what comes first is kept first. Pairs
        // are in the order of layer, head and position, and the sort is stable.
        let rank = |pair: usize| (always(pair), if always(pair) { 0.0 } else { score(pair) });
        let after = |a: usize, b: usize| {
            let ((a, x), (b, y)) = (rank(a), rank(b));
            b.cmp(&a).then(y.total_cmp(&x))
        };
        let mut order: Vec<usize> = (segment * size..(segment + 1) * size).collect();
        order.sort_by(|&a, &b| after(a, b));
        let strict = spec.cut == Cut::RefStrict && budget < size;
        let last = if strict { budget.max(1) } else { budget };
        let Some(&last) = last.checked_sub(1).and_then(|at| order.get(at)) else {
            segments.push(Found { threshold: None, equal: 0, kept: 0 });
            continue;
        };
        let equal: Vec<usize> = order.iter().copied().filter(|&p| after(p, last).is_eq()).collect();
        let kept: Vec<usize> = if strict {
            let above = |&pair: &usize| after(pair, last).is_lt() || always(pair);
            order.iter().copied().filter(above).collect()
        } else {
            order[..budget].to_vec()
        };
        kept.iter().for_each(|&pair| keep[pair] = true);
        segments.push(Found {
            threshold: (!always(last)).then(|| score(last)),
            equal: equal.len() as u32,
            kept: equal.iter().filter(|&&pair| keep[pair]).count() as u32,
        });
    }
    let nans = scores.iter().filter(|score| score.is_nan()).count() as u32;
    let kept = match spec.n {
        0 => vec![0; spec.rows()],
        n => keep.chunks(n).map(|row| row.iter().filter(|kept| **kept).count() as u32).collect(),
    };
    Ok(Selected { keep, report: Report { nans, segments, kept } })
}
