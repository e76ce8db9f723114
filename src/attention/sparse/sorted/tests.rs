use super::*;
use crate::attention::{CacheShape, KvElement, Layout};
use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Numbers of which many are equal, and of those that are easily sorted wrong.
fn numbers(rng: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
    const SPECIAL: [f32; 10] =
        [0.0, -0.0, 6.0e-5, -6.0e-5, 6.104e-5, -6.104e-5, 1e-8, -1e-8, 65_504.0, -65_504.0];
    let mut one = || match rng.random_range(0..4u32) {
        0 => SPECIAL[rng.random_range(0..SPECIAL.len())],
        1 => rng.random_range(-3i32..4) as f32,
        _ => rng.random_range(-2.0f32..2.0),
    };
    (0..count).map(|_| one()).collect()
}

/// The rows of one head of `[tokens, heads, dim]`.
fn head_of(all: &[f32], (head, heads, dim): (usize, usize, usize)) -> Vec<f32> {
    all.chunks_exact(dim).skip(head).step_by(heads).flatten().copied().collect()
}

fn same(a: &KeyIndex, b: &KeyIndex) {
    assert_eq!((a.sums(), a.flags()), (b.sums(), b.flags()));
    for head in 0..a.shape().heads as usize {
        assert_eq!(a.rows(head), b.rows(head), "head {head}");
        for j in 0..a.shape().dim as usize {
            assert_eq!(a.column(head, j), b.column(head, j), "head {head}, column {j}");
            assert_eq!(a.sorted_column(head, j), b.sorted_column(head, j), "{head}, {j}");
            assert_eq!(a.rows_by_number(head, j), b.rows_by_number(head, j), "{head}, {j}");
        }
    }
}

#[test]
fn numbers_are_rounded_flushed_and_ordered() {
    let bits = |x: f32| number(x).to_bits();
    assert_eq!(bits(-0.0), 0);
    // The largest subnormal number, the smallest normal one, and what rounds up to it.
    assert_eq!([bits(6.097_555e-5), bits(-6.097_555e-5)], [0, 0]);
    assert_eq!([bits(6.103_515_6e-5), bits(-6.103_515_6e-5)], [0x0400, 0x8400]);
    assert_eq!(bits(6.103_5e-5), 0x0400);
    // Ties to even.
    assert_eq!([bits(2049.0), bits(2051.0)], [bits(2048.0), bits(2052.0)]);
    assert!(!number(65_520.0).is_finite() && number(65_519.0).is_finite());
    assert!(!number(f32::NAN).is_finite());
    let mut all: Vec<u16> = (0..=u16::MAX).filter(|b| f16::from_bits(*b).is_normal()).collect();
    all.extend([0, 0x7c00, 0xfc00]);
    all.sort_unstable_by_key(|bits| sort_key(*bits));
    assert!(all.windows(2).all(|w| f16::from_bits(w[0]) < f16::from_bits(w[1])));
}

#[test]
fn what_is_appended_equals_what_is_built_at_once() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for (dim, heads, tail, steps) in [
        (2, 1, 0, vec![1; 9]),
        (6, 2, 3, vec![1, 1, 1, 1, 1, 5, 0, 2, 70]),
        (8, 3, 512, vec![130, 1, 64]),
    ] {
        // Heads begin with rows of their own, as those of an evicted cache do; the first with none.
        let mut data: Vec<HeadData> = (0..heads)
            .map(|head| {
                let mut some = || numbers(&mut rng, 3 * head * dim);
                HeadData { keys: some(), values: some() }
            })
            .collect();
        let mut index = KeyIndex::build(dim, &data, tail).unwrap();
        let mut waiting = 0;
        for tokens in steps {
            let [keys, values] = [0; 2].map(|_| numbers(&mut rng, tokens * heads * dim));
            index.append(&keys, &values).unwrap();
            for (head, data) in data.iter_mut().enumerate() {
                data.keys.extend(head_of(&keys, (head, heads, dim)));
                data.values.extend(head_of(&values, (head, heads, dim)));
                assert_eq!(index.len(head) as usize * dim, data.keys.len());
            }
            let full = waiting + tokens > tail as usize;
            waiting = if full { tokens } else { waiting + tokens };
            assert_eq!(index.len(0) - index.rows(0), waiting as u32);
            let mut flushed = index.clone();
            flushed.flush_tail().unwrap();
            same(&flushed, &KeyIndex::build(dim, &data, tail).unwrap());
        }
    }
}

