//! What is refused, and what is nothing.

use super::{BITS, Made, activations, bytes, made, upload};
use crate::device::open;
use fewbytes::linear::compensate::Structure;
use fewbytes::linear::select::Budget;
use fewbytes::linear::{Activation, ResidualElement, ResidualLayout};
use fewbytes::{Error, Knobs};
use fewbytes_wgpu::ops::{BitplaneWeights, ResidualWeights, add, compensated, gemv_bitplane};
use fewbytes_wgpu::{Context, Features, Memory, Placement, View};
use half::f16;

fn residual(ctx: &Context) -> ResidualWeights {
    let made = made(70, 600, ResidualElement::Int4);
    ResidualWeights::upload(ctx, &made.residual, Placement::Device).unwrap()
}

#[test]
fn plans_that_do_not_fit_are_refused() {
    let ctx = open(Features::Full);
    let residual = residual(&ctx);
    let budget = |cols, k| Budget::new(cols, k).unwrap();
    let plan = |budget, options| compensated::plan(&ctx, &residual, budget, options).err().unwrap();
    let default = compensated::Options::default();
    assert!(matches!(plan(budget(601, 8), default), Error::Shape { .. }));
    for batch in [0, 5] {
        let options = compensated::Options { batch, ..default };
        let error = plan(budget(600, 8), options);
        assert!(matches!(&error, Error::Range { limit, .. } if limit == "1..=4"), "{error}");
    }
    let error = plan(budget(600, 8), compensated::Options { weighted: true, ..default });
    assert!(error.to_string().contains("norms"), "{error}");
    let knobs = Knobs { rows: Some(100), ..Knobs::DEFAULT };
    let error = plan(budget(600, 8), compensated::Options { knobs, ..default });
    assert!(matches!(error, Error::Range { .. }), "{error}");
    assert!(matches!(Budget::new(600, 1025), Err(Error::Range { .. })));
}

#[test]
fn tensors_that_do_not_fit_are_refused() {
    let ctx = open(Features::Full);
    let residual = residual(&ctx);
    let options = compensated::Options { structure: Some(Structure::Beside), ..Default::default() };
    let plan = compensated::plan(&ctx, &residual, Budget::new(600, 64).unwrap(), options).unwrap();
    let (x, y) = (ctx.alloc::<f32>(600).unwrap(), ctx.alloc::<f32>(70).unwrap());
    let partials = plan.partials(&ctx).unwrap();
    let never = |_: &View| -> fewbytes_wgpu::Result<_> { panic!("not that far") };
    let other = made(70, 601, ResidualElement::Int4);
    let other = ResidualWeights::upload(&ctx, &other.residual, Placement::Device).unwrap();
    assert!(matches!(plan.bind(&other, &x, &partials, &y, never), Err(Error::Shape { .. })));
    for x in [ctx.alloc::<f32>(599).unwrap(), ctx.alloc::<f16>(600).unwrap()] {
        assert!(matches!(plan.bind(&residual, &x, &partials, &y, never), Err(Error::Shape { .. })));
    }
    let long = ctx.alloc::<f32>(71).unwrap();
    assert!(matches!(plan.bind(&residual, &x, &partials, &long, never), Err(Error::Shape { .. })));

    let layout = ResidualLayout::new(70, 600, ResidualElement::Int4).unwrap();
    let words = ctx.alloc::<u32>(layout.words()).unwrap();
    let scales = ctx.alloc::<f16>(layout.padded_rows()).unwrap();
    let from = |words, scales| ResidualWeights::from_views(layout, Memory::Device, words, scales);
    from(words.clone(), Some(scales.clone())).unwrap();
    assert!(matches!(from(words.clone(), None), Err(Error::Shape { .. })));
    let short = scales.slice(0..70).unwrap();
    assert!(matches!(from(words, Some(short)), Err(Error::Shape { .. })));
    assert!(matches!(from(scales.clone(), Some(scales)), Err(Error::Shape { .. })));
    assert!(matches!(residual.with_norms(&ctx, &[f16::ONE; 599]), Err(Error::Shape { .. })));
}

#[test]
fn a_residual_beyond_one_binding_is_refused_with_its_bytes() {
    let ctx = open(Features::Full);
    let limit = ctx.caps().bindable_bytes();
    if limit > 256 << 20 {
        println!("NOT RUN: this adapter binds {limit} bytes, too many to make such a residual");
        return;
    }
    let cols = usize::try_from(limit / 128).unwrap() + 1;
    let layout = ResidualLayout::new(1, cols, ResidualElement::Int4).unwrap();
    let words = vec![0; layout.words()];
    let scales = vec![f16::ZERO; layout.padded_rows()];
    let layer = fewbytes::linear::ResidualLayer::from_parts(layout, words, scales).unwrap();
    let error = ResidualWeights::upload(&ctx, &layer, Placement::HostOrDevice).unwrap_err();
    match error.in_layer("blk.0.ffn_down") {
        Error::Layer { layer, error } => {
            assert_eq!(layer, "blk.0.ffn_down");
            let found =
                matches!(*error, Error::BindingTooLarge { bytes, .. } if bytes == layout.bytes());
            assert!(found, "{error}");
        }
        other => panic!("{other}"),
    }
}

