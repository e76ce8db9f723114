//! From packed layers and their dense weights to a file of residuals, and what such a file holds.

mod account;
mod base;
mod inspect;
mod jobs;
mod options;

pub(crate) use inspect::inspect;
pub(crate) use options::Options;

use crate::calibration::Source;
use crate::origin::Dense;
use crate::run::progress_bar;
use crate::{input, output, report};
use account::Account;
use anyhow::{Context as _, Result, ensure};
use base::{Base, BaseLayer};
use fewbytes::linear::file::{DenseFile, ResidualEntry, save_residuals};
use fewbytes::linear::select::ThresholdsAccumulator;
use fewbytes::linear::{ResidualLayer, Weights, quantize_residual};
use half::f16;
use indicatif::ProgressBar;
use jobs::Job;
use std::path::PathBuf;
use std::time::Instant;

/// The format of files of residuals, in their metadata.
pub(crate) const FORMAT: &str = "residual";

/// The format that our metadata entry names, where a file has one.
pub(crate) fn format_of(bytes: &[u8]) -> Option<String> {
    let (_, header) = safetensors::SafeTensors::read_metadata(bytes).ok()?;
    let entry = header.metadata().as_ref()?.get("fewbytes")?;
    let entry: serde_json::Value = serde_json::from_str(entry).ok()?;
    Some(entry.get("format")?.as_str()?.to_owned())
}

/// What is written of a layer, and what is printed of it.
struct Done {
    residual: ResidualLayer,
    thresholds: Option<Vec<f32>>,
    norms: Option<Vec<f16>>,
    account: Account,
}

/// Makes residuals as the command line says. What can be seen beforehand is checked first, and the
/// output appears only when all of it is there.
pub(crate) fn make(options: &Options) -> Result<()> {
    let calibration = options.calibration()?;
    let others = calibration.paths()?;
    let inputs = others.iter().chain([&options.packed, &options.weights]);
    output::check(&options.output, inputs.map(PathBuf::as_path), options.force)?;
    let bytes = input::map(&options.packed)?;
    let name = options.packed.display().to_string();
    let base = Base::parse(&name, &bytes).context("no layers to make residuals of")?;
    let weights = input::map(&options.weights)?;
    let weights_name = options.weights.display().to_string();
    let dense = DenseFile::parse(&weights_name, &weights)?;
    let matrices = Dense::new(&weights_name, &dense);
    let maps = calibration.map()?;
    let source = (!maps.is_empty()).then(|| Source::new(&calibration, &maps)).transpose()?;
    let jobs = jobs::find(options, &base, &matrices, source.as_ref())?;
    ensure!(!jobs.is_empty(), "no layer to make a residual of in {name}; see `inspect`");

    let started = Instant::now();
    let model = Model { options, base: &base, dense: &dense, source: source.as_ref() };
    let done = model.all(&jobs).context("nothing was written")?;
    let settings = settings(options, &base, &jobs).to_string();
    let entries: Vec<_> = jobs.iter().zip(&done).map(|(job, done)| done.entry(job)).collect();
    let written = save_residuals(&options.output, Some(&settings), &entries);
    written.context("nothing was written")?;
    let accounts: Vec<&Account> = done.iter().map(|done| &done.account).collect();
    account::print(options.element.stored(), &accounts);
    let (output, time) = (options.output.display(), started.elapsed());
    let size = std::fs::metadata(&options.output).map_or(0, |m| m.len());
    println!("\nwrote {output} ({}) in {time:.1?}", report::size(size));
    println!("see it with: cargo run --release --example quantize -- inspect {output}");
    Ok(())
}

/// What the residuals are made with, for the header of the output.
fn settings(options: &Options, base: &Base<'_>, jobs: &[Job<'_>]) -> serde_json::Value {
    let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
    // One number where all layers have the same width, as most files do.
    let bits: serde_json::Value = match jobs.split_first() {
        Some((first, others)) if others.iter().all(|job| job.bits == first.bits) => {
            first.bits.into()
        }
        _ => jobs.iter().map(|job| (job.layer.name.clone(), job.bits)).collect(),
    };
    let files: Vec<_> = options.activations.iter().map(name).collect();
    serde_json::json!({
        "element": options.element.stored().name(),
        "base": { "file": name(&options.packed), "format": base.format(), "bits": bits },
        "weights": name(&options.weights),
        "thresholds": (!files.is_empty()).then(|| serde_json::json!({
            "of": "magnitudes",
            "activations": files,
            "inputs": options.inputs.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })),
        "version": env!("CARGO_PKG_VERSION"),
    })
}

impl Done {
    fn entry<'a>(&'a self, job: &'a Job<'_>) -> ResidualEntry<'a> {
        ResidualEntry {
            name: &job.layer.name,
            layer: &self.residual,
            thresholds: self.thresholds.as_deref(),
            norms: self.norms.as_deref(),
        }
    }
}

/// Everything that residuals are made from.
struct Model<'a> {
    options: &'a Options,
    base: &'a Base<'a>,
    dense: &'a DenseFile<'a>,
    source: Option<&'a Source<'a>>,
}

impl Model<'_> {
    fn all(&self, jobs: &[Job<'_>]) -> Result<Vec<Done>> {
        let bar = progress_bar(jobs.len() as u64, "layers");
        let (mut done, mut failures) = (Vec::new(), Vec::new());
        for job in jobs {
            match self.one(job, &bar) {
                Ok(layer) => done.push(layer),
                Err(error) => failures.push(format!("{error:#}")),
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        ensure!(failures.is_empty(), "{}", report::failures(&failures, jobs.len()));
        Ok(done)
    }

    fn one(&self, job: &Job<'_>, bar: &ProgressBar) -> Result<Done> {
        let BaseLayer { name, rows, cols, .. } = job.layer;
        bar.set_message(name.clone());
        let values = job.tensors.iter().map(|tensor| self.dense.values(&tensor.name));
        let values = values.collect::<fewbytes::Result<Vec<_>>>()?.concat();
        let weights = Weights::new(name, *rows, *cols, &values, None)?;
        let base = self.base.decode(name, job.bits)?;
        let element = self.options.element.stored();
        let (residual, report) = quantize_residual(&weights, &base, element)?;
        let norms = self.options.norms.then(|| residual.channel_norms());
        let calibrated = self.source.map(|source| thresholds(source, job, bar)).transpose()?;
        let (thresholds, tokens) = calibrated.unzip();
        let account = Account::new(job, &residual, report, tokens);
        Ok(Done { residual, thresholds, norms, account })
    }
}

/// A layer's thresholds, one for each of its channels, and the tokens they are of.
fn thresholds(source: &Source<'_>, job: &Job<'_>, bar: &ProgressBar) -> Result<(Vec<f32>, usize)> {
    let BaseLayer { name, cols, .. } = job.layer;
    let mut largest = ThresholdsAccumulator::new(name, *cols)?;
    for found in &job.inputs {
        let mut read = || {
            for batch in source.batches(found)? {
                largest.add_batch(&batch?.x)?;
                bar.set_message(format!("{name}: thresholds, {} tokens", largest.tokens()));
            }
            Ok::<_, anyhow::Error>(())
        };
        read().with_context(|| format!("layer {name}: in {}", source.place_of(found)))?;
    }
    let tokens = largest.tokens();
    Ok((largest.finish()?.values().to_vec(), tokens))
}
