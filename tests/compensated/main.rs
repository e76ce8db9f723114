//! A product and its compensation together, on a real device: every structure, every kernel's product,
//! host memory and the device's.

#[path = "../fixtures/device.rs"]
mod device;
mod edges;
#[path = "../fixtures/matrix.rs"]
mod matrix;
mod tuned;

use device::open;
use fewbytes::Knobs;
use fewbytes::linear::compensate::Structure;
use fewbytes::linear::residual::compensate;
use fewbytes::linear::select::{Budget, Ranking, Selector};
use fewbytes::linear::{
    Activation, BitplaneLayer, Method, QuantizeOptions, ResidualElement, ResidualLayer,
    TableElement, VectorLayer, VectorShape, Weights, quantize, quantize_residual,
};
use fewbytes_wgpu::ops::{
    BitplaneWeights, ResidualWeights, VectorWeights, compensated, gemv_bitplane, gemv_vector,
    matmul_bitplane,
};
use fewbytes_wgpu::{Bound, Context, Features, Memory, Placement, Result, View};
use half::f16;

const BITS: u8 = 3;

/// A layer, what it was made of, and what was lost.
struct Made {
    weights: Vec<f32>,
    layer: BitplaneLayer,
    residual: ResidualLayer,
}

fn made(rows: usize, cols: usize, element: ResidualElement) -> Made {
    let (weights, _) = matrix::heavy_tailed(3, rows * cols);
    let checked = Weights::new("layer", rows, cols, &weights, None).unwrap();
    let options = QuantizeOptions {
        method: Method::Fast,
        seed_bits: BITS,
        parent_bits: BITS,
        ..Default::default()
    };
    let layer = quantize(&checked, &options).unwrap().pack(None).unwrap();
    let base = layer.dequantize(BITS).unwrap();
    let (residual, _) = quantize_residual(&checked, &base, element).unwrap();
    Made { weights, layer, residual }
}

/// Activations with outliers, that f16 holds too.
fn activations(seed: u64, len: usize) -> Vec<f32> {
    let (x, _) = matrix::heavy_tailed(seed, len);
    x.into_iter().map(|x| f16::from_f32(x).to_f32()).collect()
}

fn upload(ctx: &Context, x: &[f32], element: Activation) -> View {
    match element {
        Activation::F32 => ctx.upload(x).unwrap(),
        Activation::F16 => {
            let halves: Vec<f16> = x.iter().map(|x| f16::from_f32(*x)).collect();
            ctx.upload(&halves).unwrap()
        }
    }
}

fn alloc(ctx: &Context, len: usize, element: Activation) -> View {
    match element {
        Activation::F32 => ctx.alloc::<f32>(len).unwrap(),
        Activation::F16 => ctx.alloc::<f16>(len).unwrap(),
    }
}

fn bytes(ctx: &Context, view: &View) -> Vec<u8> {
    let bytes = usize::try_from(view.bytes()).unwrap() as u64;
    let view = View::new(view.buffer(), view.offset(), bytes, fewbytes_wgpu::Element::U8).unwrap();
    ctx.block_on(ctx.read::<u8>(&view)).unwrap()
}

fn values(bytes: &[u8], element: Activation) -> Vec<f64> {
    match element {
        Activation::F32 => {
            bytemuck::pod_collect_to_vec::<u8, f32>(bytes).into_iter().map(f64::from).collect()
        }
        Activation::F16 => {
            bytemuck::pod_collect_to_vec::<u8, f16>(bytes).into_iter().map(f16::to_f64).collect()
        }
    }
}

/// Binds everything anew, runs it once, and gives `y` as bytes.
fn run(
    ctx: &Context,
    residual: &ResidualWeights,
    budget: Budget,
    options: compensated::Options,
    x: &View,
    product: &dyn Fn(&View) -> Result<Bound>,
) -> Vec<u8> {
    let plan = compensated::plan(ctx, residual, budget, options).unwrap();
    let y = alloc(ctx, plan.spec().y_len(), options.activation);
    let partials = plan.partials(ctx).unwrap();
    let bound = plan.bind(residual, x, &partials, &y, product).unwrap();
    ctx.submit(|pass| bound.record(pass)).unwrap();
    bytes(ctx, &y)
}

