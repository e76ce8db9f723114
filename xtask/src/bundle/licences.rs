//! The licences of what the programs are made of.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cargo::Workspace;

/// The text of THIRD-PARTY.txt: every package of the root package's build on this platform, with
/// its licence, and the licence files that came with them, each once. Those that only tests use
/// are among them, which does no harm.
pub(super) fn of_everything_linked(ws: &Workspace) -> Result<String> {
    let mut command = ws.cargo();
    command.args(["metadata", "--format-version", "1", "--locked"]);
    command.args(["--filter-platform", "x86_64-unknown-linux-gnu"]);
    let output = command.output().context("cannot run cargo metadata")?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cargo metadata failed:\n{words}");
    let metadata = serde_json::from_slice(&output.stdout)?;
    text(&metadata, files)
}

/// `files` gives the licence files of a package's folder.
fn text(metadata: &Value, files: impl Fn(&Path) -> Vec<String>) -> Result<String> {
    let mut list = String::from("Libraries in these programs, and their licences.\n\n");
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in reachable(metadata, "fewbytes")? {
        let field = |name: &str| package[name].as_str();
        // Packages without a source are this project's own.
        if package["source"].is_null() {
            continue;
        }
        let name = format!("{} {}", field("name").unwrap_or("?"), field("version").unwrap_or("?"));
        let licence = field("license").unwrap_or("see its licence file");
        let _ = writeln!(list, "{name}: {licence}; {}", field("repository").unwrap_or_default());
        let folder = field("manifest_path").and_then(|path| Path::new(path).parent());
        for text in folder.map(&files).unwrap_or_default() {
            texts.entry(text).or_default().insert(name.clone());
        }
    }
    for (text, packages) in texts {
        let packages = packages.into_iter().collect::<Vec<_>>().join(", ");
        let _ = write!(list, "\n{:=<80}\n{packages}\n\n{}\n", "", text.trim_end());
    }
    Ok(list)
}

/// The package and all that it depends on, sorted by name and version.
fn reachable<'a>(metadata: &'a Value, root: &str) -> Result<Vec<&'a Value>> {
    let packages = metadata["packages"].as_array().context("cargo metadata has no packages")?;
    let nodes = metadata["resolve"]["nodes"].as_array().context("cargo metadata has no graph")?;
    let root = packages.iter().find(|p| p["name"] == root && p["source"].is_null());
    let mut waiting = vec![root.with_context(|| "the root package is not there")?["id"].clone()];
    let mut seen = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if seen.insert(id.to_string()) {
            let node = nodes.iter().find(|node| node["id"] == id);
            let node = node.with_context(|| format!("the graph has no {id}"))?;
            waiting.extend(node["dependencies"].as_array().into_iter().flatten().cloned());
        }
    }
    let mut found: Vec<_> =
        packages.iter().filter(|p| seen.contains(&p["id"].to_string())).collect();
    found.sort_by_key(|p| (p["name"].to_string(), p["version"].to_string()));
    Ok(found)
}

fn files(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let is_licence = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        ["LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE"]
            .iter()
            .any(|start| name.starts_with(start))
    };
    let mut paths: Vec<_> =
        entries.flatten().map(|e| e.path()).filter(|p| p.is_file() && is_licence(p)).collect();
    paths.sort();
    paths.iter().filter_map(|path| fs::read_to_string(path).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_reachable_is_listed_and_equal_texts_appear_once() {
        let package = |name: &str, source: Value| {
            json!({"name": name, "version": "1.0.0", "id": name, "source": source,
                "license": "MIT", "repository": "https://example.org",
                "manifest_path": format!("/{name}/Cargo.toml")})
        };
        let metadata = json!({
            "packages": [package("fewbytes", Value::Null), package("b", json!("registry")),
                package("a", json!("registry")), package("stranger", json!("registry"))],
            "resolve": {"nodes": [
                {"id": "fewbytes", "dependencies": ["a"]},
                {"id": "a", "dependencies": ["b"]},
                {"id": "b", "dependencies": ["a"]},
                {"id": "stranger", "dependencies": []}]}
        });
        let text = text(&metadata, |folder| match folder.to_str() {
            Some("/a") => vec!["permission".to_owned(), "notice".to_owned()],
            _ => vec!["permission".to_owned()],
        });
        let text = text.unwrap();
        assert!(text.contains("a 1.0.0: MIT; https://example.org\nb 1.0.0: MIT"), "{text}");
        assert!(text.contains("a 1.0.0, b 1.0.0\n\npermission"), "{text}");
        assert!(text.contains("a 1.0.0\n\nnotice"), "{text}");
        assert!(!text.contains("stranger") && !text.contains("fewbytes 1"), "{text}");
        assert!(super::text(&json!({}), |_| Vec::new()).is_err());
    }
}
