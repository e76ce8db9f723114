//! Every kernel x variant x device x case, against the scalar reference.
//!
//! Devices are all adapters found, each with its own features and limits, masked to WebGPU's
//! baseline (a twelfth of the cases where a CPU plays the GPU), and without bounds checks in the shaders
//! (a sixteenth there); two adapters that are CPUs run half of the cases each.
//! `FEWBYTES_REQUIRE_ADAPTERS` lists, by commas, words that must each occur in some adapter's
//! description: CI names the software adapters there.
#![allow(unsafe_code)]

use fewbytes::proof::{Case, cases};
use fewbytes_wgpu::{Context, Features, adapters, describe, prove};
use libtest_mimic::{Arguments, Failed, Trial};
use std::sync::Arc;

/// How a device is opened.
#[derive(Clone, Copy)]
enum Mode {
    Full,
    Masked,
    Unchecked,
    Experimental,
}

fn open(adapter: &wgpu::Adapter, mode: Mode) -> fewbytes::Result<Context> {
    let features = match mode {
        Mode::Full | Mode::Unchecked => Features::Full,
        Mode::Masked => Features::Baseline,
        Mode::Experimental => {
            // SAFETY: the cases, which bind what their launches ask for, are all that runs.
            Features::Experimental(unsafe { wgpu::ExperimentalFeatures::enabled() })
        }
    };
    let ctx = pollster::block_on(Context::open_on(adapter, features))?;
    Ok(match mode {
        // SAFETY: the proofs bind what their launches ask for, and their codes are masked.
        Mode::Unchecked => unsafe { ctx.trust_sizes() },
        Mode::Full | Mode::Masked | Mode::Experimental => ctx,
    })
}

/// Trials of every `each`-th case, from number `first` on.
fn trials_on(
    ctx: &Arc<Context>,
    device: &str,
    table: &[Arc<dyn Case>],
    (first, each): (usize, usize),
) -> Vec<Trial> {
    let mut trials = Vec::new();
    for case in table.iter().skip(first).step_by(each) {
        for (variant, knobs) in case.variants(ctx.caps()) {
            let name = format!("{}::{variant}::{device}::{}", case.kernel(), case.name());
            let (ctx, case) = (Arc::clone(ctx), Arc::clone(case));
            trials.push(Trial::test(name, move || match prove(&ctx, &*case, &knobs) {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(mismatch)) => Err(Failed::from(mismatch)),
                Err(error) => Err(Failed::from(error)),
            }));
        }
    }
    trials
}

/// Trials of several adapters in turns, so that threads that run them side by side are mostly in different
/// drivers: each driver on a CPU compiles one shader at a time.
fn interleaved(by_adapter: Vec<Vec<Trial>>) -> impl Iterator<Item = Trial> {
    let mut all: Vec<(f64, Trial)> = Vec::new();
    for trials in by_adapter {
        let count = trials.len() as f64;
        let place = |(at, trial): (usize, Trial)| (at as f64 / count, trial);
        all.extend(trials.into_iter().enumerate().map(place));
    }
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    all.into_iter().map(|(_, trial)| trial)
}

fn main() {
    env_logger::init();
    let arguments = Arguments::from_args();
    let table: Vec<Arc<dyn Case>> = cases().into_iter().map(Arc::from).collect();
    let found = pollster::block_on(adapters());
    let names: Vec<String> = found.iter().map(|a| describe(&a.get_info())).collect();

    let mut trials = Vec::new();
    let required = std::env::var("FEWBYTES_REQUIRE_ADAPTERS").unwrap_or_default();
    let required: Vec<String> = required
        .split(',')
        .map(|word| word.trim().to_lowercase())
        .filter(|word| !word.is_empty())
        .collect();
    for word in required {
        let there = names.iter().any(|name| name.to_lowercase().contains(&word));
        let names = names.clone();
        trials.push(Trial::test(format!("adapter::{word}"), move || {
            if there { Ok(()) } else { Err(format!("no adapter {word:?} among {names:?}").into()) }
        }));
    }
    let any = !names.is_empty();
    trials.push(Trial::test("adapter::any", move || {
        if any {
            Ok(())
        } else {
            Err("no Vulkan, Metal or DX12 adapter: run `cargo xtask test`, which installs one"
                .into())
        }
    }));
    let plays = |a: &wgpu::Adapter| a.get_info().device_type == wgpu::DeviceType::Cpu;
    // Several adapters that are CPUs share the cases between two of them.
    let shared = if found.iter().filter(|a| plays(a)).count() > 1 { 2 } else { 1 };
    let mut software = 0;
    let mut by_adapter = Vec::new();
    for (adapter, name) in found.iter().zip(&names) {
        let cpu = plays(adapter);
        let first = if cpu { software % shared } else { 0 };
        software += usize::from(cpu);
        let mut of_adapter = Vec::new();
        let mut modes =
            vec![("full", Mode::Full), ("masked", Mode::Masked), ("unchecked", Mode::Unchecked)];
        if adapter.features().contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX) {
            modes.push(("experimental", Mode::Experimental));
        }
        for (label, mode) in modes {
            match open(adapter, mode) {
                Ok(ctx) => {
                    let device = format!("{} {label}", adapter.get_info().name);
                    // Masked, the baseline's texts come once more, and unchecked all of them: where a
                    // CPU compiles and runs them, some of the cases have to do.
                    let each = match mode {
                        Mode::Masked if cpu => 12,
                        Mode::Unchecked if cpu => 16,
                        _ if cpu => shared,
                        _ => 1,
                    };
                    of_adapter.extend(trials_on(&Arc::new(ctx), &device, &table, (first, each)));
                }
                Err(error) => of_adapter
                    .push(Trial::test(format!("adapter::{name} {label}"), move || {
                        Err(format!("the device cannot be opened: {error}").into())
                    })),
            }
        }
        by_adapter.push(of_adapter);
    }
    trials.extend(interleaved(by_adapter));
    libtest_mimic::run(&arguments, trials).exit();
}
