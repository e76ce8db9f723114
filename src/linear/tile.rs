//! Tiles of matrix rows and vectors, and how the lanes of a workgroup share one.

use super::bitplane::Shape;
use crate::launch::{Caps, Knobs, Part, part};
use crate::{Error, Result};
use std::fmt::Write as _;

/// Matrix rows that a tile can have.
const ROWS: [u32; 3] = [32, 64, 128];

/// A tile, see `shaders/linear/tile.wgsl`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tile {
    /// Lanes, and matrix rows.
    pub(super) shape: Shape,
    vectors: u32,
    share: Share,
}

/// Rows and vectors whose products one lane adds up.
#[derive(Debug, Clone, Copy)]
enum Share {
    FourByFour,
    EightByFour,
    EightByEight,
}

impl Tile {
    /// What the knobs say, or what suits the batch.
    pub(super) fn new(kernel: &str, caps: &Caps, knobs: &Knobs, batch: usize) -> Result<Self> {
        let (lanes, vectors) = match batch {
            0..=16 => (64, 16),
            17..=32 => (64, 32),
            _ => (128, 64),
        };
        // The default lanes are for 64 rows; with others each lane keeps its share.
        let workgroup = match knobs.rows {
            Some(32) => lanes / 2,
            Some(128) => lanes * 2,
            _ => lanes,
        };
        let shape = Shape { workgroup, rows: 64 }.or(kernel, caps, knobs, &ROWS)?;
        let vectors = shape.rows.min(vectors);
        let each = shape.rows * vectors / shape.workgroup;
        let share = match each {
            16 => Share::FourByFour,
            32 => Share::EightByFour,
            64 => Share::EightByEight,
            _ => {
                let what = format!(
                    "products a lane of {kernel}, {} rows by {vectors} vectors over {} lanes",
                    shape.rows, shape.workgroup
                );
                return Err(Error::range(what, "16, 32, 64", each));
            }
        };
        if shape.workgroup < shape.rows {
            let what = format!("workgroup of {kernel} with {} rows", shape.rows);
            return Err(Error::range(what, format!("at least {}", shape.rows), shape.workgroup));
        }
        Ok(Self { shape, vectors, share })
    }

    pub(super) fn workgroup(&self) -> u32 {
        self.shape.workgroup
    }

    pub(super) fn rows(&self) -> u32 {
        self.shape.rows
    }

    /// Tiles that a batch needs.
    pub(super) fn across(&self, batch: usize) -> u64 {
        (batch as u64).div_ceil(self.vectors.into())
    }

    /// Runs of eight columns that are staged at a time.
    fn runs(&self) -> u32 {
        self.shape.workgroup / self.shape.rows
    }

    /// Bytes of workgroup memory.
    pub(super) fn bytes(&self) -> u32 {
        (self.shape.rows + self.vectors) * self.runs() * 32
    }

    pub(super) fn preamble(&self) -> String {
        let mut preamble = String::new();
        let _ = writeln!(preamble, "const VECTORS: u32 = {}u;", self.vectors);
        let _ = writeln!(preamble, "const RUNS: u32 = {}u;", self.runs());
        preamble
    }

    pub(super) fn parts(&self) -> [Part; 3] {
        [
            part!("lib/products.wgsl"),
            part!("linear/tile.wgsl"),
            match self.share {
                Share::FourByFour => part!("linear/lane_4x4.wgsl"),
                Share::EightByFour => part!("linear/lane_8x4.wgsl"),
                Share::EightByEight => part!("linear/lane_8x8.wgsl"),
            },
        ]
    }
}
