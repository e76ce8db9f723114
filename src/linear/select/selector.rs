//! The selectors, as scalar references.

use super::{BUCKETS, Bounds, Budget, Ranking, Thresholds};
use crate::{Error, Result};
use std::cmp::Reverse;

/// How channels are found. All of them take exactly [`Budget::k`] channels, of equal ones those with
/// the lower index.
#[derive(Debug, Clone, PartialEq)]
pub enum Selector {
    /// The `k` largest of all channels, wherever they are: what the others are measured against.
    Exact,
    /// The largest of every chunk, as many as [`Budget::chunks`] gives it.
    ChunkRadix,
    /// Of every chunk whole buckets ([`Bounds`], of [`Thresholds::bounds`] of `k`) from the first, as
    /// long as they fit; of the next one as many as there is room for, by index. Calibrated on what the
    /// same ranking makes of a layer's inputs.
    Bucket32(Thresholds),
}

impl Selector {
    /// The channels to take at a step whose activations are `x [cols]`, ascending and without
    /// duplicates, `budget.k()` of them. But for [`Selector::Exact`], those of a chunk stand in the
    /// slots that [`Budget::chunks`] tells.
    ///
    /// # Errors
    /// [`Error::Shape`] where activations, norms or thresholds are not of `budget.cols()` channels,
    /// [`Error::Range`] for channels beyond u32.
    pub fn select(&self, ranking: &Ranking, x: &[f32], budget: &Budget) -> Result<Vec<u32>> {
        let cols = budget.cols();
        if x.len() != cols {
            return Err(Error::shape("activations", cols, x.len()));
        }
        let end = u32::try_from(cols)
            .map_err(|_| Error::range("input channels", format!("1..={}", u32::MAX), cols))?;
        let magnitudes = ranking.magnitudes(x)?;
        let channels: Vec<u32> = (0..end).collect();
        let mut taken = Vec::with_capacity(budget.k());
        match self {
            Self::Exact => taken.extend(largest(&magnitudes, channels, budget.k())),
            Self::ChunkRadix => {
                for (chunk, slots) in budget.chunks() {
                    taken.extend(largest(&magnitudes, channels[chunk].to_vec(), slots.len()));
                }
            }
            Self::Bucket32(thresholds) => {
                if thresholds.cols() != cols {
                    return Err(Error::shape("thresholds", cols, thresholds.cols()));
                }
                let bounds = thresholds.buckets(budget.k())?;
                for (chunk, slots) in budget.chunks() {
                    let of_chunk = &magnitudes[chunk.clone()];
                    taken.extend(bucketed(&bounds, of_chunk, &channels[chunk], slots.len()));
                }
            }
        }
        Ok(taken)
    }
}

/// The `k` of `channels` with the largest magnitudes, ascending.
fn largest(magnitudes: &[f32], mut channels: Vec<u32>, k: usize) -> Vec<u32> {
    // Bits of numbers that are not negative are in the numbers' order.
    let key = |channel: &u32| (Reverse(magnitudes[*channel as usize].to_bits()), *channel);
    if (1..channels.len()).contains(&k) {
        channels.select_nth_unstable_by_key(k - 1, key);
    }
    channels.truncate(k);
    channels.sort_unstable();
    channels
}

/// `k` of `channels`: whole buckets while they fit, then the next one's by index. `magnitudes` are
/// theirs.
fn bucketed(bounds: &Bounds, magnitudes: &[f32], channels: &[u32], k: usize) -> Vec<u32> {
    let buckets: Vec<usize> = magnitudes.iter().map(|x| bounds.bucket(*x)).collect();
    let mut counts = [0; BUCKETS];
    buckets.iter().for_each(|bucket| counts[*bucket] += 1);
    let (mut whole, mut room) = (0, k);
    for count in counts {
        if count > room {
            break;
        }
        room -= count;
        whole += 1;
    }
    let mut taken = Vec::with_capacity(k);
    for (channel, bucket) in channels.iter().zip(buckets) {
        if bucket < whole {
            taken.push(*channel);
        } else if bucket == whole && room > 0 {
            taken.push(*channel);
            room -= 1;
        }
    }
    taken
}
