//! Joining layers by rows: nothing of any row changes.

use crate::assert_consistent;
use crate::golden::WORD;
use crate::layers::Wanted;
use crate::round_trip::wanted;
use fewbytes::Error;
use fewbytes::linear::file::{PackedFile, write_packed};
use fewbytes::linear::gemv_bitplane::reference;
use fewbytes::linear::{BitplaneLayer, BitplaneShape, Fused, TableElement};
use proptest::prelude::*;

fn fuse(parts: &[BitplaneLayer]) -> Result<Fused, Error> {
    BitplaneLayer::concat_rows(&parts.iter().collect::<Vec<_>>())
}

fn bits_of(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_joined_layer_is_its_parts_at_every_common_width(
        mut all in proptest::collection::vec(wanted(), 1..5),
        cols in 1usize..1100,
    ) {
        for wanted in &mut all {
            wanted.shape.cols = cols;
        }
        let parts: Vec<_> = all.iter().map(Wanted::layer).collect();
        let common: Vec<u8> =
            (2..=8).filter(|bits| all.iter().all(|w| w.widths.contains(bits))).collect();
        let fused = match fuse(&parts) {
            Ok(fused) => fused,
            Err(error) => {
                prop_assert!(common.is_empty(), "{}", error);
                prop_assert!(matches!(error, Error::Unsupported { .. }), "{}", error);
                return Ok(());
            }
        };
        assert_consistent(&fused.layer);
        prop_assert!(fused.layer.tables().widths().eq(common.iter().copied()));
        prop_assert_eq!(fused.parts.len(), parts.len());
        let any_single = all.iter().any(|w| w.table == TableElement::F32);
        let element = if any_single { TableElement::F32 } else { TableElement::F16 };
        prop_assert_eq!(fused.layer.table_element(), element);
        prop_assert_eq!(fused.layer.bias().is_some(), all.iter().any(|w| w.bias));
        let x: Vec<f32> = (0..cols).map(|i| (i as f32 * 0.37).sin()).collect();
        for bits in common {
            let dense: Vec<f32> = parts.iter().flat_map(|p| p.dequantize(bits).unwrap()).collect();
            prop_assert_eq!(bits_of(&fused.layer.dequantize(bits).unwrap()), bits_of(&dense));
            // Biases too, and zeros for those that have none.
            let y = reference(&fused.layer, bits, &x, true).unwrap().y;
            for (part, rows) in parts.iter().zip(&fused.parts) {
                let own = reference(part, bits, &x, true).unwrap().y;
                let bits_of = |y: &[f64]| y.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                prop_assert_eq!(bits_of(&y[rows.clone()]), bits_of(&own));
            }
        }
        let file = write_packed(&[("fused", &fused.layer)]).unwrap();
        let file = PackedFile::parse("file", &file).unwrap();
        prop_assert_eq!(file.layer("fused").unwrap(), fused.layer);
    }
}

#[test]
fn the_golden_word_stays_what_it_is_in_every_row() {
    let word = || Wanted::new(1, 32, 3, 8).layer();
    // Another first row, so that the word is not in row 0, and fewer planes, so that some go.
    let salted = Wanted { salt: 3, ..Wanted::new(2, 32, 3, 5) };
    let fused = fuse(&[salted.layer(), word(), word()]).unwrap();
    assert_eq!(fused.parts, [0..2, 2..3, 3..4]);
    assert_eq!(
        fused.layer.shape(),
        BitplaneShape { rows: 4, cols: 32, seed_bits: 3, parent_bits: 5 }
    );
    let planes = fused.layer.planes();
    for (plane, golden) in WORD.iter().enumerate().take(5) {
        assert_eq!(planes[4 * plane + 2..4 * plane + 4], [*golden; 2], "plane {plane}");
        assert_eq!(planes[4 * plane..4 * plane + 2], salted.layer().planes()[2 * plane..][..2]);
    }
    assert_eq!(planes.len(), 4 * 5);
}

#[test]
fn one_part_is_copied() {
    let wanted = Wanted { bias: true, widths: vec![3, 6], ..Wanted::new(5, 70, 3, 8) };
    let layer = wanted.layer();
    let fused = BitplaneLayer::concat_rows(&[&layer]).unwrap();
    assert_eq!(fused.parts, vec![std::ops::Range { start: 0, end: 5 }]);
    assert_eq!(fused.layer, layer);
}

#[test]
fn a_bias_that_only_some_parts_have_is_zero_for_the_others() {
    let with = Wanted { bias: true, ..Wanted::new(2, 32, 3, 4) };
    let without = Wanted { bias: false, ..with.clone() };
    let fused = fuse(&[without.layer(), with.layer(), without.layer()]).unwrap();
    let expected = [0.0, 0.0, with.bias_at(0), with.bias_at(1), 0.0, 0.0];
    assert_eq!(bits_of(fused.layer.bias().unwrap()), bits_of(&expected));
    assert_eq!(fuse(&[without.layer(), without.layer()]).unwrap().layer.bias(), None);
}

#[test]
fn half_tables_beside_single_ones_are_widened_exactly() {
    let half = Wanted::new(2, 32, 3, 4);
    let single = Wanted { table: TableElement::F32, ..half.clone() };
    let fused = fuse(&[half.layer(), single.layer()]).unwrap();
    assert_eq!(fused.layer.table_element(), TableElement::F32);
    for bits in [3, 4] {
        for row in 0..2 {
            let table = half.layer().tables().row(bits, row).unwrap();
            for at in [row, row + 2] {
                assert_eq!(bits_of(&fused.layer.tables().row(bits, at).unwrap()), bits_of(&table));
            }
        }
    }
}

#[test]
fn parts_that_cannot_be_joined_are_refused_with_the_part_named() {
    let text = |parts: &[Wanted]| {
        let layers: Vec<_> = parts.iter().map(Wanted::layer).collect();
        fuse(&layers).unwrap_err().to_string()
    };
    assert_eq!(text(&[]), "parts to join: expected at least one, found none");
    let wanted = |cols, seed, parent| Wanted::new(2, cols, seed, parent);
    assert_eq!(
        text(&[wanted(64, 3, 8), wanted(64, 3, 8), wanted(65, 3, 8)]),
        "columns of part 2: expected 64, as in part 0, found 65"
    );
    assert_eq!(
        text(&[wanted(64, 2, 3), wanted(64, 4, 5)]),
        "a width common to all parts is not available: part 0 has 2, 3; part 1 has 4, 5"
    );
    let some = |widths: &[u8]| Wanted { widths: widths.to_vec(), ..wanted(64, 2, 8) };
    assert_eq!(
        text(&[some(&[3, 8]), some(&[4]), some(&[3, 4, 8])]),
        "a width common to all parts is not available: part 0 has 3, 8; part 1 has 4; \
         part 2 has 3, 4, 8"
    );
}
