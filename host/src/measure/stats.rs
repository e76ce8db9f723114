//! Numbers from clocks, checked before anything is computed from them.

use fewbytes::{Error, Result};
use std::time::Duration;

/// The middle of some times and their range.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Spread {
    /// The middle one; the mean of the two in the middle of an even number.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// The spread of some times.
    ///
    /// # Errors
    /// [`Error::Shape`] when there are none, [`Error::Range`] for one that is not a finite number
    /// above 0.
    pub fn of(times: &[f64]) -> Result<Self> {
        if let Some(wrong) = times.iter().find(|time| !(time.is_finite() && **time > 0.0)) {
            return Err(Error::range("a measured time", "finite numbers above 0", wrong));
        }
        let mut sorted = times.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (below, above) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
        match (sorted.get(below), sorted.get(above), sorted.first(), sorted.last()) {
            (Some(&below), Some(&above), Some(&min), Some(&max)) => {
                Ok(Self { median: below + (above - below) / 2.0, min, max })
            }
            _ => Err(Error::shape("measured times", "at least one", 0)),
        }
    }
}

/// Whether two medians differ by no more than a share of the smaller one; NaN agrees with nothing.
pub fn agree(a: f64, b: f64, tolerance: f64) -> bool {
    (a - b).abs() <= tolerance * a.min(b)
}

/// How much longer than at best the probe takes on a device that counts as slowed, as a share.
pub const SLOWED: f64 = 0.10;

/// Whether a probe that took `best` nanoseconds at best and `now` takes more shows a lower clock;
/// NaN does.
pub fn slowed(best: f64, now: f64) -> bool {
    let limit = best * (1.0 + SLOWED);
    now > limit || now.is_nan() || limit.is_nan()
}

/// Decides when a warm-up has lasted long enough.
///
/// Medians that follow each other closely say little: a low clock is steady too, for a while. So
/// the two that are compared lie some load apart.
#[derive(Debug, Clone)]
pub struct Settling {
    warm_up: Duration,
    apart: Duration,
    tolerance: f64,
    load: Duration,
    /// A median, and the load before it.
    before: Option<(f64, Duration)>,
}

impl Settling {
    /// After `warm_up` of load two medians agree within `tolerance` that lie `apart`.
    pub fn new(warm_up: Duration, apart: Duration, tolerance: f64) -> Self {
        Self { warm_up, apart, tolerance, load: Duration::ZERO, before: None }
    }

    /// Takes the next median, and the time that the device was busy with its passes. Whether it
    /// has settled.
    pub fn add(&mut self, median: f64, busy: Duration) -> bool {
        self.load = self.load.saturating_add(busy);
        let warm = self.load >= self.warm_up;
        match self.before {
            Some((_, at)) if self.load.saturating_sub(at) < self.apart => false,
            Some((before, _)) if warm && agree(before, median, self.tolerance) => true,
            _ => {
                self.before = Some((median, self.load));
                false
            }
        }
    }

    /// Takes load whose median compares with no other, because its passes had another length;
    /// forgets those before.
    pub fn skip(&mut self, busy: Duration) {
        self.load = self.load.saturating_add(busy);
        self.before = None;
    }
}

/// How many dispatches make a pass last `pass_ns`, within `1..=most`.
///
/// # Errors
/// [`Error::Range`] when the time of one dispatch is not a finite number above 0, or `most` is 0.
pub fn dispatches_for(pass_ns: f64, dispatch_ns: f64, most: u32) -> Result<u32> {
    if !(dispatch_ns.is_finite() && dispatch_ns > 0.0) {
        return Err(Error::range("time of a dispatch", "finite numbers above 0", dispatch_ns));
    }
    if most == 0 {
        return Err(Error::range("most dispatches of a pass", "1 and above", most));
    }
    // Saturates; NaN becomes 0.
    Ok(((pass_ns / dispatch_ns).ceil() as u32).clamp(1, most))
}