/// `(Wq + R[:, S]) x`, and the condition of every output.
fn expected(
    dense: &[f32],
    residual: &ResidualLayer,
    x: &[f32],
    budget: &Budget,
) -> Vec<(f64, f64)> {
    let selected = Selector::ChunkRadix.select(&Ranking::Magnitude, x, budget).unwrap();
    let added = compensate(residual, x, &selected).unwrap();
    let product = |row: &[f32]| {
        row.iter().zip(x).fold((0.0, 0.0), |(sum, condition), (w, x)| {
            let term = f64::from(*w) * f64::from(*x);
            (sum + term, condition + term.abs())
        })
    };
    let rows = dense.chunks_exact(x.len()).map(product);
    let added = added.y.into_iter().zip(added.condition);
    rows.zip(added).map(|((y, c), (more, also))| (y + more, c + also)).collect()
}

/// Every output within what any order of summation may be off: as many roundings as there are terms.
fn assert_close(
    found: &[f64],
    expected: &[(f64, f64)],
    terms: usize,
    element: Activation,
    name: &str,
) {
    assert_eq!(found.len(), expected.len(), "{name}");
    for (row, (y, (wanted, condition))) in found.iter().zip(expected).enumerate() {
        let sum = condition * terms as f64 * f64::powi(2.0, -24);
        // A product of f16 is rounded before the compensation comes, and the sum is.
        let tolerance = match element {
            Activation::F32 => sum,
            Activation::F16 => sum + (2.0 * wanted.abs() + condition) / 2048.0,
        };
        assert!((y - wanted).abs() <= tolerance, "{name} row {row}: {y} {wanted} {tolerance}");
    }
}

#[test]
fn structures_and_placements_agree_for_every_product() {
    let Made { layer, residual, .. } = made(101, 2600, ResidualElement::Int4);
    let dense = layer.dequantize(BITS).unwrap();
    let pairs = pairs(37, 1100);
    for (features, kinds) in [(Features::Full, 2), (Features::Baseline, 1)] {
        let ctx = open(features);
        let weights = BitplaneWeights::upload(&ctx, &layer, BITS).unwrap();
        for activation in [Activation::F32, Activation::F16].into_iter().take(kinds) {
            let x = activations(7, 2600);
            let on_device = upload(&ctx, &x, activation);
            let options = gemv_bitplane::Options { activation, ..Default::default() };
            let gemv = gemv_bitplane::plan(&ctx, &weights, options).unwrap();
            let options =
                matmul_bitplane::Options { activation, ..matmul_bitplane::Options::new(1) };
            let matmul = matmul_bitplane::plan(&ctx, &weights, options).unwrap();
            let gemv = |y: &View| gemv.bind_width(BITS, &weights, &on_device, y);
            let matmul = |y: &View| matmul.bind_width(BITS, &weights, &on_device, y);
            check(&ctx, &residual, &dense, &x, activation, &gemv, "gemv_bitplane");
            check(&ctx, &residual, &dense, &x, activation, &matmul, "matmul_bitplane");

            let (layer, residual) = &pairs;
            let weights = VectorWeights::upload(&ctx, layer).unwrap();
            let x = activations(8, 1100);
            let on_device = upload(&ctx, &x, activation);
            let options = gemv_vector::Options { activation, ..Default::default() };
            let gemv = gemv_vector::plan(&ctx, &weights, options).unwrap();
            let gemv = |y: &View| gemv.bind(&weights, &on_device, y);
            check(&ctx, residual, &layer.dequantize(), &x, activation, &gemv, "gemv_vector");
        }
    }
}

