//! LNQ on trained weights and what really went into them.
//!
//! `FEWBYTES_DATA` names the folder of real data; `../shared/data` beside this package by default.
//! A feed-forward layer of all-MiniLM-L6-v2 and a down projection of SmolLM2-135M come with the
//! inputs of 128 tokens, fewer than the layers have inputs: their Hessians have rank 128 at most.
//! Files that are missing are named, and a seeded layer takes their place. There are no gradients
//! among the data; the guided objective has seeded chi-square numbers in the place of their squares,
//! which weight tokens as unevenly, and says nothing of an end loss. `--nocapture` shows the table.

#[path = "fixtures/matrix.rs"]
mod matrix;
#[path = "fixtures/smollm.rs"]
mod smollm;

use comfy_table::{CellAlignment, Table, presets};
use fewbytes::linear::file::DenseFile;
use fewbytes::linear::{
    Hessian, HessianAccumulator, LabelStep, LnqOptions, LnqReport, Phase, Precision,
    QuantizeOptions, Quantized, TableElement, Weights, lnq, objectives, quantize,
    round_with_feedback,
};
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};

const MINILM: &str = "models/minilm_l6_layer3_ffn.f32.safetensors";

/// Groups of the guided objective.
const GROUPS: usize = 4;

/// A layer's weights `[rows, cols]` and inputs `[tokens, cols]`.
struct Layer {
    name: String,
    rows: usize,
    cols: usize,
    values: Vec<f32>,
    tokens: Vec<f32>,
}

impl Layer {
    fn weights(&self) -> Weights<'_> {
        Weights::new(&self.name, self.rows, self.cols, &self.values, None).unwrap()
    }

    /// `X^T X`, or with chi-square numbers in the place of squared gradients.
    fn hessian(&self, guided: bool) -> Hessian {
        let groups = if guided { GROUPS } else { 1 };
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        let mut square = || -> f32 {
            let normal: f32 = StandardNormal.sample(&mut rng);
            normal * normal
        };
        let count = self.tokens.len() / self.cols * groups;
        let s: Option<Vec<f32>> = guided.then(|| (0..count).map(|_| square()).collect());
        let mut sums = HessianAccumulator::new(&self.name, self.cols, groups).unwrap();
        sums.add_batch(&self.tokens, s.as_deref()).unwrap();
        sums.finish().unwrap()
    }

    /// The first rows by themselves.
    fn first(&self, rows: usize) -> Self {
        let values = self.values[..rows * self.cols].to_vec();
        Self { name: self.name.clone(), values, tokens: self.tokens.clone(), rows, ..*self }
    }
}

/// Both matrices of the feed-forward layer.
fn minilm(bytes: &[u8]) -> Vec<Layer> {
    let file = DenseFile::parse(MINILM, bytes).unwrap();
    [("intermediate", "ffn1_in"), ("output", "ffn2_in")]
        .map(|(layer, input)| {
            let tensor = format!("encoder.layer.3.{layer}.dense.weight");
            let shape = file.matrices().into_iter().find(|shape| shape.name == tensor).unwrap();
            let (rows, cols) = (shape.rows, shape.cols);
            let [values, tokens] = [&tensor, input].map(|name| file.values(name).unwrap());
            Layer { name: format!("minilm {layer}"), rows, cols, values, tokens }
        })
        .into()
}

/// The down projection of block 9. Its weights are those of a checkpoint of 4 bits.
fn down(model: &[u8], trace: &[u8]) -> Layer {
    let (rows, values) = smollm::matrix(model, "blk.9.ffn_down.weight");
    let trace = DenseFile::parse(smollm::TRACE, trace).unwrap();
    let (name, cols) = ("smollm2 9 down".to_owned(), values.len() / rows);
    Layer { name, rows, cols, values, tokens: trace.values("l9.down_in").unwrap() }
}

