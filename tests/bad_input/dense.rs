//! Products of many vectors: dense matrices, blocks of them, routes.

use crate::{Wanted, assert_kind, noop, refused, sparse_widths};
use fewbytes::launch::{Lookup, Route};
use fewbytes::linear::gemm::Block;
use fewbytes::linear::{
    Activation, BitplaneLayout, BitplaneShape, Gemm, GemmBitplane, MatmulBitplane, TableElement,
};
use fewbytes::{Caps, Error, Knobs, Spec as _};
use fewbytes_wgpu::ops::gemm::{self, Tensors};
use fewbytes_wgpu::ops::{BitplaneWeights, gemm_bitplane, matmul_bitplane};

const BASE: Knobs = Knobs::DEFAULT;

fn f16(offset: usize, stride: usize) -> Block {
    Block { element: Activation::F16, offset, stride }
}

fn slices(slices: u32) -> Knobs {
    Knobs { slices: Some(slices), ..BASE }
}

#[test]
fn blocks_that_no_matrix_can_be_are_refused() {
    let caps = Caps::webgpu();
    let good = Gemm::new(3, 5, 7);
    let short = |stride| Block { stride, ..good.w };
    for (wrong, says) in [
        (Gemm { w: short(6), ..good }, ["stride of w of gemm = 6", "7.."]),
        (Gemm { x: short(6), ..good }, ["stride of x of gemm = 6", "7.."]),
        (Gemm { y: short(4), ..good }, ["stride of y of gemm = 4", "5.."]),
        (Gemm { w: short(usize::MAX), ..good }, ["elements of w of gemm", ""]),
    ] {
        assert_kind!(refused(wrong.launches(&caps, &BASE), &says), Error::Range { .. });
    }
    // Words of two products must not be shared between vectors.
    for (y, says) in [(f16(1, 6), "offset of y"), (f16(0, 5), "stride of y")] {
        let error = refused(Gemm { y, ..good }.launches(&caps, &BASE), &[says, "multiple of 2"]);
        assert_kind!(error, Error::Alignment { .. });
    }
    let adds = Gemm { y: f16(0, 6), accumulate: true, ..good };
    let error = refused(adds.launches(&caps, &BASE), &["adds to y of f16", "f32"]);
    assert_kind!(error, Error::Unsupported { .. });
    // The stride of one row is not used.
    Gemm { batch: 1, x: short(0), y: f16(0, 5), ..good }.launches(&caps, &BASE).unwrap();
}

#[test]
fn no_vector_or_row_is_no_launch_and_no_column_is_one() {
    let caps = Caps::webgpu();
    for (batch, rows, cols, launches) in [(0, 5, 7, 0), (3, 0, 7, 0), (3, 5, 0, 1), (3, 5, 7, 1)] {
        let made = Gemm::new(batch, rows, cols).launches(&caps, &BASE).unwrap();
        assert_eq!(made.len(), launches, "{batch} {rows} {cols}");
    }
    // What is wrong is wrong for no vector, too.
    let wrong = Gemm { w: Block::dense(Activation::F32, 6), ..Gemm::new(0, 5, 7) };
    refused(wrong.launches(&caps, &BASE), &["stride of w"]);
}

#[test]
fn dense_matrices_that_do_not_fit_are_told_with_both_numbers() {
    let caps = Caps { max_binding_bytes: 1000, ..Caps::webgpu() };
    for (spec, what) in [
        (Gemm::new(300, 1, 1), "x of gemm needs 1200"),
        (Gemm::new(1, 300, 1), "y of gemm needs 1200"),
        (Gemm { bias: true, y: f16(0, 300), ..Gemm::new(1, 300, 1) }, "bias needs 1200"),
        (Gemm::new(1, 2, 200), "1 rows of w needs 1056"),
        (Gemm { y: f16(0, 4), ..Gemm::new(1, 4, 100) }, "2 rows of w needs 1056"),
    ] {
        let error = refused(spec.launches(&caps, &BASE), &[what, "1000"]);
        assert_kind!(error, Error::BindingTooLarge { limit: 1000, .. });
    }
    let most = usize::MAX;
    for (batch, rows, cols) in [(most, 1, 1), (1, most, 1), (1, 1, most), (most, most, most)] {
        refused(Gemm::new(batch, rows, cols).launches(&caps, &BASE), &[]);
    }
}

