//! What sections of their own have in common: a device after another, a text, and one file.

use crate::checks;
use crate::options::Cli;
use anyhow::{Context as _, Result};
use fewbytes_wgpu::{Context, describe, wgpu};
use serde::Serialize;

/// Measures every adapter and prints what was found, which goes into the file for figures as well.
/// `measured` gets the device's description; `experimental` is whether it is opened with features that
/// wgpu calls so.
pub(crate) fn run<F: Serialize>(
    cli: &Cli,
    chosen: &[wgpu::Adapter],
    experimental: bool,
    measured: impl Fn(&Context, &Cli, String) -> Result<F>,
    text: impl Fn(&F) -> String,
) -> Result<Vec<F>> {
    let mut all = Vec::new();
    for adapter in chosen {
        let name = describe(&adapter.get_info());
        let ctx = pollster::block_on(Context::open_on(adapter, checks::features(experimental)))
            .with_context(|| format!("cannot open {name}"))?;
        let ctx = if cli.unchecked { checks::unchecked(ctx) } else { ctx };
        println!("{name}");
        let found = measured(&ctx, cli, name)?;
        println!("{}", text(&found));
        all.push(found);
    }
    if let Some(path) = &cli.json {
        let text = serde_json::to_string_pretty(&all)? + "\n";
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("figures    {}", path.display());
    }
    Ok(all)
}
