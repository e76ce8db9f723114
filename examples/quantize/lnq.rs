//! Layer by layer with LNQ, so that an interrupted run loses one layer at most.

use crate::calibration::{Found, Source, fingerprint};
use crate::device::Device;
use crate::options::Quantize;
use crate::parts::Parts;
use crate::run::progress_bar;
use crate::select::{Chosen, Selection};
use crate::{input, report};
use anyhow::{Context as _, Result};
use fewbytes::linear::file::{DenseFile, DenseShape};
use fewbytes::linear::{BitplaneLayer, LnqLayout, LnqOptions, Weights};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// What became of a layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) layer: String,
    rows: usize,
    cols: usize,
    bits: u8,
    groups: usize,
    /// Calibration inputs; 0 where that is not known.
    tokens: u64,
    /// The objective of the clusters, and in the end.
    before: f64,
    after: f64,
    /// Half steps of a row that were taken back.
    restored: usize,
    /// Tables of a row that could not be solved for.
    unsolved: usize,
    inactive_inputs: usize,
    zero_groups: usize,
    groups_without_factor: usize,
    average_bits: f64,
    seconds: f64,
}

/// What a run is made with, in words for the headers of its files.
pub(crate) fn settings(options: &Quantize, bytes: &[u8], device: &Device) -> Result<String> {
    let calibration = &options.lnq.calibration;
    let all = calibration.map()?;
    let made_of: Vec<String> = all.iter().map(|(_, bytes)| fingerprint(bytes)).collect();
    let sensitivities = options.sensitivities.as_deref().map(input::map).transpose()?;
    Ok(serde_json::json!({
        "method": "lnq",
        "options": options.lnq.settings(options.table.element()),
        "groups": calibration.groups,
        "damp": calibration.damp,
        "inputs": calibration.inputs.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "weights": fingerprint(bytes),
        "bias": !options.no_bias,
        "sensitivities": sensitivities.map(|bytes| fingerprint(&bytes)),
        "calibration": made_of,
        "device": device.name(),
        "version": env!("CARGO_PKG_VERSION"),
    })
    .to_string())
}

/// Quantizes all chosen layers that `parts` has not yet.
pub(crate) fn layers(
    options: &Quantize,
    selection: &Selection,
    file: &DenseFile<'_>,
    sensitivities: Option<&DenseFile<'_>>,
    parts: &Parts,
    device: &Device,
) -> Result<Vec<(BitplaneLayer, Account)>> {
    let calibration = &options.lnq.calibration;
    let maps = calibration.map()?;
    let source = Source::new(calibration, &maps)?;
    let find = |chosen: &Chosen| source.find(&chosen.layer, chosen.shape.rows, chosen.shape.cols);
    let found: Vec<Found> = selection.chosen.iter().map(find).collect::<Result<_>>()?;
    // Before the work, not in the middle of it.
    for (chosen, found) in selection.chosen.iter().zip(&found) {
        let DenseShape { rows, cols, .. } = chosen.shape;
        let layout = LnqLayout { rows, cols, bits: options.lnq.bits() };
        let checked = device.check(layout, found.groups, source.adds_up());
        checked.with_context(|| format!("layer {}", chosen.layer))?;
    }
    let done = selection.chosen.iter().map(|chosen| parts.load(&chosen.layer));
    let mut done: Vec<Option<(BitplaneLayer, Account)>> = done.collect::<Result<_>>()?;
    let finished = done.iter().flatten().count();
    if finished > 0 {
        let all = report::count(done.len(), "layer");
        println!("{finished} of {all} were finished by an earlier run");
    }

    let settings = options.lnq.settings(options.table.element());
    let steps = settings.half_steps() as u64;
    let model = Model { file, sensitivities, source, device };
    let bar = progress_bar(selection.rows() as u64 * steps, "half steps of rows");
    let mut position = 0;
    for ((chosen, found), done) in selection.chosen.iter().zip(&found).zip(&mut done) {
        bar.set_message(chosen.layer.clone());
        if done.is_none() {
            let highest = AtomicU64::new(0);
            let tell = |count: usize| {
                let count = count as u64;
                bar.set_position(position + highest.fetch_max(count, Ordering::Relaxed).max(count));
            };
            let (layer, account) = one(chosen, &model, found, &settings, &tell)?;
            parts.save(&chosen.layer, &layer, account.clone())?;
            *done = Some((layer, account));
        }
        position += chosen.shape.rows as u64 * steps;
        bar.set_position(position);
    }
    bar.finish_and_clear();
    Ok(done.into_iter().flatten().collect())
}

