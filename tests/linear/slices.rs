//! Sliced columns, knobs for every width, plans for several layers, f16 arithmetic.

use crate::device::open;
use crate::{activations, assert_product, bit_patterns, product, quantized, with_widths};
use fewbytes::launch::{Reduce, Spec as _};
use fewbytes::linear::gemv_bitplane::{BIAS, X, Y};
use fewbytes::linear::{Activation, Arithmetic, BitplaneLayer, GemvBitplane};
use fewbytes::{Caps, Error, Knobs};
use fewbytes_wgpu::ops::{BitplaneWeights, gemv_bitplane};
use fewbytes_wgpu::{Arg, Context, Features, View};
use half::f16;

fn sliced(slices: u32) -> Knobs {
    Knobs { slices: Some(slices), ..Knobs::DEFAULT }
}

fn plan(ctx: &Context, weights: &BitplaneWeights, knobs: Knobs) -> gemv_bitplane::Plan {
    let options = gemv_bitplane::Options { knobs, ..Default::default() };
    gemv_bitplane::plan(ctx, weights, options).unwrap()
}

/// Runs a product with all the scratch memory it wants; both are NaN beforehand.
fn with_scratch(
    ctx: &Context,
    plan: &gemv_bitplane::Plan,
    bits: u8,
    weights: &BitplaneWeights,
    x: &View,
) -> Vec<f32> {
    let y = ctx.upload(&vec![f32::NAN; weights.layout().rows()]).unwrap();
    let scratch = ctx.upload(&vec![f32::NAN; plan.scratch_bytes() as usize / 4]).unwrap();
    let bound = plan.bind_with(weights, x, &y, Some(&scratch)).unwrap();
    ctx.submit(|pass| bound.record(pass, bits)).unwrap();
    ctx.block_on(ctx.read::<f32>(&y)).unwrap()
}

#[test]
fn slices_are_bound_and_recorded_in_one_call_with_scratch_memory() {
    let (rows, cols) = (37, 2100);
    let layer = with_widths(&quantized(23, rows, cols), &[3, 8]);
    let ctx = open(Features::Full);
    let weights = BitplaneWeights::upload(&ctx, &layer, 8).unwrap();
    let x_host = activations(24, cols);
    let x = ctx.upload(&x_host).unwrap();
    let plan = plan(&ctx, &weights, sliced(3));
    for bits in [3, 8] {
        let y = ctx.upload(&vec![f32::NAN; rows]).unwrap();
        let without = ctx.submit(|pass| plan.record(pass, bits, &weights, &x, &y)).unwrap_err();
        assert!(matches!(without, Error::Shape { .. }), "{without}");
        let scratch = ctx.alloc::<u8>(plan.scratch_bytes() as usize).unwrap();
        let scratch = Some(&scratch);
        ctx.submit(|pass| plan.record_with(pass, bits, &weights, &x, &y, scratch)).unwrap();
        let found = ctx.block_on(ctx.read::<f32>(&y)).unwrap();
        assert_product(&layer, bits, &x_host, &found);
        let bound = with_scratch(&ctx, &plan, bits, &weights, &x);
        assert_eq!(bit_patterns(&found), bit_patterns(&bound));
    }
}

#[test]
fn slices_give_the_product_of_the_whole() {
    let (rows, cols) = (37, 2100);
    let layer = with_widths(&quantized(21, rows, cols), &[3, 4, 8]);
    let x_host = activations(22, cols);
    for features in [Features::Full, Features::Baseline] {
        let ctx = open(features);
        let weights = BitplaneWeights::upload(&ctx, &layer, 8).unwrap();
        let x = ctx.upload(&x_host).unwrap();
        // 66 words: an odd share, slices that end up empty, a word each.
        for slices in [2, 7, 40, 66] {
            let plan = plan(&ctx, &weights, sliced(slices));
            assert_eq!(plan.scratch_bytes(), 4 * 37 * u64::from(slices));
            for bits in [3, 4, 8] {
                let y = with_scratch(&ctx, &plan, bits, &weights, &x);
                // The bound of the unsliced product: slices only shorten what a lane adds up, by
                // as much as the additions of slices here are more, or fewer than lanes.
                assert_product(&layer, bits, &x_host, &y);
                let again = with_scratch(&ctx, &plan, bits, &weights, &x);
                assert_eq!(bit_patterns(&again), bit_patterns(&y), "{slices} slices, {bits} bits");
            }
        }
    }
}

