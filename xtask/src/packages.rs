//! Installing system packages where the system is known, and exact words where it is not.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::Install;
use crate::cargo::on_path;

/// Something that comes from the system's packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// The Vulkan loader and Mesa's software driver.
    Lavapipe,
    /// SwiftShader, which browsers bring along.
    SwiftShader,
    /// Node and npm, which run Dawn where there is no tint.
    Node,
    /// npm alone, where node is there already.
    Npm,
}

/// Families of systems that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    Debian,
    Fedora,
    Arch,
    Alpine,
    Suse,
    Nix,
    Mac,
    Windows,
    Other,
}

impl System {
    pub(crate) fn here() -> Self {
        match std::env::consts::OS {
            "macos" => Self::Mac,
            "windows" => Self::Windows,
            _ => fs::read_to_string("/etc/os-release")
                .map_or(Self::Other, |text| Self::from_os_release(&text)),
        }
    }

    fn from_os_release(text: &str) -> Self {
        let ids = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .filter(|(key, _)| matches!(*key, "ID" | "ID_LIKE"))
            .flat_map(|(_, value)| value.trim_matches(['"', '\'']).split_whitespace());
        for id in ids {
            match id {
                "debian" | "ubuntu" => return Self::Debian,
                "fedora" | "rhel" | "centos" => return Self::Fedora,
                "arch" => return Self::Arch,
                "alpine" => return Self::Alpine,
                "suse" | "opensuse" | "opensuse-tumbleweed" | "opensuse-leap" => return Self::Suse,
                "nixos" => return Self::Nix,
                _ => {}
            }
        }
        Self::Other
    }

    /// What a person does on this system to get `need`.
    pub(crate) fn remedy(self, need: Need) -> String {
        match (self, need) {
            (Self::Debian, _) => install_line(&apt_packages(&[need]), !is_root()),
            (Self::Fedora, Need::Lavapipe) => "sudo dnf install mesa-vulkan-drivers vulkan-loader".into(),
            (Self::Arch, Need::Lavapipe) => "sudo pacman -S vulkan-swrast vulkan-icd-loader".into(),
            (Self::Alpine, Need::Lavapipe) => "apk add mesa-vulkan-swrast vulkan-loader".into(),
            (Self::Suse, Need::Lavapipe) => "sudo zypper install libvulkan_lvp libvulkan1".into(),
            (Self::Nix, Need::Lavapipe) => {
                "set hardware.graphics.enable = true and put vulkan-loader on LD_LIBRARY_PATH".into()
            }
            (_, Need::Lavapipe) => {
                "install your graphics card's Vulkan driver, or Mesa's software driver (lavapipe), and the Vulkan \
                 loader (libvulkan.so.1)"
                    .into()
            }
            (_, Need::SwiftShader) => {
                "install Chromium or Chrome, or build SwiftShader, and set FEWBYTES_SWIFTSHADER to the path of its \
                 vk_swiftshader_icd.json"
                    .into()
            }
            (Self::Fedora, Need::Node | Need::Npm) => "sudo dnf install nodejs npm".into(),
            (Self::Arch, Need::Node | Need::Npm) => "sudo pacman -S nodejs npm".into(),
            (Self::Alpine, Need::Node | Need::Npm) => "apk add nodejs npm".into(),
            (Self::Suse, Need::Node | Need::Npm) => "sudo zypper install nodejs npm".into(),
            (Self::Mac, Need::Node | Need::Npm) => "brew install node".into(),
            (_, Need::Node | Need::Npm) => "install Node.js 18 or newer with npm, or put tint on PATH".into(),
        }
    }
}

fn apt_packages(needs: &[Need]) -> Vec<&'static str> {
    needs
        .iter()
        .flat_map(|need| match need {
            Need::Lavapipe => &["mesa-vulkan-drivers", "libvulkan1"][..],
            // Holds SwiftShader and its ICD file; not the browser, which is ten times as large.
            Need::SwiftShader => &["chromium-common"],
            Need::Node => &["nodejs", "npm"],
            Need::Npm => &["npm"],
        })
        .copied()
        .collect()
}

