use super::*;
use crate::attention::HEAD_DIMS;
use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn shape(head_dim: usize, element: KvElement) -> CacheShape {
    CacheShape::new(1, head_dim, element).unwrap()
}

/// Words, params and the numbers that come back.
fn round_trip(shape: &CacheShape, values: &[f32]) -> (Vec<u32>, u32, Vec<f32>) {
    let mut words = vec![u32::MAX; shape.row_words()];
    let params = encode_row(shape, "row", 0, values, &mut words).unwrap();
    let mut decoded = vec![f32::NAN; values.len()];
    decode_row(shape, &words, params, &mut decoded).unwrap();
    (words, params, decoded)
}

/// A row that begins with these numbers; the others are 0.
fn row(head_dim: usize, first: &[f32]) -> Vec<f32> {
    let mut values = first.to_vec();
    values.resize(head_dim, 0.0);
    values
}

#[test]
fn numbers_lie_in_words_lowest_first() {
    let (words, _, _) = round_trip(&shape(64, KvElement::F32), &row(64, &[1.0, -2.0]));
    assert_eq!(words[..2], [0x3f80_0000, 0xc000_0000]);
    let (words, _, _) = round_trip(&shape(64, KvElement::F16), &row(64, &[1.0, -2.0, 0.5]));
    assert_eq!(words[..2], [0xc000_3c00, 0x3800]);
    let (words, _, _) = round_trip(&shape(64, KvElement::Bf16), &row(64, &[1.0, -2.0, 0.5]));
    assert_eq!(words[..2], [0xc000_3f80, 0x3f00]);
    // A scale of 1/2.
    let values = row(64, &[63.5, -63.5, 0.5, -0.5, 1.25, 0.75]);
    let (words, params, decoded) = round_trip(&shape(64, KvElement::Int8), &values);
    assert_eq!((params, words[0]), (0x3800, 0xff01_817f));
    // 2.5 and 1.5 are halves: to even.
    assert_eq!((words[1], decoded[4], decoded[5]), (0x0202, 1.0, 1.0));
    // From -1 on in steps of 1/4, the others being 0: code 4.
    let values = row(80, &[-1.0, 2.75, -0.75, 0.375, 0.625]);
    let (words, params, decoded) = round_trip(&shape(80, KvElement::Int4), &values);
    assert_eq!(params, 0xbc00_3400);
    assert_eq!(words[..2], [0x4446_61f0, 0x4444_4444]);
    assert_eq!(decoded[..6], [-1.0, 2.75, -0.75, 0.5, 0.5, 0.0]);
    assert_eq!(words[10..], [0, 0]);
}

#[test]
fn every_row_comes_back_within_half_a_step() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    for element in KvElement::ALL {
        for head_dim in HEAD_DIMS {
            for exponent in [-8, -1, 0, 3, 12] {
                let size = 2f32.powi(exponent);
                let values: Vec<f32> =
                    (0..head_dim).map(|_| size * rng.random_range(-1.0..1.0f32)).collect();
                let shape = shape(head_dim, element);
                let (words, params, decoded) = round_trip(&shape, &values);
                let scale = f16::from_bits(params as u16).to_f32();
                let zero = f16::from_bits((params >> 16) as u16).to_f32();
                for (value, found) in values.iter().zip(&decoded) {
                    let bound = match element {
                        KvElement::F32 => 0.0,
                        KvElement::F16 => (value.abs() / 2048.0).max(2f32.powi(-25)),
                        KvElement::Bf16 => value.abs() / 256.0,
                        // Ends may be cut by what the rounding of scale and zero took away.
                        KvElement::Int8 => 0.5001 * scale + 127.0 * scale / 2048.0 * 0.5,
                        KvElement::Int4 => {
                            0.5001 * scale + zero.abs() / 2048.0 + 15.0 * scale / 2048.0
                        }
                    };
                    let off = (value - found).abs();
                    assert!(off <= bound, "{element:?} {head_dim}: {value} became {found}");
                }
                // What is stored already is stored as it is.
                if !element.scaled() {
                    assert_eq!(round_trip(&shape, &decoded), (words, params, decoded));
                }
            }
        }
    }
}

