use super::*;
use crate::attention::reference::{Logits, weights};
use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn numbers(rng: &mut ChaCha8Rng, count: usize, most: f32) -> Vec<f32> {
    (0..count).map(|_| rng.random_range(-most..most)).collect()
}

fn exact(steps: u32, exponent: Exponent) -> Hardware {
    let (format, keep) = (FixedPoint::default(), 0.0);
    Hardware { format, steps: Amount::Count(steps), keep, exponent }
}

#[test]
fn numbers_are_rounded_to_nearest_and_saturate() {
    let format = FixedPoint::default();
    for (x, expected) in [
        (0.0, 0),
        (1.0, 16),
        (0.03125, 0),
        (0.093_75, 2),
        (-0.093_75, -2),
        (15.95, 255),
        (1e9, 255),
        (f32::NEG_INFINITY, -255),
    ] {
        assert_eq!(format.round(x), expected, "{x}");
    }
    assert_eq!(FixedPoint { integer: 0, fraction: 15 }.round(-1.0), -32_767);
    // What no attention takes is no trouble either.
    assert_eq!(FixedPoint { integer: 20, fraction: 20 }.round(1e30), i32::MAX);
    assert_eq!(FixedPoint { integer: u32::MAX, fraction: u32::MAX }.round(0.0), 0);
}

/// Over all inputs against `e^-x`, and against every `x` that is rounded to an input.
#[test]
fn float_tables_are_within_their_bound() {
    let tables = FloatTables::new();
    let unit = 2f64.powi(-24);
    let bound = (1.0 + unit).powi(3) - 1.0;
    let rounding = 2f64.powi(-9).exp() - 1.0;
    let mut largest = 0.0f64;
    for x in 0..=u16::MAX {
        let (found, real) = (f64::from(tables.power(x)), f64::from(x) / 256.0);
        if x >> 8 >= FloatTables::END {
            assert_eq!(found, 0.0, "{x}");
            assert!((-real).exp() < 2f64.powi(-125));
            continue;
        }
        largest = largest.max((found / (-real).exp() - 1.0).abs());
        for end in [real - 2f64.powi(-9), real + 2f64.powi(-9)] {
            let error = (found / (-end).exp() - 1.0).abs();
            assert!(error <= (1.0 + rounding) * (1.0 + bound) - 1.0, "{x}: {error}");
        }
    }
    assert!(largest <= bound, "{largest}");
    // And the bound is no idle one.
    assert!(largest > bound / 4.0, "{largest}");
}

#[test]
fn integer_tables_are_within_their_bound() {
    let tables = IntegerTables::new();
    let (mut above, mut below) = (0.0f64, 0.0f64);
    for x in 0..=u16::MAX {
        let error = f64::from(tables.power(x)) - 65_536.0 * (-f64::from(x) / 256.0).exp();
        (above, below) = (above.max(error), below.max(-error));
    }
    assert!(above <= 1.0 && below <= 3.0, "{above} {below}");
    assert!(below > 1.0);
}

#[test]
fn tables_meet_where_halves_do() {
    let (float, integer) = (FloatTables::new(), IntegerTables::new());
    // The ends of the lower half, of the upper one, and the steps between.
    assert_eq!(float.power(0), 1.0);
    assert_eq!(float.power(255), (-255f64 / 256.0).exp() as f32);
    assert_eq!(float.power(256), (-1f64).exp() as f32);
    assert_eq!(float.power(86 << 8), (-86f64).exp() as f32);
    assert!(float.power((86 << 8) + 255).is_normal());
    assert_eq!(float.power(87 << 8), 0.0);
    assert_eq!(float.power(u16::MAX), 0.0);
    // 24,204 and 24,109 times 65,535, cut off.
    assert_eq!([0, 255, 256].map(|x| integer.power(x)), [65_534, 24_203, 24_108]);
    // e^-11 is one unit, e^-12 less than half of one.
    assert_eq!([10 << 8, 11 << 8, 12 << 8, u16::MAX].map(|x| integer.power(x)), [2, 0, 0, 0]);
    for x in 1..=u16::MAX {
        assert!(float.power(x) <= float.power(x - 1), "{x}");
        assert!(integer.power(x) <= integer.power(x - 1), "{x}");
    }
}

#[test]
fn differences_are_rounded_half_up_and_clamped() {
    assert_eq!([(3, 2), (3, 8)].map(|(x, bits)| to_q8_8(x, bits)), [192, 3]);
    assert_eq!([1, 2, 5, 6].map(|x| to_q8_8(x, 10)), [0, 1, 1, 2]);
    assert_eq!([65_535, 65_536, i64::MAX >> 8].map(|x| to_q8_8(x, 8)), [65_535; 3]);
    assert_eq!(to_q8_8((65_535 << 2) + 2, 10), 65_535);
}

