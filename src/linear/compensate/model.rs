//! What compensating should cost, from what memory and link can do.

use crate::linear::residual::ResidualLayout;
use crate::linear::select::{Budget, CHUNK};
use crate::{Error, Result};

/// Rates of a machine, measured or from its data sheet.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Rates {
    /// GB/s (10^9 bytes) at which the device reads its own memory.
    pub memory_gb_s: f64,
    /// GB/s at which it reads the memory that the residual is in.
    pub link_gb_s: f64,
    /// Nanoseconds that a compensation takes before the first residual is under way and after the last
    /// has come: launch, selection, reduction.
    pub overhead_ns: f64,
}

/// Launch, selection and reduction on the GPUs of the paper: 5 to 8 us together.
pub const OVERHEAD_NS: f64 = 6_500.0;

/// What is compensated, and where.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Model {
    /// The residual.
    pub layout: ResidualLayout,
    /// Nanoseconds of the product alone.
    pub base_ns: f64,
    /// The machine.
    pub rates: Rates,
    /// Whether scales are fetched over the link as well.
    pub remote_scales: bool,
}

/// `k_chunk` at which fetching takes as long as the product where both run at the rates of memory and
/// link: `1024 (base_bits / residual_bits) / (memory / link)`, of no layer in particular.
///
/// On machines with one memory for both the ratio is 1 and nothing is hidden: see
/// [`unified_slowdown`].
///
/// # Errors
/// [`Error::Range`] for a ratio that is not positive and finite.
pub fn estimate(ratio: f64, base_bits: f64, residual_bits: f64) -> Result<f64> {
    for (what, value) in
        [("memory / link", ratio), ("bits", base_bits), ("bits of the residual", residual_bits)]
    {
        if !(value.is_finite() && value > 0.0) {
            return Err(Error::range(what, "positive finite numbers", value));
        }
    }
    Ok(CHUNK as f64 * (base_bits / residual_bits) / ratio)
}

/// By how much a step becomes slower where one memory holds weights and residual: the share of bytes
/// that come in addition, `(k / cols) (residual_bits / base_bits)`.
pub fn unified_slowdown(budget: &Budget, base_bits: f64, residual_bits: f64) -> f64 {
    budget.k() as f64 / budget.cols() as f64 * (residual_bits / base_bits)
}

impl Model {
    /// A model of a product that reads its weights of `base_bits` at `efficiency` of the memory's
    /// rate.
    ///
    /// # Errors
    /// [`Error::Range`] for rates, bits or an efficiency that are not positive and finite.
    pub fn new(
        layout: ResidualLayout,
        base_bits: f64,
        efficiency: f64,
        rates: Rates,
    ) -> Result<Self> {
        for (what, value) in [("bits of the product", base_bits), ("efficiency", efficiency)] {
            if !(value.is_finite() && value > 0.0) {
                return Err(Error::range(what, "positive finite numbers", value));
            }
        }
        let weights = layout.rows() as f64 * layout.cols() as f64 * base_bits / 8.0;
        // Bytes at GB/s are nanoseconds.
        let base_ns = weights / (efficiency * rates.memory_gb_s);
        Self { layout, base_ns, rates, remote_scales: false }.checked()
    }

    /// A model of a product that was measured.
    ///
    /// # Errors
    /// [`Error::Range`] for times or rates that are not positive and finite.
    pub fn measured(layout: ResidualLayout, base_ns: f64, rates: Rates) -> Result<Self> {
        Self { layout, base_ns, rates, remote_scales: false }.checked()
    }

    fn checked(self) -> Result<Self> {
        let Rates { memory_gb_s, link_gb_s, overhead_ns } = self.rates;
        for (what, value) in [
            ("nanoseconds of the product", self.base_ns),
            ("GB/s of memory", memory_gb_s),
            ("GB/s of the link", link_gb_s),
        ] {
            if !(value.is_finite() && value > 0.0) {
                return Err(Error::range(what, "positive finite numbers", value));
            }
        }
        if !(overhead_ns.is_finite() && overhead_ns >= 0.0) {
            let limit = "finite numbers from 0";
            return Err(Error::range("nanoseconds of overhead", limit, overhead_ns));
        }
        Ok(self)
    }

    /// Nanoseconds of a compensation alone; 0 where no channel is taken.
    pub fn compensation_ns(&self, budget: &Budget) -> f64 {
        if budget.k() == 0 {
            return 0.0;
        }
        self.rates.overhead_ns + self.transfer_ns(budget.k() as f64)
    }

    /// Nanoseconds that `k` channels and, where they are remote, the scales are under way.
    fn transfer_ns(&self, k: f64) -> f64 {
        let scales = if self.remote_scales { 2 * self.layout.rows() } else { 0 };
        (k * self.layout.bytes_of(1) as f64 + scales as f64) / self.rates.link_gb_s
    }

    /// Nanoseconds of both: the longer of the two, since they run beside each other.
    pub fn both_ns(&self, budget: &Budget) -> f64 {
        self.base_ns.max(self.compensation_ns(budget))
    }

