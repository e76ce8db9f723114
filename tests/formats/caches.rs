//! Files of KV caches: round trips, the bytes' meaning, and everything a hostile one can be.

use crate::allowance;
use crate::container::Container;
use crate::largest::largest_request;
use crate::sample;
use fewbytes::Error;
use fewbytes::attention::file::{CacheFile, save_caches, write_caches};
use fewbytes::attention::{
    CacheShape, HEAD_DIMS, KeepLists, KvCache, KvElement, Layout, Placement,
};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Tokens of two heads, their numbers by a formula, of which heads keep 3 and none, and 2 more.
fn cache(head_dim: usize, element: KvElement, positions: bool) -> KvCache {
    let shape = CacheShape::new(2, head_dim, element).unwrap();
    let numbers = |tokens: usize, from: usize| -> Vec<f32> {
        let numbers = from..from + tokens * 2 * head_dim;
        numbers.map(|at| (at * 37 % 101) as f32 / 8.0 - 4.0).collect()
    };
    let mut cache = KvCache::new(Layout::plain(shape, 7).unwrap()).unwrap();
    if positions {
        cache = cache.with_positions().unwrap();
    }
    cache.append(&numbers(7, 0), &numbers(7, 5)).unwrap();
    let keep = KeepLists::new(&[vec![0, 4, 6], vec![]], &[7, 7]).unwrap();
    let mut cache = cache.compact(&keep, 3).unwrap();
    cache.append(&numbers(2, 9), &numbers(2, 3)).unwrap();
    cache
}

/// "a" is of 4 bits with padding and positions, "b" of f16 without.
fn caches() -> Vec<u8> {
    let (a, b) = (cache(80, KvElement::Int4, true), cache(64, KvElement::F16, false));
    write_caches(Some("by hand"), &[("a", &a), ("b", &b)]).unwrap()
}

/// Whether heads have the same rows, wherever those lie.
#[track_caller]
fn assert_same(a: &KvCache, b: &KvCache) {
    let (la, lb) = (a.layout(), b.layout());
    assert_eq!(
        (la.shape(), la.lengths(), la.appended()),
        (lb.shape(), lb.lengths(), lb.appended())
    );
    assert_eq!(la.origin(), lb.origin());
    for head in 0..a.shape().kv_heads() {
        assert_eq!(a.head_positions(head), b.head_positions(head));
        for row in 0..la.len(head) {
            let [x, y] = [a, b].map(|cache| {
                let at = cache.layout().view().row(head, row).unwrap() as usize;
                (cache.keys().row(at), cache.values().row(at))
            });
            assert_eq!(x, y, "row {row} of head {head}");
        }
    }
}

/// Loads every layer of a file that may be damaged; the first error, if any.
fn load(bytes: &[u8]) -> Result<Vec<KvCache>, Error> {
    let (loaded, largest) = largest_request(|| {
        let file = CacheFile::parse("file", bytes)?;
        let names: Vec<_> = file.layers().map(|(name, header)| (name, *header)).collect();
        let mut caches = Vec::new();
        for (name, header) in names {
            let cache = file.cache(name, 1).inspect_err(|error| {
                assert!(matches!(error, Error::Layer { layer, .. } if layer == name), "{error}");
            })?;
            let shape = *cache.shape();
            let found = (shape.kv_heads(), shape.head_dim(), shape.element());
            assert_eq!(found, (header.kv_heads, header.head_dim, header.element));
            assert_eq!(cache.layout().appended(), header.appended);
            assert_eq!(cache.positions().is_some(), header.positions);
            caches.push(cache);
        }
        Ok(caches)
    });
    assert!(largest <= allowance(bytes), "{largest} bytes for a file of {}", bytes.len());
    for cache in loaded.iter().flatten() {
        let again = write_caches(None, &[("again", cache)]).unwrap();
        let again = CacheFile::parse("again", &again).unwrap();
        assert_same(&again.cache("again", 9).unwrap(), cache);
    }
    loaded
}

#[track_caller]
fn refused(bytes: &[u8], words: &[&str]) -> Error {
    let error = load(bytes).unwrap_err();
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text:?}");
    }
    error
}

