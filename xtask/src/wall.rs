//! The wall: the kernel crate names no GPU API, depends on none, and has only its three default
//! dependencies.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// The package behind the wall.
const PACKAGE: &str = "fewbytes";

/// What it depends on with no feature turned on.
const DEFAULT_DEPENDENCIES: [&str; 3] = ["bytemuck", "half", "thiserror"];

/// Lists everything that the package can ever pull in: every feature, every platform.
pub(crate) const TREE: [&str; 12] = [
    "tree",
    "--package",
    PACKAGE,
    "--edges",
    "normal,build",
    "--all-features",
    "--target",
    "all",
    "--prefix",
    "none",
    "--format",
    "{p}",
];

/// GPU APIs and bindings to them. `naga` is not among them: it compiles shaders and talks to no
/// GPU.
const FORBIDDEN: [&str; 19] = [
    "ash",
    "cl-sys",
    "cl3",
    "cubecl",
    "cudarc",
    "cust",
    "d3d12",
    "erupt",
    "gl",
    "glow",
    "glutin",
    "khronos-egl",
    "metal",
    "ocl",
    "opencl3",
    "vk-mem",
    "vulkanalia",
    "web-sys",
    "windows",
];
const FORBIDDEN_PREFIXES: [&str; 6] =
    ["wgpu", "objc2", "vulkano", "gpu-alloc", "gpu-descriptor", "cubecl-"];

/// The word that may not stand in code behind the wall.
const WORD: &str = "wgpu";

/// The one name that holds it and is no API's: what naga calls its own extension of WGSL, which
/// shaders with cooperative matrices have to enable.
const EXTENSION: &str = "wgpu_cooperative_matrix";

/// Fails with every breach there is. `tree` is what cargo answers to [`TREE`].
pub(crate) fn check(root: &Path, metadata: &Value, tree: &str) -> Result<()> {
    let mut breaches = forbidden_in(tree)?;
    breaches.extend(default_dependency_breach(metadata)?);
    let mut files = Vec::new();
    for folder in ["src", "shaders"] {
        collect(&root.join(folder), &mut files)?;
    }
    ensure!(
        files.iter().any(|f| f.extension().is_some_and(|e| e == "rs")),
        "there is no Rust source behind the wall"
    );
    for file in files {
        let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let path = file.strip_prefix(root).unwrap_or(&file).display().to_string();
        let is_rust = file.extension().is_some_and(|e| e == "rs");
        for line in named_in(&String::from_utf8_lossy(&bytes), is_rust) {
            breaches.push(format!("{path}:{line} names {WORD} in code"));
        }
    }
    if !breaches.is_empty() {
        bail!("the wall is breached:\n    {}", breaches.join("\n    "));
    }
    Ok(())
}

fn forbidden_in(tree: &str) -> Result<Vec<String>> {
    let names: BTreeSet<&str> = tree.lines().filter_map(|l| l.split_whitespace().next()).collect();
    // An empty or misread answer must not pass for an innocent one.
    ensure!(
        names.contains(PACKAGE) && names.contains(DEFAULT_DEPENDENCIES[0]),
        "cargo tree's answer is not a tree of {PACKAGE}:\n{tree}"
    );
    let forbidden =
        |n: &&str| FORBIDDEN.contains(n) || FORBIDDEN_PREFIXES.iter().any(|p| n.starts_with(p));
    Ok(names.into_iter().filter(forbidden).map(|n| format!("{PACKAGE} depends on {n}")).collect())
}

fn default_dependency_breach(metadata: &Value) -> Result<Option<String>> {
    let packages = metadata["packages"].as_array().context("cargo metadata has no packages")?;
    let package = packages
        .iter()
        .find(|p| p["name"] == PACKAGE)
        .with_context(|| format!("no package {PACKAGE}"))?;
    let dependencies =
        package["dependencies"].as_array().context("cargo metadata has no dependencies")?;
    // `kind` is null for normal dependencies; build scripts count as well, dev-dependencies do not.
    let ours = dependencies.iter().filter(|d| d["kind"] != "dev" && d["optional"] == false);
    let names: BTreeSet<&str> = ours.filter_map(|d| d["name"].as_str()).collect();
    let wanted = BTreeSet::from(DEFAULT_DEPENDENCIES);
    let list = |set: &BTreeSet<&str>| set.iter().copied().collect::<Vec<_>>().join(", ");
    Ok((names != wanted).then(|| {
        format!(
            "{PACKAGE} depends by default on {}; it may depend on {} only",
            list(&names),
            list(&wanted)
        )
    }))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?
    {
        let path = entry?.path();
        if path.is_dir() { collect(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

/// The lines (from 1) on which the word stands outside comments.
fn named_in(text: &str, is_rust: bool) -> Vec<usize> {
    let code = without_comments(text, is_rust).to_lowercase().replace(EXTENSION, "");
    code.lines().enumerate().filter(|(_, l)| l.contains(WORD)).map(|(i, _)| i + 1).collect()
}

/// `text` without its comments, line for line. Rust and WGSL comment alike (block comments nest in
/// both), but only Rust has strings, in which two slashes start no comment.
fn without_comments(text: &str, is_rust: bool) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let (length, keep) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), false)
        } else if rest.starts_with("/*") {
            (block_comment(rest), false)
        } else if is_rust {
            (string(rest, code.chars().next_back()).unwrap_or(c.len_utf8()), true)
        } else {
            (c.len_utf8(), true)
        };
        let (piece, after) = rest.split_at(length);
        match keep {
            true => code.push_str(piece),
            false => code.extend(piece.chars().filter(|c| *c == '\n')),
        }
        rest = after;
    }
    code
}

