//! What a file of residuals holds.

use crate::report;
use anyhow::{Context as _, Result, ensure};
use fewbytes::linear::file::{ResidualFile, ResidualHeader};

/// Prints every layer, after checking all of it.
pub(crate) fn inspect(name: &str, bytes: &[u8]) -> Result<()> {
    let file = ResidualFile::parse(name, bytes).context("nothing to inspect")?;
    let (mut rows, mut failures) = (Vec::new(), Vec::new());
    let (mut channels, mut scales) = (0, 0);
    for (layer, header) in file.layers() {
        match check(&file, layer, header) {
            Ok((row, sizes)) => {
                (channels, scales) = (channels + sizes[0], scales + sizes[1]);
                rows.push(row);
            }
            // All that fail are named at once.
            Err(error) => failures.push(error.to_string()),
        }
    }
    let count = rows.len() + failures.len();
    ensure!(failures.is_empty(), "in {name}, {}", report::failures(&failures, count));

    let size = report::size(bytes.len() as u64);
    println!("{name}: residuals, {}, {size}", report::count(count, "layer"));
    if let Some(settings) = file.settings() {
        println!("made with {settings}");
    }
    println!();
    let header = ["layer", "shape", "element", "thresholds", "norms", "bytes", "a channel"];
    let mut table = report::table(header.map(String::from).to_vec(), 5);
    table.add_rows(rows);
    println!("{}", table.trim_fmt());
    let [channels, scales] = [channels, scales].map(report::size);
    println!("\n{channels} of host memory for the channels, {scales} of scales");
    Ok(())
}

/// The cells of one layer, and the bytes of its channels and scales.
fn check(
    file: &ResidualFile<'_>,
    name: &str,
    header: &ResidualHeader,
) -> fewbytes::Result<([String; 7], [u64; 2])> {
    let residual = file.layer(name)?;
    file.thresholds(name)?;
    file.norms(name)?;
    let layout = residual.layout();
    let word = |there: bool| if there { "yes" } else { "no" }.to_owned();
    let cells = [
        name.to_owned(),
        format!("{} x {}", layout.rows(), layout.cols()),
        layout.element().name().to_owned(),
        word(header.thresholds),
        word(header.norms),
        layout.bytes().to_string(),
        layout.bytes_of(1).to_string(),
    ];
    Ok((cells, [layout.bytes(), 2 * residual.scales().len() as u64]))
}
