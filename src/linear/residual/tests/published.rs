//! The published tensors.

use super::{ResidualElement, ResidualLayer, refused, sample};
use crate::Error;
use half::f16;

#[test]
fn published_scales_lie_place_after_place() {
    // Two words a channel: scales of outputs 0 and 8, then those of 1 and 9, and so on.
    let order = [0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15];
    let scales: Vec<f16> = order.map(|output| f16::from_f32(output as f32)).to_vec();
    let words = [0x8888_8889, 0x7888_8888, 0x1111_1111, 0xFFFF_FFFF];
    let layer = ResidualLayer::from_published(16, 2, &words, &scales).unwrap();
    let natural: Vec<f32> = layer.scales().iter().map(|s| s.to_f32()).collect();
    assert_eq!(natural[..16], (0..16).map(|s| s as f32).collect::<Vec<_>>());
    assert_eq!(layer.code(0, 0), Some(9));
    assert_eq!((layer.code(15, 0), layer.value(15, 0)), (Some(7), Some(-15.0)));
    assert_eq!((layer.value(1, 1), layer.value(9, 1)), (Some(-7.0), Some(63.0)));
    assert_eq!(layer.to_published().unwrap(), (words.to_vec(), scales));
}

#[test]
fn what_is_exported_comes_back() {
    for (rows, cols) in [(8, 1), (16, 3), (248, 2), (256, 2), (264, 5), (1000, 1)] {
        let layer = sample(rows, cols, ResidualElement::Int4, rows as u64);
        let (words, scales) = layer.to_published().unwrap();
        assert_eq!((words.len(), scales.len()), (rows / 8 * cols, rows));
        assert_eq!(ResidualLayer::from_published(rows, cols, &words, &scales).unwrap(), layer);
    }
}

#[test]
fn what_was_never_published_is_refused() {
    let import = |rows, cols, words: usize, scales: usize| {
        ResidualLayer::from_published(rows, cols, &vec![0; words], &vec![f16::ONE; scales])
    };
    import(8, 2, 2, 8).unwrap();
    assert!(matches!(
        refused(import(12, 2, 3, 12), &["outputs", "12", "8"]),
        Error::Alignment { .. }
    ));
    refused(import(8, 2, 3, 8), &["words of the published residual", "2 x 1", "3"]);
    refused(import(8, 2, 2, 256), &["scales of the published residual", "8", "256"]);
    refused(import(0, 2, 0, 0), &["rows and cols from 1"]);
    let scales = [f16::NAN; 8];
    let error = refused(ResidualLayer::from_published(8, 1, &[0], &scales), &["scale"]);
    assert!(matches!(error, Error::Value { .. }));
    let error = refused(sample(8, 1, ResidualElement::Int8, 1).to_published(), &["int8"]);
    assert!(matches!(error, Error::Unsupported { .. }));
    let error = refused(sample(9, 1, ResidualElement::Int4, 1).to_published(), &["9"]);
    assert!(matches!(error, Error::Alignment { .. }));
}
