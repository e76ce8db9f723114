//! Where Hessians come from: files of them, or files of what goes into layers.

use crate::device::Device;
use crate::fuse::{Rule, captured};
use crate::identity::Identity;
use crate::{input, report};
use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use fewbytes::linear::Hessian;
use fewbytes::linear::file::{Batch, Batches, CalibrationFile, HessianFile};
use memmap2::Mmap;
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

/// Groups of outputs that are taken where nothing else is said: those of the paper. An export may
/// have one for every output, whose Hessians no memory holds.
const MOST_GROUPS: usize = 4;

#[derive(Debug, Default, Args)]
pub(crate) struct Calibration {
    /// Hessians of the layers: files, or folders of *.safetensors; may be repeated
    #[arg(long, value_name = "PATH", value_delimiter = ',', conflicts_with = "activations")]
    pub(crate) hessian: Vec<PathBuf>,
    /// What goes into the layers, and perhaps how much the end loss minds an error of each token:
    /// files, or folders of *.safetensors; may be repeated
    #[arg(long, value_name = "PATH", value_delimiter = ',')]
    pub(crate) activations: Vec<PathBuf>,
    /// Which of the activations go into which layers, such as `attn_in=q,k,v`, where names differ;
    /// a `*` in each name stands for the same text. May be repeated
    #[arg(long, value_name = "NAME=A,B,..")]
    pub(crate) inputs: Vec<Rule>,
    /// Groups of outputs with a Hessian each: a divisor of those in the file [default: the largest
    /// up to 4]
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
            ("--activations", !self.activations.is_empty()),
            ("--inputs", !self.inputs.is_empty()),
            ("--groups", self.groups.is_some()),
            ("--damp", self.damp.is_some()),
        ];
        all.into_iter().find_map(|(option, given)| given.then_some(option))
    }

    pub(crate) fn check(&self) -> Result<()> {
        let some = !self.hessian.is_empty() || !self.activations.is_empty();
        ensure!(some, "--hessian or --activations is needed: what goes into the layers");
        let named = self.inputs.is_empty() || !self.activations.is_empty();
        ensure!(named, "--inputs names what is in --activations; Hessians go by layers");
        if let Some(share) = self.damp {
            let fits = share >= 0.0 && share.is_finite();
            ensure!(fits, "--damp: share of the diagonal = {share} is outside 0.0..");
        }
        Ok(())
    }

    /// Whether numbers are errors of damped Hessians, not of the calibration inputs alone.
    pub(crate) fn damped(&self) -> bool {
        self.damp.is_some_and(|share| share > 0.0)
    }

    /// All files, those of folders in order.
    pub(crate) fn paths(&self) -> Result<Vec<PathBuf>> {
        let mut all = Vec::new();
        for path in self.hessian.iter().chain(&self.activations) {
            if !path.is_dir() {
                all.push(path.clone());
                continue;
            }
            let cannot = || format!("cannot list {}", path.display());
            let mut inside = Vec::new();
            for entry in std::fs::read_dir(path).with_context(cannot)? {
                let file = entry.with_context(cannot)?.path();
                if file.extension().is_some_and(|end| end == "safetensors") && file.is_file() {
                    inside.push(file);
                }
            }
            ensure!(!inside.is_empty(), "there is no *.safetensors in {}", path.display());
            inside.sort();
            all.extend(inside);
        }
        Ok(all)
    }

    /// All files, mapped.
    pub(crate) fn map(&self) -> Result<Vec<(String, Mmap)>> {
        let map = |path: PathBuf| Ok((path.display().to_string(), input::map(&path)?));
        self.paths()?.into_iter().map(map).collect()
    }
}

/// The files, understood.
pub(crate) struct Source<'a> {
    options: &'a Calibration,
    file: File<'a>,
    /// All files, in words.
    names: String,
    /// Which file a name is of.
    origin: HashMap<String, &'a str>,
}

enum File<'a> {
    Hessians(HessianFile<'a>),
    Inputs(CalibrationFile<'a>),
}

impl File<'_> {
    fn names(&self) -> Vec<&str> {
        match self {
            Self::Hessians(file) => file.names().collect(),
            Self::Inputs(file) => file.names().collect(),
        }
    }
}

/// What there is for a layer.
pub(crate) struct Found {
    /// Its name in the file.
    pub(crate) name: String,
    inputs: usize,
    pub(crate) groups: usize,
    /// Groups in the file.
    all: usize,
}