/// A layer of weights in pairs whose codes are noise, and a residual of what that loses.
fn pairs(rows: usize, cols: usize) -> (VectorLayer, ResidualLayer) {
    let (weights, noise) = matrix::heavy_tailed(5, rows * cols);
    let shape = VectorShape { rows, cols, code_bits: 4 };
    let codes: Vec<u8> =
        (0..rows * cols.div_ceil(2)).map(|at| (noise[at].to_bits() >> 7) as u8 & 15).collect();
    let tables: Vec<f32> = (0..rows * 32).map(|at| weights[at]).collect();
    let layer = VectorLayer::from_codes(shape, &codes, TableElement::F16, &tables, None).unwrap();
    let checked = Weights::new("pairs", rows, cols, &weights, None).unwrap();
    let (residual, _) =
        quantize_residual(&checked, &layer.dequantize(), ResidualElement::Int8).unwrap();
    (layer, residual)
}

/// One product with every structure, both memories and several budgets.
fn check(
    ctx: &Context,
    residual: &ResidualLayer,
    dense: &[f32],
    x: &[f32],
    activation: Activation,
    product: &dyn Fn(&View) -> Result<Bound>,
    name: &str,
) {
    let cols = residual.cols();
    let on_device = upload(ctx, x, activation);
    let able = ctx.placed(Placement::Host).is_ok();
    let placements: &[Placement] =
        if able { &[Placement::Host, Placement::Device] } else { &[Placement::HostOrDevice] };
    let alone = {
        let y = alloc(ctx, residual.rows(), activation);
        ctx.submit(|pass| product(&y)?.record(pass)).unwrap();
        bytes(ctx, &y)
    };
    for k_chunk in [0, 24, 1024] {
        let budget = Budget::new(cols, k_chunk).unwrap();
        let wanted = expected(dense, residual, x, &budget);
        let mut first: Vec<Option<Vec<u8>>> = vec![None; 3];
        for &placement in placements {
            let weights = ResidualWeights::upload(ctx, residual, placement).unwrap();
            let host = placement == Placement::Host;
            assert_eq!(weights.memory() == Memory::Host, host);
            assert_eq!(weights.host_bytes() > 0, host);
            for (at, structure) in Structure::ALL.into_iter().enumerate() {
                let name =
                    format!("{name} {} {placement:?} {structure:?} {k_chunk}", activation.name());
                let options = compensated::Options {
                    activation,
                    structure: Some(structure),
                    ..Default::default()
                };
                let y = run(ctx, &weights, budget, options, &on_device, product);
                if k_chunk == 0 {
                    assert_eq!(y, alone, "{name}");
                    continue;
                }
                assert_ne!(y, alone, "{name}");
                let terms = cols + budget.k() + 3;
                let rows = residual.rows();
                assert_close(&values(&y, activation)[..rows], &wanted, terms, activation, &name);
                // Memory and repetition change nothing; of f32 the structures add the same numbers.
                let same = if activation == Activation::F32 { 0 } else { at };
                match &first[same] {
                    None => first[same] = Some(y),
                    Some(first) => assert!(*first == y, "{name}: other bits"),
                }
            }
        }
    }
}

fn product_of(row: &[f32], x: &[f32]) -> f64 {
    row.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum()
}

#[test]
fn all_channels_give_the_weights_back() {
    // With a residual of f16 nothing but its rounding is left.
    let ctx = open(Features::Full);
    for element in [ResidualElement::F16, ResidualElement::Int8] {
        let Made { weights, layer, residual } = made(130, 1500, element);
        let x = activations(9, 1500);
        let on_device = ctx.upload(&x).unwrap();
        let packed = BitplaneWeights::upload(&ctx, &layer, BITS).unwrap();
        let gemv = gemv_bitplane::plan(&ctx, &packed, Default::default()).unwrap();
        let uploaded = ResidualWeights::upload(&ctx, &residual, Placement::HostOrDevice).unwrap();
        let full: Vec<f64> = weights.chunks_exact(1500).map(|row| product_of(row, &x)).collect();
        let all: f64 = full.iter().map(|y| y * y).sum();
        let relative = |y: &[f64]| {
            let off: f64 = y.iter().zip(&full).map(|(y, full)| (y - full) * (y - full)).sum();
            (off / all).sqrt()
        };
        let error = |k_chunk| {
            let budget = Budget::new(1500, k_chunk).unwrap();
            let product = |y: &View| gemv.bind_width(BITS, &packed, &on_device, y);
            let y = run(&ctx, &uploaded, budget, Default::default(), &on_device, &product);
            relative(&values(&y, Activation::F32))
        };
        let [none, some, all] = [0, 64, 1024].map(error);
        // What is left with all channels is what the residual's own rounding loses.
        let base = layer.dequantize(BITS).unwrap();
        let stored: Vec<f32> =
            base.iter().zip(residual.dequantize()).map(|(base, lost)| base + lost).collect();
        let stored: Vec<f64> = stored.chunks_exact(1500).map(|row| product_of(row, &x)).collect();
        let left = relative(&stored);
        assert!((all - left).abs() <= 1e-2 * left + 1e-6, "{element:?}: {all} {left}");
        assert!(all < 0.05 * none && some < none, "{element:?}: {none} {some} {all}");
    }
}

