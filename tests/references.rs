//! The scalar references, which judge every kernel, against numbers worked out by hand.

use approx::assert_relative_eq;
use fewbytes::linear::{
    Activation, BitplaneLayer, BitplaneShape, HessianLayout, HessianUpdate, TableElement, Tables,
    VectorLayer, VectorShape,
};
use fewbytes::linear::{
    dequantize_bitplane, dequantize_vector, gemv_bitplane, gemv_vector, hessian_update,
};

/// Two rows of three weights, 3 bits, with tables for 2 and 3 bits.
fn layer() -> BitplaneLayer {
    let mut tables = Tables::new(TableElement::F32, 2);
    tables.insert(2, &[-1.0, -0.5, 0.5, 1.0, -10.0, -5.0, 5.0, 10.0]).unwrap();
    let fine: Vec<f32> = (0..8).map(|i| i as f32).chain((0..8).map(|i| -(i as f32))).collect();
    tables.insert(3, &fine).unwrap();
    let shape = BitplaneShape { rows: 2, cols: 3, seed_bits: 2, parent_bits: 3 };
    // 0b101, 0b010, 0b111 and 0b000, 0b011, 0b110.
    let codes = [5, 2, 7, 0, 3, 6];
    BitplaneLayer::from_codes(shape, &codes, tables, Some(vec![100.0, -200.0])).unwrap()
}

#[test]
fn codes_of_fewer_bits_are_the_leading_ones() {
    assert_eq!(layer().codes(3).unwrap(), [5, 2, 7, 0, 3, 6]);
    assert_eq!(layer().codes(2).unwrap(), [2, 1, 3, 0, 1, 3]);
    assert_eq!(layer().codes(1).unwrap(), [1, 0, 1, 0, 0, 1]);
}

#[test]
fn products_are_sums_over_the_row_of_the_table() {
    let x = [2.0, 0.25, -4.0];
    let product = gemv_bitplane::reference(&layer(), 2, &x, false).unwrap();
    // 0.5 * 2 - 0.5 * 0.25 - 1 * 4 and -10 * 2 - 5 * 0.25 - 10 * 4.
    assert_relative_eq!(product.y.as_slice(), [-3.125, -61.25].as_slice());
    assert_relative_eq!(product.condition.as_slice(), [5.125, 61.25].as_slice());
    let product = gemv_bitplane::reference(&layer(), 3, &x, true).unwrap();
    // 100 + 5 * 2 + 2 * 0.25 - 7 * 4 and -200 - 0 - 3 * 0.25 + 6 * 4.
    assert_relative_eq!(product.y.as_slice(), [82.5, -176.75].as_slice());
    assert_relative_eq!(product.condition.as_slice(), [138.5, 224.75].as_slice());
    let short = gemv_bitplane::reference(&layer(), 3, &x[..2], true).unwrap_err();
    assert!(matches!(short, fewbytes::Error::Shape { .. }), "{short}");
}

#[test]
fn dense_rows_are_table_entries_and_f16_rows_are_padded_with_zero() {
    let f32 = dequantize_bitplane::reference(&layer(), 2, Activation::F32).unwrap();
    assert_eq!(f32, [0.5, -0.5, 1.0, -10.0, -5.0, 10.0]);
    let f16 = dequantize_bitplane::reference(&layer(), 2, Activation::F16).unwrap();
    assert_eq!(f16, [0.5, -0.5, 1.0, 0.0, -10.0, -5.0, 10.0, 0.0]);
}

/// Two rows of three weights in pairs, codes of 2 bits.
fn vectors() -> VectorLayer {
    let shape = VectorShape { rows: 2, cols: 3, code_bits: 2 };
    let tables = [
        [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]],
        [[-1.0, -2.0], [-3.0, -4.0], [-5.0, -6.0], [-7.0, 0.5]],
    ];
    let (tables, bias) = (tables.as_flattened().as_flattened(), Some(vec![100.0, -200.0]));
    VectorLayer::from_codes(shape, &[3, 0, 2, 3], TableElement::F16, tables, bias).unwrap()
}

