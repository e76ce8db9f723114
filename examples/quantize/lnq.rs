//! Layer by layer with LNQ, so that an interrupted run loses one layer at most.

use crate::calibration::{Found, Source};
use crate::device::Device;
use crate::identity::Identity;
use crate::options::Quantize;
use crate::parts::Parts;
use crate::report;
use crate::run::progress_bar;
use crate::select::{Chosen, Selection, layer_of};
use anyhow::{Context as _, Result, bail};
use fewbytes::linear::file::{DenseFile, DenseShape};
use fewbytes::linear::{BitplaneLayer, LnqLayout, Weights};
use indicatif::ProgressBar;
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

/// What a run is made with, in words for the headers of its files. What each layer is made from is
/// said with its part.
pub(crate) fn settings(options: &Quantize, device: &Device) -> Result<serde_json::Value> {
    let calibration = &options.lnq.calibration;
    let mut how = serde_json::to_value(options.lnq.settings(options.table.element()))?;
    // Tables may differ from layer to layer, and are part of what the layer is made from.
    how.as_object_mut().map(|how| how.remove("table"));
    Ok(serde_json::json!({
        "method": "lnq",
        "options": how,
        "groups": calibration.groups,
        "damp": calibration.damp,
        "inputs": calibration.inputs.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "bias": !options.no_bias,
        "sensitivities": options.sensitivities.is_some(),
        "device": device.name(),
        "version": env!("CARGO_PKG_VERSION"),
    }))
}

/// What came of a run.
pub(crate) struct Outcome {
    pub(crate) layers: Vec<BitplaneLayer>,
    pub(crate) accounts: Vec<Account>,
    /// A hash of everything that all layers are made from.
    pub(crate) made_of: String,
}

/// A finished layer, its account and what it is made from.
type Finished = (BitplaneLayer, Account, String);

/// Quantizes all chosen layers that `parts` has not yet.
pub(crate) fn layers(
    options: &Quantize,
    selection: &Selection,
    file: &DenseFile<'_>,
    sensitivities: Option<&DenseFile<'_>>,
    parts: &Parts,
    device: &Device,
) -> Result<Outcome> {
    let calibration = &options.lnq.calibration;
    let maps = calibration.map()?;
    let source = Source::new(calibration, &maps)?;
    let matrices = file.matrices();
    source.check_rules(matrices.iter().map(|shape| layer_of(&shape.name)))?;
    let find = |chosen: &Chosen| source.find(&chosen.layer, chosen.shape.rows, chosen.shape.cols);
    let found: Vec<Found> = selection.chosen.iter().map(find).collect::<Result<_>>()?;
    // Before the work, not in the middle of it.
    for (chosen, found) in selection.chosen.iter().zip(&found) {
        let DenseShape { rows, cols, .. } = chosen.shape;
        let layout = LnqLayout { rows, cols, bits: options.lnq.bits() };
        let checked = device.check(layout, found.groups, source.adds_up());
        checked.with_context(|| format!("layer {}", chosen.layer))?;
    }
    source.announce(&found)?;
    parts.prepare()?;

    let model = Model { options, file, sensitivities, source, device };
    let mut done: Vec<Option<Finished>> = Vec::new();
    for (chosen, found) in selection.chosen.iter().zip(&found) {
        let mut made_of = String::new();
        let part = parts.load(&chosen.layer, || {
            made_of = model.identify(chosen, found)?;
            Ok(made_of.clone())
        })?;
        done.push(part.map(|(layer, account)| (layer, account, made_of)));
    }
    let finished = done.iter().flatten().count();
    if finished > 0 {
        let all = report::count(done.len(), "layer");
        println!("{finished} of {all} were finished by an earlier run");
    }

    let steps = options.lnq.settings(options.table.element()).half_steps() as u64;
    let bar = progress_bar(selection.rows() as u64 * steps, "half steps of rows");
    let (mut position, mut failures, mut beyond) = (0, Vec::new(), Vec::new());
    for ((chosen, found), done) in selection.chosen.iter().zip(&found).zip(&mut done) {
        if done.is_none() {
            match one(chosen, &model, found, &bar, position) {
                Ok((layer, account, made_of)) => {
                    parts.save(&chosen.layer, &layer, made_of.clone(), account.clone())?;
                    *done = Some((layer, account, made_of));
                }
                // The others are worth their time all the same.
                Err(error) => {
                    let text = format!("{error:#}");
                    bar.suspend(|| eprintln!("{text}"));
                    if text.contains("an f16 table holds") {
                        beyond.push(chosen.layer.as_str());
                    }
                    failures.push(text);
                }
            }
        }
        position += chosen.shape.rows as u64 * steps;
        bar.set_position(position);
    }
    bar.finish_and_clear();
    if !failures.is_empty() {
        parts.remove_empty();
        let mut text = report::failures(&failures, done.len());
        if !beyond.is_empty() {
            text += &format!("\nfor f32 tables there: --f32-tables {}", beyond.join(","));
        }
        if failures.len() < done.len() {
            text += &format!(
                "\nthe others are finished, in {}: the same command goes on from them",
                parts.folder().display()
            );
        }
        bail!(text);
    }
    let mut all = Identity::default();
    let mut outcome = Outcome { layers: vec![], accounts: vec![], made_of: String::new() };
    for (layer, account, made_of) in done.into_iter().flatten() {
        all.field(made_of.as_bytes());
        outcome.layers.push(layer);
        outcome.accounts.push(account);
    }
    outcome.made_of = all.finish();
    Ok(outcome)
}

