//! What a packed file, or one of residuals, holds.

use crate::{input, report, residual};
use anyhow::{Context as _, Result};
use fewbytes::linear::file::{PackedFile, read_reference};
use fewbytes::linear::{BitplaneLayer, TableLayer};
use std::path::Path;

/// Prints every layer, after checking all of it.
pub(crate) fn inspect(path: &Path) -> Result<()> {
    let bytes = input::map(path)?;
    let name = path.display().to_string();
    if residual::format_of(&bytes).as_deref() == Some(residual::FORMAT) {
        return residual::inspect(&name, &bytes);
    }
    let (format, layers) = read(&name, &bytes).context("nothing to inspect")?;
    println!(
        "{name}: {format}, {}, {}",
        report::count(layers.len(), "layer"),
        report::size(bytes.len() as u64)
    );
    let file = PackedFile::parse(&name, &bytes).ok();
    if let Some(settings) = file.as_ref().and_then(PackedFile::settings) {
        println!("made with {settings}");
    }
    println!();

    let widths: Vec<u8> =
        (2..=8).filter(|b| layers.iter().any(|l| read_bytes(&l.1, *b).is_some())).collect();
    let mut header: Vec<String> =
        ["layer", "shape", "widths", "table", "bias", "KiB as f16"].map(String::from).to_vec();
    header.extend(widths.iter().map(|b| format!("{b} bits")));
    let mut table = report::table(header, 2);
    for (name, layer) in &layers {
        let mut row = vec![
            name.clone(),
            format!("{} x {}", layer.rows(), layer.cols()),
            widths_of(layer),
            layer.table_element().name().to_owned(),
            if layer.bias().is_some() { "yes" } else { "no" }.to_owned(),
            report::kib(f16_bytes(layer)),
        ];
        let cell = |&b| read_bytes(layer, b).map_or("-".to_owned(), report::kib);
        row.extend(widths.iter().map(cell));
        table.add_row(row);
    }
    println!("{}", table.trim_fmt());

    println!(
        "\nBytes that a product reads, planes and tables, over all layers that have the width:"
    );
    for bits in widths {
        let with = || layers.iter().filter_map(|(_, l)| Some((l, read_bytes(l, bits)?)));
        let read: u64 = with().map(|(_, bytes)| bytes).sum();
        let dense: u64 = with().map(|(l, _)| f16_bytes(l)).sum();
        println!(
            "  {bits} bits  {:>9}  {:>7} of f16",
            report::size(read),
            report::percent(read, dense)
        );
    }
    Ok(())
}

/// The widths of any-precision weights, or the one of a layer of tables, with what a weight takes.
fn widths_of(layer: &BitplaneLayer) -> String {
    let (seed, parent) = (layer.seed_bits(), layer.parent_bits());
    if seed == parent {
        let average = TableLayer::average_bits_of(layer.cols(), seed, layer.table_element());
        format!("{seed} ({average:.2} with tables)")
    } else {
        format!("{seed} to {parent}")
    }
}

pub(crate) fn read(
    name: &str,
    bytes: &[u8],
) -> Result<(&'static str, Vec<(String, BitplaneLayer)>)> {
    let file = match PackedFile::parse(name, bytes) {
        Ok(file) => file,
        // Not ours; if it is not the published layout either, what ours lacks is the better hint.
        Err(error) if !holds_reference(bytes) => return Err(error.into()),
        Err(_) => return Ok(("published layout", read_reference(name, bytes)?)),
    };
    let layers = file.layers().map(|(layer, _)| Ok((layer.to_owned(), file.layer(layer)?)));
    Ok(("packed", layers.collect::<Result<_>>()?))
}

fn holds_reference(bytes: &[u8]) -> bool {
    fewbytes::linear::file::DenseFile::parse("", bytes)
        .is_ok_and(|file| file.tensors().iter().any(|t| t.name.ends_with(".qweight")))
}

fn f16_bytes(layer: &BitplaneLayer) -> u64 {
    2 * (layer.rows() * layer.cols()) as u64
}

/// Bytes of the planes and tables of one width, where the layer has it.
fn read_bytes(layer: &BitplaneLayer, bits: u8) -> Option<u64> {
    let tables = layer.tables().bytes(bits)?.len();
    let plane = layer.planes().len() / usize::from(layer.parent_bits());
    Some((4 * plane * usize::from(bits) + tables) as u64)
}
