use super::*;
use crate::attention::{HEAD_DIMS, KeepLists, KvElement, Placement};
use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;

const HEADS: usize = 3;

/// Numbers `[tokens, HEADS, head_dim]`.
fn numbers(seed: u64, tokens: usize, head_dim: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..tokens * HEADS * head_dim).map(|_| rng.random_range(-2.0..2.0)).collect()
}

fn shape(head_dim: usize, element: KvElement) -> CacheShape {
    CacheShape::new(HEADS, head_dim, element).unwrap()
}

fn filled(layout: Layout, tokens: usize) -> KvCache {
    let dim = layout.shape().head_dim();
    let mut cache = KvCache::new(layout).unwrap().with_positions().unwrap();
    cache.append(&numbers(1, tokens, dim), &numbers(2, tokens, dim)).unwrap();
    cache
}

/// One of each layout, with room for 100 rows at least.
fn layouts(shape: CacheShape) -> [Layout; 3] {
    [
        Layout::plain(shape, 100).unwrap(),
        Layout::ragged(shape, &[0; HEADS], 7, 0).unwrap(),
        Layout::paged(shape, &[0; HEADS], 16, 21, 0).unwrap(),
    ]
}

/// Words and params of a key and a value, and their position.
type Stored = (Vec<u32>, u32, Vec<u32>, u32, Option<u32>);

/// The rows of all heads as they are stored, with their positions.
fn stored(cache: &KvCache) -> Vec<Vec<Stored>> {
    let view = cache.layout().view();
    let of = |head| {
        let rows = (0..cache.layout().len(head)).map(|row| {
            let at = view.row(head, row).unwrap() as usize;
            let (keys, key_params) = cache.keys().row(at).unwrap();
            let (values, value_params) = cache.values().row(at).unwrap();
            let position = cache.position(head, row);
            (keys.to_vec(), key_params, values.to_vec(), value_params, position)
        });
        rows.collect()
    };
    (0..HEADS).map(of).collect()
}

#[test]
fn rows_lie_where_the_view_says_whatever_the_layout() {
    for element in KvElement::ALL {
        for dim in HEAD_DIMS {
            let shape = shape(dim, element);
            let [plain, ragged, paged] = layouts(shape).map(|layout| filled(layout, 37));
            assert_eq!(stored(&plain), stored(&ragged), "{element:?} {dim}");
            assert_eq!(stored(&plain), stored(&paged), "{element:?} {dim}");
            let all = KvTensor::encode(shape, "keys", &numbers(1, 37, dim)).unwrap();
            let (token, head) = (31, 2);
            let mut expected = Vec::new();
            all.decode_into(token * HEADS + head, &mut expected).unwrap();
            assert_eq!(paged.head(head).unwrap().keys[token * dim..][..dim], expected);
            assert_eq!(paged.position(head, token as u32), Some(token as u32));
        }
    }
}

#[test]
fn one_by_one_is_as_in_a_block_and_truncation_gives_back_what_was() {
    for layout in layouts(shape(80, KvElement::Int4)) {
        let block = filled(layout.clone(), 60);
        let mut single = KvCache::new(layout).unwrap().with_positions().unwrap();
        let (keys, values) = (numbers(1, 60, 80), numbers(2, 60, 80));
        let token = HEADS * 80;
        for (at, (k, v)) in keys.chunks(token).zip(values.chunks(token)).enumerate() {
            assert_eq!(single.append(k, v).unwrap(), at as u32);
        }
        assert_eq!(stored(&single), stored(&block));
        let before = stored(&single);
        single.append(&numbers(3, 9, 80), &numbers(4, 9, 80)).unwrap();
        single.truncate(60).unwrap();
        assert_eq!(stored(&single), before);
        // A clone goes its own way.
        let mut other = single.clone();
        other.truncate(2).unwrap();
        other.append(&numbers(5, 1, 80), &numbers(5, 1, 80)).unwrap();
        assert_eq!(stored(&single), before);
        assert_eq!(other.layout().next_position(), 3);
        assert_eq!(single.append(&[], &[]).unwrap(), 60);
    }
}

