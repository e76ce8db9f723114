//! Writes a launch as JSON and WGSL, so that an engine in any language can run it.
//!
//! `layout.json` says how the weights lie in buffers (for the kernels of LNQ their documentation
//! does), `launch.json` holds every launch's bindings,
//! operands, parameter bytes, grid, override values, scratch memory, needs and traffic;
//! `naga.wgsl` and `standard.wgsl` are the same shader for naga and for standard front ends. A
//! second shader, where launches need more than one, is in `2.naga.wgsl` and `2.standard.wgsl`.

use anyhow::{Context as _, Result};
use clap::Parser;
use fewbytes::launch::{Caps, Dialect, Knobs, Launch, Reduce, Scratch, Spec};
use fewbytes::linear::{
    Activation, BitplaneLayout, BitplaneShape, DequantizeBitplane, GemmBitplane, GemvBitplane,
    LnqDescent, LnqGram, LnqLayout, LnqObjective, LnqProduct, LnqTable, Panel, TableElement,
};
use std::path::PathBuf;

/// Writes the launches of a kernel as JSON and WGSL.
#[derive(Parser)]
struct Arguments {
    /// The kernel.
    #[arg(value_parser = [
        "gemv_bitplane", "gemm_bitplane", "dequantize_bitplane",
        "lnq_product", "lnq_descent", "lnq_gram", "lnq_table", "lnq_objective",
    ])]
    kernel: String,
    /// Outputs of the layer.
    #[arg(long, default_value_t = 4096)]
    rows: usize,
    /// Inputs of the layer.
    #[arg(long, default_value_t = 4096)]
    cols: usize,
    /// Width to run at, 2 to 8; of the kernels of LNQ 1 to 4.
    #[arg(long, default_value_t = 4)]
    bits: u8,
    /// Activation vectors of gemm_bitplane.
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// f16 activations or output instead of f32.
    #[arg(long)]
    f16: bool,
    /// The variant for devices with subgroup operations.
    #[arg(long)]
    subgroups: bool,
    /// Folder to write to; made if it is not there.
    #[arg(long, default_value = "target/launch")]
    out: PathBuf,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let Arguments { rows, cols, bits, batch, .. } = arguments;
    let caps = Caps { subgroups: arguments.subgroups, ..Caps::webgpu() };
    let activation = if arguments.f16 { Activation::F16 } else { Activation::F32 };
    let reduce = if arguments.subgroups { Reduce::Subgroup } else { Reduce::Workgroup };
    let knobs = Knobs { reduce: Some(reduce), ..Knobs::default() };
    let mut layout_text = None;
    let launches = if arguments.kernel.starts_with("lnq_") {
        lnq(&arguments.kernel, LnqLayout { rows, cols, bits }, &caps, &knobs)?
    } else {
        let shape = BitplaneShape { rows, cols, seed_bits: 2, parent_bits: 8 };
        let table = TableElement::F16;
        let layout = BitplaneLayout::for_shape(shape, &[bits], table, false, bits, &caps)?;
        layout_text = Some(serde_json::to_string_pretty(&layout)? + "\n");
        match arguments.kernel.as_str() {
            "gemv_bitplane" => GemvBitplane { activation, ..GemvBitplane::new(layout, bits) }
                .launches(&caps, &knobs)?,
            "gemm_bitplane" => {
                GemmBitplane { activation, ..GemmBitplane::new(layout, bits, batch) }
                    .launches(&caps, &knobs)?
            }
            _ => {
                DequantizeBitplane { layout, bits, element: activation }.launches(&caps, &knobs)?
            }
        }
    };

    let out = arguments.out;
    std::fs::create_dir_all(&out).with_context(|| format!("folder {}", out.display()))?;
    let write = |name: &str, text: String| {
        let path = out.join(name);
        std::fs::write(&path, text).with_context(|| format!("file {}", path.display()))?;
        println!("{}", path.display());
        anyhow::Ok(())
    };
    if let Some(text) = layout_text {
        write("layout.json", text)?;
    }
    write("launch.json", serde_json::to_string_pretty(&launches)? + "\n")?;
    // Launches that differ in operands and grid alone share one shader.
    let mut shaders: Vec<&Launch> = Vec::new();
    for launch in &launches {
        if shaders.iter().all(|known| known.key() != launch.key()) {
            shaders.push(launch);
        }
    }
    for (at, launch) in shaders.iter().enumerate() {
        let number = if at == 0 { String::new() } else { format!("{}.", at + 1) };
        write(&format!("{number}naga.wgsl"), launch.wgsl(Dialect::Naga))?;
        write(&format!("{number}standard.wgsl"), launch.wgsl(Dialect::Standard))?;
    }
    for (at, launch) in launches.iter().enumerate() {
        let shader = shaders.iter().position(|known| known.key() == launch.key());
        println!(
            "launch {} of {}: {} {}, entry {}, shader {}, grid {:?}, {} bytes to move",
            at + 1,
            launches.len(),
            launch.kernel(),
            launch.variant(),
            launch.shader().entry(),
            shader.map_or(0, |shader| shader + 1),
            launch.grid(),
            launch.traffic().bytes()
        );
        for Scratch { binding, offset, bytes } in launch.scratch() {
            println!("  binding {binding}: {bytes} bytes of scratch memory from {offset}");
        }
    }
    let parts = launches.iter().flat_map(|launch| launch.scratch());
    let scratch = parts.map(|part| part.offset + part.bytes).max().unwrap_or(0);
    if scratch > 0 {
        println!("{scratch} bytes of scratch memory in all, one buffer for every launch");
    }
    Ok(())
}

/// The launches of a kernel of LNQ over all inputs and all rows.
fn lnq(kernel: &str, layout: LnqLayout, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
    let pieces = layout.pieces(caps)?;
    let panels = Panel::all(&pieces, 512);
    let rows = 0..layout.rows;
    let specs: Vec<Box<dyn Spec>> = match kernel {
        "lnq_product" => {
            let of = |&panel| boxed(LnqProduct { layout, panel, changed: None });
            panels.iter().map(of).collect()
        }
        "lnq_descent" => panels.iter().map(|&panel| boxed(LnqDescent { layout, panel })).collect(),
        "lnq_gram" => {
            let of = |&piece| boxed(LnqGram { layout, piece, rows: rows.clone() });
            pieces.iter().map(of).collect()
        }
        "lnq_table" => vec![boxed(LnqTable { layout })],
        _ => vec![boxed(LnqObjective { layout })],
    };
    let mut launches = Vec::new();
    for spec in specs {
        launches.extend(spec.launches(caps, knobs)?);
    }
    Ok(launches)
}

fn boxed(spec: impl Spec + 'static) -> Box<dyn Spec> {
    Box::new(spec)
}
