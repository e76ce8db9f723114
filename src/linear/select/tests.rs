//! What every list of selected channels has to hold to.

use super::*;
use crate::Error;
use half::f16;
use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A magnitude's NaN counts as 0.
fn weight(x: f32) -> f32 {
    if x.is_nan() { 0.0 } else { x.abs() }
}

/// Activations with outliers, ties, or what no arithmetic likes.
fn activations(rng: &mut ChaCha8Rng, cols: usize, kind: usize) -> Vec<f32> {
    let mut x: Vec<f32> = (0..cols)
        .map(|_| {
            let sign = if rng.random::<bool>() { -1.0 } else { 1.0 };
            let u: f32 = rng.random();
            match kind {
                0 => sign * (4.0 * u).exp(),
                1 => sign * (8.0 * u).floor(),
                2 => 0.0 * sign,
                3 => sign * 1.5,
                4 => sign * f32::from_bits(rng.random_range(0..0x0080_0000)),
                5 => f32::from_bits(rng.random()),
                _ => *[0.0, 1.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX, 1e-45]
                    .get(rng.random_range(0..7))
                    .unwrap(),
            }
        })
        .collect();
    if kind == 3 {
        x[rng.random_range(0..cols)] = -3e38;
    }
    x
}
const KINDS: usize = 7;

/// Of the layer's own tokens, of others, of two values only, or of zeros only.
fn thresholds(rng: &mut ChaCha8Rng, x: &[f32], kind: usize) -> Thresholds {
    let cols = x.len();
    let mut calibration = ThresholdsAccumulator::new("layer", cols).unwrap();
    let other = activations(rng, cols, 0);
    let finite: Vec<f32> = x.iter().map(|x| if x.is_finite() { *x } else { 7.0 }).collect();
    calibration
        .add_batch(&match kind {
            0 => finite,
            1 => other,
            2 => vec![1.5; cols],
            _ => vec![0.0; cols],
        })
        .unwrap();
    calibration.finish().unwrap()
}

/// The first `k` of a chunk in the order of `rank`, ties by index: the definition of both chunked
/// selectors.
fn first_of_chunks<R: PartialOrd>(budget: &Budget, rank: impl Fn(usize) -> R) -> Vec<u32> {
    let mut all = Vec::new();
    for (channels, slots) in budget.chunks() {
        let mut sorted: Vec<usize> = channels.collect();
        sorted.sort_by(|a, b| rank(*a).partial_cmp(&rank(*b)).unwrap());
        sorted.truncate(slots.len());
        sorted.sort();
        all.extend(sorted.into_iter().map(|channel| channel as u32));
    }
    all
}

/// Size, order, places; then what may be left out.
fn check(x: &[f32], budget: &Budget, thresholds: &Thresholds) {
    let what = || format!("{} channels, k_chunk {}", x.len(), budget.k_chunk());
    let select = |selector: &Selector| {
        let taken = selector.select(&Ranking::Magnitude, x, budget).unwrap();
        assert_eq!(taken.len(), budget.k(), "{}", what());
        assert!(taken.windows(2).all(|pair| pair[0] < pair[1]), "{}: {taken:?}", what());
        assert!(taken.iter().all(|channel| (*channel as usize) < x.len()));
        taken
    };
    let exact = select(&Selector::Exact);
    let radix = select(&Selector::ChunkRadix);
    let bucket = select(&Selector::Bucket32(thresholds.clone()));

    let mut all: Vec<usize> = (0..x.len()).collect();
    all.sort_by(|a, b| weight(x[*b]).partial_cmp(&weight(x[*a])).unwrap());
    all.truncate(budget.k());
    all.sort();
    assert!(exact.iter().map(|c| *c as usize).eq(all), "{}", what());
    assert_eq!(radix, first_of_chunks(budget, |c| -weight(x[c])), "{}", what());
    let bounds = thresholds.buckets(budget.k()).unwrap();
    assert_eq!(bucket, first_of_chunks(budget, |c| bounds.bucket(x[c])), "{}", what());

    for (channels, slots) in budget.chunks() {
        for (taken, by_bucket) in [(&radix, false), (&bucket, true)] {
            let taken = &taken[slots.clone()];
            assert!(taken.iter().all(|channel| channels.contains(&(*channel as usize))));
            let Some(least) = taken.iter().map(|c| weight(x[*c as usize])).reduce(f32::min) else {
                continue;
            };
            // In the bucket of the least that was taken, any may be left out.
            let limit = if by_bucket {
                *bounds.lower().iter().rev().find(|bound| **bound > least).unwrap_or(&f32::INFINITY)
            } else {
                least
            };
            let left = channels.clone().filter(|c| !taken.contains(&(*c as u32)));
            let most = left.map(|c| weight(x[c])).fold(0.0, f32::max);
            assert!(most <= limit, "{}: {most} left out, limit {limit}", what());
        }
    }
}

