//! Where a run writes.

use anyhow::{Result, ensure};
use std::path::Path;

/// That the output can be written and is none of the inputs; found out before the work, not after it.
pub(crate) fn check<'a>(
    output: &Path,
    inputs: impl IntoIterator<Item = &'a Path>,
    force: bool,
) -> Result<()> {
    let shown = output.display();
    if output.exists() {
        ensure!(!output.is_dir(), "{shown} is a folder");
        let same = |path: &Path| matches!((path.canonicalize(), output.canonicalize()), (Ok(a), Ok(b)) if a == b);
        for input in inputs {
            ensure!(!same(input), "{shown} is also an input; choose another output");
        }
        ensure!(force, "{shown} exists; --force replaces it");
    }
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty());
    ensure!(folder.is_none_or(Path::is_dir), "the folder of {shown} does not exist");
    Ok(())
}
