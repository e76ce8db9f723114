//! Whole layers: errors, determinism, progress, and the error measure.

use std::sync::Mutex;

use super::super::{Method, QuantizeOptions, quantize, quantize_with_progress};
use super::{heavy, one_row, options};
use crate::Error;
use crate::linear::{TableElement, Weights};

fn message(result: Result<impl Sized, Error>) -> String {
    result.err().map(|e| e.to_string()).unwrap_or_else(|| "no error".to_owned())
}

#[test]
fn a_layer_is_its_rows() {
    let (x, s) = heavy(1, 9 * 130);
    for s in [None, Some(&s[..])] {
        let weights = Weights::new("layer", 9, 130, &x, s).unwrap();
        for method in [Method::Exact, Method::Fast] {
            let layer = quantize(&weights, &options(method)).unwrap();
            for row in 0..9 {
                let span = row * 130..(row + 1) * 130;
                let alone = one_row(&x[span.clone()], s.map(|s| &s[span.clone()]), options(method));
                assert_eq!(layer.codes[span], alone.codes);
                for ((bits, all), (_, own)) in layer.tables.iter().zip(&alone.tables) {
                    assert_eq!(&all[row << bits..(row + 1) << bits], own);
                }
            }
        }
    }
}

#[test]
fn widths_out_of_range_are_refused() {
    let weights = Weights::new("blk.0.up", 1, 4, &[1.0, 2.0, 3.0, 4.0], None).unwrap();
    for (seed_bits, parent_bits, what) in
        [(1, 8, "seed_bits"), (0, 8, "seed_bits"), (5, 4, "seed_bits"), (9, 9, "parent_bits")]
    {
        let options = QuantizeOptions { seed_bits, parent_bits, ..QuantizeOptions::default() };
        let Err(Error::Layer { layer, error: source }) = quantize(&weights, &options) else {
            panic!("{seed_bits}..{parent_bits} was accepted");
        };
        assert_eq!(layer, "blk.0.up");
        assert!(matches!(*source, Error::Range { what: found, .. } if found == what));
    }
    for (seed_bits, parent_bits) in [(2, 2), (2, 8), (8, 8), (3, 6)] {
        let options = QuantizeOptions { seed_bits, parent_bits, ..QuantizeOptions::default() };
        let q = quantize(&weights, &options).unwrap();
        let widths: Vec<u8> = q.tables.iter().map(|t| t.0).collect();
        assert_eq!(widths, (seed_bits..=parent_bits).collect::<Vec<_>>());
        assert!(q.codes.iter().all(|&c| u32::from(c) < 1 << parent_bits));
        assert_eq!(q.error(&weights, parent_bits).unwrap().squared, 0.0);
    }
}

#[test]
fn bad_numbers_are_named() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut x = vec![1.0; 12];
        x[7] = bad;
        let text = message(Weights::new("q", 3, 4, &x, None));
        assert!(text.contains("layer q") && text.contains("row 1, column 3"), "{text}");
    }
    for bad in [f32::NAN, f32::INFINITY, -1e-9] {
        let mut s = vec![1.0; 12];
        s[8] = bad;
        let text = message(Weights::new("q", 3, 4, &[1.0; 12], Some(&s)));
        assert!(text.contains("layer q") && text.contains("row 2, column 0"), "{text}");
    }
}

#[test]
fn halves_overflow_where_they_should() {
    let x = [0.5, 65519.9];
    let weights = Weights::new("edge", 1, 2, &x, None).unwrap();
    let q = quantize(&weights, &QuantizeOptions::default()).unwrap();
    assert_eq!(q.tables[5].1[usize::from(q.codes[1])], 65504.0);

    let mut x = vec![0.25; 40 * 3];
    (x[40 + 2], x[80], x[81]) = (-65520.0, 70000.0, 1.0);
    let weights = Weights::new("down", 3, 40, &x, None).unwrap();
    let Err(Error::Layer { layer, error: source }) =
        quantize(&weights, &QuantizeOptions::default())
    else {
        panic!("an infinite table was accepted");
    };
    let text = source.to_string();
    assert_eq!(layer, "down");
    assert!(matches!(*source, Error::Value { row: 1, col: 0, value: -65520.0, .. }), "{text}");
    assert!(text.contains("3-bit table") && text.contains("f32 tables"), "{text}");

    let wide = QuantizeOptions { table: TableElement::F32, ..QuantizeOptions::default() };
    let q = quantize(&weights, &wide).unwrap();
    assert_eq!(q.error(&weights, 3).unwrap().squared, 0.0);
}

