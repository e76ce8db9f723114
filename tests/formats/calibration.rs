//! Files of calibration inputs: what is added up, and everything they may not be.

use crate::container::Container;
use crate::largest::largest_request;
use fewbytes::Error;
use fewbytes::linear::file::{Batch, CalibrationFile, CalibrationShape};
use fewbytes::linear::{Hessian, HessianAccumulator};
use half::{bf16, f16};
use proptest::prelude::*;
use serde_json::json;

const TOKENS: usize = 5;
const INPUTS: usize = 3;
const GROUPS: usize = 6;

/// Numbers that every element type holds exactly.
fn x() -> Vec<f32> {
    (0..TOKENS * INPUTS).map(|i| ((7 * i + 3) % 16) as f32 / 8.0 - 1.0).collect()
}

fn s() -> Vec<f32> {
    (0..TOKENS * GROUPS).map(|i| ((5 * i + 1) % 8) as f32 / 4.0).collect()
}

fn stored(dtype: &str, values: &[f32]) -> Vec<u8> {
    match dtype {
        "F32" => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        "F16" => values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
        "BF16" => values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect(),
        _ => vec![0; 8 * values.len()],
    }
}

/// One layer with sensitivities, and one without.
fn sample(x_dtype: &str, s_dtype: &str) -> Container {
    let mut file = Container::new();
    file.push("up.x", x_dtype, &[TOKENS, INPUTS], &stored(x_dtype, &x()));
    file.push("up.s", s_dtype, &[TOKENS, GROUPS], &stored(s_dtype, &s()));
    file.push("down.x", x_dtype, &[INPUTS, TOKENS], &stored(x_dtype, &x()));
    file.set_entry(
        &json!({ "format": "calibration", "version": 1, "settings": "words", "layers": {
            "up": { "inputs": INPUTS, "groups": GROUPS, "tokens": TOKENS },
            "down": { "inputs": TOKENS, "groups": 0, "tokens": INPUTS },
        }}),
    );
    file
}

fn accumulated(name: &str, inputs: usize, x: &[f32], s: Option<(&[f32], usize)>) -> Hessian {
    let mut sums = HessianAccumulator::new(name, inputs, s.map_or(1, |s| s.1)).unwrap();
    sums.add_batch(x, s.map(|s| s.0)).unwrap();
    sums.finish().unwrap()
}

/// Everything in a file that may be damaged; the first error, if any.
fn load(bytes: &[u8]) -> Result<Vec<Hessian>, Error> {
    let (loaded, largest) = largest_request(|| -> Result<Vec<Hessian>, Error> {
        let file = CalibrationFile::parse("file", bytes)?;
        file.names().map(|name| file.accumulate(name, 1)).collect()
    });
    // The sums of a layer take more than its inputs: whole tiles, in f64.
    assert!(largest <= (1 << 20) + 64 * bytes.len(), "{largest} bytes of {}", bytes.len());
    loaded
}

fn refused(bytes: &[u8], words: &[&str]) {
    let text = load(bytes).expect_err("an error").to_string();
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text:?}");
    }
}

#[test]
fn every_element_type_gives_the_sums_of_its_numbers() {
    for x_dtype in ["F32", "F16", "BF16"] {
        for s_dtype in ["F32", "BF16"] {
            let bytes = sample(x_dtype, s_dtype).join();
            let file = CalibrationFile::parse("file", &bytes).unwrap();
            assert_eq!(file.settings(), Some("words"));
            assert_eq!(file.names().collect::<Vec<_>>(), ["down", "up"]);
            let shape = CalibrationShape { inputs: INPUTS, groups: GROUPS, tokens: TOKENS };
            assert_eq!((file.shape("up"), file.shape("none")), (Some(shape), None));
            let expected = accumulated("up", INPUTS, &x(), Some((&s(), GROUPS)));
            assert_eq!(file.accumulate("up", GROUPS).unwrap(), expected, "{x_dtype} {s_dtype}");
            let expected = accumulated("down", TOKENS, &x(), None);
            assert_eq!(file.accumulate("down", 1).unwrap(), expected, "{x_dtype} {s_dtype}");
        }
    }
}

