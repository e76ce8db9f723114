//! Sums against their definition, and everything that is no Hessian.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

fn numbers(seed: u64, count: usize, low: f32) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| rng.random_range(low..1.0)).collect()
}

/// The definition, in f64.
fn by_definition(x: &[f32], s: Option<&[f32]>, inputs: usize, groups: usize) -> Vec<f64> {
    let mut h = vec![0.0; groups * inputs * inputs];
    for (t, x) in x.chunks_exact(inputs).enumerate() {
        for k in 0..groups {
            let s = s.map_or(1.0, |s| f64::from(s[t * groups + k]));
            for i in 0..inputs {
                for j in 0..inputs {
                    h[(k * inputs + i) * inputs + j] += s * f64::from(x[i]) * f64::from(x[j]);
                }
            }
        }
    }
    h
}

fn accumulate(x: &[&[f32]], s: Option<&[&[f32]]>, inputs: usize, groups: usize) -> Hessian {
    let mut sums = HessianAccumulator::new("layer", inputs, groups).unwrap();
    for (at, x) in x.iter().enumerate() {
        sums.add_batch(x, s.map(|s| s[at])).unwrap();
    }
    sums.finish().unwrap()
}

fn assert_near(h: &Hessian, expected: &[f64]) {
    let (inputs, top) = (h.inputs(), expected.iter().fold(0.0f64, |m, v| m.max(v.abs())));
    for (at, &expected) in expected.iter().enumerate() {
        let (k, i, j) = (at / inputs / inputs, at / inputs % inputs, at % inputs);
        let found = f64::from(h.get(k, i, j).unwrap());
        assert!((found - expected).abs() <= 1e-6 * top, "{k} {i} {j}: {found} {expected}");
    }
}

fn text<T>(result: Result<T>) -> String {
    result.err().expect("an error").to_string()
}

#[test]
fn sums_are_those_of_the_definition_at_any_size() {
    for (inputs, groups, tokens) in
        [(1, 1, 1), (3, 2, 5), (63, 1, 64), (64, 3, 65), (65, 2, 63), (130, 1, 1100), (200, 4, 129)]
    {
        let (x, s) = (numbers(1, tokens * inputs, -1.0), numbers(2, tokens * groups, 0.0));
        for s in [None, Some(&s[..])] {
            let h = accumulate(&[&x], s.as_ref().map(std::slice::from_ref), inputs, groups);
            assert_near(&h, &by_definition(&x, s, inputs, groups));
            assert_eq!((h.tokens(), h.groups()), (tokens as u64, groups));
        }
    }
}

#[test]
fn batches_change_nothing_but_the_last_digits() {
    let (inputs, groups, tokens) = (70, 2, 300);
    let (x, s) = (numbers(3, tokens * inputs, -1.0), numbers(4, tokens * groups, 0.0));
    let expected = by_definition(&x, Some(&s), inputs, groups);
    for cuts in [vec![0, 300], vec![0, 1, 65, 65, 200, 300], vec![0, 64, 128, 300]] {
        let parts = |v: &'static [f32], width| -> Vec<&[f32]> {
            cuts.windows(2).map(|c| &v[c[0] * width..c[1] * width]).collect()
        };
        let (x, s) = (x.clone().leak(), s.clone().leak());
        let h = accumulate(&parts(x, inputs), Some(&parts(s, groups)), inputs, groups);
        assert_near(&h, &expected);
    }
}

#[cfg(feature = "rayon")]
#[test]
fn threads_change_nothing() {
    let (x, s) = (numbers(5, 1500 * 150, -1.0), numbers(6, 1500 * 3, 0.0));
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| accumulate(&[&x], Some(&[&s]), 150, 3))
    };
    assert_eq!(on(1), on(2));
    assert_eq!(on(1), on(5));
}

