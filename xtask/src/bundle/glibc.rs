//! Which glibc a program needs, read from the program.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result};
use object::Endianness;
use object::elf::FileHeader64;
use object::read::elf::{FileHeader as _, SectionHeader as _};

/// A version of glibc.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    major: u32,
    minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Version {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = text.split_once('.');
        let numbers = numbers.and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        let (major, minor) = numbers.ok_or("a version looks like 2.28")?;
        Ok(Self { major, minor })
    }
}

/// The version in a symbol version's name: `GLIBC_2.34`, `GLIBC_2.2.5`; none in others, such as
/// `GCC_4.2.0` and `GLIBC_PRIVATE`.
fn version(name: &str) -> Option<Version> {
    let mut numbers = name.strip_prefix("GLIBC_")?.split('.').map(str::parse);
    let (major, minor) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some(Version { major, minor })
}

/// The newest of the versions.
fn newest<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Version> {
    names.into_iter().filter_map(version).max().context("it needs no version of glibc at all")
}

/// The oldest glibc that a 64-bit ELF program starts with.
pub(super) fn floor(program: &[u8]) -> Result<Version> {
    let header = FileHeader64::<Endianness>::parse(program).context("it is no 64-bit ELF file")?;
    let endian = header.endian()?;
    let sections = header.sections(endian, program)?;
    let mut names = Vec::new();
    for section in sections.iter() {
        let Some((mut files, link)) = section.gnu_verneed(endian, program)? else { continue };
        let strings = sections.strings(endian, program, link)?;
        while let Some((_, mut versions)) = files.next()? {
            while let Some(version) = versions.next()? {
                names.push(std::str::from_utf8(version.name(endian, strings)?)?);
            }
        }
    }
    newest(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_counts_as_numbers_do() {
        let needs = ["GLIBC_2.2.5", "GLIBC_2.9", "GLIBC_2.34", "GCC_4.2.0", "GLIBC_PRIVATE"];
        assert_eq!(newest(needs).unwrap().to_string(), "2.34");
        assert_eq!(newest(["GLIBC_2.9", "GLIBC_2.10"]).unwrap().to_string(), "2.10");
        assert_eq!(newest(["GLIBC_3.0", "GLIBC_2.99"]).unwrap().to_string(), "3.0");
        assert!(newest(["GCC_3.0", "GLIBC_", "GLIBC_x.1", "GLIBC_2"]).is_err());
        assert!(newest([]).is_err());
    }

    #[test]
    fn what_is_no_program_is_an_error() {
        assert!(floor(b"").is_err());
        assert!(floor(b"#!/bin/sh\n").is_err());
        assert!(floor(&[b"\x7fELF\x02\x01\x01".as_slice(), &[0xff; 200]].concat()).is_err());
    }

    #[cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]
    #[test]
    fn this_very_program_needs_no_newer_glibc_than_there_is() {
        let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let floor = floor(&program).unwrap();
        let output = std::process::Command::new("getconf").arg("GNU_LIBC_VERSION").output();
        let output = output.expect("getconf comes with glibc").stdout;
        let here = String::from_utf8(output).unwrap().replace("glibc ", "GLIBC_");
        let here = version(here.trim()).unwrap();
        assert!(floor <= here && floor.major == 2, "{floor} on {here}");
    }
}
