//! Which tensors become layers.

use crate::options::Quantize;
use anyhow::{Result, ensure};
use fewbytes::linear::file::{DenseFile, DenseShape, DenseTensor};
use std::collections::{BTreeMap, HashMap, HashSet};

/// A matrix to quantize.
pub(crate) struct Chosen {
    pub(crate) shape: DenseShape,
    /// Name in the packed file: the tensor's without `.weight`.
    pub(crate) layer: String,
    /// The tensor that holds the bias.
    pub(crate) bias: Option<String>,
}

impl Chosen {
    /// Whether this is the layer's or the tensor's name, or with `*` and `?` a pattern for one.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        let wild = name.contains(['*', '?']);
        let is = |own: &str| own == name || wild && matches(name, own);
        is(&self.layer) || is(&self.shape.name)
    }
}

/// What becomes of a file's tensors.
pub(crate) struct Selection {
    pub(crate) chosen: Vec<Chosen>,
    /// Tensors that are left out, by reason.
    pub(crate) skipped: BTreeMap<&'static str, Vec<String>>,
}

impl Selection {
    pub(crate) fn new(file: &DenseFile<'_>, options: &Quantize) -> Result<Self> {
        let tensors = file.tensors();
        let by_name: HashMap<&str, &DenseTensor> =
            tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        let matrices = file.matrices();
        let is_matrix: HashSet<&str> = matrices.iter().map(|m| m.name.as_str()).collect();

        let mut skipped: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
        let mut chosen: Vec<Chosen> = Vec::new();
        for shape in matrices.iter().cloned() {
            if let Some(reason) = left_out(&shape.name, options) {
                skipped.entry(reason).or_default().push(shape.name);
                continue;
            }
            let layer = layer_of(&shape.name).to_owned();
            if let Some(twin) = chosen.iter().find(|other| other.layer == layer) {
                let names = [&twin.shape.name, &shape.name];
                anyhow::bail!("tensors {names:?} would both become layer {layer}; --exclude one");
            }
            let bias = bias_of(&shape, &by_name).filter(|_| !options.no_bias);
            chosen.push(Chosen { layer, bias, shape });
        }
        let biases: HashSet<&str> = chosen.iter().filter_map(|c| c.bias.as_deref()).collect();
        // A bias that does not fit should not go unnoticed among norms and other vectors.
        let misfits: HashSet<String> = chosen
            .iter()
            .filter(|c| c.bias.is_none() && !options.no_bias && c.shape.name.ends_with(".weight"))
            .map(|c| format!("{}.bias", c.layer))
            .collect();
        for tensor in &tensors {
            let name = tensor.name.as_str();
            if !is_matrix.contains(name) && !biases.contains(name) {
                let reason = if misfits.contains(name) {
                    "biases whose length or type does not fit"
                } else if tensor.shape.len() == 2 && tensor.shape.contains(&0) {
                    "empty"
                } else if tensor.shape.len() == 2 {
                    "of a type other than F32, F16, BF16"
                } else {
                    "not matrices"
                };
                let words = format!("{name} {} {:?}", tensor.dtype, tensor.shape);
                skipped.entry(reason).or_default().push(words);
            }
        }
        Ok(Self { chosen, skipped })
    }

    /// Rows of all layers together.
    pub(crate) fn rows(&self) -> usize {
        self.chosen.iter().map(|c| c.shape.rows).sum()
    }

    pub(crate) fn print_skipped(&self) {
        for (reason, names) in &self.skipped {
            println!("skipped, {reason}: {}", names.join(", "));
        }
    }

    /// Whether every layer has sensitivities of its own shape: seen before hours of work.
    pub(crate) fn check_sensitivities(&self, file: &DenseFile<'_>) -> Result<()> {
        let shapes: HashMap<String, DenseShape> =
            file.matrices().into_iter().map(|shape| (shape.name.clone(), shape)).collect();
        for DenseShape { name, rows, cols } in self.chosen.iter().map(|c| &c.shape) {
            let found = shapes.get(name);
            ensure!(found.is_some(), "no matrix {name} among the sensitivities");
            let found = found.map(|s| (s.rows, s.cols));
            ensure!(
                found == Some((*rows, *cols)),
                "sensitivities of {name}: expected {rows} x {cols}, found {}",
                found.map(|(r, c)| format!("{r} x {c}")).unwrap_or_default()
            );
        }
        Ok(())
    }
}

/// Why a matrix is left out, if it is.
fn left_out(name: &str, options: &Quantize) -> Option<&'static str> {
    let any = |patterns: &[String]| patterns.iter().any(|pattern| fits(pattern, name));
    let lower = name.to_lowercase();
    if !options.layers.is_empty() && !any(&options.layers) {
        Some("no match in --layers")
    } else if any(&options.exclude) {
        Some("--exclude")
    } else if !options.all && (lower.contains("embed") || lower.contains("lm_head")) {
        Some("embeddings and output heads (--all takes them)")
    } else {
        None
    }
}

/// The vector that goes with a matrix as its bias: `NAME.bias` beside `NAME.weight`.
fn bias_of(matrix: &DenseShape, tensors: &HashMap<&str, &DenseTensor>) -> Option<String> {
    let name = format!("{}.bias", matrix.name.strip_suffix(".weight")?);
    let found = tensors.get(name.as_str())?;
    let fits = found.shape == [matrix.rows];
    (fits && matches!(found.dtype.as_str(), "F32" | "F16" | "BF16")).then_some(name)
}

/// The name of the layer that a tensor becomes.
pub(crate) fn layer_of(tensor: &str) -> &str {
    tensor.strip_suffix(".weight").unwrap_or(tensor)
}

/// Whether a pattern fits a tensor's name or that of its layer.
pub(crate) fn fits(pattern: &str, tensor: &str) -> bool {
    matches(pattern, tensor) || matches(pattern, layer_of(tensor))
}

/// Whether a pattern fits a name: anywhere, or with `*` and `?` from end to end.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    if !pattern.contains(['*', '?']) {
        return name.contains(pattern);
    }
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    // Greedy with one step back: where a later part fails, the last `*` takes one character more.
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&c) if c == '?' || c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    n = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_are_parts_or_whole_names_with_wildcards() {
        assert!(matches("mlp", "layers.3.mlp.up.weight"));
        assert!(!matches("mlp", "layers.3.attn.weight"));
        assert!(matches("*.mlp.*", "layers.3.mlp.up.weight"));
        assert!(matches("layers.?.*.weight", "layers.3.mlp.up.weight"));
        assert!(!matches("layers.?.*.weight", "layers.13.mlp.up.weight"));
        assert!(!matches("*.mlp", "layers.3.mlp.up"));
        assert!(matches("*ab*ab", "aabaab"));
        assert!(!matches("?", ""));
        assert!(matches("*", ""));
    }
}