#[test]
fn selected_channels_are_the_right_ones() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for kind in 0..KINDS {
        for cols in [1, 31, 576, 1023, 1024, 1025, 2048, 2500] {
            for k_chunk in [0, 1, 2, 33, 512, 1023, 1024] {
                let x = activations(&mut rng, cols, kind);
                let thresholds = thresholds(&mut rng, &x, (cols + k_chunk) % 4);
                check(&x, &Budget::new(cols, k_chunk).unwrap(), &thresholds);
            }
        }
    }
}

#[test]
fn any_number_of_channels_up_to_5000() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for round in 0..150 {
        let cols = rng.random_range(1..=5000);
        let x = activations(&mut rng, cols, round % KINDS);
        let thresholds = thresholds(&mut rng, &x, round % 4);
        let k_chunk = if round % 3 == 0 { rng.random_range(0..=1024) } else { round };
        check(&x, &Budget::new(cols, k_chunk).unwrap(), &thresholds);
    }
}

#[test]
fn whole_budgets_take_all_and_empty_ones_none() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for kind in 0..KINDS {
        let x = activations(&mut rng, 1500, kind);
        let bucket = Selector::Bucket32(thresholds(&mut rng, &x, kind % 4));
        for selector in [Selector::Exact, Selector::ChunkRadix, bucket] {
            let select = |k_chunk| {
                let budget = Budget::new(1500, k_chunk).unwrap();
                selector.select(&Ranking::Magnitude, &x, &budget).unwrap()
            };
            assert!(select(1024).into_iter().eq(0..1500));
            assert!(select(0).is_empty());
        }
    }
}

#[test]
fn infinities_come_first_and_nan_counts_as_zero() {
    let mut x = vec![1.0f32; 1024];
    x[7] = f32::NAN;
    x[900] = f32::NEG_INFINITY;
    x[901] = f32::MAX;
    let budget = |k| Budget::new(1024, k).unwrap();
    let bucket = Selector::Bucket32(Thresholds::from_values(1024, vec![1.0; 1024]).unwrap());
    for selector in [Selector::Exact, Selector::ChunkRadix] {
        let select = |k| selector.select(&Ranking::Magnitude, &x, &budget(k)).unwrap();
        assert_eq!(select(1), [900]);
        assert_eq!(select(2), [900, 901]);
        assert_eq!(select(4), [0, 1, 900, 901]);
        assert!(!select(1023).contains(&7));
    }
    // All reach a == b and are in bucket 0, but for NaN.
    let select = |k| bucket.select(&Ranking::Magnitude, &x, &budget(k)).unwrap();
    assert_eq!(select(3), [0, 1, 2]);
    assert!(!select(1023).contains(&7));
}

