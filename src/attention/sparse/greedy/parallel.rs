//! The search without a queue: thresholds that as many products reach as are wanted.

use super::Found;

/// How many steps the side of the smallest products takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Low {
    /// As many as the sum of all largest products allows, though a search that goes step by step may not
    /// have had it when it was needed: never fewer than [`Low::Exact`], and nearly always the same.
    #[default]
    Cheap,
    /// As [`search`](super::search).
    Exact,
    /// One for every step of the other side, whatever the sum.
    All,
}

/// What is taken of each column.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Taken {
    /// Elements from the end of the largest products, positive ones only.
    pub highest: Vec<u32>,
    /// And from the other end, negative ones only.
    pub lowest: Vec<u32>,
    /// Steps on the side of the smallest products, those without effect included.
    pub low_steps: u64,
}

/// One end of all columns: products by their magnitude, those of the other sign as 0.
struct Side<'a> {
    columns: &'a [Vec<(i64, u32)>],
    low: bool,
}

impl Side<'_> {
    /// The magnitude of a column's element, counted from this end.
    fn magnitude(&self, column: &[(i64, u32)], at: usize) -> i64 {
        let (product, _) = if self.low { column[column.len() - 1 - at] } else { column[at] };
        if self.low { -product } else { product }
    }

    /// How many of a column are at least `threshold`, which is above 0.
    fn count(&self, column: &[(i64, u32)], threshold: i64) -> usize {
        if self.low {
            column.len() - column.partition_point(|(product, _)| -product < threshold)
        } else {
            column.partition_point(|(product, _)| *product >= threshold)
        }
    }

    fn counts(&self, threshold: i64) -> Vec<u64> {
        self.columns.iter().map(|column| self.count(column, threshold) as u64).collect()
    }

    fn largest(&self) -> i64 {
        let ends = self.columns.iter().filter(|column| !column.is_empty());
        ends.map(|column| self.magnitude(column, 0)).max().unwrap_or(0).max(0)
    }

    /// The first `steps` elements, as many of each column; those that are 0 are not counted.
    fn take(&self, steps: u64) -> Vec<u32> {
        let all: u64 = self.counts(1).iter().sum();
        // The largest threshold that enough elements reach, or 1.
        let mut last = (1, self.largest().max(1));
        while all > steps && last.0 < last.1 {
            let middle = last.0 + (last.1 - last.0 + 1) / 2;
            let enough = self.counts(middle).iter().sum::<u64>() >= steps;
            last = if enough { (middle, last.1) } else { (last.0, middle - 1) };
        }
        let (above, reached) = (self.counts(last.0 + 1), self.counts(last.0));
        // What is equal goes by columns.
        let mut rest = steps.saturating_sub(above.iter().sum());
        let take = |(above, reached): (&u64, u64)| {
            let equal = rest.min(reached - above);
            rest -= equal;
            // Rows are counted by u32.
            (above + equal) as u32
        };
        above.iter().zip(reached).map(take).collect()
    }

    /// The magnitudes of what is taken.
    fn taken(&self, lengths: &[u32]) -> Vec<i64> {
        let columns = self.columns.iter().zip(lengths);
        let of = |(column, &length): (&Vec<_>, &u32)| {
            (0..length as usize).map(|at| self.magnitude(column, at)).collect::<Vec<_>>()
        };
        columns.flat_map(of).collect()
    }

    /// The largest number of elements, of `most`, the sum of whose magnitudes is at most `limit`.
    fn within(&self, most: u64, limit: i64) -> u64 {
        let lengths = self.take(most);
        let sum = |threshold: i64| -> i64 {
            let all = self.taken(&lengths).into_iter();
            all.filter(|magnitude| *magnitude >= threshold).sum()
        };
        if sum(1) <= limit {
            return most;
        }
        // The largest threshold the sum down to which is too large.
        let mut last = (1, self.largest());
        while last.0 < last.1 {
            let middle = last.0 + (last.1 - last.0 + 1) / 2;
            last = if sum(middle) > limit { (middle, last.1) } else { (last.0, middle - 1) };
        }
        let above: u64 = self.counts(last.0 + 1).iter().sum();
        // All at the threshold are equal.
        above + ((limit - sum(last.0 + 1)) / last.0) as u64
    }

    /// Sums of the first 0, 1, .. `steps` elements; those beyond the last are 0.
    fn sums(&self, steps: u64) -> Vec<i64> {
        let mut all = self.taken(&self.take(steps));
        all.sort_unstable_by(|a, b| b.cmp(a));
        // Steps that are listed one by one fit memory.
        all.resize(steps as usize, 0);
        let mut sum = 0;
        let sums = all.into_iter().map(|magnitude| {
            sum += magnitude;
            sum
        });
        [0].into_iter().chain(sums).collect()
    }
}

/// What a search of so many steps takes: with [`Low::Exact`] what [`search`](super::search) does, without a
/// queue. `columns` are as there.
pub fn plan(columns: &[Vec<(i64, u32)>], steps: u64, low: Low) -> Taken {
    let [high_side, low_side] = [false, true].map(|low| Side { columns, low });
    let elements: u64 = columns.iter().map(|column| column.len() as u64).sum();
    let highest = high_side.take(steps);
    let most = steps.min(elements);
    let low_steps = match low {
        Low::All => most,
        Low::Cheap => {
            let sum = high_side.taken(&highest).iter().sum();
            // One more step is taken than the sum allows: it is asked for before.
            most.min(low_side.within(most, sum) + 1)
        }
        Low::Exact => {
            // After as many as both sides have nothing changes.
            let steps = steps.min(2 * elements);
            let (high, low) = (high_side.sums(steps), low_side.sums(steps));
            // Low steps that are allowed once the high side has taken `k`.
            let allowed = |k: usize| match k {
                0 => 0,
                _ => low.partition_point(|sum| *sum <= high[k]) as u64,
            };
            let all = (0..=steps).map(|k| allowed(k as usize).min(elements) + steps - k);
            all.min().unwrap_or(0)
        }
    };
    Taken { highest, lowest: low_side.take(low_steps), low_steps }
}

impl Taken {
    /// What the search found, of the columns that were planned for, over `rows` rows.
    pub fn found(&self, columns: &[Vec<(i64, u32)>], rows: usize) -> Found {
        let mut hits = vec![0; rows];
        for (column, (highest, lowest)) in columns.iter().zip(self.highest.iter().zip(&self.lowest))
        {
            let high = column.iter().take(*highest as usize);
            for (product, row) in high.chain(column.iter().rev().take(*lowest as usize)) {
                hits[*row as usize] += product;
            }
        }
        let (highest, lowest) = (self.highest.clone(), self.lowest.clone());
        Found { hits, highest, lowest, low_steps: self.low_steps }
    }
}