#[test]
fn a_code_for_two_weights_stands_for_neighbours_and_half_of_the_last_is_unused() {
    let layer = vectors();
    assert_eq!(layer.codes(), [3, 0, 2, 3]);
    assert_eq!(layer.dequantize(), [7.0, 8.0, 1.0, -5.0, -6.0, -7.0]);
    assert_eq!(layer.table(1).unwrap()[3], [-7.0, 0.5]);
    let product = gemv_vector::reference(&layer, &[2.0, 0.25, -4.0], true).unwrap();
    // 100 + 7 * 2 + 8 * 0.25 - 1 * 4 and -200 - 5 * 2 - 6 * 0.25 + 7 * 4.
    assert_relative_eq!(product.y.as_slice(), [112.0, -183.5].as_slice());
    assert_relative_eq!(product.condition.as_slice(), [120.0, 239.5].as_slice());
    let product = gemv_vector::reference(&layer, &[2.0, 0.25, -4.0], false).unwrap();
    assert_relative_eq!(product.y.as_slice(), [12.0, 16.5].as_slice());
    let short = gemv_vector::reference(&layer, &[1.0; 2], true).unwrap_err();
    assert!(matches!(short, fewbytes::Error::Shape { .. }), "{short}");
    let f16 = dequantize_vector::reference(&layer, Activation::F16);
    assert_eq!(f16, [7.0, 8.0, 1.0, 0.0, -5.0, -6.0, -7.0, 0.0]);
}

#[test]
fn codes_and_tables_count_into_the_average_bits() {
    // Two codes of 2 bits and a table of eight halves for three weights.
    assert_relative_eq!(vectors().average_bits(), (2.0 * 2.0 + 8.0 * 16.0) / 3.0);
    let shape = VectorShape { rows: 1, cols: 4096, code_bits: 4 };
    let layer =
        VectorLayer::from_codes(shape, &[0; 2048], TableElement::F16, &[0.0; 32], None).unwrap();
    assert_relative_eq!(layer.average_bits(), 2.125);
}

#[test]
fn hessians_are_weighted_sums_of_outer_products_in_whole_tiles() {
    let layout = HessianLayout::new(2, 2, &fewbytes::Caps::webgpu()).unwrap();
    let spec = HessianUpdate::new(layout, 2);
    // Tokens (1, -2) and (3, 0.5); group 0 counts them 1 and 2, group 1 counts them 0 and 4.
    let (x, s) = ([1.0, -2.0, 3.0, 0.5], [1.0, 0.0, 2.0, 4.0]);
    let mut before = vec![0.0; 2 * 64 * 64];
    before[0] = -100.0;
    before[64 * 64 - 1] = 7.0;
    let found = hessian_update::reference(&spec, &x, Some(&s), &before).unwrap();
    let (first, second) = found.sums.split_at(64 * 64);
    // 1 + 2 * 9 - 100, -2 + 2 * 1.5 and 4 + 2 * 0.25; past the inputs what was there.
    assert_eq!([first[0], first[1], first[64], first[65]], [-81.0, 1.0, 1.0, 4.5]);
    assert_eq!([first[2], first[64 * 64 - 1]], [0.0, 7.0]);
    assert_eq!([second[0], second[1], second[64], second[65]], [36.0, 6.0, 6.0, 1.0]);
    assert_eq!([found.condition[0], found.condition[1]], [119.0, 5.0]);
    let plain = HessianUpdate { weighted: false, ..spec.clone() };
    let found = hessian_update::reference(&plain, &x, None, &before).unwrap();
    assert_eq!([found.sums[1], found.sums[64 * 64 + 1]], [-0.5, -0.5]);
    let short = hessian_update::reference(&spec, &x, Some(&s[..3]), &before).unwrap_err();
    assert!(matches!(short, fewbytes::Error::Shape { .. }), "{short}");
}
