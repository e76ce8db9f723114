//! Headers that are well-formed and wrong: every lie is told apart, with expected and found.

use crate::container::Container;
use crate::layers::Wanted;
use crate::{load_packed, load_reference, sample};
use fewbytes::Error;
use fewbytes::linear::file::{DenseFile, write_reference};
use serde_json::{Value, json};

/// The error is one of the loaders' kinds and its text has all of `words`.
fn assert_says(error: &Error, words: &[&str]) {
    let inner = match error {
        Error::Layer { error: source, .. } => source,
        other => other,
    };
    let typed = matches!(
        inner,
        Error::Format { .. }
            | Error::Shape { .. }
            | Error::Range { .. }
            | Error::Value { .. }
            | Error::Alignment { .. }
    );
    let text = error.to_string();
    assert!(typed, "{inner:?}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text:?}");
    }
}

#[test]
fn every_field_of_a_layer_is_checked_against_the_tensors() {
    let file = Container::split(&sample());
    // Layer "a" is 3 x 40 with 4 planes of 2 words, widths 2 to 4, f16, biased.
    let big = 1u64 << 62;
    let cases: Vec<(&str, Value, &[&str])> = vec![
        ("rows", json!(0), &["layer a", "[4, 0, 2]", "[4, 3, 2]"]),
        ("rows", json!(2), &["layer a", "a.planes", "[4, 2, 2]", "[4, 3, 2]"]),
        ("rows", json!(big), &["layer a", "4611686018427387904", "[4, 3, 2]"]),
        ("rows", json!(u64::MAX), &["layer a", "18446744073709551615", "[4, 3, 2]"]),
        ("rows", json!(-1), &["-1"]),
        ("rows", json!(3.5), &["3.5"]),
        ("rows", json!("3"), &["\"3\""]),
        ("cols", json!(0), &["layer a", "[4, 3, 0]", "[4, 3, 2]"]),
        ("cols", json!(32), &["layer a", "[4, 3, 1]", "[4, 3, 2]"]),
        ("cols", json!(65), &["layer a", "[4, 3, 3]", "[4, 3, 2]"]),
        ("cols", json!(u64::MAX), &["layer a", "576460752303423488", "[4, 3, 2]"]),
        ("seed_bits", json!(0), &["layer a", "seed bits = 0", "2..=4"]),
        ("seed_bits", json!(1), &["layer a", "seed bits = 1", "2..=4"]),
        // A seed above the narrowest table: that table could never be asked for.
        ("seed_bits", json!(3), &["layer a", "table width = 2", "3..=4"]),
        ("seed_bits", json!(5), &["layer a", "seed bits = 5", "2..=4"]),
        ("seed_bits", json!(255), &["layer a", "seed bits = 255", "2..=4"]),
        ("seed_bits", json!(256), &["256"]),
        ("parent_bits", json!(0), &["layer a", "parent bits = 0", "2..=8"]),
        ("parent_bits", json!(3), &["layer a", "[3, 3, 2]", "[4, 3, 2]"]),
        ("parent_bits", json!(5), &["layer a", "[5, 3, 2]", "[4, 3, 2]"]),
        ("parent_bits", json!(9), &["layer a", "parent bits = 9", "2..=8"]),
        ("parent_bits", json!(255), &["layer a", "parent bits = 255", "2..=8"]),
        ("widths", json!([]), &["layer a", "at least one width", "none"]),
        ("widths", json!([2, 3, 4, 5]), &["layer a", "table width = 5", "2..=4"]),
        ("widths", json!([0]), &["layer a", "table width = 0", "2..=4"]),
        ("widths", json!([255]), &["layer a", "table width = 255", "2..=4"]),
        // Two entries of one width, or the wrong order, are not what a writer writes.
        ("widths", json!([2, 3, 3]), &["layer a", "ascending", "2, 3, 3"]),
        ("widths", json!([4, 2]), &["layer a", "ascending", "4, 2"]),
        ("table", json!("f32"), &["layer a", "a.table2", "F32 [3, 4]", "F16 [3, 4]"]),
        ("table", json!("f64"), &["f64"]),
        ("bias", json!(1), &["1"]),
        ("surprise", json!(1), &["surprise"]),
    ];
    for (field, value, words) in cases {
        let bytes = file.with_entry(|entry| entry["layers"]["a"][field] = value.clone());
        let error = load_packed(&bytes).expect_err(&format!("{field} = {value}"));
        assert_says(&error, words);
    }
}