#[test]
fn coarser_groups_are_means_of_neighbours() {
    let bytes = sample("F32", "BF16").join();
    let file = CalibrationFile::parse("file", &bytes).unwrap();
    let fine = file.accumulate("up", GROUPS).unwrap();
    for groups in [1, 2, 3, 6] {
        let share = GROUPS / groups;
        let means: Vec<f32> =
            s().chunks_exact(share).map(|s| s.iter().sum::<f32>() / share as f32).collect();
        let expected = accumulated("up", INPUTS, &x(), Some((&means, groups)));
        let found = file.accumulate("up", groups).unwrap();
        assert_eq!(found, expected, "{groups}");
        let merged = fine.merge(groups).unwrap();
        let pairs = found.packed().iter().zip(merged.packed());
        pairs.for_each(|(a, b)| assert!((a - b).abs() < 1e-5, "{groups}: {a} {b}"));
    }
    for (layer, groups, words) in [
        ("up", 4, "layer up: groups: expected a divisor of 6: 1, 2, 3, 6, found 4"),
        ("up", 12, "expected a divisor of 6: 1, 2, 3, 6, found 12"),
        ("up", 0, "found 0"),
        ("down", 2, "layer down: groups: expected 1, there are no sensitivities, found 2"),
        ("none", 1, "layer none: layer: the file has no layer of this name"),
    ] {
        let text = file.accumulate(layer, groups).unwrap_err().to_string();
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn many_tokens_come_in_several_pieces() {
    let (inputs, tokens) = (1 << 12, (1 << 11) + 3);
    let values: Vec<f32> = (0..inputs * tokens).map(|i| (i % 251) as f32).collect();
    let weights: Vec<f32> = (0..tokens).map(|t| t as f32).collect();
    let mut file = Container::new();
    file.push("l", "F32", &[tokens, inputs], &stored("F32", &values));
    file.push("l.s", "F32", &[tokens, 1], &stored("F32", &weights));
    let bytes = file.join();
    let file = CalibrationFile::parse("file", &bytes).unwrap();
    let batches: Vec<Batch> = file.batches("l", 1).unwrap().map(Result::unwrap).collect();
    assert_eq!(batches.len(), 3);
    assert_eq!(batches.iter().flat_map(|b| &b.x).copied().collect::<Vec<_>>(), values);
    let s: Vec<f32> = batches.iter().flat_map(|b| b.s.clone().unwrap()).collect();
    assert_eq!(s, weights);
}

#[test]
fn plain_activations_are_read_by_name_with_and_without_x() {
    let mut file = Container::new();
    let pieces = [1, TOKENS, INPUTS];
    file.push("model.up.x", "F16", &pieces, &stored("F16", &x()));
    file.push("model.up.s", "F32", &[1, TOKENS, GROUPS], &stored("F32", &s()));
    file.push("down", "F32", &[TOKENS, INPUTS], &stored("F32", &x()));
    file.push("ids", "I64", &[1, TOKENS], &[0; 8 * TOKENS]);
    file.push("mean", "F32", &[INPUTS], &[0; 4 * INPUTS]);
    let bytes = file.join();
    let read = CalibrationFile::parse("file", &bytes).unwrap();
    assert_eq!(read.names().collect::<Vec<_>>(), ["down", "model.up"]);
    assert_eq!(read.settings(), None);
    let expected = accumulated("model.up", INPUTS, &x(), Some((&s(), GROUPS)));
    assert_eq!(read.accumulate("model.up", GROUPS).unwrap(), expected);
    assert_eq!(read.accumulate("down", 1).unwrap(), accumulated("down", INPUTS, &x(), None));

    file.push("down.x", "F32", &[TOKENS, INPUTS], &stored("F32", &x()));
    refused(&file.join(), &["layer down: there are two of this name"]);
    let mut none = Container::new();
    none.push("ids", "I64", &[1, 4], &[0; 32]);
    refused(&none.join(), &["file: ", "none found"]);
}

#[test]
fn halves_cannot_hold_sensitivities() {
    refused(&sample("F32", "F16").join(), &["layer up", "s of type F16", "round small squares"]);
    let mut plain = sample("F32", "F16");
    plain.header.as_object_mut().unwrap().remove("__metadata__");
    refused(&plain.join(), &["layer up", "s of type F16", "round small squares"]);
    refused(&sample("I64", "F32").join(), &["layer down", "x of type I64", "F32, F16 and BF16"]);
}

#[test]
fn sensitivities_that_are_all_zero_are_named() {
    let mut file = sample("F16", "BF16");
    file.data("up.s").fill(0);
    let words = &["layer up: s: every sensitivity is 0", "rounded away", "scale the loss up"];
    refused(&file.join(), words);
    // One that is not is enough for its group; others' matrices are zero.
    file.data("up.s")[2..4].copy_from_slice(&bf16::ONE.to_le_bytes());
    let bytes = file.join();
    let read = CalibrationFile::parse("file", &bytes).unwrap();
    let hessian = read.accumulate("up", GROUPS).unwrap();
    assert!(hessian.diagonal(1).iter().any(|v| *v > 0.0));
    assert!([0, 2, 3, 4, 5].iter().all(|&k| hessian.diagonal(k) == [0.0; INPUTS]));
}

#[test]
fn bad_numbers_are_named_by_token_and_column() {
    let file = sample("F32", "F32");
    for (name, at, value, words) in [
        ("up.x", 10, f32::NAN, &["layer up: x at row 3, column 1 is NaN: must be finite"]),
        ("up.x", 14, f32::INFINITY, &["layer up: x at row 4, column 2 is inf"]),
        ("up.s", 29, -0.5, &["layer up: s at row 4, column 5 is -0.5: must be finite and not neg"]),
        ("up.s", 0, f32::NAN, &["layer up: s at row 0, column 0 is NaN"]),
    ] {
        let mut broken = file.clone();
        broken.data(name)[4 * at..][..4].copy_from_slice(&value.to_le_bytes());
        refused(&broken.join(), words);
    }
    // The token is that of the file, not that of a piece of it.
    let (inputs, tokens) = (1 << 22, 3);
    let mut values = vec![0.0; inputs * tokens];
    values[2 * inputs + 5] = f32::NAN;
    let mut wide = Container::new();
    wide.push("l", "F32", &[tokens, inputs], &stored("F32", &values));
    let bytes = wide.join();
    let read = CalibrationFile::parse("file", &bytes).unwrap();
    let mut batches = read.batches("l", 1).unwrap();
    assert_eq!(batches.tokens(), tokens);
    assert!(batches.by_ref().take(2).all(|batch| batch.is_ok()));
    let text = batches.next().unwrap().unwrap_err().to_string();
    assert!(text.contains("layer l: x at row 2, column 5 is NaN"), "{text}");
    assert!(batches.next().is_none());
}

#[test]
fn every_field_of_the_header_is_checked_against_the_tensors() {
    let file = sample("F32", "F32");
    for (field, value, words) in [
        ("inputs", json!(0), &["layer up", "shape of x", "[5, 0]", "[5, 3]"][..]),
        ("inputs", json!(u64::MAX), &["layer up", "18446744073709551615", "[5, 3]"]),
        ("tokens", json!(4), &["layer up", "shape of x", "[4, 3]", "[5, 3]"]),
        ("tokens", json!(0), &["layer up", "shape of x", "[0, 3]", "none 0"]),
        ("groups", json!(5), &["layer up", "shape of s", "[5, 5]", "[5, 6]"]),
        ("groups", json!(-1), &["-1"]),
        ("surprise", json!(1), &["surprise"]),
    ] {
        refused(&file.with_entry(|entry| entry["layers"]["up"][field] = value.clone()), words);
    }
    for (field, value, words) in [
        ("format", json!("hessian"), &["(\"calibration\", 1)", "(\"hessian\", 1)"][..]),
        ("version", json!(9), &["(\"calibration\", 9)"]),
        ("settings", json!([]), &["file", "fewbytes"]),
    ] {
        refused(&file.with_entry(|entry| entry[field] = value.clone()), words);
    }
    for name in ["up.x", "up.s", "down.x"] {
        let bytes = file.with_header(|header| drop(header.remove(name)));
        // The body then has a hole, which is no safetensors file.
        refused(&bytes, &["file: not a safetensors file"]);
        let bytes = file.with_header(|header| {
            let tensor = header.remove(name).unwrap();
            header.insert("elsewhere".to_owned(), tensor);
        });
        refused(&bytes, &["layer", name, "not found"]);
    }
    // No numbers at all, so that no size of the file betrays the huge dimensions.
    for shape in [[0usize, 1 << 60], [1 << 60, 0]] {
        let mut file = Container::new();
        file.push("l", "F32", &shape, &[]);
        refused(&file.join(), &["layer l", "shape of x", "none 0"]);
    }
}

#[test]
fn a_file_cut_short_anywhere_is_an_error() {
    let bytes = sample("F16", "BF16").join();
    for length in 0..bytes.len() {
        let error = load(&bytes[..length]).unwrap_err();
        assert!(error.to_string().starts_with("file: "), "{length}: {error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    // The assertions of `load` are the test: no panic, no large allocation.
    #[test]
    fn overwritten_bytes(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), b'0'..=b'9']), 1..6),
    ) {
        let mut bytes = sample("F16", "BF16").join();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let _ = load(&bytes);
    }
}

