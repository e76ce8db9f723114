//! How many residual channels a product can be compensated by beside it.

mod chart;
mod text;

use crate::options::Cli;
use crate::section;
use anyhow::{Context as _, Result};
use fewbytes::launch::Knobs;
use fewbytes::linear::compensate::{Choice, Rates, search};
use fewbytes::linear::{
    Activation, BitplaneLayout, BitplaneShape, GemvBitplane, ResidualElement, ResidualLayout,
    TableElement,
};
use fewbytes_wgpu::measure::{Residence, host_residence};
use fewbytes_wgpu::tune::TuneCache;
use fewbytes_wgpu::tune::compensation::{CompensatedLayer, CompensationOptions, Measured};
use fewbytes_wgpu::{Context, Error, Memory, Placement, wgpu};
use serde::Serialize;
use std::process::ExitCode;

/// Layers of Llama-3-8B: name, outputs, inputs.
const LAYERS: [(&str, usize, usize); 4] =
    [("qkv", 6144, 4096), ("o", 4096, 4096), ("gate_up", 28_672, 4096), ("down", 4096, 14_336)];
/// Small enough for a CPU that plays a GPU.
const SOFTWARE: [(&str, usize, usize); 1] = [("small", 512, 2048)];
const BITS: [u8; 2] = [3, 4];
const RESIDUAL: ResidualElement = ResidualElement::Int4;
/// Slowdowns of a block that are spent, as in the paper.
const SLOWDOWNS: [f64; 4] = [0.025, 0.05, 0.1, 0.2];

/// Everything measured on one device.
#[derive(Serialize)]
struct Found {
    device: String,
    /// Where buffers for host memory lie; nothing where the device cannot have any.
    residence: Option<Residence>,
    memory: &'static str,
    layers: Vec<Line>,
    /// Choices for the layers of a block, by bits.
    choices: Vec<Spent>,
}

/// A step that takes this much longer is past the knee.
const KNEE: f64 = 0.05;

/// One layer at one width.
#[derive(Serialize)]
struct Line {
    layer: String,
    rows: usize,
    cols: usize,
    bits: u8,
    measured: Measured,
    /// GB/s of the compensation alone where it fetched the most.
    link_gb_s: f64,
    /// Share of the shorter of both that was hidden, there where both take as long.
    overlap: Option<f64>,
    /// Channels of each 1024: measured at the knee, hidden by the model with the measured overhead, and with
    /// none.
    knee: f64,
    modelled: f64,
    ideal: f64,
}

#[derive(Serialize)]
struct Spent {
    bits: u8,
    slowdown: f64,
    choice: Choice,
}

pub(crate) fn run(cli: &Cli, chosen: &[wgpu::Adapter]) -> Result<ExitCode> {
    let all = section::run(cli, chosen, cli.experimental, measured, text::of)?;
    if let Some(path) = &cli.svg {
        chart::draw(path, &all)?;
        println!("picture    {}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn measured(ctx: &Context, cli: &Cli, device: String) -> Result<Found> {
    let software = ctx.info().device_type == wgpu::DeviceType::Cpu;
    let residence = match host_residence(ctx) {
        Ok(residence) => Some(residence),
        Err(Error::Unsupported { .. }) => None,
        Err(error) => return Err(error).context("cannot find out where host buffers lie"),
    };
    let shapes = if software { &SOFTWARE[..] } else { &LAYERS[..] };
    let mut options = CompensationOptions::default();
    if software || cli.quick {
        options.timing.samples = 5;
        options.most_groups = 16;
    }
    let seeds = TuneCache::seeded();
    let (mut layers, mut choices) = (Vec::new(), Vec::new());
    for bits in BITS {
        let mut times = Vec::new();
        for &(layer, rows, cols) in shapes {
            let name = format!("{layer} {bits} bits");
            if !cli.filter.iter().all(|part| name.contains(part.as_str())) {
                continue;
            }
            let shape = BitplaneShape { rows, cols, seed_bits: bits, parent_bits: bits };
            let layout = BitplaneLayout::for_shape(
                shape,
                &[bits],
                TableElement::F16,
                false,
                bits,
                ctx.caps(),
            )?;
            let activation = Activation::F16;
            let product = GemvBitplane { activation, ..GemvBitplane::new(layout, bits) };
            let knobs: Knobs = seeds.knobs(ctx, &product);
            let residual = ResidualLayout::new(rows, cols, RESIDUAL)?;
            let described =
                CompensatedLayer { name: &name, product: &product, knobs, residual, activation };
            let measured = ctx.compensation_times(&described, &options)?;
            times.push(measured.times.clone());
            layers.push(Line::new(layer, bits, residual, measured)?);
        }
        if !times.is_empty() {
            for slowdown in SLOWDOWNS {
                choices.push(Spent { bits, slowdown, choice: search(&times, slowdown)? });
            }
        }
    }
    anyhow::ensure!(!layers.is_empty(), "no layer matches the filter");
    let memory = match ctx.placed(Placement::HostOrDevice)? {
        Memory::Host => "host",
        Memory::Device => "device",
    };
    Ok(Found { device, residence, memory, layers, choices })
}

impl Line {
    fn new(layer: &str, bits: u8, residual: ResidualLayout, measured: Measured) -> Result<Self> {
        let (rows, cols) = (residual.rows(), residual.cols());
        let (overhead_ns, each_ns) = measured.alone_line().unwrap_or((0.0, 0.0));
        // Rates of a line through times are those of fetching, without what comes before.
        let each_bytes = residual.bytes_of(1) as f64 * cols as f64 / 1024.0;
        let link_gb_s = if each_ns > 0.0 { each_bytes / each_ns } else { measured.stream_gb_s };
        let base_ns = measured.times.base_ns;
        let rates = Rates {
            // Of no meaning where the product's time is known.
            memory_gb_s: 1.0,
            link_gb_s,
            overhead_ns: overhead_ns.max(0.0),
        };
        let per_chunk = 1024.0 / cols as f64;
        let model = fewbytes::linear::compensate::Model::measured(residual, base_ns, rates)?;
        let streamed = Rates { link_gb_s: measured.stream_gb_s, ..rates };
        let ideal = fewbytes::linear::compensate::Model { rates: streamed, ..model };
        let knee = measured.knee(KNEE).map_or(0.0, |(knee, _)| knee);
        Ok(Self {
            layer: layer.to_owned(),
            rows,
            cols,
            bits,
            link_gb_s,
            overlap: overlap(&measured),
            knee,
            modelled: model.knee() * per_chunk,
            ideal: ideal.ideal_knee() * per_chunk,
            measured,
        })
    }
}

/// `(t_comp + t_base - t_both) / min(t_comp, t_base)` at the number of channels where both take most
/// nearly as long.
fn overlap(measured: &Measured) -> Option<f64> {
    let base = measured.times.base_ns;
    let distance = |ns: &f64| (ns - base).abs();
    let times = measured.alone_ns.iter().enumerate();
    let (at, alone) = times.min_by(|a, b| distance(a.1).total_cmp(&distance(b.1)))?;
    let both = *measured.times.curves.get(measured.alone_curve)?.ns.get(at)?;
    Some((alone + base - both) / alone.min(base))
}
