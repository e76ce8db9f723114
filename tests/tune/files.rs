//! Cache files: written whole, read with suspicion.

use super::{EIGHT_ROWS, SPELT_OUT, TWO_ROWS, noop, tunable};
use fewbytes::Error;
use fewbytes_wgpu::tune::{TuneCache, TuneEntry};
use serde_json::{Value, json};

fn known() -> TuneCache {
    let ctx = noop();
    let spec = tunable(&ctx, &[SPELT_OUT, TWO_ROWS, EIGHT_ROWS]);
    let mut cache = TuneCache::new();
    for (seconds, info) in [(1.0 / 3.0, "1"), (2.0e-7, "2")] {
        let mut entry = TuneEntry::new(&ctx, &spec, EIGHT_ROWS, seconds).unwrap();
        entry.driver.info = info.to_owned();
        cache.insert(entry).unwrap();
    }
    cache
}

fn json_of(cache: &TuneCache) -> Value {
    serde_json::from_str(&cache.to_json()).unwrap()
}

/// The error of a text that has to be refused, with the words it has to contain.
#[track_caller]
fn refused(text: impl AsRef<[u8]>, words: &[&str]) {
    let error = TuneCache::from_json("cache.json", text.as_ref()).unwrap_err();
    assert!(matches!(error, Error::Format { .. }), "{error:?}");
    let text = error.to_string();
    for word in ["cache.json"].iter().chain(words) {
        assert!(text.contains(word), "{word:?} is not in {text:?}");
    }
    assert!(text.len() < 1000, "{} bytes of error", text.len());
}

#[test]
fn what_is_saved_is_loaded_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tuned.json");
    let cache = known();
    cache.save(&path).unwrap();
    assert_eq!(TuneCache::load(&path).unwrap(), cache);
    // Saving again replaces, and leaves nothing else behind.
    TuneCache::new().save(&path).unwrap();
    assert_eq!(TuneCache::load(&path).unwrap(), TuneCache::new());
    let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(files.len(), 1, "{files:?}");
}

#[test]
fn the_order_of_measuring_does_not_show() {
    let cache = known();
    let mut reversed = TuneCache::new();
    cache.entries().iter().rev().for_each(|entry| reversed.insert(entry.clone()).unwrap());
    assert_eq!(cache.to_json(), reversed.to_json());
}

#[test]
fn a_failed_save_names_the_file_and_leaves_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("no such folder").join("tuned.json");
    let error = known().save(&missing).unwrap_err();
    assert!(error.to_string().contains("no such folder"), "{error}");

    // A folder with something in it cannot be replaced by a file.
    let taken = folder.path().join("taken");
    std::fs::create_dir(&taken).unwrap();
    std::fs::write(taken.join("old"), "old").unwrap();
    assert!(matches!(known().save(&taken), Err(Error::Io { .. })));
    assert_eq!(std::fs::read_to_string(taken.join("old")).unwrap(), "old");
    let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(files.len(), 1, "{files:?}");
}

#[test]
fn a_missing_file_is_an_error_or_an_empty_cache() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tuned.json");
    assert!(matches!(TuneCache::load(&path), Err(Error::Io { .. })));
    assert_eq!(TuneCache::load_or_new(&path).unwrap(), TuneCache::new());
    std::fs::write(&path, "{").unwrap();
    assert!(matches!(TuneCache::load_or_new(&path), Err(Error::Format { .. })));
}

#[test]
fn a_huge_file_is_refused_unread() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tuned.json");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(1 << 40).unwrap();
    let error = TuneCache::load(&path).unwrap_err();
    assert!(matches!(error, Error::Range { .. }), "{error:?}");
    assert!(error.to_string().contains("16777216"), "{error}");
}

#[test]
fn truncated_files_are_refused() {
    let text = known().to_json();
    let whole = text.trim_end();
    for end in 0..whole.len() {
        refused(&whole[..end], &[]);
    }
    TuneCache::from_json("cache.json", whole.as_bytes()).unwrap();
    refused(format!("{whole}}}"), &["trailing"]);
    refused([0xff, 0xfe], &[]);
}