#[test]
fn merged_groups_are_those_of_merged_sensitivities() {
    let (inputs, tokens) = (20, 50);
    let (x, s) = (numbers(7, tokens * inputs, -1.0), numbers(8, tokens * 6, 0.0));
    let fine = accumulate(&[&x], Some(&[&s]), inputs, 6);
    for groups in [1, 2, 3, 6] {
        let means = s.chunks_exact(6 / groups).map(|s| s.iter().sum::<f32>() / s.len() as f32);
        let means: Vec<f32> = means.collect();
        let merged = fine.merge(groups).unwrap();
        assert_near(&merged, &by_definition(&x, Some(&means), inputs, groups));
        assert_eq!(merged.tokens(), 50);
    }
    for groups in [0, 4, 5, 12] {
        assert!(
            text(fine.merge(groups))
                .contains("layer layer: groups: expected a divisor of 6: 1, 2, 3, 6")
        );
    }
}

#[test]
fn tiles_are_the_whole_matrix() {
    let inputs = 150;
    let x = numbers(9, 40 * inputs, -1.0);
    let h = accumulate(&[&x], None, inputs, 1);
    let tiles = h.tiles(0);
    for i in 0..3 * SIDE {
        for j in 0..3 * SIDE {
            let value = tiles.at(i / SIDE, j / SIDE)[i % SIDE][j % SIDE];
            assert_eq!(value, h.get(0, i, j).unwrap_or(0.0), "{i} {j}");
        }
    }
}

#[test]
fn bad_tokens_are_named_and_nothing_of_them_is_added() {
    let mut sums = HessianAccumulator::new("blk.3.up", 2, 2).unwrap();
    let mut refused = |x: &[f32], s: Option<&[f32]>, words: &str| {
        let text = text(sums.add_batch(x, s));
        assert!(text.starts_with("layer blk.3.up: ") && text.contains(words), "{text}");
    };
    refused(&[1.0; 3], None, "length of x: expected a multiple of 2 inputs, found 3");
    refused(&[1.0, 2.0, 3.0, f32::NAN], None, "x at row 1, column 1 is NaN: must be finite");
    refused(&[1.0, 2.0, f32::INFINITY, 4.0], None, "x at row 1, column 0 is inf");
    refused(&[1.0; 4], Some(&[1.0; 3]), "length of s: expected 2 tokens x 2 groups, found 3");
    refused(&[1.0; 4], Some(&[1.0, 1.0, 1.0, -0.5]), "s at row 1, column 1 is -0.5");
    refused(&[1.0; 4], Some(&[f32::NAN, 1.0, 1.0, 1.0]), "s at row 0, column 0 is NaN");
    assert_eq!(sums.tokens(), 0);
    sums.add_batch(&[], Some(&[])).unwrap();
    assert!(text(sums.finish()).contains("tokens: expected at least one, found 0"));
    for (inputs, groups) in [(0, 1), (1, 0), (usize::MAX, 1), (usize::MAX / 2, 3)] {
        assert!(text(HessianAccumulator::new("n", inputs, groups)).contains("layer n: Hessian"));
    }
}

#[test]
fn sums_beyond_single_precision_are_named() {
    let mut sums = HessianAccumulator::new("big", 2, 1).unwrap();
    sums.add_batch(&[1.0, 1e30], None).unwrap();
    let text = text(sums.finish());
    assert!(text.contains("Hessian of group 0 at row 1, column 1 is inf"), "{text}");
    assert!(text.contains("scale the sensitivities down"), "{text}");
}