#[test]
fn moving_channels_inside_a_chunk_moves_what_is_selected() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let cols = 2500;
    // All different: 2503 is prime.
    let sign = |at: usize| if at.is_multiple_of(3) { -1.0 } else { 1.0 };
    let x: Vec<f32> = (0..cols).map(|at| sign(at) * (at * 613 % 2503) as f32).collect();
    let mut distinct: Vec<u32> = x.iter().map(|x| x.abs().to_bits()).collect();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), cols);
    let thresholds = thresholds(&mut rng, &x, 0);
    for k_chunk in [1, 5, 64, 1000] {
        let budget = Budget::new(cols, k_chunk).unwrap();
        let mut to: Vec<usize> = (0..cols).collect();
        for (channels, _) in budget.chunks() {
            for at in channels.clone() {
                to.swap(at, rng.random_range(channels.clone()));
            }
        }
        let mut moved = vec![0.0; cols];
        to.iter().zip(&x).for_each(|(to, x)| moved[*to] = *x);
        let select = |selector: &Selector, x: &[f32]| {
            selector.select(&Ranking::Magnitude, x, &budget).unwrap()
        };
        let radix = select(&Selector::ChunkRadix, &x);
        let mut expected: Vec<u32> = radix.iter().map(|c| to[*c as usize] as u32).collect();
        expected.sort_unstable();
        assert_eq!(select(&Selector::ChunkRadix, &moved), expected);
        // Of a bucket that does not fit, the first by index are taken: others after the move, but as
        // many of every bucket.
        let bounds = thresholds.buckets(budget.k()).unwrap();
        let selector = Selector::Bucket32(thresholds.clone());
        let counts = |x: &[f32]| {
            let mut counts = [0; BUCKETS];
            select(&selector, x).iter().for_each(|c| counts[bounds.bucket(x[*c as usize])] += 1);
            counts
        };
        assert_eq!(counts(&x), counts(&moved));
    }
}

#[test]
fn norms_weigh_channels() {
    let mut x = vec![1.0f32; 600];
    x[3] = -9.0;
    x[400] = f32::NAN;
    x[500] = f32::INFINITY;
    let mut norms = vec![f16::ONE; 600];
    norms[3] = f16::from_f32(0.1);
    norms[200] = f16::from_f32(2.0);
    norms[500] = f16::ZERO;
    let ranking = Ranking::Weighted(Norms::new(norms).unwrap());
    let budget = Budget::new(600, 4).unwrap();
    assert_eq!(Selector::Exact.select(&Ranking::Magnitude, &x, &budget).unwrap(), [3, 500]);
    for selector in [Selector::Exact, Selector::ChunkRadix] {
        assert_eq!(selector.select(&ranking, &x, &budget).unwrap(), [0, 200]);
    }
    // Thresholds of what channels are ranked by.
    let tame = |x: f32| if x.is_finite() { x } else { 0.0 };
    let of = ranking.magnitudes(&x.iter().map(|x| tame(*x)).collect::<Vec<_>>()).unwrap();
    let mut calibration = ThresholdsAccumulator::new("layer", 600).unwrap();
    calibration.add_batch(&of).unwrap();
    let bucket = Selector::Bucket32(calibration.finish().unwrap());
    assert_eq!(bucket.select(&ranking, &x, &budget).unwrap(), [0, 200]);

    let norms = Norms::of_columns(&[3.0, 0.0, -4.0, 0.5], 2).unwrap();
    assert_eq!(norms.values(), [f16::from_f32(5.0), f16::from_f32(0.5)]);
    let value = |error| matches!(error, Err(Error::Value { .. }));
    assert!(value(Norms::of_columns(&[f32::NAN], 1).map(|_| ())));
    assert!(value(Norms::of_columns(&[7e4], 1).map(|_| ())));
    assert!(value(Norms::new(vec![f16::NEG_INFINITY]).map(|_| ())));
    assert!(value(Norms::new(vec![f16::from_f32(-1.0)]).map(|_| ())));
    assert!(matches!(Norms::of_columns(&[1.0; 3], 2), Err(Error::Shape { .. })));
    assert!(matches!(Norms::of_columns(&[], 0), Err(Error::Shape { .. })));
}

/// The formula in f64, where nothing rounds that matters.
fn bound(a: f32, b: f32, i: usize) -> f64 {
    let (a, b, at) = (f64::from(a), f64::from(b), i as f64);
    if i <= 15 { a + (b - a) * at / 15.0 } else { b * (31.0 - at) / 16.0 }
}

