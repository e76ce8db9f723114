//! The second shader front end: tint, or Dawn (which contains it) where there is no tint.
//!
//! The contract with `tests/catalogue.rs` is one variable, [`VARIABLE`]: a program and its leading
//! arguments, separated by newlines. Any number of `.wgsl` paths is appended. It exits 0 only if
//! every file is valid, with diagnostics on standard error that begin with the path of the file.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use serde_json::Value;

use crate::Install;
use crate::cargo::{Workspace, on_path};
use crate::packages::{self, Need};

/// Tells the tests how to reach the front end.
pub(crate) const VARIABLE: &str = "FEWBYTES_TINT";

/// Where tint comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Choice {
    /// FEWBYTES_TINT if it is set, the `tint` on PATH if there is one, else Dawn
    Auto,
    /// The `tint` on PATH
    Native,
    /// Dawn from the npm package `webgpu`, installed below the target directory
    Dawn,
}

/// A front end that has shown that it can tell valid shaders from invalid ones.
pub(crate) struct Checker {
    /// Program and leading arguments.
    command: Vec<OsString>,
    /// For people.
    pub(crate) description: String,
}

impl Checker {
    /// Finds or installs a front end and tries it on shaders whose verdict is known.
    pub(crate) fn ensure(ws: &Workspace, choice: Choice, policy: Install) -> Result<Self> {
        let set = std::env::var_os(VARIABLE).filter(|v| choice == Choice::Auto && !v.is_empty());
        if let Some(set) = set {
            let text =
                set.into_string().ok().with_context(|| format!("{VARIABLE} is not UTF-8"))?;
            let checker = Self {
                command: text.split('\n').map(Into::into).collect(),
                description: format!("{VARIABLE} as set"),
            };
            checker.try_known(ws)?;
            return Ok(checker);
        }
        let checker = match (choice, native()) {
            (Choice::Auto | Choice::Native, Some(tint)) => Self::native(&tint)?,
            (Choice::Native, None) => bail!(
                "there is no tint on PATH. Build it from Dawn, or let `--tint dawn` install a substitute"
            ),
            (Choice::Auto | Choice::Dawn, _) => Self::dawn(ws, policy)?,
        };
        checker.try_known(ws)?;
        Ok(checker)
    }

    fn native(tint: &Path) -> Result<Self> {
        // tint takes one file a call; our own `tint-check` takes any number.
        let own = std::env::current_exe().context("cannot tell where this program is")?;
        Ok(Self {
            command: vec![own.into(), "tint-check".into(), tint.into()],
            description: format!("tint ({})", tint.display()),
        })
    }

    fn dawn(ws: &Workspace, policy: Install) -> Result<Self> {
        let needs = match (on_path("node"), on_path("npm")) {
            (None, _) => Some(Need::Node),
            (Some(_), None) => Some(Need::Npm),
            _ => None,
        };
        let modules = ws.tools().join("dawn");
        let wanted = wanted_dawn(&ws.root)?;
        let installed = installed_dawn(&modules).as_ref() == Some(&wanted);
        if let Some(need) = needs.filter(|n| !installed || *n == Need::Node) {
            packages::install(
                &[need],
                "tint, nor the node and npm that run its substitute",
                policy,
            )?;
        }
        if !installed {
            install_dawn(&ws.root, &modules, &wanted)?;
        }
        let mut argument = OsString::from("--modules=");
        argument.push(&modules);
        Ok(Self {
            command: vec![
                on_path("node").context("node is not on PATH")?.into(),
                ws.root.join("xtask/dawn/validate.mjs").into(),
                argument,
            ],
            description: format!("Dawn (npm package webgpu {wanted})"),
        })
    }

    /// The value of [`VARIABLE`].
    pub(crate) fn value(&self) -> Result<OsString> {
        ensure!(
            !self.command.iter().any(|word| word.to_string_lossy().contains('\n')),
            "a path with a line break in it cannot be passed on in {VARIABLE}"
        );
        Ok(self.command.join("\n".as_ref()))
    }

    /// A checker that accepts everything, or nothing, would make every later verdict worthless.
    fn try_known(&self, ws: &Workspace) -> Result<()> {
        let folder = ws.root.join("xtask/selftest");
        let mut good = Vec::new();
        let mut bad = Vec::new();
        for entry in
            fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?
        {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "wgsl") {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if name.starts_with("bad_") { bad.push(path) } else { good.push(path) }
            }
        }
        ensure!(!good.is_empty() && !bad.is_empty(), "{} holds no shaders", folder.display());