#[test]
fn each_vector_of_a_batch_has_channels_of_its_own() {
    let ctx = open(Features::Full);
    let Made { layer, residual, .. } = made(77, 2100, ResidualElement::Int4);
    let packed = BitplaneWeights::upload(&ctx, &layer, BITS).unwrap();
    let dense = layer.dequantize(BITS).unwrap();
    let uploaded = ResidualWeights::upload(&ctx, &residual, Placement::HostOrDevice).unwrap();
    let budget = Budget::new(2100, 40).unwrap();
    for (batch, activation) in [(2, Activation::F32), (3, Activation::F16), (4, Activation::F32)] {
        let x = activations(11, batch * 2100);
        let on_device = upload(&ctx, &x, activation);
        let options = gemv_bitplane::Options { batch, activation, ..Default::default() };
        let gemv = gemv_bitplane::plan(&ctx, &packed, options).unwrap();
        let product = |y: &View| gemv.bind_width(BITS, &packed, &on_device, y);
        for structure in Structure::ALL {
            let options = compensated::Options {
                batch,
                activation,
                structure: Some(structure),
                ..Default::default()
            };
            let y = run(&ctx, &uploaded, budget, options, &on_device, &product);
            let y = values(&y, activation);
            let stride = y.len() / batch;
            for (at, x) in x.chunks_exact(2100).enumerate() {
                let wanted = expected(&dense, &residual, x, &budget);
                let y = &y[at * stride..at * stride + 77];
                let name = format!("{structure:?} vector {at} of {batch}");
                assert_close(y, &wanted, 2200, activation, &name);
            }
        }
    }
}

#[test]
fn a_thousand_times_the_same_bits() {
    let ctx = open(Features::Full);
    let Made { layer, residual, .. } = made(301, 1100, ResidualElement::Int4);
    let packed = BitplaneWeights::upload(&ctx, &layer, BITS).unwrap();
    let x = ctx.upload(&activations(13, 1100)).unwrap();
    let gemv = gemv_bitplane::plan(&ctx, &packed, Default::default()).unwrap();
    let uploaded = ResidualWeights::upload(&ctx, &residual, Placement::HostOrDevice).unwrap();
    let budget = Budget::new(1100, 60).unwrap();
    for structure in Structure::ALL {
        let options = compensated::Options {
            structure: Some(structure),
            knobs: Knobs { rows: Some(256), ..Knobs::DEFAULT },
            ..Default::default()
        };
        let plan = compensated::plan(&ctx, &uploaded, budget, options).unwrap();
        let (y, partials) = (ctx.alloc::<f32>(301).unwrap(), plan.partials(&ctx).unwrap());
        let product = |y: &View| gemv.bind_width(BITS, &packed, &x, y);
        let bound = plan.bind(&uploaded, &x, &partials, &y, product).unwrap();
        let mut first = None;
        for round in 0..10 {
            // Within a pass and from pass to pass.
            ctx.submit(|pass| (0..100).try_for_each(|_| bound.record(pass))).unwrap();
            let y = bytes(&ctx, &y);
            assert!(*first.get_or_insert_with(|| y.clone()) == y, "{structure:?} {round}");
        }
    }
}
