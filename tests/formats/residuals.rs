//! Files of residuals: round trips, the bytes' meaning, and everything a hostile one can be.

use crate::allowance;
use crate::container::Container;
use crate::largest::largest_request;
use crate::sample;
use fewbytes::Error;
use fewbytes::linear::file::{
    PackedFile, ResidualEntry, ResidualFile, save_residuals, write_residuals,
};
use fewbytes::linear::{ResidualElement, ResidualLayer, ResidualLayout};
use half::f16;
use proptest::prelude::*;
use serde_json::{Value, json};

/// A residual whose every code and scale is given by a formula.
fn layer(rows: usize, cols: usize, element: ResidualElement) -> ResidualLayer {
    let layout = ResidualLayout::new(rows, cols, element).unwrap();
    // Of halves, those from 1 to 2.
    let code = |at: usize| match element {
        ResidualElement::F16 => 0x3c00 | (37 * at % 1024) as u16,
        _ => (37 * at + 11) as u16 & (u16::MAX >> (16 - element.bits())),
    };
    let codes: Vec<u16> = (0..rows * cols).map(code).collect();
    let rows = if element.scaled() { rows } else { 0 };
    let scales: Vec<f16> = (0..rows).map(|row| f16::from_f32(row as f32 / 8.0 + 1.0)).collect();
    ResidualLayer::from_codes(layout, &codes, &scales).unwrap()
}

/// "a" is 3 x 5 of 4 bits with thresholds and norms, "b" 70 x 2 of f16 with neither.
fn residuals() -> Vec<u8> {
    let (a, b) = (layer(3, 5, ResidualElement::Int4), layer(70, 2, ResidualElement::F16));
    let norms = a.channel_norms();
    let thresholds = [4.0, 2.5, 2.5, 1.0, 0.0];
    let a = ResidualEntry {
        thresholds: Some(&thresholds),
        norms: Some(&norms),
        ..ResidualEntry::new("a", &a)
    };
    write_residuals(Some("by hand"), &[a, ResidualEntry::new("b", &b)]).unwrap()
}

type Loaded = (ResidualLayer, Option<Vec<f32>>, Option<Vec<f16>>);

