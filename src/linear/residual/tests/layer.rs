//! Words, scales and what they mean.

use super::{ResidualElement, ResidualLayer, ResidualLayout, codes, refused, sample, scales};
use crate::Error;
use half::f16;
use proptest::prelude::*;

fn halves(values: &[f32]) -> Vec<f16> {
    values.iter().map(|&v| f16::from_f32(v)).collect()
}

/// The words of every channel without their padding, which has to be 0.
fn used(layer: &ResidualLayer, words: usize) -> Vec<u32> {
    let channels = (0..layer.cols()).map(|at| layer.channel(at).unwrap());
    channels
        .flat_map(|channel| {
            assert!(channel[words..].iter().all(|&word| word == 0));
            channel[..words].to_vec()
        })
        .collect()
}

#[test]
fn words_are_those_of_the_format() {
    let of = |rows, cols, element, codes: &[u16], scales: &[f32]| {
        let layout = ResidualLayout::new(rows, cols, element).unwrap();
        ResidualLayer::from_codes(layout, codes, &halves(scales)).unwrap()
    };
    // Three outputs of two channels. Channel 0 has codes 1, 8, 10, channel 1 codes 15, 0, 7; the
    // first output's is the lowest of a word. A code is q + 8.
    let layer = of(3, 2, ResidualElement::Int4, &[1, 15, 8, 0, 10, 7], &[0.5, 1.0, 2.0]);
    assert_eq!(used(&layer, 1), [0xA81, 0x70F]);
    assert_eq!(layer.dequantize(), [-3.5, 3.5, 0.0, -8.0, 4.0, -2.0]);
    assert_eq!(layer.words().len(), 64);
    assert_eq!((layer.scales().len(), layer.scales()[2].to_f32()), (256, 2.0));
    // The ninth output begins the second word.
    let layer = of(9, 1, ResidualElement::Int4, &[8, 9, 8, 8, 8, 8, 8, 7, 15], &[1.0; 9]);
    assert_eq!(used(&layer, 2), [0x7888_8898, 0xF]);
    // q + 128, four a word; q + 2, sixteen a word.
    let layer = of(5, 1, ResidualElement::Int8, &[0, 1, 128, 255, 129], &[1.0; 5]);
    assert_eq!(used(&layer, 2), [0xFF80_0100, 0x81]);
    assert_eq!(layer.dequantize(), [-128.0, -127.0, 0.0, 127.0, 1.0]);
    let layer = of(3, 1, ResidualElement::Int2, &[3, 0, 1], &[4.0; 3]);
    assert_eq!(used(&layer, 1), [0b01_00_11]);
    assert_eq!(layer.dequantize(), [4.0, -8.0, -4.0]);
    // Halves by themselves: 1 is 0x3c00, -2 0xc000, 0.5 0x3800.
    let layer = of(3, 1, ResidualElement::F16, &[0x3c00, 0xc000, 0x3800], &[]);
    assert_eq!(used(&layer, 2), [0xC000_3C00, 0x3800]);
    assert_eq!(layer.dequantize(), [1.0, -2.0, 0.5]);
}

#[test]
fn places_that_there_are_not_hold_nothing() {
    let layer = sample(9, 3, ResidualElement::Int4, 1);
    assert!(layer.code(8, 2).is_some() && layer.value(8, 2).is_some());
    // Row 9 has bits in the words, row 300 none.
    assert_eq!([layer.code(9, 0), layer.code(300, 0), layer.code(0, 3)], [None; 3]);
    assert_eq!((layer.value(9, 0), layer.channel(3)), (None, None));
    assert_eq!(layer.channel(usize::MAX), None);
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let int4 = sample(9, 3, ResidualElement::Int4, 1);
    let layout = *int4.layout();
    let from = |words: &[u32], scales: &[f16]| {
        ResidualLayer::from_parts(layout, words.to_vec(), scales.to_vec())
    };
    let (words, scales) = (int4.words(), int4.scales());
    assert_eq!(from(words, scales).unwrap(), int4);
    let error = refused(from(&words[1..], scales), &["words of the residual", "3 x 32", "95"]);
    assert!(matches!(error, Error::Shape { .. }));
    let error = refused(from(words, &scales[..9]), &["scales of the residual", "256", "found 9"]);
    assert!(matches!(error, Error::Shape { .. }));
    for bad in [f16::NAN, f16::INFINITY, f16::from_f32(-0.5)] {
        let mut scales = scales.to_vec();
        scales[4] = bad;
        let error = refused(from(words, &scales), &["scale of the residual", "row 4"]);
        assert!(matches!(error, Error::Value { row: 4, col: 0, .. }));
    }
    let mut padded = scales.to_vec();
    padded[9] = f16::ONE;
    refused(from(words, &padded), &["scale of the residual at row 9", "is 1", "padding"]);
    // The first padded place of channel 1 lies in its second word, beside output 8.
    for (word, bit, row) in [(1, 4, 9), (2, 0, 16), (31, 31, 248)] {
        let mut words = words.to_vec();
        words[32 + word] |= 1 << bit;
        let error = refused(from(&words, scales), &["word of the residual", "padding"]);
        assert!(matches!(error, Error::Value { row: r, col: 1, .. } if r == row), "{error}");
    }
    let f16s = sample(5, 2, ResidualElement::F16, 1);
    let with = |scales: &[f16], at: usize, half: u16| {
        let mut words = f16s.words().to_vec();
        words[32 + at / 2] &= !(0xffff << (16 * (at % 2)));
        words[32 + at / 2] |= u32::from(half) << (16 * (at % 2));
        ResidualLayer::from_parts(*f16s.layout(), words, scales.to_vec())
    };
    with(&[], 3, 0x7bff).unwrap();
    for (at, half) in [(0, 0x7c00), (3, 0xfc00), (4, 0x7e01)] {
        let error = refused(with(&[], at, half), &["f16 residual", "must be finite"]);
        assert!(matches!(error, Error::Value { row, col: 1, .. } if row == at), "{error}");
    }
    refused(with(&[], 5, 1), &["word of the residual at row 5, column 1", "padding"]);
    refused(with(&[f16::ONE], 0, 0), &["scales of the residual", "expected 0, found 1"]);
}

