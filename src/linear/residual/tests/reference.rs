//! What selected channels add.

use super::super::compensate;
use super::{ResidualElement, refused, sample};
use crate::Error;

#[test]
fn selected_channels_add_their_columns() {
    for element in ResidualElement::ALL {
        // Halves of any exponent would need tolerances of their own; two of one channel do not.
        let layer = sample(37, 5, element, 3);
        let (dense, x) = (layer.dequantize(), [0.5, -2.0, 4.0, 0.25, -1.0]);
        for selected in [&[][..], &[3], &[4, 1]] {
            let product = compensate(&layer, &x, selected).unwrap();
            assert_eq!((product.y.len(), product.condition.len()), (37, 37));
            for (row, weights) in dense.chunks_exact(5).enumerate() {
                let terms = |&i: &u32| f64::from(weights[i as usize]) * f64::from(x[i as usize]);
                let sum = selected.iter().map(terms).fold(0.0, |sum, term| sum + term);
                let condition = selected.iter().map(terms).fold(0.0, |sum, term| sum + term.abs());
                assert_eq!((product.y[row], product.condition[row]), (sum, condition));
            }
        }
    }
}

#[test]
fn all_channels_are_the_whole_residual() {
    let layer = sample(9, 40, ResidualElement::Int4, 8);
    let x: Vec<f32> = (0..40).map(|at| (at as f32 * 0.7).sin()).collect();
    let backwards: Vec<u32> = (0..40).rev().collect();
    let product = compensate(&layer, &x, &backwards).unwrap();
    for (row, weights) in layer.dequantize().chunks_exact(40).enumerate() {
        let terms = weights.iter().zip(&x).map(|(&w, &x)| f64::from(w) * f64::from(x));
        let sum: f64 = terms.sum();
        assert!((product.y[row] - sum).abs() <= 1e-14 * product.condition[row]);
    }
}

#[test]
fn channels_have_to_be_there_and_once() {
    let (layer, x) = (sample(9, 4, ResidualElement::Int8, 8), [1.0; 4]);
    let error = refused(compensate(&layer, &x, &[0, 4]), &["number 1 = 4", "0..=3"]);
    assert!(matches!(error, Error::Range { .. }));
    let error = refused(compensate(&layer, &x, &[u32::MAX]), &["number 0", "0..=3"]);
    assert!(matches!(error, Error::Range { .. }));
    let error = refused(compensate(&layer, &x, &[2, 0, 2]), &["channel 2", "once", "number 2"]);
    assert!(matches!(error, Error::Shape { .. }));
    let error = refused(compensate(&layer, &x[..3], &[]), &["length of x", "4", "3"]);
    assert!(matches!(error, Error::Shape { .. }));
}