/// Without selection both variants are softmax of the rounded numbers, within what rounding allows.
#[test]
fn outputs_are_those_of_rounded_numbers() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let (rows, dim) = (300, 16);
    for _ in 0..10 {
        let q = numbers(&mut rng, dim, 1.0);
        let [keys, values] = [0; 2].map(|_| numbers(&mut rng, rows * dim, 3.0));
        let format = FixedPoint::default();
        let rounded = |of: &[f32]| -> Vec<f32> {
            of.iter().map(|x| format.round(*x) as f32 / 16.0).collect()
        };
        let weights = weights(&rounded(&q), &rounded(&keys), &Logits::scaled(1.0));
        let values16 = rounded(&values);
        for exponent in [Exponent::Float, Exponent::Integer] {
            // No step finds nothing: all rows are attended to.
            let outcome = exact(0, exponent).attend(&q, &keys, &values).unwrap();
            assert!(outcome.fallback && outcome.kept.len() == rows);
            for (j, o) in outcome.o.iter().enumerate() {
                let column = values16.iter().skip(j).step_by(dim);
                let expected: f64 =
                    weights.iter().zip(column).map(|(w, v)| w * f64::from(*v)).sum();
                // Products have 8 bits after the point, so x is exact, and weights are off by 3 units each of
                // a sum above 65,534.
                let bound = match exponent {
                    Exponent::Float => 1e-5,
                    Exponent::Integer => 1.0 / 256.0 + 2.0 * 3.0 * 3.0 * rows as f64 / 65_534.0,
                };
                assert!((f64::from(*o) - expected).abs() < bound, "{exponent:?}: {o} {expected}");
            }
        }
    }
}

/// What is found, dropped and summed, on paper.
#[test]
fn one_small_case_bit_by_bit() {
    // Products of the first column: 32, 16, -16, of the second 0.
    let (q, keys) = ([1.0, 0.0], [2.0, 1.0, 1.0, -1.0, -1.0, 3.0]);
    let values = [1.0, 0.0, 3.0, 0.5, 5.0, 0.0];
    let hardware = |keep, exponent| Hardware { keep, ..exact(2, exponent) };
    let both = hardware(0.3, Exponent::Integer).attend(&q, &keys, &values).unwrap();
    assert_eq!(
        (both.candidates.as_slice(), both.kept.as_slice()),
        (&[0u32, 1][..], &[0u32, 1][..])
    );
    // Weights 65,534 and e^-1: 24,108. Sums of w v: 16 * 65,534 + 48 * 24,108, and 8 * 24,108.
    let sum = 65_534 + 24_108i64;
    let o = [16 * 65_534 + 48 * 24_108i64, 8 * 24_108].map(|o| (o << 4) / sum);
    assert_eq!(both.o, o.map(|o| o as f32 / 256.0));
    let float = hardware(0.3, Exponent::Float).attend(&q, &keys, &values).unwrap();
    let weight = (-1f64).exp() as f32;
    assert_eq!(float.o, [(1.0 + weight * 3.0) / (1.0 + weight), weight * 0.5 / (1.0 + weight)]);
    // e^-1 is below two fifths.
    let one = hardware(0.4, Exponent::Integer).attend(&q, &keys, &values).unwrap();
    assert_eq!((one.candidates.len(), one.kept, one.o), (2, vec![0], vec![1.0, 0.0]));
}

#[test]
fn edges_and_bad_input() {
    let hardware = exact(4, Exponent::Integer);
    let none = hardware.attend(&[1.0, 2.0], &[], &[]).unwrap();
    assert_eq!((none.o, none.kept.len()), (vec![0.0; 2], 0));
    // Saturated values of more rows than 32 bits could sum.
    let many = hardware.attend(&[0.0], &[1.0; 4096], &[99.0; 4096]).unwrap();
    assert_eq!((many.o, many.kept.len()), (vec![15.9375], 4096));
    let wide = FixedPoint { integer: 8, fraction: 8 };
    let wide = Hardware { format: wide, ..hardware };
    assert!(matches!(wide.attend(&[1.0], &[1.0], &[1.0]), Err(Error::Range { .. })));
    let keep = Hardware { keep: 2.0, ..hardware };
    assert!(matches!(keep.attend(&[1.0], &[1.0], &[1.0]), Err(Error::Range { .. })));
    assert!(matches!(hardware.attend(&[1.0; 2], &[1.0; 3], &[1.0; 3]), Err(Error::Shape { .. })));
    assert!(matches!(hardware.attend(&[1.0], &[f32::NAN], &[1.0]), Err(Error::Value { .. })));
}

/// The sum of 2^18 large values of equal weight, times `2^15`, is beyond 64 bits.
#[test]
fn many_rows_of_equal_weight_have_their_own_value() {
    let rows = 1 << 18;
    let format = FixedPoint { integer: 0, fraction: 15 };
    let hardware = Hardware { format, ..exact(1, Exponent::Integer) };
    let outcome = hardware.attend(&[0.0], &vec![0.5; rows], &vec![0.9; rows]).unwrap();
    assert!(outcome.fallback);
    assert!((outcome.o[0] - 0.9).abs() < 2e-5, "{:?}", outcome.o);
}
