//! A stable ascending sort of one row, by radix.

/// Below this many values a comparison sort is faster than filling histograms.
const SMALL: usize = 128;
const DIGIT: u32 = 11;
const BUCKETS: usize = 1 << DIGIT;
const PASSES: usize = 3;

/// Reusable memory of the sort.
#[derive(Default)]
pub(super) struct Sorter {
    /// Key in the high half, column in the low half.
    keyed: Vec<u64>,
    spare: Vec<u64>,
    counts: Vec<u32>,
}

impl Sorter {
    /// Sorts finite `values` ascending, equal ones by column; gives (value, column) in order.
    ///
    /// `-0.0` is taken, and given back, as `0.0`.
    pub(super) fn sort(&mut self, values: &[f32]) -> impl Iterator<Item = (f32, u32)> + '_ {
        let keys = values.iter().zip(0_u32..);
        self.keyed.clear();
        self.keyed.extend(keys.map(|(&v, col)| (u64::from(key(v)) << 32) | u64::from(col)));
        if values.len() < SMALL {
            self.keyed.sort_unstable();
        } else {
            self.radix();
        }
        self.keyed.iter().map(|&k| (value((k >> 32) as u32), k as u32))
    }

    fn radix(&mut self) {
        self.counts.clear();
        self.counts.resize(PASSES * BUCKETS, 0);
        for &k in &self.keyed {
            for pass in 0..PASSES {
                self.counts[pass * BUCKETS + digit(k, pass)] += 1;
            }
        }
        self.spare.resize(self.keyed.len(), 0);
        for (pass, counts) in self.counts.chunks_exact_mut(BUCKETS).enumerate() {
            let mut next = 0;
            for count in counts.iter_mut() {
                next += std::mem::replace(count, next);
            }
            for &k in &self.keyed {
                let slot = &mut counts[digit(k, pass)];
                self.spare[*slot as usize] = k;
                *slot += 1;
            }
            std::mem::swap(&mut self.keyed, &mut self.spare);
        }
    }
}

fn digit(keyed: u64, pass: usize) -> usize {
    (keyed >> (32 + DIGIT * pass as u32)) as usize % BUCKETS
}

/// An integer that orders as the finite value does.
fn key(value: f32) -> u32 {
    // The addition turns -0.0 into 0.0 and changes nothing else.
    let bits = (value + 0.0).to_bits();
    if bits >> 31 == 1 { !bits } else { bits | (1 << 31) }
}

/// The inverse of [`key`].
fn value(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 1 { key & !(1 << 31) } else { !key })
}
