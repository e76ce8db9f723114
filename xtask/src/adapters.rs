//! Graphics drivers: is there any adapter, and where are the two software ones that CI needs?

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::Install;
use crate::cargo::Workspace;
use crate::packages::{self, Need, System};

/// What the doctor's `--list` exits with when it found no adapter at all.
const NO_ADAPTER: i32 = 3;

/// The variables by which a user (or CI) names Vulkan drivers: today's name and the one older
/// loaders know.
const DRIVER_VARIABLES: [&str; 2] = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"];

/// Folders below which the loader looks for `vulkan/icd.d`.
fn icd_folders() -> Vec<PathBuf> {
    let home = env::var_os("HOME").map(PathBuf::from);
    let mut folders: Vec<PathBuf> = Vec::new();
    folders.extend(
        env::var_os("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .or_else(|| home.as_ref().map(|h| h.join(".config"))),
    );
    folders.extend(["/etc/xdg", "/etc"].map(PathBuf::from));
    folders.extend(
        env::var_os("XDG_DATA_HOME")
            .map(PathBuf::from)
            .or_else(|| home.map(|h| h.join(".local/share"))),
    );
    match env::var_os("XDG_DATA_DIRS") {
        Some(dirs) => folders.extend(env::split_paths(&dirs)),
        None => folders.extend(["/usr/local/share", "/usr/share"].map(PathBuf::from)),
    }
    // Where NixOS links the drivers of the running system.
    folders.push("/run/opengl-driver/share".into());
    folders.iter().map(|f| f.join("vulkan/icd.d")).collect()
}

/// The ICD files (driver manifests) in `folders`, in the loader's order.
fn icd_files(folders: &[PathBuf]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in folders {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        let mut files: Vec<_> = entries
            .flatten()
            .map(|e| e.path())
            .filter(|p| p.extension().is_some_and(|e| e == "json"))
            .collect();
        files.sort();
        found.extend(files);
    }
    found
}

/// Whether `icd` is a manifest whose library is there. A bare library name is the dynamic loader's
/// business.
fn is_usable(icd: &Path) -> bool {
    let manifest =
        || -> Option<Value> { serde_json::from_str(&fs::read_to_string(icd).ok()?).ok() };
    let Some(manifest) = manifest() else { return false };
    let Some(library) = manifest["ICD"]["library_path"].as_str() else { return false };
    if !library.contains(['/', '\\']) {
        return true;
    }
    icd.parent().is_some_and(|folder| folder.join(library).exists())
}

/// The drivers the user has named, if any.
fn named_drivers() -> Option<Vec<PathBuf>> {
    let value = DRIVER_VARIABLES.iter().find_map(env::var_os).filter(|v| !v.is_empty())?;
    Some(env::split_paths(&value).collect())
}

fn has_vulkan_loader() -> bool {
    let cached = ["ldconfig", "/sbin/ldconfig"].iter().any(|program| {
        let output =
            Command::new(program).arg("-p").stdin(Stdio::null()).stderr(Stdio::null()).output();
        output.is_ok_and(|o| String::from_utf8_lossy(&o.stdout).contains("libvulkan.so.1"))
    });
    let multiarch = format!("/usr/lib/{}-linux-gnu", env::consts::ARCH);
    let folders = ["/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib", "/lib64", &multiarch]
        .map(PathBuf::from);
    let own = env::var_os("LD_LIBRARY_PATH")
        .map(|v| env::split_paths(&v).collect::<Vec<_>>())
        .unwrap_or_default();
    cached || folders.iter().chain(&own).any(|f| f.join("libvulkan.so.1").exists())
}

/// Linux without a Vulkan loader or without one usable driver manifest: no adapter, and no build is
/// needed to know.
///
/// The opposite proves nothing (distributions install the manifests of cards that are not there),
/// so a machine that passes is asked again with [`any`].
fn surely_none() -> bool {
    if env::consts::OS != "linux" {
        return false;
    }
    let drivers = named_drivers().unwrap_or_else(|| icd_files(&icd_folders()));
    !has_vulkan_loader() || !drivers.iter().any(|d| is_usable(d))
}

/// Installs Mesa's software driver where it is plain that there is no adapter and we know how;
/// before a long build.
pub(crate) fn install_if_surely_none(policy: Install) -> Result<()> {
    if let Some(missing) = named_drivers().iter().flatten().find(|d| !d.exists()) {
        bail!(
            "{} names {}, which does not exist",
            DRIVER_VARIABLES.join(" or "),
            missing.display()
        );
    }
    // On systems we cannot install on, the libraries may be in places we do not know: let the
    // doctor say.
    if System::here() == System::Debian && surely_none() {
        packages::install(&[Need::Lavapipe], "graphics adapter", policy)?;
    }
    Ok(())
}

/// Asks the built doctor whether there is an adapter, and installs Mesa's software driver if there
/// is none.
pub(crate) fn ensure_any(ws: &Workspace, doctor: &Path, policy: Install) -> Result<()> {
    if any(ws, doctor)? {
        return Ok(());
    }
    ensure!(
        named_drivers().is_none(),
        "the drivers named by {} offer no adapter",
        DRIVER_VARIABLES.join(" or ")
    );
    packages::install(&[Need::Lavapipe], "graphics adapter", policy)?;
    ensure!(
        any(ws, doctor)?,
        "Mesa's software driver is installed, and still no adapter is found; `vulkaninfo --summary` may tell why"
    );
    Ok(())
}

fn any(ws: &Workspace, doctor: &Path) -> Result<bool> {
    let mut command = Command::new(doctor);
    command.arg("--list").current_dir(&ws.root).stdin(Stdio::null());
    quiet_display(&mut command, ws);
    let output = command.output().with_context(|| format!("cannot run {}", doctor.display()))?;
    match output.status.code() {
        Some(0) => Ok(true),
        Some(NO_ADAPTER) => Ok(false),
        _ => bail!(
            "looking for adapters failed ({}):\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ),
    }
}

/// Without a session, Mesa complains on standard error that `XDG_RUNTIME_DIR` is not set, once for
/// every instance.
pub(crate) fn quiet_display(command: &mut Command, ws: &Workspace) {
    if env::consts::OS == "linux" && env::var_os("XDG_RUNTIME_DIR").is_none() {
        let folder = ws.tools().join("runtime");
        if fs::create_dir_all(&folder).is_ok() {
            command.env("XDG_RUNTIME_DIR", folder);
        }
    }
}

/// Both software drivers, as the loader's variables want them.
pub(crate) struct SoftwareDrivers {
    pub(crate) lavapipe: PathBuf,
    pub(crate) swiftshader: PathBuf,
}

impl SoftwareDrivers {
    /// Finds both, installing what is missing; never does with one.
    pub(crate) fn ensure(policy: Install) -> Result<Self> {
        let mut needs = Vec::new();
        let mut missing = Vec::new();
        if find_lavapipe().is_none() || !has_vulkan_loader() {
            needs.push(Need::Lavapipe);
            missing.push("lavapipe");
        }
        if find_swiftshader()?.is_none() {
            needs.push(Need::SwiftShader);
            missing.push("SwiftShader");
        }
        if !needs.is_empty() {
            let installed = packages::install(&needs, &missing.join(" and no "), policy);
            if let Err(error) = installed {
                // Ubuntu's Chromium is a snap: there is no package to take SwiftShader from.
                let otherwise = match needs.contains(&Need::SwiftShader) {
                    true => format!(
                        "\nWhere no such package has SwiftShader: {}",
                        System::Other.remedy(Need::SwiftShader)
                    ),
                    false => String::new(),
                };
                bail!("{error:#}{otherwise}");
            }
        }
        Ok(Self {
            lavapipe: find_lavapipe()
                .context("no lvp_icd*.json found after installing Mesa's drivers")?,
            swiftshader: find_swiftshader()?.with_context(|| {
                format!(
                    "no vk_swiftshader_icd.json found: {}",
                    System::Other.remedy(Need::SwiftShader)
                )
            })?,
        })
    }

    /// Variables for a child process that is to see these two adapters and no others.
    pub(crate) fn variables(&self) -> Result<Vec<(&'static str, OsString)>> {
        let both = env::join_paths([&self.lavapipe, &self.swiftshader])
            .context("a driver's path cannot stand in a list")?;
        Ok(DRIVER_VARIABLES.iter().map(|v| (*v, both.clone())).collect())
    }
}

fn find_lavapipe() -> Option<PathBuf> {
    let mut files = icd_files(&icd_folders());
    files.retain(|f| {
        f.file_name().is_some_and(|n| n.to_string_lossy().starts_with("lvp_icd")) && is_usable(f)
    });
    // With several architectures installed, ours first.
    files.sort_by_key(|f| !f.to_string_lossy().contains(env::consts::ARCH));
    files.into_iter().next()
}

fn find_swiftshader() -> Result<Option<PathBuf>> {
    if let Some(named) = env::var_os("FEWBYTES_SWIFTSHADER").map(PathBuf::from) {
        ensure!(
            is_usable(&named),
            "FEWBYTES_SWIFTSHADER: {} is not a driver manifest whose library is there",
            named.display()
        );
        return Ok(Some(named));
    }
    let browsers = [
        "/usr/lib/chromium",
        "/usr/lib64/chromium",
        "/usr/lib64/chromium-browser",
        "/usr/lib/chromium-browser",
        "/opt/google/chrome",
        "/opt/chromium.org/chromium",
        "/opt/microsoft/msedge",
    ];
    Ok(browsers.iter().map(|b| Path::new(b).join("vk_swiftshader_icd.json")).find(|p| is_usable(p)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(folder: &Path, name: &str, library: &str) -> PathBuf {
        let path = folder.join(name);
        fs::write(
            &path,
            format!(
                r#"{{"file_format_version": "1.0.0", "ICD": {{"library_path": "{library}"}}}}"#
            ),
        )
        .unwrap();
        path
    }

    #[test]
    fn a_manifest_counts_only_with_its_library() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("libdriver.so"), "").unwrap();
        let absolute = folder.path().join("libdriver.so");
        assert!(is_usable(&manifest(folder.path(), "relative.json", "./libdriver.so")));
        assert!(is_usable(&manifest(folder.path(), "absolute.json", absolute.to_str().unwrap())));
        assert!(is_usable(&manifest(folder.path(), "bare.json", "libdriver_nobody_has.so")));
        assert!(!is_usable(&manifest(folder.path(), "gone.json", "./libgone.so")));
        assert!(!is_usable(&folder.path().join("no-such.json")));
        fs::write(folder.path().join("broken.json"), "{").unwrap();
        assert!(!is_usable(&folder.path().join("broken.json")));
    }

    #[test]
    fn manifests_are_found_in_order_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.json", "a.json", "readme.txt"] {
            manifest(folder.path(), name, "./x.so");
        }
        let names: Vec<_> = icd_files(&[folder.path().join("no-such"), folder.path().into()])
            .iter()
            .map(|f| f.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(names, ["a.json", "b.json"]);
    }

    #[test]
    fn both_drivers_are_named_by_both_variables() {
        let drivers = SoftwareDrivers { lavapipe: "/l.json".into(), swiftshader: "/s.json".into() };
        let variables = drivers.variables().unwrap();
        let both = env::join_paths(["/l.json", "/s.json"]).unwrap();
        assert_eq!(variables, [("VK_DRIVER_FILES", both.clone()), ("VK_ICD_FILENAMES", both)]);
    }
}