#[test]
fn extreme_values_stay_finite() {
    let (x, s) = (
        [f32::MAX, f32::MIN, 1e38, -1e38, 1e-45, -1e-45, f32::MIN_POSITIVE, 0.0, 3e38, 2.9e38, 1.0],
        [f32::MAX, 1.0, 1e-45, f32::MAX, 1e-45, 1e-45, f32::MAX, 1.0, 1e-30, 1e-45, 1e30],
    );
    for method in [Method::Exact, Method::Fast] {
        for s in [None, Some(&s[..])] {
            let q = one_row(&x, s, options(method));
            for (bits, table) in &q.tables {
                assert!(table.is_sorted() && table.iter().all(|t| t.is_finite()));
                let weights = Weights::new("row", 1, 11, &x, s).unwrap();
                assert!(q.error(&weights, *bits).unwrap().squared.is_finite());
            }
        }
    }
}

#[test]
fn the_error_is_the_definition() {
    let x = [1.0, 2.0, 4.0, -3.0, 0.0, 6.0];
    let s = [1.0, 2.0, 0.5, 1.0, 3.0, 0.0];
    let weights = Weights::new("e", 2, 3, &x, Some(&s)).unwrap();
    let mut q = quantize(&weights, &options(Method::Exact)).unwrap();
    // Every entry of the 8-bit table one too high: each weight is off by 1.
    q.tables[5].1 = q.tables[5].1.iter().map(|t| t + 1.0).collect();
    // The zero keeps its given sensitivity, and may stand at another entry of its run.
    let zero = f64::from(q.tables[5].1[256 + usize::from(q.codes[4])]);
    let squared = 1.0 + 2.0 + 0.5 + 1.0 + 3.0 * zero * zero;
    let error = q.error(&weights, 8).unwrap();
    assert!((error.squared - squared).abs() <= 1e-14 * squared);
    let norm: f64 = 1.0 + 2.0 * 4.0 + 0.5 * 16.0 + 9.0;
    assert!((error.relative - (squared / norm).sqrt()).abs() <= 1e-14 * error.relative);

    let other = Weights::new("f", 3, 2, &x, None).unwrap();
    assert!(message(q.error(&other, 8)).contains("layer f: weights: expected 2 x 3"));
    assert!(message(q.error(&weights, 2)).contains("bits = 2 is outside 3..=8"));
    assert!(q.table(9).is_none());
}

#[test]
fn progress_counts_every_row_once() {
    let (x, _) = heavy(2, 37 * 20);
    let weights = Weights::new("p", 37, 20, &x, None).unwrap();
    let seen = Mutex::new(Vec::new());
    let counted =
        quantize_with_progress(&weights, &options(Method::Fast), &|n| seen.lock().unwrap().push(n));
    assert_eq!(counted.unwrap(), quantize(&weights, &options(Method::Fast)).unwrap());
    let mut seen = seen.into_inner().unwrap();
    seen.sort_unstable();
    assert_eq!(seen, (1..=37).collect::<Vec<_>>());
}

#[cfg(feature = "rayon")]
#[test]
fn threads_change_nothing() {
    let (x, s) = heavy(3, 101 * 300);
    let weights = Weights::new("t", 101, 300, &x, Some(&s)).unwrap();
    // Two rows that halves cannot hold: always the first is told.
    let mut bad = x.clone();
    (bad[300 * 17], bad[300 * 93]) = (1e5, 1e5);
    let bad = Weights::new("t", 101, 300, &bad, Some(&s)).unwrap();
    let mut first = None;
    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let (q, e, text) = pool.install(|| {
            let q = quantize(&weights, &QuantizeOptions::default()).unwrap();
            let e = q.error(&weights, 3).unwrap();
            (q, e, message(quantize(&bad, &QuantizeOptions::default())))
        });
        assert!(text.contains("row 17"), "{text}");
        assert_eq!(first.get_or_insert_with(|| (q.clone(), e, text.clone())), &(q, e, text));
    }
}
