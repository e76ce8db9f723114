//! Which channels the selectors find on real activations, and what giving those back is worth.
//!
//! `FEWBYTES_DATA` names the folder of real data; `../shared/data` beside this package by default.
//! What went into the linear layers 9 and 29 of SmolLM2-135M comes with 128 tokens: everything that is
//! calibrated is calibrated on the first 64, and measured on the other 64. The weights are those of a
//! checkpoint of 4 bits, here quantized to 3: errors are relative to that checkpoint. Files that are
//! missing are named. Seeded layers with moving outliers are there in any case. `--nocapture` shows the
//! tables.

#[path = "fixtures/matrix.rs"]
mod matrix;
#[path = "fixtures/smollm.rs"]
mod smollm;

use comfy_table::{CellAlignment, Table, presets};
use fewbytes::linear::file::DenseFile;
use fewbytes::linear::select::{Budget, CHUNK, Norms, Ranking, Selector, ThresholdsAccumulator};
use fewbytes::linear::{QuantizeOptions, Weights, quantize};
use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

const K_CHUNKS: [usize; 6] = [4, 8, 16, 32, 64, 128];

/// Inputs `[tokens, cols]` of a linear layer.
struct Inputs {
    name: String,
    cols: usize,
    tokens: Vec<f32>,
}

impl Inputs {
    fn new(name: &str, cols: usize, tokens: Vec<f32>) -> Self {
        assert!(tokens.len().is_multiple_of(2 * cols) && !tokens.is_empty(), "{name}");
        Self { name: name.to_owned(), cols, tokens }
    }

    /// The tokens of calibration.
    fn first(&self) -> &[f32] {
        &self.tokens[..self.tokens.len() / 2]
    }

    /// The tokens that are measured.
    fn rest(&self) -> impl Iterator<Item = &[f32]> {
        self.tokens[self.tokens.len() / 2..].chunks_exact(self.cols)
    }

    /// The channels with the largest mean square in calibration, for all tokens.
    fn fixed(&self, budget: &Budget) -> Vec<u32> {
        let mut squares = vec![0.0f32; self.cols];
        for x in self.first().chunks_exact(self.cols) {
            squares.iter_mut().zip(x).for_each(|(sum, x)| *sum += x * x);
        }
        choose(&Selector::Exact, &squares, budget)
    }

    fn bucket32(&self) -> Selector {
        let mut calibration = ThresholdsAccumulator::new(&self.name, self.cols).unwrap();
        calibration.add_batch(self.first()).unwrap();
        Selector::Bucket32(calibration.finish().unwrap())
    }
}

/// Weights `[rows, cols]` and what goes into them.
struct Layer {
    name: String,
    rows: usize,
    values: Vec<f32>,
    inputs: Inputs,
}

/// Log-normal magnitudes; half a percent of the channels are 20 to 100 times as large, half of those
/// others at every token.
fn seeded_inputs(cols: usize) -> Inputs {
    let mut rng = ChaCha8Rng::seed_from_u64(cols as u64);
    let outliers = cols.div_ceil(400);
    let stay = rand::seq::index::sample(&mut rng, cols, outliers);
    let tokens = (0..128).flat_map(|_| {
        let mut token: Vec<f32> = (0..cols)
            .map(|_| {
                let normal: f32 = StandardNormal.sample(&mut rng);
                if rng.random() { normal.exp() } else { -normal.exp() }
            })
            .collect();
        let moving = rand::seq::index::sample(&mut rng, cols, outliers);
        for channel in stay.iter().chain(moving.iter()) {
            token[channel] *= rng.random_range(20.0..100.0f32);
        }
        token
    });
    let tokens = tokens.collect();
    Inputs::new("seeded", cols, tokens)
}

fn seeded_layers() -> Vec<Layer> {
    let layer = |cols| {
        let (rows, inputs) = (96, seeded_inputs(cols));
        let (values, _) = matrix::heavy_tailed(cols as u64, rows * cols);
        Layer { name: "seeded".to_owned(), rows, values, inputs }
    };
    [576, 2600].map(layer).into()
}

