//! Old and new figures side by side.

use crate::forms::change;
use crate::report::{Device, Report};
use crate::table::{microseconds, table};
use std::collections::BTreeMap;

/// Rows of one report only that are named; of more than these their number says enough.
const MOST_NAMED: usize = 16;

/// Rows that are in both reports, and what is in one only.
pub(crate) fn text(old: &Report, new: &Report) -> String {
    let mut text = String::new();
    if old.fewbytes != new.fewbytes {
        text += &format!("kernels of version {} against {}\n", new.fewbytes, old.fewbytes);
    }
    for (device, twin) in new.devices.iter().zip(twins(&old.devices, &new.devices)) {
        text += &match twin {
            Some(twin) => of_device(twin, device),
            None => format!("{}: not in the old figures\n", device.title()),
        };
    }
    text
}

/// The old device of every new one: the most alike first, and each at most once, since a machine may
/// have several equal cards, and one card several drivers or backends.
fn twins<'a>(old: &'a [Device], new: &[Device]) -> Vec<Option<&'a Device>> {
    // One device each is meant to be compared, whatever it is.
    let single = old.len() == 1 && new.len() == 1;
    let alike = |a: &Device, b: &Device| {
        let same = [a.adapter == b.adapter, a.backend == b.backend, a.driver == b.driver];
        match same {
            [true, true, true] => 0,
            [true, true, false] => 1,
            [true, false, _] => 2,
            [false, ..] if single => 3,
            [false, ..] => usize::MAX,
        }
    };
    let mut twins = vec![None; new.len()];
    let mut used = vec![false; old.len()];
    for likeness in 0..=3 {
        for (device, twin) in new.iter().zip(&mut twins).filter(|(_, twin)| twin.is_none()) {
            let fits = |at: &usize| !used[*at] && alike(&old[*at], device) == likeness;
            if let Some(at) = (0..old.len()).find(fits) {
                used[at] = true;
                *twin = Some(&old[at]);
            }
        }
    }
    twins
}

fn of_device(old: &Device, new: &Device) -> String {
    let mut text = format!("\n{}\n", new.title());
    let attributes = [
        ("adapter", &old.adapter, &new.adapter),
        ("backend", &old.backend, &new.backend),
        ("driver", &old.driver, &new.driver),
    ];
    for (what, was, is) in attributes {
        if was != is {
            text += &format!("WARNING: another {what}: it was {was:?}, now it is {is:?}\n");
        }
    }
    let before: BTreeMap<String, _> = old.all().map(|figure| (figure.key(), figure)).collect();
    let mut rows =
        table(&["row", "old us", "new us", "change", "old % of read", "new % of read"], 1);
    let (mut both, mut added) = (Vec::new(), Vec::new());
    for figure in new.all() {
        let key = figure.key();
        let Some(twin) = before.get(&key) else {
            added.push(key);
            continue;
        };
        let (was, is) = (twin.timing.dispatch_ns.median, figure.timing.dispatch_ns.median);
        rows.add_row([
            key.clone(),
            microseconds(was),
            microseconds(is),
            change(twin, figure),
            format!("{:.1}", old.percent(twin)),
            format!("{:.1}", new.percent(figure)),
        ]);
        if twin.timing.clock != figure.timing.clock {
            let (was, is) = (twin.timing.clock.name(), figure.timing.clock.name());
            text += &format!("WARNING: another clock for {key}: it was {was}, now it is {is}\n");
        }
        both.push(key);
    }
    text += &format!("{}\n", rows.trim_fmt());
    text += "change     of the time: below 0 is faster; ~ where a time did not settle\n";
    let gone: Vec<_> = before.into_keys().filter(|key| !both.contains(key)).collect();
    for (what, keys) in [("Only in the old figures", gone), ("Only in the new figures", added)] {
        if !keys.is_empty() {
            let shown = keys.iter().take(MOST_NAMED).map(String::as_str).collect::<Vec<_>>();
            text += &format!("{what} ({}):\n  {}\n", keys.len(), shown.join("\n  "));
            if keys.len() > MOST_NAMED {
                text += &format!("  and {} more\n", keys.len() - MOST_NAMED);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn rows_of_both_are_compared_and_others_named() {
        let old = report(&[("2 bits", 10.0), ("3 bits", 7.0)]);
        let new = report(&[("2 bits", 8.0), ("4 bits", 9.0)]);
        let text = text(&old, &new);
        assert!(text.contains("-20.0 %"), "{text}");
        assert!(text.contains("+0.0 %"), "the streams did not change: {text}");
        let only_old = text.find("Only in the old figures (1):\n  gemv 64x64 3 bits").unwrap();
        let only_new = text.find("Only in the new figures (1):\n  gemv 64x64 4 bits").unwrap();
        assert!(only_old < only_new);
        assert!(!text.contains("WARNING"), "{text}");
    }

    #[test]
    fn a_change_between_times_that_did_not_settle_is_marked() {
        let old = report(&[("2 bits", 10.0)]);
        let mut new = report(&[("2 bits", 8.0)]);
        assert!(!text(&old, &new).contains("-20.0 % ~"));
        new.devices[0].figures[0].timing.settled = false;
        assert!(text(&old, &new).contains("-20.0 % ~"));
    }

    #[test]
    fn another_driver_or_adapter_is_warned_of() {
        let old = report(&[("2 bits", 10.0)]);
        let mut new = old.clone();
        new.devices[0].driver = "driver 2.0".to_owned();
        let with_driver = text(&old, &new);
        assert!(with_driver.contains("another driver: it was \"driver 1.0\""), "{with_driver}");
        new.devices[0].adapter = "Another".to_owned();
        assert!(text(&old, &new).contains("another adapter"));
    }

    #[test]
    fn the_most_alike_is_compared_and_each_old_device_once() {
        let device = |backend: &str, driver: &str| {
            let mut device = report(&[]).devices.remove(0);
            (device.backend, device.driver) = (backend.to_owned(), driver.to_owned());
            device
        };
        let places = |old: &[Device], new: &[Device]| -> Vec<Option<usize>> {
            let at = |twin: &Device| old.iter().position(|device| std::ptr::eq(device, twin));
            twins(old, new).into_iter().map(|twin| twin.and_then(at)).collect()
        };
        let [a, b, c] = [("vulkan", "1"), ("vulkan", "2"), ("gl", "3")].map(|(b, d)| device(b, d));
        // The same card by several drivers and backends, in another order.
        let old = [a.clone(), b.clone(), c.clone()];
        assert_eq!(places(&old, &[c.clone(), b.clone(), a.clone()]), [2, 1, 0].map(Some));
        // Two equal cards are two devices.
        assert_eq!(places(&[a.clone(), a.clone()], &[a.clone(), a.clone()]), [0, 1].map(Some));
        assert_eq!(places(&old[..1], &[a.clone(), a.clone()]), [Some(0), None]);
        // What is the same is not taken by what is only alike.
        assert_eq!(places(&old[..1], &[b.clone(), a]), [None, Some(0)]);
        let newer = device("vulkan", "4");
        assert_eq!(places(&old, &[c, newer.clone(), newer]), [2, 0, 1].map(Some));
    }

    #[test]
    fn among_several_devices_only_the_same_adapter_is_compared() {
        let old = report(&[("2 bits", 10.0)]);
        let mut new = old.clone();
        let mut other = new.devices[0].clone();
        other.adapter = "Another".to_owned();
        new.devices.push(other);
        let text = text(&old, &new);
        assert!(text.contains("Another (vulkan, driver 1.0): not in the old figures"), "{text}");
    }
}
