//! `cargo xtask bundle`: doctor and roofline for machines that have a GPU and no Rust.

mod archive;
pub(crate) mod glibc;
mod licences;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};

use crate::BundleArgs;
use crate::cargo::{Workspace, build, on_path};

/// The folder's name; the archive has it too.
const NAME: &str = "fewbytes-bundle";

/// What is carried to strange machines should be quick to carry.
const LIMIT: u64 = 40 << 20;

const PROGRAMS: [&str; 2] = ["doctor", "roofline"];

const RUN: &str = include_str!("../../bundle/run.sh");
const README: &str = include_str!("../../bundle/README.txt");

/// One file of the bundle.
struct Item {
    name: &'static str,
    bytes: Vec<u8>,
    executable: bool,
}

/// Builds the programs and writes the folder and its archive.
pub(crate) fn run(ws: &Workspace, args: &BundleArgs) -> Result<ExitCode> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu")) {
        bail!("bundles are made on x86-64 Linux with glibc, for such machines");
    }
    let target = args.glibc.map(|glibc| format!("x86_64-unknown-linux-gnu.{glibc}"));
    let mut wanted = vec![if target.is_some() { "zigbuild" } else { "build" }];
    if let Some(target) = &target {
        ensure!(
            on_path("cargo-zigbuild").is_some(),
            "an older glibc than this machine's needs cargo-zigbuild and zig: \
             `cargo install cargo-zigbuild` and `pip install ziglang`"
        );
        wanted.extend(["--target", target]);
    }
    wanted.extend(["--profile", "bundle", "--package", "fewbytes"]);
    PROGRAMS.iter().for_each(|name| wanted.extend(["--example", name]));
    let built = build(ws, "Building doctor and roofline", &wanted)?;
    let mut items = Vec::new();
    for name in PROGRAMS {
        let found = built.iter().find(|(example, _)| example == name);
        let path = &found.with_context(|| format!("the build has no example called {name}"))?.1;
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        items.push(Item { name, bytes, executable: true });
    }
    let floor = items.iter().map(|item| {
        glibc::floor(&item.bytes).with_context(|| format!("cannot read {}'s needs", item.name))
    });
    let floor = floor.collect::<Result<Vec<_>>>()?.into_iter().max().context("no programs")?;
    if let Some(wanted) = args.glibc {
        ensure!(floor <= wanted, "the programs need glibc {floor}, {wanted} was asked for");
    }
    items.extend(texts(ws, floor)?);

    let out = args.out.as_deref().unwrap_or(&ws.target);
    let folder = write(out, &items)?;
    let tarball = out.join(format!("{NAME}.tar.gz"));
    archive::write(&tarball, &items)?;
    let packed = fs::metadata(&tarball).map_or(0, |data| data.len());
    println!(
        "{}: {}, needs glibc {floor}\n{}: {}\nCopy one of them to a machine with a GPU, \
         unpack, and call ./run.sh there.",
        folder.display(),
        mebibytes(total(&items)),
        tarball.display(),
        mebibytes(packed)
    );
    Ok(ExitCode::SUCCESS)
}

/// Everything but the programs.
fn texts(ws: &Workspace, floor: glibc::Version) -> Result<Vec<Item>> {
    let packages = ws.metadata["packages"].as_array().context("cargo metadata has no packages")?;
    let version = packages.iter().find(|p| p["name"] == "fewbytes");
    let version = version.and_then(|p| p["version"].as_str()).context("no version of fewbytes")?;
    let filled =
        |text: &str| text.replace("@GLIBC@", &floor.to_string()).replace("@VERSION@", version);
    let mut items = vec![
        Item { name: "run.sh", bytes: filled(RUN).into(), executable: true },
        Item { name: "README.txt", bytes: filled(README).into(), executable: false },
    ];
    for name in ["LICENSE-APACHE", "LICENSE-MIT"] {
        let bytes = fs::read(ws.root.join(name)).with_context(|| format!("cannot read {name}"))?;
        items.push(Item { name, bytes, executable: false });
    }
    let bytes = licences::of_everything_linked(ws)?.into();
    items.push(Item { name: "THIRD-PARTY.txt", bytes, executable: false });
    Ok(items)
}

fn total(items: &[Item]) -> u64 {
    items.iter().map(|item| item.bytes.len() as u64).sum()
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// Fails for what is too large, naming the largest part.
fn check_size(items: &[Item]) -> Result<()> {
    let bytes = total(items);
    if bytes > LIMIT {
        let largest = items.iter().max_by_key(|item| item.bytes.len());
        let (name, size) = largest.map_or(("", 0), |item| (item.name, item.bytes.len() as u64));
        bail!(
            "the bundle has {bytes} bytes ({}), the limit is {LIMIT} ({}); {name} alone has {size}",
            mebibytes(bytes),
            mebibytes(LIMIT)
        );
    }
    Ok(())
}

/// Writes the folder, in place of an older bundle.
fn write(out: &Path, items: &[Item]) -> Result<PathBuf> {
    check_size(items)?;
    let folder = out.join(NAME);
    if folder.exists() {
        // Somebody's results may lie in it, and a folder that is no bundle is not ours to remove.
        ensure!(
            folder.join("run.sh").is_file() && !folder.join("results").exists(),
            "{} is there already and {}; move it away or choose another --out",
            folder.display(),
            if folder.join("results").exists() { "has results in it" } else { "is no bundle" }
        );
        fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot replace {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for item in items {
        let path = folder.join(item.name);
        fs::write(&path, &item.bytes)
            .with_context(|| format!("cannot write {}", path.display()))?;
        #[cfg(unix)]
        if item.executable {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
                .with_context(|| format!("cannot make {} executable", path.display()))?;
        }
    }
    Ok(folder)
}
