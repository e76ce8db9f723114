//! Compiled pipelines that outlive a context, and what happens to bad ones.

#[path = "fixtures/device.rs"]
mod device;

use fewbytes::Knobs;
use fewbytes::linear::{
    BitplaneLayout, BitplaneShape, DequantizeBitplane, GemvBitplane, TableElement,
};
use fewbytes_wgpu::{Context, Features, wgpu};

fn layout(ctx: &Context) -> BitplaneLayout {
    let shape = BitplaneShape { rows: 8, cols: 64, seed_bits: 2, parent_bits: 8 };
    BitplaneLayout::for_shape(shape, &[4], TableElement::F16, false, 8, ctx.caps()).unwrap()
}

fn compile(ctx: &Context) {
    ctx.plan(&GemvBitplane::new(layout(ctx), 4)).unwrap();
    let element = Default::default();
    let spec = DequantizeBitplane { layout: layout(ctx), bits: 4, element };
    ctx.plan_with(&spec, &Knobs::baseline()).unwrap();
    assert_eq!(ctx.pipelines(), 2);
}

fn has_feature(ctx: &Context) -> bool {
    ctx.device().features().contains(wgpu::Features::PIPELINE_CACHE)
}

#[allow(unsafe_code)]
fn resumed(saved: &[u8]) -> Context {
    // SAFETY: the bytes come from `pipeline_cache_data`, or are altered such that the header or
    // the checksum no longer fits and the driver never sees them.
    unsafe { device::open(Features::Full).with_saved_pipelines(saved) }
}

#[test]
fn saved_pipelines_serve_another_context() {
    let ctx = device::open(Features::Full).with_pipeline_cache();
    compile(&ctx);
    let saved = ctx.pipeline_cache_data();
    assert_eq!(saved.is_some(), has_feature(&ctx), "{}", ctx.describe());
    let again = resumed(&saved.clone().unwrap_or_default());
    compile(&again);
    assert_eq!(again.pipeline_cache_data().is_some(), saved.is_some());
}

#[test]
fn bad_saved_pipelines_are_passed_over() {
    let ctx = device::open(Features::Full).with_pipeline_cache();
    compile(&ctx);
    let good = ctx.pipeline_cache_data().unwrap_or_else(|| vec![0; 64]);
    let mut altered = good.clone();
    *altered.last_mut().unwrap() ^= 1;
    let cut = &good[..good.len() - 1];
    for bad in [&altered, cut, &good[..16], b"", &[0xff; 4096]] {
        let ctx = resumed(bad);
        compile(&ctx);
        assert_eq!(ctx.pipeline_cache_data().is_some(), has_feature(&ctx));
    }
}

#[test]
fn without_the_feature_there_is_no_cache_and_no_failure() {
    let ctx = device::open(Features::Baseline).with_pipeline_cache();
    assert!(!has_feature(&ctx));
    compile(&ctx);
    assert_eq!(ctx.pipeline_cache_data(), None);
}

#[test]
fn a_context_without_a_cache_has_no_data() {
    let ctx = device::open(Features::Full);
    compile(&ctx);
    assert_eq!(ctx.pipeline_cache_data(), None);
}
