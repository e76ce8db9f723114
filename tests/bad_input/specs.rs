//! Specs and uploads, on devices that exist only as numbers.

use crate::{Wanted, assert_kind, noop, refused, sparse_widths};
use fewbytes::launch::{Lookup, Reduce};
use fewbytes::linear::{
    Activation, Arithmetic, BitplaneLayout, BitplaneShape, DequantizeBitplane, GemvBitplane,
    TableElement,
};
use fewbytes::{Caps, Error, Knobs, Launch, Result, Spec};
use fewbytes_wgpu::ops::{BitplaneWeights, gemv_bitplane};

fn layout() -> BitplaneLayout {
    BitplaneLayout::new(&sparse_widths().layer(), 8, &Caps::webgpu()).unwrap()
}

fn both(bits: u8, caps: &Caps, knobs: &Knobs) -> [Result<Vec<Launch>>; 2] {
    let element = Activation::F32;
    [
        GemvBitplane::new(layout(), bits).launches(caps, knobs),
        DequantizeBitplane { layout: layout(), bits, element }.launches(caps, knobs),
    ]
}

#[test]
fn a_width_that_cannot_run_is_refused_when_launched() {
    for bits in [0, 1, 2, 9, 255] {
        for result in both(bits, &Caps::webgpu(), &Knobs::default()) {
            assert_kind!(
                refused(result, &[&format!("bits = {bits} "), "3..=8"]),
                Error::Range { .. }
            );
        }
    }
    for bits in [5, 6, 7] {
        for result in both(bits, &Caps::webgpu(), &Knobs::default()) {
            let error = refused(result, &[&format!("width {bits}"), "3, 4, 8"]);
            assert_kind!(error, Error::Unsupported { .. });
        }
    }
}

#[test]
fn a_width_that_cannot_be_uploaded_is_refused() {
    let ctx = noop();
    let layer = sparse_widths().layer();
    for bits in [0, 1, 2, 9] {
        let error = refused(BitplaneWeights::upload(&ctx, &layer, bits), &["3..=8"]);
        assert_kind!(error, Error::Range { .. });
    }
    let late = Wanted { widths: vec![6, 8], ..Wanted::new(2, 32, 3, 8) }.layer();
    let error = refused(BitplaneWeights::upload(&ctx, &late, 5), &["5", "6, 8"]);
    assert_kind!(error, Error::Unsupported { .. });
    // A width above the upload is out of range even where the layer itself has it; the fifth plane
    // was left behind because there is no table that could use it.
    let weights = BitplaneWeights::upload(&ctx, &layer, 5).unwrap();
    let plan = gemv_bitplane::plan(&ctx, &weights, Default::default()).unwrap();
    assert_eq!(weights.layout().max_bits(), 4);
    assert_kind!(refused(plan.width(8), &["3..=4"]), Error::Range { .. });
    assert_kind!(refused(plan.width(5), &["3..=4"]), Error::Range { .. });
}

#[test]
fn a_shape_whose_bytes_cannot_be_counted_is_refused() {
    let caps = Caps::webgpu();
    let (f16, most) = (TableElement::F16, usize::MAX);
    let layout = |rows, cols| {
        let shape = BitplaneShape { rows, cols, seed_bits: 2, parent_bits: 8 };
        BitplaneLayout::for_shape(shape, &[8], f16, false, 8, &caps)
    };
    for (rows, cols) in [(1, most), (most, 1), (most, most), (1, most / 8)] {
        let error = refused(layout(rows, cols), &[]);
        assert!(matches!(error, Error::Shape { .. } | Error::BindingTooLarge { .. }), "{error}");
    }
    // This many rows can be counted and cut into pieces; what they make cannot be bound.
    let layout = layout(most / 4096, 1).unwrap();
    let gemv = GemvBitplane::new(layout.clone(), 8).launches(&caps, &Knobs::default());
    assert_kind!(refused(gemv, &["y", "limit"]), Error::BindingTooLarge { .. });
    let dense = DequantizeBitplane { layout, bits: 8, element: Activation::F16 };
    let dense = dense.launches(&caps, &Knobs::default());
    assert_kind!(refused(dense, &["dst", "limit"]), Error::BindingTooLarge { .. });
}