#[test]
fn buckets_have_the_bounds_of_the_formula_and_both_ways_to_them_agree() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let tiny = f32::from_bits(1);
    let after = |x: f32| f32::from_bits(x.to_bits() + 1);
    let mut ends = vec![
        (0.0, 0.0),
        (1.0, 1.0),
        (1.0, 0.0),
        (f32::MAX, 0.0),
        (f32::MAX, f32::MAX),
        (f32::MAX, 1.0),
        (f32::MAX, 3.4e38),
        (2.0, f32::MIN_POSITIVE),
        (tiny, 0.0),
        (tiny, tiny),
        (1.0, tiny),
        (f32::from_bits(9), f32::from_bits(3)),
        (after(1.0), 1.0),
        (f32::from_bits(1.0f32.to_bits() + 9), 1.0),
        (-0.0, -0.0),
    ];
    for _ in 0..300 {
        let (p, q): (f32, f32) = (rng.random(), rng.random());
        ends.push((1.0 + 50.0 * p, q));
        let bits = [rng.random_range(0..0x7f80_0000), rng.random_range(0..0x7f80_0000)];
        let [p, q] = bits.map(f32::from_bits);
        ends.push((p.max(q), p.min(q)));
    }
    for (a, b) in ends {
        let bounds = Bounds::new(a, b).unwrap();
        let lower = bounds.lower();
        assert_eq!((lower[0], lower[15], lower[31]), (a, b, 0.0));
        assert!(lower.windows(2).all(|pair| pair[0].to_bits() >= pair[1].to_bits()), "{a} {b}");
        // Three roundings of numbers up to `a`, or of subnormal ones.
        let slack = f64::from(a) * 2e-7 + 2e-45;
        for (i, found) in lower.iter().enumerate() {
            assert!((f64::from(*found) - bound(a, b, i)).abs() <= slack, "{a} {b} {i}: {found}");
        }
        let near = lower.iter().flat_map(|bound| {
            let bits = bound.to_bits();
            (bits.saturating_sub(3)..=bits + 3).map(f32::from_bits)
        });
        let spread = (0..40).map(|at| a * (at as f32 / 32.0));
        let odd = [0.0, tiny, f32::MAX, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
        // Where bounds are far apart next to their rounding.
        let wide = |width: f32, from: f32| width >= 1e-3 * from && width >= 1e-34;
        let wide = wide(a - b, a) && (b == 0.0 || wide(b, b));
        for x in near.chain(spread).chain(odd) {
            let bucket = bounds.bucket(x);
            assert_eq!(bucket, bounds.bucket(-x));
            assert!(bucket == 31 || weight(x) >= lower[bucket], "{a} {b} {x}");
            assert!(bucket == 0 || weight(x) < lower[bucket - 1], "{a} {b} {x}");
            let (guessed, moves) = bounds.guessed(x);
            assert_eq!(guessed, bucket, "a {a}, b {b}, x {x}");
            assert_eq!(bounds.bucket_by_guess(x), bucket);
            assert!(moves <= 1 || !wide, "a {a}, b {b}, x {x}: {moves} moves");
        }
    }
    // The bounds between the two are all one of them: a single move is not enough.
    assert!(Bounds::new(after(1.0), 1.0).unwrap().guessed(1.0).1 > 1);
}

#[test]
fn bounds_that_cannot_be_are_refused() {
    for (a, b) in [
        (1.0, 2.0),
        (f32::INFINITY, 1.0),
        (f32::NAN, 0.0),
        (1.0, f32::NAN),
        (1.0, -1.0),
        (-1.0, -2.0),
    ] {
        assert!(matches!(Bounds::new(a, b), Err(Error::Range { .. })), "{a} {b}");
    }
}

