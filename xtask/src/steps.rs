//! What `cargo xtask ci` does, step by step. Tests come last, so that a run ends with the test runner's own summary.

use std::path::Path;

use anyhow::Result;

use crate::ci::Ci;
use crate::wall;

/// One named step.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) run: fn(&mut Ci) -> Result<()>,
}

/// Every step, in order: cheap and often broken first.
pub(crate) const STEPS: &[Step] = &[
    Step { name: "format", about: "the code is formatted", run: format },
    Step {
        name: "wall",
        about: "the kernel crate names no GPU API and depends on none",
        run: wall,
    },
    Step { name: "lint", about: "clippy has nothing to say", run: lint },
    Step { name: "docs", about: "the documentation builds without warnings", run: docs },
    Step { name: "wasm", about: "both libraries compile for the web", run: wasm },
    Step { name: "drivers", about: "lavapipe and SwiftShader are there", run: drivers },
    Step { name: "shaders", about: "naga and tint accept every composed shader", run: shaders },
    Step {
        name: "doctor",
        about: "the doctor finds every kernel right on both adapters",
        run: doctor,
    },
    Step { name: "doctests", about: "the examples in the documentation run", run: doctests },
    Step { name: "tests", about: "every test, on both adapters", run: tests },
];

fn format(ci: &mut Ci) -> Result<()> {
    ci.run(&mut ci.cargo(&["fmt", "--all", "--check"]))
}

fn wall(ci: &mut Ci) -> Result<()> {
    let mut tree = ci.cargo(&wall::TREE);
    if ci.is_dry() {
        return ci.run(&mut tree);
    }
    wall::check(&ci.ws.root, &ci.ws.metadata, &ci.output(&mut tree)?)
}

fn lint(ci: &mut Ci) -> Result<()> {
    ci.run(&mut ci.cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    // Dev-dependencies turn every feature on; what a plain user gets must be clean too.
    ci.run(&mut ci.cargo(&["clippy", "--package", "fewbytes", "--lib", "--", "-D", "warnings"]))
}

fn docs(ci: &mut Ci) -> Result<()> {
    // With every feature, or links to what a feature adds would be broken.
    ci.run(
        ci.cargo(&["doc", "--workspace", "--no-deps", "--all-features"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )
}

fn wasm(ci: &mut Ci) -> Result<()> {
    const TARGET: &str = "wasm32-unknown-unknown";
    if !ci.is_dry() {
        let mut rustc = std::process::Command::new("rustc");
        rustc.args(["--print", "target-libdir", "--target", TARGET]);
        let libraries = ci.output(&mut rustc)?;
        if !Path::new(libraries.trim()).is_dir() {
            ci.say(format_args!("NOT RUN: the target {TARGET} is not installed."));
            ci.say(format_args!("To run this step: rustup target add {TARGET}"));
            return Ok(());
        }
    }
    for package in ["fewbytes", "fewbytes-wgpu"] {
        ci.run(&mut ci.cargo(&["check", "--package", package, "--lib", "--target", TARGET]))?;
    }
    Ok(())
}

fn drivers(ci: &mut Ci) -> Result<()> {
    if ci.is_dry() {
        ci.say("(finds or installs both)");
        return Ok(());
    }
    ci.drivers().map(drop)
}

fn shaders(ci: &mut Ci) -> Result<()> {
    let mut command = ci.cargo(&["test", "--workspace", "--test", "catalogue"]);
    ci.with_tint(&mut command)?;
    ci.run(&mut command)
}

fn doctor(ci: &mut Ci) -> Result<()> {
    // In the tests' profile: everything below the example itself is built already, or will be needed anyway.
    let mut command = ci.cargo(&["run", "--profile", "test", "--example", "doctor"]);
    ci.with_drivers(&mut command)?;
    ci.run(&mut command)
}

fn doctests(ci: &mut Ci) -> Result<()> {
    let mut command = ci.cargo(&["test", "--workspace", "--doc"]);
    ci.with_drivers(&mut command)?;
    ci.run(&mut command)
}

fn tests(ci: &mut Ci) -> Result<()> {
    // Libraries, programs and integration tests; examples were type-checked by clippy.
    let mut command = ci.cargo(&["test", "--workspace", "--tests"]);
    ci.with_drivers(&mut command)?;
    ci.with_tint(&mut command)?;
    ci.run(&mut command)
}
