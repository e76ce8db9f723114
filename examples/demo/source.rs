//! Where the weights come from.

use anyhow::{Context as _, Result, ensure};
use fewbytes::linear::file::{DenseFile, DenseShape};
use rand::SeedableRng as _;
use rand_distr::{Distribution as _, StudentT};
use std::path::{Path, PathBuf};

/// A layer of all-MiniLM-L6-v2, as the data folder has it.
const REAL: &str = "models/minilm_l6_layer3_ffn.f32.safetensors";
const REAL_TENSOR: &str = "encoder.layer.3.output.dense.weight";

/// A dense matrix and its story.
pub(crate) struct Source {
    pub(crate) name: String,
    /// In words, for people.
    pub(crate) origin: String,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) values: Vec<f32>,
}

impl Source {
    /// A matrix of the user's own file. The file is read whole, which is simpler than mapping it
    /// and fine for looking at one layer.
    pub(crate) fn from_file(path: &Path, tensor: Option<&str>) -> Result<Self> {
        let bytes =
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let file = DenseFile::parse(&path.display().to_string(), &bytes)?;
        let DenseShape { name, rows, cols } =
            pick(file.matrices(), tensor).with_context(|| format!("in {}", path.display()))?;
        let values = file.values(&name)?;
        let file = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        let origin = format!("{name} of {file}");
        Ok(Self { name, origin, rows, cols, values })
    }

    /// The real layer where the data folder has it, else random numbers that say so.
    pub(crate) fn find(data: Option<&Path>) -> Result<Self> {
        let folder = data.map_or_else(data_folder, Path::to_owned);
        let path = folder.join(REAL);
        if path.is_file() {
            let mut source = Self::from_file(&path, Some(REAL_TENSOR))?;
            source.origin = format!("all-MiniLM-L6-v2, {}", source.name);
            return Ok(source);
        }
        println!("no {REAL} in {}", folder.display());
        Self::random(384, 1536)
    }

    /// Heavy-tailed numbers, as weights of language models are; the same on every machine.
    fn random(rows: usize, cols: usize) -> Result<Self> {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        let tail = StudentT::new(4.0_f64)?;
        let values = (0..rows * cols).map(|_| 0.02 * tail.sample(&mut rng) as f32).collect();
        let origin = "not a real layer: seeded random Student-t numbers".to_owned();
        Ok(Self { name: "random".to_owned(), origin, rows, cols, values })
    }
}

fn data_folder() -> PathBuf {
    std::env::var_os("FEWBYTES_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from)
}

/// The matrix asked for, or the largest that is neither an embedding nor an output head.
fn pick(matrices: Vec<DenseShape>, tensor: Option<&str>) -> Result<DenseShape> {
    let names: Vec<String> = matrices.iter().map(|m| m.name.clone()).collect();
    let found = match tensor {
        Some(wanted) => matrices.into_iter().find(|m| m.name == wanted),
        None => matrices
            .into_iter()
            .filter(|m| !m.name.contains("embed") && !m.name.contains("lm_head"))
            // The first of several as large.
            .rev()
            .max_by_key(|m| m.rows * m.cols),
    };
    ensure!(!names.is_empty(), "no matrix of F32, F16 or BF16");
    found.with_context(|| {
        let some = names.iter().take(12).cloned().collect::<Vec<_>>().join(", ");
        let more = if names.len() > 12 { ", ..." } else { "" };
        match tensor {
            Some(wanted) => format!("no matrix {wanted}; there are {some}{more}"),
            None => format!("only embeddings and output heads; choose with --tensor: {some}{more}"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(name: &str, rows: usize) -> DenseShape {
        DenseShape { name: name.to_owned(), rows, cols: 8 }
    }

    #[test]
    fn the_largest_matrix_that_is_no_embedding_is_picked() {
        let all = || vec![shape("a", 2), shape("b", 4), shape("c", 4), shape("embed", 9)];
        assert_eq!(pick(all(), None).unwrap().name, "b");
        assert_eq!(pick(all(), Some("embed")).unwrap().name, "embed");
        let message = pick(all(), Some("x")).unwrap_err().to_string();
        assert!(message.contains("a, b, c, embed"), "{message}");
        assert!(pick(vec![shape("embed", 1)], None).is_err());
        assert!(pick(Vec::new(), None).is_err());
    }

    #[test]
    fn random_weights_are_the_same_every_time() {
        let (a, b) = (Source::random(3, 5).unwrap(), Source::random(3, 5).unwrap());
        assert_eq!(a.values, b.values);
        assert!(a.values.iter().all(|v| v.is_finite()));
    }
}