#[test]
fn thresholds_are_the_largest_of_their_rank_over_tokens() {
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let (tokens, cols) = (9, 77);
    let x = activations(&mut rng, tokens * cols, 0);
    let rank = |token: &[f32], r: usize| {
        let larger = |x: &&f32| token.iter().filter(|y| y.abs() > x.abs()).count();
        token.iter().filter(|x| larger(x) <= r).map(|x| x.abs()).reduce(f32::min).unwrap()
    };
    let expected: Vec<f32> = (0..cols)
        .map(|r| x.chunks_exact(cols).map(|token| rank(token, r)).fold(0.0, f32::max))
        .collect();
    for batches in [vec![9], vec![1, 0, 5, 3]] {
        let mut calibration = ThresholdsAccumulator::new("layer", cols).unwrap();
        let mut rest = &x[..];
        for batch in batches {
            let (now, later) = rest.split_at(batch * cols);
            calibration.add_batch(now).unwrap();
            rest = later;
        }
        assert_eq!(calibration.tokens(), tokens);
        let thresholds = calibration.finish().unwrap();
        assert_eq!(thresholds.values(), expected);
        assert_eq!(thresholds.bounds(5).unwrap(), (expected[0], expected[4]));
        assert_eq!(thresholds.bounds(cols).unwrap(), (expected[0], expected[cols - 1]));
        assert_eq!(thresholds.bounds(0).unwrap(), (expected[0], expected[0]));
        assert!(matches!(thresholds.bounds(cols + 1), Err(Error::Range { .. })));
        assert_eq!(Thresholds::from_values(cols, expected.clone()).unwrap(), thresholds);
    }
}

#[test]
fn calibration_names_what_it_cannot_use() {
    assert!(matches!(ThresholdsAccumulator::new("l", 0), Err(Error::Layer { .. })));
    let mut calibration = ThresholdsAccumulator::new("blk.3.down", 2).unwrap();
    calibration.add_batch(&[1.0, 2.0, 3.0, 4.0]).unwrap();
    for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let error = calibration.add_batch(&[9.0, 9.0, 9.0, wrong]).unwrap_err().to_string();
        let place = format!("layer blk.3.down: activations at row 3, column 1 is {wrong}");
        assert!(error.starts_with(&place), "{error}");
    }
    let error = calibration.add_batch(&[1.0; 3]).unwrap_err().to_string();
    assert_eq!(error, "layer blk.3.down: activations: expected tokens of 2 channels, found 3");
    assert_eq!(calibration.tokens(), 2);
    assert_eq!(calibration.finish().unwrap().values(), [4.0, 3.0]);
    let none = ThresholdsAccumulator::new("blk.3.down", 2).unwrap().finish();
    assert!(none.unwrap_err().to_string().contains("calibration tokens"));
}

#[test]
fn thresholds_that_cannot_be_are_refused() {
    let new = |values: &[f32]| Thresholds::from_values(3, values.to_vec());
    assert!(new(&[1.0, 1.0, 0.0]).is_ok());
    for values in
        [[1.0, 2.0, 0.0], [1.0, f32::NAN, 0.0], [f32::INFINITY, 1.0, 0.0], [1.0, 0.5, -0.5]]
    {
        assert!(matches!(new(&values), Err(Error::Value { .. })), "{values:?}");
    }
    assert!(matches!(new(&[1.0, 0.5]), Err(Error::Shape { .. })));
    assert!(matches!(Thresholds::from_values(0, vec![]), Err(Error::Shape { .. })));
}

#[test]
fn lengths_that_do_not_fit_are_refused() {
    let budget = Budget::new(4, 1024).unwrap();
    let thresholds = Thresholds::from_values(3, vec![1.0; 3]).unwrap();
    let shape = |selector: Selector, ranking: Ranking, x: &[f32]| {
        matches!(selector.select(&ranking, x, &budget), Err(Error::Shape { .. }))
    };
    assert!(shape(Selector::Exact, Ranking::Magnitude, &[1.0; 3]));
    assert!(shape(Selector::ChunkRadix, Ranking::Magnitude, &[1.0; 5]));
    assert!(shape(Selector::Bucket32(thresholds), Ranking::Magnitude, &[1.0; 4]));
    let norms = Norms::new(vec![f16::ONE; 3]).unwrap();
    assert!(shape(Selector::Exact, Ranking::Weighted(norms), &[1.0; 4]));
}
