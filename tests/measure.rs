//! The clock on real devices: that it runs, covers the rotation and refuses what makes no sense.
//! What it shows is judged nowhere.

#[path = "fixtures/device.rs"]
mod device;

use device::open;
use fewbytes::linear::gemv_bitplane::Y;
use fewbytes::linear::{BitplaneLayout, BitplaneShape, GemvBitplane, TableElement};
use fewbytes::{Error, Knobs, Launch, Spec as _};
use fewbytes_wgpu::measure::{Budget, Clock, Operands, Options, Order, Timing, time};
use fewbytes_wgpu::{Arg, Context, Features};
use std::time::Duration;

const BUDGET: Budget = Budget { past_cache: 1 << 20, memory: 8 << 20 };

fn short(order: Order) -> Options {
    Options {
        min_pass: Duration::from_micros(500),
        samples: 3,
        warm_up: Duration::from_millis(1),
        settle_limit: Duration::from_millis(200),
        ..Options::quick(order)
    }
}

fn launches(ctx: &Context) -> Vec<Launch> {
    let shape = BitplaneShape { rows: 256, cols: 512, seed_bits: 2, parent_bits: 8 };
    let widths = [4];
    let caps = ctx.caps();
    let layout = BitplaneLayout::for_shape(shape, &widths, TableElement::F16, false, 8, caps);
    GemvBitplane::new(layout.unwrap(), 4).launches(caps, &Knobs::default()).unwrap()
}

fn timed(ctx: &Context, options: &Options) -> Timing {
    let launches = launches(ctx);
    let operands = Operands::new(ctx, &launches, options.order, &BUDGET).unwrap();
    let plan = ctx.plan_launches(launches).unwrap();
    let rotation = operands.rotation(ctx, &plan).unwrap();
    let timing = time(ctx, &rotation, options).unwrap();
    assert_eq!(timing.rotation as usize, rotation.len());
    assert!(timing.gigabytes_per_second(plan.traffic()) > 0.0);
    timing
}

#[test]
fn both_orders_take_time() {
    let ctx = open(Features::Full);
    for order in [Order::Chain, Order::Independent] {
        let timing = timed(&ctx, &short(order));
        let spread = timing.dispatch_ns;
        assert!(spread.min > 0.0 && spread.min <= spread.median && spread.median <= spread.max);
        assert!(timing.wall_ns > 0.0);
        assert_eq!((timing.order, timing.samples), (order, 3));
        assert!(timing.dispatches >= 1);
        if order == Order::Independent {
            assert!(timing.dispatches <= timing.rotation, "{timing:?}");
        }
    }
}

#[test]
fn a_device_without_timestamps_is_timed_by_the_wall_clock() {
    let ctx = open(Features::Baseline);
    let timing = timed(&ctx, &short(Order::Chain));
    assert_eq!(timing.clock, Clock::Wall);
    assert_eq!(timing.dispatch_ns.median, timing.wall_ns);
    let launches = launches(&ctx);
    let operands = Operands::new(&ctx, &launches, Order::Chain, &BUDGET).unwrap();
    let rotation = operands.rotation(&ctx, &ctx.plan_launches(launches).unwrap()).unwrap();
    let options = Options { clock: Some(Clock::Timestamps), ..short(Order::Chain) };
    let error = time(&ctx, &rotation, &options).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
}

#[test]
fn timestamps_are_used_where_they_are_and_can_be_turned_off() {
    let ctx = open(Features::Full);
    let able = ctx.device().features().contains(wgpu::Features::TIMESTAMP_QUERY);
    let expected = if able { Clock::Timestamps } else { Clock::Wall };
    assert_eq!(timed(&ctx, &short(Order::Chain)).clock, expected);
    let wall = Options { clock: Some(Clock::Wall), ..short(Order::Chain) };
    assert_eq!(timed(&ctx, &wall).clock, Clock::Wall);
}