/// Heavy-tailed weights; columns of log-normal scale, in which neighbouring inputs are alike.
fn seeded() -> Layer {
    let (rows, cols, tokens) = (48, 200, 800);
    let (values, _) = matrix::heavy_tailed(11, rows * cols);
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(12);
    let mut normal = || -> f32 { StandardNormal.sample(&mut rng) };
    let scales: Vec<f32> = (0..cols).map(|_| normal().exp()).collect();
    let mut last = 0.0;
    let tokens = (0..tokens * cols).map(|at| {
        last = 0.7 * last + normal();
        last * scales[at % cols]
    });
    Layer { name: "seeded".to_owned(), rows, cols, values, tokens: tokens.collect() }
}

fn layers(test: &str) -> Vec<Layer> {
    let mut layers = Vec::new();
    let read = |file| smollm::read(file, &format!("lnq::{test}"));
    if let Some(bytes) = read(MINILM) {
        layers.extend(minilm(&bytes));
    }
    if let (Some(model), Some(trace)) = (read(smollm::MODEL), read(smollm::TRACE)) {
        layers.push(down(&model, &trace));
    }
    if layers.is_empty() {
        layers.push(seeded());
    }
    for layer in &layers {
        assert_eq!(layer.values.len(), layer.rows * layer.cols, "{}", layer.name);
        assert!(layer.tokens.len().is_multiple_of(layer.cols) && !layer.tokens.is_empty());
    }
    layers
}

/// Clusters of the weights, each weighted with its place on the diagonal.
fn clusters(layer: &Layer, hessian: &Hessian, bits: u8) -> Quantized {
    let share = layer.rows / hessian.groups();
    let diagonal: Vec<f32> =
        (0..hessian.groups()).flat_map(|group| hessian.diagonal(group).repeat(share)).collect();
    let (rows, cols) = (layer.rows, layer.cols);
    let weights = Weights::new(&layer.name, rows, cols, &layer.values, Some(&diagonal)).unwrap();
    let table = TableElement::F32;
    let options =
        QuantizeOptions { seed_bits: bits, parent_bits: bits, table, ..Default::default() };
    quantize(&weights, &options).unwrap()
}

fn sum(layer: &Layer, hessian: &Hessian, quantized: &Quantized) -> f64 {
    objectives(&layer.weights(), hessian, quantized).unwrap().iter().sum()
}

/// The objective of a layer of zeros.
fn energy(layer: &Layer, hessian: &Hessian) -> f64 {
    let mut zeros = clusters(layer, hessian, 2);
    zeros.tables[0].1.fill(0.0);
    sum(layer, hessian, &zeros)
}

/// Every half step leaves every row as good as it was.
fn assert_falls(what: &str, report: &LnqReport, slack: f64) {
    let halves = || report.steps.iter().filter(|step| step.phase != Phase::Rounded);
    assert!(halves().count() > 2);
    for (before, after) in halves().zip(halves().skip(1)) {
        for (row, (before, after)) in before.rows.iter().zip(&after.rows).enumerate() {
            assert!(*after <= before * (1.0 + slack), "{what}, row {row}: {before} to {after}");
        }
        assert!(after.objective() <= before.objective() * (1.0 + slack), "{what}");
    }
}