#[test]
fn codes_that_do_not_fit_are_refused() {
    let layout = |element| ResidualLayout::new(2, 2, element).unwrap();
    let from = |element, codes: &[u16], scales: usize| {
        ResidualLayer::from_codes(layout(element), codes, &vec![f16::ONE; scales])
    };
    for (element, top) in
        [(ResidualElement::Int2, 3), (ResidualElement::Int4, 15), (ResidualElement::Int8, 255)]
    {
        from(element, &[0, 0, top, 0], 2).unwrap();
        let error = refused(from(element, &[0, 0, 0, top + 1], 2), &["code", "below 2^bits"]);
        assert!(matches!(error, Error::Value { row: 1, col: 1, .. }));
        refused(from(element, &[0, 0, 0], 2), &["codes", "2 x 2", "3"]);
        refused(from(element, &[0; 4], 1), &["scales", "expected 2, found 1"]);
    }
    refused(from(ResidualElement::F16, &[0; 4], 2), &["scales", "expected 0, found 2"]);
}

#[test]
fn norms_are_those_of_what_is_stored() {
    let layout = ResidualLayout::new(2, 3, ResidualElement::Int4).unwrap();
    // Channel 0: 3 and 4; channel 1: 0 and 0; channel 2: -8 and 0.5 * 0.
    let scales = halves(&[1.0, 0.5]);
    let layer = ResidualLayer::from_codes(layout, &[11, 8, 0, 16 - 1, 8, 8], &scales).unwrap();
    let norms = layer.channel_norms();
    assert_eq!(norms, halves(&[(9.0f32 + 12.25).sqrt(), 0.0, 8.0]));
    // sqrt(2) 65504 is beyond halves; 2^-24 is the least above 0.
    let layout = ResidualLayout::new(2, 2, ResidualElement::F16).unwrap();
    let layer = ResidualLayer::from_codes(layout, &[0x7bff, 1, 0xfbff, 0], &[]).unwrap();
    assert_eq!(layer.channel_norms(), [f16::MAX, f16::from_bits(1)]);
}

#[test]
fn elements_have_names_in_files() {
    for element in ResidualElement::ALL {
        assert_eq!(
            2 * element.largest() + 2,
            if element.scaled() { 1 << element.bits() } else { 2 }
        );
        #[cfg(feature = "safetensors")]
        assert_eq!(serde_json::to_string(&element).unwrap(), format!("{:?}", element.name()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn codes_come_back(
        rows in 1_usize..700,
        cols in 1_usize..12,
        element in prop::sample::select(ResidualElement::ALL.to_vec()),
        seed: u64,
    ) {
        let layout = ResidualLayout::new(rows, cols, element).unwrap();
        let (codes, scales) = (codes(&layout, seed), scales(&layout));
        let layer = ResidualLayer::from_codes(layout, &codes, &scales).unwrap();
        let dense = layer.dequantize();
        prop_assert_eq!(dense.len(), codes.len());
        for (at, &code) in codes.iter().enumerate() {
            let (row, col) = (at / cols, at % cols);
            prop_assert_eq!(layer.code(row, col), Some(code));
            let value = match element {
                ResidualElement::F16 => f16::from_bits(code).to_f64(),
                _ => scales[row].to_f64() * (f64::from(code) - 2f64.powi(element.bits() as i32 - 1)),
            };
            prop_assert_eq!(f64::from(dense[at]), value);
            prop_assert_eq!(layer.value(row, col), Some(dense[at]));
        }
        let again = ResidualLayer::from_parts(layout, layer.words().to_vec(), layer.scales().to_vec());
        prop_assert_eq!(again.unwrap(), layer);
    }
}