/// What a layer is made from, and where.
struct Model<'a> {
    file: &'a DenseFile<'a>,
    sensitivities: Option<&'a DenseFile<'a>>,
    source: Source<'a>,
    device: &'a Device,
}

fn one(
    chosen: &Chosen,
    model: &Model<'_>,
    found: &Found,
    settings: &LnqOptions,
    tell: &(dyn Fn(usize) + Sync),
) -> Result<(BitplaneLayer, Account)> {
    let started = Instant::now();
    let &Model { file, sensitivities, ref source, device } = model;
    let (tensor, rows, cols) = (&chosen.shape.name, chosen.shape.rows, chosen.shape.cols);
    let hessian = source
        .hessian(found, device)
        .with_context(|| format!("cannot quantize {}", chosen.layer))?;
    let values = file.values(tensor)?;
    let sensitivities = sensitivities.map(|file| file.values(tensor)).transpose()?;
    let weights = Weights::new(&chosen.layer, rows, cols, &values, sensitivities.as_deref())?;
    let done = device.lnq(&weights, &hessian, settings, tell)?;
    let bias = chosen.bias.as_ref().map(|name| file.values(name)).transpose()?;
    let layer = done.pack(bias).map_err(|e| e.in_layer(&chosen.layer))?;
    let report = &done.report;
    let account = Account {
        layer: chosen.layer.clone(),
        rows,
        cols,
        bits: settings.bits,
        groups: hessian.groups(),
        tokens: hessian.tokens(),
        before: report.before(),
        after: report.after(),
        restored: report.steps.iter().map(|step| step.restored).sum(),
        unsolved: report.unsolved,
        inactive_inputs: report.inactive_inputs,
        zero_groups: report.zero_groups,
        groups_without_factor: report.groups_without_factor,
        average_bits: layer.average_bits(),
        seconds: started.elapsed().as_secs_f64(),
    };
    Ok((layer.into_inner(), account))
}

pub(crate) fn print_table(accounts: &[Account], damped: bool) {
    println!(
        "error of the output over the calibration inputs, of clusters of the weights and after \
         LNQ:\n"
    );
    let header = [
        "layer", "shape", "bits", "groups", "before", "after", "ratio", "restored", "unsolved",
        "inactive", "time",
    ];
    let mut table = report::table(header.map(String::from).to_vec(), 2);
    for account in accounts {
        table.add_row([
            account.layer.clone(),
            format!("{} x {}", account.rows, account.cols),
            format!("{:.2}", account.average_bits),
            account.groups.to_string(),
            format!("{:.4e}", account.before),
            format!("{:.4e}", account.after),
            report::ratio(account.after, account.before),
            account.restored.to_string(),
            account.unsolved.to_string(),
            account.inactive_inputs.to_string(),
            format!("{:.2} s", account.seconds),
        ]);
    }
    println!("{}", table.trim_fmt());
    println!(
        "\nbits: of a weight, with its share of the tables; restored: half steps taken back that \
         would have made a row worse;\nunsolved: tables kept as their system could not be solved; \
         inactive: inputs that were always 0, over all groups\n"
    );
    let weights = |a: &Account| (a.rows * a.cols) as f64;
    let all: f64 = accounts.iter().map(weights).sum();
    let bits: f64 = accounts.iter().map(|a| a.average_bits * weights(a)).sum();
    println!("{}, {:.3} bits a weight", report::count(accounts.len(), "layer"), bits / all);
    let few = |a: &&Account| !damped && a.tokens > 0 && a.tokens < a.cols as u64;
    for account in accounts.iter().filter(few) {
        println!(
            "{}: {} tokens for {} inputs; take more, or --damp 1: on other tokens the error may \
             else be larger than that of clusters",
            account.layer, account.tokens, account.cols
        );
    }
    for account in accounts {
        if account.zero_groups > 0 {
            let groups = report::count(account.zero_groups, "group");
            println!("{}: nothing went into {groups}: nearest entries", account.layer);
        }
        if account.groups_without_factor > account.zero_groups {
            let groups = account.groups_without_factor - account.zero_groups;
            let groups = report::count(groups, "group");
            println!("{}: {groups} with no factor: labels as in the clusters", account.layer);
        }
    }
}