#[test]
fn a_full_ragged_cache_doubles_its_reserve_in_the_middle_of_a_generation() {
    let shape = shape(64, KvElement::Int8);
    let mut cache = filled(Layout::plain(shape, 20).unwrap(), 20);
    let keep = KeepLists::new(&[vec![], vec![3, 5, 19], (0..20).collect()], &[20; 3]).unwrap();
    cache = cache.compact(&keep, 4).unwrap();
    let generation = cache.layout().generation();
    assert_eq!(generation, 1);
    let roomy = {
        let mut roomy = filled(Layout::plain(shape, 20).unwrap(), 20).compact(&keep, 64).unwrap();
        roomy.append(&numbers(8, 50, 64), &numbers(9, 50, 64)).unwrap();
        roomy
    };
    let (keys, values) = (numbers(8, 50, 64), numbers(9, 50, 64));
    for (k, v) in keys.chunks(HEADS * 64).zip(values.chunks(HEADS * 64)) {
        cache.append(k, v).unwrap();
    }
    // 4, 8, 16, 32, 64.
    assert_eq!(cache.layout().generation(), generation + 4);
    assert_eq!(stored(&cache), stored(&roomy));
    assert_eq!(cache.layout().lengths(), [50, 53, 70]);
    cache.truncate(0).unwrap();
    assert_eq!(cache.layout().lengths(), [0, 3, 20]);
    // All at once, and far beyond twice the reserve.
    let mut at_once = roomy.compact(&keep, 1).unwrap();
    at_once.append(&keys, &values).unwrap();
    assert_eq!(at_once.layout().lengths(), [50, 53, 70]);
}

#[test]
fn eviction_keeps_order_positions_and_the_next_position() {
    for element in KvElement::ALL {
        for layout in layouts(shape(96, element)) {
            let mut cache = filled(layout, 50);
            let lists = [vec![], vec![0, 7, 48, 49], (0..50).collect::<Vec<u32>>()];
            let keep = KeepLists::new(&lists, &cache.layout().lengths()).unwrap();
            let mut evicted = cache.compact(&keep, 512).unwrap();
            let (before, after) = (stored(&cache), stored(&evicted));
            for (head, list) in lists.iter().enumerate() {
                let expected: Vec<_> =
                    list.iter().map(|row| before[head][*row as usize].clone()).collect();
                assert_eq!(after[head], expected);
                assert_eq!(evicted.head_positions(head).unwrap(), *list);
            }
            assert_eq!((evicted.layout().appended(), evicted.layout().next_position()), (0, 50));
            assert!(evicted.layout().generation() > cache.layout().generation());
            // What is appended has its true position, the same with the whole cache.
            for cache in [&mut evicted, &mut cache] {
                cache.append(&numbers(6, 2, 96), &numbers(7, 2, 96)).unwrap();
                let last = cache.layout().len(1) - 1;
                assert_eq!(cache.position(1, last), Some(51));
            }
            assert_eq!(evicted.head_positions(1).unwrap(), [0, 7, 48, 49, 50, 51]);
            assert_eq!(stored(&evicted)[1].last(), stored(&cache)[1].last());
            // Evicting twice is evicting once.
            let keep = KeepLists::new(&[vec![0], vec![2, 4], vec![51]], &[2, 6, 52]).unwrap();
            let twice = evicted.compact(&keep, 1).unwrap();
            let of = |head| twice.head_positions(head).unwrap();
            assert_eq!([of(0), of(1), of(2)], [vec![50], vec![48, 50], vec![51]]);
        }
    }
}

