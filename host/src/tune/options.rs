//! What a tuner may be told.

use crate::measure::{self, Budget, Order};
use fewbytes::launch::Traffic;
use fewbytes::{Error, Result};

/// How thoroughly to tune, and when to stop.
#[derive(Debug, Clone, PartialEq)]
pub struct TuneOptions {
    /// How every candidate is timed.
    pub screen: measure::Options,
    /// How those within [`TuneOptions::close`] of the fastest are timed again, where there are
    /// several; `None` leaves it at the first times. Its order must be that of `screen`.
    pub finals: Option<measure::Options>,
    /// What counts as close to the fastest, as a share of its time.
    pub close: f64,
    /// A candidate takes the place of an earlier one only when its time is less by more than this
    /// share, so that noise alone does not leave the defaults.
    pub tie: f64,
    /// Memory that the tensors may take, and the bytes that go between two uses of one;
    /// [`Budget::for_device`] where it is `None`.
    pub budget: Option<Budget>,
    /// What bounds the speed of any candidate, where the caller knows it.
    pub roof: Roof,
    /// Once the fastest is within this share of the bound, nothing more is timed.
    pub margin: f64,
    /// Candidates whose largest launch, by the bytes that it moves, has fewer workgroups than this
    /// leave most of the device idle and are not timed, unless all are like that. `None`: 64 where the adapter is a discrete GPU
    /// (the smallest in use have some 20 compute units), otherwise 1, which leaves out nothing.
    pub min_groups: Option<u32>,
}

/// Speeds that no kernel exceeds on a device, for stopping early.
///
/// The bound of a spec is the longer of: its needed bytes ([`Traffic::bytes`]) at the measured
/// speed of reading memory from end to end, and its operations at the peak rate. What is not known
/// does not bound.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Roof {
    /// GB/s (10^9 bytes) of a read stream measured on this device.
    pub read_gb_s: Option<f64>,
    /// 10^9 floating-point operations a second.
    pub gflops: Option<f64>,
}

impl Roof {
    /// The least nanoseconds that work with this traffic takes.
    pub fn nanoseconds(&self, traffic: Traffic) -> Option<f64> {
        // Bytes at GB/s, or operations at GFLOP/s, are nanoseconds.
        let bytes = self.read_gb_s.map(|speed| traffic.bytes() as f64 / speed);
        let flops = self.gflops.map(|speed| traffic.flops as f64 / speed);
        bytes.into_iter().chain(flops).max_by(f64::total_cmp)
    }
}

impl TuneOptions {
    /// Times every candidate, and the closest ones once more at length.
    pub fn full(order: Order) -> Self {
        Self { finals: Some(measure::Options::full(order)), ..Self::quick(order) }
    }

    /// Times every candidate once, shortly.
    pub fn quick(order: Order) -> Self {
        Self {
            screen: measure::Options::quick(order),
            finals: None,
            close: 0.05,
            tie: 0.01,
            budget: None,
            roof: Roof::default(),
            margin: 0.03,
            min_groups: None,
        }
    }

    pub(super) fn fewest_groups(&self, info: &wgpu::AdapterInfo) -> u32 {
        self.min_groups.unwrap_or(match info.device_type {
            wgpu::DeviceType::DiscreteGpu => 64,
            _ => 1,
        })
    }

    pub(super) fn check(&self) -> Result<()> {
        for (what, share) in [("close", self.close), ("tie", self.tie), ("margin", self.margin)] {
            if !(0.0..=1.0).contains(&share) {
                return Err(Error::range(format!("{what} of a tuner"), "0..=1", share));
            }
        }
        let speeds = [("read_gb_s", self.roof.read_gb_s), ("gflops", self.roof.gflops)];
        for (what, speed) in speeds {
            if let Some(speed) = speed.filter(|speed| !(speed.is_finite() && *speed > 0.0)) {
                return Err(Error::range(what, "finite numbers above 0", speed));
            }
        }
        if let Some(finals) = self.finals.as_ref().filter(|f| f.order != self.screen.order) {
            let (expected, found) = (self.screen.order.name(), finals.order.name());
            return Err(Error::shape("order of a tuner's finals", expected, found));
        }
        Ok(())
    }
}

impl Default for TuneOptions {
    /// [`TuneOptions::full`] in a chain, as layers of a network follow each other.
    fn default() -> Self {
        Self::full(Order::Chain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_what_takes_longer_and_nothing_where_nothing_is_known() {
        let traffic = Traffic { read_bytes: 900, write_bytes: 100, flops: 3000 };
        let of = |read_gb_s, gflops| Roof { read_gb_s, gflops }.nanoseconds(traffic);
        assert_eq!(of(Some(10.0), None), Some(100.0));
        assert_eq!(of(None, Some(10.0)), Some(300.0));
        assert_eq!(of(Some(10.0), Some(100.0)), Some(100.0));
        assert_eq!(of(Some(10.0), Some(10.0)), Some(300.0));
        assert_eq!(of(None, None), None);
    }

    #[test]
    fn options_that_make_no_sense_are_refused_by_name() {
        let base = TuneOptions::default();
        base.check().unwrap();
        let refused = |options: TuneOptions, word: &str| {
            let error = options.check().unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        };
        refused(TuneOptions { margin: f64::NAN, ..base.clone() }, "margin");
        refused(TuneOptions { close: -0.1, ..base.clone() }, "close");
        refused(TuneOptions { tie: 1.1, ..base.clone() }, "tie");
        for speed in [0.0, f64::NAN, f64::INFINITY] {
            let roof = Roof { read_gb_s: Some(speed), gflops: None };
            refused(TuneOptions { roof, ..base.clone() }, "read_gb_s");
        }
        let finals = Some(measure::Options::full(Order::Independent));
        refused(TuneOptions { finals, ..base }, "order");
    }
}