#[test]
fn a_grid_of_two_dimensions_reaches_every_slice() {
    let (rows, cols) = (43, 1100);
    let layer = with_widths(&quantized(21, rows, cols), &[4]);
    let ctx = open(Features::Full);
    let weights = BitplaneWeights::upload(&ctx, &layer, 8).unwrap();
    let x_host = activations(22, cols);
    let x = ctx.upload(&x_host).unwrap();
    let knobs = Knobs { rows: Some(4), ..sliced(3) };
    let one = with_scratch(&ctx, &plan(&ctx, &weights, knobs), 4, &weights, &x);
    let few = Caps { max_groups: 7, ..ctx.caps().clone() };
    let spec = GemvBitplane::new(weights.layout().clone(), 4);
    let launches = spec.launches(&few, &knobs).unwrap();
    // 33 groups and two that have to notice that they are too many.
    assert_eq!(launches[0].grid(), [7, 5, 1]);
    let plan = ctx.plan_launches(launches).unwrap();
    let y = ctx.upload(&vec![f32::NAN; rows]).unwrap();
    let scratch = ctx.upload(&vec![f32::NAN; plan.scratch_bytes() as usize / 4]).unwrap();
    let view = std::slice::from_ref;
    let args = [
        Arg { binding: 1, pieces: weights.planes() },
        Arg { binding: 2, pieces: weights.tables() },
        Arg { binding: BIAS, pieces: weights.bias() },
        Arg { binding: X, pieces: view(&x) },
        Arg { binding: Y, pieces: view(&y) },
    ];
    ctx.submit(|pass| plan.record_with(pass, &args, Some(&scratch))).unwrap();
    let two = ctx.block_on(ctx.read::<f32>(&y)).unwrap();
    assert_eq!(bit_patterns(&two), bit_patterns(&one));
    assert_product(&layer, 4, &x_host, &two);
}

#[test]
fn every_width_runs_with_its_own_knobs() {
    let layer = quantized(21, 37, 1100);
    let ctx = open(Features::Full);
    let weights = BitplaneWeights::upload(&ctx, &layer, 8).unwrap();
    let x_host = activations(22, 1100);
    let x = ctx.upload(&x_host).unwrap();
    let own = |bits: u8| match bits {
        4 => sliced(2),
        5 => Knobs { reduce: Some(Reduce::Workgroup), ..sliced(5) },
        6 => Knobs { reduce: Some(Reduce::Workgroup), ..Knobs::DEFAULT },
        _ => Knobs::DEFAULT,
    };
    // Those of the options are not used: with them every width would be refused.
    let knobs = Knobs { workgroup: Some(3), ..Knobs::DEFAULT };
    let options = gemv_bitplane::Options { knobs, ..Default::default() };
    let mixed = gemv_bitplane::plan_with(&ctx, &weights, options, |spec| own(spec.bits)).unwrap();
    let kernels = |bits| mixed.width(bits).unwrap().variants().map(|v| v.0).collect::<Vec<_>>();
    for bits in 3..=8 {
        let sliced = matches!(bits, 4 | 5);
        let expected =
            if sliced { &["gemv_bitplane", "sum_slices"][..] } else { &["gemv_bitplane"] };
        assert_eq!(kernels(bits), expected, "{bits} bits");
        let bytes = 4 * 37 * u64::from(own(bits).slices.unwrap_or(0));
        assert_eq!(mixed.width(bits).unwrap().scratch_bytes(), bytes);
    }
    assert_eq!(mixed.width(6).unwrap().variants().next(), Some(("gemv_bitplane", "baseline")));
    // One scratch memory is for all widths, of the largest that any wants.
    assert_eq!(mixed.scratch_bytes(), 4 * 37 * 5);
    for bits in 3..=8 {
        let y = with_scratch(&ctx, &mixed, bits, &weights, &x);
        assert_product(&layer, bits, &x_host, &y);
        let alone = plan(&ctx, &weights, own(bits));
        let alone = with_scratch(&ctx, &alone, bits, &weights, &x);
        assert_eq!(bit_patterns(&y), bit_patterns(&alone), "{bits} bits");
    }
    // Recording by the way lends no scratch memory: widths that want none run, the others say so.
    let y = product(&ctx, &mixed, 3, &weights, &x);
    assert_product(&layer, 3, &x_host, &y);
    let y = ctx.upload(&[f32::NAN; 37]).unwrap();
    let refused = ctx.submit(|pass| mixed.record(pass, 4, &weights, &x, &y)).unwrap_err();
    assert!(matches!(refused, Error::Shape { .. }), "{refused}");
}

