//! Files of Hessians: round trips, a committed file, and everything they may not be.

use crate::allowance;
use crate::container::Container;
use crate::largest::largest_request;
use fewbytes::Error;
use fewbytes::linear::Hessian;
use fewbytes::linear::file::{HessianFile, HessianShape, save_hessians, write_hessians};
use proptest::prelude::*;
use serde_json::json;

/// `write_hessians` of [`golden`], as it was when the format was fixed.
const GOLDEN: &[u8] = include_bytes!("../data/golden_v1.hessian.safetensors");
const SETTINGS: &str = "any words; seed 7";

/// Two groups of three inputs, and one of two.
fn golden() -> [Hessian; 2] {
    let two = vec![4.0, 1.0, -0.5, 2.0, 0.25, 1.0, 8.0, 2.0, -1.0, 4.0, 0.5, 2.0];
    let one = vec![1.5, -0.75, 3.0];
    [
        Hessian::from_packed("blk.0.up", 3, 2, 12, two).unwrap(),
        Hessian::from_packed("blk.0.down", 2, 1, 0, one).unwrap(),
    ]
}

fn sample() -> Vec<u8> {
    write_hessians(Some(SETTINGS), &golden().each_ref()).unwrap()
}

/// Everything in a file that may be damaged; the first error, if any.
fn load(bytes: &[u8]) -> Result<Vec<Hessian>, Error> {
    let (loaded, largest) = largest_request(|| -> Result<Vec<Hessian>, Error> {
        let file = HessianFile::parse("file", bytes)?;
        let read = |name| {
            let hessian = file.hessian(name)?;
            let (inputs, groups, tokens) = (hessian.inputs(), hessian.groups(), hessian.tokens());
            assert_eq!(file.shape(name), Some(HessianShape { inputs, groups, tokens }));
            assert_eq!(hessian.name(), name);
            Ok(hessian)
        };
        file.names().map(read).collect()
    });
    assert!(largest <= allowance(bytes), "{largest} bytes for a file of {}", bytes.len());
    if let Ok(hessians) = &loaded {
        for hessian in hessians {
            let diagonals = (0..hessian.groups()).flat_map(|group| hessian.diagonal(group));
            assert!(hessian.packed().iter().all(|v| v.is_finite()));
            assert!(diagonals.into_iter().all(|v| v >= 0.0));
        }
    }
    loaded
}

fn refused(bytes: &[u8], words: &[&str]) {
    let text = load(bytes).expect_err("an error").to_string();
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text:?}");
    }
}

