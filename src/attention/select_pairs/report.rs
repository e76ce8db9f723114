//! What a selection tells.

use super::{NAME, SelectPairs};
use crate::attention::evict::key::{key, score};
use crate::{Error, Result};

/// Words before the segments'.
pub(super) const HEADER: usize = 4;
/// Words of a segment.
pub(super) const SEGMENT: usize = 4;
/// The key of a pair that is always kept.
pub(super) const ALWAYS: u32 = u32::MAX;

/// What was found of a segment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found {
    /// The score of the last pair that its budget allows; nothing where that is one that is always kept,
    /// and where the budget is 0.
    pub threshold: Option<f32>,
    /// Pairs of that score; of those that are always kept all, where it is one of them.
    pub equal: u32,
    /// How many of these are kept.
    pub kept: u32,
}

/// What a host reads of a selection.
///
/// On a device: the number of NaN and three words of 0; of every segment `key, kept, equal, 0`, where the
/// key is the threshold's bits, all flipped of a negative one and the first of another, or the largest u32;
/// of every head, layer by layer, its kept pairs.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Scores that were NaN, which counted as 0.
    pub nans: u32,
    /// What was found of every segment.
    pub segments: Vec<Found>,
    /// Kept pairs of every head, layer by layer.
    pub kept: Vec<u32>,
}

impl Report {
    /// The report of a selection from its words; where there are no scores, of whatever words.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of words.
    pub fn of(spec: &SelectPairs, words: &[u32]) -> Result<Self> {
        let shape = || {
            Error::shape(format!("words of the report of {NAME}"), spec.report_len(), words.len())
        };
        if words.len() != spec.report_len() {
            return Err(shape());
        }
        if spec.pairs() == 0 {
            let none = Found { threshold: None, equal: 0, kept: 0 };
            let segments = vec![none; spec.segment_count()];
            return Ok(Self { nans: 0, segments, kept: vec![0; spec.rows()] });
        }
        let (head, rest) = words.split_at_checked(HEADER).ok_or_else(shape)?;
        let segments = spec.segment_count() * SEGMENT;
        let (segments, kept) = rest.split_at_checked(segments).ok_or_else(shape)?;
        let found = |words: &[u32]| match *words {
            [last, kept, equal, _] => {
                Found { threshold: (last != ALWAYS).then(|| score(last)), equal, kept }
            }
            _ => Found { threshold: None, equal: 0, kept: 0 },
        };
        Ok(Self {
            nans: head.first().copied().unwrap_or(0),
            segments: segments.chunks_exact(SEGMENT).map(found).collect(),
            kept: kept.to_vec(),
        })
    }

    /// Kept pairs of all heads.
    pub fn pairs(&self) -> u64 {
        self.kept.iter().map(|kept| u64::from(*kept)).sum()
    }

    /// Its words, as a device writes them.
    pub fn words(&self) -> Vec<u32> {
        let segments = self.segments.iter().flat_map(|found| {
            let last = found.threshold.map_or(ALWAYS, key);
            [last, found.kept, found.equal, 0]
        });
        [self.nans, 0, 0, 0].into_iter().chain(segments).chain(self.kept.clone()).collect()
    }
}
