//! Input files, mapped rather than read.

use anyhow::{Context as _, Result};
use memmap2::Mmap;
use std::fs::File;
use std::path::Path;

/// Maps a file. Models are larger than the memory of many machines, and only one tensor at a time
/// is looked at.
#[allow(unsafe_code)]
pub(crate) fn map(path: &Path) -> Result<Mmap> {
    let name = || format!("cannot open {}", path.display());
    let file = File::open(path).with_context(name)?;
    let metadata = file.metadata().with_context(name)?;
    anyhow::ensure!(metadata.is_file(), "{} is not a file", path.display());
    anyhow::ensure!(metadata.len() > 0, "{} is empty", path.display());
    // SAFETY: the map is read-only and private to this process. It stays sound as long as nobody
    // writes to the file meanwhile; our own output replaces a path only by renaming, which leaves
    // mapped contents alone.
    unsafe { Mmap::map(&file) }.with_context(|| format!("cannot map {}", path.display()))
}
