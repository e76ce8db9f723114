//! Matrices in square tiles, and the one loop that Hessians and LNQ spend their time in.
//!
//! A tile of [`SIDE`] x [`SIDE`] f32 is 16 KiB, half of a first-level cache, and lies in one piece:
//! rows that stay 16 KiB apart, as in a plain matrix of 4096 columns, would all claim the same few
//! cache lines.

use std::ops::{Add, AddAssign, Mul, Neg, Sub};

/// Rows and columns of a tile.
pub(crate) const SIDE: usize = 64;

/// `tile[row][column]`.
pub(crate) type Tile = [[f32; SIDE]; SIDE];

/// Numbers that sums are made in.
pub(crate) trait Real:
    Copy
    + Default
    + PartialOrd
    + Send
    + Sync
    + Add<Output = Self>
    + AddAssign
    + Mul<Output = Self>
    + Sub<Output = Self>
    + Neg<Output = Self>
{
    fn of(value: f32) -> Self;
    fn round(value: f64) -> Self;
    fn wide(self) -> f64;
}

impl Real for f32 {
    #[inline(always)]
    fn of(value: f32) -> Self {
        value
    }

    #[inline(always)]
    fn round(value: f64) -> Self {
        value as Self
    }

    #[inline(always)]
    fn wide(self) -> f64 {
        self.into()
    }
}

impl Real for f64 {
    #[inline(always)]
    fn of(value: f32) -> Self {
        value.into()
    }

    #[inline(always)]
    fn round(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn wide(self) -> f64 {
        self
    }
}

/// A square matrix of whole tiles, zero beyond its size.
pub(crate) struct Tiles {
    across: usize,
    tiles: Vec<Tile>,
}

impl Tiles {
    /// A matrix of `size` x `size`. `fill(row, column, tile)` fills the tile at that place of the
    /// grid, all zero before.
    pub(crate) fn new(size: usize, fill: impl Fn(usize, usize, &mut Tile) + Sync) -> Self {
        let across = size.div_ceil(SIDE);
        let mut tiles = vec![[[0.0; SIDE]; SIDE]; across * across];
        let columns = tiles.chunks_exact_mut(across.max(1)).enumerate().collect();
        super::parallel::each(columns, |(column, tiles): (usize, &mut [Tile])| {
            for (row, tile) in tiles.iter_mut().enumerate() {
                fill(row, column, tile);
            }
        });
        Self { across, tiles }
    }

    /// Tiles in a row or column of the grid.
    pub(crate) fn across(&self) -> usize {
        self.across
    }

    /// The tile at a place of the grid.
    pub(crate) fn at(&self, row: usize, column: usize) -> &Tile {
        &self.tiles[column * self.across + row]
    }