fn install_line(packages: &[&str], sudo: bool) -> String {
    let sudo = if sudo { "sudo " } else { "" };
    format!(
        "{sudo}apt-get update && {sudo}apt-get install -y --no-install-recommends {}",
        packages.join(" ")
    )
}

/// The owner of our own /proc entry is the effective user; no foreign function needed.
#[cfg(target_os = "linux")]
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
}

#[cfg(not(target_os = "linux"))]
fn is_root() -> bool {
    false
}

/// Installs `needs`, or fails saying what to do. `why` completes "There is no ...".
pub(crate) fn install(needs: &[Need], why: &str, policy: Install) -> Result<()> {
    let system = System::here();
    let root = is_root();
    if system != System::Debian {
        let remedies: Vec<_> =
            needs.iter().map(|n| format!("\n    {}", system.remedy(*n))).collect();
        bail!("there is no {why} on this machine. To get it:{}", remedies.concat());
    }
    let packages = apt_packages(needs);
    let line = install_line(&packages, !root);
    ensure!(!policy.no_install, "there is no {why} on this machine. To get it:\n    {line}");
    ensure!(
        root || on_path("sudo").is_some(),
        "there is no {why} on this machine, and neither root nor sudo to install it. As root, run:\n    {}",
        install_line(&packages, false)
    );

    eprintln!("There is no {why} on this machine. Installing:\n    {line}");
    // A stale or broken third-party source must not stop us: whether the packages are there shows
    // in the install.
    if let Err(error) = apt_get(root, &["update"]) {
        eprintln!("warning: {error:#}; going on with the package lists at hand");
    }
    let mut arguments = vec!["install", "-y", "--no-install-recommends"];
    arguments.extend(&packages);
    match apt_get(root, &arguments) {
        Ok(()) => Ok(()),
        Err(error) => bail!("{error:#}. By hand:\n    {line}"),
    }
}

fn apt_get(root: bool, arguments: &[&str]) -> Result<()> {
    let mut command = if root { Command::new("env") } else { Command::new("sudo") };
    if !root {
        command.arg("env");
    }
    // No questions, and patience with another apt-get; its output belongs to the log, not to our
    // results.
    command.args([
        "DEBIAN_FRONTEND=noninteractive",
        "apt-get",
        "-q",
        "-o",
        "DPkg::Lock::Timeout=120",
    ]);
    command.args(arguments).stdin(Stdio::inherit()).stdout(std::io::stderr());
    let status = command.status().context("cannot run apt-get")?;
    ensure!(status.success(), "apt-get {} failed ({status})", arguments.join(" "));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systems_are_told_apart_by_id_and_likeness() {
        let cases = [
            ("ID=debian\n", System::Debian),
            ("NAME=\"Linux Mint\"\nID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", System::Debian),
            ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", System::Fedora),
            ("ID=manjaro\nID_LIKE=arch\n", System::Arch),
            ("ID='alpine'\n", System::Alpine),
            ("ID=\"opensuse-tumbleweed\"\nID_LIKE=\"opensuse suse\"\n", System::Suse),
            ("ID=nixos\n", System::Nix),
            ("ID=plan9\nVARIANT_ID=debian\n", System::Other),
            ("", System::Other),
        ];
        for (text, system) in cases {
            assert_eq!(System::from_os_release(text), system, "{text}");
        }
    }

    #[test]
    fn the_line_for_apt_can_be_typed_as_it_is() {
        assert_eq!(
            install_line(&apt_packages(&[Need::Lavapipe]), true),
            "sudo apt-get update && sudo apt-get install -y --no-install-recommends mesa-vulkan-drivers libvulkan1"
        );
        assert_eq!(
            install_line(&apt_packages(&[Need::Lavapipe, Need::SwiftShader]), false),
            "apt-get update && apt-get install -y --no-install-recommends mesa-vulkan-drivers libvulkan1 chromium-common"
        );
    }

    #[test]
    fn every_system_has_a_remedy_for_every_need() {
        use System::*;
        for system in [Debian, Fedora, Arch, Alpine, Suse, Nix, Mac, Windows, Other] {
            for need in [Need::Lavapipe, Need::SwiftShader, Need::Node, Need::Npm] {
                assert!(!system.remedy(need).is_empty(), "{system:?} {need:?}");
            }
        }
    }
}
