//! What goes into a layer.

use crate::{Wanted, assert_kind, refused, sparse_widths};
use fewbytes::Error;
use fewbytes::linear::{
    BitplaneLayer, BitplaneShape, QuantizeOptions, TableElement, Tables, Weights, quantize,
};

#[test]
fn a_weight_or_sensitivity_that_cannot_be_used_is_named() {
    let fine = vec![0.5f32; 12];
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut values = fine.clone();
        values[7] = bad;
        let error = refused(
            Weights::new("mlp.up", 3, 4, &values, None),
            &["layer mlp.up", "weight at row 1, column 3", "finite"],
        );
        assert_kind!(error, Error::Value { row: 1, col: 3, .. });
    }
    for bad in [f32::NAN, f32::INFINITY, -1e-20, f32::NEG_INFINITY] {
        let mut sensitivities = fine.clone();
        sensitivities[9] = bad;
        let error = refused(
            Weights::new("mlp.up", 3, 4, &fine, Some(&sensitivities)),
            &["layer mlp.up", "sensitivity at row 2, column 1", "not negative"],
        );
        assert_kind!(error, Error::Value { row: 2, col: 1, .. });
    }
    // A negative zero is not negative.
    Weights::new("mlp.up", 3, 4, &fine, Some(&[-0.0; 12])).unwrap();
}

#[test]
fn lengths_that_disagree_are_told_with_both_numbers() {
    let values = [1.0f32; 12];
    for (rows, cols) in [(0, 4), (3, 0), (usize::MAX, 2), (3, 5), (2, 4)] {
        let error = refused(Weights::new("l", rows, cols, &values, None), &["layer l"]);
        assert_kind!(error, Error::Shape { .. });
    }
    refused(Weights::new("l", 3, 4, &values, Some(&values[..11])), &["expected 12", "found 11"]);
}

#[test]
fn widths_outside_the_range_are_refused_by_the_quantizer() {
    let values: Vec<f32> = (0..64).map(|i| i as f32).collect();
    let weights = Weights::new("l", 2, 32, &values, None).unwrap();
    for (seed_bits, parent_bits, words) in [
        (3, 9, ["parent_bits = 9", "2..=8"]),
        (3, 255, ["parent_bits = 255", "2..=8"]),
        (1, 1, ["parent_bits = 1", "2..=8"]),
        (0, 0, ["parent_bits = 0", "2..=8"]),
        (1, 8, ["seed_bits = 1", "2..=8"]),
        (0, 8, ["seed_bits = 0", "2..=8"]),
        (5, 4, ["seed_bits = 5", "2..=4"]),
    ] {
        let options = QuantizeOptions { seed_bits, parent_bits, ..QuantizeOptions::default() };
        let error = refused(quantize(&weights, &options), &["layer l", words[0], words[1]]);
        assert_kind!(error, Error::Range { .. });
    }
}

#[test]
fn a_centroid_beyond_half_precision_is_named_and_f32_holds_it() {
    let mut values: Vec<f32> = (0..64).map(|i| i as f32).collect();
    values[40] = 70_000.0;
    let weights = Weights::new("l", 2, 32, &values, None).unwrap();
    let options = QuantizeOptions::default();
    let error = refused(quantize(&weights, &options), &["layer l", "row 1", "f16"]);
    assert_kind!(error, Error::Value { row: 1, .. });
    let options = QuantizeOptions { table: TableElement::F32, ..options };
    let layer = quantize(&weights, &options).unwrap().pack(None).unwrap();
    assert_eq!(layer.dequantize(8).unwrap()[40], 70_000.0);
}

#[test]
fn quantized_tables_that_are_not_there_are_refused() {
    let values: Vec<f32> = (0..64).map(|i| i as f32).collect();
    let weights = Weights::new("l", 2, 32, &values, None).unwrap();
    let options = QuantizeOptions { seed_bits: 3, parent_bits: 6, ..QuantizeOptions::default() };
    let quantized = quantize(&weights, &options).unwrap();
    for bits in [0, 1, 2, 7, 8, 9, 255] {
        assert!(quantized.table(bits).is_none(), "{bits}");
        let error = refused(quantized.error(&weights, bits), &["layer l", "3..=6"]);
        assert_kind!(error, Error::Range { .. });
    }
    let other = Weights::new("l", 4, 16, &values, None).unwrap();
    let error = refused(quantized.error(&other, 3), &["2 x 32", "4 x 16"]);
    assert_kind!(error, Error::Shape { .. });
    let error = refused(quantized.pack(Some(vec![0.0; 3])), &["expected 2", "found 3"]);
    assert_kind!(error, Error::Shape { .. });
}

