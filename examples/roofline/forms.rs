//! What each choice costs: rows that differ from the defaults in one thing.

use crate::report::{Device, Figure};
use crate::table::table;
use fewbytes_wgpu::measure::Order;

/// A table for each shape, or nothing where no row differs from the defaults.
pub(crate) fn text(device: &Device) -> String {
    let mut groups: Vec<(&str, &str, Order)> = Vec::new();
    for figure in device.figures.iter().filter(|figure| is_form(figure)) {
        let group = (figure.kernel.as_str(), figure.shape.as_str(), figure.timing.order);
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    let mut text = String::new();
    for group in groups {
        let rows: Vec<&Figure> = device
            .figures
            .iter()
            .filter(|f| (f.kernel.as_str(), f.shape.as_str(), f.timing.order) == group)
            .collect();
        text += &of_group(group, &rows);
    }
    if !text.is_empty() {
        text += "change     of the time from the defaults': above 0 is slower; ~ where a time did \
                 not settle;\n           nothing where the choice is the default or not for the \
                 width\n";
    }
    text
}

/// Whether it differs from the defaults in something that is not measured everywhere.
fn is_form(figure: &Figure) -> bool {
    use crate::checks::Checks as C;
    let checks = matches!(figure.checks, C::LoopGuard | C::ZeroedMemory);
    !figure.tuned && (!figure.form.is_empty() || checks)
}

fn of_group((kernel, shape, order): (&str, &str, Order), rows: &[&Figure]) -> String {
    let mut settings: Vec<(&str, &Figure)> = Vec::new();
    for figure in rows.iter().filter(|figure| is_form(figure)) {
        let seen = settings.iter().any(|(setting, _)| *setting == figure.setting);
        let default = rows.iter().find(|f| f.setting == figure.setting && f.asked().is_empty());
        if let Some(default) = default.filter(|_| !seen) {
            settings.push((&figure.setting, default));
        }
    }
    let mut choices: Vec<String> = Vec::new();
    for figure in rows {
        let asked = figure.asked();
        let shown = settings.iter().any(|(setting, _)| *setting == figure.setting);
        if shown && !asked.is_empty() && !choices.contains(&asked) {
            choices.push(asked);
        }
    }
    if choices.is_empty() {
        return String::new();
    }
    let title = format!("{kernel} {shape} {}", order.name());
    let header: Vec<&str> =
        [title.as_str()].into_iter().chain(settings.iter().map(|(setting, _)| *setting)).collect();
    let mut lines = table(&header, 1);
    for choice in choices {
        let mut cells = vec![choice.clone()];
        for (setting, default) in &settings {
            let figure = rows.iter().find(|f| f.setting == *setting && f.asked() == choice);
            cells.push(figure.map_or_else(String::new, |figure| change(default, figure)));
        }
        lines.add_row(cells);
    }
    format!("{}\n\n", lines.trim_fmt())
}

/// How much longer the second takes, in percent.
pub(crate) fn change(was: &Figure, is: &Figure) -> String {
    let ratio = is.timing.dispatch_ns.median / was.timing.dispatch_ns.median;
    let doubt = if was.timing.settled && is.timing.settled { "" } else { " ~" };
    format!("{:+.1} %{doubt}", 100.0 * (ratio - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Checks;
    use crate::report::tests::report;

    #[test]
    fn every_choice_is_compared_with_the_defaults_at_its_width() {
        let names = ["2 bits", "4 bits", "2 bits", "4 bits", "4 bits", "8 bits"];
        let us = [10.0, 20.0, 11.0, 30.0, 19.0, 5.0];
        let rows: Vec<_> = names.into_iter().zip(us).collect();
        let mut device = report(&rows).devices.remove(0);
        device.figures[2].form = "loop".to_owned();
        device.figures[3].form = "loop".to_owned();
        device.figures[4].checks = Checks::LoopGuard;
        let text = text(&device);
        let line = |start: &str| text.lines().find(|line| line.trim().starts_with(start)).unwrap();
        assert!(line("loop ").contains("+10.0 %") && line("loop ").contains("+50.0 %"), "{text}");
        assert!(line("loop guard").contains("-5.0 %"), "{text}");
        assert!(!text.contains("8 bits"), "a width without choices:\n{text}");
        device.figures[1].timing.settled = false;
        assert!(super::text(&device).contains("+50.0 % ~"));
    }

    #[test]
    fn without_choices_there_is_nothing_to_show() {
        let mut device = report(&[("2 bits", 10.0), ("2 bits", 8.0)]).devices.remove(0);
        assert_eq!(text(&device), "");
        // Left out where nothing but the bounds checks differs: those rows are in the main table.
        device.figures[1].checks = Checks::Unchecked;
        assert_eq!(text(&device), "");
        device.figures[1].form = "tuned".to_owned();
        device.figures[1].tuned = true;
        assert_eq!(text(&device), "");
    }
}