#[test]
fn what_is_no_hessian_is_refused_with_layer_and_group() {
    let good = [2.0, 1.0, 1.0, 3.0];
    let with = |at: usize, value: f32| {
        let mut two = [good, good].concat();
        two[4 + at] = value;
        text(Hessian::from_full("q", 2, 2, &two))
    };
    for (at, value, words) in [
        (0, f32::NAN, "Hessian of group 1 at row 0, column 0 is NaN: must be finite"),
        (2, f32::INFINITY, "Hessian of group 1 at row 1, column 0 is inf: must be finite"),
        (3, -3.0, "Hessian of group 1 at row 1, column 1 is -3: a diagonal must not be negative"),
        (1, 1.01, "Hessian of group 1 at row 0, column 1 is 1.00999"),
    ] {
        let text = with(at, value);
        assert!(text.starts_with("layer q: ") && text.contains(words), "{text}");
    }
    // A thousandth of the diagonal is a matter of rounding, and split between the two.
    let h = Hessian::from_full("q", 2, 1, &[2.0, 1.001, 1.0, 3.0]).unwrap();
    assert_eq!(h.get(0, 1, 0), Some(1.0005));
    for (inputs, groups, count) in [(2, 1, 3), (2, 1, 6), (2, 2, 4), (0, 1, 0), (2, 0, 0)] {
        assert!(
            text(Hessian::from_full("q", inputs, groups, &vec![1.0; count])).contains("Hessian")
        );
    }
    let packed = |inputs, groups, packed: &[f32]| {
        text(Hessian::from_packed("q", inputs, groups, 0, packed.to_vec()))
    };
    assert!(packed(2, 1, &[1.0; 4]).contains("expected 3 for 1 x 2 x 2, found 4"));
    assert!(packed(usize::MAX, 2, &[1.0; 4]).contains("within usize"));
    assert!(packed(3, 1, &[1.0, 1.0, 1.0, 1.0, f32::NAN, 1.0]).contains("row 1, column 2 is NaN"));
    assert!(
        packed(2, 2, &[1.0, 0.0, 1.0, 1.0, 0.0, -1.0]).contains("group 1 at row 1, column 1 is -1")
    );
}

#[test]
fn a_layer_of_another_shape_is_told_what_would_do() {
    let h = Hessian::from_full("o", 1, 4, &[1.0; 4]).unwrap();
    h.check_layer(8, 1).unwrap();
    let error = text(h.check_layer(8, 2));
    assert!(error.contains("layer o: inputs of the Hessian: expected 2, found 1"), "{error}");
    let error = text(h.check_layer(18, 1));
    assert!(error.contains("a divisor of the 18 rows: 1, 2, 3, 6, 9, 18, found 4"), "{error}");
    assert_eq!((h.get(4, 0, 0), h.get(0, 1, 0)), (None, None));
    assert!(h.diagonal(4).is_empty());
}

#[test]
fn damping_adds_to_every_diagonal_its_share_of_the_mean() {
    let full = [4.0, 1.0, 1.0, 2.0, 2.0, 0.5, 0.5, 6.0];
    let hessian = Hessian::from_full("layer", 2, 2, &full).unwrap();
    assert_eq!(hessian.damped(0.0).unwrap(), hessian);
    let damped = hessian.damped(0.5).unwrap();
    assert_eq!(damped.packed(), [5.5, 1.0, 3.5, 4.0, 0.5, 8.0]);
    for share in [-0.1, f32::NAN, f32::INFINITY] {
        let error = text(hessian.damped(share));
        assert!(error.starts_with("layer layer: share of the diagonal = "), "{error}");
    }
    assert!(text(hessian.damped(3e38)).contains("must be finite"));
}

#[test]
fn sums_that_no_memory_holds_are_an_error_with_their_bytes() {
    // 18 PB, above what any address space takes: the system refuses even where it overcommits.
    let error = HessianAccumulator::new("blk.3.down", 1 << 20, 4096).err().unwrap();
    let text = error.to_string();
    assert!(text.contains("layer blk.3.down: out of memory for the Hessian, 4096 x"), "{text}");
    assert!(text.contains("18015498021109760 bytes could not be had"), "{text}");
    // And what cannot even be counted.
    let error = HessianAccumulator::new("n", usize::MAX / 2, 3).err().unwrap();
    assert!(error.to_string().contains("sums within usize"), "{error}");
}