    /// Channels whose compensation takes as long as the product, overhead included: the knee, from
    /// where on a step becomes slower. Not above the layer's channels.
    pub fn knee(&self) -> f64 {
        let left = self.base_ns - self.rates.overhead_ns - self.transfer_ns(0.0);
        let each = self.layout.bytes_of(1) as f64 / self.rates.link_gb_s;
        (left / each).clamp(0.0, self.layout.cols() as f64)
    }

    /// The same where nothing but fetching took time.
    pub fn ideal_knee(&self) -> f64 {
        let rates = Rates { overhead_ns: 0.0, ..self.rates };
        Self { rates, ..*self }.knee()
    }

    /// The largest `k_chunk` that the knee allows.
    ///
    /// # Errors
    /// Those of [`Budget::new`].
    pub fn budget(&self) -> Result<Budget> {
        let cols = self.layout.cols();
        let (mut fits, mut beyond) = (0, CHUNK + 1);
        while fits + 1 < beyond {
            let middle = (fits + beyond) / 2;
            match Budget::new(cols, middle)?.k() as f64 <= self.knee() {
                true => fits = middle,
                false => beyond = middle,
            }
        }
        Budget::new(cols, fits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear::residual::ResidualElement;

    const H100: Rates = Rates { memory_gb_s: 3100.0, link_gb_s: 51.0, overhead_ns: 0.0 };

    fn layout(rows: usize, cols: usize) -> ResidualLayout {
        ResidualLayout::new(rows, cols, ResidualElement::Int4).unwrap()
    }

    #[test]
    fn the_papers_ideal_numbers_of_channels() {
        for (ratio, ideal) in
            [(12.0, 64), (16.0, 48), (15.0, 51), (23.0, 33), (32.0, 24), (52.0, 15)]
        {
            let found = estimate(ratio, 3.0, 4.0).unwrap();
            assert!((found - f64::from(ideal)).abs() <= 0.8, "{ratio}: {found}");
        }
        assert!(matches!(estimate(0.0, 3.0, 4.0), Err(Error::Range { .. })));
        assert!(matches!(estimate(1.0, f64::NAN, 4.0), Err(Error::Range { .. })));
    }

    #[test]
    fn without_overhead_the_knee_is_the_ideal_one_whatever_the_shape() {
        for (rows, cols) in [(6144, 4096), (4096, 4096), (28_672, 4096), (4096, 14_336)] {
            let model = Model::new(layout(rows, cols), 3.0, 1.0, H100).unwrap();
            let k_chunk = model.knee() / cols as f64 * 1024.0;
            let ideal = estimate(3100.0 / 51.0, 3.0, 4.0).unwrap();
            assert!((k_chunk / ideal - 1.0).abs() < 1e-12, "{k_chunk} {ideal}");
            let budget = model.budget().unwrap();
            assert_eq!(budget.k_chunk(), 12);
            assert!(model.compensation_ns(&budget) <= model.base_ns);
            assert_eq!(model.both_ns(&budget), model.base_ns);
        }
    }

    #[test]
    fn overhead_eats_what_small_layers_hide() {
        let rates = Rates { overhead_ns: OVERHEAD_NS, ..H100 };
        let small = Model::measured(layout(512, 4096), 6_000.0, rates).unwrap();
        assert_eq!((small.knee(), small.budget().unwrap().k()), (0.0, 0));
        let none = Budget::new(4096, 0).unwrap();
        assert_eq!((small.compensation_ns(&none), small.both_ns(&none)), (0.0, 6_000.0));
        let one = Budget::new(4096, 1).unwrap();
        assert!(small.both_ns(&one) > 6_000.0);
        let local = Model::measured(layout(28_672, 4096), 20_000.0, rates).unwrap();
        let remote = Model { remote_scales: true, ..local };
        // Scales are as much traffic as four channels.
        assert!((local.knee() - remote.knee() - 4.0).abs() < 1e-9);
        assert!(local.ideal_knee() > local.knee());
        assert_eq!(Model::measured(layout(64, 10), 1e12, rates).unwrap().knee(), 10.0);
    }

    #[test]
    fn one_memory_hides_nothing() {
        let budget = Budget::new(4096, 64).unwrap();
        assert_eq!(unified_slowdown(&budget, 4.0, 4.0), 1.0 / 16.0);
        assert_eq!(unified_slowdown(&budget, 2.0, 4.0), 1.0 / 8.0);
    }

    #[test]
    fn numbers_that_are_no_rates_are_refused() {
        for rates in [
            Rates { memory_gb_s: 0.0, ..H100 },
            Rates { link_gb_s: f64::INFINITY, ..H100 },
            Rates { overhead_ns: -1.0, ..H100 },
        ] {
            assert!(matches!(Model::new(layout(8, 8), 3.0, 1.0, rates), Err(Error::Range { .. })));
        }
        for (bits, efficiency) in [(-3.0, -1.0), (3.0, 0.0), (f64::NAN, 1.0)] {
            let model = Model::new(layout(8, 8), bits, efficiency, H100);
            assert!(matches!(model, Err(Error::Range { .. })));
        }
        let nothing = Model::measured(layout(8, 8), 0.0, H100);
        assert!(matches!(nothing, Err(Error::Range { .. })));
    }
}
