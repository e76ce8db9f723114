//! The scalar references, which judge every kernel, against numbers worked out by hand.

use approx::assert_relative_eq;
use fewbytes::linear::compensate::{self, Compensate};
use fewbytes::linear::lnq_descent::Rows;
use fewbytes::linear::residual::{ResidualElement, ResidualLayout};
use fewbytes::linear::select::Budget;
use fewbytes::linear::select_channels::{self, Method, SelectChannels};
use fewbytes::linear::{
    Activation, BitplaneLayer, BitplaneShape, HessianLayout, HessianPiece, HessianUpdate,
    LnqDescent, LnqGram, LnqLayout, LnqObjective, LnqProduct, LnqTable, Panel, TableElement,
    Tables, VectorLayer, VectorShape,
};
use fewbytes::linear::{
    dequantize_bitplane, dequantize_vector, gemv_bitplane, gemv_vector, hessian_update,
};
use fewbytes::linear::{lnq_descent, lnq_gram, lnq_objective, lnq_product, lnq_table};

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

/// One row of two inputs with `H = [[2, 1], [1, 4]]`, weights 1/2 and -1/4 and the table -1, 1, as
/// the kernels of LNQ hold them.
fn lnq_row(labels: [u8; 2]) -> (LnqLayout, Panel, Vec<f32>, Rows) {
    let layout = LnqLayout { rows: 1, cols: 2, bits: 1 };
    let piece = HessianPiece { number: 0, first: 0, len: 64 };
    let mut h = vec![0.0; 64 * 64];
    [h[0], h[1], h[64], h[65]] = [2.0, 1.0, 1.0, 4.0];
    let (tables, weights) = (vec![-1.0, 1.0], [0.5, -0.25]);
    let off = [0, 1].map(|i| tables[usize::from(labels[i])] - weights[i]);
    let pull = [2.0 * off[0] + off[1], off[0] + 4.0 * off[1]];
    let rows = Rows {
        labels: layout.padded(&labels),
        tables,
        weights: layout.padded(&weights),
        off: layout.padded(&off),
        pull: layout.padded(&pull),
    };
    (layout, Panel { piece, first: 0, width: 64 }, h, rows)
}

#[test]
fn products_and_objectives_of_lnq_are_those_of_the_matrix() {
    let (layout, panel, h, rows) = lnq_row([0, 0]);
    let products =
        lnq_product::reference(&LnqProduct { layout, panel, changed: None }, &h, &rows.off)
            .unwrap();
    // -1.5 * 2 - 0.75 * 1 and -1.5 * 1 - 0.75 * 4.
    assert_eq!(products.pull[..3], [-3.75, -4.5, 0.0]);
    assert_eq!(products.condition[..3], [3.75, 4.5, 0.0]);
    let objective = lnq_objective::reference(&LnqObjective { layout }, &rows.off, &rows.pull);
    assert_eq!(objective.unwrap(), [(9.0, 9.0)]);
}

#[test]
fn a_visit_takes_the_best_entry_and_later_inputs_hear_of_it() {
    let (layout, panel, h, rows) = lnq_row([0, 0]);
    let mut inverse = vec![0.0; 64];
    [inverse[0], inverse[1]] = [0.5, 0.25];
    let spec = LnqDescent { layout, panel };
    let (done, changes) = lnq_descent::reference(&spec, &h, &inverse, &rows).unwrap();
    // The first input aims at -1 + 3.75 / 2 and goes to 1; the second at -1 + (4.5 - 2) / 4 and
    // stays.
    assert_eq!(done.labels[..3], [1, 0, 0]);
    assert_eq!(done.off[..3], [0.5, -0.75, 0.0]);
    assert_eq!(changes[..3], [2.0, 0.0, 0.0]);
    assert_eq!(done.pull, rows.pull);
    let spec_of_changes = LnqProduct { layout, panel, changed: Some(panel) };
    let added = lnq_product::reference(&spec_of_changes, &h, &changes).unwrap();
    assert_eq!(added.pull[..3], [4.0, 2.0, 0.0]);
    // Left out, the first stays, too, and the second aims at 1/8: at -1 and 1 alike but for that.
    inverse[0] = 0.0;
    let (done, _) = lnq_descent::reference(&spec, &h, &inverse, &rows).unwrap();
    assert_eq!(done.labels[..3], [0, 1, 0]);
}