#[test]
fn rows_of_zeros_and_of_one_number_are_exact() {
    for element in KvElement::ALL {
        for value in [0.0, -3.5, 0.25] {
            let values = vec![value; 96];
            let (words, params, decoded) = round_trip(&shape(96, element), &values);
            if element == KvElement::Int8 {
                // 127 codes do not meet every number, but 0.
                let off = (decoded[0] - value).abs();
                assert!(off <= value.abs() / 2048.0, "{value}");
            } else {
                assert_eq!(decoded, values, "{element:?}");
            }
            if value == 0.0 {
                assert!(words.iter().all(|word| *word == 0) && params == 0, "{element:?}");
            }
        }
    }
}

#[test]
fn scales_and_zeros_stop_at_the_largest_f16() {
    let values = row(64, &[f32::MAX, f32::MIN, 65504.0 * 127.0, 1.0]);
    let (words, params, decoded) = round_trip(&shape(64, KvElement::Int8), &values);
    assert_eq!((params, words[0]), (0x7bff, 0x007f_817f));
    assert_eq!(decoded[..3], [65504.0 * 127.0, -65504.0 * 127.0, 65504.0 * 127.0]);
    let (_, params, decoded) = round_trip(&shape(64, KvElement::Int4), &values);
    assert_eq!(params, 0xfbff_7bff);
    assert_eq!(decoded[..2], [65504.0 * 14.0, -65504.0]);
    // Too small for a scale: codes of nothing.
    let (words, params, decoded) = round_trip(&shape(64, KvElement::Int8), &row(64, &[1e-7]));
    assert_eq!((words[0], params, decoded[0]), (0, 0, 0.0));
    // The smallest scale, rounded down from more: codes stop at 127.
    let (words, params, _) = round_trip(&shape(64, KvElement::Int8), &row(64, &[1.08e-5]));
    assert_eq!((words[0], params), (127, 1));
    // What f16 cannot hold is an infinity, and bf16 rounds to one.
    let (_, _, decoded) = round_trip(&shape(64, KvElement::F16), &row(64, &[65519.0, 65520.0]));
    assert_eq!(decoded[..2], [65504.0, f32::INFINITY]);
    let (_, _, decoded) = round_trip(&shape(64, KvElement::Bf16), &row(64, &[-f32::MAX]));
    assert_eq!(decoded[0], f32::NEG_INFINITY);
}

#[test]
fn numbers_that_are_not_finite_are_kept_or_named() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut values = row(128, &[1.0]);
        values[77] = value;
        for element in KvElement::ALL {
            let shape = shape(128, element);
            let mut words = vec![0; shape.row_words()];
            match encode_row(&shape, "keys", 5, &values, &mut words) {
                Err(Error::Value { what, row: 5, col: 77, .. }) if element.scaled() => {
                    assert_eq!(what, "keys");
                }
                Ok(_) if !element.scaled() => {
                    let (_, _, decoded) = round_trip(&shape, &values);
                    assert_eq!(decoded[77].total_cmp(&value), std::cmp::Ordering::Equal);
                }
                other => panic!("{element:?} {value}: {other:?}"),
            }
        }
    }
}

#[test]
fn other_lengths_are_refused() {
    let shape = shape(80, KvElement::Int4);
    for (values, words) in [(79, 12), (80, 10), (80, 13), (0, 12)] {
        let mut stored = vec![0; words];
        let error = encode_row(&shape, "row", 0, &vec![1.0; values], &mut stored).unwrap_err();
        assert!(matches!(error, Error::Shape { .. }), "{error}");
        let error = decode_row(&shape, &stored, 0, &mut vec![0.0; values]).unwrap_err();
        assert!(matches!(error, Error::Shape { .. }), "{error}");
    }
}