#[test]
fn files_go_together_when_their_settings_agree_and_no_layer_is_there_twice() {
    let whole = sample("F32", "F32");
    let one = |layer: &str, settings: &str| {
        let mut file = Container::new();
        file.push(&format!("{layer}.x"), "F32", &[TOKENS, INPUTS], &stored("F32", &x()));
        let shape = json!({ "inputs": INPUTS, "groups": 0, "tokens": TOKENS });
        file.set_entry(&json!({
            "format": "calibration", "version": 1, "settings": settings,
            "layers": { layer: shape },
        }));
        file.join()
    };
    let (whole, gate, twin, odd) =
        (whole.join(), one("gate", "words"), one("up", "words"), one("v", "others"));
    let mut file = CalibrationFile::parse("first", &whole).unwrap();
    file.add("second", &gate).unwrap();
    assert!(file.names().eq(["down", "gate", "up"]));
    assert_eq!(file.accumulate("gate", 1).unwrap(), accumulated("gate", INPUTS, &x(), None));
    let text = file.add("third", &twin).unwrap_err().to_string();
    assert_eq!(text, "layer up: there are two of this name");
    let text = file.add("fourth", &odd).unwrap_err().to_string();
    assert_eq!(text, r#"fourth: settings "others" are not those of first, "words""#);
    assert_eq!(file.names().count(), 3);
}

#[test]
fn sensitivities_of_one_dimension_are_told_which_two_they_need() {
    let mut file = Container::new();
    file.push("up", "F32", &[TOKENS, INPUTS], &stored("F32", &x()));
    file.push("up.s", "F32", &[TOKENS], &stored("F32", &s()[..TOKENS]));
    let error = CalibrationFile::parse("file", &file.join()).err().unwrap().to_string();
    let expected = "expected [tokens, groups], that is [5, 1] for one group, found [5]";
    assert_eq!(error, format!("layer up: shape of s: {expected}"));
}