#[test]
fn a_layer_is_not_made_of_parts_that_disagree() {
    let wanted = Wanted::new(3, 40, 3, 5);
    let make =
        |shape, codes: &[u8], bias| BitplaneLayer::from_codes(shape, codes, wanted.tables(), bias);
    let (shape, codes) = (wanted.shape, wanted.codes());
    make(shape, &codes, None).unwrap();
    for (seed_bits, parent_bits, word) in [
        (3, 9, "parent bits = 9"),
        (3, 1, "parent bits = 1"),
        (3, 0, "parent bits = 0"),
        (1, 5, "seed bits = 1"),
        (6, 5, "seed bits = 6"),
        (4, 5, "table width = 3"),
        (3, 4, "table width = 5"),
    ] {
        let shape = BitplaneShape { seed_bits, parent_bits, ..shape };
        assert_kind!(refused(make(shape, &codes, None), &[word]), Error::Range { .. });
    }
    for (rows, cols) in [(0, 40), (3, 0), (4, 40), (3, 41), (3, usize::MAX)] {
        let shape = BitplaneShape { rows, cols, ..shape };
        assert_kind!(refused(make(shape, &codes, None), &["expected"]), Error::Shape { .. });
    }
    let mut high = codes.clone();
    high[81] = 32;
    let error = refused(make(shape, &high, None), &["code at row 2, column 1 is 32"]);
    assert_kind!(error, Error::Value { row: 2, col: 1, .. });
    let error = refused(make(shape, &codes, Some(vec![0.0; 2])), &["bias", "expected 3"]);
    assert_kind!(error, Error::Shape { .. });
    let error = refused(make(shape, &codes, Some(vec![0.0, 0.0, f32::NAN])), &["bias at row 2"]);
    assert_kind!(error, Error::Value { .. });
    let words = wanted.layer().planes().to_vec();
    let planes =
        |words: &[u32]| BitplaneLayer::from_planes(shape, words.to_vec(), wanted.tables(), None);
    assert_eq!(planes(&words).unwrap(), wanted.layer());
    let error = refused(planes(&words[1..]), &["expected 5 x 3 x 2", "found 29"]);
    assert_kind!(error, Error::Shape { .. });
    let error = refused(
        BitplaneLayer::from_reference(shape, &words, wanted.tables(), None),
        &["40", "multiple of 32"],
    );
    assert_kind!(error, Error::Alignment { .. });
}

#[test]
fn tables_of_wrong_length_or_width_are_refused() {
    let mut tables = Tables::new(TableElement::F16, 3);
    for bits in [0, 1, 9, 255] {
        assert_kind!(refused(tables.insert(bits, &[0.0; 6]), &["2..=8"]), Error::Range { .. });
    }
    for count in [0, 8, 23, 25, 32] {
        let error = refused(tables.insert(3, &vec![0.0; count]), &["expected 3 x 8"]);
        assert_kind!(error, Error::Shape { .. });
    }
    let mut values = [0.25f32; 24];
    values[11] = 65520.0;
    let error = refused(tables.insert(3, &values), &["f16 table 3 at row 1, column 3"]);
    assert_kind!(error, Error::Value { .. });
    assert_kind!(refused(tables.insert_bytes(3, &[0; 47]), &["47"]), Error::Alignment { .. });
    assert_eq!(tables.widths().count(), 0, "a refused table was kept");
}

#[test]
fn a_width_without_tables_lists_those_that_are_there() {
    let layer = sparse_widths().layer();
    for bits in [5, 6, 7] {
        let error = refused(layer.dequantize(bits), &["3, 4, 8"]);
        assert_kind!(error, Error::Unsupported { .. });
    }
    for bits in [0, 1, 2, 9, 255] {
        let error = refused(layer.dequantize(bits), &["3..=8"]);
        assert_kind!(error, Error::Range { .. });
    }
    for bits in [0, 9, 255] {
        assert_kind!(refused(layer.codes(bits), &["1..=8"]), Error::Range { .. });
    }
}
