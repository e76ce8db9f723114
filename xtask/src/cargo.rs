//! Calling cargo, and showing that a long build is alive without showing all that cargo says.

use std::env;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

/// Where things are.
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    /// Cargo's target directory, wherever the user has put it.
    pub(crate) target: PathBuf,
    /// The answer of `cargo metadata --no-deps`.
    pub(crate) metadata: Value,
}

impl Workspace {
    pub(crate) fn find() -> Result<Self> {
        let output = cargo(Path::new(env!("CARGO_MANIFEST_DIR")))
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run cargo metadata")?;
        ensure!(output.status.success(), "cargo metadata failed");
        let metadata: Value =
            serde_json::from_slice(&output.stdout).context("cargo metadata did not answer JSON")?;
        let path = |key: &str| -> Result<PathBuf> {
            Ok(PathBuf::from(
                metadata[key].as_str().with_context(|| format!("cargo metadata has no {key}"))?,
            ))
        };
        Ok(Self { root: path("workspace_root")?, target: path("target_directory")?, metadata })
    }

    pub(crate) fn cargo(&self) -> Command {
        cargo(&self.root)
    }

    /// A folder for tools that are installed for this checkout only.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }
}

/// Cargo, as if it was called from a shell: `cargo run` describes this package to us, not to the
/// cargo we call.
fn cargo(dir: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(dir);
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_")
            || name.starts_with("CARGO_MANIFEST_")
            || name == "CARGO_BIN_NAME"
        {
            command.env_remove(&*name);
        }
    }
    command
}

/// The command as one would type it; paths inside `root` are shortened.
pub(crate) fn shown(command: &Command, root: &Path) -> String {
    let mut words = Vec::new();
    let program = Path::new(command.get_program());
    words.push(program.file_stem().unwrap_or(program.as_os_str()).to_string_lossy().into_owned());
    words.extend(command.get_args().map(|a| a.to_string_lossy().into_owned()));
    let prefix = format!("{}/", root.display());
    let quote = |w: &String| {
        if w.is_empty() || w.contains(char::is_whitespace) { format!("'{w}'") } else { w.clone() }
    };
    words.iter().map(quote).collect::<Vec<_>>().join(" ").replace(&prefix, "")
}

/// Builds what `args` name and returns the example programs among it: (name, path).
///
/// On a terminal a spinner tells what cargo is at; elsewhere a line now and then. Cargo's own words
/// are shown only when the build fails.
pub(crate) fn build(ws: &Workspace, label: &str, args: &[&str]) -> Result<Vec<(String, PathBuf)>> {
    let mut child = ws
        .cargo()
        .args(args)
        .args(["--message-format", "json-render-diagnostics"])
        .env("CARGO_TERM_COLOR", "never")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run cargo")?;
    // Standard output is read beside standard error, or a full pipe would stop cargo.
    let mut stdout = child.stdout.take().context("cargo has no stdout")?;
    let artifacts = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).map(|_| text)
    });

    let spinner = spinner(label);
    let mut compiled = 0usize;
    let started = Instant::now();
    let mut said = Instant::now();
    let mut words = Vec::new();
    for line in BufReader::new(child.stderr.take().context("cargo has no stderr")?).lines() {
        let line = line?;
        let doing = line.trim();
        if doing.starts_with("Compiling ") {
            compiled += 1;
            if compiled == 1 && spinner.is_hidden() {
                eprintln!("{label}: a few minutes the first time");
            }
        }
        spinner.set_message(format!("{label}: {compiled} crates, {doing}"));
        if spinner.is_hidden() && said.elapsed() > Duration::from_secs(20) {
            eprintln!("{label}: {compiled} crates after {} s", started.elapsed().as_secs());
            said = Instant::now();
        }
        words.push(line);
    }
    let status = child.wait()?;
    spinner.finish_and_clear();
    let artifacts = artifacts.join().ok().context("the reader of cargo's messages died")??;
    if !status.success() {
        words.iter().for_each(|w| eprintln!("{w}"));
        bail!("the build failed: cargo {}", args.join(" "));
    }
    Ok(example_programs(&artifacts))
}

fn spinner(label: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {wide_msg} [{elapsed}]")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = ProgressBar::new_spinner()
        .with_style(style)
        .with_message(format!("{label}: a few minutes the first time"));
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// The example programs among cargo's JSON messages: (name, path).
pub(crate) fn example_programs(messages: &str) -> Vec<(String, PathBuf)> {
    let program = |message: Value| {
        let target = &message["target"];
        let example = target["kind"].as_array()?.iter().any(|k| k == "example");
        let path = message["executable"].as_str()?;
        example.then(|| Some((target["name"].as_str()?.to_owned(), PathBuf::from(path))))?
    };
    messages.lines().filter_map(|l| serde_json::from_str(l).ok()).filter_map(program).collect()
}

/// The program called `name`, looked for on PATH.
pub(crate) fn on_path(name: impl AsRef<OsStr>) -> Option<PathBuf> {
    which::which(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_found_among_cargo_s_messages() {
        let messages = r#"
{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"a"},"executable":null}
{"reason":"compiler-artifact","target":{"kind":["test"],"name":"doctor"},"executable":"/t/test"}
{"reason":"compiler-artifact","target":{"kind":["example"],"name":"doctor"},"executable":"/t/doctor"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(example_programs(messages), [("doctor".to_owned(), PathBuf::from("/t/doctor"))]);
    }

    #[test]
    fn a_command_is_shown_as_typed() {
        let mut command = Command::new("/usr/bin/cargo");
        command.args(["test", "--", "a b", "/repo/x.wgsl"]);
        assert_eq!(shown(&command, Path::new("/repo")), "cargo test -- 'a b' x.wgsl");
    }
}
