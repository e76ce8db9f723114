//! The 32 buckets of magnitude.

use super::ranking::magnitude;
use crate::{Error, Result};

/// Buckets of magnitude.
pub const BUCKETS: usize = 32;

/// The bucket that ends at `b`: the first 16 hold what is at least `b`.
const AT_B: usize = 15;

/// Lower bounds `B_i` of the buckets, which never rise; a magnitude is in the first bucket whose bound
/// it reaches. Bucket 0 has no upper bound, and the last begins at 0.
///
/// Of `a >= b >= 0`, each step rounded to f32, nothing fused:
///
/// ```text
/// B_0  = a
/// B_i  = b + (a - b) * ((15 - i) / 15)    i = 1 ..= 14
/// B_15 = b
/// B_i  = b * ((31 - i) / 16)              i = 16 ..= 31; the factor is exact
/// ```
///
/// `(b - a) * i` in the place of the product would overflow from `a` = 2.3e37 on. A shader is best given
/// the 32 numbers: WGSL lets a compiler fuse and reorder sums and divide inexactly, and bounds that it
/// computes itself may differ in their last bits. Compared as bits of u32, which have the order of
/// magnitudes, subnormal numbers that a device would flush to zero keep their places too.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    lower: [f32; BUCKETS],
}

impl Bounds {
    /// Buckets from `a` on, between `a` and `b`, and below `b`.
    ///
    /// # Errors
    /// [`Error::Range`] unless `a >= b >= 0` and `a` is finite.
    pub fn new(a: f32, b: f32) -> Result<Self> {
        if !(a.is_finite() && a >= b && b >= 0.0) {
            let found = format!("a = {a}, b = {b}");
            return Err(Error::range("bounds of buckets", "finite a >= b >= 0", found));
        }
        // Zeros without a sign, so that bits are in order.
        let (a, b) = (a.abs(), b.abs());
        let mut lower = [0.0; BUCKETS];
        for (i, bound) in lower.iter_mut().enumerate() {
            *bound = match i {
                0 => a,
                1..AT_B => b + (a - b) * ((AT_B - i) as f32 / 15.0),
                AT_B => b,
                _ => b * ((BUCKETS - 1 - i) as f32 / 16.0),
            };
        }
        Ok(Self { lower })
    }

    /// `B_0 ..= B_31`.
    pub fn lower(&self) -> &[f32; BUCKETS] {
        &self.lower
    }

    /// The bucket of `|x|`, by the definition: the first whose bound it reaches.
    pub fn bucket(&self, x: f32) -> usize {
        let x = magnitude(x);
        self.lower.iter().position(|bound| x >= *bound).unwrap_or(BUCKETS - 1)
    }

    /// The same without looking at all bounds: a guess, moved to where the bounds agree.
    ///
    /// One move is enough where `a - b` and `b` are thousands of units in the last place or 0. Closer
    /// to each other, or in subnormal numbers, several bounds round to one, and there may be more.
    pub fn bucket_by_guess(&self, x: f32) -> usize {
        self.guessed(x).0
    }

    /// The bucket, and how many moves it took from the guess.
    pub(super) fn guessed(&self, x: f32) -> (usize, usize) {
        let x = magnitude(x);
        let (a, b) = (self.lower[0], self.lower[AT_B]);
        // Quotients first: products with 15 or 16 may overflow.
        let mut i = if x >= b {
            let width = a - b;
            let above = if width > 0.0 { ((x - b) / width * 15.0).floor() } else { 15.0 };
            (15.0 - above).clamp(0.0, 15.0) as usize
        } else {
            (31.0 - (x / b * 16.0).floor()).clamp(16.0, 31.0) as usize
        };
        let guess = i;
        while i > 0 && x >= self.lower[i - 1] {
            i -= 1;
        }
        while i < BUCKETS - 1 && x < self.lower[i] {
            i += 1;
        }
        (i, guess.abs_diff(i))
    }
}