#[test]
fn the_best_table_meets_the_weights_where_it_can_and_is_sorted() {
    let (layout, panel, h, rows) = lnq_row([0, 1]);
    let spec = LnqGram { layout, piece: panel.piece, rows: 0..1 };
    let gram = lnq_gram::reference(&spec, &h, &rows.labels).unwrap();
    assert_eq!(gram, [2.0, 1.0, 1.0, 4.0]);
    let gram: Vec<f32> = gram.into_iter().map(|g| g as f32).collect();
    let (done, unsolved) = lnq_table::reference(&LnqTable { layout }, &gram, &rows).unwrap();
    assert_relative_eq!(done.tables.as_slice(), [-0.25, 0.5].as_slice(), epsilon = 1e-6);
    assert_eq!((&done.labels[..3], unsolved), (&[1, 0, 0][..], vec![false]));
    assert!(done.off.iter().all(|off| off.abs() < 1e-6));
    let (kept, unsolved) =
        lnq_table::reference(&LnqTable { layout }, &[1.0, 5.0, 5.0, 1.0], &rows).unwrap();
    assert_eq!((kept.tables, unsolved), (rows.tables, vec![true]));
}

#[test]
fn channels_are_the_largest_of_their_chunk_or_of_all() {
    // Two of the first 1024, one of the 512 that follow.
    let budget = Budget::new(1536, 2).unwrap();
    let mut x = vec![0.5f32; 1536];
    (x[7], x[900], x[901], x[1100], x[1200]) = (-3.0, f32::NAN, 2.0, f32::NEG_INFINITY, -4.0);
    let spec = SelectChannels::new(budget);
    let list = |spec: &SelectChannels, x: &[f32]| select_channels::reference(spec, x, &[]).unwrap();
    assert_eq!(list(&spec, &x), [7, 901, 1100]);
    let exact = SelectChannels { method: Method::Exact, ..spec };
    assert_eq!(list(&exact, &x), [7, 1100, 1200]);
    assert_eq!(list(&exact, &[0.0; 1536]), [0, 1, 2]);
    assert_eq!(list(&spec, &[-1.0; 1536]), [0, 1, 1024]);
    // From 2 on, from 0.25 on, the rest: the first of a bucket come before larger ones.
    let mut bounds = [0.0; 32];
    bounds[..2].copy_from_slice(&[2.0, 0.25]);
    let buckets = SelectChannels { method: Method::Bucket32(bounds), ..spec };
    assert_eq!(list(&buckets, &x), [7, 901, 1100]);
    x[901] = 1.75;
    assert_eq!(list(&buckets, &x), [0, 7, 1100]);
    // A norm of 0 leaves nothing of an infinity.
    let mut norms = vec![half::f16::ONE; 1536];
    (norms[7], norms[1100], norms[3]) =
        (half::f16::ZERO, half::f16::ZERO, half::f16::from_f32(8.0));
    let weighted = SelectChannels { weighted: true, ..spec };
    assert_eq!(select_channels::reference(&weighted, &x, &norms).unwrap(), [3, 901, 1200]);
    assert!(select_channels::reference(&weighted, &x, &[]).is_err());
    assert!(select_channels::reference(&spec, &x[1..], &[]).is_err());
}

#[test]
fn compensations_are_scaled_sums_over_the_list() {
    let spec = |element| {
        let layout = ResidualLayout::new(3, 4, element).unwrap();
        Compensate::new(layout, Budget::new(4, 512).unwrap())
    };
    let scales = [2.0, 0.5, -1.0].map(half::f16::from_f32);
    let x = [10.0, 100.0, 1000.0, 3.0];
    let int4 = spec(ResidualElement::Int4);
    let mut words = vec![0xFFFF_FFFF; int4.layout.words()];
    // q = 1, -8, 7 and -2, 0, 3.
    (words[32], words[96]) = (0xFFFF_FF09, 0xFFFF_FB86);
    let mut padded = vec![half::f16::NAN; int4.layout.padded_rows()];
    padded[..3].copy_from_slice(&scales);
    let y = [1.0; 3];
    let found = compensate::reference(&int4, &words, &padded, &[1, 3], &x, &y).unwrap();
    // 2 (100 - 6), 0.5 (-800 + 0), -(700 + 9).
    assert_relative_eq!(found.y.as_slice(), [188.0, -400.0, -709.0].as_slice());
    assert_relative_eq!(found.condition.as_slice(), [212.0, 400.0, 709.0].as_slice());
    let added = Compensate { accumulate: true, ..int4 };
    let found = compensate::reference(&added, &words, &padded, &[1, 3], &x, &y).unwrap();
    assert_relative_eq!(found.y.as_slice(), [189.0, -399.0, -708.0].as_slice());
    for wrong in [&[1][..], &[1, 4]] {
        assert!(compensate::reference(&int4, &words, &padded, wrong, &x, &y).is_err());
    }
    let whole = spec(ResidualElement::F16);
    let bits = |v: f32| u32::from(half::f16::from_f32(v).to_bits());
    let mut words = vec![0; whole.layout.words()];
    (words[64], words[65]) = (bits(0.25) | bits(-2.0) << 16, bits(1.5) | 0x7e01 << 16);
    let found = compensate::reference(&whole, &words, &[], &[0, 2], &x, &y).unwrap();
    assert_relative_eq!(found.y.as_slice(), [250.0, -2000.0, 1500.0].as_slice());
}
