//! Layers of one width, in the layout that GuidedQuant's models are published in and in ours.

use super::container::Container;
use super::layers::Wanted;
use super::round_trip::published;
use fewbytes::linear::file::{
    PackedFile, read_reference, save_packed, write_packed, write_packed_with, write_reference,
};
use fewbytes::linear::{BitplaneLayer, TableElement, TableLayer, Tables};
use half::{bf16, f16};

fn wanted(bits: u8) -> Wanted {
    Wanted { bias: true, ..Wanted::new(6, 1056, bits, bits) }
}

fn entries(wanted: &Wanted, bits: u8) -> Vec<f32> {
    let row = |row| (0..1 << bits).map(move |code| wanted.entry(bits, row, code));
    (0..wanted.shape.rows).flat_map(row).collect()
}

fn bytes_of(dtype: &str, values: &[f32]) -> Vec<u8> {
    match dtype {
        "F16" => values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect(),
        "BF16" => values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect(),
        _ => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
    }
}

/// A published layer with its table and bias under another name or type.
fn file(bits: u8, lut: &str, dtype: &str, values: &[f32]) -> Container {
    let wanted = wanted(bits);
    let mut file = published(&Wanted { widths: Vec::new(), ..wanted.clone() }, "l");
    file.push(&format!("l.{lut}"), dtype, &[6, 1 << bits], &bytes_of(dtype, values));
    let bias: Vec<f32> = (0..6).map(|row| wanted.bias_at(row)).collect();
    file.push("l.bias", dtype, &[6], &bytes_of(dtype, &bias));
    file
}

fn import(file: &Container) -> TableLayer {
    let mut layers = read_reference("model", &file.join()).unwrap();
    assert_eq!(layers.len(), 1);
    layers.remove(0).1.try_into().unwrap()
}

#[test]
fn published_models_of_one_width_are_imported_exactly() {
    for bits in [2, 3, 4, 8] {
        let wanted = wanted(bits);
        let expected = wanted.layer();
        for dtype in ["F16", "BF16", "F32"] {
            for lut in [format!("lut{bits}"), "lut".to_owned()] {
                // Of eight bits' entries some have more digits than bf16.
                if dtype == "BF16" && bits == 8 {
                    continue;
                }
                let layer = import(&file(bits, &lut, dtype, &entries(&wanted, bits)));
                assert_eq!(*layer, expected, "{bits} bits, {lut} as {dtype}");
                assert_eq!((layer.bits(), layer.table_element()), (bits, TableElement::F16));
            }
        }
    }
}

#[test]
fn tables_that_halves_cannot_hold_are_imported_as_singles() {
    for (dtype, odd) in [("F32", 0.1), ("BF16", 1e-9), ("BF16", 1e6), ("F32", 65520.0)] {
        let mut values = entries(&wanted(3), 3);
        values[13] = odd;
        let stored = if dtype == "BF16" { bf16::from_f32(odd).to_f32() } else { odd };
        let layer = import(&file(3, "lut3", dtype, &values));
        assert_eq!(layer.table_element(), TableElement::F32);
        assert_eq!(layer.table(1).unwrap()[5], stored);
        let error = write_reference(&[("l", &layer)]).unwrap_err().to_string();
        assert!(error.contains("layer l: a table of f32 is not available"), "{error}");
        let ours = write_packed(&[("l", &layer)]).unwrap();
        assert_eq!(PackedFile::parse("ours", &ours).unwrap().layer("l").unwrap(), *layer);
    }
}

#[test]
fn published_words_are_imported_without_a_file_too() {
    let wanted = wanted(3);
    let expected = wanted.layer();
    let words = expected.to_reference().unwrap();
    let bias = expected.bias().map(<[f32]>::to_vec);
    let layer = TableLayer::from_reference(6, 1056, 3, &words, wanted.tables(), bias);
    assert_eq!(*layer.unwrap(), expected);
    let odd = TableLayer::from_reference(1, 33, 2, &[], Tables::new(TableElement::F16, 1), None);
    let error = odd.unwrap_err().to_string();
    assert!(error.contains("= 33 is not a multiple of 32"), "{error}");
}

#[test]
fn a_table_of_another_type_or_shape_is_named() {
    let values = entries(&wanted(2), 2);
    let error = |file: Container| read_reference("model", &file.join()).unwrap_err().to_string();
    let good = published(&Wanted { widths: Vec::new(), ..wanted(2) }, "l");
    let mut other = good.clone();
    other.push("l.lut2", "I32", &[6, 4], &bytes_of("F32", &values));
    let text = error(other);
    assert!(text.contains("layer l: tensor l.lut2: expected F16 [6, 4], found I32"), "{text}");
    let mut other = good.clone();
    other.push("l.lut2", "BF16", &[4, 6], &bytes_of("BF16", &values));
    let text = error(other);
    assert!(text.contains("expected BF16 [6, 4], found BF16 [4, 6]"), "{text}");
    assert!(error(good).contains("at least one width"));
    let mut infinite = values;
    infinite[6] = f32::NAN;
    for dtype in ["F16", "BF16", "F32"] {
        let text = error(file(2, "lut2", dtype, &infinite));
        assert!(text.contains("table 2 at row 1, column 2 is NaN: must be finite"), "{text}");
    }
}

#[test]
fn table_layers_come_back_from_packed_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tables.safetensors");
    for bits in 2..=8 {
        for (cols, table) in [(31, TableElement::F16), (1056, TableElement::F32)] {
            let wanted = Wanted { table, ..Wanted::new(5, cols, bits, bits) };
            let layer =
                TableLayer::from_codes(5, cols, bits, &wanted.codes(), wanted.tables(), None);
            let layer = layer.unwrap();
            // Beside any-precision layers of other widths: every layer has its own.
            let other = Wanted::new(3, 40, 2, 8).layer();
            save_packed(&path, &[("one", &layer), ("any", &other)]).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            let packed = PackedFile::parse("packed", &bytes).unwrap();
            assert_eq!(TableLayer::new(packed.layer("one").unwrap()).unwrap(), layer);
            assert_eq!(packed.layer("any").unwrap(), other);
            super::assert_consistent(&layer);
            let joined = BitplaneLayer::concat_rows(&[&layer, &layer]).unwrap().layer;
            assert_eq!((joined.seed_bits(), joined.parent_bits()), (bits, bits));
        }
    }
}

#[test]
fn a_file_says_how_its_layers_were_made() {
    let layer = Wanted::new(2, 40, 3, 3).layer();
    let with = write_packed_with(Some("lnq, 3 bits"), &[("l", &layer)]).unwrap();
    let with = PackedFile::parse("with", &with).unwrap();
    assert_eq!((with.settings(), with.layer("l").unwrap()), (Some("lnq, 3 bits"), layer.clone()));
    let without = write_packed(&[("l", &layer)]).unwrap();
    assert_eq!(without, write_packed_with(None, &[("l", &layer)]).unwrap());
    assert_eq!(PackedFile::parse("without", &without).unwrap().settings(), None);
}