/// [`caches`] as they were when the format was fixed. The bytes may never change under version 1:
/// files of users would stop loading, or load as something else.
const GOLDEN: &[u8] = include_bytes!("../data/golden_v1.kv_cache.safetensors");

const TENSORS: [&str; 9] = [
    "a.keys",
    "a.values",
    "a.key_params",
    "a.value_params",
    "a.kept",
    "a.positions",
    "b.keys",
    "b.values",
    "b.kept",
];

#[test]
fn the_golden_file_is_still_what_is_written() {
    let [golden, now] = [GOLDEN, &caches()].map(|bytes| load(bytes).unwrap());
    assert_eq!(golden, now);
    let (mut golden, mut now) = (Container::split(GOLDEN), Container::split(&caches()));
    assert_eq!(golden.entry(), now.entry());
    for name in TENSORS {
        assert_eq!(golden.data(name), now.data(name), "{name}");
    }
}

#[test]
fn caches_of_any_element_and_layout_come_back() {
    for element in KvElement::ALL {
        for dim in HEAD_DIMS {
            for positions in [false, true] {
                let cache = cache(dim, element, positions);
                let bytes = write_caches(None, &[("l", &cache)]).unwrap();
                assert_same(&load(&bytes).unwrap()[0], &cache);
                let paged = cache.to_paged(16, 9).unwrap();
                let of_pages = write_caches(None, &[("l", &paged)]).unwrap();
                assert_same(&load(&of_pages).unwrap()[0], &paged);
            }
        }
    }
    assert!(load(&write_caches(None, &[]).unwrap()).unwrap().is_empty());
    let shape = CacheShape::new(1, 64, KvElement::Int8).unwrap();
    let empty = KvCache::new(Layout::plain(shape, 0).unwrap()).unwrap();
    let bytes = write_caches(None, &[("l", &empty)]).unwrap();
    assert_same(&load(&bytes).unwrap()[0], &empty);
}

#[test]
fn what_was_appended_can_still_be_taken_back() {
    let bytes = caches();
    let mut read = CacheFile::parse("file", &bytes).unwrap().cache("a", 512).unwrap();
    let Placement::Ragged(ragged) = read.layout().placement() else { panic!() };
    assert_eq!(ragged.reserve(), 512);
    let mut cache = cache(80, KvElement::Int4, true);
    for cache in [&mut read, &mut cache] {
        cache.truncate(1).unwrap();
        cache.append(&[0.5; 160], &[0.25; 160]).unwrap();
    }
    assert_same(&read, &cache);
}

#[test]
fn the_bytes_mean_what_the_format_says() {
    let mut file = Container::split(&caches());
    let entry = json!({
        "format": "kv-cache",
        "version": 1,
        "layout": "rows-1",
        "settings": "by hand",
        "layers": {
            "a": { "kv_heads": 2, "head_dim": 80, "element": "int4", "appended": 2, "origin": 7,
                "positions": true },
            "b": { "kv_heads": 2, "head_dim": 64, "element": "f16", "appended": 2, "origin": 7,
                "positions": false },
        },
    });
    assert_eq!(file.entry(), entry);
    assert_eq!(file.header.as_object().unwrap().len(), 1 + TENSORS.len());
    for (name, shape) in TENSORS.iter().zip([
        json!([7, 12]),
        json!([7, 12]),
        json!([7]),
        json!([7]),
        json!([2]),
        json!([7]),
        json!([7, 32]),
        json!([7, 32]),
        json!([2]),
    ]) {
        assert_eq!(file.header[name]["dtype"], "U32");
        assert_eq!(file.header[name]["shape"], shape, "{name}");
    }
    assert_eq!(file.data("a.kept"), [3, 0, 0, 0, 0, 0, 0, 0]);
    let positions: Vec<u8> = file.data("a.positions").iter().copied().step_by(4).collect();
    assert_eq!(positions, [0, 4, 6, 7, 8, 7, 8]);
    // Row 1 of "b" is token 4 of head 0: its second number is 37 (4 128 + 1) mod 101 = 94.
    let half = half::f16::from_f32(94.0 / 8.0 - 4.0).to_le_bytes();
    assert_eq!(file.data("b.keys")[128 + 2..128 + 4], half);
    let bytes = caches();
    assert_eq!(CacheFile::parse("file", &bytes).unwrap().settings(), Some("by hand"));
}

