//! Files that `examples/export_calibration` wrote from a small transformer in PyTorch.

use fewbytes::linear::file::{CalibrationFile, CalibrationShape, DenseFile, HessianFile};
use fewbytes::linear::{Hessian, HessianAccumulator};

/// Inputs, and squared gradients of every output; weights, and errors that PyTorch computed.
const CALIBRATION: &[u8] = include_bytes!("../data/exported_demo.calibration.safetensors");
/// Hessians of the same run, in two groups, added up by PyTorch in f64.
const HESSIANS: &[u8] = include_bytes!("../data/exported_demo.hessian.safetensors");

/// Inputs and outputs of each layer.
const LAYERS: [(&str, usize, usize); 3] =
    [("blocks.0.down", 32, 16), ("blocks.0.up", 16, 32), ("blocks.0.v", 16, 16)];

/// `d^T H d` of one group.
fn quadratic(hessian: &Hessian, group: usize, d: &[f64]) -> f64 {
    let row = |i: usize| {
        let h = |j| f64::from(hessian.get(group, i, j).unwrap());
        d.iter().enumerate().map(|(j, d)| h(j) * d).sum::<f64>()
    };
    d.iter().enumerate().map(|(i, d)| d * row(i)).sum()
}

#[test]
fn an_output_error_weighted_with_gradients_is_what_the_hessians_say() {
    let file = CalibrationFile::parse("exported", CALIBRATION).unwrap();
    let dense = DenseFile::parse("exported", CALIBRATION).unwrap();
    assert!(file.names().eq(LAYERS.map(|(name, ..)| name)));
    assert!(file.settings().unwrap().contains("\"groups\": \"all\""));
    for (name, inputs, outputs) in LAYERS {
        let shape = CalibrationShape { inputs, groups: outputs, tokens: 48 };
        assert_eq!(file.shape(name), Some(shape));
        let hessian = file.accumulate(name, outputs).unwrap();
        let weights = dense.values(&format!("{name}.weight")).unwrap();
        // PyTorch: || 1000 dl/dZ o (X W^T - X Q^T) ||^2 from gradients, not from their squares.
        let start = tensor_data(&format!("{name}.error"));
        let expected = f64::from_le_bytes(start.try_into().unwrap());
        let found: f64 = weights
            .chunks_exact(inputs)
            .enumerate()
            .map(|(row, w)| {
                // Halves to even, as PyTorch rounds.
                let rounded = |w: f64| (8.0 * w).round_ties_even() / 8.0;
                let d: Vec<f64> = w.iter().map(|&w| f64::from(w) - rounded(f64::from(w))).collect();
                quadratic(&hessian, row, &d)
            })
            .sum();
        assert!((found / expected - 1.0).abs() < 1e-5, "{name}: {found} {expected}");
    }
}

/// The bytes of a tensor of the calibration file.
fn tensor_data(name: &str) -> Vec<u8> {
    crate::container::Container::split(CALIBRATION).data(name).to_vec()
}

#[test]
fn hessians_of_the_framework_are_those_added_up_here() {
    let file = HessianFile::parse("exported", HESSIANS).unwrap();
    let inputs_file = CalibrationFile::parse("exported", CALIBRATION).unwrap();
    assert!(file.names().eq(LAYERS.map(|(name, ..)| name)));
    for (name, inputs, _) in LAYERS {
        let theirs = file.hessian(name).unwrap();
        let ours = inputs_file.accumulate(name, 2).unwrap();
        assert_eq!((theirs.inputs(), theirs.groups(), theirs.tokens()), (inputs, 2, 48));
        for group in 0..2 {
            let top = theirs.diagonal(group).into_iter().fold(0.0f32, f32::max);
            for i in 0..inputs {
                for j in i..inputs {
                    let [a, b] = [&theirs, &ours].map(|h| h.get(group, i, j).unwrap());
                    assert!((a - b).abs() <= 1e-5 * top, "{name} {group} {i} {j}: {a} {b}");
                }
            }
        }
    }
}

#[test]
fn one_group_is_the_mean_of_all_outputs() {
    let file = CalibrationFile::parse("exported", CALIBRATION).unwrap();
    for (name, inputs, outputs) in LAYERS {
        let mut means = HessianAccumulator::new(name, inputs, 1).unwrap();
        for batch in file.batches(name, outputs).unwrap() {
            let batch = batch.unwrap();
            let s = batch.s.unwrap();
            let s: Vec<f32> =
                s.chunks_exact(outputs).map(|s| s.iter().sum::<f32>() / outputs as f32).collect();
            means.add_batch(&batch.x, Some(&s)).unwrap();
        }
        let (one, means) = (file.accumulate(name, 1).unwrap(), means.finish().unwrap());
        let merged = file.accumulate(name, outputs).unwrap().merge(1).unwrap();
        let top = one.diagonal(0).into_iter().fold(0.0f32, f32::max);
        for other in [&means, &merged] {
            let pairs = one.packed().iter().zip(other.packed());
            pairs.for_each(|(a, b)| assert!((a - b).abs() <= 1e-5 * top, "{name}: {a} {b}"));
        }
    }
}
