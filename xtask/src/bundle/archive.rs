//! The bundle as one file.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::{Item, NAME};

/// Writes a .tar.gz that holds the folder. The same items give the same bytes: no times, no
/// owners.
pub(super) fn write(path: &Path, items: &[Item]) -> Result<()> {
    let packed = || -> std::io::Result<()> {
        let mut archive =
            tar::Builder::new(GzEncoder::new(File::create(path)?, Compression::best()));
        for item in items {
            let mut header = tar::Header::new_gnu();
            header.set_size(item.bytes.len() as u64);
            header.set_mode(if item.executable { 0o755 } else { 0o644 });
            // 1980-01-01: some tools complain about files from 1970.
            header.set_mtime(315_532_800);
            archive.append_data(&mut header, format!("{NAME}/{}", item.name), &*item.bytes)?;
        }
        archive.into_inner()?.finish()?.flush()
    };
    packed().with_context(|| format!("cannot write {}", path.display()))
}