    /// The same, to be changed.
    pub(crate) fn at_mut(&mut self, row: usize, column: usize) -> &mut Tile {
        &mut self.tiles[column * self.across + row]
    }
}

/// Some of a tile's rows with a factor for each: a sparse row vector.
#[derive(Clone)]
pub(crate) struct Terms<T> {
    len: usize,
    terms: [(u8, T); SIDE],
}

impl<T: Real> Default for Terms<T> {
    fn default() -> Self {
        Self { len: 0, terms: [(0, T::default()); SIDE] }
    }
}

impl<T: Real> Terms<T> {
    #[inline(always)]
    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    /// Adds a term; there are never more than [`SIDE`], one for each row.
    #[inline(always)]
    pub(crate) fn push(&mut self, row: usize, factor: T) {
        self.terms[self.len] = (row as u8, factor);
        self.len += 1;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline(always)]
    fn as_slice(&self) -> &[(u8, T)] {
        &self.terms[..self.len]
    }
}

/// Columns summed at a time: what the registers of every 64-bit machine hold.
const HELD: usize = 32;

/// `sums += terms * tile`. Terms are added one after the other for every column, so that the result
/// is the same whatever the width of the machine's registers.
#[inline(always)]
fn add_terms<T: Real>(sums: &mut [T; SIDE], terms: &[(u8, T)], tile: &Tile) {
    for (part, sums) in sums.as_chunks_mut::<HELD>().0.iter_mut().enumerate() {
        let mut held = *sums;
        for &(row, factor) in terms {
            let row = &tile[usize::from(row) % SIDE].as_chunks::<HELD>().0[part];
            for (sum, &value) in held.iter_mut().zip(row) {
                *sum += factor * T::of(value);
            }
        }
        *sums = held;
    }
}

/// `sums += factors * tile`, all rows of the tile.
#[inline(always)]
fn add_all<T: Real>(sums: &mut [T; SIDE], factors: &[T; SIDE], tile: &Tile) {
    for (part, sums) in sums.as_chunks_mut::<HELD>().0.iter_mut().enumerate() {
        let mut held = *sums;
        for (row, &factor) in tile.iter().zip(factors) {
            let row = &row.as_chunks::<HELD>().0[part];
            for (sum, &value) in held.iter_mut().zip(row) {
                *sum += factor * T::of(value);
            }
        }
        *sums = held;
    }
}

/// For each row, `sums += terms * tile`.
pub(crate) fn add_sparse<T: Real>(sums: &mut [[T; SIDE]], terms: &[Terms<T>], tile: &Tile) {
    struct Task<'a, T>(&'a mut [[T; SIDE]], &'a [Terms<T>], &'a Tile);
    impl<T: Real> Vectorised for Task<'_, T> {
        #[inline(always)]
        fn run(self) {
            for (sums, terms) in self.0.iter_mut().zip(self.1) {
                if !terms.is_empty() {
                    add_terms(sums, terms.as_slice(), self.2);
                }
            }
        }
    }
    vectorised(Task(sums, terms, tile));
}

/// For each row, `sums += factors * tile`.
pub(crate) fn add_dense<T: Real>(sums: &mut [[T; SIDE]], factors: &[[T; SIDE]], tile: &Tile) {
    struct Task<'a, T>(&'a mut [[T; SIDE]], &'a [[T; SIDE]], &'a Tile);
    impl<T: Real> Vectorised for Task<'_, T> {
        #[inline(always)]
        fn run(self) {
            for (sums, factors) in self.0.iter_mut().zip(self.1) {
                add_all(sums, factors, self.2);
            }
        }
    }
    vectorised(Task(sums, factors, tile));
}

/// For each row, adds every row of the tile to the one of the sums that its label names:
/// `sums[row * levels + labels[row][i]] += tile[i]`.
pub(crate) fn add_by_label<T: Real>(
    sums: &mut [[T; SIDE]],
    levels: usize,
    labels: &[[u8; SIDE]],
    tile: &Tile,
) {
    struct Task<'a, T>(&'a mut [[T; SIDE]], usize, &'a [[u8; SIDE]], &'a Tile);
    impl<T: Real> Vectorised for Task<'_, T> {
        #[inline(always)]
        fn run(self) {
            for (sums, labels) in self.0.chunks_exact_mut(self.1).zip(self.2) {
                for (row, &label) in self.3.iter().zip(labels) {
                    for (sum, &value) in sums[usize::from(label)].iter_mut().zip(row) {
                        *sum += T::of(value);
                    }
                }
            }
        }
    }
    vectorised(Task(sums, levels, labels, tile));
}

/// A loop to be compiled for the widest registers that the machine has.
pub(crate) trait Vectorised {
    /// Has to be inlined, with all it calls.
    fn run(self);
}

/// Runs a loop. Without the feature `simd` it is compiled for the target's baseline alone.
#[inline]
pub(crate) fn vectorised(task: impl Vectorised) {
    #[cfg(feature = "simd")]
    {
        struct Wide<V>(V);
        impl<V: Vectorised> pulp::NullaryFnOnce for Wide<V> {
            type Output = ();

            #[inline(always)]
            fn call(self) {
                self.0.run();
            }
        }
        pulp::Arch::new().dispatch(Wide(task));
    }
    #[cfg(not(feature = "simd"))]
    task.run();
}
