//! Tiles of matrix rows and vectors, and how the lanes of a workgroup share one.

use super::bitplane::Shape;
use crate::launch::{Caps, Knobs, Needs, Part, part};
use crate::{Error, Result};
use std::fmt::Write as _;

/// Matrix rows that a tile can have.
const ROWS: [u32; 3] = [32, 64, 128];
/// Elements of a cooperative matrix.
const FRAGMENT: u32 = 256;

/// A tile, see `shaders/linear/tile.wgsl` and `matrix_tile.wgsl`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tile {
    /// Lanes, and matrix rows.
    pub(super) shape: Shape,
    vectors: u32,
    share: Share,
}

/// What one lane adds up, rows by vectors, or one subgroup with cooperative matrices.
#[derive(Debug, Clone, Copy)]
enum Share {
    FourByFour,
    EightByFour,
    EightByEight,
    OneFragment,
    TwoFragments,
    FourFragments,
}

impl Tile {
    /// What the knobs say, or what suits the batch. `halves` tells whether both factors are f16:
    /// cooperative matrices are for those, and are the default where the device has them and the
    /// memory.
    pub(super) fn new(
        kernel: &str,
        caps: &Caps,
        knobs: &Knobs,
        batch: usize,
        halves: bool,
    ) -> Result<Self> {
        Self::beside(kernel, caps, knobs, batch, halves, |_| 0)
    }

    /// As [`Tile::new`], in workgroup memory that holds something else too: `others` says how many
    /// bytes of it go with so many rows.
    pub(super) fn beside(
        kernel: &str,
        caps: &Caps,
        knobs: &Knobs,
        batch: usize,
        halves: bool,
        others: impl Fn(u32) -> u32,
    ) -> Result<Self> {
        let lanes = || Self::by_lanes(kernel, caps, knobs, batch);
        let matrices = || Self::by_matrices(kernel, caps, knobs, batch);
        match knobs.matrix {
            Some(true) if !halves => {
                let what = format!("{kernel} with cooperative matrices");
                Err(Error::unsupported(what, "both factors have to be f16"))
            }
            Some(true) => matrices(),
            // What was asked for may be a shape, or leave memory, that only lanes can do with.
            None if halves && caps.has_matrices() => {
                let bytes = |tile: &Self| tile.bytes().saturating_add(others(tile.rows()));
                let fits = |tile: &Self| bytes(tile) <= caps.max_workgroup_bytes;
                matrices().ok().filter(fits).map_or_else(lanes, Ok)
            }
            _ => lanes(),
        }
    }

    fn by_lanes(kernel: &str, caps: &Caps, knobs: &Knobs, batch: usize) -> Result<Self> {
        let vectors = vectors_of(batch);
        let lanes = if vectors < 64 { 64 } else { 128 };
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

    fn by_matrices(kernel: &str, caps: &Caps, knobs: &Knobs, batch: usize) -> Result<Self> {
        let workgroup = 2 * knobs.rows.unwrap_or(64).min(128);
        let shape = Shape { workgroup, rows: 64 }.or(kernel, caps, knobs, &ROWS)?;
        let vectors = shape.rows.min(vectors_of(batch));
        // Sixteen columns a step at least, and whole matrices of them.
        if ![2 * shape.rows, 4 * shape.rows].contains(&shape.workgroup) {
            let what = format!("workgroup of {kernel} with {} rows and matrices", shape.rows);
            let limit = format!("{}, {}", 2 * shape.rows, 4 * shape.rows);
            return Err(Error::range(what, limit, shape.workgroup));
        }
        let fragments = shape.rows * vectors / FRAGMENT;
        let each = fragments / (shape.workgroup / Caps::MATRIX_LANES);
        let share = match each {
            1 => Share::OneFragment,
            2 => Share::TwoFragments,
            4 => Share::FourFragments,
            _ => {
                let what = format!(
                    "matrices a subgroup of {kernel}, {} rows by {vectors} vectors over {} lanes",
                    shape.rows, shape.workgroup
                );
                return Err(Error::range(what, "1, 2, 4", each));
            }
        };
        Ok(Self { shape, vectors, share })
    }

    /// Whether products are made by cooperative matrices.
    pub(super) fn matrix(&self) -> bool {
        matches!(self.share, Share::OneFragment | Share::TwoFragments | Share::FourFragments)
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

    fn subgroups(&self) -> u32 {
        self.shape.workgroup / Caps::MATRIX_LANES
    }

    /// Bytes of workgroup memory.
    fn bytes(&self) -> u32 {
        let places = self.shape.rows + self.vectors;
        if self.matrix() {
            places * (self.runs() + 1) * 16 + self.subgroups() * FRAGMENT * 4
        } else {
            places * self.runs() * 32
        }
    }

    /// What the tile asks of a device.
    pub(super) fn needs(&self) -> Needs {
        Needs {
            f16: self.matrix(),
            subgroups: self.matrix(),
            matrix: self.matrix(),
            workgroup_bytes: self.bytes(),
            invocations: self.workgroup(),
            ..Needs::default()
        }
    }

    pub(super) fn preamble(&self) -> String {
        let mut preamble = String::new();
        let _ = writeln!(preamble, "const VECTORS: u32 = {}u;", self.vectors);
        let _ = writeln!(preamble, "const RUNS: u32 = {}u;", self.runs());
        if self.matrix() {
            let _ = writeln!(preamble, "const SUBGROUPS: u32 = {}u;", self.subgroups());
        }
        preamble
    }

    pub(super) fn parts(&self) -> Vec<Part> {
        let lanes = |share| vec![part!("lib/products.wgsl"), part!("linear/tile.wgsl"), share];
        let matrices = |share| vec![part!("linear/matrix_tile.wgsl"), share];
        match self.share {
            Share::FourByFour => lanes(part!("linear/lane_4x4.wgsl")),
            Share::EightByFour => lanes(part!("linear/lane_8x4.wgsl")),
            Share::EightByEight => lanes(part!("linear/lane_8x8.wgsl")),
            Share::OneFragment => matrices(part!("linear/matrix_1x1.wgsl")),
            Share::TwoFragments => matrices(part!("linear/matrix_2x1.wgsl")),
            Share::FourFragments => matrices(part!("linear/matrix_2x2.wgsl")),
        }
    }

    /// Shapes worth timing, by lanes and, where the device has them, by matrices.
    pub(super) fn candidates(caps: &Caps) -> Vec<Knobs> {
        let shapes = [(32, 32), (32, 64), (64, 64), (64, 128), (64, 256), (128, 128), (128, 256)];
        let has = caps.has_matrices();
        // Without matrices there is nothing to choose, and the knob stays open.
        let lanes = shapes.map(|shape| (shape, has.then_some(false)));
        let shapes = [(32, 64), (64, 128), (64, 256), (128, 256), (128, 512)];
        let matrices = shapes.map(|shape| (shape, Some(true))).into_iter().filter(|_| has);
        let knobs = |((rows, workgroup), matrix)| Knobs {
            rows: Some(rows),
            workgroup: Some(workgroup),
            matrix,
            ..Knobs::DEFAULT
        };
        lanes.into_iter().chain(matrices).map(knobs).collect()
    }
}

/// Vectors of a tile: the fewest that hold the batch.
fn vectors_of(batch: usize) -> u32 {
    match batch {
        0..=16 => 16,
        17..=32 => 32,
        _ => 64,
    }
}

#[cfg(test)]
mod tests;