/// The length of the block comment that `text` begins with.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0usize, 0usize);
    while let Some(rest) = text.get(at..).filter(|r| !r.is_empty()) {
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The length of the string or character literal that `text` begins with, after the character
/// `before`.
fn string(text: &str, before: Option<char>) -> Option<usize> {
    let closed = |from: usize, end: &str| {
        text[from..].find(end).map_or(text.len(), |i| from + i + end.len())
    };
    let escaped = |quote: char| {
        let mut characters = text.char_indices().skip(1);
        while let Some((i, c)) = characters.next() {
            match c {
                '\\' => drop(characters.next()),
                c if c == quote => return i + c.len_utf8(),
                _ => {}
            }
        }
        text.len()
    };
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    match text.as_bytes() {
        // r"..." and r#"..."#; the b or c before the r has been passed already.
        [b'r', ..] if !in_word || before.is_some_and(|c| c == 'b' || c == 'c') => {
            let hashes = text[1..].bytes().take_while(|b| *b == b'#').count();
            let open = 1 + hashes;
            text[open..]
                .starts_with('"')
                .then(|| closed(open + 1, &format!("\"{}", "#".repeat(hashes))))
        }
        [b'"', ..] => Some(escaped('"')),
        [b'\'', b'\\', ..] => Some(escaped('\'')),
        // 'x' is a character, 'x without a second quote is a lifetime.
        [b'\'', ..] => {
            let inside = text[1..].chars().next()?.len_utf8();
            text[1 + inside..].starts_with('\'').then_some(inside + 2)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const INNOCENT: &str = "fewbytes v0.1.0 (/repo)\nbytemuck v1.25.2\nhalf v2.7.1\nnaga v30.0.1\nwindows-sys v0.61.0\n";

    #[test]
    fn a_tree_without_gpu_apis_passes() {
        assert_eq!(forbidden_in(INNOCENT).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn every_gpu_api_in_a_tree_is_named_once() {
        let tree = format!(
            "{INNOCENT}wgpu-hal v30.0.1\nash v0.38.0\nash v0.38.0 (*)\nobjc2-metal v0.3.2\nashpd v1.0.0\n"
        );
        let breaches = forbidden_in(&tree).unwrap();
        assert_eq!(
            breaches,
            [
                "fewbytes depends on ash",
                "fewbytes depends on objc2-metal",
                "fewbytes depends on wgpu-hal"
            ]
        );
    }

    #[test]
    fn an_empty_tree_is_no_proof() {
        assert!(forbidden_in("").is_err());
        assert!(forbidden_in("warning: nothing to print").is_err());
    }

    fn package(dependencies: Value) -> Value {
        json!({"packages": [{"name": "xtask", "dependencies": []}, {"name": "fewbytes", "dependencies": dependencies}]})
    }

    #[test]
    fn default_dependencies_are_exactly_three() {
        let dependency = |name: &str, kind: Value, optional: bool| json!({"name": name, "kind": kind, "optional": optional});
        let mut dependencies: Vec<Value> =
            DEFAULT_DEPENDENCIES.iter().map(|n| dependency(n, Value::Null, false)).collect();
        dependencies.push(dependency("naga", Value::Null, true));
        dependencies.push(dependency("wgpu", json!("dev"), false));
        assert_eq!(default_dependency_breach(&package(json!(dependencies))).unwrap(), None);

        let fewer = default_dependency_breach(&package(json!(dependencies[1..]))).unwrap().unwrap();
        assert!(fewer.contains("by default on half, thiserror;"), "{fewer}");
        dependencies.push(dependency("cc", json!("build"), false));
        let more = default_dependency_breach(&package(json!(dependencies))).unwrap().unwrap();
        assert!(more.contains("bytemuck, cc, half"), "{more}");
        assert!(default_dependency_breach(&json!({"packages": []})).is_err());
    }

    #[test]
    fn comments_may_name_the_api_and_code_may_not() {
        let rust = "//! as wgpu does\nuse wgpu::Device; // wgpu\n/* wgpu /* wgpu */ wgpu\n wgpu */ struct WgpuThing;\n";
        assert_eq!(named_in(rust, true), [2, 4]);
        let wgsl = "// wgpu\nfn wgpu_id() -> u32 { return 1u; } /* wgpu */\n";
        assert_eq!(named_in(wgsl, false), [2]);
    }

    #[test]
    fn the_extension_of_the_language_may_be_named_and_hides_nothing() {
        let rust =
            "let a = \"enable wgpu_cooperative_matrix;\";\nwgpu::wgpu_cooperative_matrix();\n";
        assert_eq!(named_in(rust, true), [2]);
    }

    #[test]
    fn strings_do_not_hide_code() {
        let rust = "let a = \"http://x\"; wgpu();\nlet b = '\"'; // wgpu\nlet c = r#\"\" // \"#; wgpu();\nlet d: &'static str = \"\\\" /* \"; // wgpu\nlet e = \"wgpu\";\nlet f = b'\\''; // wgpu\n";
        assert_eq!(named_in(rust, true), [1, 3, 5]);
    }

    #[test]
    fn comments_are_cut_line_for_line_in_any_script() {
        assert_eq!(without_comments("a /* ü\n*/ b // ö\nc", true), "a \n b \nc");
        assert_eq!(without_comments("a /* open", true), "a ");
        assert_eq!(without_comments("ä \"open // ", true), "ä \"open // ");
    }
}
