//! Recording a bound product allocates nothing of its own.
//!
//! wgpu keeps the commands of a pass in lists that grow now and then; that much is its own. So the
//! same calls are made with wgpu alone, in the same order, and both are counted: the wrapper has to
//! allocate exactly as often, and as many bytes, as wgpu does without it. A file of its own,
//! because counting takes the process's allocator; only the calling thread is counted.

#[path = "fixtures/device.rs"]
mod device;
#[path = "fixtures/layers.rs"]
mod layers;
#[path = "fixtures/raw.rs"]
mod raw;

use allocation_counter::{AllocationInfo, measure};
use fewbytes::Spec as _;
use fewbytes::launch::Knobs;
use fewbytes::linear::GemvBitplane;
use fewbytes_wgpu::ops::{BitplaneWeights, gemv_bitplane};
use fewbytes_wgpu::{Context, Features};
use layers::Wanted;
use raw::Raw;

/// Columns in three slices: a launch of each product and one that adds up its slices.
const SLICED: Knobs = Knobs { slices: Some(3), ..Knobs::DEFAULT };

/// Recorded in turn: wgpu leaves out calls that set what is set already.
const WIDTHS: [u8; 2] = [3, 4];

fn noop() -> Context {
    let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
    Context::new(&device, &queue).unwrap()
}

/// A product, bound by the wrapper and by hand.
struct Scene {
    ctx: Context,
    product: gemv_bitplane::Bound,
    raw: [Vec<Raw>; 2],
}

impl Scene {
    fn new(ctx: Context, knobs: Knobs) -> Self {
        let layer = Wanted { bias: true, ..Wanted::new(300, 96, 3, 8) }.layer();
        let weights = BitplaneWeights::upload(&ctx, &layer, 8).unwrap();
        let (x, y) = (ctx.upload(&[1.0f32; 96]).unwrap(), ctx.alloc::<f32>(300).unwrap());
        let options = gemv_bitplane::Options { knobs, ..Default::default() };
        let gemv = gemv_bitplane::plan(&ctx, &weights, options).unwrap();
        let scratch = ctx.upload(&vec![0u8; gemv.scratch_bytes() as usize]).unwrap();
        let product = gemv.bind_with(&weights, &x, &y, Some(&scratch)).unwrap();
        let raw = WIDTHS.map(|bits| {
            let spec = GemvBitplane::new(weights.layout().clone(), bits);
            let launches = spec.launches(ctx.caps(), &knobs).unwrap();
            Raw::all(ctx.device(), &launches, &weights, [&x, &y])
        });
        Self { ctx, product, raw }
    }

    /// What `count` recordings allocate in a pass in which one was recorded before.
    fn allocations(
        &self,
        count: usize,
        record: impl Fn(&mut wgpu::ComputePass<'_>, usize),
    ) -> AllocationInfo {
        let mut encoder = self.ctx.device().create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        record(&mut pass, 1);
        let info = measure(|| (0..count).for_each(|at| record(&mut pass, at % 2)));
        drop(pass);
        // Checks what was recorded, and panics where it is not valid; nobody needs it to run.
        drop(encoder.finish());
        info
    }

    fn of_wrapper(&self, count: usize) -> AllocationInfo {
        self.allocations(count, |pass, at| self.product.record(pass, WIDTHS[at]).unwrap())
    }

    fn of_wgpu(&self, count: usize) -> AllocationInfo {
        self.allocations(count, |pass, at| self.raw[at].iter().for_each(|raw| raw.record(pass)))
    }
}

/// Counts on a device that does nothing and on a real one.
fn assert_no_more_than_wgpu(knobs: Knobs, launches: usize) {
    for ctx in [noop(), device::open(Features::Full)] {
        let scene = Scene::new(ctx, knobs);
        assert!(scene.raw.iter().all(|raw| raw.len() == launches));
        println!("{}", scene.ctx.describe());
        for count in [1, 2, 10, 100, 1000, 10_000] {
            let (ours, wgpus) = (scene.of_wrapper(count), scene.of_wgpu(count));
            println!(
                "{count:6} records: {} allocations, {} bytes; wgpu alone {}, {}",
                ours.count_total, ours.bytes_total, wgpus.count_total, wgpus.bytes_total
            );
            assert_eq!(ours, wgpus, "{count} records");
        }
    }
}

#[test]
fn recording_allocates_what_wgpu_alone_allocates_and_nothing_more() {
    assert_no_more_than_wgpu(Knobs::DEFAULT, 1);
}

#[test]
fn recording_sliced_columns_allocates_what_wgpu_alone_allocates_and_nothing_more() {
    assert_no_more_than_wgpu(SLICED, 2);
}

#[test]
fn recording_allocates_nothing_while_wgpus_lists_have_room() {
    let scene = Scene::new(noop(), Knobs::DEFAULT);
    // A list of 3000 commands doubles 12 times, one of 1000 bind groups 10 times.
    let mut encoder = scene.ctx.device().create_command_encoder(&Default::default());
    let mut pass = encoder.begin_compute_pass(&Default::default());
    let mut record = |at: usize| scene.product.record(&mut pass, WIDTHS[at % 2]).unwrap();
    record(1);
    let without = (0..1000).filter(|&at| measure(|| record(at)).count_total == 0).count();
    println!("{without} of 1000 records allocate nothing");
    assert!(without >= 1000 - 22, "only {without} of 1000 records allocate nothing");
}

#[test]
fn an_allocation_is_counted() {
    let info = measure(|| drop(std::hint::black_box(vec![1u8; 1000])));
    assert_eq!((info.count_total, info.bytes_total), (1, 1000));
}
