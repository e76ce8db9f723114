//! Which residuals are made, after checking that they can be.

use super::base::{Base, BaseLayer};
use super::options::Options;
use crate::calibration::{Found, Source};
use crate::origin::{self, Dense};
use crate::report;
use crate::select::layer_of;
use anyhow::{Result, ensure};
use fewbytes::linear::ResidualLayout;
use fewbytes::linear::file::DenseShape;
use std::collections::HashSet;

/// A residual to be made.
pub(super) struct Job<'a> {
    pub(super) layer: &'a BaseLayer,
    pub(super) bits: u8,
    /// The matrices it is of, in the order of its rows.
    pub(super) tensors: Vec<&'a DenseShape>,
    /// What goes into it; nothing without --activations.
    pub(super) inputs: Vec<Found>,
}

/// All residuals that the command line asks for, in the order of the packed file.
pub(super) fn find<'a>(
    options: &Options,
    base: &'a Base<'_>,
    dense: &'a Dense<'_>,
    source: Option<&Source<'_>>,
) -> Result<Vec<Job<'a>>> {
    let fused = origin::fused(base.settings());
    let of = |layer: &'a BaseLayer| (layer, dense.parts_of(&layer.name, &options.fuse, &fused));
    let all: Vec<(&BaseLayer, Vec<String>)> = base.layers().iter().map(of).collect();
    if let Some(source) = source {
        let packed = all.iter().flat_map(|(layer, of)| of.iter().chain([&layer.name]));
        source.check_rules(packed.map(String::as_str).chain(dense.tensors().map(layer_of)))?;
    }
    let (mut jobs, mut failures) = (Vec::new(), Vec::new());
    for (layer, of) in all {
        if !origin::chosen(&options.layers, &layer.name, &of) {
            continue;
        }
        match one(options, layer, &of, dense, source) {
            Ok(job) => jobs.push(job),
            // All that fail are named at once.
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    let count = jobs.len() + failures.len();
    ensure!(failures.is_empty(), "nothing was written: {}", report::failures(&failures, count));
    Ok(jobs)
}

fn one<'a>(
    options: &Options,
    layer: &'a BaseLayer,
    of: &[String],
    dense: &'a Dense<'_>,
    source: Option<&Source<'_>>,
) -> Result<Job<'a>> {
    let BaseLayer { name, rows, cols, .. } = layer;
    let tensors = dense.find(name, (*rows, *cols), of)?;
    let bits = layer.width(options.bits)?;
    let layout = ResidualLayout::new(*rows, *cols, options.element.stored());
    layout.map_err(|error| error.in_layer(name))?;
    let inputs = source.map(|source| inputs(layer, of, &tensors, source)).transpose()?;
    Ok(Job { layer, bits, tensors, inputs: inputs.unwrap_or_default() })
}

/// What goes into a layer: what the files have under its own name, or under those of its parts. These
/// have the same inputs, which may be there once for all of them or once for each.
fn inputs(
    layer: &BaseLayer,
    of: &[String],
    tensors: &[&DenseShape],
    source: &Source<'_>,
) -> Result<Vec<Found>> {
    let BaseLayer { name, rows, cols, .. } = layer;
    if source.knows(name)? {
        return Ok(vec![source.find(name, *rows, *cols)?]);
    }
    let parts = of.iter().zip(tensors).map(|(part, shape)| source.find(part, shape.rows, *cols));
    let mut found = parts.collect::<Result<Vec<_>>>()?;
    let mut seen = HashSet::new();
    found.retain(|found| seen.insert(found.name.clone()));
    Ok(found)
}