#[test]
fn columns_are_sorted_whatever_they_hold() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for rows in [0usize, 1, 2, 63, 64, 65, 200] {
        let [keys, values] = [0; 2].map(|_| numbers(&mut rng, rows * 4));
        let index = KeyIndex::build(4, &[HeadData { keys: keys.clone(), values }], 0).unwrap();
        assert_eq!(index.flags(), [0]);
        assert_eq!(index.is_empty(), rows == 0);
        for j in 0..4 {
            let (sorted, order) = (index.sorted_column(0, j), index.rows_by_number(0, j));
            assert_eq!(sorted.len(), rows);
            for (bits, row) in sorted.iter().zip(order) {
                assert_eq!(*bits, number(keys[*row as usize * 4 + j]).to_bits());
                assert_eq!(*bits, index.column(0, j)[*row as usize]);
            }
            let ascends = |at: usize| {
                let [a, b] = [at - 1, at].map(|at| f16::from_bits(sorted[at]).to_f32());
                a < b || (a == b && order[at - 1] < order[at])
            };
            assert!((1..rows).all(ascends), "{rows} rows, column {j}");
        }
    }
}

#[test]
fn a_key_that_is_no_finite_f16_marks_its_head_alone() {
    for bad in [f32::NAN, f32::INFINITY, -70_000.0] {
        let mut index = KeyIndex::new(2, &[1, 1], 8).unwrap();
        index.append(&[1.0, 2.0, 3.0, 4.0], &[0.0; 4]).unwrap();
        index.append(&[1.0, 2.0, 3.0, bad], &[f32::NAN; 4]).unwrap();
        assert_eq!(index.flags(), [0, 0]);
        index.flush_tail().unwrap();
        assert_eq!(index.flags(), [0, 1]);
        // And stays marked.
        index.append(&[1.0; 4], &[0.0; 4]).unwrap();
        index.flush_tail().unwrap();
        assert_eq!((index.flags(), index.rows(1)), ([0, 1].as_slice(), 3));
    }
}

#[test]
fn tensors_have_the_formats_of_the_map() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let data: Vec<HeadData> = [70, 5]
        .map(|rows| HeadData {
            keys: numbers(&mut rng, rows * 2),
            values: numbers(&mut rng, rows * 2),
        })
        .into();
    let narrow = KeyIndex::build(2, &data, 0).unwrap();
    let mut wide = KeyIndex::new(2, &[65_537, 64], 0).unwrap();
    wide.tail = data;
    wide.flush_tail().unwrap();
    same(&narrow, &wide);
    for index in [&narrow, &wide] {
        let shape = *index.shape();
        let (columns, sorted, order) = (index.columns(), index.sorted(), index.order());
        assert_eq!(columns.len() as u64, shape.words());
        assert_eq!(sorted.len() as u64, shape.words());
        assert_eq!(order.len() as u64, shape.order_words());
        for (head, place) in index.map().heads().iter().enumerate() {
            for j in 0..2 {
                for i in 0..place.rows {
                    let at = (place.first + j * place.stride + i) as usize;
                    let half = |words: &[u32]| (words[at / 2] >> (16 * (at % 2))) as u16;
                    let (i, j) = (i as usize, j as usize);
                    assert_eq!(half(&columns), index.column(head, j)[i]);
                    assert_eq!(half(&sorted), index.sorted_column(head, j)[i]);
                    let row = if shape.narrow() { half(&order).into() } else { order[at] };
                    assert_eq!(row, index.rows_by_number(head, j)[i]);
                }
            }
        }
    }
    // 128 and 64 rows of two columns, of 6 bytes each; sums, flags and map.
    assert_eq!(narrow.memory_bytes(), 192 * 2 * 6 + 4 * (12 + 2 + 16));
    assert_eq!(wide.memory_bytes(), (65_600 + 64) * 2 * 8 + 4 * (12 + 2 + 16));
}