        let (valid, words) = self.check(&good)?;
        ensure!(valid, "{} refuses valid shaders:\n{words}", self.description);
        for path in bad {
            // Among valid ones, so that one bad file is seen to spoil the lot.
            let (valid, words) = self.check(&[good.clone(), vec![path.clone()]].concat())?;
            ensure!(!valid, "{} accepts {}, which is invalid", self.description, path.display());
            let named = words.lines().any(|l| l.starts_with(&*path.to_string_lossy()));
            ensure!(
                named,
                "{} refuses {} without naming it:\n{words}",
                self.description,
                path.display()
            );
        }
        Ok(())
    }

    fn check(&self, files: &[PathBuf]) -> Result<(bool, String)> {
        let (program, arguments) = self.command.split_first().context("no front end")?;
        let output = Command::new(program)
            .args(arguments)
            .args(files)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot run {}", program.display()))?;
        Ok((output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned()))
    }
}

/// The shader compiler on PATH. Debian also has a game called tint.
fn native() -> Option<PathBuf> {
    let tint = on_path("tint")?;
    let output = Command::new(&tint).arg("--help").stdin(Stdio::null()).output().ok()?;
    let help = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&help).contains("wgsl").then_some(tint)
}

/// The version of the npm package `webgpu` that our package.json pins.
fn wanted_dawn(root: &Path) -> Result<String> {
    let path = root.join("xtask/dawn/package.json");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let package: Value =
        serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))?;
    Ok(package["dependencies"]["webgpu"]
        .as_str()
        .context("package.json does not pin webgpu")?
        .to_owned())
}

fn installed_dawn(modules: &Path) -> Option<String> {
    // npm writes this file last: a copy that was cut off has none.
    fs::metadata(modules.join("node_modules/.package-lock.json")).ok()?;
    let text = fs::read_to_string(modules.join("node_modules/webgpu/package.json")).ok()?;
    Some(serde_json::from_str::<Value>(&text).ok()?["version"].as_str()?.to_owned())
}

fn install_dawn(root: &Path, modules: &Path, version: &str) -> Result<()> {
    eprintln!(
        "Installing the npm package webgpu {version} (Dawn, about 90 MB) into {}",
        modules.display()
    );
    fs::create_dir_all(modules)?;
    for file in ["package.json", "package-lock.json"] {
        fs::copy(root.join("xtask/dawn").join(file), modules.join(file))
            .with_context(|| format!("cannot copy {file}"))?;
    }
    // `ci` takes exactly the locked packages and checks their hashes; none of them needs to run
    // anything.
    let status = Command::new(on_path("npm").context("npm is not on PATH")?)
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"])
        .current_dir(modules)
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .context("cannot run npm")?;
    ensure!(
        status.success(),
        "npm ci failed in {} ({status}); put tint on PATH, or check that npm reaches its registry",
        modules.display()
    );
    Ok(())
}

/// `cargo xtask tint-check TINT FILE...`: every file through tint, one at a time.
pub(crate) fn check_files(tint: &Path, files: &[PathBuf]) -> Result<ExitCode> {
    let mut valid = true;
    for file in files {
        // Writing WGSL again, to a pipe that is thrown away, is the one output that every build of
        // tint has.
        let output = Command::new(tint)
            .args(["--format", "wgsl"])
            .arg(file)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot run {}", tint.display()))?;
        if output.status.success() {
            continue;
        }
        valid = false;
        let words = String::from_utf8_lossy(&output.stderr);
        let path = file.to_string_lossy();
        if !words.lines().any(|l| l.starts_with(&*path)) {
            eprintln!("{path}: error: tint failed ({})", output.status);
        }
        eprint!("{words}");
    }
    Ok(if valid { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_is_one_word_a_line() {
        let checker = Checker {
            command: ["node", "a b.mjs", "--modules=/t"].map(Into::into).into(),
            description: String::new(),
        };
        assert_eq!(checker.value().unwrap(), "node\na b.mjs\n--modules=/t");
        let checker = Checker { command: vec!["no\nde".into()], description: String::new() };
        assert!(checker.value().is_err());
    }

    #[test]
    fn dawn_is_pinned_alike_in_both_files() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let lock: Value = serde_json::from_str(
            &fs::read_to_string(root.join("xtask/dawn/package-lock.json")).unwrap(),
        )
        .unwrap();
        let locked = lock["packages"]["node_modules/webgpu"]["version"].as_str().unwrap();
        assert_eq!(wanted_dawn(root).unwrap(), locked);
    }

    #[test]
    fn a_cut_off_installation_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let package = folder.path().join("node_modules/webgpu");
        fs::create_dir_all(&package).unwrap();
        fs::write(package.join("package.json"), r#"{"version": "1.2.3"}"#).unwrap();
        assert_eq!(installed_dawn(folder.path()), None);
        fs::write(folder.path().join("node_modules/.package-lock.json"), "{}").unwrap();
        assert_eq!(installed_dawn(folder.path()).as_deref(), Some("1.2.3"));
    }
}
