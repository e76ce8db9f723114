//! `cargo xtask`: the project's own commands.
//!
//! Each command finds what it needs on the machine (a graphics adapter, a shader front end) and,
//! where the system is known, installs what is missing; elsewhere it says exactly what to do.

mod adapters;
mod bundle;
mod cargo;
mod ci;
mod examples;
mod packages;
mod steps;
mod tint;
mod wall;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::cargo::Workspace;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Runs the project's demo, tests and checks",
    long_about = "Runs the project's demo, tests and checks.\n\n\
        Every command first makes sure that the machine has what it needs. On Debian, Ubuntu and their relatives \
        missing packages are installed with apt-get (through sudo unless you are root); elsewhere, or with \
        --no-install, the exact command to type is printed and nothing is changed.",
    after_help = "Start with `cargo xtask demo`."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show what this project does, on this machine's best adapter
    ///
    /// Finds a Vulkan, Metal or DX12 adapter (installing Mesa's software Vulkan driver where there
    /// is none), builds the example `demo` in release mode and runs it. The first build takes a few
    /// minutes.
    Demo(ExampleArgs),
    /// Run every test on this machine's adapters
    ///
    /// Finds an adapter and a tint-compatible shader front end (installing them where they are
    /// missing), then runs `cargo test --workspace`.
    Test(TestArgs),
    /// Run every case of every kernel on every adapter found and print a table
    ///
    /// The exit code is the doctor's own: 0 if every case passed.
    Doctor(ExampleArgs),
    /// Pack doctor and roofline for machines without Rust
    ///
    /// Makes a folder `fewbytes-bundle`, and a .tar.gz of it, with both programs, a script that
    /// runs them and a README: copy it to any x86-64 Linux machine with a GPU, call `./run.sh`.
    Bundle(BundleArgs),
    /// Run everything that a change must pass
    ///
    /// Format, lints, documentation, the wall between the kernels and GPU APIs, and all tests on
    /// two software Vulkan adapters (lavapipe and SwiftShader) with both shader front ends (naga
    /// and tint). Stops at the first failure.
    Ci(CiArgs),
    /// Validate WGSL files with a tint binary, any number at a time
    #[command(hide = true)]
    TintCheck {
        /// The tint binary.
        tint: PathBuf,
        /// Files to validate.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

#[derive(Args, Clone, Copy)]
struct Install {
    /// Change nothing on this machine: print what to install instead, and fail
    #[arg(long)]
    no_install: bool,
}

#[derive(Args)]
struct ExampleArgs {
    #[command(flatten)]
    install: Install,
    /// Passed on to the example; try `-- --help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

#[derive(Args)]
struct TestArgs {
    #[command(flatten)]
    install: Install,
    /// Where tint comes from
    #[arg(long, value_enum, default_value_t = tint::Choice::Auto)]
    tint: tint::Choice,
    /// Only tests whose name contains this
    filter: Option<String>,
    /// Passed on to the test programs, e.g. `-- --nocapture`
    #[arg(last = true)]
    args: Vec<String>,
}

#[derive(Args)]
struct BundleArgs {
    /// Where to put it; cargo's target folder if left out
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Oldest glibc to run with, e.g. 2.28; this machine's own if left out
    ///
    /// Needs cargo-zigbuild and zig: `cargo install cargo-zigbuild` and `pip install ziglang`.
    #[arg(long, value_name = "VERSION")]
    glibc: Option<bundle::glibc::Version>,
}

#[derive(Args)]
struct CiArgs {
    #[command(flatten)]
    install: Install,
    /// Run only this step (may be repeated); `--list` names them
    #[arg(long, value_name = "STEP")]
    only: Vec<String>,
    /// Name the steps and exit
    #[arg(long)]
    list: bool,
    /// Where tint comes from
    #[arg(long, value_enum, default_value_t = tint::Choice::Auto)]
    tint: tint::Choice,
    /// Print the commands instead of running them
    #[arg(long, hide = true)]
    dry_run: bool,
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Command::Demo(a) => examples::run_example(&Workspace::find()?, "demo", a.install, &a.args),
        Command::Doctor(a) => {
            examples::run_example(&Workspace::find()?, "doctor", a.install, &a.args)
        }
        Command::Test(a) => examples::run_tests(&Workspace::find()?, &a),
        Command::Bundle(a) => bundle::run(&Workspace::find()?, &a),
        Command::Ci(a) => ci::run(&Workspace::find()?, &a),
        Command::TintCheck { tint, files } => tint::check_files(&tint, &files),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_example_gets_its_arguments_with_and_without_dashes() {
        for line in [
            &["xtask", "demo", "--no-install", "--", "--weights", "w"][..],
            &["xtask", "demo", "--no-install", "--weights", "w"],
        ] {
            let Command::Demo(a) = Cli::try_parse_from(line).unwrap().command else {
                panic!("not demo")
            };
            assert!(a.install.no_install);
            assert_eq!(a.args, ["--weights", "w"]);
        }
    }

    #[test]
    fn a_bundle_s_glibc_is_a_version() {
        let parse = |version| Cli::try_parse_from(["xtask", "bundle", "--glibc", version]);
        let Command::Bundle(a) = parse("2.28").unwrap().command else { panic!("not bundle") };
        assert_eq!(a.glibc.unwrap().to_string(), "2.28");
        for wrong in ["2", "2.x", "", "2.28.1", "-1.2"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_test_filter_and_the_runner_s_own_flags_are_told_apart() {
        let Command::Test(a) =
            Cli::try_parse_from(["xtask", "test", "planes", "--", "--nocapture"]).unwrap().command
        else {
            panic!("not test")
        };
        assert_eq!(a.filter.as_deref(), Some("planes"));
        assert_eq!(a.args, ["--nocapture"]);
    }
}