#[test]
fn a_bias_that_is_claimed_has_to_be_there() {
    let file = Container::split(&sample());
    let bytes = file.with_entry(|entry| entry["layers"]["b"]["bias"] = json!(true));
    assert_says(&load_packed(&bytes).unwrap_err(), &["layer b", "b.bias", "expected", "not found"]);
}

#[test]
fn a_file_of_another_format_version_or_layout_is_told_apart() {
    let file = Container::split(&sample());
    let ours = ["bitplane", "1", "skew-1"];
    for (field, value, found) in [
        ("format", json!("residual"), "residual"),
        ("version", json!(0), "0"),
        ("version", json!(2), "2"),
        ("version", json!(u32::MAX), "4294967295"),
        ("version", json!(1e9), "1000000000"),
        ("layout", json!("skew-2"), "skew-2"),
        ("layout", json!(null), "null"),
    ] {
        // A later version may change everything else; it must still be recognized as one.
        let bytes = file.with_entry(|entry| {
            entry[field] = value.clone();
            entry["layers"] = json!([]);
        });
        let error = load_packed(&bytes).unwrap_err();
        assert_says(&error, &["file", found]);
        if value.is_string() || value.is_u64() {
            assert_says(&error, &ours);
        }
    }
    for field in ["format", "version", "layout", "layers"] {
        let bytes = file.with_entry(|entry| drop(entry.as_object_mut().unwrap().remove(field)));
        assert_says(&load_packed(&bytes).unwrap_err(), &["file", field]);
    }
}

#[test]
fn a_file_without_our_metadata_is_told_apart() {
    let file = Container::split(&sample());
    for metadata in [None, Some(json!({})), Some(json!({ "other": "x" }))] {
        let bytes = file.with_header(|header| {
            header.remove("__metadata__");
            header.extend(metadata.map(|value| ("__metadata__".to_owned(), value)));
        });
        assert_says(&load_packed(&bytes).unwrap_err(), &["fewbytes", "expected", "not found"]);
    }
    for text in ["", "x", "[]", "null", "{}", "{\"format\":"] {
        let bytes = file.with_header(|h| h["__metadata__"]["fewbytes"] = json!(text));
        assert_says(&load_packed(&bytes).unwrap_err(), &["file", "fewbytes"]);
    }
    let deep = "[".repeat(100_000);
    let bytes = file.with_header(|h| h["__metadata__"]["fewbytes"] = json!(deep));
    assert_says(&load_packed(&bytes).unwrap_err(), &["file", "fewbytes"]);
}

#[test]
fn a_missing_tensor_is_named() {
    let file = Container::split(&sample());
    for name in ["a.planes", "a.table2", "a.table4", "a.bias", "b.table6"] {
        let bytes = file.with_header(|header| {
            let tensor = header.remove(name).unwrap();
            header.insert("elsewhere".to_owned(), tensor);
        });
        let error = load_packed(&bytes).unwrap_err();
        assert_says(&error, &["layer", name, "expected", "not found"]);
    }
}

#[test]
fn a_tensor_of_another_type_or_shape_is_told_apart() {
    let file = Container::split(&sample());
    for (name, dtype, expected) in [
        ("a.planes", "I32", "U32 [4, 3, 2]"),
        ("a.table3", "BF16", "F16 [3, 8]"),
        ("b.table3", "U32", "F32 [2, 8]"),
        ("a.bias", "I32", "F32 [3]"),
    ] {
        let bytes = file.with_header(|header| header[name]["dtype"] = json!(dtype));
        assert_says(&load_packed(&bytes).unwrap_err(), &[name, expected, dtype]);
    }
    for (name, shape, found) in [
        ("a.planes", json!([3, 4, 2]), "U32 [3, 4, 2]"),
        ("a.planes", json!([24]), "U32 [24]"),
        ("a.planes", json!([4, 3, 2, 1]), "U32 [4, 3, 2, 1]"),
        ("a.table3", json!([8, 3]), "F16 [8, 3]"),
        ("a.bias", json!([3, 1]), "F32 [3, 1]"),
    ] {
        let bytes = file.with_header(|header| header[name]["shape"] = shape);
        assert_says(&load_packed(&bytes).unwrap_err(), &["layer a", name, found]);
    }
}