#[test]
fn no_vector_is_no_launch_and_more_than_eight_are_refused() {
    let spec = |batch| GemvBitplane { batch, ..GemvBitplane::new(layout(), 4) };
    let launches = spec(0).launches(&Caps::webgpu(), &Knobs::default()).unwrap();
    assert!(launches.is_empty());
    // Not even by the way: a width that cannot run is refused for no vector too.
    let wrong = GemvBitplane { bits: 5, ..spec(0) };
    refused(wrong.launches(&Caps::webgpu(), &Knobs::default()), &["3, 4, 8"]);
    for batch in [9, usize::MAX] {
        let result = spec(batch).launches(&Caps::webgpu(), &Knobs::default());
        let error = refused(result, &["batch of gemv_bitplane", "0..=8", &batch.to_string()]);
        assert_kind!(error, Error::Range { .. });
    }
    let plan = noop().plan(&spec(0)).unwrap();
    assert_eq!((plan.variants().count(), plan.traffic().bytes()), (0, 0));
}

#[test]
fn forms_that_a_product_cannot_take_are_refused() {
    let rich =
        Caps { f16: true, subgroups: true, subgroup_min: 8, subgroup_max: 32, ..Caps::webgpu() };
    let spec = |bits| GemvBitplane::new(layout(), bits);
    let knobs = |knobs: Knobs, says: &[&str]| {
        let error = refused(spec(8).launches(&rich, &knobs), says);
        assert_kind!(error, Error::Unsupported { .. });
    };
    let base = Knobs::DEFAULT;
    knobs(Knobs { lookup: Some(Lookup::Pair), ..base }, &["Pair", "2 to 4 bits"]);
    // More sums than the smallest subgroup has lanes, lanes fewer than the largest one has.
    let scatter = Knobs { reduce: Some(Reduce::Scatter), ..base };
    let batch = GemvBitplane { batch: 4, ..spec(4) };
    let wide = Knobs { workgroup: Some(32), ..scatter };
    refused(batch.launches(&rich, &wide), &["16 sums", "smallest subgroup (8)"]);
    knobs(Knobs { workgroup: Some(16), ..scatter }, &["16 lanes", "largest (32)"]);
    refused(spec(8).launches(&Caps::webgpu(), &scatter), &["no subgroup operations"]);

    let half = Knobs { lookup: Some(Lookup::Half), ..base };
    refused(spec(8).launches(&Caps::webgpu(), &half), &["gemv_bitplane", "no f16"]);
    let f32_tables = Wanted { table: TableElement::F32, ..Wanted::new(4, 64, 3, 8) }.layer();
    let f32_tables = BitplaneLayout::new(&f32_tables, 8, &rich).unwrap();
    refused(
        GemvBitplane::new(f32_tables.clone(), 8).launches(&rich, &half),
        &["Half", "tables are f32"],
    );

    let f16 = |layout| GemvBitplane {
        activation: Activation::F16,
        arithmetic: Arithmetic::F16,
        ..GemvBitplane::new(layout, 4)
    };
    let good = f16(layout());
    assert_eq!(good.layout.cols() % 32, 0);
    good.launches(&rich, &base).unwrap();
    refused(good.launches(&Caps::webgpu(), &base), &["no f16"]);
    for (wrong, says) in [
        (GemvBitplane { batch: 2, ..good.clone() }, "one vector"),
        (GemvBitplane { activation: Activation::F32, ..good.clone() }, "f16 activations"),
        (GemvBitplane { bits: 8, ..good.clone() }, "2 to 4 bits"),
        (f16(f32_tables), "tables of f16"),
        (f16(BitplaneLayout::new(&Wanted::new(4, 33, 3, 4).layer(), 4, &rich).unwrap()), "32"),
    ] {
        let error = refused(wrong.launches(&rich, &base), &["gemv_bitplane in f16", says]);
        assert_kind!(error, Error::Unsupported { .. });
    }
    let single = Knobs { lookup: Some(Lookup::Single), ..base };
    refused(good.launches(&rich, &single), &["Single", "multiplies pairs"]);
}

#[test]
fn a_bias_that_the_layer_lacks_is_refused() {
    let layer = Wanted::new(4, 32, 3, 4).layer();
    let layout = BitplaneLayout::new(&layer, 4, &Caps::webgpu()).unwrap();
    let spec = GemvBitplane { bias: true, ..GemvBitplane::new(layout, 4) };
    let error = refused(spec.launches(&Caps::webgpu(), &Knobs::default()), &["no bias"]);
    assert_kind!(error, Error::Unsupported { .. });
}

