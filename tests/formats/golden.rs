//! A committed packed file. Its bytes may never change under version 1 of the format: files of
//! users would stop loading, or load as something else.

use crate::container::Container;
use crate::layers::Wanted;
use fewbytes::linear::file::{PackedFile, write_packed};
use fewbytes::linear::{BitplaneLayer, TableElement};

/// `write_packed` of [`golden_layers`], as it was when the format was fixed.
const GOLDEN: &[u8] = include_bytes!("../data/golden_v1.packed.safetensors");

/// Planes of the golden word, straight from the definition of the format: codes
/// `(37 i + 11) mod 256` of 32 weights.
pub(crate) const WORD: [u32; 8] = [
    0x1A75_8E51,
    0x2569_4B5A,
    0x98EE_7118,
    0xD4B3_4B34,
    0xC03C_3FC3,
    0x01FE_01FE,
    0xF0F0_F0F0,
    0x9999_9999,
];

fn golden_layers() -> [(&'static str, Wanted); 3] {
    let all = Wanted { bias: true, ..Wanted::new(3, 40, 2, 4) };
    let some = Wanted { widths: vec![3, 6], table: TableElement::F32, ..Wanted::new(2, 96, 3, 6) };
    [("all", all), ("some", some), ("word", Wanted::new(1, 32, 3, 8))]
}

#[test]
fn the_golden_file_holds_what_its_formula_says() {
    let file = PackedFile::parse("golden", GOLDEN).unwrap();
    assert_eq!(file.layers().map(|(name, _)| name).collect::<Vec<_>>(), ["all", "some", "word"]);
    for (name, wanted) in golden_layers() {
        let layer = file.layer(name).unwrap();
        assert_eq!((layer.shape(), layer.table_element()), (wanted.shape, wanted.table), "{name}");
        assert!(layer.tables().widths().eq(wanted.widths.iter().copied()), "{name}");
        for bits in 1..=wanted.shape.parent_bits {
            let shift = wanted.shape.parent_bits - bits;
            let codes: Vec<u8> = wanted.codes().iter().map(|code| code >> shift).collect();
            assert_eq!(layer.codes(bits).unwrap(), codes, "{name} at {bits}");
        }
        for &bits in &wanted.widths {
            for row in 0..wanted.shape.rows {
                let table = layer.tables().row(bits, row).unwrap();
                let entry = |code| wanted.entry(bits, row, code);
                assert!(table.iter().copied().eq((0..1 << bits).map(entry)), "{name} at {bits}");
            }
        }
        let bias = (0..wanted.shape.rows).map(|row| wanted.bias_at(row)).collect::<Vec<_>>();
        assert_eq!(layer.bias(), wanted.bias.then_some(bias.as_slice()), "{name}");
    }
    assert_eq!(file.layer("word").unwrap().planes(), WORD);
}

#[test]
fn the_golden_file_is_still_what_is_written() {
    let layers = golden_layers().map(|(name, wanted)| (name, wanted.layer()));
    let named: Vec<(&str, &BitplaneLayer)> = layers.iter().map(|(n, l)| (*n, l)).collect();
    assert_eq!(write_packed(&named).unwrap(), GOLDEN);
}

#[test]
fn the_golden_file_has_the_documented_tensors() {
    // Read without this crate's loader: names, types, shapes and bytes are a promise to others.
    let mut file = Container::split(GOLDEN);
    let tensors = file.header.as_object().unwrap();
    let names: Vec<&str> = tensors.keys().map(String::as_str).collect();
    let expected = [
        "__metadata__",
        "all.bias",
        "all.planes",
        "all.table2",
        "all.table3",
        "all.table4",
        "some.planes",
        "some.table3",
        "some.table6",
        "word.planes",
        "word.table3",
        "word.table4",
        "word.table5",
        "word.table6",
        "word.table7",
        "word.table8",
    ];
    assert_eq!(names, expected);
    let shape = |name: &str| (tensors[name]["dtype"].clone(), tensors[name]["shape"].clone());
    assert_eq!(shape("all.planes"), ("U32".into(), vec![4, 3, 2].into()));
    assert_eq!(shape("all.table3"), ("F16".into(), vec![3, 8].into()));
    assert_eq!(shape("all.bias"), ("F32".into(), vec![3].into()));
    assert_eq!(shape("some.table6"), ("F32".into(), vec![2, 64].into()));
    let word: Vec<u8> = WORD.iter().flat_map(|word| word.to_le_bytes()).collect();
    assert_eq!(file.data("word.planes"), word);
    let entry = serde_json::json!({
        "format": "bitplane",
        "version": 1,
        "layout": "skew-1",
        "layers": {
            "all": { "rows": 3, "cols": 40, "seed_bits": 2, "parent_bits": 4,
                     "widths": [2, 3, 4], "table": "f16", "bias": true },
            "some": { "rows": 2, "cols": 96, "seed_bits": 3, "parent_bits": 6,
                      "widths": [3, 6], "table": "f32", "bias": false },
            "word": { "rows": 1, "cols": 32, "seed_bits": 3, "parent_bits": 8,
                      "widths": [3, 4, 5, 6, 7, 8], "table": "f16", "bias": false },
        },
    });
    assert_eq!(file.entry(), entry);
}
