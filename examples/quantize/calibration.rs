//! Where Hessians come from: files of them, or files of what goes into layers.

use crate::device::Device;
use crate::fuse::{Rule, captured};
use crate::{input, report};
use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use fewbytes::launch::StableHash;
use fewbytes::linear::Hessian;
use fewbytes::linear::file::{CalibrationFile, HessianFile};
use memmap2::Mmap;
use std::path::PathBuf;

#[derive(Debug, Default, Args)]
pub(crate) struct Calibration {
    /// Hessians of the layers; may be repeated, for a model in a file a layer
    #[arg(long, value_name = "FILE", value_delimiter = ',', conflicts_with = "activations")]
    pub(crate) hessian: Vec<PathBuf>,
    /// What goes into the layers, and perhaps how much the end loss minds an error of each token
    #[arg(long, value_name = "FILE")]
    pub(crate) activations: Option<PathBuf>,
    /// Which of the activations go into which layers, such as `attn_in=q,k,v`, where names differ;
    /// a `*` in each name stands for the same text. May be repeated
    #[arg(long, value_name = "NAME=A,B,..")]
    pub(crate) inputs: Vec<Rule>,
    /// Groups of outputs with a Hessian each: a divisor of those in the file [default: all]
    #[arg(long, value_name = "G")]
    pub(crate) groups: Option<usize>,
    /// Share of the mean diagonal to add to the Hessians' diagonals: 0 as in the paper, about 1 for
    /// fewer tokens than inputs [default: 0]
    #[arg(long, value_name = "SHARE")]
    pub(crate) damp: Option<f32>,
}

impl Calibration {
    /// The first option that was given.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let all = [
            ("--hessian", !self.hessian.is_empty()),
            ("--activations", self.activations.is_some()),
            ("--inputs", !self.inputs.is_empty()),
            ("--groups", self.groups.is_some()),
            ("--damp", self.damp.is_some()),
        ];
        all.into_iter().find_map(|(option, given)| given.then_some(option))
    }

    pub(crate) fn check(&self) -> Result<()> {
        let some = !self.hessian.is_empty() || self.activations.is_some();
        ensure!(some, "--hessian or --activations is needed: what goes into the layers");
        let named = self.inputs.is_empty() || self.activations.is_some();
        ensure!(named, "--inputs names what is in --activations; Hessians go by layers");
        Ok(())
    }

    /// All files, mapped.
    pub(crate) fn map(&self) -> Result<Vec<(String, Mmap)>> {
        let paths = self.hessian.iter().chain(&self.activations);
        paths.map(|path| Ok((path.display().to_string(), input::map(path)?))).collect()
    }
}

/// The files, understood.
pub(crate) struct Source<'a> {
    options: &'a Calibration,
    /// The first file's name.
    name: &'a str,
    file: File<'a>,
}

