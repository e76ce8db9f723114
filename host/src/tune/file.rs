//! Cache files: JSON that is checked field by field.

use super::entry::TuneEntry;
use fewbytes::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The files that come with the crate.
pub(super) const SHIPPED: [(&str, &str); 1] =
    [("seeds/measured.json", include_str!("../../seeds/measured.json"))];

const FORMAT: &str = "fewbytes-tuned";
const VERSION: u64 = 2;

/// What a file of any version begins with; the rest is read only when the version is known.
#[derive(Deserialize)]
struct Header {
    format: String,
    version: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "format")]
    _format: String,
    #[serde(rename = "version")]
    _version: u64,
    entries: Vec<TuneEntry>,
}

#[derive(Serialize)]
struct Written<'a> {
    format: &'static str,
    version: u64,
    entries: Vec<&'a TuneEntry>,
}

pub(super) fn parse(name: &str, text: &[u8]) -> Result<Vec<TuneEntry>> {
    let header: Header = read_json(name, text)?;
    if header.format != FORMAT {
        let message = format!("expected {FORMAT:?}, found {:?}", shortened(&header.format));
        return Err(Error::format(format!("{name}: format"), message));
    }
    if header.version != VERSION {
        let message = format!("this build reads version {VERSION}, found {}", header.version);
        return Err(Error::format(format!("{name}: version"), message));
    }
    let file: File = read_json(name, text)?;
    let mut seen = BTreeMap::new();
    for (at, entry) in file.entries.iter().enumerate() {
        entry.check(&format!("{name}: entries[{at}]"))?;
        if let Some(first) = seen.insert(entry.identity(), at) {
            let message =
                format!("it is for the same device, driver, checks and spec as entries[{first}]");
            return Err(Error::format(format!("{name}: entries[{at}]"), message));
        }
    }
    Ok(file.entries)
}

/// Parses one JSON document; errors name the field.
pub(super) fn read_json<'de, T: Deserialize<'de>>(name: &str, text: &'de [u8]) -> Result<T> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let field = error.path().to_string();
        // "." is the document itself.
        let what = if field == "." { name.to_owned() } else { format!("{name}: {field}") };
        Error::format(what, shortened(&error.inner().to_string()))
    })?;
    json.end().map_err(|error| Error::format(name, error.to_string()))?;
    Ok(value)
}

/// A hostile file's words may be as long as the file.
fn shortened(words: &str) -> String {
    const MOST: usize = 200;
    match words.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", words.get(..end).unwrap_or_default()),
        None => words.to_owned(),
    }
}

pub(super) fn text(entries: &[TuneEntry]) -> String {
    let mut sorted: Vec<_> = entries.iter().collect();
    sorted.sort_by(|a, b| a.identity().cmp(&b.identity()));
    let file = Written { format: FORMAT, version: VERSION, entries: sorted };
    // Plain data whose times were checked to be numbers: writing it cannot fail.
    let mut text = serde_json::to_string_pretty(&file).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(not(target_arch = "wasm32"))]
pub(super) use disk::{read, write};

#[cfg(not(target_arch = "wasm32"))]
mod disk {
    use fewbytes::{Error, Result};
    use std::fs::File;
    use std::io::{Read as _, Write as _};
    use std::path::Path;

    /// Room for tens of thousands of entries.
    const MAX_BYTES: u64 = 16 << 20;

    pub(in crate::tune) fn read(path: &Path) -> Result<Vec<u8>> {
        let failed = |error| Error::Io { path: path.to_owned(), error };
        let mut bytes = Vec::new();
        // One byte more than allowed, whatever size the system says that the file has.
        let mut file = File::open(path).map_err(failed)?.take(MAX_BYTES + 1);
        file.read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > MAX_BYTES {
            let what = format!("bytes of {}", path.display());
            return Err(Error::range(what, format!("0..={MAX_BYTES}"), "larger"));
        }
        Ok(bytes)
    }

    pub(in crate::tune) fn write(path: &Path, text: &str) -> Result<()> {
        let failed = |error| Error::Io { path: path.to_owned(), error };
        // Beside the file, because a rename does not cross file systems.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let mut builder = tempfile::Builder::new();
        builder.prefix(".fewbytes-tuned-");
        // As a file that is made by opening it; temporary files are their owner's alone.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = builder.tempfile_in(folder.unwrap_or(Path::new("."))).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(path).map_err(|error| failed(error.error))?;
        Ok(())
    }
}
