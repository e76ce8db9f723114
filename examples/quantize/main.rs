//! Quantizes the matrices of a safetensors file to every width at once, or by LNQ to one; tells what
//! a packed file holds, and how much its layers' outputs are off.
//!
//! `cargo run --release --example quantize -- model.safetensors packed.safetensors`

mod calibration;
mod device;
mod eval;
mod fuse;
mod identity;
mod input;
mod inspect;
mod lnq;
mod lnq_options;
mod options;
mod origin;
mod output;
mod parts;
mod report;
mod residual;
mod run;
mod select;
#[cfg(test)]
mod tests;

use clap::Parser;
use fewbytes_wgpu::OpenOptions;
use options::{Cli, Command};
use std::process::ExitCode;

fn main() -> ExitCode {
    env_logger::init();
    let outcome = match Cli::parse().split() {
        (Some(Command::Inspect { file }), _) => inspect::inspect(&file),
        (Some(Command::EvalLayer(options)), _) => eval::eval(&options),
        (Some(Command::Residual(options)), _) => residual::make(&options),
        (None, Some(options)) => run::run(&options, &OpenOptions::from_env()),
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
