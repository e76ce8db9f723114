//! `cargo xtask ci`: the steps in order, timed, up to the first failure.

use std::ffi::OsString;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::CiArgs;
use crate::adapters::{SoftwareDrivers, quiet_display};
use crate::cargo::{Workspace, shown};
use crate::steps::{STEPS, Step};
use crate::tint::{Checker, VARIABLE};

/// What steps share.
pub(crate) struct Ci<'a> {
    pub(crate) ws: &'a Workspace,
    args: &'a CiArgs,
    /// Variables for whatever runs shaders, once the drivers are there.
    drivers: Option<Vec<(&'static str, OsString)>>,
    /// Variables for whatever validates shaders, once a front end is there.
    tint: Option<Vec<(&'static str, OsString)>>,
    /// Steps that could not run here and are allowed not to.
    not_run: Vec<&'static str>,
}

/// Runs the steps that `args` selects.
pub(crate) fn run(ws: &Workspace, args: &CiArgs) -> Result<ExitCode> {
    if args.list {
        let width = STEPS.iter().map(|s| s.name.len()).max().unwrap_or(0);
        STEPS.iter().for_each(|s| println!("{:width$}  {}", s.name, s.about));
        return Ok(ExitCode::SUCCESS);
    }
    let steps = selected(&args.only)?;
    let mut ci = Ci { ws, args, drivers: None, tint: None, not_run: Vec::new() };
    let started = Instant::now();
    for (number, step) in steps.iter().enumerate() {
        // Everything of ours goes to standard error, where cargo writes too: one log, in order.
        eprintln!("\n=== {}/{} {}: {}", number + 1, steps.len(), step.name, step.about);
        if step.closes && !ci.not_run.is_empty() {
            ci.say(format_args!("(not run on this machine: {})", ci.not_run.join(", ")));
        }
        let begun = Instant::now();
        let name = step.name;
        (step.run)(&mut ci)
            .with_context(|| format!("step `{name}` failed after {}", seconds(begun.elapsed())))?;
        if step.closes {
            continue;
        }
        let verdict = if ci.not_run.contains(&name) { "NOT RUN" } else { "ok" };
        let (took, total) = (seconds(begun.elapsed()), seconds(started.elapsed()));
        ci.say(format_args!("{name}: {verdict} in {took} ({total} so far)"));
    }
    Ok(ExitCode::SUCCESS)
}

fn selected(only: &[String]) -> Result<Vec<&'static Step>> {
    let names = || STEPS.iter().map(|s| s.name).collect::<Vec<_>>().join(", ");
    if let Some(unknown) = only.iter().find(|o| !STEPS.iter().any(|s| s.name == **o)) {
        bail!("there is no step `{unknown}`; the steps are {}", names());
    }
    // In their own order, whatever order they are named in.
    Ok(STEPS.iter().filter(|s| only.is_empty() || only.iter().any(|o| o == s.name)).collect())
}

