//! Writes a launch as JSON and WGSL, so that an engine in any language can run it.
//!
//! `layout.json` says how the weights, the sums of Hessians or the rows of a cache lie in buffers, and for
//! attention holds the words of the schedule or the row map too; `launch.json` holds
//! every launch's bindings, operands, parameter bytes, grid, override values, scratch memory, needs
//! and traffic; `naga.wgsl` and `standard.wgsl` are the same shader for naga and for standard front
//! ends. A second shader, where launches need more than one, is in `2.naga.wgsl` and
//! `2.standard.wgsl`.

mod attention;
mod index;
mod kernels;
mod sparse;
#[cfg(test)]
mod tests;

use anyhow::{Context as _, Result};
use clap::Parser;
use fewbytes::launch::{Caps, Dialect, Knobs, Launch, Reduce, Scratch};
use std::path::PathBuf;

/// Writes the launches of a kernel as JSON and WGSL.
#[derive(Parser)]
struct Arguments {
    /// The kernel.
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(kernels::names()))]
    kernel: String,
    /// Outputs of the layer.
    #[arg(long, default_value_t = 4096)]
    rows: usize,
    /// Inputs of the layer.
    #[arg(long, default_value_t = 4096)]
    cols: usize,
    /// Width to run at, 2 to 8; for the vector kernels bits of a code for two weights,
    /// 2 to 6, for those of LNQ 1 to 4, for compensate 2, 4, 8 or 16.
    #[arg(long, default_value_t = 4)]
    bits: u8,
    /// Activation vectors of gemm_bitplane, gemm and matmul_bitplane, tokens of hessian_update.
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// Groups of outputs of hessian_update.
    #[arg(long, default_value_t = 1)]
    groups: usize,
    /// Channels that select_channels and compensate take of each 1024.
    #[arg(long, default_value_t = 16)]
    k_chunk: usize,
    /// Workgroups of compensate that select for themselves, instead of a list.
    #[arg(long)]
    own: bool,
    #[command(flatten)]
    cache: attention::CacheArguments,
    /// f16 activations, queries or outputs instead of f32; for gemm f16 matrices.
    #[arg(long)]
    f16: bool,
    /// The variant for devices with subgroups, here of 32 lanes, of gemv_bitplane, gemv_vector and the
    /// kernels of decoding; others have none.
    #[arg(long)]
    subgroups: bool,
    /// Folder to write to; made if it is not there.
    #[arg(long, default_value = "target/launch")]
    out: PathBuf,
}

/// How tensors lie in buffers, where that is not plain, and what is launched.
fn launches(arguments: &Arguments) -> Result<(Option<String>, Vec<Launch>)> {
    let lanes = if arguments.subgroups { 32 } else { 0 };
    let caps = Caps {
        subgroups: arguments.subgroups,
        subgroup_min: lanes,
        subgroup_max: lanes,
        ..Caps::webgpu()
    };
    let reduce = if arguments.subgroups { Reduce::Subgroup } else { Reduce::Workgroup };
    let knobs = Knobs { reduce: Some(reduce), ..Knobs::default() };
    let kernels::Described { layout, specs } = kernels::describe(arguments, &caps)?;
    let mut launches = Vec::new();
    for spec in specs {
        launches.extend(spec.launches(&caps, &knobs)?);
    }
    Ok((layout, launches))
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let (layout, launches) = launches(&arguments)?;
    let out = arguments.out;
    std::fs::create_dir_all(&out).with_context(|| format!("folder {}", out.display()))?;
    let write = |name: &str, text: String| {
        let path = out.join(name);
        std::fs::write(&path, text).with_context(|| format!("file {}", path.display()))?;
        println!("{}", path.display());
        anyhow::Ok(())
    };
    if let Some(layout) = layout {
        write("layout.json", layout)?;
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
