//! Plans: which variant runs, binding, chains.

use crate::device::open;
use crate::{activations, assert_product, bit_patterns, product, quantized};
use fewbytes_wgpu::ops::{BitplaneWeights, gemv_bitplane};
use fewbytes_wgpu::{Context, Features, View};

fn variants(plan: &gemv_bitplane::Plan, bits: u8) -> Vec<(&'static str, &'static str)> {
    plan.width(bits).unwrap().variants().collect()
}

#[test]
fn a_plan_says_which_path_runs() {
    let layer = quantized(1, 8, 64);
    let adapters = pollster::block_on(fewbytes_wgpu::adapters());
    assert!(!adapters.is_empty(), "no adapter: `cargo xtask test` finds or installs a driver");
    for (adapter, features) in
        adapters.iter().flat_map(|a| [(a, Features::Full), (a, Features::Baseline)])
    {
        let ctx = pollster::block_on(Context::open_on(adapter, features)).unwrap();
        // What the adapter has is used on a full device, and nothing of it on a masked one.
        let has = adapter.features().contains(wgpu::Features::SUBGROUP);
        let subgroups = has && features == Features::Full;
        assert_eq!(ctx.caps().subgroups, subgroups, "{}", ctx.describe());
        let weights = BitplaneWeights::upload(&ctx, &layer, 8).unwrap();
        let plan = gemv_bitplane::plan(&ctx, &weights, Default::default()).unwrap();
        for bits in 3..=8 {
            // Wide tables of f16 stay f16 where the device can look them up.
            let variant = match (subgroups, bits >= 7 && ctx.caps().f16) {
                (true, true) => "subgroup half",
                (true, false) => "subgroup",
                (false, true) => "baseline half",
                (false, false) => "baseline",
            };
            assert_eq!(variants(&plan, bits), [("gemv_bitplane", variant)]);
        }
        let knobs = fewbytes::Knobs::baseline();
        let options = gemv_bitplane::Options { knobs, ..Default::default() };
        let plan = gemv_bitplane::plan(&ctx, &weights, options).unwrap();
        assert_eq!(variants(&plan, 8), [("gemv_bitplane", "baseline")]);
    }
}

/// A layer on a device with its plan and activations.
struct Scene {
    ctx: Context,
    weights: BitplaneWeights,
    plan: gemv_bitplane::Plan,
    x: View,
}

fn scene(rows: usize, cols: usize) -> Scene {
    let ctx = open(Features::Full);
    let weights = BitplaneWeights::upload(&ctx, &quantized(21, rows, cols), 8).unwrap();
    let plan = gemv_bitplane::plan(&ctx, &weights, Default::default()).unwrap();
    let x = ctx.upload(&activations(22, cols)).unwrap();
    Scene { ctx, weights, plan, x }
}

#[test]
fn many_bound_products_stay_apart_and_serve_every_width() {
    let Scene { ctx, weights, plan, .. } = scene(9, 96);
    let layer = quantized(21, 9, 96);
    let sets: Vec<_> = (0..80)
        .map(|i| {
            let host = activations(1000 + i, 96);
            let (x, y) = (ctx.upload(&host).unwrap(), ctx.alloc::<f32>(9).unwrap());
            (plan.bind(&weights, &x, &y).unwrap(), y, host)
        })
        .collect();
    let compiled = ctx.pipelines();
    // What is bound needs neither the plan nor the handles of its tensors.
    drop((plan, weights));
    for bits in [6, 3, 8] {
        for (_, y, _) in &sets {
            ctx.write(y, &[f32::NAN; 9]).unwrap();
        }
        ctx.submit(|pass| sets.iter().try_for_each(|(bound, ..)| bound.record(pass, bits)))
            .unwrap();
        for (_, y, host) in &sets {
            assert_product(&layer, bits, host, &ctx.block_on(ctx.read::<f32>(y)).unwrap());
        }
    }
    assert_eq!(ctx.pipelines(), compiled);
}