#[test]
fn a_number_that_is_not_finite_is_found_in_its_layer() {
    let file = Container::split(&sample());
    let half = [0x7e00u16, 0x7c00, 0xfc00].map(u16::to_le_bytes);
    let single = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY].map(f32::to_le_bytes);
    for (half, single) in half.into_iter().zip(single) {
        let mut broken = file.clone();
        broken.data("a.table3")[2 * (8 + 5)..][..2].copy_from_slice(&half);
        assert_says(
            &load_packed(&broken.join()).unwrap_err(),
            &["layer a", "f16 table 3", "row 1", "column 5", "finite"],
        );
        let mut broken = file.clone();
        broken.data("b.table6")[4 * (64 + 63)..].copy_from_slice(&single);
        assert_says(
            &load_packed(&broken.join()).unwrap_err(),
            &["layer b", "f32 table 6", "row 1", "column 63", "finite"],
        );
        let mut broken = file.clone();
        broken.data("a.bias")[4..8].copy_from_slice(&single);
        assert_says(&load_packed(&broken.join()).unwrap_err(), &["layer a", "bias", "row 1"]);
        let mut broken = Container::split(&published());
        broken.data("l.lut3")[2..4].copy_from_slice(&half);
        assert_says(&load_reference(&broken.join()).unwrap_err(), &["layer l", "table 3", "row 0"]);
    }
}

fn published() -> Vec<u8> {
    let layer = Wanted { bias: true, ..Wanted::new(2, 64, 3, 4) }.layer();
    write_reference(&[("l", &layer)]).unwrap()
}

/// A file in the published layout whose `qweight` has this shape.
fn qweight(shape: &[usize]) -> Vec<u8> {
    let mut file = Container::new();
    file.push("l.qweight", "I32", shape, &vec![0; 4 * shape.iter().product::<usize>()]);
    file.push("l.lut3", "F16", &[2, 8], &[0; 32]);
    file.join()
}

#[test]
fn the_published_layout_is_checked_as_strictly() {
    for (shape, words) in [
        (&[1, 2, 2][..], &["= 1 ", "2..=8"][..]),
        (&[9, 2, 2], &["= 9 ", "2..=8"]),
        (&[300, 2, 2], &["= 300 ", "2..=8"]),
        (&[0, 2, 2], &["= 0 ", "2..=8"]),
        (&[4, 3, 2], &["lut3", "F16 [3, 8]", "F16 [2, 8]"]),
        (&[4, 2, 0], &["2 x 0"]),
        (&[4, 16], &["[4, 16]", "[parent_bits, rows, cols / 32]"]),
    ] {
        let error = load_reference(&qweight(shape)).unwrap_err();
        assert_says(&error, words);
        assert_says(&error, &["layer l"]);
    }
    // No elements at all, so that no size of the file betrays the huge dimensions.
    for shape in [[4usize, 0, 1 << 58], [4, 1 << 60, 0], [4, 0, usize::MAX / 32]] {
        let mut file = Container::new();
        file.push("l.qweight", "I32", &shape, &[]);
        assert_says(&load_reference(&file.join()).unwrap_err(), &["layer l"]);
    }
    let file = Container::split(&published());
    for (name, dtype) in [("l.qweight", "U32"), ("l.lut4", "I16"), ("l.bias", "U32")] {
        let bytes = file.with_header(|header| header[name]["dtype"] = json!(dtype));
        assert_says(&load_reference(&bytes).unwrap_err(), &["layer l", name, dtype]);
    }
    let bytes = file.with_header(|header| {
        for bits in [3, 4] {
            let table = header.remove(&format!("l.lut{bits}")).unwrap();
            header.insert(format!("other{bits}"), table);
        }
    });
    assert_says(&load_reference(&bytes).unwrap_err(), &["layer l", "at least one width"]);
    assert_says(&load_reference(&sample()).unwrap_err(), &["file", "*.qweight expected", "none"]);
}

#[test]
fn a_dense_tensor_that_cannot_be_read_is_told_apart() {
    let mut file = Container::new();
    file.push("ids", "I64", &[2, 2], &[0; 32]);
    file.push("empty", "F32", &[0, 7], &[]);
    let bytes = file.join();
    let dense = DenseFile::parse("file", &bytes).unwrap();
    assert_eq!(dense.matrices(), []);
    let error = dense.values("ids").unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    assert!(error.to_string().contains("I64"), "{error}");
    assert_says(&dense.values("gone").unwrap_err(), &["gone"]);
    assert!(dense.values("empty").unwrap().is_empty());
}
