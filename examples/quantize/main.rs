//! Quantizes the matrices of a safetensors file to every width at once, or tells what a packed
//! file holds.
//!
//! `cargo run --release --example quantize -- model.safetensors packed.safetensors`

mod fuse;
mod input;
mod inspect;
mod options;
mod report;
mod run;
mod select;

use clap::Parser;
use options::{Cli, Command};
use std::process::ExitCode;

fn main() -> ExitCode {
    env_logger::init();
    let cli = Cli::parse();
    let outcome = match (cli.command, cli.quantize) {
        (Some(Command::Inspect { file }), _) => inspect::inspect(&file),
        (None, Some(options)) => run::run(&options),
        // Clap has asked for INPUT and OUTPUT by now.
        (None, None) => Ok(()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