#[test]
fn an_index_of_a_cache_covers_the_rows_asked_for() {
    let shape = CacheShape::new(2, 64, KvElement::F16).unwrap();
    let mut cache = KvCache::new(Layout::plain(shape, 20).unwrap()).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let [keys, values] = [0; 2].map(|_| numbers(&mut rng, 20 * 128));
    cache.append(&keys, &values).unwrap();
    let index = KeyIndex::from_cache(&cache, &[20, 7], 0).unwrap();
    assert_eq!([index.rows(0), index.rows(1)], [20, 7]);
    for i in 0..7 {
        assert_eq!(index.column(1, 3)[i], number(keys[i * 128 + 64 + 3]).to_bits());
    }
    let sums = index.sums();
    let expected: f64 = (0..7).map(|i| f64::from(cache.head(1).unwrap().values[i * 64 + 5])).sum();
    assert_eq!(sums[3 * 64 + 2 * 64 + 5], expected as f32);
    assert!(matches!(KeyIndex::from_cache(&cache, &[20], 0), Err(Error::Shape { .. })));
    assert!(matches!(KeyIndex::from_cache(&cache, &[20, 21], 0), Err(Error::Range { .. })));
}

/// The mean is taken from keys once, whatever comes later, and sums are those of keys themselves.
#[test]
fn a_centred_index_has_keys_less_their_mean() {
    let keys = vec![1.0, 10.0, 2.0, 20.0, 6.0, 30.0];
    let data = [HeadData { values: keys.clone(), keys }];
    let mut index = KeyIndex::build_centred(2, &data, 4).unwrap();
    assert_eq!(index.offsets(0), [3.0, 20.0]);
    index.append(&[3.0, 60.0], &[0.0; 2]).unwrap();
    index.flush_tail().unwrap();
    let bits = |all: [f32; 4]| all.map(|x| number(x).to_bits());
    assert_eq!(index.column(0, 0), bits([-2.0, -1.0, 3.0, 0.0]));
    assert_eq!(index.column(0, 1), bits([-10.0, 0.0, 10.0, 40.0]));
    assert_eq!(index.rows_by_number(0, 0), [0, 1, 3, 2]);
    assert_eq!(index.sums()[..4], [12.0, 120.0, 50.0, 5000.0]);
    let bad = [HeadData { keys: vec![1.0, f32::INFINITY], values: vec![0.0; 2] }];
    assert_eq!(KeyIndex::build_centred(2, &bad, 4).unwrap().flags(), [1]);
}

#[test]
fn lengths_that_are_not_whole_rows_are_refused() {
    let mut index = KeyIndex::new(4, &[8, 8], 2).unwrap();
    assert!(matches!(index.append(&[0.0; 12], &[0.0; 12]), Err(Error::Shape { .. })));
    assert!(matches!(index.append(&[0.0; 8], &[0.0; 16]), Err(Error::Shape { .. })));
    assert!(index.is_empty());
    assert!(index.column(2, 0).is_empty() && index.sorted_column(0, 4).is_empty());
    let uneven = HeadData { keys: vec![0.0; 4], values: vec![0.0; 3] };
    assert!(matches!(KeyIndex::build(4, &[uneven], 0), Err(Error::Shape { .. })));
    for dim in [0, 3, 258] {
        assert!(KeyIndex::new(dim, &[1], 0).is_err(), "{dim}");
    }
}