#[test]
fn one_plan_and_one_scratch_serve_all_layers_of_one_layout() {
    let ctx = open(Features::Full);
    let layers = [21, 31, 41].map(|seed| with_widths(&quantized(seed, 96, 96), &[5]));
    let uploaded = layers.each_ref().map(|l| BitplaneWeights::upload(&ctx, l, 8).unwrap());
    for knobs in [Knobs::DEFAULT, sliced(3)] {
        let plan = plan(&ctx, &uploaded[0], knobs);
        let compiled = ctx.pipelines();
        let scratch = ctx.upload(&vec![f32::NAN; plan.scratch_bytes() as usize / 4]).unwrap();
        // A chain in one pass: each layer reads what the one before wrote.
        let x = activations(40, 96);
        let mut tensors = vec![ctx.upload(&x).unwrap()];
        tensors.extend((0..3).map(|_| ctx.upload(&[f32::NAN; 96]).unwrap()));
        let bind = |(io, weights): (&[View], &BitplaneWeights)| {
            plan.bind_with(weights, &io[0], &io[1], Some(&scratch)).unwrap()
        };
        let bound: Vec<_> = tensors.windows(2).zip(&uploaded).map(bind).collect();
        ctx.submit(|pass| bound.iter().try_for_each(|bound| bound.record(pass, 5))).unwrap();
        let mut input = x;
        for (layer, y) in layers.iter().zip(&tensors[1..]) {
            let y = ctx.block_on(ctx.read::<f32>(y)).unwrap();
            assert_product(layer, 5, &input, &y);
            input = y;
        }
        assert_eq!(ctx.pipelines(), compiled);
    }
}

fn f16_options() -> gemv_bitplane::Options {
    gemv_bitplane::Options {
        activation: Activation::F16,
        arithmetic: Arithmetic::F16,
        ..Default::default()
    }
}

/// On every adapter, whatever it has.
fn contexts() -> impl Iterator<Item = Context> {
    let adapters = pollster::block_on(fewbytes_wgpu::adapters());
    assert!(!adapters.is_empty(), "no adapter: `cargo xtask test` finds or installs a driver");
    adapters.into_iter().flat_map(|adapter| {
        [Features::Full, Features::Baseline]
            .map(|features| pollster::block_on(Context::open_on(&adapter, features)).unwrap())
    })
}