#[test]
fn a_matrix_is_cut_at_any_row_that_fits_and_its_vectors_count_once() {
    let caps = Caps::webgpu();
    let totals = |spec: Gemm, caps: &Caps| {
        let launches = spec.launches(caps, &BASE).unwrap();
        let traffic: fewbytes::launch::Traffic = launches.iter().map(|l| l.traffic()).sum();
        (launches.len(), traffic)
    };
    // 33 rows of 4,000,000 bytes fit 128 MiB.
    let (launches, traffic) = totals(Gemm::new(2, 64, 1_000_000), &caps);
    assert_eq!(launches, 2);
    assert_eq!(traffic.read_bytes, 66 * 4_000_000);
    assert_eq!((traffic.write_bytes, traffic.flops), (2 * 64 * 4, 2 * 2 * 64_000_000));
    let large = Caps { max_binding_bytes: 1 << 30, max_buffer_bytes: 1 << 30, ..Caps::webgpu() };
    assert_eq!(totals(Gemm::new(2, 64, 1_000_000), &large), (1, traffic));
    // Two products of f16 share a word.
    let halves = Gemm { y: f16(0, 6), ..Gemm::new(2, 6, 40) };
    let narrow = Caps { max_binding_bytes: 3 * 160 + 256, ..Caps::webgpu() };
    assert_eq!(totals(halves, &narrow).0, 3);
    assert_eq!(totals(Gemm::new(2, 6, 40), &narrow).0, 2);
}

#[test]
fn slices_and_shapes_that_a_dense_product_cannot_take_are_refused() {
    let caps = Caps::webgpu();
    let spec = Gemm::new(3, 5, 20);
    for wrong in [0, 4] {
        let error = refused(spec.launches(&caps, &slices(wrong)), &["slices of gemm", "1..=3"]);
        assert_kind!(error, Error::Range { .. });
    }
    let beside = Gemm { y: Block { stride: 6, ..spec.y }, ..spec };
    // What follows an odd number of f16 products is somebody else's unless the block is packed.
    let one = |stride| Gemm { batch: 1, y: f16(0, stride), ..spec };
    one(6).launches(&caps, &slices(2)).unwrap();
    Gemm { rows: 6, ..one(0) }.launches(&caps, &slices(2)).unwrap();
    for wrong in [beside, Gemm { accumulate: true, ..spec }, one(5), one(0)] {
        let error = refused(wrong.launches(&caps, &slices(2)), &["2 slices", "packed"]);
        assert_kind!(error, Error::Unsupported { .. });
    }
    for (knobs, says) in [
        (Knobs { rows: Some(48), ..BASE }, "32, 64, 128"),
        (Knobs { workgroup: Some(32), ..BASE }, "at least 64"),
        (Knobs { workgroup: Some(256), rows: Some(64), ..BASE }, "16, 32, 64"),
        (Knobs { workgroup: Some(512), ..BASE }, "8..=256"),
    ] {
        refused(spec.launches(&caps, &knobs), &["gemm", says]);
        let layout = BitplaneLayout::new(&sparse_widths().layer(), 8, &caps).unwrap();
        let planes = GemmBitplane::new(layout, 4, 3).launches(&caps, &knobs);
        refused(planes, &["gemm_bitplane", says]);
    }
}

#[test]
fn cooperative_matrices_are_refused_where_there_are_none_and_for_f32() {
    let caps = Caps { max_workgroup_bytes: 48 << 10, ..Caps::webgpu() };
    let matrix = Knobs { matrix: Some(true), ..BASE };
    let spec = Gemm::new(64, 64, 64);
    let error = refused(spec.launches(&caps, &matrix), &["gemm", "f16"]);
    assert_kind!(error, Error::Unsupported { .. });
    let halves = Gemm { w: f16(0, 64), x: f16(0, 64), ..spec };
    for caps in [caps.clone(), Caps { f16: true, subgroups: true, ..caps }] {
        let missing = if caps.f16 { "cooperative matrices" } else { "f16 arithmetic" };
        let error = refused(halves.launches(&caps, &matrix), &["gemm", missing]);
        assert_kind!(error, Error::Unsupported { .. });
    }
}