fn seconds(time: Duration) -> String {
    match time.as_secs() {
        s if s >= 60 => format!("{} min {:02} s", s / 60, s % 60),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

impl Ci<'_> {
    /// Whether commands are only shown.
    pub(crate) fn is_dry(&self) -> bool {
        self.args.dry_run
    }

    pub(crate) fn cargo(&self, args: &[&str]) -> Command {
        let mut command = self.ws.cargo();
        command.args(args);
        command
    }

    /// Shows `command` and runs it.
    pub(crate) fn run(&self, command: &mut Command) -> Result<()> {
        self.show(command);
        if self.is_dry() {
            return Ok(());
        }
        let status = command
            .status()
            .with_context(|| format!("cannot run {}", command.get_program().display()))?;
        ensure!(status.success(), "`{}` failed ({status})", shown(command, &self.ws.root));
        Ok(())
    }

    /// Shows `command`, runs it and returns what it wrote to standard output.
    pub(crate) fn output(&self, command: &mut Command) -> Result<String> {
        self.show(command);
        let output = command
            .output()
            .with_context(|| format!("cannot run {}", command.get_program().display()))?;
        let words = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "`{}` failed ({}):\n{words}",
            shown(command, &self.ws.root),
            output.status
        );
        String::from_utf8(output.stdout).context("not UTF-8")
    }

    fn show(&self, command: &Command) {
        let variables =
            command.get_envs().filter_map(|(name, value)| Some((name.to_str()?, value?.to_str()?)));
        // Tools and drivers are announced when they are found; here only what changes a verdict.
        let variables =
            variables.filter(|(n, _)| matches!(*n, "RUSTDOCFLAGS" | "FEWBYTES_REQUIRE_ADAPTERS"));
        let variables: String = variables.map(|(n, v)| format!("{n}={v} ")).collect();
        eprintln!("    $ {variables}{}", shown(command, &self.ws.root));
    }

    /// Records that `step` cannot run on this machine, and says why and what would make it run.
    pub(crate) fn not_run(&mut self, step: &'static str, why: &str, remedy: &str) {
        self.say(format_args!("{why}; to run this step: {remedy}"));
        self.not_run.push(step);
    }

    pub(crate) fn say(&self, words: impl std::fmt::Display) {
        eprintln!("    {words}");
    }

    /// Lets `command` see lavapipe and SwiftShader and nothing else, and demand both of them.
    pub(crate) fn with_drivers(&mut self, command: &mut Command) -> Result<()> {
        command.env("FEWBYTES_REQUIRE_ADAPTERS", "llvmpipe,SwiftShader");
        if !self.is_dry() {
            command.envs(self.drivers()?);
            quiet_display(command, self.ws);
        }
        Ok(())
    }

    pub(crate) fn drivers(&mut self) -> Result<Vec<(&'static str, OsString)>> {
        if let Some(variables) = &self.drivers {
            return Ok(variables.clone());
        }
        let found = SoftwareDrivers::ensure(self.args.install)?;
        self.say(format_args!("lavapipe:    {}", found.lavapipe.display()));
        self.say(format_args!("SwiftShader: {}", found.swiftshader.display()));
        let variables = found.variables()?;
        self.drivers = Some(variables.clone());
        Ok(variables)
    }

    /// Lets `command` reach tint.
    pub(crate) fn with_tint(&mut self, command: &mut Command) -> Result<()> {
        if !self.is_dry() {
            command.envs(self.tint()?);
        }
        Ok(())
    }

    pub(crate) fn tint(&mut self) -> Result<Vec<(&'static str, OsString)>> {
        if let Some(variables) = &self.tint {
            return Ok(variables.clone());
        }
        let checker = Checker::ensure(self.ws, self.args.tint, self.args.install)?;
        self.say(format_args!("front ends: naga (a library) and {}", checker.description));
        let variables = vec![(VARIABLE, checker.value()?)];
        self.tint = Some(variables.clone());
        Ok(variables)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_keep_their_order_and_unknown_ones_are_named() {
        let names = |only: &[&str]| -> Vec<_> {
            let only: Vec<String> = only.iter().map(|o| (*o).to_owned()).collect();
            selected(&only).unwrap().iter().map(|s| s.name).collect()
        };
        assert_eq!(names(&["tests", "format"]), ["format", "tests"]);
        assert_eq!(
            names(&[]).last(),
            Some(&"tests"),
            "the run must end with the test runner's words"
        );
        let Err(error) = selected(&["fromat".into()]) else { panic!("accepted") };
        assert!(
            error.to_string().contains("`fromat`") && error.to_string().contains("format, wall"),
            "{error}"
        );
    }

    #[test]
    fn times_are_for_people() {
        assert_eq!(seconds(Duration::from_millis(1240)), "1.2 s");
        assert_eq!(seconds(Duration::from_secs(125)), "2 min 05 s");
    }
}
