//! `demo`, `doctor` and `test`: an adapter first, then cargo.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::adapters;
use crate::cargo::{Workspace, build};
use crate::{Install, TestArgs, tint};

/// Builds and runs an example in release mode.
pub(crate) fn run_example(
    ws: &Workspace,
    name: &str,
    policy: Install,
    args: &[String],
) -> Result<ExitCode> {
    adapters::install_if_surely_none(policy)?;
    // The doctor is built along: it is the one who knows whether there is an adapter.
    let mut wanted = vec!["build", "--release", "--example", "doctor"];
    if name != "doctor" {
        wanted.extend(["--example", name]);
    }
    let programs = build(ws, "Building", &wanted)?;
    adapters::ensure_any(ws, &doctor(programs)?, policy)?;

    let mut command = ws.cargo();
    command.args(["run", "--release", "--quiet", "--example", name, "--"]).args(args);
    adapters::quiet_display(&mut command, ws);
    pass_on(&mut command)
}

/// Runs the tests of the whole workspace.
pub(crate) fn run_tests(ws: &Workspace, args: &TestArgs) -> Result<ExitCode> {
    adapters::install_if_surely_none(args.install)?;
    let checker = tint::Checker::ensure(ws, args.tint, args.install)?;
    let programs = build(ws, "Building the tests", &["test", "--workspace", "--no-run"])?;
    adapters::ensure_any(ws, &doctor(programs)?, args.install)?;

    let mut command = ws.cargo();
    command.args(["test", "--workspace"]).args(&args.filter).arg("--").args(&args.args);
    command.env(tint::VARIABLE, checker.value()?);
    adapters::quiet_display(&mut command, ws);
    pass_on(&mut command)
}

fn doctor(programs: Vec<(String, PathBuf)>) -> Result<PathBuf> {
    let doctor = programs.into_iter().find(|(name, _)| name == "doctor");
    Ok(doctor.context("the build has no example called doctor")?.1)
}

/// Runs `command` and ends as it ends; what went wrong it has said itself.
fn pass_on(command: &mut Command) -> Result<ExitCode> {
    let status = command.status().context("cannot run cargo")?;
    let code = status.code().and_then(|c| u8::try_from(c).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}
