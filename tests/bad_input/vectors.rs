//! Weights in pairs: what goes into a layer, specs, uploads and views.

use crate::{assert_kind, noop, refused};
use fewbytes::launch::{Lookup, Reduce};
use fewbytes::linear::{
    Activation, DequantizeVector, GemvVector, TableElement, VectorLayer, VectorLayout, VectorShape,
};
use fewbytes::{Caps, Error, Knobs, Spec as _};
use fewbytes_wgpu::ops::{VectorWeights, dequantize_vector, gemv_vector};

const SHAPE: VectorShape = VectorShape { rows: 3, cols: 7, code_bits: 3 };

/// 3 x 7 with codes of 3 bits: 4 codes and 16 numbers of a table a row.
fn layer(bias: Option<Vec<f32>>) -> VectorLayer {
    VectorLayer::from_codes(SHAPE, &[5; 12], TableElement::F16, &[0.5; 48], bias).unwrap()
}

#[test]
fn a_layer_is_not_made_of_parts_that_disagree() {
    let make = |shape, codes: &[u8], tables: &[f32], bias| {
        VectorLayer::from_codes(shape, codes, TableElement::F16, tables, bias)
    };
    let (codes, tables) = ([5u8; 12], [0.5f32; 48]);
    for code_bits in [0, 1, 7, 8, 255] {
        let shape = VectorShape { code_bits, ..SHAPE };
        let error = refused(
            make(shape, &codes, &tables, None),
            &[&format!("code bits = {code_bits} "), "2..=6"],
        );
        assert_kind!(error, Error::Range { .. });
    }
    let most = usize::MAX;
    for (rows, cols) in [(0, 7), (3, 0), (4, 7), (3, 9), (most, 1), (1, most), (most, most)] {
        let shape = VectorShape { rows, cols, ..SHAPE };
        let error = refused(make(shape, &codes, &tables, None), &["expected"]);
        assert_kind!(error, Error::Shape { .. });
    }
    let mut high = codes;
    high[6] = 8;
    let error = refused(make(SHAPE, &high, &tables, None), &["code at row 1, column 2 is 8"]);
    assert_kind!(error, Error::Value { row: 1, col: 2, .. });
    for count in [0, 16, 47, 49] {
        let error = refused(make(SHAPE, &codes, &vec![0.0; count], None), &["3 x 8 x 2"]);
        assert_kind!(error, Error::Shape { .. });
    }
    for bad in [f32::NAN, f32::INFINITY, 65520.0] {
        let mut wrong = tables;
        wrong[16 + 5] = bad;
        let why = if bad == 65520.0 { "use f32 tables" } else { "must be finite" };
        let parts = ["f16 vector table at row 1, column 5", why];
        let error = refused(make(SHAPE, &codes, &wrong, None), &parts);
        assert_kind!(error, Error::Value { row: 1, col: 5, .. });
    }
    let mut large = tables;
    large[3] = 65520.0;
    let held = VectorLayer::from_codes(SHAPE, &codes, TableElement::F32, &large, None).unwrap();
    assert_eq!(held.table(0).unwrap()[1], [0.5, 65520.0]);
    assert!(held.table(3).is_none());
    let error = refused(make(SHAPE, &codes, &tables, Some(vec![0.0; 2])), &["bias", "expected 3"]);
    assert_kind!(error, Error::Shape { .. });
    let bias = Some(vec![0.0, f32::NAN, 0.0]);
    assert_kind!(
        refused(make(SHAPE, &codes, &tables, bias), &["bias at row 1"]),
        Error::Value { .. }
    );

    let whole = layer(None);
    let planes = |words: &[u32], bytes: &[u8]| {
        VectorLayer::from_planes(SHAPE, words.to_vec(), TableElement::F16, bytes, None)
    };
    let (words, bytes) = (whole.planes(), whole.table_bytes());
    assert_eq!(planes(words, bytes).unwrap(), whole);
    let error = refused(planes(&words[1..], bytes), &["expected 3 x 3 x 1", "found 8"]);
    assert_kind!(error, Error::Shape { .. });
    assert_kind!(refused(planes(words, &bytes[1..]), &["95"]), Error::Alignment { .. });
    assert_kind!(refused(planes(words, &bytes[2..]), &["3 x 8 x 2"]), Error::Shape { .. });
}

#[test]
fn a_layout_takes_only_layers_of_its_shape_and_fits_the_device() {
    let layer = layer(None);
    let layout = VectorLayout::new(&layer, &Caps::webgpu()).unwrap();
    let wider = VectorShape { cols: 8, ..SHAPE };
    let other = VectorLayout::for_shape(wider, TableElement::F16, false, &Caps::webgpu()).unwrap();
    let error = refused(other.plane_piece(&layer, &(0..3)), &["8", "7"]);
    assert_kind!(error, Error::Shape { .. });
    assert_kind!(refused(other.table_piece(&layer, &(0..3)), &["layout"]), Error::Shape { .. });
    assert_kind!(refused(layout.plane_piece(&layer, &(0..4)), &["0..3"]), Error::Shape { .. });
    let caps = Caps { max_binding_bytes: 100, ..Caps::webgpu() };
    let error = refused(VectorLayout::new(&layer, &caps), &["100"]);
    assert_kind!(error, Error::BindingTooLarge { limit: 100, .. });
    let shape = VectorShape { code_bits: 7, ..SHAPE };
    let wide = VectorLayout::for_shape(shape, TableElement::F16, false, &Caps::webgpu());
    assert_kind!(refused(wide, &["code bits = 7", "2..=6"]), Error::Range { .. });
}

