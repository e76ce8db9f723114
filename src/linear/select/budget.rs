//! How many channels are taken, of which.

use crate::{Error, Result};
use std::ops::Range;

/// Channels of a chunk.
pub const CHUNK: usize = 1024;

/// How many channels of a layer a step may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Budget {
    cols: usize,
    k_chunk: usize,
}

impl Budget {
    /// `k_chunk` channels of every [`CHUNK`] of a layer's `cols`; 0 takes none.
    ///
    /// # Errors
    /// [`Error::Range`] for more than a chunk has, [`Error::Shape`] for a layer without channels.
    pub fn new(cols: usize, k_chunk: usize) -> Result<Self> {
        if cols == 0 {
            return Err(Error::shape("channels", "at least 1", 0));
        }
        if k_chunk > CHUNK {
            return Err(Error::range("k_chunk", format!("0..={CHUNK}"), k_chunk));
        }
        Ok(Self { cols, k_chunk })
    }

    /// Input channels of the layer.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Channels taken of a whole chunk.
    pub fn k_chunk(&self) -> usize {
        self.k_chunk
    }

    /// Channels taken of all.
    pub fn k(&self) -> usize {
        self.cols / CHUNK * self.k_chunk + self.cols % CHUNK * self.k_chunk / CHUNK
    }

    /// The chunks: their channels, and where theirs stand in the list of those taken.
    pub fn chunks(&self) -> impl Iterator<Item = (Range<usize>, Range<usize>)> + use<> {
        let Self { cols, k_chunk } = *self;
        (0..cols.div_ceil(CHUNK)).map(move |chunk| {
            let first = chunk * CHUNK;
            let channels = first..cols.min(first + CHUNK);
            let slot = chunk * k_chunk;
            let taken = channels.len() * k_chunk / CHUNK;
            (channels, slot..slot + taken)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_partition_channels_and_slots() {
        for cols in [1, 576, 1023, 1024, 1025, 1536, 4096, 14336] {
            for k_chunk in [0, 1, 2, 7, 64, 1023, 1024] {
                let budget = Budget::new(cols, k_chunk).unwrap();
                let (mut channel, mut slot) = (0, 0);
                for (channels, slots) in budget.chunks() {
                    assert_eq!((channels.start, slots.start), (channel, slot));
                    assert!(slots.len() <= channels.len());
                    (channel, slot) = (channels.end, slots.end);
                }
                assert_eq!((channel, slot), (cols, budget.k()), "{cols} {k_chunk}");
            }
        }
        assert_eq!(Budget::new(576, 1).unwrap().k(), 0);
        assert_eq!(Budget::new(14336, 1024).unwrap().k(), 14336);
    }

    #[test]
    fn what_no_chunk_has_is_refused() {
        assert!(matches!(Budget::new(10, 1025), Err(Error::Range { .. })));
        assert!(matches!(Budget::new(0, 1), Err(Error::Shape { .. })));
    }
}
