//! The measured tuner, on a small layer: that it runs and says something consistent, not how fast.

use crate::device::open;
use fewbytes::linear::compensate::{Structure, search};
use fewbytes::linear::{
    Activation, BitplaneLayout, BitplaneShape, GemvBitplane, ResidualElement, ResidualLayout,
    TableElement,
};
use fewbytes::{Error, Knobs};
use fewbytes_wgpu::tune::compensation::{CompensatedLayer, CompensationCache, CompensationOptions};
use fewbytes_wgpu::{Context, Features};
use std::time::Duration;

fn product(ctx: &Context) -> GemvBitplane {
    let shape = BitplaneShape { rows: 300, cols: 700, seed_bits: 3, parent_bits: 3 };
    let table = TableElement::F16;
    let layout = BitplaneLayout::for_shape(shape, &[3], table, false, 3, ctx.caps()).unwrap();
    GemvBitplane { activation: Activation::F16, ..GemvBitplane::new(layout, 3) }
}

fn options() -> CompensationOptions {
    let mut options = CompensationOptions {
        k_chunks: vec![8, 64],
        structures: Structure::ALL.to_vec(),
        memory: Some(fewbytes_wgpu::measure::Budget { past_cache: 1 << 20, memory: 64 << 20 }),
        ..Default::default()
    };
    options.timing.samples = 3;
    options.timing.min_pass = Duration::from_micros(100);
    options.timing.settle_limit = Duration::from_millis(1);
    options
}

#[test]
fn curves_are_measured_kept_and_spent() {
    let ctx = open(Features::Full);
    let product = product(&ctx);
    let residual = ResidualLayout::new(300, 700, ResidualElement::Int4).unwrap();
    let layer = CompensatedLayer {
        name: "blk.0.q",
        product: &product,
        knobs: Knobs::DEFAULT,
        residual,
        activation: Activation::F16,
    };
    let measured = ctx.compensation_times(&layer, &options()).unwrap();
    let times = &measured.times;
    assert_eq!((times.name.as_str(), times.k_chunks.as_slice()), ("blk.0.q", &[8, 64][..]));
    // 300 rows are two segments: one workgroup or two, for each structure.
    let kinds: Vec<_> = times.curves.iter().map(|c| (c.structure, c.groups)).collect();
    assert_eq!(kinds.len(), 6, "{kinds:?}");
    assert!(times.curves.iter().all(|curve| curve.ns.len() == 2));
    assert!(measured.stream_gb_s > 0.0 && measured.alone_ns.len() == 2);
    assert_eq!(measured.knee(1e9).unwrap().0, 64.0);
    assert!(measured.knee(0.0).unwrap().0 < 64.0);
    let choice = search(std::slice::from_ref(times), 1e9).unwrap();
    assert_eq!(choice.layers[0].k_chunk, 64);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("curves.json");
    let mut cache = CompensationCache::load_or_new(&path).unwrap();
    cache.remember(&ctx, &layer, &options(), &measured).unwrap();
    cache.remember(&ctx, &layer, &options(), &measured).unwrap();
    cache.save(&path).unwrap();
    let read = CompensationCache::load_or_new(&path).unwrap();
    assert_eq!((read.entries().len(), &read), (1, &cache));
    let other_name = CompensatedLayer { name: "blk.1.q", ..layer };
    let found = read.times(&ctx, &other_name, &options()).unwrap().unwrap();
    assert_eq!((found.name.as_str(), &found.curves), ("blk.1.q", &times.curves));
    let wider = ResidualLayout::new(300, 700, ResidualElement::Int8).unwrap();
    let other = CompensatedLayer { residual: wider, ..layer };
    assert_eq!(read.times(&ctx, &other, &options()).unwrap(), None);

    let text = std::fs::read_to_string(&path).unwrap();
    for (from, to) in [
        ("\"version\": 1", "\"version\": 2"),
        ("\"base_ns\": ", "\"base_ns\": -"),
        ("\"groups\"", "\"workgroups\""),
    ] {
        let error = CompensationCache::parse("f", text.replace(from, to).as_bytes()).unwrap_err();
        assert!(matches!(error, Error::Format { .. }), "{error}");
    }
}

#[test]
fn layers_that_cannot_be_timed_are_named() {
    let ctx = open(Features::Full);
    let product = product(&ctx);
    let residual = ResidualLayout::new(300, 700, ResidualElement::Int4).unwrap();
    let activation = Activation::F16;
    let layer = CompensatedLayer {
        name: "blk.0.q",
        product: &product,
        knobs: Knobs::DEFAULT,
        residual,
        activation,
    };
    let bad = CompensationOptions { k_chunks: vec![2000], ..options() };
    let error = ctx.compensation_times(&layer, &bad).unwrap_err();
    assert!(error.to_string().contains("blk.0.q"), "{error}");
    let bad = CompensationOptions { most_groups: 0, ..options() };
    let mut seen = Vec::new();
    let error = ctx.tune_compensation(&[layer], 0.05, &bad, |name| seen.push(name.to_owned()));
    assert!(matches!(error, Err(Error::Layer { .. })));
    assert_eq!(seen, ["blk.0.q"]);
}
