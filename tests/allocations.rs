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

use allocation_counter::{AllocationInfo, measure};
use fewbytes::Spec as _;
use fewbytes::launch::{Access, Dialect, Knobs, Launch};
use fewbytes::linear::GemvBitplane;
use fewbytes::linear::bitplane::{PLANES, TABLES};
use fewbytes::linear::gemv_bitplane::{BIAS, X, Y};
use fewbytes_wgpu::ops::{BitplaneWeights, gemv_bitplane};
use fewbytes_wgpu::{Context, Features, View};
use layers::Wanted;
use wgpu::util::{BufferInitDescriptor, DeviceExt as _};

const BITS: u8 = 4;

fn noop() -> Context {
    let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
    Context::new(&device, &queue).unwrap()
}

/// A product, bound by the wrapper and by hand.
struct Scene {
    ctx: Context,
    product: gemv_bitplane::Bound,
    raw: Vec<Raw>,
}

/// One launch with wgpu alone.
struct Raw {
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
    grid: [u32; 3],
}

impl Scene {
    fn new(ctx: Context) -> Self {
        let layer = Wanted { bias: true, ..Wanted::new(300, 96, 3, 8) }.layer();
        let weights = BitplaneWeights::upload(&ctx, &layer, 8).unwrap();
        let (x, y) = (ctx.upload(&[1.0f32; 96]).unwrap(), ctx.alloc::<f32>(300).unwrap());
        let gemv = gemv_bitplane::plan(&ctx, &weights, Default::default()).unwrap();
        let product = gemv.bind(&weights, &x, &y).unwrap();
        let spec = GemvBitplane::new(weights.layout().clone(), BITS);
        let launches = spec.launches(ctx.caps(), &Knobs::default()).unwrap();
        let view = |binding| match binding {
            PLANES => &weights.planes()[0],
            TABLES => &weights.tables()[0],
            BIAS => &weights.bias()[0],
            X => &x,
            Y => &y,
            other => panic!("binding {other}"),
        };
        let raw = launches.iter().map(|launch| Raw::new(ctx.device(), launch, view)).collect();
        Self { ctx, product, raw }
    }

    /// What `count` recordings allocate in a pass in which one was recorded before.
    fn allocations(
        &self,
        count: usize,
        mut record: impl FnMut(&mut wgpu::ComputePass<'_>),
    ) -> AllocationInfo {
        let mut encoder = self.ctx.device().create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        record(&mut pass);
        let info = measure(|| (0..count).for_each(|_| record(&mut pass)));
        drop(pass);
        // Checks what was recorded, and panics where it is not valid; nobody needs it to run.
        drop(encoder.finish());
        info
    }

    fn of_wrapper(&self, count: usize) -> AllocationInfo {
        self.allocations(count, |pass| self.product.record(pass, BITS).unwrap())
    }

    fn of_wgpu(&self, count: usize) -> AllocationInfo {
        self.allocations(count, |pass| self.raw.iter().for_each(|raw| raw.record(pass)))
    }
}

impl Raw {
    fn new<'a>(device: &wgpu::Device, launch: &Launch, view: impl Fn(u32) -> &'a View) -> Self {
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: None,
            source: wgpu::ShaderSource::Wgsl(launch.wgsl(Dialect::Naga).into()),
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &module,
            entry_point: Some(launch.shader().entry()),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: launch.shader().constants(),
                ..Default::default()
            },
            cache: None,
        });
        let params = device.create_buffer_init(&BufferInitDescriptor {
            label: None,
            contents: launch.params(),
            usage: wgpu::BufferUsages::UNIFORM,
        });
        assert!(launch.scratch().is_empty(), "this scene has no scratch memory");
        let resource = |number| {
            let operand = launch.operands().iter().find(|o| o.binding == number).unwrap();
            let size = wgpu::BufferSize::new(operand.bytes);
            wgpu::BufferBinding { buffer: view(number).buffer(), offset: operand.offset, size }
        };
        let entries: Vec<_> = launch
            .bindings()
            .iter()
            .map(|binding| wgpu::BindGroupEntry {
                binding: binding.number,
                resource: wgpu::BindingResource::Buffer(match binding.access {
                    Access::Uniform => params.as_entire_buffer_binding(),
                    _ => resource(binding.number),
                }),
            })
            .collect();
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        Self { pipeline, group, grid: launch.grid() }
    }

    fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        let [x, y, z] = self.grid;
        pass.dispatch_workgroups(x, y, z);
    }
}

#[test]
fn recording_allocates_what_wgpu_alone_allocates_and_nothing_more() {
    for ctx in [noop(), device::open(Features::Full)] {
        let scene = Scene::new(ctx);
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
fn recording_allocates_nothing_while_wgpus_lists_have_room() {
    let scene = Scene::new(noop());
    // A list of 3000 commands doubles 12 times, one of 1000 bind groups 10 times.
    let mut encoder = scene.ctx.device().create_command_encoder(&Default::default());
    let mut pass = encoder.begin_compute_pass(&Default::default());
    scene.product.record(&mut pass, BITS).unwrap();
    let without = (0..1000)
        .filter(|_| measure(|| scene.product.record(&mut pass, BITS).unwrap()).count_total == 0)
        .count();
    println!("{without} of 1000 records allocate nothing");
    assert!(without >= 1000 - 22, "only {without} of 1000 records allocate nothing");
}

#[test]
fn an_allocation_is_counted() {
    let info = measure(|| drop(std::hint::black_box(vec![1u8; 1000])));
    assert_eq!((info.count_total, info.bytes_total), (1, 1000));
}