#[test]
fn what_does_not_fit_a_binding_is_told_with_both_numbers() {
    let layer = Wanted::new(6, 64, 3, 8).layer();
    let caps = |max_binding_bytes| Caps { max_binding_bytes, ..Caps::webgpu() };
    let error = refused(BitplaneLayout::new(&layer, 8, &caps(100)), &["100"]);
    assert_kind!(error, Error::BindingTooLarge { limit: 100, .. });
    // Laid out for a larger device than the one that runs it.
    for (element, what) in [(Activation::F32, "x"), (Activation::F16, "x")] {
        let spec = GemvBitplane { activation: element, ..GemvBitplane::new(layout(), 4) };
        let bytes = 64 * element.bytes();
        let result = spec.launches(&caps(bytes as u64 - 4), &Knobs::default());
        let error = refused(result, &[what, &bytes.to_string()]);
        assert_kind!(error, Error::BindingTooLarge { .. });
    }
    for result in both(8, &caps(1000), &Knobs::default()) {
        assert_kind!(refused(result, &["1000"]), Error::BindingTooLarge { limit: 1000, .. });
    }
    let caps = Caps { max_buffer_bytes: 1500, ..Caps::webgpu() };
    let [_, dense] = both(4, &caps, &Knobs::default());
    let error = refused(dense, &["dst", "1536", "1500"]);
    assert_kind!(error, Error::BindingTooLarge { bytes: 1536, limit: 1500, .. });
}

#[test]
fn knobs_outside_their_range_are_refused() {
    let caps = Caps::webgpu();
    for workgroup in [0, 1, 3, 4, 63, 65, 257, 512, 1 << 31, u32::MAX] {
        let knobs = Knobs { workgroup: Some(workgroup), ..Knobs::default() };
        for result in both(4, &caps, &knobs) {
            let error = refused(result, &["workgroup", &format!("= {workgroup} "), "8..=256"]);
            assert_kind!(error, Error::Range { .. });
        }
    }
    for rows in [0, 1, 3, 5, 16, u32::MAX] {
        let knobs = Knobs { rows: Some(rows), ..Knobs::default() };
        for result in both(4, &caps, &knobs) {
            let error = refused(result, &["rows", &format!("= {rows} "), "2, 4, 8"]);
            assert_kind!(error, Error::Range { .. });
        }
    }
    // In range each, but together more workgroup memory than there is.
    let caps = Caps { max_workgroup_bytes: 16_000, ..caps };
    let knobs = Knobs { workgroup: Some(256), rows: Some(8), ..Knobs::default() };
    let [gemv, _] = both(8, &caps, &knobs);
    let error = refused(gemv, &["16384 ", "16000", "workgroup memory"]);
    assert_kind!(error, Error::Unsupported { .. });
}

#[test]
fn subgroups_are_refused_where_there_are_none() {
    let knobs = Knobs { reduce: Some(Reduce::Subgroup), ..Knobs::default() };
    let [gemv, _] = both(4, &Caps::webgpu(), &knobs);
    assert_kind!(refused(gemv, &["subgroup"]), Error::Unsupported { .. });
    let ctx = noop();
    assert!(!ctx.caps().subgroups);
    let weights = BitplaneWeights::upload(&ctx, &sparse_widths().layer(), 8).unwrap();
    let options = gemv_bitplane::Options { knobs, ..Default::default() };
    let error = refused(gemv_bitplane::plan(&ctx, &weights, options), &["subgroup"]);
    assert_kind!(error, Error::Unsupported { .. });
    // Launches made for a better device are refused by the one that should run them.
    let rich = Caps { subgroups: true, ..Caps::webgpu() };
    let launches = GemvBitplane::new(layout(), 4).launches(&rich, &knobs).unwrap();
    let error = refused(ctx.plan_launches(launches), &["gemv_bitplane", "subgroup"]);
    assert_kind!(error, Error::Unsupported { .. });
    assert_eq!(ctx.pipelines(), 0);
}

#[test]
fn a_grid_that_two_dimensions_cannot_hold_is_refused() {
    let caps = Caps { max_groups: 1, ..Caps::webgpu() };
    for result in both(4, &caps, &Knobs::default()) {
        assert_kind!(refused(result, &["workgroups"]), Error::Range { .. });
    }
}
