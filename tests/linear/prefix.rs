//! One copy of a layer serves every width, whatever the width of the upload.

use crate::device::open;
use crate::{activations, assert_product, bit_patterns, product, quantized};
use fewbytes_wgpu::ops::{BitplaneWeights, gemv_bitplane};
use fewbytes_wgpu::{Context, Features};

#[test]
fn every_width_of_every_upload_is_right_and_equal() {
    for features in [Features::Full, Features::Baseline] {
        let ctx = open(features);
        for (rows, cols) in [(256, 160), (37, 131), (1, 1057), (130, 33)] {
            let layer = quantized(7, rows, cols);
            let x_host = activations(8, cols);
            let x = ctx.upload(&x_host).unwrap();
            let [full, part] =
                [8, 5].map(|bits| BitplaneWeights::upload(&ctx, &layer, bits).unwrap());
            let plan_full = gemv_bitplane::plan(&ctx, &full, Default::default()).unwrap();
            let compiled = ctx.pipelines();
            let plan_part = gemv_bitplane::plan(&ctx, &part, Default::default()).unwrap();
            assert_eq!(ctx.pipelines(), compiled, "an upload of fewer bits compiled anew");
            let mut previous = Vec::new();
            for bits in 3..=8 {
                let y = product(&ctx, &plan_full, bits, &full, &x);
                assert_product(&layer, bits, &x_host, &y);
                assert_ne!(y, previous, "{bits} bits give what {} gave", bits - 1);
                if bits <= 5 {
                    let same = product(&ctx, &plan_part, bits, &part, &x);
                    assert_eq!(bit_patterns(&same), bit_patterns(&y), "{rows} x {cols} at {bits}");
                }
                previous = y;
            }
            assert_eq!(ctx.pipelines(), compiled, "a width compiled when it was used");
        }
    }
}

#[test]
fn products_repeat_bit_by_bit_over_runs_and_devices() {
    let layer = quantized(3, 256, 160);
    let x_host = activations(4, 160);
    let adapters = pollster::block_on(fewbytes_wgpu::adapters());
    assert!(!adapters.is_empty(), "no adapter: `cargo xtask test` finds or installs a driver");
    for (adapter, features) in
        adapters.iter().flat_map(|a| [(a, Features::Full), (a, Features::Baseline)])
    {
        let mut seen: Vec<Vec<u32>> = Vec::new();
        for _device in 0..2 {
            let ctx = pollster::block_on(Context::open_on(adapter, features)).unwrap();
            let weights = BitplaneWeights::upload(&ctx, &layer, 8).unwrap();
            let plan = gemv_bitplane::plan(&ctx, &weights, Default::default()).unwrap();
            let x = ctx.upload(&x_host).unwrap();
            for (index, bits) in [3, 8].into_iter().enumerate() {
                for run in 0..20 {
                    let y = bit_patterns(&product(&ctx, &plan, bits, &weights, &x));
                    match seen.get(index) {
                        None => seen.push(y),
                        Some(first) => {
                            assert_eq!(&y, first, "{}: run {run}, {bits} bits", ctx.describe());
                        }
                    }
                }
            }
        }
        assert_ne!(seen[0], seen[1]);
    }
}

#[test]
fn an_upload_takes_memory_by_its_bits() {
    let ctx = open(Features::Full);
    // Wide enough that the planes, and not the tables, are most of it.
    let (rows, cols) = (64, 2048);
    let layer = quantized(5, rows, cols);
    let bytes = |bits| BitplaneWeights::upload(&ctx, &layer, bits).unwrap().bytes();
    let planes = (rows * cols / 8) as u64;
    let tables = |bits: u32| (3..=bits).map(|b| (rows as u64 * 2) << b).sum::<u64>();
    let bias = rows as u64 * 4;
    for bits in 3..=8u8 {
        // Nothing but these; all their sizes are multiples of what bindings are aligned to.
        let expected = u64::from(bits) * planes + tables(bits.into()) + bias;
        assert_eq!(bytes(bits), expected, "{bits}");
    }
    assert!(bytes(4) * 2 < bytes(8), "more than half of the memory for half of the bits");
}
