//! One row, sorted, with equal values merged, and the prefix sums that price its runs.

use super::sort::Sorter;

/// A run whose share of the row's weight is smaller than this is summed anew: the difference of
/// two prefix sums has lost too many digits.
const FAINT: f64 = 1.0 / (1_u64 << 30) as f64;

/// A sorted row of `len()` distinct values and its prefix sums.
///
/// A run `[a, c)` is a half-open range of distinct values. Its sums are differences of two prefix
/// sums, which are zero at the value nearest to zero and grow away from it in both directions, so
/// that an outlier at either end does not cost the small values their digits. A row that does not
/// cross zero is shifted by its smallest magnitude first.
#[derive(Default)]
pub(super) struct Row {
    sorter: Sorter,
    /// Distinct values, ascending.
    pub(super) x: Vec<f64>,
    /// Weight of each distinct value, summed over its columns.
    weight: Vec<f64>,
    /// Columns by ascending value.
    order: Vec<u32>,
    /// Where each distinct value starts in `order`; one more entry than values.
    start: Vec<u32>,
    /// Values of non-zero weight before each border; filled only where some weight is 0.
    solid: Vec<u32>,
    /// Prefix sums of the weights.
    pub(super) mass: Vec<f64>,
    /// Prefix sums of weight * (value - shift).
    pub(super) first: Vec<f64>,
    /// Prefix sums of weight * (value - shift)^2.
    pub(super) second: Vec<f64>,
    shift: f64,
    /// Every weight is 1 and every value distinct, so a run's weight is its length.
    pub(super) unit: bool,
}

impl Row {
    /// Takes a row of finite values and, where there are any, their finite sensitivities >= 0.
    ///
    /// A value of zero weighs nothing when sensitivities are given. Gives back whether it had to
    /// ignore them because nothing was left.
    pub(super) fn load(&mut self, values: &[f32], sensitivities: Option<&[f32]>) -> bool {
        let matters = |(&v, &s): (&f32, &f32)| v != 0.0 && s > 0.0;
        let useful = sensitivities.filter(|s| values.iter().zip(s.iter()).any(matters));
        self.x.clear();
        self.weight.clear();
        self.order.clear();
        self.start.clear();
        let mut last = None;
        for (at, (v, col)) in self.sorter.sort(values).enumerate() {
            let s = match useful {
                None => 1.0,
                Some(_) if v == 0.0 => 0.0,
                Some(s) => f64::from(s[col as usize]),
            };
            self.order.push(col);
            match self.weight.last_mut() {
                Some(sum) if last == Some(v) => *sum += s,
                _ => {
                    self.x.push(f64::from(v));
                    self.weight.push(s);
                    self.start.push(at as u32);
                }
            }
            last = Some(v);
        }
        self.start.push(values.len() as u32);
        self.unit = useful.is_none() && self.x.len() == values.len();
        self.sum();
        sensitivities.is_some() && useful.is_none()
    }

    fn sum(&mut self) {
        let count = self.x.len();
        let anchor = self.x.partition_point(|&v| v < 0.0);
        self.shift = match (anchor, self.x.first(), self.x.last()) {
            (0, Some(&least), _) => least,
            (at, _, Some(&greatest)) if at == count => greatest,
            _ => 0.0,
        };
        for sums in [&mut self.mass, &mut self.first, &mut self.second] {
            sums.clear();
            sums.resize(count + 1, 0.0);
        }
        let mut totals = [0.0; 3];
        for at in anchor..count {
            totals = self.grown(totals, at, 1.0);
            [self.mass[at + 1], self.first[at + 1], self.second[at + 1]] = totals;
        }
        totals = [0.0; 3];
        for at in (0..anchor).rev() {
            totals = self.grown(totals, at, -1.0);
            [self.mass[at], self.first[at], self.second[at]] = totals;
        }
        self.solid.clear();
        if self.weight.contains(&0.0) {
            let mut seen = 0;
            self.solid.push(0);
            self.solid.extend(self.weight.iter().map(|&w| {
                seen += u32::from(w > 0.0);
                seen
            }));
        }
    }

    fn grown(&self, [mass, first, second]: [f64; 3], at: usize, sign: f64) -> [f64; 3] {
        let w = sign * self.weight[at];
        let x = self.x[at] - self.shift;
        [mass + w, first + w * x, second + w * x * x]
    }

    /// Distinct values.
    pub(super) fn len(&self) -> usize {
        self.x.len()
    }

    /// Values of non-zero weight in `[a, c)`.
    pub(super) fn solid(&self, a: usize, c: usize) -> usize {
        match (self.solid.get(a), self.solid.get(c)) {
            (Some(a), Some(c)) => (c - a) as usize,
            _ => c - a,
        }
    }

    /// The first value of non-zero weight in `[a, c)`, or `x[a]`.
    pub(super) fn first_solid(&self, a: usize, c: usize) -> f64 {
        let solid = self.weight[a..c].iter().position(|&w| w > 0.0);
        self.x[a + solid.unwrap_or(0)]
    }

    /// The columns that hold the values of `[a, c)`.
    pub(super) fn columns(&self, a: usize, c: usize) -> &[u32] {
        &self.order[self.start[a] as usize..self.start[c] as usize]
    }

    /// How many columns hold the value `at`.
    pub(super) fn copies(&self, at: usize) -> f64 {
        f64::from(self.start[at + 1] - self.start[at])
    }

    /// Weighted squared distance of the values of `[a, c)` from their centroid.
    pub(super) fn cost(&self, a: usize, c: usize) -> f64 {
        if c - a <= 1 {
            return 0.0;
        }
        let mass = self.mass[c] - self.mass[a];
        run_cost::<false>(mass, self.first[c] - self.first[a], self.second[c] - self.second[a])
    }

    /// Weighted mean of the values of `[a, c)`, which is not empty; their plain mean where none
    /// has weight.
    ///
    /// Never outside the run, so that centroids of successive runs never decrease and a run of one
    /// value gets exactly that value.
    pub(super) fn centroid(&self, a: usize, c: usize) -> f64 {
        let (least, greatest) = (self.x[a], self.x[c - 1]);
        if c - a == 1 {
            return least;
        }
        let mean = match self.solid(a, c) {
            0 => self.mean(a, c, |at| self.copies(at)),
            1 => self.first_solid(a, c),
            _ => {
                let mass = self.mass[c] - self.mass[a];
                if mass > FAINT * (self.mass[self.len()] - self.mass[0]) {
                    self.shift + (self.first[c] - self.first[a]) / mass
                } else {
                    self.mean(a, c, |at| self.weight[at])
                }
            }
        };
        mean.max(least).min(greatest)
    }

    fn mean(&self, a: usize, c: usize, weight: impl Fn(usize) -> f64) -> f64 {
        let origin = self.x[a];
        let sums = (a..c).fold((0.0, 0.0), |(mass, first), at| {
            (mass + weight(at), first + weight(at) * (self.x[at] - origin))
        });
        origin + sums.1 / sums.0
    }
}

/// Cost of a run from its sums; with `UNIT`, `mass` is the reciprocal of its weight.
///
/// A run without weight (0 / 0) costs nothing, and rounding never makes a cost negative.
#[inline(always)]
pub(super) fn run_cost<const UNIT: bool>(mass: f64, first: f64, second: f64) -> f64 {
    let square = first * first;
    let cost = second - if UNIT { square * mass } else { square / mass };
    if cost > 0.0 { cost } else { 0.0 }
}
