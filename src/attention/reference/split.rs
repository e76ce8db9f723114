//! The same in two steps, as a plan spreads it: a state for every segment, and their merge.

use super::{Attended, Queries, State};
use crate::attention::{KvCache, Plan};
use crate::{Error, Result};

/// The states of every segment of a plan, of the `q_len G` queries of its head: those of token `i` and
/// query head `h G + g` are number `i G + g`. A segment that a kernel would write directly has its
/// state here all the same.
///
/// # Errors
/// As [`decode_attention`](super::decode_attention), and [`Error::Shape`] for a plan for another number
/// of heads. A stale plan is no error: it covers every row.
pub fn decode_split(
    queries: &Queries<'_>,
    cache: &KvCache,
    plan: &Plan,
) -> Result<Vec<Vec<State>>> {
    let group = queries.check(cache)?;
    check_heads(plan, cache)?;
    let mut states = vec![Vec::new(); plan.segments().len()];
    for head in 0..cache.shape().kv_heads() {
        let data = cache.head(head)?;
        let segments = plan.segments().iter().zip(&mut states);
        let segments: Vec<_> = segments.filter(|(s, _)| s.head as usize == head).collect();
        let seen: Result<Vec<Vec<u32>>> =
            (0..queries.q_len).map(|token| queries.seen(cache, head, token)).collect();
        let seen = seen?;
        for (segment, states) in segments {
            for (token, seen) in seen.iter().enumerate() {
                let within = |row: &&u32| (segment.start..segment.end).contains(*row);
                let rows: Vec<u32> = seen.iter().filter(within).copied().collect();
                for query_head in head * group..(head + 1) * group {
                    let q = queries.row(token, query_head);
                    states.push(State::over(q, &data, &rows, &queries.logits));
                }
            }
        }
    }
    Ok(states)
}

/// Puts the states of [`decode_split`] together.
///
/// # Errors
/// As [`decode_split`], and [`Error::Shape`] for states that are not the plan's.
pub fn decode_merge(
    queries: &Queries<'_>,
    cache: &KvCache,
    plan: &Plan,
    states: &[Vec<State>],
) -> Result<Attended> {
    let group = queries.check(cache)?;
    check_heads(plan, cache)?;
    if states.len() != plan.segments().len() {
        return Err(Error::shape("states of segments", plan.segments().len(), states.len()));
    }
    let per_segment = queries.q_len * group;
    if let Some(at) = states.iter().position(|states| states.len() != per_segment) {
        let what = format!("states of segment {at}");
        return Err(Error::shape(what, per_segment, states[at].len()));
    }
    let mut attended = Attended::zeros(queries);
    for head in 0..cache.shape().kv_heads() {
        let segments = plan.segments().iter().zip(states);
        let of: Vec<_> = segments.filter(|(s, _)| s.head as usize == head).collect();
        for at in 0..per_segment {
            let parts: Vec<State> = of.iter().map(|(_, states)| states[at].clone()).collect();
            let merged = State::merge(&parts, cache.shape().head_dim());
            let query = (at / group, head * group + at % group);
            attended.put(queries, query, &merged);
        }
    }
    Ok(attended)
}

fn check_heads(plan: &Plan, cache: &KvCache) -> Result<()> {
    let heads = cache.shape().kv_heads();
    let same = plan.heads() == heads;
    same.then_some(()).ok_or_else(|| Error::shape("KV heads of the plan", heads, plan.heads()))
}