/// What a layer is made from, and where.
struct Model<'a> {
    options: &'a Quantize,
    file: &'a DenseFile<'a>,
    sensitivities: Option<&'a DenseFile<'a>>,
    source: Source<'a>,
    device: &'a Device,
}

impl Model<'_> {
    /// Everything that a layer is made from, to the last number, in a few letters.
    fn identify(&self, chosen: &Chosen, found: &Found) -> Result<String> {
        let mut identity = Identity::default();
        let DenseShape { name, rows, cols } = &chosen.shape;
        identity.sizes(&[*rows, *cols]);
        identity.numbers(&self.file.values(name)?);
        let bias = chosen.bias.as_ref().map(|name| self.file.values(name)).transpose()?;
        identity.some_numbers(bias.as_deref());
        let sensitivities = self.sensitivities.map(|file| file.values(name)).transpose()?;
        identity.some_numbers(sensitivities.as_deref());
        self.source.identify(found, &mut identity)?;
        let table = self.options.table_of(chosen).name();
        Ok(format!("{table} {}", identity.finish()))
    }
}

fn one(
    chosen: &Chosen,
    model: &Model<'_>,
    found: &Found,
    bar: &ProgressBar,
    position: u64,
) -> Result<Finished> {
    let started = Instant::now();
    let &Model { options, file, sensitivities, ref source, device } = model;
    let name = &chosen.layer;
    let settings = &options.lnq.settings(options.table_of(chosen));
    let (tensor, rows, cols) = (&chosen.shape.name, chosen.shape.rows, chosen.shape.cols);
    bar.set_message(format!("{name}: reading"));
    let failed = || format!("cannot quantize {name}");
    let made_of = model.identify(chosen, found).with_context(failed)?;
    let tokens = |done: usize, all: usize| {
        bar.set_message(format!("{name}: Hessian, {done} of {all} tokens"));
    };
    let hessian = source.hessian(found, device, &tokens).with_context(failed)?;
    bar.set_message(name.clone());
    let highest = AtomicU64::new(0);
    let tell = |count: usize| {
        let count = count as u64;
        bar.set_position(position + highest.fetch_max(count, Ordering::Relaxed).max(count));
    };
    let values = file.values(tensor)?;
    let sensitivities = sensitivities.map(|file| file.values(tensor)).transpose()?;
    let weights = Weights::new(&chosen.layer, rows, cols, &values, sensitivities.as_deref())?;
    let done = device.lnq(&weights, &hessian, settings, &tell)?;
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
    Ok((layer.into_inner(), account, made_of))
}

pub(crate) fn print_table(accounts: &[Account], damped: bool) {
    let objective = report::objective(damped);
    println!("{objective}, of clusters of the weights and after LNQ:\n");
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
