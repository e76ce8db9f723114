//! Which dense layers a packed one was made of.

use crate::fuse::{Rule, captured};
use crate::select::fits;
use anyhow::{Result, bail, ensure};
use fewbytes::linear::file::{DenseFile, DenseShape};
use std::collections::HashMap;

/// Where a file's settings say of which layers others were joined.
pub(crate) const FUSED: &str = "fused";

/// What a packed file says of the layers that were joined.
pub(crate) fn fused(settings: Option<&str>) -> HashMap<String, Vec<String>> {
    let settings: Option<serde_json::Value> =
        settings.and_then(|text| serde_json::from_str(text).ok());
    let fused = settings.and_then(|settings| settings.get(FUSED).cloned());
    fused.and_then(|fused| serde_json::from_value(fused).ok()).unwrap_or_default()
}

/// The matrices of a dense file.
pub(crate) struct Dense<'a> {
    /// The file, in words.
    name: &'a str,
    shapes: HashMap<String, DenseShape>,
}

impl<'a> Dense<'a> {
    pub(crate) fn new(name: &'a str, file: &DenseFile<'_>) -> Self {
        let shapes = file.matrices().into_iter().map(|shape| (shape.name.clone(), shape));
        Self { name, shapes: shapes.collect() }
    }

    /// The names of all matrices.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = &str> {
        self.shapes.keys().map(String::as_str)
    }

    fn shape_of(&self, layer: &str) -> Option<&DenseShape> {
        self.shapes.get(&tensor_of(layer)).or_else(|| self.shapes.get(layer))
    }

    /// The dense layers that a packed one was made of: itself, where there is no word of others.
    pub(crate) fn parts_of(
        &self,
        layer: &str,
        rules: &[Rule],
        fused: &HashMap<String, Vec<String>>,
    ) -> Vec<String> {
        for rule in rules {
            if let Some(text) = captured(&rule.name, layer) {
                return rule.parts.iter().map(|part| part.replace('*', text)).collect();
            }
        }
        match fused.get(layer) {
            Some(parts) if self.shape_of(layer).is_none() => parts.clone(),
            _ => vec![layer.to_owned()],
        }
    }

    /// The matrices of all parts of a packed layer of `rows` x `cols`, in the order of its rows.
    pub(crate) fn find(
        &self,
        layer: &str,
        (rows, cols): (usize, usize),
        of: &[String],
    ) -> Result<Vec<&DenseShape>> {
        let joined = of != [layer];
        let mut found = Vec::new();
        for part in of {
            match self.shape_of(part) {
                Some(shape) => found.push(shape),
                None if joined => {
                    bail!("layer {layer}: no weights of its part {part} in {}", self.name)
                }
                None => bail!(
                    "no weights of layer {layer} in {}; --layers chooses others, and if it was \
                     joined of several, --fuse NAME=A,B tells which",
                    self.name
                ),
            }
        }
        let together: usize = found.iter().map(|shape| shape.rows).sum();
        let odd = found.iter().find(|shape| shape.cols != cols).or(found.first());
        let wide = odd.map_or(0, |shape| shape.cols);
        ensure!(
            (together, wide) == (rows, cols),
            "layer {layer} is {rows} x {cols}, its weights are {together} x {wide}"
        );
        Ok(found)
    }
}

fn tensor_of(layer: &str) -> String {
    format!("{layer}.weight")
}

/// Whether patterns choose a layer, by its own name or by that of a part; none choose all.
pub(crate) fn chosen(patterns: &[String], layer: &str, of: &[String]) -> bool {
    let any = |name: &str| patterns.iter().any(|pattern| fits(pattern, &tensor_of(name)));
    patterns.is_empty() || any(layer) || of.iter().any(|part| any(part))
}