#[test]
fn a_bound_product_is_the_recorded_one_and_knows_its_widths() {
    let Scene { ctx, weights, plan, x } = scene(9, 96);
    let y = ctx.alloc::<f32>(9).unwrap();
    let bound = plan.bind(&weights, &x, &y).unwrap();
    for bits in 3..=8 {
        let once = product(&ctx, &plan, bits, &weights, &x);
        ctx.write(&y, &[f32::NAN; 9]).unwrap();
        ctx.submit(|pass| bound.record(pass, bits)).unwrap();
        let again = ctx.block_on(ctx.read::<f32>(&y)).unwrap();
        assert_eq!(bit_patterns(&again), bit_patterns(&once));
    }
    let refused = ctx.submit(|pass| bound.record(pass, 2)).unwrap_err();
    assert!(matches!(refused, fewbytes::Error::Range { .. }), "{refused}");
}

#[test]
fn outputs_of_one_pass_go_where_each_call_said() {
    let Scene { ctx, weights, plan, x } = scene(37, 131);
    let layer = quantized(21, 37, 131);
    let x_host = activations(22, 131);
    let compiled = ctx.pipelines();
    let outputs: Vec<_> =
        (3..=8).map(|bits| (bits, ctx.upload(&[f32::NAN; 37]).unwrap())).collect();
    ctx.submit(|pass| {
        outputs.iter().try_for_each(|(bits, y)| plan.record(pass, *bits, &weights, &x, y))
    })
    .unwrap();
    for (bits, y) in &outputs {
        assert_product(&layer, *bits, &x_host, &ctx.block_on(ctx.read::<f32>(y)).unwrap());
    }
    // Reading a part of a larger buffer, at an offset that every device accepts.
    let large = ctx.upload(&vec![f32::NAN; 256]).unwrap();
    let y = View::new(large.buffer(), 256, 37, fewbytes_wgpu::Element::F32).unwrap();
    ctx.submit(|pass| plan.record(pass, 5, &weights, &x, &y)).unwrap();
    let all = ctx.block_on(ctx.read::<f32>(&large)).unwrap();
    assert_product(&layer, 5, &x_host, &all[64..64 + 37]);
    assert!(all[..64].iter().chain(&all[64 + 37..]).all(|v| v.is_nan()), "outside the view");
    assert_eq!(ctx.pipelines(), compiled);
}

#[test]
fn a_chain_within_one_pass_sees_what_went_before() {
    let ctx = open(Features::Full);
    let sizes = [96usize, 70, 131, 40];
    let layers: Vec<_> =
        sizes.windows(2).zip(0..).map(|(s, seed)| quantized(31 + seed, s[1], s[0])).collect();
    let uploaded: Vec<_> = layers
        .iter()
        .map(|layer| {
            let weights = BitplaneWeights::upload(&ctx, layer, 8).unwrap();
            let plan = gemv_bitplane::plan(&ctx, &weights, Default::default()).unwrap();
            (weights, plan)
        })
        .collect();
    let x = activations(40, sizes[0]);
    for bits in [8, 3] {
        let mut tensors = vec![ctx.upload(&x).unwrap()];
        for &rows in &sizes[1..] {
            tensors.push(ctx.upload(&vec![f32::NAN; rows]).unwrap());
        }
        ctx.submit(|pass| {
            let steps = uploaded.iter().zip(tensors.windows(2));
            steps.into_iter().try_for_each(|((weights, plan), io)| {
                plan.record(pass, bits, weights, &io[0], &io[1])
            })
        })
        .unwrap();
        // Each layer against what the device itself gave it, so that tolerances do not add up.
        let mut input = x.clone();
        for (layer, y) in layers.iter().zip(&tensors[1..]) {
            let y = ctx.block_on(ctx.read::<f32>(y)).unwrap();
            assert_product(layer, bits, &input, &y);
            input = y;
        }
    }
}