/// Nanoseconds between two stamps of a device whose clock ticks every `period` nanoseconds, during
/// `wall_ns` nanoseconds of the host's clock.
///
/// # Errors
/// [`Error::Range`] for a stamp of 0, which is one that was never written; for stamps that are
/// equal or reversed; for a period that is not a finite number above 0; and for a time that the
/// wall clock rules out: more than 10 % and 0.1 ms above it.
pub fn elapsed_ns(begin: u64, end: u64, period: f32, wall_ns: f64) -> Result<f64> {
    if !(period.is_finite() && period > 0.0) {
        return Err(Error::range("period of the stamps", "finite numbers above 0", period));
    }
    for (what, stamp) in [("stamp at the beginning", begin), ("stamp at the end", end)] {
        if stamp == 0 {
            return Err(Error::range(what, "stamps that were written", stamp));
        }
    }
    let ticks = end.checked_sub(begin).filter(|ticks| *ticks > 0);
    let ticks = ticks.ok_or_else(|| {
        Error::range("stamp at the end", format!("stamps after the beginning's {begin}"), end)
    })?;
    let elapsed = ticks as f64 * f64::from(period);
    let most = wall_ns * 1.1 + 1e5;
    // Without an order, as NaN is, nothing is allowed.
    if elapsed > most || most.is_nan() {
        let limit = format!("0..={most:.0} ns, what the host's clock allows");
        return Err(Error::range("time between the stamps", limit, format!("{elapsed:.0} ns")));
    }
    Ok(elapsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_odd_and_even_counts_is_the_middle() {
        let spread = Spread::of(&[3.0, 1.0, 10.0]).unwrap();
        assert_eq!(spread, Spread { median: 3.0, min: 1.0, max: 10.0 });
        assert_eq!(Spread::of(&[4.0, 1.0, 2.0, 9.0]).unwrap().median, 3.0);
        let one = Spread::of(&[7.0]).unwrap();
        assert_eq!(one, Spread { median: 7.0, min: 7.0, max: 7.0 });
    }

    #[test]
    fn times_that_cannot_be_are_refused() {
        assert!(matches!(Spread::of(&[]), Err(Error::Shape { .. })));
        for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let error = Spread::of(&[1.0, wrong]).unwrap_err();
            assert!(matches!(error, Error::Range { .. }), "{wrong}: {error}");
            assert!(dispatches_for(1e6, wrong, 10).is_err(), "{wrong}");
        }
        assert!(dispatches_for(1e6, 1.0, 0).is_err());
    }

    #[test]
    fn medians_agree_within_a_share_of_the_smaller() {
        assert!(agree(100.0, 102.0, 0.02) && agree(102.0, 100.0, 0.02));
        assert!(!agree(100.0, 102.1, 0.02) && !agree(102.1, 100.0, 0.02));
        assert!(!agree(f64::NAN, 100.0, 0.02) && !agree(100.0, f64::NAN, 0.02));
        assert!(agree(5.0, 5.0, 0.0));
    }

    #[test]
    fn a_probe_that_takes_a_tenth_more_shows_a_lower_clock() {
        assert!(!slowed(100.0, 109.9) && !slowed(100.0, 50.0) && !slowed(f64::INFINITY, 1.0));
        assert!(slowed(100.0, 110.1) && slowed(100.0, f64::NAN) && slowed(f64::NAN, 1.0));
    }

    #[test]
    fn medians_have_to_agree_some_load_apart_and_after_the_warm_up() {
        let ms = Duration::from_millis;
        let mut settling = Settling::new(ms(100), ms(50), 0.02);
        // Steady from the start, in rounds of 20 ms: warm at 100, and 60 apart from the one at 80.
        let settled = [20, 40, 60, 80, 100].map(|_| settling.add(7.0, ms(20)));
        assert_eq!(settled, [false; 5]);
        assert!([120, 140].map(|_| settling.add(7.0, ms(20))).contains(&true));
        // A clock that rises: what was long ago does not agree, what is close is not compared.
        let mut settling = Settling::new(ms(100), ms(50), 0.02);
        let rising = [50.0, 50.0, 20.0, 10.0, 7.0, 7.0, 7.0];
        let settled = rising.map(|median| settling.add(median, ms(30)));
        assert_eq!(settled, [false, false, false, false, false, false, true]);
    }

    #[test]
    fn load_of_other_passes_warms_but_is_not_compared() {
        let ms = Duration::from_millis;
        let mut settling = Settling::new(ms(100), Duration::ZERO, 0.02);
        settling.skip(ms(100));
        assert!(!settling.add(7.0, ms(1)));
        settling.skip(ms(1));
        assert!(!settling.add(7.0, ms(1)));
        assert!(settling.add(7.0, ms(1)));
    }

    #[test]
    fn a_pass_has_enough_dispatches_and_no_more_than_allowed() {
        assert_eq!(dispatches_for(2e6, 1e4, 4096).unwrap(), 200);
        assert_eq!(dispatches_for(2e6, 1.1e6, 4096).unwrap(), 2);
        assert_eq!(dispatches_for(2e6, 1e9, 4096).unwrap(), 1);
        assert_eq!(dispatches_for(2e6, 1e-300, 4096).unwrap(), 4096);
        assert_eq!(dispatches_for(0.0, 1.0, 4096).unwrap(), 1);
        assert_eq!(dispatches_for(f64::NAN, 1.0, 4096).unwrap(), 1);
    }

    #[test]
    fn good_stamps_give_their_distance() {
        assert_eq!(elapsed_ns(1000, 3000, 0.5, 1e6).unwrap(), 1000.0);
        // A clock that ticks slowly may be a little ahead of the host's.
        assert_eq!(elapsed_ns(1, 2, 1e5, 1.0).unwrap(), 1e5);
    }

    #[test]
    fn nonsense_stamps_are_refused_by_name() {
        let message = |begin, end, period, wall| {
            elapsed_ns(begin, end, period, wall).unwrap_err().to_string()
        };
        assert!(message(0, 5, 1.0, 1e9).contains("at the beginning = 0"));
        assert!(message(5, 0, 1.0, 1e9).contains("at the end = 0"));
        assert!(message(9, 5, 1.0, 1e9).contains("after the beginning's 9"));
        assert!(message(9, 9, 1.0, 1e9).contains("after the beginning's 9"));
        assert!(message(1, 1 << 63, 1.0, 1e9).contains("host's clock"));
        for period in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert!(message(1, 2, period, 1e9).contains("period"), "{period}");
        }
        assert!(message(1, 2, 1.0, f64::NAN).contains("host's clock"));
    }
}
