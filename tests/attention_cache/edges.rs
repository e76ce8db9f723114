//! What is refused, and caches without anything.

use super::{HEADS, layouts, numbers, shape};
use crate::device::open;
use fewbytes::attention::append_kv::{Pairing, Rotary};
use fewbytes::attention::{KeepLists, KvCache, KvElement, Layout};
use fewbytes::linear::Activation;
use fewbytes::{Error, Knobs};
use fewbytes_wgpu::Features;
use fewbytes_wgpu::ops::{DeviceCache, append_kv, gather_kv};

#[test]
fn caches_come_back_as_they_were_uploaded() {
    let ctx = open(Features::Full);
    for element in KvElement::ALL {
        for layout in layouts(shape(80, element)) {
            let mut cache = KvCache::new(layout).unwrap();
            let device = DeviceCache::upload(&ctx, &cache).unwrap();
            assert!(ctx.block_on(device.read_back(&ctx)).unwrap() == cache);
            cache.append(&numbers(1, 18, 80), &numbers(2, 18, 80)).unwrap();
            for cache in [cache.clone(), cache.with_positions().unwrap()] {
                let device = DeviceCache::upload(&ctx, &cache).unwrap();
                assert!(device.bytes() >= cache.shape().bytes(cache.layout().rows()));
                assert!(ctx.block_on(device.read_back(&ctx)).unwrap() == cache);
            }
        }
    }
}