impl<'a> Source<'a> {
    pub(crate) fn new(options: &'a Calibration, maps: &'a [(String, Mmap)]) -> Result<Self> {
        options.check()?;
        let Some(((name, first), others)) = maps.split_first() else {
            bail!("--hessian or --activations is needed");
        };
        let mut file = if options.activations.is_empty() {
            File::Hessians(HessianFile::parse(name, first)?)
        } else {
            File::Inputs(CalibrationFile::parse(name, first)?)
        };
        let mut origin = HashMap::new();
        let mut seen = |file: &File<'_>, name: &'a str| {
            for layer in file.names() {
                origin.entry(layer.to_owned()).or_insert(name);
            }
        };
        seen(&file, name);
        for (name, bytes) in others {
            let added = match &mut file {
                File::Hessians(file) => file.add(name, bytes),
                File::Inputs(file) => file.add(name, bytes),
            };
            added.with_context(|| format!("cannot add {name}"))?;
            seen(&file, name);
        }
        let names = match others.len() {
            0 => name.clone(),
            more => format!("{name} and {}", report::count(more, "other file")),
        };
        Ok(Self { options, file, names, origin })
    }

    /// Whether Hessians are still to be added up.
    pub(crate) fn adds_up(&self) -> bool {
        matches!(self.file, File::Inputs(_))
    }

    /// That every rule of --inputs is about one of these layers.
    pub(crate) fn check_rules<'l>(&self, layers: impl Iterator<Item = &'l str>) -> Result<()> {
        let layers: Vec<&str> = layers.collect();
        for rule in &self.options.inputs {
            let mut parts = rule.parts.iter();
            let fits = parts.any(|part| layers.iter().any(|layer| captured(part, layer).is_some()));
            ensure!(fits, "--inputs {rule}: no layer is called {}", rule.parts.join(" or "));
        }
        Ok(())
    }

    /// Finds a layer and checks that it fits: seen before hours of work.
    pub(crate) fn find(&self, layer: &str, rows: usize, cols: usize) -> Result<Found> {
        let name = self.name_of(layer)?;
        let found = match &self.file {
            File::Hessians(file) => file.shape(&name).map(|s| (s.inputs, s.groups)),
            File::Inputs(file) => file.shape(&name).map(|s| (s.inputs, s.groups.max(1))),
        };
        let Some((inputs, all)) = found else {
            let what = if self.adds_up() { "activations" } else { "Hessian" };
            let wanted = if name == layer { String::new() } else { format!(" ({name})") };
            let (names, list) = (&self.names, self.list());
            bail!("no {what} for layer {layer}{wanted} in {names}, which has {list}");
        };
        let place = self.place(&name);
        if inputs != cols {
            bail!("layer {layer} has {cols} inputs, and {name} in {place} is of {inputs}");
        }
        let groups = self.options.groups.unwrap_or_else(|| bounded(all));
        ensure!(
            groups > 0 && all.is_multiple_of(groups),
            "layer {layer}: --groups {groups} does not divide the {} of {name} in {place}",
            report::count(all, "group"),
        );
        ensure!(
            rows.is_multiple_of(groups),
            "layer {layer}: its {rows} rows cannot be split into {groups} groups; see --groups"
        );
        Ok(Found { name, inputs, groups, all })
    }

    /// Whether there is anything for a layer of this name.
    pub(crate) fn knows(&self, layer: &str) -> Result<bool> {
        let name = self.name_of(layer)?;
        Ok(self.file.names().contains(&name.as_str()))
    }

    /// What went into a layer, piece by piece.
    pub(crate) fn batches(&self, found: &Found) -> Result<Batches<'_>> {
        match &self.file {
            File::Inputs(file) => Ok(file.batches(&found.name, found.groups)?),
            File::Hessians(_) => bail!("{} has Hessians, not what goes into layers", self.names),
        }
    }

    /// The file that a layer's are of.
    pub(crate) fn place_of(&self, found: &Found) -> &str {
        self.place(&found.name)
    }

    /// The file that a name is of.
    fn place(&self, name: &str) -> &str {
        self.origin.get(name).copied().unwrap_or(&self.names)
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

    /// Names in the files, as many as can be read.
    fn list(&self) -> String {
        let names = self.file.names();
        let shown = names.iter().take(8).copied().collect::<Vec<_>>().join(", ");
        match names.len().saturating_sub(8) {
            0 if names.is_empty() => "no layers".to_owned(),
            0 => shown,
            more => format!("{shown} and {more} more"),
        }
    }

    /// What is taken of the files where nothing was said, what it takes, and what looks wrong.
    pub(crate) fn announce(&self, found: &[Found]) -> Result<()> {
        let fewer = found.iter().filter(|f| self.options.groups.is_none() && f.groups < f.all);
        for (groups, all) in fewer.map(|f| (f.groups, f.all)).collect::<BTreeSet<_>>() {
            println!(
                "{} of outputs of {all} in the file; see --groups",
                report::count(groups, "group")
            );
        }
        if let Some(largest) = found.iter().max_by_key(|found| self.bytes(found)) {
            let size = report::size(self.bytes(largest));
            println!("the largest Hessians are those of {}: about {size} of memory", largest.name);
        }
        let names: BTreeSet<&str> = found.iter().map(|found| found.name.as_str()).collect();
        for name in names {
            if self.is_like_hessian(name)? {
                let place = self.place(name);
                println!("{name} in {place} is square and symmetric: a Hessian is for --hessian");
            }
        }
        Ok(())
    }

    /// Memory for a layer's Hessians, and while they are made.
    fn bytes(&self, found: &Found) -> u64 {
        let Found { inputs, groups, all, .. } = *found;
        let held = match self.file {
            // Sums in f64, and then as numbers.
            File::Inputs(_) => 3 * groups as u128,
            File::Hessians(_) if all == groups => groups as u128,
            File::Hessians(_) => (all + groups) as u128,
        };
        let damped = if self.options.damp.is_some() { groups as u128 } else { 0 };
        let each = inputs as u128 * (inputs as u128 + 1) / 2;
        u64::try_from(4 * each * (held + damped)).unwrap_or(u64::MAX)
    }

    /// Whether activations are rather the matrices of a plain Hessian file.
    fn is_like_hessian(&self, name: &str) -> Result<bool> {
        let File::Inputs(file) = &self.file else { return Ok(false) };
        let square = file.shape(name).is_some_and(|shape| {
            shape.groups == 0 && shape.inputs > 1 && shape.tokens.is_multiple_of(shape.inputs)
        });
        if !square || file.settings().is_some() {
            return Ok(false);
        }
        let inputs = file.shape(name).map_or(0, |shape| shape.inputs);
        let first = file.batches(name, 1)?.next().transpose()?;
        Ok(first.is_some_and(|Batch { x, .. }| symmetric(&x, inputs)))
    }

    /// Takes in everything that a layer's Hessians are made of.
    pub(crate) fn identify(&self, found: &Found, identity: &mut Identity) -> Result<()> {
        let read = |identity: &mut Identity| match &self.file {
            File::Inputs(file) => {
                let batches = file.batches(&found.name, found.groups)?;
                identity.sizes(&[found.groups, found.inputs, batches.tokens()]);
                for batch in batches {
                    let Batch { x, s } = batch?;
                    identity.numbers(&x);
                    identity.some_numbers(s.as_deref());
                }
                Ok(())
            }
            File::Hessians(file) => {
                let hessian = file.hessian(&found.name)?;
                identity.sizes(&[found.groups, hessian.groups(), hessian.inputs()]);
                identity.field(&hessian.tokens().to_le_bytes());
                identity.numbers(hessian.packed());
                Ok(())
            }
        };
        let read: fewbytes::Result<()> = read(identity);
        read.with_context(|| format!("in {}", self.place(&found.name)))
    }

    /// Reads or adds up a layer's Hessians; `tell` hears how many tokens are added, and of how many.
    pub(crate) fn hessian(
        &self,
        found: &Found,
        device: &Device,
        tell: &dyn Fn(usize, usize),
    ) -> Result<Hessian> {
        let hessian = match &self.file {
            File::Inputs(file) => device.hessian(file, &found.name, found.groups, tell),
            File::Hessians(file) => match file.hessian(&found.name) {
                Ok(all) if all.groups() != found.groups => all.merge(found.groups),
                other => other,
            },
        };
        let hessian = match (hessian, self.options.damp) {
            (Ok(hessian), Some(share)) => hessian.damped(share),
            (hessian, _) => hessian,
        };
        hessian.with_context(|| format!("in {}", self.place(&found.name)))
    }
}

