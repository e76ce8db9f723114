//! Runs a launch with nothing but wgpu: an engine needs no line of `fewbytes-wgpu`.
//!
//! Everything that is API here is this file's own: buffers, bind groups, pipeline, pass. What to
//! put into them comes from the launch. The result is compared with the scalar reference.

use anyhow::{Context as _, Result, ensure};
use fewbytes::launch::{Access, Caps, Dialect, Knobs, Launch, Spec as _};
use fewbytes::linear::gemv_bitplane::{BIAS, X, Y, reference};
use fewbytes::linear::{BitplaneLayout, GemvBitplane, QuantizeOptions, Weights, quantize};
use std::collections::HashMap;
use wgpu::util::{BufferInitDescriptor, DeviceExt as _};

fn main() -> Result<()> {
    let (device, queue) = pollster::block_on(open())?;
    println!("adapter: {}", device.adapter_info().name);

    let (rows, cols, bits) = (300, 500, 4);
    let w: Vec<f32> = (0..rows * cols).map(|i| (i as f32 * 0.71).sin()).collect();
    let x: Vec<f32> = (0..cols).map(|i| (i as f32 * 0.13).cos()).collect();
    let bias: Vec<f32> = (0..rows).map(|i| i as f32 / 100.0).collect();
    let weights = Weights::new("example", rows, cols, &w, None)?;
    let layer = quantize(&weights, &QuantizeOptions::default())?.pack(Some(bias.clone()))?;

    // The device was opened with WebGPU's defaults, so that is what the launches are made for.
    let caps = Caps::webgpu();
    let layout = BitplaneLayout::new(&layer, bits, &caps)?;
    let storage = |bytes: &[u8]| {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
        device.create_buffer_init(&BufferInitDescriptor { label: None, contents: bytes, usage })
    };
    let planes = layout.pieces().map(|p| Ok(storage(bytes_of(&layout.plane_piece(&layer, &p)?))));
    let tables = layout.pieces().map(|p| Ok(storage(&layout.table_piece(&layer, &p)?)));
    let y = vec![storage(&vec![0; rows * 4])];
    let tensors: HashMap<u32, Vec<wgpu::Buffer>> = HashMap::from([
        (fewbytes::linear::bitplane::PLANES, planes.collect::<Result<_>>()?),
        (fewbytes::linear::bitplane::TABLES, tables.collect::<Result<_>>()?),
        (BIAS, vec![storage(bytes_of(&bias))]),
        (X, vec![storage(bytes_of(&x))]),
        (Y, y.clone()),
    ]);

    let spec = GemvBitplane::new(layout, bits);
    let launches = spec.launches(&caps, &Knobs::baseline())?;
    // One buffer for all launches: what one leaves there another reads.
    let parts = launches.iter().flat_map(|launch| launch.scratch());
    let scratch_bytes = parts.map(|part| part.offset + part.bytes).max().unwrap_or(0);
    let scratch = (scratch_bytes > 0).then(|| {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("scratch"),
            size: scratch_bytes,
            usage: wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        })
    });
    let mut encoder = device.create_command_encoder(&Default::default());
    for launch in &launches {
        println!("{} {}: grid {:?}", launch.kernel(), launch.variant(), launch.grid());
        dispatch(&device, &mut encoder, launch, &tensors, scratch.as_ref())?;
    }
    queue.submit([encoder.finish()]);

    let found = read(&device, &queue, &y[0])?;
    let expected = reference(&layer, bits, &x, true)?;
    ensure!(found.len() == expected.y.len(), "{} rows came back", found.len());
    let bound = 64.0 * f64::from(f32::EPSILON);
    let mut worst: f64 = 0.0;
    for (row, ((y, e), condition)) in
        found.iter().zip(&expected.y).zip(&expected.condition).enumerate()
    {
        let error = (f64::from(*y) - e).abs() / condition;
        // A NaN is not below the bound either.
        ensure!(error < bound, "row {row} is {y}, expected {e}");
        worst = worst.max(error);
    }
    println!("largest error / sum |w x|: {worst:.1e}");
    println!("correct");
    Ok(())
}

