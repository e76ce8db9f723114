//! The quantizer on trained weights, not only on seeded ones.
//!
//! `FEWBYTES_DATA` names the folder of real data; `../shared/data` beside this package by default.
//! Without the file the same assertions run on seeded heavy-tailed matrices, and the test prints
//! that they did. Errors of both methods at every width are printed: `--nocapture` shows them.

#[path = "fixtures/matrix.rs"]
mod matrix;

use fewbytes::linear::file::{DenseFile, PackedFile, save_packed};
use fewbytes::linear::{Method, QuantizeOptions, Quantized, Weights, quantize};
use std::path::PathBuf;

const FILE: &str = "models/minilm_l6_layer3_ffn.f32.safetensors";

/// A layer's matrix with its bias and sensitivities.
struct Dense {
    name: String,
    rows: usize,
    cols: usize,
    values: Vec<f32>,
    sensitivities: Option<Vec<f32>>,
    bias: Vec<f32>,
}

impl Dense {
    fn weights(&self) -> Weights<'_> {
        let sensitivities = self.sensitivities.as_deref();
        Weights::new(&self.name, self.rows, self.cols, &self.values, sensitivities).unwrap()
    }
}

fn data_file() -> PathBuf {
    let folder = std::env::var_os("FEWBYTES_DATA").map(PathBuf::from);
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    folder.unwrap_or_else(beside).join(FILE)
}

/// The two matrices of the feed-forward layer. A weight's sensitivity is the mean square of its
/// input over the recorded tokens: how much an error there moves the output.
fn from_file(bytes: &[u8]) -> Vec<Dense> {
    let file = DenseFile::parse(FILE, bytes).unwrap();
    [("encoder.layer.3.intermediate.dense", "ffn1_in"), ("encoder.layer.3.output.dense", "ffn2_in")]
        .map(|(layer, input)| {
            let name = format!("{layer}.weight");
            let shape = file.matrices().into_iter().find(|shape| shape.name == name).unwrap();
            let input = file.values(input).unwrap();
            let mut energy = vec![0.0f32; shape.cols];
            for token in input.chunks_exact(shape.cols) {
                energy.iter_mut().zip(token).for_each(|(sum, x)| *sum += x * x);
            }
            let values = file.values(&name).unwrap();
            let bias = file.values(&format!("{layer}.bias")).unwrap();
            let (rows, cols) = (shape.rows, shape.cols);
            assert_eq!((values.len(), bias.len()), (rows * cols, rows));
            Dense { name, rows, cols, values, sensitivities: Some(energy.repeat(rows)), bias }
        })
        .into()
}

fn seeded() -> Vec<Dense> {
    [(96, 384), (37, 515)]
        .into_iter()
        .enumerate()
        .map(|(seed, (rows, cols))| {
            let (values, sensitivities) = matrix::heavy_tailed(seed as u64, rows * cols);
            let (bias, _) = matrix::heavy_tailed(100 + seed as u64, rows);
            let name = format!("seeded {rows} x {cols}");
            Dense { name, rows, cols, values, sensitivities: Some(sensitivities), bias }
        })
        .collect()
}

/// The matrices to test on; seeded ones, said aloud, where the data is missing.
fn matrices(test: &str) -> Vec<Dense> {
    let path = data_file();
    match std::fs::read(&path) {
        Ok(bytes) => from_file(&bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            // To the process's own stream, which the test harness does not capture.
            use std::io::Write as _;
            let _ = writeln!(
                std::io::stderr(),
                "real_data::{test}: FEWBYTES_DATA has no {FILE} (looked for {}); \
                 run on the seeded matrices instead",
                path.display()
            );
            seeded()
        }
        // A file that is there and cannot be read is nobody's intention.
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

fn run(dense: &Dense, method: Method) -> Quantized {
    let options = QuantizeOptions { method, ..QuantizeOptions::default() };
    quantize(&dense.weights(), &options).unwrap()
}

#[test]
fn errors_fall_with_every_bit_and_exact_seeds_are_best() {
    for dense in matrices("errors_fall_with_every_bit_and_exact_seeds_are_best") {
        let [exact, fast] = [Method::Exact, Method::Fast].map(|method| run(&dense, method));
        let weights = dense.weights();
        println!("{} [{} x {}], relative weighted error", dense.name, dense.rows, dense.cols);
        println!("bits      exact       fast  fast / exact");
        let mut previous = [f64::INFINITY; 2];
        for bits in 3..=8 {
            let [e, f] = [&exact, &fast].map(|q| q.error(&weights, bits).unwrap());
            let ratio = f.squared / e.squared;
            println!("{bits:4} {:10.6} {:10.6} {ratio:13.4}", e.relative, f.relative);
            assert!(e.squared < previous[0], "exact: {bits} bits are no better than fewer");
            assert!(f.squared < previous[1], "fast: {bits} bits are no better than fewer");
            if bits == 3 {
                assert!(e.squared <= f.squared, "the seed of least error is not the least");
            }
            previous = [e.squared, f.squared];
        }
        assert!(previous.iter().all(|&error| error > 0.0 && error.is_finite()));
    }
}

#[test]
fn packed_layers_come_back_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("packed.safetensors");
    let all = matrices("packed_layers_come_back_from_a_file");
    let quantized: Vec<_> = all.iter().map(|dense| run(dense, Method::Fast)).collect();
    let layers: Vec<_> = quantized
        .iter()
        .zip(&all)
        .map(|(quantized, dense)| quantized.pack(Some(dense.bias.clone())).unwrap())
        .collect();
    let named: Vec<_> = all.iter().map(|dense| dense.name.as_str()).zip(&layers).collect();
    save_packed(&path, &named).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let file = PackedFile::parse("packed.safetensors", &bytes).unwrap();
    assert_eq!(file.layers().count(), all.len());
    for ((dense, quantized), layer) in all.iter().zip(&quantized).zip(&layers) {
        let back = file.layer(&dense.name).unwrap();
        assert_eq!(&back, layer, "{}", dense.name);
        assert_eq!(back.codes(8).unwrap(), quantized.codes, "{}", dense.name);
        assert_eq!(back.bias(), Some(dense.bias.as_slice()), "{}", dense.name);
        for bits in 3..=8 {
            // From the file's planes and tables alone: the values that the errors above are of.
            let table = quantized.table(bits).unwrap();
            let expected = quantized.codes.iter().enumerate().map(|(at, code)| {
                let row = at / dense.cols;
                table[(row << bits) + usize::from(code >> (8 - bits))]
            });
            let dequantized = back.dequantize(bits).unwrap();
            assert!(dequantized.into_iter().eq(expected), "{} at {bits}", dense.name);
        }
    }
}
