//! Proves every kernel on this machine: all cases of all kernels and variants on all adapters.
//!
//! Exit code 0: all correct. 1: something is wrong. 2: the command line is, or names an adapter or
//! a case that is not there. 3: this machine has no adapter.

use clap::Parser;
use comfy_table::{Table, presets};
use fewbytes::proof::{Case, cases};
use fewbytes_wgpu::{Context, Features, adapters, describe, prove, wgpu};
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Runs the case table of every kernel on every adapter of this machine, against the scalar
/// reference, twice each; both runs must agree bit for bit.
///
/// An adapter is tried with all its features and masked to WebGPU's baseline; with
/// --experimental once more with cooperative matrices.
#[derive(Parser)]
struct Arguments {
    /// Lists the adapters and stops.
    #[arg(long)]
    list: bool,
    /// Only adapters whose description contains this, ignoring case.
    #[arg(long, env = "FEWBYTES_ADAPTER")]
    adapter: Option<String>,
    /// Only cases whose `kernel::variant::case` contains this.
    #[arg(long)]
    filter: Option<String>,
    /// Runs every eighth case of each kernel and variant: a minute where all take many.
    #[arg(long)]
    quick: bool,
    /// Tries cooperative matrices too, where an adapter lists them: wgpu calls them experimental and
    /// does not vouch for what a bug there does.
    #[arg(long)]
    experimental: bool,
    /// Prints every case, not only those that fail.
    #[arg(long, short)]
    verbose: bool,
}

/// Results of one kernel and variant on one device.
#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    relative: f64,
    of_tolerance: f64,
    time: Duration,
}

fn main() -> ExitCode {
    env_logger::init();
    let arguments = Arguments::parse();
    let wanted = arguments.adapter.as_deref().unwrap_or_default().to_lowercase();
    let all: Vec<_> = pollster::block_on(adapters())
        .into_iter()
        .map(|adapter| (describe(&adapter.get_info()), adapter))
        .collect();
    if all.is_empty() {
        eprintln!(
            "No adapter. `cargo xtask doctor` installs a software one on Debian and Ubuntu, and \
             says what to do elsewhere."
        );
        return ExitCode::from(3);
    }
    let names: Vec<String> = all.iter().map(|(name, _)| name.clone()).collect();
    let found: Vec<_> =
        all.into_iter().filter(|(name, _)| name.to_lowercase().contains(&wanted)).collect();
    if found.is_empty() {
        eprintln!("No adapter named {wanted:?}; there are: {}", names.join("; "));
        return ExitCode::from(2);
    }
    for (name, _) in &found {
        println!("{name}");
    }
    if arguments.list {
        return ExitCode::SUCCESS;
    }

    let (mut right, mut any) = (true, false);
    let table = cases();
    for (name, adapter) in &found {
        let mut devices = vec![("full", Features::Full), ("baseline", Features::Baseline)];
        if arguments.experimental {
            if adapter.features().contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX) {
                devices.push(("experimental", experimental()));
            } else {
                println!("\n{name} has no cooperative matrices.");
            }
        }
        for (label, features) in devices {
            println!("\n{name}, {label}");
            match pollster::block_on(Context::open_on(adapter, features)) {
                Ok(ctx) => {
                    describe_device(&ctx);
                    let tallies = examine(&ctx, &table, &arguments);
                    any |= !tallies.is_empty();
                    right &= tallies.values().all(|tally| tally.failed == 0);
                }
                Err(error) => {
                    println!("  the device cannot be opened: {error}");
                    right = false;
                }
            }
        }
    }
    if right && !any {
        eprintln!("\nNo case matches the filter.");
        return ExitCode::from(2);
    }
    let verdict = match (right, arguments.quick) {
        (true, false) => "All correct.",
        (true, true) => "All correct, of the eighth that --quick runs.",
        (false, _) => "NOT all correct: see above.",
    };
    println!("\n{verdict}");
    if right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The user asked for it on the command line.
#[allow(unsafe_code)]
fn experimental() -> Features {
    // SAFETY: nothing runs on the device but the kernels' cases, which bind what they ask for;
    // that wgpu and the driver do right by them is what the user wants to see.
    Features::Experimental(unsafe { wgpu::ExperimentalFeatures::enabled() })
}

fn describe_device(ctx: &Context) {
    let caps = ctx.caps();
    let subgroups = if caps.subgroups {
        format!("subgroups of {} to {}", caps.subgroup_min, caps.subgroup_max)
    } else {
        "no subgroups".to_owned()
    };
    println!(
        "  {subgroups}, {}, bindings up to {} MiB, {} KiB of workgroup memory",
        if caps.f16 { "f16" } else { "no f16" },
        caps.max_binding_bytes >> 20,
        caps.max_workgroup_bytes >> 10
    );
}

/// What came of each kernel and variant.
type Tallies = BTreeMap<(&'static str, &'static str), Tally>;

/// Runs all cases on one device and prints what came of them.
fn examine(ctx: &Context, table: &[Box<dyn Case>], arguments: &Arguments) -> Tallies {
    let mut work = Vec::new();
    let mut met = BTreeMap::<_, usize>::new();
    for case in table {
        for (variant, knobs) in case.variants(ctx.caps()) {
            let name = format!("{}::{variant}::{}", case.kernel(), case.name());
            if arguments.filter.as_ref().is_some_and(|filter| !name.contains(filter.as_str())) {
                continue;
            }
            let number = met.entry((case.kernel(), variant)).or_default();
            if !arguments.quick || number.is_multiple_of(8) {
                work.push((case, variant, knobs, name));
            }
            *number += 1;
        }
    }
    let style = ProgressStyle::with_template("  {bar:40} {pos}/{len} {msg}");
    let bar = ProgressBar::new(work.len() as u64);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let mut tallies = Tallies::new();
    for (case, variant, knobs, name) in work {
        bar.set_message(name.clone());
        let start = Instant::now();
        let outcome = prove(ctx, &**case, &knobs);
        let tally = tallies.entry((case.kernel(), variant)).or_default();
        tally.time += start.elapsed();
        let wrong = match outcome {
            Ok(Ok(measure)) => {
                tally.passed += 1;
                tally.relative = tally.relative.max(measure.relative);
                tally.of_tolerance = tally.of_tolerance.max(measure.of_tolerance);
                if arguments.verbose {
                    bar.suspend(|| println!("  ok    {name}: {:.1e}", measure.relative));
                }
                None
            }
            Ok(Err(mismatch)) => Some(mismatch.to_string()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(wrong) = wrong {
            tally.failed += 1;
            bar.suspend(|| println!("  WRONG {name}: {wrong}"));
        }
        bar.inc(1);
    }
    bar.finish_and_clear();

    let mut report = Table::new();
    report.load_style(presets::UTF8_HORIZONTAL_ONLY);
    report.set_header(["kernel", "variant", "right", "wrong", "worst |error|", "of bound", "time"]);
    for ((kernel, variant), tally) in &tallies {
        report.add_row([
            (*kernel).to_owned(),
            (*variant).to_owned(),
            tally.passed.to_string(),
            tally.failed.to_string(),
            format!("{:.1e}", tally.relative),
            format!("{:.0} %", 100.0 * tally.of_tolerance),
            format!("{:.1} s", tally.time.as_secs_f64()),
        ]);
    }
    if tallies.is_empty() {
        println!("  no case of this device matches the filter");
    } else {
        println!("{report}");
    }
    tallies
}
