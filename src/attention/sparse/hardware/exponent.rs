//! `e^-x` by two small tables.
//!
//! `x` is Q8.8: 16 bits, of which the upper 8 are the whole part. `e^-x = high[x >> 8] low[x & 255]`, so 512
//! entries do for 65,536 inputs. Entries are made in f64 and rounded once.

/// Halves of `x`.
fn halves(x: u16) -> (usize, usize) {
    (usize::from(x >> 8), usize::from(x & 255))
}

/// The exact entries: `e^-i` and `e^-(i / 256)`.
fn entries() -> [[f64; 256]; 2] {
    let whole: [f64; 256] = std::array::from_fn(|i| (-(i as f64)).exp());
    [whole, std::array::from_fn(|i| (-(i as f64) / 256.0).exp())]
}

/// Tables of f32. The product is rounded to f32.
///
/// Its relative error is at most `(1 + 2^-24)^3 - 1` for `x` below [`FloatTables::END`] and 1 from there on:
/// it is 0 where it could be subnormal.
#[derive(Debug, Clone, PartialEq)]
pub struct FloatTables {
    high: [f32; 256],
    low: [f32; 256],
}

impl FloatTables {
    /// The least whole part that `e^-x` is 0 for.
    pub const END: u16 = 87;

    /// Makes the entries.
    pub fn new() -> Self {
        let [mut high, low] = entries().map(|table| table.map(|entry| entry as f32));
        high[usize::from(Self::END)..].fill(0.0);
        Self { high, low }
    }

    /// `e^-(x / 256)`.
    pub fn power(&self, x: u16) -> f32 {
        let (high, low) = halves(x);
        self.high[high] * self.low[low]
    }
}

impl Default for FloatTables {
    fn default() -> Self {
        Self::new()
    }
}

/// Tables of u16, Q0.16: entries are rounded to nearest, 1 is 65,535 / 65,536. The product's lower 16 bits
/// are cut off.
///
/// It is above `e^-x` by at most 1 and below it by at most 3 units of 2^-16; of `x = 0` it is 65,534.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntegerTables {
    high: [u16; 256],
    low: [u16; 256],
}

impl IntegerTables {
    /// Makes the entries.
    pub fn new() -> Self {
        // Saturates.
        let round = |entry: f64| (entry * 65_536.0).round_ties_even() as u16;
        let [high, low] = entries().map(|table| table.map(round));
        Self { high, low }
    }

    /// `e^-(x / 256)`, Q0.16.
    pub fn power(&self, x: u16) -> u16 {
        let (high, low) = halves(x);
        // The upper half of 32 bits.
        ((u32::from(self.high[high]) * u32::from(self.low[low])) >> 16) as u16
    }
}

impl Default for IntegerTables {
    fn default() -> Self {
        Self::new()
    }
}