#[test]
fn f16_arithmetic_is_refused_where_there_is_none_and_works_where_there_is() {
    let (rows, cols) = (37, 1056);
    let layer = quantized(21, rows, cols);
    let host: Vec<f16> = activations(22, cols).into_iter().map(f16::from_f32).collect();
    let x_host: Vec<f32> = host.iter().map(|x| x.to_f32()).collect();
    let mut refused = 0;
    for ctx in contexts() {
        let weights = BitplaneWeights::upload(&ctx, &layer, 4).unwrap();
        let planned = gemv_bitplane::plan(&ctx, &weights, f16_options());
        if !ctx.caps().f16 {
            let Err(error) = planned else { panic!("f16 products on {}", ctx.describe()) };
            let text = "gemv_bitplane is not available: the device has no f16 arithmetic";
            assert_eq!(error.to_string(), text);
            assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
            assert_eq!(ctx.pipelines(), 0, "compiled on {}", ctx.describe());
            // Lookups of f16 are refused in the same way; by default they are not made.
            let weights = BitplaneWeights::upload(&ctx, &layer, 8).unwrap();
            let knobs = Knobs { lookup: Some(fewbytes::launch::Lookup::Half), ..Knobs::DEFAULT };
            let options = gemv_bitplane::Options { knobs, ..Default::default() };
            let error = gemv_bitplane::plan(&ctx, &weights, options).map(|_| ()).unwrap_err();
            assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
            assert_eq!(ctx.pipelines(), 0);
            gemv_bitplane::plan(&ctx, &weights, Default::default()).unwrap();
            refused += 1;
            continue;
        }
        let plan = planned.unwrap();
        let (x, y) = (ctx.upload(&host).unwrap(), ctx.upload(&[f16::NAN; 37]).unwrap());
        for bits in [3, 4] {
            ctx.submit(|pass| plan.record(pass, bits, &weights, &x, &y)).unwrap();
            let y = ctx.block_on(ctx.read::<f16>(&y)).unwrap();
            assert_half_product(&layer, bits, &x_host, &y);
        }
    }
    // A masked device has none, whatever the adapter.
    assert!(refused > 0);
}

/// Eight products in a row are summed in f16, half a unit lost at each at least; the result is
/// rounded to f16. Further sums are f32 and vanish beside that.
#[track_caller]
fn assert_half_product(layer: &BitplaneLayer, bits: u8, x: &[f32], y: &[f16]) {
    let expected = fewbytes::linear::gemv_bitplane::reference(layer, bits, x, true).unwrap();
    for (row, (found, (y, condition))) in
        y.iter().zip(expected.y.iter().zip(&expected.condition)).enumerate()
    {
        let tiny = (x.len() + 1) as f64 * f64::powi(2.0, -25);
        let bound = 9.0 / 1024.0 * condition + y.abs() / 2048.0 + tiny;
        let off = (found.to_f64() - y).abs();
        assert!(off <= bound, "row {row} at {bits} bits: {found}, expected {y}");
    }
}

#[test]
fn what_f16_arithmetic_cannot_do_is_refused_before_the_device_is_asked() {
    // Even on a device without it the text names what no device could do.
    for ctx in contexts() {
        let layer = quantized(21, 8, 64);
        let narrow = BitplaneWeights::upload(&ctx, &layer, 4).unwrap();
        let wide = BitplaneWeights::upload(&ctx, &layer, 8).unwrap();
        let ragged = BitplaneWeights::upload(&ctx, &quantized(21, 8, 65), 4).unwrap();
        let options = f16_options();
        for (weights, options, words) in [
            (&narrow, gemv_bitplane::Options { batch: 2, ..options }, "takes one vector"),
            (
                &narrow,
                gemv_bitplane::Options { activation: Activation::F32, ..options },
                "takes f16 activations",
            ),
            (&wide, options, "2 to 4 bits"),
            (&ragged, options, "multiples of 32"),
        ] {
            let planned = gemv_bitplane::plan(&ctx, weights, options);
            let Err(error) = planned else { panic!("planned: {words}") };
            assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
            // Where the device has none at all, the first width that could be made says so.
            let text = error.to_string();
            assert!(text.contains(words) || !ctx.caps().f16, "{words:?} is not in {text:?}");
        }
        assert!(ctx.caps().f16 || ctx.pipelines() == 0);
    }
}