#[test]
fn a_rotation_goes_through_every_copy() {
    let ctx = open(Features::Full);
    let launches = launches(&ctx);
    let plan = ctx.plan_launches(launches.clone()).unwrap();
    // By hand, with outputs that can be looked at: other copies would leave theirs untouched.
    let outputs: Vec<_> = (0..5).map(|_| ctx.upload(&[f32::NAN; 256]).unwrap()).collect();
    let inputs: Vec<_> = launches[0]
        .operands()
        .iter()
        .filter(|operand| operand.binding != Y)
        .map(|operand| {
            let bytes = (operand.offset + operand.bytes) as usize;
            (operand.binding, ctx.upload(&vec![0u8; bytes]).unwrap())
        })
        .collect();
    let rotation: Vec<_> = outputs
        .iter()
        .map(|y| {
            let inputs = inputs.iter().chain([&(Y, y.clone())]).cloned().collect::<Vec<_>>();
            let args: Vec<_> = inputs
                .iter()
                .map(|(binding, view)| Arg {
                    binding: *binding,
                    pieces: std::slice::from_ref(view),
                })
                .collect();
            plan.bind(&args, None).unwrap()
        })
        .collect();
    let one_each = Options { max_dispatches: 1, ..short(Order::Independent) };
    // Warm-up and samples are six passes at least, one dispatch each.
    assert_eq!(time(&ctx, &rotation, &one_each).unwrap().dispatches, 1);
    for y in &outputs {
        assert_eq!(ctx.block_on(ctx.read::<f32>(y)).unwrap(), [0.0; 256]);
    }
}

#[test]
fn made_up_rotations_are_larger_than_the_cache() {
    let ctx = open(Features::Full);
    let launches = launches(&ctx);
    let each: u64 = launches[0].operands().iter().map(|o| o.bytes.next_multiple_of(256)).sum();
    for order in [Order::Chain, Order::Independent] {
        let operands = Operands::new(&ctx, &launches, order, &BUDGET).unwrap();
        assert!((operands.copies() as u64 - 1) * each >= BUDGET.past_cache);
        assert!(operands.bytes() >= operands.copies() as u64 * each);
        let plan = ctx.plan_launches(launches.clone()).unwrap();
        let rotation = operands.rotation(&ctx, &plan).unwrap();
        assert!(rotation.len() >= operands.copies());
        ctx.submit(|pass| rotation.iter().try_for_each(|bound| bound.record(pass))).unwrap();
    }
}

#[test]
fn what_cannot_be_timed_is_refused() {
    let ctx = open(Features::Full);
    let options = short(Order::Chain);
    let error = time(&ctx, &[], &options).unwrap_err();
    assert!(error.to_string().contains("rotation to time"), "{error}");
    let nothing = ctx.plan_launches(Vec::new()).unwrap().bind(&[], None).unwrap();
    let error = time(&ctx, &[nothing], &options).unwrap_err();
    assert!(error.to_string().contains("launches of a bound"), "{error}");
    assert!(Operands::new(&ctx, &[], Order::Chain, &BUDGET).is_err());

    let launches = launches(&ctx);
    let operands = Operands::new(&ctx, &launches, Order::Chain, &BUDGET).unwrap();
    let rotation = operands.rotation(&ctx, &ctx.plan_launches(launches).unwrap()).unwrap();
    for (name, wrong) in [
        ("samples", Options { samples: 0, ..options.clone() }),
        ("max_dispatches", Options { max_dispatches: 0, ..options.clone() }),
        ("tolerance", Options { tolerance: f64::NAN, ..options.clone() }),
    ] {
        let error = time(&ctx, &rotation, &wrong).unwrap_err();
        assert!(matches!(error, Error::Range { .. }), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_lost_device_is_an_error() {
    let ctx = open(Features::Full);
    let launches = launches(&ctx);
    let operands = Operands::new(&ctx, &launches, Order::Chain, &BUDGET).unwrap();
    let rotation = operands.rotation(&ctx, &ctx.plan_launches(launches).unwrap()).unwrap();
    ctx.device().destroy();
    let _ = ctx.device().poll(wgpu::PollType::Poll);
    let error = time(&ctx, &rotation, &short(Order::Chain)).unwrap_err();
    assert!(matches!(error, Error::DeviceLost { .. }), "{error}");
}

#[test]
fn timings_survive_json() {
    let ctx = open(Features::Full);
    let timing = timed(&ctx, &short(Order::Chain));
    let json = serde_json::to_string(&timing).unwrap();
    assert!(json.contains("\"order\":\"chain\""), "{json}");
    let back: Timing = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (back.clock, back.dispatches, back.settled),
        (timing.clock, timing.dispatches, timing.settled)
    );
}
