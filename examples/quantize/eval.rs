//! The error at the output of packed layers.

use crate::calibration::Source;
use crate::device::Device;
use crate::options::EvalLayer;
use crate::select::matches;
use crate::{input, inspect, report};
use anyhow::{Context as _, Result, bail, ensure};
use fewbytes::linear::file::{DenseFile, DenseShape};
use fewbytes::linear::{
    Hessian, QuantizeOptions, Quantized, TableElement, TableLayer, Weights, objectives, quantize,
};
use std::collections::HashMap;

/// Prints the error of every layer and width beside that of clusters.
pub(crate) fn eval(options: &EvalLayer) -> Result<()> {
    let bytes = input::map(&options.packed)?;
    let name = options.packed.display().to_string();
    let (_, layers) = inspect::read(&name, &bytes).context("nothing to evaluate")?;
    let dense = input::map(&options.weights)?;
    let dense_name = options.weights.display().to_string();
    let dense = DenseFile::parse(&dense_name, &dense)?;
    let shapes: HashMap<String, DenseShape> =
        dense.matrices().into_iter().map(|shape| (shape.name.clone(), shape)).collect();
    let maps = options.calibration.map()?;
    let source = Source::new(&options.calibration, &maps)?;

    let header = ["layer", "shape", "bits", "average", "clusters", "packed", "ratio", "of output"];
    let mut table = report::table(header.map(String::from).to_vec(), 2);
    let mut any = false;
    for (name, layer) in &layers {
        if !options.layers.is_empty() && !options.layers.iter().any(|p| matches(p, name)) {
            continue;
        }
        let (rows, cols) = (layer.rows(), layer.cols());
        let tensors = [format!("{name}.weight"), name.clone()];
        let Some(shape) = tensors.iter().find_map(|tensor| shapes.get(tensor)) else {
            bail!("no weights of layer {name} in {dense_name}; --layers chooses others");
        };
        ensure!(
            (shape.rows, shape.cols) == (rows, cols),
            "layer {name} is {rows} x {cols}, its weights are {} x {}",
            shape.rows,
            shape.cols
        );
        let values = dense.values(&shape.name)?;
        let found = source.find(name, rows, cols)?;
        let hessian = source.hessian(&found, &Device::Cpu)?;
        let weights = Weights::new(name, rows, cols, &values, None)?;
        for bits in layer.tables().widths().filter(|&b| options.bits.is_none_or(|o| o == b)) {
            any = true;
            let packed = Quantized::unpack(layer, bits)?;
            let clusters = clusters(&weights, &hessian, bits)?;
            let zeros = zeros(&clusters);
            let sum = |q: &Quantized| Ok(objectives(&weights, &hessian, q)?.iter().sum());
            let [before, after, output]: [Result<f64>; 3] = [&clusters, &packed, &zeros].map(sum);
            let (before, after, output) = (before?, after?, output?);
            let average = TableLayer::of_width(layer, bits)?.average_bits();
            table.add_row([
                name.clone(),
                format!("{rows} x {cols}"),
                bits.to_string(),
                format!("{average:.2}"),
                format!("{before:.4e}"),
                format!("{after:.4e}"),
                report::ratio(after, before),
                if output > 0.0 { format!("{:.4} %", 100.0 * after / output) } else { "-".into() },
            ]);
        }
    }
    ensure!(any, "no layer and width to evaluate in {name}; see `inspect`");
    println!("error of the output over the calibration inputs:\n\n{}", table.trim_fmt());
    println!(
        "\nclusters: of this width, weighted with the Hessian's diagonal; of output: share of the \
         output's own square"
    );
    Ok(())
}

/// The clusters that LNQ starts from.
fn clusters(weights: &Weights<'_>, hessian: &Hessian, bits: u8) -> Result<Quantized> {
    let share = weights.rows() / hessian.groups();
    let groups = 0..hessian.groups();
    let diagonal: Vec<f32> = groups.flat_map(|k| hessian.diagonal(k).repeat(share)).collect();
    let (rows, cols, values) = (weights.rows(), weights.cols(), weights.values());
    let weights = Weights::new(weights.name(), rows, cols, values, Some(&diagonal))?;
    let table = TableElement::F32;
    let widths = QuantizeOptions { seed_bits: bits, parent_bits: bits, ..Default::default() };
    Ok(quantize(&weights, &QuantizeOptions { table, ..widths })?)
}

/// A layer that gives nothing: its error is the output itself.
fn zeros(like: &Quantized) -> Quantized {
    let mut zeros = like.clone();
    zeros.tables.iter_mut().for_each(|(_, table)| table.fill(0.0));
    zeros
}