/// The examples of `docs/kv_cache_file.md`.
#[test]
fn the_documented_examples_are_what_is_written() {
    let first = |element, numbers: &[f32]| {
        let shape = CacheShape::new(1, 64, element).unwrap();
        let mut row = numbers.to_vec();
        row.resize(64, 0.0);
        let mut cache = KvCache::new(Layout::plain(shape, 1).unwrap()).unwrap();
        cache.append(&row, &row).unwrap();
        let bytes = write_caches(None, &[("l", &cache)]).unwrap();
        Container::split(&bytes).data("l.keys")[..8].to_vec()
    };
    let bytes = first(KvElement::F16, &[1.0, -2.0, 0.5]);
    assert_eq!(bytes, [0x00, 0x3c, 0x00, 0xc0, 0x00, 0x38, 0x00, 0x00]);
    let bytes = first(KvElement::Int4, &[-1.0, 2.75, -0.75, 0.5]);
    assert_eq!(bytes[..4], [0xf0, 0x61, 0x44, 0x44]);
}

#[test]
fn formats_are_told_apart() {
    let error = refused(&sample(), &["kv-cache", "bitplane", "rows-1", "skew-1"]);
    assert!(matches!(error, Error::Format { .. }), "{error}");
    let file = Container::split(&caches());
    for (field, value) in [("version", json!(2)), ("layout", json!("rows-2"))] {
        let bytes = file.with_entry(|entry| {
            entry[field] = value.clone();
            entry["layers"] = json!([]);
        });
        refused(&bytes, &["file", "rows-1", &value.to_string()]);
    }
    let bytes = file.with_header(|header| {
        header.remove("__metadata__").unwrap();
    });
    refused(&bytes, &["file", "fewbytes", "not found"]);
}

#[test]
fn every_field_of_a_layer_is_checked_against_the_tensors() {
    let file = Container::split(&caches());
    let cases: Vec<(&str, Value, &[&str])> = vec![
        ("kv_heads", json!(0), &["layer a", "KV heads"]),
        ("kv_heads", json!(3), &["layer a", "a.kept", "[3]", "[2]"]),
        ("kv_heads", json!(u64::MAX), &["layer a", "KV heads"]),
        ("kv_heads", json!(-1), &["-1"]),
        ("head_dim", json!(81), &["layer a", "head dimension = 81"]),
        ("head_dim", json!(128), &["layer a", "a.keys", "[7, 16]", "[7, 12]"]),
        ("element", json!("int8"), &["layer a", "a.keys", "[7, 20]", "[7, 12]"]),
        ("element", json!("Int4"), &["Int4"]),
        ("appended", json!(1), &["layer a", "a.keys", "[5, 12]", "[7, 12]"]),
        ("appended", json!(u32::MAX), &["layer a", "rows of a cache"]),
        ("appended", json!(1u64 << 32), &["4294967296"]),
        ("origin", json!(2), &["layer a", "kept rows of head 0 = 3"]),
        ("origin", json!(6), &["layer a", "position of row 2 of head 0"]),
        ("origin", json!(8), &["layer a", "position of row 3 of head 0"]),
        ("origin", json!(u32::MAX), &["layer a", "appended rows = 2"]),
        ("positions", json!(0), &["0"]),
        ("surprise", json!(1), &["surprise"]),
    ];
    for (field, value, words) in cases {
        let bytes = file.with_entry(|entry| entry["layers"]["a"][field] = value.clone());
        refused(&bytes, words);
    }
    for field in ["kv_heads", "head_dim", "element", "appended", "origin", "positions"] {
        let bytes = file.with_entry(|entry| {
            entry["layers"]["a"].as_object_mut().unwrap().remove(field).unwrap();
        });
        refused(&bytes, &["file", field]);
    }
    let bytes = file.with_entry(|entry| entry["layers"]["b"]["positions"] = json!(true));
    refused(&bytes, &["layer b", "b.positions", "not found"]);
    for name in TENSORS {
        let bytes = file.with_header(|header| {
            let tensor = header.remove(name).unwrap();
            header.insert("elsewhere".to_owned(), tensor);
        });
        refused(&bytes, &["layer", name, "expected", "not found"]);
        let bytes = file.with_header(|header| header[name]["dtype"] = json!("F32"));
        refused(&bytes, &["layer", name, "F32"]);
    }
}