#[test]
fn another_format_or_version_is_refused_whatever_else_it_says() {
    refused(r#"{"format": "x", "version": 1, "entries": []}"#, &["format", "fewbytes-tuned"]);
    refused(r#"{"format": "fewbytes-tuned", "version": 9, "new": 1}"#, &["version", "found 9"]);
    refused(r#"{"format": "fewbytes-tuned", "version": -1}"#, &["version"]);
    refused(r#"{"format": "fewbytes-tuned"}"#, &["version"]);
    refused("[]", &[]);
    refused(format!(r#"{{"format": "{}", "version": 1}}"#, "é".repeat(100_000)), &["format"]);
}

#[test]
fn a_wrong_field_is_named() {
    let good = json_of(&known());
    for (pointer, value) in [
        ("/entries/1/adapter/vendor", json!(-1)),
        ("/entries/1/adapter/device", json!(1u64 << 32)),
        ("/entries/1/adapter/name", json!(null)),
        ("/entries/1/driver/info", json!(["a"])),
        ("/entries/1/checks/bounds", json!(1)),
        ("/entries/1/kernel", json!(7)),
        ("/entries/1/candidates", json!(7)),
        ("/entries/1/candidates", json!("+123456789abcdef")),
        ("/entries/1/kernels", json!("0123")),
        ("/entries/1/knobs/rows", json!(2.5)),
        ("/entries/1/knobs/rows", json!(1u64 << 40)),
        ("/entries/1/knobs/reduce", json!("Sideways")),
        ("/entries/1/seconds", json!("fast")),
        ("/entries/1/seconds", json!(null)),
        ("/entries/1/seconds", json!(0.0)),
        ("/entries/1/seconds", json!(-1.0)),
        ("/entries/1/key", json!("k".repeat(100_000))),
        ("/entries", json!({})),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        let field = pointer.trim_start_matches('/').replace("/1/", "[1].").replace('/', ".");
        refused(bad.to_string(), &[&field]);
    }
}

#[test]
fn numbers_that_json_does_not_have_are_refused() {
    let text = known().to_json();
    for number in ["NaN", "Infinity", "1e999", "-1e999"] {
        let seconds = format!("\"seconds\": {number}");
        let bad = text.replacen("\"seconds\": 0.3333333333333333", &seconds, 1);
        assert_ne!(bad, text);
        // What is no JSON at all is named by its line.
        let line = bad.lines().position(|line| line.contains(number)).unwrap() + 1;
        refused(bad, &["entries", &format!("line {line} ")]);
    }
}

#[test]
fn missing_unknown_and_repeated_fields_are_refused() {
    let good = json_of(&known());
    let fields: Vec<String> = good["entries"][0].as_object().unwrap().keys().cloned().collect();
    assert_eq!(fields.len(), 9);
    for field in fields {
        let mut bad = good.clone();
        bad["entries"][0].as_object_mut().unwrap().remove(&field);
        refused(bad.to_string(), &["entries[0]", &field]);
    }
    for place in ["", "/adapter", "/driver", "/checks", "/knobs"] {
        let mut bad = good.clone();
        bad.pointer_mut(&format!("/entries/0{place}")).unwrap()["surprise"] = json!(1);
        refused(bad.to_string(), &["entries[0]", "surprise"]);
    }
    // Knobs that are not there are left to the kernel.
    let mut fewer = good.clone();
    fewer["entries"][0]["knobs"].as_object_mut().unwrap().remove("masks").unwrap();
    TuneCache::from_json("cache.json", fewer.to_string().as_bytes()).unwrap();
    refused(
        r#"{"format": "fewbytes-tuned", "version": 2, "version": 1, "entries": []}"#,
        &["version"],
    );
    let mut bad = good.clone();
    bad["entries"][1] = good["entries"][0].clone();
    refused(bad.to_string(), &["entries[1]", "entries[0]"]);
}

#[test]
fn deep_nesting_does_not_end_the_process() {
    let deep = "[".repeat(1_000_000);
    refused(format!(r#"{{"format": "fewbytes-tuned", "version": 2, "entries": {deep}"#), &[]);
}
