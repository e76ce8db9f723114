//! The selection by sorting.

use super::{Method, SelectChannels};
use crate::{Error, Result};
use half::f16;
use std::cmp::Ordering;
use std::ops::Range;

/// The list, by sorting; `norms` of f16 where the ranking is weighted, else none.
///
/// # Errors
/// [`Error::Shape`] when there is not one activation of every vector and, where weighted, one norm
/// a channel.
pub fn reference(spec: &SelectChannels, x: &[f32], norms: &[f16]) -> Result<Vec<u32>> {
    spec.check()?;
    let cols = spec.budget.cols();
    if x.len() != spec.x_len() {
        return Err(Error::shape("length of x", format!("{} x {cols}", spec.batch), x.len()));
    }
    let expected = if spec.weighted { cols } else { 0 };
    if norms.len() != expected {
        return Err(Error::shape("norms of channels", expected, norms.len()));
    }
    Ok(x.chunks_exact(cols).flat_map(|x| of_vector(spec, x, norms)).collect())
}

/// The list of one vector.
fn of_vector(spec: &SelectChannels, x: &[f32], norms: &[f16]) -> Vec<u32> {
    let rank = |channel: usize| {
        let norm = if spec.weighted { norms[channel].to_f32() } else { 1.0 };
        let rank = x[channel].abs() * norm;
        if rank.is_nan() { 0.0 } else { rank }
    };
    // The better one is less; of equals the lower index.
    let order = |&a: &usize, &b: &usize| -> Ordering {
        let better = match &spec.method {
            Method::Bucket32(bounds) => {
                // The last bound is 0, which everything reaches.
                let bucket = |rank: f32| bounds.iter().take_while(|bound| rank < **bound).count();
                bucket(rank(a)).cmp(&bucket(rank(b)))
            }
            Method::ChunkRadix | Method::Exact => rank(b).total_cmp(&rank(a)),
        };
        better.then(a.cmp(&b))
    };
    let best = |channels: Range<usize>, take: usize| -> Vec<u32> {
        let mut all: Vec<usize> = channels.collect();
        all.sort_by(order);
        all.truncate(take);
        all.sort_unstable();
        all.into_iter().map(|channel| channel as u32).collect()
    };
    match spec.method {
        Method::Exact => best(0..x.len(), spec.budget.k()),
        Method::ChunkRadix | Method::Bucket32(_) => {
            let chunks = spec.budget.chunks();
            chunks.flat_map(|(channels, slots)| best(channels, slots.len())).collect()
        }
    }
}