#[test]
fn numbers_that_cannot_be_are_found_in_their_layer() {
    let cases: [(&str, usize, &[u8], &[&str]); 8] = [
        ("a.keys", 48 + 40, &[1], &["word of keys", "row 1, column 10", "padding"]),
        ("a.values", 47, &[0x80], &["word of values", "row 0, column 11", "padding"]),
        ("a.key_params", 8, &[0, 0x7c], &["scale of key", "row 2", "inf"]),
        ("a.value_params", 0, &[0, 0xbc], &["scale of value", "row 0", "-1"]),
        ("a.key_params", 6, &[0, 0x7e], &["zero of key", "row 1", "NaN"]),
        ("a.positions", 4, &[6], &["position of row 2 of head 0", "7 or more"]),
        ("a.positions", 8, &[7], &["position of row 2 of head 0", "0..7"]),
        ("a.kept", 4, &[1], &["a.keys", "[8, 12]", "[7, 12]"]),
    ];
    for (tensor, at, bytes, words) in cases {
        let mut file = Container::split(&caches());
        file.data(tensor)[at..at + bytes.len()].copy_from_slice(bytes);
        refused(&file.join(), &[&["layer a"], words].concat());
    }
    // Rows may change heads: then positions are not in order.
    let mut file = Container::split(&caches());
    file.data("a.kept").copy_from_slice(&[2, 0, 0, 0, 1, 0, 0, 0]);
    refused(&file.join(), &["layer a", "position of row 2 of head 0"]);
}

#[test]
fn saves_are_whole() {
    let cache = cache(64, KvElement::Int8, true);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.safetensors");
    save_caches(&path, Some("s"), &[("l", &cache)]).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes, write_caches(Some("s"), &[("l", &cache)]).unwrap());
    assert_same(&load(&bytes).unwrap()[0], &cache);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let missing = folder.path().join("missing/cache.safetensors");
    let error = save_caches(&missing, None, &[("l", &cache)]).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    let error = write_caches(None, &[("l", &cache), ("l", &cache)]).unwrap_err();
    assert!(matches!(error, Error::Format { .. }), "{error}");
    let file = CacheFile::parse("file", &bytes).unwrap();
    let error = file.cache("c", 1).unwrap_err();
    assert!(matches!(&error, Error::Layer { layer, .. } if layer == "c"), "{error}");
    assert!(matches!(file.cache("l", u32::MAX), Err(Error::Layer { .. })));
}

#[test]
fn a_file_cut_short_anywhere_is_an_error() {
    let bytes = caches();
    for length in (0..bytes.len()).step_by(7) {
        let error = load(&bytes[..length]).unwrap_err();
        assert!(matches!(error, Error::Format { .. }), "{length}: {error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    // The loader's own assertions are the test: no panic, no large allocation, sound caches.
    #[test]
    fn overwritten_bytes(
        damage in proptest::collection::vec((any::<bool>(), any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = caches();
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        for (in_header, at, value) in damage {
            let at = if in_header { 8 + at.index(header) } else { at.index(bytes.len()) };
            bytes[at] = value;
        }
        let _ = load(&bytes);
    }

    #[test]
    fn changed_numbers(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), b'0'..=b'9'), 1..4),
    ) {
        let mut bytes = caches();
        let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let digits: Vec<usize> = (8..header).filter(|&at| bytes[at].is_ascii_digit()).collect();
        for (at, digit) in damage {
            bytes[digits[at.index(digits.len())]] = digit;
        }
        let _ = load(&bytes);
    }
}