async fn open() -> Result<(wgpu::Device, wgpu::Queue)> {
    let instance = wgpu::Instance::default();
    let adapter = instance.request_adapter(&Default::default()).await;
    let adapter = adapter.context("no adapter; `cargo xtask doctor` says what to install")?;
    Ok(adapter.request_device(&Default::default()).await?)
}

fn dispatch(
    device: &wgpu::Device,
    encoder: &mut wgpu::CommandEncoder,
    launch: &Launch,
    tensors: &HashMap<u32, Vec<wgpu::Buffer>>,
    scratch: Option<&wgpu::Buffer>,
) -> Result<()> {
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some(launch.kernel()),
        source: wgpu::ShaderSource::Wgsl(launch.wgsl(Dialect::Naga).into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(launch.kernel()),
        layout: None,
        module: &module,
        entry_point: Some(launch.shader().entry()),
        compilation_options: wgpu::PipelineCompilationOptions {
            constants: launch.shader().constants(),
            ..Default::default()
        },
        cache: None,
    });
    let usage = wgpu::BufferUsages::UNIFORM;
    let params = BufferInitDescriptor { label: None, contents: launch.params(), usage };
    let params = device.create_buffer_init(&params);
    let usage = wgpu::BufferUsages::STORAGE;
    let absent = BufferInitDescriptor { label: None, contents: &[0; 16], usage };
    let absent = device.create_buffer_init(&absent);
    let entry = |binding: &fewbytes::launch::Binding| {
        let part = launch.scratch().iter().find(|part| part.binding == binding.number);
        let operand = launch.operands().iter().find(|o| o.binding == binding.number);
        let resource = match (binding.access, part, operand) {
            (Access::Uniform, ..) => params.as_entire_buffer_binding(),
            (_, Some(part), _) => {
                let buffer = scratch.context("no scratch buffer")?;
                let size = wgpu::BufferSize::new(part.bytes);
                wgpu::BufferBinding { buffer, offset: part.offset, size }
            }
            (_, None, Some(operand)) => {
                let buffer = tensors
                    .get(&binding.number)
                    .and_then(|pieces| pieces.get(operand.piece as usize))
                    .with_context(|| format!("no buffer for {}", binding.name))?;
                let size = wgpu::BufferSize::new(operand.bytes);
                wgpu::BufferBinding { buffer, offset: operand.offset, size }
            }
            // The kernel does not look at it, but WebGPU wants something there.
            (_, None, None) => absent.as_entire_buffer_binding(),
        };
        let resource = wgpu::BindingResource::Buffer(resource);
        anyhow::Ok(wgpu::BindGroupEntry { binding: binding.number, resource })
    };
    let entries = launch.bindings().iter().map(entry).collect::<Result<Vec<_>>>()?;
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some(launch.kernel()),
        layout: &pipeline.get_bind_group_layout(0),
        entries: &entries,
    });
    let mut pass = encoder.begin_compute_pass(&Default::default());
    pass.set_pipeline(&pipeline);
    pass.set_bind_group(0, &group, &[]);
    let [gx, gy, gz] = launch.grid();
    pass.dispatch_workgroups(gx, gy, gz);
    Ok(())
}

fn read(device: &wgpu::Device, queue: &wgpu::Queue, buffer: &wgpu::Buffer) -> Result<Vec<f32>> {
    let staging = device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: buffer.size(),
        usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let mut encoder = device.create_command_encoder(&Default::default());
    encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, buffer.size());
    queue.submit([encoder.finish()]);
    let (done, mapped) = std::sync::mpsc::channel();
    staging.slice(..).map_async(wgpu::MapMode::Read, move |outcome| {
        // The receiver below outlives the poll.
        let _ = done.send(outcome);
    });
    device.poll(wgpu::PollType::wait_indefinitely())?;
    mapped.recv()??;
    let range = staging.slice(..).get_mapped_range()?;
    Ok(range.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

/// The bytes of plain numbers.
fn bytes_of<T: bytemuck::NoUninit>(values: &[T]) -> &[u8] {
    bytemuck::cast_slice(values)
}
