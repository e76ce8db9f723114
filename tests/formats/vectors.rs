//! Files of weights in pairs: round trips, the bytes' meaning, and everything a hostile one can be.

use crate::container::Container;
use crate::{allowance, load_packed, sample};
use fewbytes::Error;
use fewbytes::linear::file::{PackedFile, VectorFile, save_vectors, write_vectors};
use fewbytes::linear::{TableElement, VectorLayer, VectorShape};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::golden::WORD;
use crate::largest::largest_request;

/// A layer whose every code and entry is given by a formula.
fn layer(rows: usize, cols: usize, code_bits: u8, element: TableElement) -> VectorLayer {
    let shape = VectorShape { rows, cols, code_bits };
    let per_row = shape.codes_per_row();
    let code = |at: usize| ((37 * (at % per_row) + 11 + 101 * (at / per_row)) % 256) as u8;
    let codes: Vec<u8> = (0..rows * per_row).map(|at| code(at) >> (8 - code_bits)).collect();
    let entries: Vec<f32> = (0..rows * (2 << code_bits)).map(|i| i as f32 / 8.0 - 3.0).collect();
    let bias = (rows % 2 == 1).then(|| (0..rows).map(|row| row as f32 - 0.5).collect());
    VectorLayer::from_codes(shape, &codes, element, &entries, bias).unwrap()
}

/// "a" is 3 x 75 with codes of 4 bits and a bias, "b" 2 x 128 with codes of 6 bits.
fn vectors() -> Vec<u8> {
    let a = layer(3, 75, 4, TableElement::F16);
    let b = layer(2, 128, 6, TableElement::F32);
    write_vectors(&[("a", &a), ("b", &b)]).unwrap()
}