#[test]
fn caches_change_their_layout_and_keep_their_rows() {
    for layout in layouts(shape(128, KvElement::Bf16)) {
        let cache = filled(layout, 33);
        let others = [
            cache.to_plain(33).unwrap(),
            cache.to_plain(90).unwrap(),
            cache.to_ragged(5).unwrap(),
            cache.to_paged(32, 6).unwrap(),
        ];
        for other in others {
            assert_eq!(stored(&other), stored(&cache));
            let found = (other.layout().appended(), other.layout().generation());
            assert_eq!(found, (0, cache.layout().generation() + 1));
            assert_eq!((other.layout().kept(2), other.layout().next_position()), (33, 33));
        }
        assert!(matches!(cache.to_plain(32), Err(Error::Range { .. })));
        assert!(matches!(cache.to_paged(32, 5), Err(Error::Range { .. })));
        let keep = KeepLists::new(&[vec![0], vec![], vec![1]], &[33; 3]).unwrap();
        let ragged = cache.compact(&keep, 9).unwrap();
        assert!(matches!(ragged.to_plain(100), Err(Error::Shape { .. })));
        let paged = ragged.to_paged(16, 10).unwrap();
        assert_eq!(stored(&paged), stored(&ragged));
        // Heads of different lengths release what they do not need.
        let Placement::Paged(layout) = paged.layout().placement() else { panic!() };
        assert_eq!([0, 1, 2].map(|head| layout.pages(head).len()), [1, 0, 1]);
    }
}

#[test]
fn positions_that_nobody_stored_are_known_until_rows_go() {
    let layout = Layout::plain(shape(64, KvElement::F16), 30).unwrap();
    let mut cache = KvCache::new(layout).unwrap();
    cache.append(&numbers(1, 20, 64), &numbers(2, 20, 64)).unwrap();
    assert_eq!(cache.head_positions(0).unwrap(), (0..20).collect::<Vec<_>>());
    assert_eq!((cache.position(0, 19), cache.position(0, 20)), (Some(19), None));
    let keep = KeepLists::new(&[vec![1], (0..20).collect(), vec![]], &[20; 3]).unwrap();
    let mut evicted = cache.compact(&keep, 8).unwrap();
    evicted.append(&numbers(3, 1, 64), &numbers(4, 1, 64)).unwrap();
    assert_eq!((evicted.position(0, 0), evicted.position(0, 1)), (None, Some(20)));
    assert_eq!((evicted.position(1, 5), evicted.position(2, 0)), (Some(5), Some(20)));
    assert_eq!(evicted.head_positions(0), None);
    assert!(matches!(evicted.clone().with_positions(), Err(Error::Unsupported { .. })));
    let stored = cache.clone().with_positions().unwrap().compact(&keep, 8).unwrap();
    assert_eq!(stored.position(0, 0), Some(1));
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let mut cache = filled(Layout::plain(shape(64, KvElement::Int8), 10).unwrap(), 8);
    let before = cache.clone();
    let (one, three) = (numbers(1, 1, 64), numbers(1, 3, 64));
    let mut poisoned = one.clone();
    poisoned[2 * 64 + 5] = f32::NAN;
    let error = cache.append(&one, &poisoned).unwrap_err();
    assert!(matches!(error, Error::Value { row: 2, col: 5, .. }), "{error}");
    assert!(error.to_string().contains("values to append"), "{error}");
    for (keys, values) in [(&one[1..], &one[1..]), (&one, &three), (&one[64..], &one[64..])] {
        let error = cache.append(keys, values).unwrap_err();
        assert!(matches!(error, Error::Shape { .. }), "{error}");
    }
    assert!(matches!(cache.append(&three, &three), Err(Error::Range { .. })));
    assert!(matches!(cache.truncate(9), Err(Error::Range { .. })));
    assert!(matches!(cache.head(3), Err(Error::Range { .. })));
    assert_eq!(cache, before);
    let keep = KeepLists::new(&[vec![0]], &[1]).unwrap();
    assert!(matches!(cache.compact(&keep, 8), Err(Error::Shape { .. })));
    // Lists made for a longer cache.
    let keep = KeepLists::new(&[vec![], vec![8], vec![]], &[9; 3]).unwrap();
    let error = cache.compact(&keep, 8).unwrap_err();
    assert!(matches!(error, Error::Range { .. }), "{error}");
}