/// Loads every layer of a file that may be damaged; the first error, if any.
fn load(bytes: &[u8]) -> Result<Vec<Loaded>, Error> {
    let (loaded, largest) = largest_request(|| {
        let file = ResidualFile::parse("file", bytes)?;
        let names: Vec<_> = file.layers().map(|(name, header)| (name, *header)).collect();
        let mut layers = Vec::new();
        for (name, header) in names {
            let one = || Ok((file.layer(name)?, file.thresholds(name)?, file.norms(name)?));
            let loaded: Loaded = one().inspect_err(|error| {
                assert!(matches!(error, Error::Layer { layer, .. } if layer == name), "{error}");
            })?;
            let (layer, thresholds, norms) = &loaded;
            let found = (layer.rows(), layer.cols(), layer.element());
            assert_eq!(found, (header.rows, header.cols, header.element));
            let found = (thresholds.is_some(), norms.is_some());
            assert_eq!(found, (header.thresholds, header.norms));
            layers.push(loaded);
        }
        Ok(layers)
    });
    assert!(largest <= allowance(bytes), "{largest} bytes for a file of {}", bytes.len());
    for (layer, thresholds, norms) in loaded.iter().flatten() {
        let dense = layer.dequantize();
        assert_eq!(dense.len(), layer.rows() * layer.cols());
        assert!(dense.iter().all(|v| v.is_finite()));
        let thresholds = thresholds.as_deref();
        assert!(thresholds.is_none_or(|t| t.is_sorted_by(|a, b| a >= b && *b >= 0.0)));
        let entry = ResidualEntry {
            thresholds,
            norms: norms.as_deref(),
            ..ResidualEntry::new("again", layer)
        };
        let again = write_residuals(None, &[entry]).unwrap();
        let again = ResidualFile::parse("again", &again).unwrap();
        assert_eq!(&again.layer("again").unwrap(), layer);
        assert_eq!(again.thresholds("again").unwrap().as_deref(), thresholds);
        assert_eq!(&again.norms("again").unwrap(), norms);
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

/// [`residuals`] as they were when the format was fixed. The bytes may never change under version 1:
/// files of users would stop loading, or load as something else.
const GOLDEN: &[u8] = include_bytes!("../data/golden_v1.residual.safetensors");

#[test]
fn the_golden_file_is_still_what_is_written() {
    let [golden, now] = [GOLDEN, &residuals()].map(|bytes| load(bytes).unwrap());
    assert_eq!(golden, now);
    let (mut golden, mut now) = (Container::split(GOLDEN), Container::split(&residuals()));
    assert_eq!(golden.entry(), now.entry());
    for name in ["a.residual", "a.scales", "a.thresholds", "a.norms", "b.residual"] {
        assert_eq!(golden.data(name), now.data(name), "{name}");
    }
}

#[test]
fn layers_of_any_shape_come_back() {
    for (rows, cols) in [(1, 1), (2, 2), (65, 3), (129, 1), (256, 2), (257, 3), (513, 2)] {
        for element in ResidualElement::ALL {
            let layer = layer(rows, cols, element);
            let bytes = write_residuals(None, &[ResidualEntry::new("l", &layer)]).unwrap();
            assert_eq!(load(&bytes).unwrap(), [(layer, None, None)]);
        }
    }
    assert_eq!(load(&write_residuals(None, &[]).unwrap()).unwrap(), []);
}

#[test]
fn the_bytes_mean_what_the_format_says() {
    let mut file = Container::split(&residuals());
    let entry = json!({
        "format": "residual",
        "version": 1,
        "layout": "channel-1",
        "settings": "by hand",
        "layers": {
            "a": { "rows": 3, "cols": 5, "element": "int4", "thresholds": true, "norms": true },
            "b": { "rows": 70, "cols": 2, "element": "f16", "thresholds": false, "norms": false },
        },
    });
    assert_eq!(file.entry(), entry);
    let shape =
        |name: &str| (file.header[name]["dtype"].clone(), file.header[name]["shape"].clone());
    assert_eq!(shape("a.residual"), ("U32".into(), vec![5, 32].into()));
    assert_eq!(shape("a.scales"), ("F16".into(), vec![256].into()));
    assert_eq!(shape("a.thresholds"), ("F32".into(), vec![5].into()));
    assert_eq!(shape("a.norms"), ("F16".into(), vec![5].into()));
    assert_eq!(shape("b.residual"), ("U32".into(), vec![2, 64].into()));
    assert_eq!(file.header.as_object().unwrap().len(), 6);
    // Channel 2 of "a" has codes 37 * {2, 7, 12} + 11 of 4 bits: 5, 14, 7.
    assert_eq!(file.data("a.residual")[2 * 128..2 * 128 + 4], [0xe5, 0x07, 0, 0]);
    // Output 69 of channel 1 of "b" is the half of 37 * 139 mod 1024, in word 34 from bit 16.
    let half = 0x3c00u16 | (37 * 139 % 1024);
    assert_eq!(file.data("b.residual")[256 + 4 * 34 + 2..][..2], half.to_le_bytes());
    assert_eq!(file.data("a.scales")[4..6], f16::from_f32(1.25).to_le_bytes());
    assert_eq!(file.data("a.thresholds")[4..8], 2.5f32.to_le_bytes());
    // Channel 0: q is 3, -4 and 5 with scales 1, 9/8 and 10/8.
    let norm = (9.0f64 + (4.0f64 * 1.125).powi(2) + (5.0f64 * 1.25).powi(2)).sqrt();
    assert_eq!(file.data("a.norms")[..2], f16::from_f64(norm).to_le_bytes());

    let bytes = residuals();
    let file = ResidualFile::parse("file", &bytes).unwrap();
    assert_eq!(file.settings(), Some("by hand"));
    assert_eq!(file.thresholds("a").unwrap().unwrap(), [4.0, 2.5, 2.5, 1.0, 0.0]);
    assert_eq!((file.thresholds("b").unwrap(), file.norms("b").unwrap()), (None, None));
}

/// The example of `docs/residual_file.md`.
#[test]
fn the_documented_example_is_what_is_written() {
    let layout = ResidualLayout::new(3, 2, ResidualElement::Int4).unwrap();
    let layer = ResidualLayer::from_codes(layout, &[1, 15, 8, 0, 10, 7], &[f16::ONE; 3]).unwrap();
    let bytes = write_residuals(None, &[ResidualEntry::new("l", &layer)]).unwrap();
    let mut expected = [0; 256];
    (expected[0], expected[1], expected[128], expected[129]) = (0x81, 0x0a, 0x0f, 0x07);
    assert_eq!(Container::split(&bytes).data("l.residual"), expected);
}

#[test]
fn formats_are_told_apart() {
    let error = refused(&sample(), &["residual", "bitplane", "channel-1", "skew-1"]);
    assert!(matches!(error, Error::Format { .. }), "{error}");
    let Err(error) = PackedFile::parse("file", &residuals()) else { panic!("accepted") };
    assert!(error.to_string().contains("channel-1"), "{error}");
    let file = Container::split(&residuals());
    for (field, value) in [("version", json!(2)), ("layout", json!("channel-2"))] {
        let bytes = file.with_entry(|entry| {
            entry[field] = value.clone();
            entry["layers"] = json!([]);
        });
        refused(&bytes, &["file", "channel-1", &value.to_string()]);
    }
    let bytes = file.with_header(|header| {
        header.remove("__metadata__").unwrap();
    });
    refused(&bytes, &["file", "fewbytes", "not found"]);
}

#[test]
fn every_field_of_a_layer_is_checked_against_the_tensors() {
    let file = Container::split(&residuals());
    let cases: Vec<(&str, Value, &[&str])> = vec![
        ("rows", json!(0), &["layer a", "rows and cols from 1", "0 x 5"]),
        ("rows", json!(257), &["layer a", "a.residual", "[5, 64]", "[5, 32]"]),
        ("rows", json!(2), &["layer a", "scale", "row 2", "padding"]),
        ("rows", json!(u64::MAX), &["layer a", "words of a residual"]),
        ("rows", json!(1u64 << 33), &["layer a", "words of a residual"]),
        ("rows", json!(1u64 << 31), &["layer a", "[5, 268435456]", "[5, 32]"]),
        ("rows", json!(-1), &["-1"]),
        ("cols", json!(0), &["layer a", "3 x 0"]),
        ("cols", json!(6), &["layer a", "a.residual", "[6, 32]", "[5, 32]"]),
        ("cols", json!(u64::MAX), &["layer a", "words of a residual"]),
        ("element", json!("int8"), &["layer a", "a.scales", "[128]", "[256]"]),
        ("element", json!("int2"), &["layer a", "a.scales", "[512]", "[256]"]),
        ("element", json!("int3"), &["int3"]),
        ("element", json!("Int4"), &["Int4"]),
        ("thresholds", json!(0), &["0"]),
        ("surprise", json!(1), &["surprise"]),
    ];
    for (field, value, words) in cases {
        let bytes = file.with_entry(|entry| entry["layers"]["a"][field] = value.clone());
        refused(&bytes, words);
    }
    for field in ["rows", "cols", "element", "thresholds", "norms"] {
        let bytes = file.with_entry(|entry| {
            entry["layers"]["a"].as_object_mut().unwrap().remove(field).unwrap();
        });
        refused(&bytes, &["file", field]);
    }
    for field in ["thresholds", "norms"] {
        let bytes = file.with_entry(|entry| entry["layers"]["b"][field] = json!(true));
        refused(&bytes, &["layer b", &format!("b.{field}"), "not found"]);
    }
    for name in ["a.residual", "a.scales", "a.thresholds", "a.norms", "b.residual"] {
        let bytes = file.with_header(|header| {
            let tensor = header.remove(name).unwrap();
            header.insert("elsewhere".to_owned(), tensor);
        });
        refused(&bytes, &["layer", name, "expected", "not found"]);
    }
    for (name, dtype) in [("a.residual", "I32"), ("a.scales", "BF16"), ("a.norms", "BF16")] {
        let bytes = file.with_header(|header| header[name]["dtype"] = json!(dtype));
        refused(&bytes, &["layer a", name, dtype]);
    }
    let bytes = file.with_header(|header| header["a.residual"]["shape"] = json!([32, 5]));
    refused(&bytes, &["layer a", "a.residual", "U32 [32, 5]", "U32 [5, 32]"]);
}

#[test]
fn numbers_that_cannot_be_are_found_in_their_layer() {
    let with = |tensor: &str, at: usize, bytes: &[u8]| {
        let mut file = Container::split(&residuals());
        file.data(tensor)[at..at + bytes.len()].copy_from_slice(bytes);
        file.join()
    };
    let half = |value: f32| f16::from_f32(value).to_le_bytes();
    let cases: [(&str, usize, &[u8], &[&str]); 10] = [
        ("a.scales", 4, &half(f32::INFINITY), &["layer a", "scale", "row 2", "inf"]),
        ("a.scales", 2, &half(-1.0), &["layer a", "scale", "row 1", "-1"]),
        ("a.scales", 6, &half(1.0), &["layer a", "scale", "row 3", "padding"]),
        // Places of output 3, in the upper half of the second byte, and of a padding word.
        ("a.residual", 128 + 1, &[0x1f], &["layer a", "row 3, column 1", "padding"]),
        ("a.residual", 127, &[0x80], &["layer a", "column 0", "padding"]),
        ("b.residual", 256 + 2 * 69, &half(f32::NAN), &["layer b", "row 69, column 1", "finite"]),
        ("a.thresholds", 4, &4.5f32.to_le_bytes(), &["layer a", "threshold", "column 1", "4.5"]),
        ("a.thresholds", 0, &f32::INFINITY.to_le_bytes(), &["layer a", "threshold", "column 0"]),
        ("a.thresholds", 16, &f32::NAN.to_le_bytes(), &["layer a", "threshold", "column 4"]),
        ("a.norms", 6, &half(-0.5), &["layer a", "norm of a channel", "column 3", "-0.5"]),
    ];
    for (tensor, at, bytes, words) in cases {
        let error = refused(&with(tensor, at, bytes), words);
        let Error::Layer { error, .. } = error else { panic!("{error}") };
        assert!(matches!(*error, Error::Value { .. }), "{error}");
    }
    refused(&with("a.thresholds", 16, &(-0.5f32).to_le_bytes()), &["threshold", "column 4"]);
    refused(&with("a.norms", 0, &half(f32::NAN)), &["layer a", "norm of a channel", "column 0"]);
    // Thresholds and norms of one layer do not keep others, or its residual, from being read.
    let bytes = with("a.norms", 0, &half(f32::NAN));
    let file = ResidualFile::parse("file", &bytes).unwrap();
    file.layer("a").unwrap();
    file.thresholds("a").unwrap();
    file.layer("b").unwrap();
}

#[test]
fn what_no_reader_takes_is_not_written() {
    let layer = layer(3, 2, ResidualElement::Int4);
    let entry = ResidualEntry::new("l", &layer);
    let write = |entry| write_residuals(None, &[entry]).unwrap_err().to_string();
    let thresholds = |thresholds| write(ResidualEntry { thresholds: Some(thresholds), ..entry });
    let text = thresholds(&[1.0]);
    assert!(text.contains("layer l: length of the thresholds: expected 2, found 1"), "{text}");
    let text = thresholds(&[1.0, 2.0]);
    assert!(text.contains("layer l: threshold at row 0, column 1 is 2"), "{text}");
    let text = write(ResidualEntry { norms: Some(&[f16::ONE; 3]), ..entry });
    assert!(text.contains("layer l: length of the norms: expected 2, found 3"), "{text}");
    let text = write(ResidualEntry { norms: Some(&[f16::ONE, f16::NAN]), ..entry });
    assert!(text.contains("layer l: norm of a channel at row 0, column 1"), "{text}");
    let error = write_residuals(None, &[entry, entry]).unwrap_err();
    assert!(matches!(error, Error::Format { .. }), "{error}");
}

#[test]
fn saves_are_whole() {
    let layer = layer(300, 4, ResidualElement::Int8);
    let entry = ResidualEntry::new("l", &layer);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("residual.safetensors");
    save_residuals(&path, Some("s"), &[entry]).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes, write_residuals(Some("s"), &[entry]).unwrap());
    assert_eq!(load(&bytes).unwrap()[0].0, layer);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let missing = folder.path().join("missing/residual.safetensors");
    let error = save_residuals(&missing, None, &[entry]).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    let file = ResidualFile::parse("file", &bytes).unwrap();
    for error in [
        file.layer("c").unwrap_err(),
        file.thresholds("c").unwrap_err(),
        file.norms("c").unwrap_err(),
    ] {
        assert!(matches!(&error, Error::Layer { layer, .. } if layer == "c"), "{error}");
    }
}

#[test]
fn a_file_cut_short_anywhere_is_an_error() {
    let bytes = residuals();
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
        let mut bytes = residuals();
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
        let mut bytes = residuals();
        let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let digits: Vec<usize> = (8..header).filter(|&at| bytes[at].is_ascii_digit()).collect();
        for (at, digit) in damage {
            bytes[digits[at.index(digits.len())]] = digit;
        }
        let _ = load(&bytes);
    }
}