#[test]
fn host_memory_is_there_or_refused_and_never_silently_elsewhere() {
    let able = open(Features::Full);
    if able.device().features().contains(wgpu::Features::MAPPABLE_PRIMARY_BUFFERS) {
        assert_eq!(able.placed(Placement::Host).unwrap(), Memory::Host);
        assert_eq!(able.placed(Placement::HostOrDevice).unwrap(), Memory::Host);
        let view = able.upload_in::<u32>(&[1, 2, 3], Placement::Host).unwrap();
        assert!(view.buffer().usage().contains(wgpu::BufferUsages::MAP_READ));
        assert!(!view.buffer().usage().contains(wgpu::BufferUsages::MAP_WRITE));
        let found = fewbytes_wgpu::measure::host_residence(&able).unwrap();
        assert!(found.read_gb_s > 0.0 && found.link_gb_s > 0.0, "{found:?}");
        // A software adapter has one memory.
        if able.info().device_type == wgpu::DeviceType::Cpu {
            assert!(found.is(Memory::Host) && found.is(Memory::Device), "{found:?}");
        }
    } else {
        println!("NOT RUN: this adapter has no MAPPABLE_PRIMARY_BUFFERS");
    }
    let unable = open(Features::Baseline);
    let error = unable.placed(Placement::Host).unwrap_err();
    assert!(matches!(&error, Error::Unsupported { .. }), "{error}");
    assert_eq!(unable.placed(Placement::HostOrDevice).unwrap(), Memory::Device);
    let made = made(70, 600, ResidualElement::Int4);
    let refused = ResidualWeights::upload(&unable, &made.residual, Placement::Host);
    assert!(matches!(refused, Err(Error::Unsupported { .. })));
    let put = ResidualWeights::upload(&unable, &made.residual, Placement::HostOrDevice).unwrap();
    assert_eq!((put.memory(), put.host_bytes()), (Memory::Device, 0));
    assert_eq!(put.device_bytes(), 600 * 128 + 2 * 256);
}

#[test]
fn a_consumer_can_add_by_itself() {
    let ctx = open(Features::Full);
    let Made { layer, residual, .. } = made(70, 600, ResidualElement::Int4);
    let packed = BitplaneWeights::upload(&ctx, &layer, BITS).unwrap();
    let gemv = gemv_bitplane::plan(&ctx, &packed, Default::default()).unwrap();
    let uploaded = ResidualWeights::upload(&ctx, &residual, Placement::HostOrDevice).unwrap();
    let x = upload(&ctx, &activations(2, 600), Activation::F32);
    let product = |y: &View| gemv.bind_width(BITS, &packed, &x, y);
    for (k_chunk, structure, apart) in [
        (0, Structure::Beside, false),
        (1, Structure::Listed, false),
        (64, Structure::Beside, true),
        (64, Structure::Listed, true),
        (64, Structure::After, false),
    ] {
        let options = compensated::Options { structure: Some(structure), ..Default::default() };
        let budget = Budget::new(600, k_chunk).unwrap();
        let plan = compensated::plan(&ctx, &uploaded, budget, options).unwrap();
        assert_eq!(plan.apart(), apart, "{k_chunk} {structure:?}");
        let (one, two) = (plan.partials(&ctx).unwrap(), plan.partials(&ctx).unwrap());
        let (y, sum) = (ctx.alloc::<f32>(70).unwrap(), ctx.alloc::<f32>(70).unwrap());
        let whole = plan.bind(&uploaded, &x, &one, &y, product).unwrap();
        let halves = plan.bind_apart(&uploaded, &x, &two, product).unwrap();
        let spec = fewbytes::linear::Add { len: 70, activation: Activation::F32 };
        let adder = add::plan(&ctx, &spec, &Knobs::DEFAULT).unwrap();
        let added = apart.then(|| adder.bind(&two.product, &two.compensation, &sum).unwrap());
        ctx.submit(|pass| {
            whole.record(pass)?;
            halves.record(pass)?;
            added.as_ref().map_or(Ok(()), |added| added.record(pass))
        })
        .unwrap();
        let last = if apart { &sum } else { &two.product };
        assert_eq!(bytes(&ctx, &y), bytes(&ctx, last), "{k_chunk} {structure:?}");
    }
}

/// Layers that share their activations do not disturb each other.
#[test]
fn layers_with_the_same_inputs_are_independent() {
    let ctx = open(Features::Full);
    let x = upload(&ctx, &activations(4, 600), Activation::F32);
    let layers = [ResidualElement::Int4, ResidualElement::Int8].map(|e| made(70, 600, e));
    let budget = Budget::new(600, 200).unwrap();
    let mut run = Vec::new();
    for made in &layers {
        let packed = BitplaneWeights::upload(&ctx, &made.layer, BITS).unwrap();
        let gemv = gemv_bitplane::plan(&ctx, &packed, Default::default()).unwrap();
        let uploaded =
            ResidualWeights::upload(&ctx, &made.residual, Placement::HostOrDevice).unwrap();
        let options =
            compensated::Options { structure: Some(Structure::Beside), ..Default::default() };
        let plan = compensated::plan(&ctx, &uploaded, budget, options).unwrap();
        let y = ctx.alloc::<f32>(70).unwrap();
        let partials = plan.partials(&ctx).unwrap();
        let product = |y: &View| gemv.bind_width(BITS, &packed, &x, y);
        run.push((plan.bind(&uploaded, &x, &partials, &y, product).unwrap(), y));
    }
    let alone: Vec<_> = run
        .iter()
        .map(|(bound, y)| {
            ctx.submit(|pass| bound.record(pass)).unwrap();
            bytes(&ctx, y)
        })
        .collect();
    assert_ne!(alone[0], alone[1]);
    ctx.submit(|pass| run.iter().try_for_each(|(bound, _)| bound.record(pass))).unwrap();
    let together: Vec<_> = run.iter().map(|(_, y)| bytes(&ctx, y)).collect();
    assert!(alone == together);
}