#[test]
fn parts_are_checked() {
    let shape = shape(80, KvElement::Int4);
    let cache = filled(Layout::plain(shape, 4).unwrap(), 3);
    let layout = || cache.layout().clone();
    let (keys, values) = (cache.keys(), cache.values());
    let positions =
        |p: &[u32]| KvCache::from_parts(layout(), keys.clone(), values.clone(), Some(p.to_vec()));
    let good = cache.positions().unwrap();
    assert_eq!(positions(good).unwrap(), cache);
    assert!(matches!(positions(&good[1..]), Err(Error::Shape { .. })));
    assert!(matches!(positions(&[7; 12]), Err(Error::Range { .. })));
    let folded = cache.to_plain(4).unwrap();
    let positions = |p: [u32; 4]| {
        let (k, v) = (folded.keys().clone(), folded.values().clone());
        KvCache::from_parts(folded.layout().clone(), k, v, Some(p.repeat(3)))
    };
    assert!(positions([0, 1, 2, 99]).is_ok());
    assert!(matches!(positions([0, 1, 3, 0]), Err(Error::Range { .. })));
    assert!(matches!(positions([0, 2, 1, 0]), Err(Error::Shape { .. })));
    assert!(matches!(positions([1, 1, 2, 0]), Err(Error::Shape { .. })));
    let other = KvTensor::zeros(shape, 11).unwrap();
    let parts = KvCache::from_parts(layout(), keys.clone(), other, None);
    assert!(matches!(parts, Err(Error::Shape { .. })));
    let other = KvTensor::zeros(CacheShape::new(3, 80, KvElement::F16).unwrap(), 12).unwrap();
    let parts = KvCache::from_parts(layout(), other, values.clone(), None);
    assert!(matches!(parts, Err(Error::Shape { .. })));

    let from = |words: &[u32], params: &[u32]| {
        KvTensor::from_parts(shape, "keys", words.to_vec(), params.to_vec())
    };
    assert_eq!(&from(keys.words(), keys.params()).unwrap(), keys);
    assert!(matches!(from(&keys.words()[1..], keys.params()), Err(Error::Shape { .. })));
    assert!(matches!(from(keys.words(), &keys.params()[1..]), Err(Error::Shape { .. })));
    let mut words = keys.words().to_vec();
    words[12 + 11] = 1;
    let error = from(&words, keys.params()).unwrap_err();
    assert!(matches!(error, Error::Value { row: 1, col: 11, .. }), "{error}");
    for bad in [0x7c00, 0x7e00, 0x8001, 0x7c00_0000, 0xfe00_0000] {
        let mut params = keys.params().to_vec();
        params[2] = bad;
        let error = from(keys.words(), &params).unwrap_err();
        assert!(matches!(error, Error::Value { row: 2, .. }), "{error}");
    }
    let int8 = CacheShape::new(1, 64, KvElement::Int8).unwrap();
    let error = KvTensor::from_parts(int8, "keys", vec![0; 16], vec![0x1_0000]).unwrap_err();
    assert!(matches!(error, Error::Value { row: 0, .. }), "{error}");
}

#[test]
fn some_of_the_heads_are_a_cache_by_themselves() {
    for layout in layouts(shape(80, KvElement::Int4)) {
        let cache = filled(layout, 21);
        let group = cache.of_heads(1..3).unwrap();
        assert_eq!(group.shape().kv_heads(), 2);
        for head in 0..2 {
            assert_eq!(group.head(head).unwrap(), cache.head(head + 1).unwrap());
            assert_eq!(group.head_positions(head), cache.head_positions(head + 1));
        }
        assert!(matches!(cache.of_heads(2..4), Err(Error::Range { .. })));
    }
}