/// The linear layers whose inputs were recorded, one for each input.
fn real_layers(test: &str) -> Vec<Layer> {
    let read = |file| smollm::read(file, &format!("qdec::{test}"));
    let (Some(model), Some(trace)) = (read(smollm::MODEL), read(smollm::TRACE)) else {
        return Vec::new();
    };
    let trace = DenseFile::parse(smollm::TRACE, &trace).unwrap();
    let mut layers = Vec::new();
    for block in [9, 29] {
        for (input, weights) in [
            ("attn_in", "attn_q"),
            ("o_in", "attn_output"),
            ("ffn_in", "ffn_up"),
            ("down_in", "ffn_down"),
        ] {
            let (rows, values) = smollm::matrix(&model, &format!("blk.{block}.{weights}.weight"));
            let cols = values.len() / rows;
            let tokens = trace.values(&format!("l{block}.{input}")).unwrap();
            assert_eq!(tokens.len(), 128 * cols);
            let inputs = Inputs::new(&format!("{block} {input}"), cols, tokens);
            layers.push(Layer { name: format!("{block} {weights}"), rows, values, inputs });
        }
    }
    layers
}

fn table(front: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    let k_chunks = K_CHUNKS.iter().map(|k_chunk| format!("k_chunk {k_chunk}"));
    table.set_header(front.iter().map(|name| (*name).to_owned()).chain(k_chunks));
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// A selector's channels for a token by their magnitudes.
fn choose(selector: &Selector, x: &[f32], budget: &Budget) -> Vec<u32> {
    selector.select(&Ranking::Magnitude, x, budget).unwrap()
}

/// The share of the exact choice that another finds, over the tokens that were not calibrated on.
fn recall(inputs: &Inputs, budget: &Budget, mut choice: impl FnMut(&[f32]) -> Vec<u32>) -> f64 {
    let (mut found, mut count) = (0, 0);
    for x in inputs.rest() {
        let (exact, taken) = (choose(&Selector::Exact, x, budget), choice(x));
        assert_eq!((taken.len(), exact.len()), (budget.k(), budget.k()));
        found += exact.iter().filter(|channel| taken.contains(channel)).count();
        count += exact.len();
    }
    found as f64 / count as f64
}

/// The most that any choice can find that takes so many of every chunk and no more.
fn findable(inputs: &Inputs, budget: &Budget) -> f64 {
    let (mut found, mut count) = (0, 0);
    for x in inputs.rest() {
        let exact = choose(&Selector::Exact, x, budget);
        for (channels, slots) in budget.chunks() {
            let there = exact.iter().filter(|channel| channels.contains(&(**channel as usize)));
            found += there.count().min(slots.len());
        }
        count += exact.len();
    }
    found as f64 / count as f64
}

#[test]
fn recall_of_the_exact_choice() {
    let mut table = table(&["input", "selector"]);
    let layers = real_layers("recall_of_the_exact_choice");
    for Layer { inputs, .. } in layers.iter().chain(&seeded_layers()) {
        let bucket32 = inputs.bucket32();
        let found = K_CHUNKS.map(|k_chunk| {
            let budget = Budget::new(inputs.cols, k_chunk).unwrap();
            let fixed = inputs.fixed(&budget);
            let by =
                |selector: &Selector| recall(inputs, &budget, |x| choose(selector, x, &budget));
            let (bucket, radix) = (by(&bucket32), by(&Selector::ChunkRadix));
            let fixed = recall(inputs, &budget, |_| fixed.clone());
            let what = format!("{}, k_chunk {k_chunk}: {fixed} {bucket} {radix}", inputs.name);
            // Chunks are all that ChunkRadix loses by, and Bucket32 can find no more.
            assert_eq!(radix, findable(inputs, &budget), "{what}");
            assert!(inputs.cols > CHUNK || radix == 1.0, "{what}");
            assert!(bucket <= radix && bucket >= 0.8 * radix, "{what}");
            assert!(fixed < bucket, "{what}");
            // Six of ten of the largest here are in the second chunk, which gets a third of the places.
            let crowded = inputs.name == "29 down_in" && k_chunk <= 8;
            assert_eq!(bucket >= 0.8, !crowded, "{what}");
            assert_eq!(radix >= 0.8, !crowded, "{what}");
            [fixed, bucket, radix]
        });
        for (way, selector) in ["Static", "Bucket32", "ChunkRadix"].iter().enumerate() {
            let name = format!("{} ({})", inputs.name, inputs.cols);
            let cells = found.map(|recall| format!("{:.3}", recall[way]));
            table.add_row([vec![name, (*selector).to_owned()], cells.to_vec()].concat());
        }
    }
    println!("share of Exact(k) that is found, 64 tokens\n{table}");
}

/// A layer of 3 bits, what that took from it, and its products with the tokens that are measured.
struct Compensated<'a> {
    inputs: &'a Inputs,
    /// `R [rows, cols]`.
    residual: Vec<f32>,
    /// `W x` and `Wq x` of every token.
    products: Vec<[Vec<f64>; 2]>,
}

