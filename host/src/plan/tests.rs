//! Scratch memory, with launches made by hand: a launch that writes it and one that reads it.

use super::*;
use crate::pipeline::entry;
use crate::{Context, Element, OpenOptions};

/// The scratch part begins behind 256 bytes that nobody uses, so that offsets count.
const OFFSET: u64 = 256;
const PARTIAL_BYTES: u64 = 4 * 64 * 4;

static SPLIT: [Binding; 2] = [
    Binding { number: 0, name: "x", access: Access::Read },
    Binding { number: 1, name: "partial", access: Access::ReadWrite },
];
static JOIN: [Binding; 3] = [
    Binding { number: 1, name: "summands", access: Access::Read },
    Binding { number: 2, name: "bias", access: Access::Read },
    Binding { number: 3, name: "y", access: Access::ReadWrite },
];

fn noop() -> Context {
    let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
    Context::new(&device, &queue).unwrap()
}

fn step(ctx: &Context, kernel: &'static str, bindings: &'static [Binding], groups: u32) -> Step {
    let device = ctx.device();
    let module = device.create_shader_module(wgpu::include_wgsl!("tests.wgsl"));
    let entries: Vec<_> = bindings.iter().map(entry).collect();
    let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: None,
        entries: &entries,
    });
    let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        bind_group_layouts: &[Some(&layout)],
        ..Default::default()
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: Some(&pipeline_layout),
        module: &module,
        entry_point: Some(kernel),
        compilation_options: Default::default(),
        cache: None,
    });
    let operands = bindings.iter().filter(|b| b.number != 1);
    let operand = |b: &Binding| Operand { binding: b.number, piece: 0, offset: 0, bytes: 256 };
    Step {
        kernel,
        variant: "baseline",
        pipeline: Arc::new(Pipeline { pipeline, layout }),
        params: ctx.alloc::<u32>(4).unwrap().buffer().clone(),
        bindings,
        operands: operands.map(operand).collect(),
        scratch: vec![Scratch { binding: 1, offset: OFFSET, bytes: PARTIAL_BYTES }],
        grid: [groups, 1, 1],
        traffic: Traffic::default(),
    }
}

fn steps(ctx: &Context) -> Vec<Step> {
    vec![step(ctx, "split", &SPLIT, 4), step(ctx, "join", &JOIN, 1)]
}

fn plan_of(ctx: &Context, steps: Vec<Step>) -> Result<Plan> {
    let absent = ctx.alloc::<u32>(64)?.buffer().clone();
    Plan::of_steps(ctx.guarded(), &absent, ctx.caps().storage_alignment, steps)
}

fn args(tensors: &[View; 3]) -> [Arg<'_>; 3] {
    let [x, bias, y] = tensors;
    [(0, x), (2, bias), (3, y)]
        .map(|(binding, view)| Arg { binding, pieces: std::slice::from_ref(view) })
}

fn tensors(ctx: &Context) -> [View; 3] {
    [(); 3].map(|()| ctx.upload(&[1.0f32; 64]).unwrap())
}

#[track_caller]
fn refused<T>(result: Result<T>) -> String {
    result.err().expect("accepted").to_string()
}

#[test]
fn partial_results_go_through_scratch_memory() {
    let ctx = pollster::block_on(Context::open(&OpenOptions::from_env())).unwrap_or_else(|error| {
        panic!("this test runs kernels: {error}; `cargo xtask test` finds or installs a driver")
    });
    let plan = plan_of(&ctx, steps(&ctx)).unwrap();
    assert_eq!(plan.scratch_bytes(), OFFSET + PARTIAL_BYTES);
    let x: Vec<f32> = (0..64).map(|i| i as f32).collect();
    let tensors = [
        ctx.upload(&x).unwrap(),
        ctx.upload(&[0.5f32; 64]).unwrap(),
        ctx.upload(&[f32::NAN; 64]).unwrap(),
    ];
    // Scratch in the middle of a larger buffer, whose other bytes stay what they are.
    let buffer = ctx.upload(&[0xff_u8; 4096]).unwrap();
    let scratch = View::new(buffer.buffer(), 512, plan.scratch_bytes(), Element::U8).unwrap();
    ctx.submit(|pass| plan.record_with(pass, &args(&tensors), Some(&scratch))).unwrap();
    let y = ctx.block_on(ctx.read::<f32>(&tensors[2])).unwrap();
    let expected: Vec<f32> = x.iter().map(|x| 0.5 + 10.0 * x).collect();
    assert_eq!(y, expected);
    let bytes = ctx.block_on(ctx.read::<u8>(&buffer)).unwrap();
    let (first, end) = (512 + OFFSET as usize, 512 + plan.scratch_bytes() as usize);
    assert!(bytes[..first].iter().chain(&bytes[end..]).all(|&byte| byte == 0xff));
}