#[test]
fn what_gemm_bitplane_cannot_do_is_refused() {
    let caps = Caps::webgpu();
    let layout = BitplaneLayout::new(&sparse_widths().layer(), 8, &caps).unwrap();
    let spec = |bits, batch| GemmBitplane::new(layout.clone(), bits, batch);
    refused(spec(5, 9).launches(&caps, &BASE), &["width 5", "3, 4, 8"]);
    refused(spec(5, 0).launches(&caps, &BASE), &["width 5"]);
    assert!(spec(4, 0).launches(&caps, &BASE).unwrap().is_empty());
    for batch in [1 << 33, usize::MAX] {
        let error = refused(spec(4, batch).launches(&caps, &BASE), &[]);
        assert!(matches!(error, Error::Range { .. } | Error::BindingTooLarge { .. }), "{error}");
    }
    refused(spec(4, 9).launches(&caps, &slices(3)), &["slices of gemm_bitplane", "1..=2"]);
    let lookup = |lookup| Knobs { lookup: Some(lookup), ..BASE };
    refused(spec(8, 9).launches(&caps, &lookup(Lookup::Pair)), &["Pair", "2 to 4 bits"]);
    refused(spec(8, 9).launches(&caps, &lookup(Lookup::Half)), &["no f16"]);
    refused(spec(8, 9).launches(&caps, &lookup(Lookup::Single)), &["bytes of workgroup memory"]);
    let f32_tables = Wanted { table: TableElement::F32, ..Wanted::new(4, 64, 3, 8) }.layer();
    let f32_tables = BitplaneLayout::new(&f32_tables, 8, &caps).unwrap();
    let f32_tables = GemmBitplane::new(f32_tables, 8, 9);
    refused(f32_tables.launches(&caps, &lookup(Lookup::Half)), &["tables are f32"]);
    let no_bias = Wanted::new(4, 64, 3, 8).layer();
    let layout = BitplaneLayout::new(&no_bias, 8, &caps).unwrap();
    let biased = GemmBitplane { bias: true, ..GemmBitplane::new(layout, 8, 9) };
    refused(biased.launches(&caps, &BASE), &["no bias"]);
}

#[test]
fn tensors_that_are_no_blocks_of_a_product_are_refused() {
    let ctx = noop();
    let spec = Gemm { bias: true, ..Gemm::new(3, 5, 7) };
    let plan = gemm::plan(&ctx, spec, &BASE).unwrap();
    let floats = |len| ctx.alloc::<f32>(len).unwrap();
    let (w, x, y, bias) = (floats(35), floats(21), floats(15), floats(5));
    let good = Tensors { w: &w, x: &x, y: &y, bias: Some(&bias), scratch: None };
    plan.bind(&good).unwrap();
    // More is no harm: the matrix may be a block.
    plan.bind(&Tensors { w: &floats(100), ..good }).unwrap();
    let (short, halves) = (floats(14), ctx.alloc::<half::f16>(100).unwrap());
    for (wrong, says) in [
        (Tensors { w: &short, ..good }, "length of w"),
        (Tensors { x: &short, ..good }, "length of x"),
        (Tensors { y: &short, ..good }, "length of y"),
        (Tensors { w: &halves, ..good }, "elements of w"),
        (Tensors { y: &halves, ..good }, "elements of y"),
        (Tensors { bias: Some(&short), ..good }, "length of bias"),
        (Tensors { bias: None, ..good }, "bias of gemm"),
    ] {
        assert_kind!(refused(plan.bind(&wrong), &[says]), Error::Shape { .. });
    }
    let shared = floats(1000);
    let (from, to) = (shared.slice(0..128).unwrap(), shared.slice(512..600).unwrap());
    let error = refused(plan.bind(&Tensors { x: &from, y: &to, ..good }), &["y of gemm", "x"]);
    assert_kind!(error, Error::Aliasing { .. });
    let sliced = gemm::plan(&ctx, Gemm::new(3, 5, 16), &slices(2)).unwrap();
    assert_eq!(sliced.scratch_bytes(), 2 * 3 * 5 * 4);
    let without = Tensors { w: &shared, x: &shared, y: &y, bias: None, scratch: None };
    refused(sliced.bind(&without), &["scratch memory"]);
}