#[test]
fn forms_that_a_product_cannot_take_are_refused() {
    let rich =
        Caps { f16: true, subgroups: true, subgroup_min: 8, subgroup_max: 32, ..Caps::webgpu() };
    let spec = GemvVector::new(VectorLayout::new(&layer(None), &rich).unwrap());
    let base = Knobs::DEFAULT;
    for (caps, knobs, words) in [
        (&rich, Knobs { lookup: Some(Lookup::Storage), ..base }, ["Storage", "workgroup memory"]),
        (
            &rich,
            Knobs { reduce: Some(Reduce::Scatter), workgroup: Some(16), ..base },
            ["16 lanes", "32"],
        ),
        (&Caps::webgpu(), Knobs { lookup: Some(Lookup::Half), ..base }, ["gemv_vector", "no f16"]),
        (
            &Caps::webgpu(),
            Knobs { reduce: Some(Reduce::Subgroup), ..base },
            ["gemv_vector", "subgroup"],
        ),
    ] {
        assert_kind!(refused(spec.launches(caps, &knobs), &words), Error::Unsupported { .. });
    }
    for (knobs, words) in [
        (Knobs { workgroup: Some(63), ..base }, ["workgroup of gemv_vector", "8..=256"]),
        (Knobs { rows: Some(3), ..base }, ["rows a workgroup of gemv_vector", "2, 4, 8"]),
        (Knobs { slices: Some(2), ..base }, ["slices of gemv_vector", "1..=1"]),
        (Knobs { slices: Some(0), ..base }, ["slices of gemv_vector", "1..=1"]),
    ] {
        assert_kind!(refused(spec.launches(&Caps::webgpu(), &knobs), &words), Error::Range { .. });
    }
    let biased = GemvVector { bias: true, ..spec.clone() };
    let error = refused(biased.launches(&rich, &base), &["gemv_vector with bias", "no bias"]);
    assert_kind!(error, Error::Unsupported { .. });
    let single = VectorLayout::for_shape(SHAPE, TableElement::F32, false, &rich).unwrap();
    let half = Knobs { lookup: Some(Lookup::Half), ..base };
    let error = refused(GemvVector::new(single).launches(&rich, &half), &["tables are f32"]);
    assert_kind!(error, Error::Unsupported { .. });
    let small = Caps { max_buffer_bytes: 80, ..Caps::webgpu() };
    let dense = DequantizeVector { layout: spec.layout.clone(), element: Activation::F32 };
    let error = refused(dense.launches(&small, &base), &["dst", "84", "80"]);
    assert_kind!(error, Error::BindingTooLarge { bytes: 84, limit: 80, .. });
}

#[test]
fn views_and_weights_of_another_kind_are_refused() {
    let ctx = noop();
    let weights = VectorWeights::upload(&ctx, &layer(Some(vec![0.25; 3]))).unwrap();
    assert_eq!(weights.bytes(), (3 * 32 * 4) + (3 * 8 * 4) + 12);
    let plan = gemv_vector::plan(&ctx, &weights, Default::default()).unwrap();
    assert_eq!((plan.x_len(), plan.y_len(), plan.scratch_bytes()), (7, 3, 0));
    let (x, y) = (ctx.alloc::<f32>(7).unwrap(), ctx.alloc::<f32>(3).unwrap());
    plan.bind(&weights, &x, &y).unwrap();
    let half = ctx.alloc::<half::f16>(7).unwrap();
    assert_kind!(refused(plan.bind(&weights, &half, &y), &["x", "F16"]), Error::Shape { .. });
    assert_kind!(refused(plan.bind(&weights, &y, &y), &["length of x"]), Error::Shape { .. });
    assert_kind!(refused(plan.bind(&weights, &x, &x), &["length of y"]), Error::Shape { .. });
    // Same size, but without the bias that the plan was made for.
    let other = VectorWeights::upload(&ctx, &layer(None)).unwrap();
    let error = refused(plan.bind(&other, &x, &y), &["layout of the weights"]);
    assert_kind!(error, Error::Shape { .. });
    let dense = dequantize_vector::plan(&ctx, &weights, Activation::F16, &Knobs::DEFAULT).unwrap();
    assert_eq!((dense.stride(), dense.dst_len()), (8, 24));
    let error = refused(dense.bind(&weights, &half), &["length of dst", "24"]);
    assert_kind!(error, Error::Shape { .. });
}
