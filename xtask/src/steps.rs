//! What `cargo xtask ci` does, step by step. Tests come last, so that a run ends with the test
//! runner's own summary.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::ci::Ci;
use crate::{cargo, wall};

/// One named step.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) run: fn(&mut Ci) -> Result<()>,
    /// Nothing of ours is printed after this one: the last words of a run are the test runner's.
    pub(crate) closes: bool,
}

const fn step(name: &'static str, about: &'static str, run: fn(&mut Ci) -> Result<()>) -> Step {
    Step { name, about, run, closes: false }
}

/// Every step, in order: cheap and often broken first.
pub(crate) const STEPS: &[Step] = &[
    step("format", "the code is formatted", format),
    step("wall", "the kernel crate names no GPU API and depends on none", wall),
    step("lint", "clippy has nothing to say", lint),
    step("docs", "the documentation builds without warnings", docs),
    step("wasm", "both libraries compile for the web", wasm),
    step("drivers", "lavapipe and SwiftShader are there", drivers),
    step("shaders", "naga and tint accept every composed shader", shaders),
    step("doctor", "the doctor runs and finds a kernel right on both adapters", doctor),
    step("examples", "the examples that need no arguments run", examples),
    step("doctests", "the examples in the documentation run", doctests),
    Step { closes: true, ..step("tests", "every test, on both adapters", tests) },
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
        let mut rustc = Command::new("rustc");
        rustc.args(["--print", "target-libdir", "--target", TARGET]);
        let libraries = ci.output(&mut rustc)?;
        if !Path::new(libraries.trim()).is_dir() {
            let remedy = format!("rustup target add {TARGET}");
            ci.not_run("wasm", &format!("the target {TARGET} is not installed"), &remedy);
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
    // The tests run the same table, whole.
    run_example(ci, "doctor", &["--quick", "--filter", "dequantize_bitplane"])
}

fn examples(ci: &mut Ci) -> Result<()> {
    run_example(ci, "quickstart", &[])?;
    run_example(ci, "embed_plain_wgpu", &[])?;
    run_example(ci, "evict_device", &[])?;
    let few = ["memory", "--rows", "2000", "--queries", "16"];
    run_example(ci, "sparse_attention", &few)?;
    run_example(ci, "sparse_attention", &["decode"])?;
    run_example(ci, "dump_launch", &["gemv_bitplane"])?;
    run_example(ci, "demo", &[])?;
    let one_row = ["--filter", "gemv_bitplane 1024x1024 4 bits f16 defaults"];
    let files = ["--json", "target/roofline/ci.json", "--svg", "target/roofline/ci.svg"];
    run_example(ci, "roofline", &[&["--all", "--quick"][..], &one_row, &files].concat())
}

fn run_example(ci: &mut Ci, name: &str, args: &[&str]) -> Result<()> {
    // Built as the tests are (same profile, same features of every dependency), so that only the
    // example itself is new; `cargo run` would choose features for one package alone.
    let mut build = ci.cargo(&["build", "--workspace", "--profile", "test", "--example", name]);
    if ci.is_dry() {
        return ci.run(&mut build);
    }
    build.args(["--message-format", "json-render-diagnostics"]).stderr(Stdio::inherit());
    let programs = cargo::example_programs(&ci.output(&mut build)?);
    let program = programs.into_iter().find(|(built, _)| built == name);
    let program = program.with_context(|| format!("the build has no example called {name}"))?.1;
    let mut program = Command::new(program);
    ci.with_drivers(program.args(args).current_dir(&ci.ws.root))?;
    ci.run(&mut program)
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
    // The step for shaders has run what goes through all of them.
    command.arg("--");
    for name in [
        "accepts_every_shader",
        "declared_bindings_are_those_of_the_shader",
        "declared_workgroup_memory_is_that_of_the_shader",
        "no_case_accepts_outputs_that_nobody_wrote",
    ] {
        command.args(["--skip", name]);
    }
    ci.run(&mut command)
}