#[test]
fn scratch_memory_that_is_missing_or_too_small_is_refused() {
    let ctx = noop();
    let plan = plan_of(&ctx, steps(&ctx)).unwrap();
    let tensors = tensors(&ctx);
    let bytes = |n| ctx.alloc::<u8>(n).unwrap();
    let text = "scratch memory of split: expected at least 1280 bytes, found ";
    assert_eq!(refused(plan.bind(&args(&tensors), None)), format!("{text}none"));
    let small = bytes(1276);
    assert_eq!(refused(plan.bind(&args(&tensors), Some(&small))), format!("{text}1276"));
    // Through `record` there is no way to lend any.
    let recorded = ctx.submit(|pass| plan.record(pass, &args(&tensors)));
    assert_eq!(refused(recorded), format!("{text}none"));
    for enough in [bytes(1280), bytes(5000)] {
        ctx.submit(|pass| plan.record_with(pass, &args(&tensors), Some(&enough))).unwrap();
    }
}

#[test]
fn scratch_memory_that_cannot_be_bound_is_refused() {
    let ctx = noop();
    let plan = plan_of(&ctx, steps(&ctx)).unwrap();
    let tensors = tensors(&ctx);
    let memory = ctx.alloc::<u8>(4096).unwrap();
    let odd = View::new(memory.buffer(), 4, 2048, Element::U8).unwrap();
    let multiple = ctx.caps().storage_alignment;
    assert_eq!(
        refused(plan.bind(&args(&tensors), Some(&odd))),
        format!("offset of partial of split = 260 is not a multiple of {multiple}")
    );
    let plain = ctx.device().create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 2048,
        usage: wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let plain = View::new(&plain, 0, 2048, Element::U8).unwrap();
    let text = refused(plan.bind(&args(&tensors), Some(&plain)));
    assert_eq!(text, "partial of split is not available: its buffer has no STORAGE usage");
}

#[test]
fn scratch_memory_of_another_device_is_refused() {
    // wgpu tells apart devices of one instance only.
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::NOOP;
    descriptor.backend_options.noop = wgpu::NoopBackendOptions::enabled();
    let instance = wgpu::Instance::new(descriptor);
    let adapter = pollster::block_on(instance.request_adapter(&Default::default())).unwrap();
    let [ctx, other] = [(); 2].map(|()| {
        let (device, queue) =
            pollster::block_on(adapter.request_device(&Default::default())).unwrap();
        Context::new(&device, &queue).unwrap()
    });
    let plan = plan_of(&ctx, steps(&ctx)).unwrap();
    let foreign = other.alloc::<u8>(2048).unwrap();
    let text = refused(plan.bind(&args(&tensors(&ctx)), Some(&foreign)));
    assert!(text.starts_with("validation of operands of split: "), "{text}");
}

#[test]
fn a_tensor_in_the_scratch_memory_is_refused() {
    let ctx = noop();
    let plan = plan_of(&ctx, steps(&ctx)).unwrap();
    let memory = ctx.alloc::<u8>(4096).unwrap();
    let scratch = View::new(memory.buffer(), 1024, 2048, Element::U8).unwrap();
    let at = |offset| View::new(memory.buffer(), offset, 64, Element::F32).unwrap();
    let with = |place: usize, view: View| {
        let mut tensors = tensors(&ctx);
        tensors[place] = view;
        plan.bind(&args(&tensors), Some(&scratch)).map(drop)
    };
    // The bias is not bound where scratch is written, and would be overwritten all the same.
    for (place, name) in [(0, "x"), (1, "bias"), (2, "y")] {
        for offset in [1024, 1024 + 1280 - 256, 1024 - 252] {
            assert_eq!(
                refused(with(place, at(offset))),
                format!(
                    "scratch memory of split and {name} share one buffer, and scratch memory of \
                     split is written"
                )
            );
        }
    }
    // Beside it in one buffer: read and written in one launch is too much for WebGPU even then.
    for (place, words) in [(0, "partial of split and x share"), (2, "y of join and summands share")]
    {
        let text = refused(with(place, at(0)));
        assert!(text.starts_with(words), "{text}");
    }
    // The bias is read where scratch is read; and what is behind the bytes that are needed is free.
    with(1, at(0)).unwrap();
    with(1, at(1024 + 1280)).unwrap();
}

#[test]
fn scratch_that_no_device_can_bind_is_refused_when_planned() {
    let ctx = noop();
    let with = |scratch: Scratch| {
        let mut steps = steps(&ctx);
        steps[1].scratch = vec![scratch];
        refused(plan_of(&ctx, steps))
    };
    let good = Scratch { binding: 1, offset: 0, bytes: 1024 };
    assert_eq!(
        with(Scratch { offset: 128, ..good }),
        "offset of scratch summands of join = 128 is not a multiple of 256"
    );
    for wrong in [Scratch { offset: u64::MAX - 255, ..good }, Scratch { bytes: 0, ..good }] {
        assert_eq!(
            with(wrong),
            format!(
                "scratch summands of join: expected some bytes within 64 bits, found {} from {}",
                wrong.bytes, wrong.offset
            )
        );
    }
    assert_eq!(
        with(Scratch { binding: 7, ..good }),
        "scratch binding of join: expected a storage binding, found 7"
    );
}