impl<'a> Compensated<'a> {
    fn new(layer: &'a Layer) -> Self {
        let Layer { name, rows, values, inputs } = layer;
        let weights = Weights::new(name, *rows, inputs.cols, values, None).unwrap();
        let options = QuantizeOptions { seed_bits: 3, parent_bits: 3, ..Default::default() };
        let quantized = quantize(&weights, &options).unwrap();
        let (bits, entries) = &quantized.tables[0];
        assert_eq!(*bits, 3);
        let codes = quantized.codes.iter().enumerate();
        let base: Vec<f32> =
            codes.map(|(at, code)| entries[at / inputs.cols * 8 + usize::from(*code)]).collect();
        let residual = values.iter().zip(&base).map(|(w, q)| w - q).collect();
        let product = |matrix: &[f32], x: &[f32]| -> Vec<f64> {
            let terms =
                |row: &[f32]| row.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
            matrix.chunks_exact(x.len()).map(terms).collect()
        };
        let products = inputs.rest().map(|x| [product(values, x), product(&base, x)]).collect();
        Self { inputs, residual, products }
    }

    /// `y = Wq x + sum over taken channels of R[:, i] x_i`.
    fn output(&self, token: usize, x: &[f32], taken: &[u32]) -> Vec<f64> {
        let mut y = self.products[token][1].clone();
        for (row, y) in self.residual.chunks_exact(x.len()).zip(&mut y) {
            let channels = taken.iter().map(|channel| *channel as usize);
            *y += channels.map(|i| f64::from(row[i]) * f64::from(x[i])).sum::<f64>();
        }
        y
    }

    /// `||W x - y||^2 / ||W x||^2`, both sums over all tokens.
    fn error(&self, mut select: impl FnMut(&[f32]) -> Vec<u32>) -> f64 {
        let (mut error, mut energy) = (0.0, 0.0);
        for (token, x) in self.inputs.rest().enumerate() {
            let full = &self.products[token][0];
            let y = self.output(token, x, &select(x));
            error += full.iter().zip(&y).map(|(full, y)| (full - y).powi(2)).sum::<f64>();
            energy += full.iter().map(|full| full.powi(2)).sum::<f64>();
        }
        error / energy
    }
}

const WAYS: [&str; 7] =
    ["Random", "Static", "Bucket32", "ChunkRadix", "Exact", "Weighted", "Weighted, by chunk"];

