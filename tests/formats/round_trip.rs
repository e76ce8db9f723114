//! What is written comes back, also from the published layout.

use crate::container::Container;
use crate::layers::Wanted;
use crate::{assert_consistent, load_packed, sample};
use fewbytes::Error;
use fewbytes::linear::TableElement;
use fewbytes::linear::file::{
    PackedFile, read_reference, save_packed, write_packed, write_reference,
};
use half::f16;
use proptest::prelude::*;

pub(crate) fn wanted() -> impl Strategy<Value = Wanted> {
    let widths = (2u8..=8).prop_flat_map(|parent| {
        let seed = 2..=parent;
        seed.prop_flat_map(move |seed| {
            let all: Vec<u8> = (seed..=parent).collect();
            let count = all.len();
            (Just(seed), Just(parent), proptest::sample::subsequence(all, 1..=count))
        })
    });
    let table = prop_oneof![Just(TableElement::F16), Just(TableElement::F32)];
    (widths, 1usize..6, 1usize..80, table, any::<bool>(), 0usize..9).prop_map(
        |((seed, parent, widths), rows, cols, table, bias, salt)| Wanted {
            widths,
            table,
            bias,
            salt,
            ..Wanted::new(rows, cols, seed, parent)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn packed_layers_come_back(all in proptest::collection::vec(wanted(), 1..4)) {
        let layers: Vec<_> = all.iter().map(Wanted::layer).collect();
        let names = ["model.layers.0.q", "", "\u{fc}nicode \"quoted\""];
        let named: Vec<_> = names.into_iter().zip(&layers).collect();
        let bytes = write_packed(&named).unwrap();
        let file = PackedFile::parse("file", &bytes).unwrap();
        prop_assert_eq!(file.layers().count(), layers.len());
        for ((name, layer), wanted) in named.into_iter().zip(&all) {
            let back = file.layer(name).unwrap();
            prop_assert_eq!(&back, layer);
            prop_assert_eq!(back.codes(wanted.shape.parent_bits).unwrap(), wanted.codes());
            let (_, header) = file.layers().find(|(n, _)| *n == name).unwrap();
            prop_assert_eq!(&header.widths, &wanted.widths);
        }
    }

    #[test]
    fn the_published_layout_comes_back(mut wanted in wanted(), words in 1usize..40) {
        wanted.table = TableElement::F16;
        wanted.shape.cols = 32 * words;
        // The published layout has no seed width of its own: it is that of the narrowest table.
        wanted.shape.seed_bits = wanted.widths[0];
        let layer = wanted.layer();
        let bytes = write_reference(&[("l", &layer)]).unwrap();
        prop_assert_eq!(read_reference("file", &bytes).unwrap(), [("l".to_owned(), layer)]);
    }
}

/// The published layout by its definition: chunks of 1024 weights, `T` words each, bit
/// `31 - (8r + s)` of word `t` is weight `r * 8T + 8t + s`, most significant plane first.
pub(crate) fn published(wanted: &Wanted, name: &str) -> Container {
    let shape = wanted.shape;
    let words = shape.cols / 32;
    let mut qweight = vec![0u32; usize::from(shape.parent_bits) * shape.rows * words];
    for plane in 0..usize::from(shape.parent_bits) {
        for row in 0..shape.rows {
            for word in 0..words {
                let (chunk, t) = (word / 32, word % 32);
                let in_chunk = (words - 32 * chunk).min(32);
                for r in 0..4 {
                    for s in 0..8 {
                        let col = chunk * 1024 + r * 8 * in_chunk + 8 * t + s;
                        let shift = usize::from(shape.parent_bits) - 1 - plane;
                        let bit = u32::from(wanted.code(row, col) >> shift & 1);
                        qweight[(plane * shape.rows + row) * words + word] |=
                            bit << (31 - (8 * r + s));
                    }
                }
            }
        }
    }
    let mut file = Container::new();
    let bytes: Vec<u8> = qweight.iter().flat_map(|word| word.to_le_bytes()).collect();
    let planes = usize::from(shape.parent_bits);
    file.push(&format!("{name}.qweight"), "I32", &[planes, shape.rows, words], &bytes);
    for &bits in &wanted.widths {
        let entries = (0..shape.rows)
            .flat_map(|row| (0..1usize << bits).map(move |code| wanted.entry(bits, row, code)));
        let bytes: Vec<u8> = entries.flat_map(|v| f16::from_f32(v).to_le_bytes()).collect();
        file.push(&format!("{name}.lut{bits}"), "F16", &[shape.rows, 1 << bits], &bytes);
    }
    file
}

#[test]
fn a_file_made_by_the_published_formula_is_imported_exactly() {
    for cols in [32, 992, 1024, 1056, 4096] {
        for (seed, parent) in [(3, 8), (2, 5), (4, 4)] {
            let wanted = Wanted::new(2, cols, seed, parent);
            let file = published(&wanted, "l").join();
            let layers = read_reference("file", &file).unwrap();
            let [(name, layer)] = layers.as_slice() else { panic!("{} layers", layers.len()) };
            assert_eq!((name.as_str(), layer), ("l", &wanted.layer()), "{cols} {parent}");
            assert_consistent(layer);
            let exported = Container::split(&write_reference(&[("l", layer)]).unwrap())
                .data("l.qweight")
                .to_vec();
            assert_eq!(exported, published(&wanted, "l").data("l.qweight"), "{cols} {parent}");
        }
    }
}

#[test]
fn a_bias_of_either_type_is_imported() {
    let wanted = Wanted { bias: true, ..Wanted::new(4, 32, 3, 4) };
    let values: Vec<f32> = (0..4).map(|row| wanted.bias_at(row)).collect();
    let halves: Vec<u8> = values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect();
    let singles: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    for (dtype, bytes) in [("F16", halves), ("F32", singles)] {
        let mut file = published(&wanted, "l");
        file.push("l.bias", dtype, &[4], &bytes);
        let layers = read_reference("file", &file.join()).unwrap();
        assert_eq!(layers, [("l".to_owned(), wanted.layer())], "{dtype}");
    }
}

#[test]
fn what_the_published_layout_cannot_hold_is_not_written() {
    let odd = Wanted::new(2, 33, 3, 4).layer();
    let single = Wanted { table: TableElement::F32, ..Wanted::new(2, 32, 3, 4) }.layer();
    let Err(Error::Layer { layer, error: source }) = write_reference(&[("odd", &odd)]) else {
        panic!("33 columns were written")
    };
    let is_33 = matches!(*source, Error::Alignment { multiple: 32, value: 33, .. });
    assert!(layer == "odd" && is_33, "{source}");
    let error = write_reference(&[("single", &single)]).unwrap_err();
    let Error::Layer { layer, error: source } = error else { panic!("{error}") };
    assert!(layer == "single" && matches!(*source, Error::Unsupported { .. }), "{source}");
}

#[test]
fn two_layers_of_one_name_are_not_written() {
    let layer = Wanted::new(2, 32, 3, 4).layer();
    for written in [write_packed, write_reference] {
        let error = written(&[("twin", &layer), ("twin", &layer)]).unwrap_err();
        assert!(matches!(error, Error::Format { .. }), "{error}");
        assert!(error.to_string().contains("twin"), "{error}");
    }
}

#[test]
fn a_save_into_a_missing_folder_names_the_path_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing/model.safetensors");
    let layer = Wanted::new(2, 32, 3, 4).layer();
    let error = save_packed(&path, &[("l", &layer)]).unwrap_err();
    let Error::Io { path: named, error: source } = &error else { panic!("{error}") };
    assert_eq!((named, source.kind()), (&path, std::io::ErrorKind::NotFound));
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_save_that_fails_at_the_end_leaves_nothing_beside_the_target() {
    // A folder stands where the file should go, so everything but the last step succeeds.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    std::fs::create_dir(&path).unwrap();
    let layer = Wanted::new(2, 32, 3, 4).layer();
    let error = save_packed(&path, &[("l", &layer)]).unwrap_err();
    assert!(matches!(&error, Error::Io { path: named, .. } if *named == path), "{error}");
    assert!(path.is_dir());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_save_replaces_the_whole_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let long = Wanted { bias: true, ..Wanted::new(40, 64, 2, 8) }.layer();
    let short = Wanted::new(2, 33, 3, 4).layer();
    for layer in [&long, &short] {
        save_packed(&path, &[("l", layer)]).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes, write_packed(&[("l", layer)]).unwrap());
        assert_eq!(&PackedFile::parse("file", &bytes).unwrap().layer("l").unwrap(), layer);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_layer_that_is_not_there_is_named() {
    let bytes = sample();
    let error = PackedFile::parse("file", &bytes).unwrap().layer("c").unwrap_err();
    assert!(matches!(&error, Error::Layer { layer, .. } if layer == "c"), "{error}");
    assert_eq!(load_packed(&bytes).unwrap().len(), 2);
}