#[test]
fn no_tokens_are_no_launches() {
    let ctx = open(Features::Full);
    for layout in layouts(shape(64, KvElement::F16)) {
        let mut cache = DeviceCache::new(&ctx, layout, false).unwrap();
        let spec = cache.append_spec(0, Activation::F32, None);
        let plan = append_kv::plan(&ctx, &spec, &Knobs::DEFAULT).unwrap();
        assert_eq!(plan.traffic().bytes(), 0);
        let nothing = ctx.upload::<f32>(&[]).unwrap();
        assert!(plan.bind(&cache, &nothing, &nothing, None).unwrap().is_empty());
        assert_eq!(cache.append(&ctx, 0, 0).unwrap(), 0);
        assert!(cache.layout().is_empty());
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let ctx = open(Features::Full);
    let shape = shape(64, KvElement::Int8);
    let mut cache = DeviceCache::new(&ctx, Layout::plain(shape, 4).unwrap(), false).unwrap();
    let spec = cache.append_spec(2, Activation::F32, None);
    let plan = append_kv::plan(&ctx, &spec, &Knobs::DEFAULT).unwrap();
    let good = ctx.upload(&numbers(1, 2, 64)).unwrap();
    plan.bind(&cache, &good, &good, None).unwrap();
    let short = ctx.upload(&numbers(1, 1, 64)).unwrap();
    let halves = ctx.alloc::<half::f16>(2 * HEADS * 64).unwrap();
    for (keys, values, angles) in [
        (&short, &good, None),
        (&good, &short, None),
        (&halves, &good, None),
        (&good, &good, Some(&good)),
    ] {
        let error = plan.bind(&cache, keys, values, angles).err().unwrap();
        assert!(matches!(error, Error::Shape { .. }), "{error}");
    }
    let rotary = Rotary { dims: 64, pairing: Pairing::HalfSplit, angle_rows: 2 };
    let turning = cache.append_spec(2, Activation::F32, Some(rotary));
    let turning = append_kv::plan(&ctx, &turning, &Knobs::DEFAULT).unwrap();
    assert!(matches!(turning.bind(&cache, &good, &good, None), Err(Error::Shape { .. })));
    // A plan of another cache, and one that went stale.
    let ragged = Layout::ragged(shape, &[0; HEADS], 2, 0).unwrap();
    let mut other = DeviceCache::new(&ctx, ragged, false).unwrap();
    assert!(matches!(plan.bind(&other, &good, &good, None), Err(Error::Shape { .. })));
    let spec = other.append_spec(2, Activation::F32, None);
    let stale = append_kv::plan(&ctx, &spec, &Knobs::DEFAULT).unwrap();
    assert!(other.make_room(&ctx, 100).unwrap());
    let error = stale.bind(&other, &good, &good, None).err().unwrap();
    assert!(error.to_string().contains("cache to append to"), "{error}");

    // No room, which changes nothing, nor does taking back more than there is.
    assert!(!cache.make_room(&ctx, 5).unwrap());
    assert!(matches!(cache.append(&ctx, 5, 0), Err(Error::Range { .. })));
    assert!(matches!(cache.truncate(&ctx, 1), Err(Error::Range { .. })));
    assert_eq!(cache.append(&ctx, 2, 0).unwrap(), 0);
    let keep = KeepLists::new(&[vec![], vec![2], vec![]], &[9; HEADS]).unwrap();
    assert!(matches!(cache.compact(&ctx, &keep, 1), Err(Error::Range { .. })));
    let keep = KeepLists::new(&[vec![0]], &[1]).unwrap();
    assert!(matches!(cache.compact(&ctx, &keep, 1), Err(Error::Shape { .. })));
    // Caches that do not go together.
    let positions = DeviceCache::new(&ctx, Layout::plain(shape, 4).unwrap(), true).unwrap();
    assert!(matches!(cache.gather_spec(&positions, 1), Err(Error::Shape { .. })));
    let wide = super::shape(128, KvElement::Int8);
    let wide = DeviceCache::new(&ctx, Layout::plain(wide, 4).unwrap(), false).unwrap();
    assert!(matches!(cache.gather_spec(&wide, 1), Err(Error::Shape { .. })));
    // A cache into itself.
    let spec = cache.gather_spec(&cache, 1).unwrap();
    let gather = gather_kv::plan(&ctx, &spec, &Knobs::DEFAULT).unwrap();
    let lists = [ctx.upload(&[0u32, 1, 1, 1]).unwrap(), ctx.upload(&[0u32]).unwrap()];
    let error = gather.bind(&cache, &cache, &lists[0], &lists[1]).err().unwrap();
    assert!(matches!(error, Error::Aliasing { .. }), "{error}");
}

#[test]
fn what_no_binding_holds_is_refused_before_it_is_allocated() {
    let ctx = open(Features::Baseline);
    let rows = u32::try_from(ctx.caps().bindable_bytes() / 256 / 2).unwrap();
    let layout = Layout::plain(shape(128, KvElement::F16), rows).unwrap();
    let error = DeviceCache::new(&ctx, layout.clone(), false).unwrap_err();
    assert!(matches!(error, Error::BindingTooLarge { .. }), "{error}");
    assert!(error.to_string().contains("heads of f16"), "{error}");
    // Two heads fit together.
    let groups = layout.head_groups(ctx.caps().bindable_bytes()).unwrap();
    assert_eq!(groups, [0..2, 2..3]);
    let error = layout.head_groups(1 << 20).unwrap_err();
    assert!(error.to_string().contains("keys of head 0"), "{error}");
}

#[test]
fn views_of_another_device_are_refused() {
    let instance = wgpu::Instance::default();
    let adapter = pollster::block_on(instance.request_adapter(&Default::default())).unwrap();
    let [ctx, other] = [(); 2].map(|()| {
        pollster::block_on(fewbytes_wgpu::Context::open_on(&adapter, Features::Baseline)).unwrap()
    });
    let layout = Layout::plain(shape(64, KvElement::F16), 4).unwrap();
    let cache = DeviceCache::new(&ctx, layout, false).unwrap();
    let spec = cache.append_spec(1, Activation::F32, None);
    let plan = append_kv::plan(&ctx, &spec, &Knobs::DEFAULT).unwrap();
    let own = ctx.upload(&numbers(1, 1, 64)).unwrap();
    let foreign = other.upload(&numbers(1, 1, 64)).unwrap();
    plan.bind(&cache, &own, &own, None).unwrap();
    let error = plan.bind(&cache, &foreign, &own, None).err().unwrap();
    assert!(matches!(error, Error::Validation { .. }), "{error}");
}