enum File<'a> {
    Hessians(HessianFile<'a>),
    Inputs(CalibrationFile<'a>),
}

/// What there is for a layer.
pub(crate) struct Found {
    /// Its name in the file.
    name: String,
    pub(crate) groups: usize,
}

impl<'a> Source<'a> {
    pub(crate) fn new(options: &'a Calibration, maps: &'a [(String, Mmap)]) -> Result<Self> {
        options.check()?;
        let Some(((name, first), others)) = maps.split_first() else {
            bail!("--hessian or --activations is needed");
        };
        let file = if options.activations.is_some() {
            File::Inputs(CalibrationFile::parse(name, first)?)
        } else {
            let mut file = HessianFile::parse(name, first)?;
            for (name, bytes) in others {
                file.add(name, bytes)?;
            }
            File::Hessians(file)
        };
        Ok(Self { options, name, file })
    }

    /// Finds a layer and checks that it fits: seen before hours of work.
    pub(crate) fn find(&self, layer: &str, rows: usize, cols: usize) -> Result<Found> {
        let name = self.name_of(layer)?;
        let found = match &self.file {
            File::Hessians(file) => file.shape(&name).map(|s| (s.inputs, s.groups)),
            File::Inputs(file) => file.shape(&name).map(|s| (s.inputs, s.groups.max(1))),
        };
        let Some((inputs, all)) = found else {
            let what = if self.options.activations.is_some() { "activations" } else { "Hessian" };
            let wanted = if name == layer { String::new() } else { format!(" ({name})") };
            bail!(
                "no {what} for layer {layer}{wanted} in {}, which has {}",
                self.name,
                self.list()
            );
        };
        ensure!(
            inputs == cols,
            "layer {layer} has {cols} inputs, and {name} in {} is of {inputs}",
            self.name
        );
        let groups = self.options.groups.unwrap_or(all);
        ensure!(
            groups > 0 && all.is_multiple_of(groups),
            "layer {layer}: --groups {groups} does not divide the {} of {name} in {}",
            report::count(all, "group"),
            self.name
        );
        ensure!(
            rows.is_multiple_of(groups),
            "layer {layer}: its {rows} rows cannot be split into {groups} groups; see --groups"
        );
        Ok(Found { name, groups })
    }

    /// The name that --inputs gives, or the layer's own.
    fn name_of(&self, layer: &str) -> Result<String> {
        let mut name = None;
        for rule in &self.options.inputs {
            for part in &rule.parts {
                if let Some(text) = captured(part, layer) {
                    let new = rule.name.replace('*', text);
                    if let Some(old) = name.replace(new.clone()).filter(|old| *old != new) {
                        bail!("--inputs gives layer {layer} both {old} and {new}");
                    }
                }
            }
        }
        Ok(name.unwrap_or_else(|| layer.to_owned()))
    }

    /// Names in the file, as many as can be read.
    fn list(&self) -> String {
        let names: Vec<&str> = match &self.file {
            File::Hessians(file) => file.names().collect(),
            File::Inputs(file) => file.names().collect(),
        };
        let shown = names.iter().take(8).copied().collect::<Vec<_>>().join(", ");
        match names.len().saturating_sub(8) {
            0 => shown,
            more => format!("{shown} and {more} more"),
        }
    }

    /// Whether Hessians are added up from inputs.
    pub(crate) fn adds_up(&self) -> bool {
        matches!(self.file, File::Inputs(_))
    }

    /// Reads or adds up a layer's Hessians.
    pub(crate) fn hessian(&self, found: &Found, device: &Device) -> Result<Hessian> {
        let hessian = match &self.file {
            File::Inputs(file) => device.hessian(file, &found.name, found.groups),
            File::Hessians(file) => match file.hessian(&found.name) {
                Ok(all) if all.groups() != found.groups => all.merge(found.groups),
                other => other,
            },
        };
        let hessian = match (hessian, self.options.damp) {
            (Ok(hessian), Some(share)) => hessian.damped(share),
            (hessian, _) => hessian,
        };
        hessian.with_context(|| format!("in {}", self.name))
    }
}

/// What tells a file from others: its length and contents, of a large one 1024 pieces of them.
pub(crate) fn fingerprint(bytes: &[u8]) -> String {
    const PIECE: usize = 64 << 10;
    const PIECES: usize = 1024;
    let mut hash = StableHash::default();
    hash.field(&(bytes.len() as u64).to_le_bytes());
    let step = (bytes.len() / PIECES).max(PIECE);
    for piece in bytes.chunks(step) {
        hash.field(&piece[..piece.len().min(PIECE)]);
    }
    format!("{:016x}", hash.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_tells_files_apart() {
        let mut bytes = vec![1u8; 300_000];
        let one = fingerprint(&bytes);
        assert_eq!(fingerprint(&bytes), one);
        bytes[299_999] = 2;
        let two = fingerprint(&bytes);
        assert!(two != one && fingerprint(&bytes[..299_999]) != one);
        assert_eq!(one.len(), 16);
    }
}