/// Errors of all ways to choose channels, at one budget. Random is the mean of 8 draws, of new channels
/// at every token.
fn errors(layer: &Compensated<'_>, budget: &Budget) -> [f64; 7] {
    let cols = budget.cols();
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut random = || {
        layer.error(|_| {
            let taken = rand::seq::index::sample(&mut rng, cols, budget.k());
            taken.iter().map(|channel| channel as u32).collect()
        })
    };
    let fixed = layer.inputs.fixed(budget);
    let norms = Ranking::Weighted(Norms::of_columns(&layer.residual, cols).unwrap());
    let by = |selector: &Selector, ranking: &Ranking| {
        layer.error(|x| selector.select(ranking, x, budget).unwrap())
    };
    [
        (0..8).map(|_| random()).sum::<f64>() / 8.0,
        layer.error(|_| fixed.clone()),
        by(&layer.inputs.bucket32(), &Ranking::Magnitude),
        by(&Selector::ChunkRadix, &Ranking::Magnitude),
        by(&Selector::Exact, &Ranking::Magnitude),
        by(&Selector::Exact, &norms),
        by(&Selector::ChunkRadix, &norms),
    ]
}

#[test]
fn errors_fall_from_random_to_static_to_dynamic_choices() {
    let mut table = table(&["layer", "channels", "none"]);
    let layers = real_layers("errors_fall_from_random_to_static_to_dynamic_choices");
    for layer in layers.iter().chain(&seeded_layers()) {
        let compensated = Compensated::new(layer);
        let cols = layer.inputs.cols;
        let none = compensated.error(|_| Vec::new());
        let found = K_CHUNKS.map(|k_chunk| {
            let errors = errors(&compensated, &Budget::new(cols, k_chunk).unwrap());
            let what = format!("{}, k_chunk {k_chunk}: none {none}, {errors:?}", layer.name);
            let [random, fixed, dynamic @ ..] = errors;
            assert!(none > random && random > fixed, "{what}");
            assert!(dynamic.iter().all(|error| fixed > *error), "{what}");
            let [bucket, radix, exact, ..] = dynamic;
            // Neither buckets nor chunks leave more than a fifth more.
            assert!(bucket <= 1.2 * radix && radix <= 1.2 * exact, "{what}");
            errors
        });
        for (way, name) in WAYS.iter().enumerate() {
            let front = vec![
                format!("{} {} x {cols}", layer.name, layer.rows),
                (*name).to_owned(),
                format!("{:.3}", 100.0 * none),
            ];
            let cells = found.map(|errors| format!("{:.3}", 100.0 * errors[way]));
            table.add_row([front, cells.to_vec()].concat());
        }
    }
    println!("e(k), %: squared error of the output by its own square, 64 tokens\n{table}");
}

#[test]
fn all_channels_give_the_full_product() {
    let layers = real_layers("all_channels_give_the_full_product");
    for layer in layers.iter().chain(&seeded_layers()) {
        let compensated = Compensated::new(layer);
        let cols = layer.inputs.cols;
        let budget = Budget::new(cols, CHUNK).unwrap();
        let norms = Ranking::Weighted(Norms::of_columns(&compensated.residual, cols).unwrap());
        for selector in [Selector::Exact, Selector::ChunkRadix, layer.inputs.bucket32()] {
            for ranking in [&Ranking::Magnitude, &norms] {
                for (token, x) in layer.inputs.rest().enumerate().step_by(16) {
                    let taken = selector.select(ranking, x, &budget).unwrap();
                    assert_eq!(taken.len(), cols);
                    let y = compensated.output(token, x, &taken);
                    for (row, y) in y.iter().enumerate() {
                        let sum = |values: &[f32]| -> f64 {
                            let values = values[row * cols..][..cols].iter().zip(x);
                            values.map(|(r, x)| (f64::from(*r) * f64::from(*x)).abs()).sum()
                        };
                        // The residual is rounded to f32, and sums of three matrices to f64.
                        let residual = sum(&compensated.residual);
                        let rounding = f64::from(f32::EPSILON) / 2.0 * residual
                            + f64::EPSILON
                                * cols as f64
                                * (2.0 * sum(&layer.values) + 2.0 * residual);
                        let full = compensated.products[token][0][row];
                        assert!((y - full).abs() <= rounding, "{} {row}: {y} {full}", layer.name);
                    }
                }
            }
        }
    }
}
