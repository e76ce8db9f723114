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
    for device in &new.devices {
        let twin = old.devices.iter().find(|twin| twin.adapter == device.adapter);
        // One device each is meant to be compared, whatever it is.
        let twin = twin.or(match (old.devices.as_slice(), new.devices.as_slice()) {
            ([only], [_]) => Some(only),
            _ => None,
        });
        text += &match twin {
            Some(twin) => of_device(twin, device),
            None => format!("{}: not in the old figures\n", device.title()),
        };
    }
    text
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
