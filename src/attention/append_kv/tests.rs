use super::*;
use crate::attention::Layout;

fn shape(element: KvElement) -> CacheShape {
    CacheShape::new(3, 80, element).unwrap()
}

fn spec(tokens: u32) -> AppendKv {
    let layout = Layout::plain(shape(KvElement::Int4), 100).unwrap();
    AppendKv::new(*layout.shape(), Places::of(&layout), tokens)
}

fn refused(spec: &AppendKv) -> String {
    spec.launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap_err().to_string()
}

#[test]
fn launches_move_the_new_rows_only() {
    assert!(spec(0).launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap().is_empty());
    let launches = spec(2).launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap();
    let traffic: Traffic = launches.iter().map(Launch::traffic).sum();
    // Six rows of 80 numbers in, of 12 words and one of params out; heads and step.
    assert_eq!(traffic.read_bytes, 2 * (6 * 320 + 24 + 16));
    assert_eq!(traffic.write_bytes, 2 * 6 * 52);
    assert_eq!(launches.iter().map(|launch| launch.grid()[0]).collect::<Vec<_>>(), [6, 6]);
    let rotary = Rotary { dims: 32, pairing: Pairing::HalfSplit, angle_rows: 9 };
    let turned = AppendKv { rotary: Some(rotary), positions: true, ..spec(2) };
    let launches = turned.launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap();
    let more = launches[0].traffic();
    assert_eq!(more.read_bytes, 6 * 320 + 24 + 16 + 2 * 32 * 4);
    assert_eq!((more.write_bytes, more.flops), (6 * 56, 6 * 96));
    assert_eq!(launches[0].needs().storage_buffers, 8);
    let many = AppendKv { tokens: 1000, ..spec(2) };
    let launches = many.launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap();
    assert_eq!(launches[0].grid(), [750, 1, 1]);
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    let turned = |dims, angle_rows| {
        let rotary = Rotary { dims, pairing: Pairing::Interleaved, angle_rows };
        refused(&AppendKv { rotary: Some(rotary), ..spec(4) })
    };
    for dims in [0, 1, 33, 82] {
        assert!(turned(dims, 4).contains("rotated dimensions"), "{dims}");
    }
    assert!(turned(80, 3).contains("rows of angles"));
    let heads = |input_heads, first_head| AppendKv { input_heads, first_head, ..spec(1) };
    assert!(refused(&heads(0, 0)).contains("KV heads of the input"));
    assert!(refused(&heads(2, 0)).contains("3 heads from 0"));
    assert!(refused(&heads(5, 3)).contains("3 heads from 3"));
    let places = |rows, page_rows, entries| {
        refused(&AppendKv { places: Places { rows, page_rows, entries }, ..spec(1) })
    };
    assert!(places(0, 0, 0).contains("rows of a cache = 0"));
    assert!(places(64, 16, 5).contains("rows of all pages"));
    let large = AppendKv { places: Places { rows: 3 << 20, page_rows: 0, entries: 0 }, ..spec(1) };
    let error = large.launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap_err();
    assert!(matches!(error, Error::BindingTooLarge { bytes: 150_994_944, .. }), "{error}");
    assert!(error.to_string().contains("keys of the cache"), "{error}");
    let knobs = Knobs { rows: Some(3), ..Knobs::DEFAULT };
    assert!(matches!(spec(1).launches(&Caps::webgpu(), &knobs), Err(Error::Range { .. })));
}

#[test]
fn angles_are_accurate_far_out() {
    let table = rotary_angles(131_070..131_072, 8, 10_000.0);
    assert_eq!(table.len(), 16);
    // 131071 is 20860 turns and 5.1888... of the unit circle.
    let turns = std::f64::consts::TAU * 20_860.0;
    let (sin, cos) = (131_071.0 - turns).sin_cos();
    assert!((f64::from(table[8]) - cos).abs() < 1e-7 && (f64::from(table[9]) - sin).abs() < 1e-7);
    let (sin, cos) = (131_071.0f64 / 10.0).sin_cos();
    assert_eq!(table[10..12], [cos as f32, sin as f32]);
    assert_eq!(rotary_angles(0..1, 4, 10_000.0), [1.0, 0.0, 1.0, 0.0]);
}

#[test]
fn turning_keeps_lengths_and_the_rest_of_a_row() {
    let layout = Layout::plain(shape(KvElement::F32), 100).unwrap();
    let rotary = |pairing| Some(Rotary { dims: 4, pairing, angle_rows: 1 });
    let new = AppendKv::new(*layout.shape(), Places::of(&layout), 1);
    let key: Vec<f32> = (0..80).map(|i| i as f32).collect();
    // A quarter turn, and none.
    let angles = [0.0, 1.0, 1.0, 0.0];
    let of = |pairing| {
        let spec = AppendKv { rotary: rotary(pairing), ..new };
        rotated(&spec, &Step::default(), 0, &key, &angles).unwrap()
    };
    assert_eq!(of(Pairing::Interleaved)[..6], [-1.0, 0.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(of(Pairing::HalfSplit)[..6], [-2.0, 1.0, 0.0, 3.0, 4.0, 5.0]);
}
