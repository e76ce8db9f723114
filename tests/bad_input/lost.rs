//! A device that goes away: typed errors from everything, no panic, no waiting for ever.

use crate::device::open;
use crate::{Error, noop, sparse_widths};
use fewbytes::linear::{Activation, GemvBitplane};
use fewbytes::{Knobs, Result};
use fewbytes_wgpu::ops::{BitplaneWeights, dequantize_bitplane, gemv_bitplane};
use fewbytes_wgpu::{Context, Features};

/// Everything a context can be asked for, before and after its device is destroyed.
fn outcomes(ctx: &Context) -> Vec<(&'static str, Result<()>)> {
    let layer = sparse_widths().layer();
    let weights = BitplaneWeights::upload(ctx, &layer, 8).unwrap();
    let gemv = gemv_bitplane::plan(ctx, &weights, Default::default()).unwrap();
    let (x, y) = (ctx.upload(&[1.0f32; 64]).unwrap(), ctx.alloc::<f32>(6).unwrap());
    let spare = ctx.alloc::<f32>(6).unwrap();
    ctx.submit(|pass| gemv.record(pass, 4, &weights, &x, &y)).unwrap();
    ctx.block_on(ctx.read::<f32>(&y)).unwrap();
    let bound = gemv.bind(&weights, &x, &y).unwrap();

    ctx.device().destroy();
    // The owner of the device would hear of it on the next poll.
    let _ = ctx.device().poll(wgpu::PollType::Poll);
    let new_width = GemvBitplane {
        activation: Activation::F16,
        ..GemvBitplane::new(weights.layout().clone(), 3)
    };
    vec![
        ("read", ctx.block_on(ctx.read::<f32>(&y)).map(drop)),
        ("write", ctx.write(&y, &[0.0f32; 6])),
        ("alloc", ctx.alloc::<f32>(5).map(drop)),
        ("upload", ctx.upload(&[1.0f32]).map(drop)),
        ("upload of weights", BitplaneWeights::upload(ctx, &layer, 8).map(drop)),
        ("plan that is compiled", ctx.plan(&new_width).map(drop)),
        (
            "plan that was compiled",
            gemv_bitplane::plan(ctx, &weights, Default::default()).map(drop),
        ),
        (
            "plan of another kernel",
            dequantize_bitplane::plan(ctx, &weights, 4, Activation::F16, &Knobs::default())
                .map(drop),
        ),
        ("bound tensors", ctx.submit(|pass| bound.record(pass, 4))),
        ("new tensors", ctx.submit(|pass| gemv.record(pass, 4, &weights, &x, &spare))),
        ("settle", ctx.block_on(ctx.settle())),
        ("second read", ctx.block_on(ctx.read::<f32>(&spare)).map(drop)),
    ]
}

#[test]
fn a_device_opened_here_and_lost_is_reported_by_every_call() {
    for features in [Features::Full, Features::Baseline] {
        for (what, outcome) in outcomes(&open(features)) {
            let error = outcome.expect_err(what);
            assert!(matches!(error, Error::DeviceLost { .. }), "{what}: {error}");
            assert!(error.to_string().contains("device lost: "), "{what}: {error}");
        }
    }
}

#[test]
fn a_callers_device_that_is_lost_is_an_error_too() {
    // Its callback for losing it is the caller's, so the loss shows only in what cannot be done
    // without the device. wgpu drops writes and submissions to it without a word.
    let opened = open(Features::Full);
    let ctx = Context::new(opened.device(), opened.queue()).unwrap();
    for ctx in [ctx, noop()] {
        for (what, outcome) in outcomes(&ctx) {
            match outcome {
                Ok(()) => assert!(
                    ["write", "alloc", "bound tensors", "new tensors", "settle"].contains(&what),
                    "{what} succeeded on a lost device"
                ),
                Err(error) => assert!(
                    matches!(error, Error::DeviceLost { .. } | Error::Validation { .. }),
                    "{what}: {error}"
                ),
            }
        }
    }
}

#[test]
fn an_owner_who_passes_the_loss_on_makes_every_call_say_so() {
    let opened = open(Features::Full);
    let ctx = std::sync::Arc::new(Context::new(opened.device(), opened.queue()).unwrap());
    let weak = std::sync::Arc::downgrade(&ctx);
    ctx.device().set_device_lost_callback(move |_, message| {
        if let Some(ctx) = weak.upgrade() {
            ctx.mark_lost(message);
        }
    });
    for (what, outcome) in outcomes(&ctx) {
        let error = outcome.expect_err(what);
        assert!(matches!(error, Error::DeviceLost { .. }), "{what}: {error}");
    }
}

#[test]
fn a_read_that_is_under_way_ends_when_the_device_is_lost() {
    use std::task::{Context as Task, Poll, Waker};
    let ctx = open(Features::Full);
    let view = ctx.upload(&[1.0f32; 4]).unwrap();
    let mut read = std::pin::pin!(ctx.read::<f32>(&view));
    let mut task = Task::from_waker(Waker::noop());
    // Nobody polls the device, so the mapping cannot have come.
    assert!(read.as_mut().poll(&mut task).is_pending());
    ctx.mark_lost("a test says so");
    let Poll::Ready(Err(error)) = read.as_mut().poll(&mut task) else { panic!("still waiting") };
    assert_eq!(error.to_string(), "device lost: a test says so");
}