#[test]
fn routes_are_chosen_by_vectors_and_by_what_fits_and_say_what_scratch_they_want() {
    let caps = Caps::webgpu();
    let layout = BitplaneLayout::new(&sparse_widths().layer(), 8, &caps).unwrap();
    let spec = |batch| MatmulBitplane::new(layout.clone(), 4, batch);
    let small = Caps { max_buffer_bytes: 6 * 64 * 2 - 1, ..Caps::webgpu() };
    for (batch, route, scratch) in [
        (1, Route::Gemv, 0),
        (8, Route::Gemv, 0),
        // Eight vectors of 6 f32 do not end at a multiple of 256 bytes.
        (9, Route::Gemm, 0),
        (256, Route::Gemm, 0),
        // 6 x 64 weights of f16.
        (257, Route::Dense, 768),
    ] {
        assert_eq!(spec(batch).route(&caps, &BASE), route, "{batch}");
        assert_eq!(spec(batch).scratch_bytes(&caps, &BASE).unwrap(), scratch, "{batch}");
    }
    assert_eq!(spec(257).route(&small, &BASE), Route::Gemm);
    let by = |route| Knobs { route: Some(route), ..BASE };
    let error = refused(spec(9).launches(&caps, &by(Route::Gemv)), &["by gemv_bitplane", "0..=8"]);
    assert_kind!(error, Error::Range { .. });
    let error = refused(spec(2).launches(&small, &by(Route::Dense)), &["dst", "768", "767"]);
    assert_kind!(error, Error::BindingTooLarge { .. });
    let error = refused(spec(3).launches(&small, &BASE), &["bytes of x", "0..=767", "768"]);
    assert_kind!(error, Error::Range { .. });
    // What has to move does not depend on the parts either.
    let shape = BitplaneShape { rows: 64, cols: 64, seed_bits: 4, parent_bits: 4 };
    let even = BitplaneLayout::for_shape(shape, &[4], TableElement::F16, true, 4, &caps).unwrap();
    let parts = MatmulBitplane::new(even, 4, 20);
    assert_eq!(parts.route(&caps, &BASE), Route::Gemv);
    assert_eq!(parts.launches(&caps, &BASE).unwrap().len(), 3);
    for caps in [&caps, &Caps { max_binding_bytes: 20 * 64 * 4 - 1, ..caps.clone() }] {
        for route in [Route::Gemv, Route::Gemm] {
            let launches = parts.launches(caps, &by(route)).unwrap();
            let traffic: fewbytes::launch::Traffic = launches.iter().map(|l| l.traffic()).sum();
            let (weights, x) = (4 * 64 * 8 + 64 * 32 + 4 * 64, 20 * 64 * 4);
            assert_eq!(traffic.read_bytes, weights + x, "{route:?}, {} launches", launches.len());
            assert_eq!((traffic.write_bytes, traffic.flops), (20 * 64 * 4, 2 * 20 * 64 * 64));
        }
    }
    for route in [Route::Gemv, Route::Gemm, Route::Dense] {
        let wrong = MatmulBitplane { bits: 5, ..spec(3) };
        refused(wrong.launches(&caps, &by(route)), &["width 5"]);
        assert!(spec(0).launches(&caps, &by(route)).unwrap().is_empty());
        // What has to move does not depend on the way, and dense weights in between do not count.
        let launches = spec(3).launches(&caps, &by(route)).unwrap();
        let traffic: fewbytes::launch::Traffic = launches.iter().map(|l| l.traffic()).sum();
        assert_eq!(traffic.read_bytes, 4 * 6 * 8 + 6 * 32 + 4 * 6 + 3 * 64 * 4, "{route:?}");
        assert_eq!((traffic.write_bytes, traffic.flops), (3 * 6 * 4, 2 * 3 * 6 * 64), "{route:?}");
    }
}

#[test]
fn scratch_memory_for_dense_weights_is_asked_for_and_checked() {
    let ctx = noop();
    let weights = BitplaneWeights::upload(&ctx, &sparse_widths().layer(), 8).unwrap();
    let options = gemm_bitplane::Options::new(300);
    let plan = matmul_bitplane::plan(&ctx, &weights, options).unwrap();
    assert_eq!(plan.scratch_bytes(), 768);
    let (x, y) = (ctx.alloc::<f32>(300 * 64).unwrap(), ctx.alloc::<f32>(300 * 6).unwrap());
    refused(plan.bind(&weights, &x, &y), &["scratch memory of dequantize_bitplane", "768"]);
    let short = ctx.alloc::<u32>(191).unwrap();
    let bound = plan.bind_with(&weights, &x, &y, Some(&short));
    assert_kind!(refused(bound, &["768", "764"]), Error::Shape { .. });
    let bound = plan.bind_with(&weights, &x, &y, Some(&y));
    assert_kind!(refused(bound, &["scratch memory"]), Error::Aliasing { .. });
    let enough = ctx.alloc::<u32>(192).unwrap();
    plan.bind_with(&weights, &x, &y, Some(&enough)).unwrap();
}