/// The largest number of groups that a file's can be merged to and that is not too many.
fn bounded(all: usize) -> usize {
    (1..=MOST_GROUPS).rev().find(|groups| all.is_multiple_of(*groups)).unwrap_or(1)
}

/// Whether the first rows begin like a matrix of sums of squares: symmetric, nothing negative on the
/// diagonal, not all of it 0.
fn symmetric(x: &[f32], inputs: usize) -> bool {
    let side = inputs.min(x.len() / inputs).min(64);
    let at = |i: usize, j: usize| x[i * inputs + j];
    let mirrored =
        (0..side).all(|i| (0..i).all(|j| (at(i, j) - at(j, i)).abs() <= 1e-3 * at(i, j).abs()));
    side > 1 && mirrored && (0..side).all(|i| at(i, i) >= 0.0) && (0..side).any(|i| at(i, i) > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_merged_to_four_at_most() {
        let bounded = [1, 2, 3, 4, 6, 7, 10, 4096, 11007].map(bounded);
        assert_eq!(bounded, [1, 2, 3, 4, 3, 1, 2, 4, 3]);
    }

    #[test]
    fn a_hessian_is_told_from_inputs() {
        assert!(symmetric(&[2.0, -1.0, -1.0, 3.0], 2));
        assert!(!symmetric(&[2.0, -1.0, 1.0, 3.0], 2));
        assert!(!symmetric(&[2.0, -1.0, -1.0, -3.0], 2));
        assert!(!symmetric(&[0.0; 4], 2) && !symmetric(&[1.0, 2.0], 2));
    }
}