/// Loads every layer of a file that may be damaged; the first error, if any.
fn load(bytes: &[u8]) -> Result<Vec<VectorLayer>, Error> {
    let (loaded, largest) = largest_request(|| {
        let file = VectorFile::parse("file", bytes)?;
        let names: Vec<_> = file.layers().map(|(name, header)| (name, header.clone())).collect();
        let mut layers = Vec::new();
        for (name, header) in names {
            let layer = file.layer(name).inspect_err(|error| {
                assert!(matches!(error, Error::Layer { layer, .. } if layer == name), "{error}");
            })?;
            let found = (layer.rows(), layer.cols(), layer.code_bits(), layer.table_element());
            assert_eq!(found, (header.rows, header.cols, header.code_bits, header.table));
            layers.push(layer);
        }
        Ok(layers)
    });
    assert!(largest <= allowance(bytes), "{largest} bytes for a file of {}", bytes.len());
    for layer in loaded.iter().flatten() {
        let dense = layer.dequantize();
        assert_eq!(dense.len(), layer.rows() * layer.cols());
        assert!(dense.iter().all(|v| v.is_finite()));
        let again = write_vectors(&[("again", layer)]).unwrap();
        assert_eq!(&VectorFile::parse("again", &again).unwrap().layer("again").unwrap(), layer);
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

#[test]
fn layers_of_any_shape_come_back() {
    for (rows, cols) in [(1, 1), (2, 2), (3, 31), (1, 63), (2, 64), (3, 65), (1, 2049), (2, 4096)] {
        for code_bits in 2..=6 {
            for element in [TableElement::F16, TableElement::F32] {
                let layer = layer(rows, cols, code_bits, element);
                let bytes = write_vectors(&[("l", &layer)]).unwrap();
                assert_eq!(load(&bytes).unwrap(), [layer]);
            }
        }
    }
}

#[test]
fn the_bytes_mean_what_the_format_says() {
    let mut file = Container::split(&vectors());
    let entry = json!({
        "format": "vector-2d",
        "version": 1,
        "layout": "skew-1",
        "layers": {
            "a": { "rows": 3, "cols": 75, "code_bits": 4, "table": "f16", "bias": true },
            "b": { "rows": 2, "cols": 128, "code_bits": 6, "table": "f32", "bias": false },
        },
    });
    assert_eq!(file.entry(), entry);
    let shape =
        |name: &str| (file.header[name]["dtype"].clone(), file.header[name]["shape"].clone());
    assert_eq!(shape("a.planes"), ("U32".into(), vec![4, 3, 2].into()));
    assert_eq!(shape("a.vectors"), ("F16".into(), vec![3, 16, 2].into()));
    assert_eq!(shape("a.bias"), ("F32".into(), vec![3].into()));
    assert_eq!(shape("b.planes"), ("U32".into(), vec![6, 2, 2].into()));
    assert_eq!(shape("b.vectors"), ("F32".into(), vec![2, 64, 2].into()));
    assert_eq!(file.header.as_object().unwrap().len(), 6);
    // The golden word of the format: its codes for 32 pairs, so for 64 weights.
    let word = write_vectors(&[("w", &layer(1, 64, 6, TableElement::F16))]).unwrap();
    let golden: Vec<u8> = WORD[..6].iter().flat_map(|word| word.to_le_bytes()).collect();
    assert_eq!(Container::split(&word).data("w.planes"), golden);
    // Entry 5 of row 1, second weight: the 43rd number.
    let at = 4 * (2 * (64 + 5) + 1);
    assert_eq!(file.data("b.vectors")[at..at + 4], (139.0f32 / 8.0 - 3.0).to_le_bytes());
}

#[test]
fn the_two_formats_are_told_apart() {
    let error = refused(&sample(), &["vector-2d", "bitplane", "skew-1"]);
    assert!(matches!(error, Error::Format { .. }), "{error}");
    let error = load_packed(&vectors()).unwrap_err();
    assert!(matches!(error, Error::Format { .. }), "{error}");
    assert!(error.to_string().contains("vector-2d"), "{error}");
    assert!(PackedFile::parse("file", &vectors()).is_err());
    let file = Container::split(&vectors());
    for (field, value) in [("version", json!(2)), ("layout", json!("skew-2"))] {
        let bytes = file.with_entry(|entry| {
            entry[field] = value.clone();
            entry["layers"] = json!([]);
        });
        refused(&bytes, &["file", "vector-2d", &value.to_string()]);
    }
}

#[test]
fn every_field_of_a_layer_is_checked_against_the_tensors() {
    let file = Container::split(&vectors());
    let cases: Vec<(&str, Value, &[&str])> = vec![
        ("rows", json!(0), &["layer a", "[4, 0, 2]", "[4, 3, 2]"]),
        ("rows", json!(2), &["layer a", "a.planes", "[4, 2, 2]", "[4, 3, 2]"]),
        ("rows", json!(u64::MAX), &["layer a", "18446744073709551615"]),
        ("rows", json!(-1), &["-1"]),
        ("cols", json!(0), &["layer a", "[4, 3, 0]", "[4, 3, 2]"]),
        ("cols", json!(64), &["layer a", "[4, 3, 1]", "[4, 3, 2]"]),
        ("cols", json!(129), &["layer a", "[4, 3, 3]", "[4, 3, 2]"]),
        ("cols", json!(u64::MAX), &["layer a", "[4, 3, 288230376151711744]"]),
        ("code_bits", json!(0), &["layer a", "code bits = 0", "2..=6"]),
        ("code_bits", json!(1), &["layer a", "code bits = 1", "2..=6"]),
        ("code_bits", json!(3), &["layer a", "[3, 3, 2]", "[4, 3, 2]"]),
        ("code_bits", json!(7), &["layer a", "code bits = 7", "2..=6"]),
        ("code_bits", json!(255), &["layer a", "code bits = 255", "2..=6"]),
        ("code_bits", json!(256), &["256"]),
        ("table", json!("f32"), &["layer a", "a.vectors", "F32 [3, 16, 2]", "F16 [3, 16, 2]"]),
        ("table", json!("f64"), &["f64"]),
        ("bias", json!(1), &["1"]),
        ("surprise", json!(1), &["surprise"]),
    ];
    for (field, value, words) in cases {
        let bytes = file.with_entry(|entry| entry["layers"]["a"][field] = value.clone());
        refused(&bytes, words);
    }
    let bytes = file.with_entry(|entry| entry["layers"]["b"]["bias"] = json!(true));
    refused(&bytes, &["layer b", "b.bias", "not found"]);
    for name in ["a.planes", "a.vectors", "a.bias", "b.vectors"] {
        let bytes = file.with_header(|header| {
            let tensor = header.remove(name).unwrap();
            header.insert("elsewhere".to_owned(), tensor);
        });
        refused(&bytes, &["layer", name, "expected", "not found"]);
    }
    let bytes = file.with_header(|header| header["a.vectors"]["shape"] = json!([3, 2, 16]));
    refused(&bytes, &["layer a", "a.vectors", "F16 [3, 2, 16]", "F16 [3, 16, 2]"]);
}

#[test]
fn a_number_that_is_not_finite_is_found_in_its_layer() {
    let file = Container::split(&vectors());
    let mut broken = file.clone();
    broken.data("a.vectors")[2 * (32 + 9)..][..2].copy_from_slice(&0x7c00u16.to_le_bytes());
    let error = refused(&broken.join(), &["layer a", "f16 vector table", "row 1", "column 9"]);
    let Error::Layer { error, .. } = error else { panic!("{error}") };
    assert!(matches!(*error, Error::Value { row: 1, col: 9, .. }), "{error}");
    let mut broken = file.clone();
    broken.data("a.bias")[4..8].copy_from_slice(&f32::NAN.to_le_bytes());
    refused(&broken.join(), &["layer a", "bias", "row 1"]);
}

#[test]
fn names_are_unique_and_saves_are_whole() {
    let one = layer(2, 32, 3, TableElement::F16);
    let error = write_vectors(&[("twin", &one), ("twin", &one)]).unwrap_err();
    assert!(matches!(error, Error::Format { .. }), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pairs.safetensors");
    save_vectors(&path, &[("l", &one)]).unwrap();
    assert_eq!(load(&std::fs::read(&path).unwrap()).unwrap(), std::slice::from_ref(&one));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let missing = folder.path().join("missing/pairs.safetensors");
    let error = save_vectors(&missing, &[("l", &one)]).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    let bytes = vectors();
    let error = VectorFile::parse("file", &bytes).unwrap().layer("c").unwrap_err();
    assert!(matches!(&error, Error::Layer { layer, .. } if layer == "c"), "{error}");
}

#[test]
fn a_file_cut_short_anywhere_is_an_error() {
    let bytes = vectors();
    for length in 0..bytes.len() {
        let error = load(&bytes[..length]).unwrap_err();
        assert!(matches!(error, Error::Format { .. }), "{length}: {error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    // The loader's own assertions are the test: no panic, no large allocation, sound layers.
    #[test]
    fn overwritten_bytes(
        damage in proptest::collection::vec((any::<bool>(), any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = vectors();
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
        let mut bytes = vectors();
        let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let digits: Vec<usize> = (8..header).filter(|&at| bytes[at].is_ascii_digit()).collect();
        for (at, digit) in damage {
            bytes[digits[at.index(digits.len())]] = digit;
        }
        let _ = load(&bytes);
    }
}