#[test]
fn lnq_ends_below_clusters_and_below_rounding_with_feedback() {
    let test = "lnq_ends_below_clusters_and_below_rounding_with_feedback";
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header([
        "layer",
        "objective",
        "bits",
        "clusters, %",
        "rounding with feedback, %",
        "LNQ, feedback, %",
        "LNQ, %",
        "of clusters",
        "restored",
    ]);
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for layer in layers(test) {
        for guided in [false, true] {
            let hessian = layer.hessian(guided);
            let energy = energy(&layer, &hessian);
            for bits in [2, 3, 4] {
                let objective = if guided { "guided" } else { "plain" };
                let what = format!("{} {objective} {bits} bits", layer.name);
                let start = clusters(&layer, &hessian, bits);
                let rounded = round_with_feedback(&layer.weights(), &hessian, &start).unwrap();
                let [start, rounded] = [&start, &rounded].map(|q| sum(&layer, &hessian, q));
                let run = |labels| {
                    let options = LnqOptions { bits, labels, ..LnqOptions::default() };
                    let done = lnq(&layer.weights(), &hessian, &options).unwrap();
                    assert_falls(&what, &done.report, 1e-6);
                    assert!((done.report.before() - start).abs() <= 1e-5 * start, "{what}");
                    let exact = sum(&layer, &hessian, &done.quantized);
                    assert!((done.report.after() - exact).abs() <= 1e-9 * exact, "{what}");
                    (exact, done.report.steps.iter().map(|step| step.restored).sum::<usize>())
                };
                let (feedback, _) = run(LabelStep::Feedback);
                let (after, restored) = run(LabelStep::Descent);
                assert!(after < start, "{what}: {after}, clusters {start}");
                assert!(after < rounded, "{what}: {after}, rounded {rounded}");
                assert!(feedback < start, "{what}: {feedback}, clusters {start}");
                let percent = |f: f64| format!("{:.4}", 100.0 * f / energy);
                table.add_row([
                    format!("{} {} x {}", layer.name, layer.rows, layer.cols),
                    objective.to_owned(),
                    bits.to_string(),
                    percent(start),
                    percent(rounded),
                    percent(feedback),
                    percent(after),
                    format!("{:.3}", after / start),
                    restored.to_string(),
                ]);
            }
        }
    }
    println!("squared error of the output, as a share of the output's own square\n{table}");
}

#[test]
fn nothing_rises_in_doubles() {
    for layer in layers("nothing_rises_in_doubles") {
        let layer = layer.first(48);
        for guided in [false, true] {
            let hessian = layer.hessian(guided);
            for bits in [2, 3, 4] {
                let precision = Precision::F64;
                let options = LnqOptions { bits, precision, ..LnqOptions::default() };
                let done = lnq(&layer.weights(), &hessian, &options).unwrap();
                assert_falls(&format!("{} {bits} bits", layer.name), &done.report, 0.0);
                assert!(done.report.after() < done.report.before());
            }
        }
    }
}

/// The objective is a sum over the tokens that were used; what counts are others.
#[test]
fn what_is_gained_holds_on_tokens_left_out() {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header([
        "layer",
        "tokens",
        "bits",
        "clusters, %",
        "rounding with feedback, %",
        "LNQ, %",
        "rounding damped, %",
        "LNQ damped, %",
        "of clusters",
    ]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for layer in layers("what_is_gained_holds_on_tokens_left_out") {
        let layer = layer.first(48);
        let count = layer.tokens.len() / layer.cols * 3 / 4;
        let of = |tokens: &[f32]| {
            Layer { tokens: tokens.to_vec(), ..layer.first(layer.rows) }.hessian(false)
        };
        let (used, unused) = layer.tokens.split_at(count * layer.cols);
        let (seen, unseen) = (of(used), of(unused));
        let energy = energy(&layer, &unseen);
        for bits in [2, 3, 4] {
            let start = clusters(&layer, &seen, bits);
            let rounded = round_with_feedback(&layer.weights(), &seen, &start).unwrap();
            let options = LnqOptions { bits, ..LnqOptions::default() };
            let run = |h| lnq(&layer.weights(), h, &options).unwrap().quantized;
            let more = seen.damped(1.0).unwrap();
            let rounded_more = round_with_feedback(&layer.weights(), &more, &start).unwrap();
            let all = [start, rounded, run(&seen), rounded_more, run(&more)];
            let all = all.map(|q| 100.0 * sum(&layer, &unseen, &q) / energy);
            let [start, rounded, plain, _, damped] = all;
            // Damping is for too few tokens.
            let best = if count < layer.cols { damped } else { plain };
            let what = format!("{} {bits} bits: {all:?}", layer.name);
            assert!(best < start && best < rounded, "{what}");
            let name = format!("{} {} x {}", layer.name, layer.rows, layer.cols);
            let cells = all.map(|percent| format!("{percent:.4}"));
            let ratio = format!("{:.3}", best / start);
            let front = vec![name, count.to_string(), bits.to_string()];
            table.add_row([front, cells.to_vec(), vec![ratio]].concat());
        }
    }
    println!("squared error of the output for the other quarter of the tokens\n{table}");
}