#[test]
fn what_is_saved_is_read_again() {
    let bytes = sample();
    let file = HessianFile::parse("file", &bytes).unwrap();
    assert_eq!(file.names().collect::<Vec<_>>(), ["blk.0.down", "blk.0.up"]);
    assert_eq!(file.settings(), Some(SETTINGS));
    for hessian in golden() {
        assert_eq!(file.hessian(hessian.name()).unwrap(), hessian);
    }
    assert_eq!(file.shape("none"), None);
    let text = file.hessian("none").unwrap_err().to_string();
    assert!(text.contains("layer none") && text.contains("no layer of this name"), "{text}");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("h.safetensors");
    std::fs::write(&path, b"old").unwrap();
    save_hessians(&path, Some(SETTINGS), &golden().each_ref()).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    let missing = folder.path().join("missing/h.safetensors");
    let error = save_hessians(&missing, None, &golden().each_ref()).unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if *path == missing), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn the_golden_file_is_still_what_is_written_and_read() {
    assert_eq!(sample(), GOLDEN);
    let mut file = Container::split(GOLDEN);
    assert_eq!(file.header["blk.0.up.hessian"]["dtype"], json!("F32"));
    assert_eq!(file.header["blk.0.up.hessian"]["shape"], json!([2, 6]));
    assert_eq!(file.header["blk.0.down.hessian"]["shape"], json!([1, 3]));
    let numbers: Vec<u8> = [1.5f32, -0.75, 3.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    assert_eq!(file.data("blk.0.down.hessian"), numbers);
    let entry = json!({
        "format": "hessian", "version": 1, "settings": SETTINGS,
        "layers": {
            "blk.0.down": { "inputs": 2, "groups": 1, "tokens": 0 },
            "blk.0.up": { "inputs": 3, "groups": 2, "tokens": 12 },
        },
    });
    assert_eq!(file.entry(), entry);
}

#[test]
fn a_file_a_layer_is_read_together_unless_settings_differ() {
    let [up, down] = golden();
    let one = |settings: Option<&str>, hessian| write_hessians(settings, &[hessian]).unwrap();
    let (first, second) = (one(Some("a"), &up), one(Some("a"), &down));
    let (other, none) = (one(Some("b"), &down), one(None, &down));
    let mut file = HessianFile::parse("first", &first).unwrap();
    for (bytes, found) in [(&other, "\"b\""), (&none, "\"none\"")] {
        let text = file.add("second", bytes).unwrap_err().to_string();
        let expected = format!("second: settings {found} are not those of first, \"a\"");
        assert_eq!(text, expected);
    }
    let text = file.add("again", &first).unwrap_err().to_string();
    assert!(text.contains("layer blk.0.up: there are two of this name"), "{text}");
    assert_eq!(file.names().count(), 1);
    file.add("second", &second).unwrap();
    assert_eq!(file.hessian("blk.0.up").unwrap(), up);
    assert_eq!(file.hessian("blk.0.down").unwrap(), down);
    let text = write_hessians(None, &[&up, &up]).unwrap_err().to_string();
    assert!(text.contains("layer blk.0.up: there are two of this name"), "{text}");
}

fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

#[test]
fn whole_matrices_are_read_with_and_without_a_header() {
    let matrix = [2.0f32, 1.0, 1.0, 3.0];
    let two = [matrix, [4.0, 0.5, 0.5, 1.0]].concat();
    let mut file = Container::new();
    file.push("a.hessian", "F32", &[2, 2], &bytes_of(&matrix));
    file.push("b", "F32", &[2, 2, 2], &bytes_of(&two));
    let expected = [
        Hessian::from_full("a", 2, 1, &matrix).unwrap(),
        Hessian::from_full("b", 2, 2, &two).unwrap(),
    ];
    assert_eq!(load(&file.join()).unwrap(), expected);
    let mut headed = Container::new();
    headed.push("a.hessian", "F32", &[2, 2], &bytes_of(&matrix));
    headed.push("b.hessian", "F32", &[2, 2, 2], &bytes_of(&two));
    headed.set_entry(&json!({ "format": "hessian", "version": 1, "layers": {
        "a": { "inputs": 2, "groups": 1, "tokens": 9 },
        "b": { "inputs": 2, "groups": 2, "tokens": 8 },
    }}));
    let read = load(&headed.join()).unwrap();
    assert_eq!(read.iter().map(Hessian::tokens).collect::<Vec<_>>(), [9, 8]);
    assert!(read.iter().zip(&expected).all(|(a, b)| a.packed() == b.packed()));

    headed.data("b.hessian")[4 * 5..][..4].copy_from_slice(&0.6f32.to_le_bytes());
    refused(&headed.join(), &["layer b", "group 1 at row 0, column 1", "mirror image"]);
    file.push("a", "F32", &[1, 1], &bytes_of(&[1.0]));
    refused(&file.join(), &["layer a: there are two of this name"]);
}

#[test]
fn a_plain_file_of_anything_else_is_told_apart() {
    for (dtype, shape) in [
        ("F32", &[2, 3][..]),
        ("F32", &[4]),
        ("F32", &[2, 2, 3]),
        ("F32", &[0, 0]),
        ("F32", &[0, 2, 2]),
        ("F64", &[2, 2]),
        ("F16", &[2, 2]),
        ("I32", &[2, 2]),
    ] {
        let each = if dtype == "F64" { 8 } else { 4 } / if dtype == "F16" { 2 } else { 1 };
        let mut file = Container::new();
        file.push("q", dtype, shape, &vec![0; each * shape.iter().product::<usize>()]);
        let found = format!("{dtype} {shape:?}");
        refused(&file.join(), &["layer q", "tensor q", "[groups, inputs, inputs]", &found]);
    }
}

#[test]
fn every_field_of_the_header_is_checked_against_the_tensors() {
    let file = Container::split(GOLDEN);
    for (field, value, words) in [
        ("inputs", json!(0), &["blk.0.up", "[2, 6]"][..]),
        ("inputs", json!(2), &["blk.0.up", "F32 [2, 3] or [2, 2, 2]", "[2, 6]"]),
        ("inputs", json!(u64::MAX), &["blk.0.up", "18446744073709551615", "[2, 6]"]),
        ("inputs", json!(1u64 << 32), &["blk.0.up", "[2, 4294967296, 4294967296]", "[2, 6]"]),
        ("groups", json!(0), &["blk.0.up", "[0, 6]", "none 0"]),
        ("groups", json!(1), &["blk.0.up", "[1, 6]", "[2, 6]"]),
        ("groups", json!(-1), &["-1"]),
        ("tokens", json!(-1), &["-1"]),
        ("tokens", json!("1"), &["\"1\""]),
        ("surprise", json!(1), &["surprise"]),
    ] {
        let bytes = file.with_entry(|entry| entry["layers"]["blk.0.up"][field] = value.clone());
        refused(&bytes, words);
    }
    for (field, value, words) in [
        ("format", json!("bitplane"), &["(\"hessian\", 1)", "(\"bitplane\", 1)"][..]),
        ("version", json!(2), &["(\"hessian\", 1)", "(\"hessian\", 2)"]),
        ("settings", json!(3), &["file", "3"]),
        ("layers", json!([]), &["file", "fewbytes"]),
    ] {
        refused(&file.with_entry(|entry| entry[field] = value.clone()), words);
    }
    let bytes = file.with_header(|header| {
        let tensor = header.remove("blk.0.up.hessian").unwrap();
        header.insert("elsewhere".to_owned(), tensor);
    });
    refused(&bytes, &["layer blk.0.up", "blk.0.up.hessian", "not found"]);
    let bytes = file.with_header(|h| h["blk.0.up.hessian"]["dtype"] = json!("I32"));
    refused(&bytes, &["layer blk.0.up", "I32 [2, 6]", "F32 [2, 6] or [2, 3, 3]"]);
}

#[test]
fn numbers_that_are_no_hessian_name_layer_and_group() {
    for (at, value, words) in [
        (7, f32::NAN, &["layer blk.0.up", "group 1 at row 0, column 1 is NaN"][..]),
        (11, f32::INFINITY, &["group 1 at row 2, column 2 is inf"]),
        (3, -2.0, &["group 0 at row 1, column 1 is -2", "must not be negative"]),
    ] {
        let mut file = Container::split(GOLDEN);
        file.data("blk.0.up.hessian")[4 * at..][..4].copy_from_slice(&value.to_le_bytes());
        refused(&file.join(), words);
    }
}

#[test]
fn a_file_cut_short_anywhere_is_an_error() {
    for length in 0..GOLDEN.len() {
        let error = load(&GOLDEN[..length]).unwrap_err();
        assert!(error.to_string().starts_with("file: "), "{length}: {error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5000, ..ProptestConfig::default() })]

    // The assertions of `load` are the test: no panic, no large allocation, sound matrices.
    #[test]
    fn overwritten_bytes(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), b'0'..=b'9']), 1..6),
    ) {
        let mut bytes = GOLDEN.to_vec();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let _ = load(&bytes);
    }
}
