//! What storing real keys and values in few bits costs, and evicting them.
//!
//! `FEWBYTES_DATA` names the folder of real data; `../shared/data` beside this package by default.
//! Keys, values and queries of layers 9 and 29 of SmolLM2-135M come from 4096 tokens; those of the last
//! four are asked. A file that is missing is named. `--nocapture` shows the tables.

// The model's weights are not asked for here.
#[allow(dead_code)]
#[path = "fixtures/smollm.rs"]
mod smollm;

use comfy_table::{Table, presets};
use fewbytes::attention::reference::{
    Attended, Logits, Queries, decode_attention, decode_merge, decode_split, weights,
};
use fewbytes::attention::{CacheShape, KeepLists, KvCache, KvElement, Layout, Planner, RESERVE};
use half::f16;

const TOKENS: usize = 4096;
const HEADS: usize = 3;
const QUERY_HEADS: usize = 9;
const GROUP: usize = QUERY_HEADS / HEADS;
const DIM: usize = 64;
const Q_LEN: usize = 4;

struct Layer {
    name: &'static str,
    keys: Vec<f32>,
    values: Vec<f32>,
    /// Of the last [`Q_LEN`] tokens.
    q: Vec<f32>,
}

/// A tensor of f16 of the trace.
fn tensor(file: &[u8], name: &str) -> Vec<f32> {
    let size = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&file[8..8 + size]).unwrap();
    assert_eq!(header[name]["dtype"], "F16", "{name}");
    let offset = |at: usize| header[name]["data_offsets"][at].as_u64().unwrap() as usize;
    let bytes = &file[8 + size + offset(0)..8 + size + offset(1)];
    bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
}

fn layers(test: &str) -> Vec<Layer> {
    let Some(file) = smollm::read(smollm::TRACE, &format!("attention::{test}")) else {
        return Vec::new();
    };
    let read = |name: &'static str| {
        let of = |part: &str| tensor(&file, &format!("{name}.{part}"));
        let q = of("q");
        let q = q[q.len() - Q_LEN * QUERY_HEADS * DIM..].to_vec();
        Layer { name, keys: of("k"), values: of("v"), q }
    };
    ["l9", "l29"].map(read).into()
}

impl Layer {
    fn cache(&self, element: KvElement) -> KvCache {
        let shape = CacheShape::new(HEADS, DIM, element).unwrap();
        let mut cache = KvCache::new(Layout::plain(shape, TOKENS as u32).unwrap()).unwrap();
        cache.append(&self.keys, &self.values).unwrap();
        cache
    }

    fn queries(&self) -> Queries<'_> {
        let logits = Logits::scaled(1.0 / (DIM as f64).sqrt());
        Queries { q: &self.q, q_len: Q_LEN, query_heads: QUERY_HEADS, logits, window: None }
    }

    /// Query number `row` of all.
    fn query(&self, row: usize) -> &[f32] {
        &self.q[row * DIM..(row + 1) * DIM]
    }
}

/// The largest difference, and the root of the mean square of differences over that of the first.
fn difference(a: &[f64], b: &[f64]) -> (f64, f64) {
    let largest = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    let squares: f64 = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum();
    (largest, (squares / a.iter().map(|a| a * a).sum::<f64>()).sqrt())
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|v| f64::from(*v)).collect()
}

/// By how much rows may be off: half a step, and what rounding of the scale takes from the ends.
fn step(element: KvElement, row: &[f32]) -> f64 {
    let low = row.iter().copied().fold(f32::MAX, f32::min);
    let high = row.iter().copied().fold(f32::MIN, f32::max);
    let magnitude = f64::from(low.abs().max(high.abs()));
    match element {
        // The trace is of f16.
        KvElement::F32 | KvElement::F16 => 0.0,
        KvElement::Bf16 => magnitude / 256.0,
        KvElement::Int8 => magnitude / 127.0 * 0.501 + magnitude / 2048.0,
        KvElement::Int4 => f64::from(high - low) * (0.501 / 15.0 + 1.0 / 2048.0),
    }
}

#[test]
fn few_bits_move_outputs_no_further_than_they_move_logits_and_values() {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["layer", "element", "bytes", "keys rms", "values rms", "o rms", "o max"]);
    for layer in layers("few_bits") {
        let queries = layer.queries();
        let exact = decode_attention(&queries, &layer.cache(KvElement::F32)).unwrap();
        for element in KvElement::ALL {
            let cache = layer.cache(element);
            let found = decode_attention(&queries, &cache).unwrap();
            let [mut keys, mut values] = [vec![0.0; layer.keys.len()], vec![0.0; layer.keys.len()]];
            for head in 0..HEADS {
                let data = cache.head(head).unwrap();
                for token in 0..TOKENS {
                    let at = (token * HEADS + head) * DIM..(token * HEADS + head + 1) * DIM;
                    let rows = [(&data.keys, &layer.keys), (&data.values, &layer.values)];
                    for (stored, row) in rows {
                        let stored = &stored[token * DIM..(token + 1) * DIM];
                        let off = difference(&wide(&row[at.clone()]), &wide(stored)).0;
                        assert!(off <= step(element, &row[at.clone()]), "{element:?}: {off}");
                    }
                    keys[at.clone()].copy_from_slice(&data.keys[token * DIM..(token + 1) * DIM]);
                    values[at].copy_from_slice(&data.values[token * DIM..(token + 1) * DIM]);
                }
            }
            assert_bounded(&layer, (&keys, &values), (&exact, &found));
            let rms = |a: &[f32], b: &[f32]| difference(&wide(a), &wide(b)).1;
            let (most, of_output) = difference(&exact.o, &found.o);
            table.add_row([
                layer.name.to_owned(),
                element.name().to_owned(),
                cache.shape().bytes((TOKENS * HEADS) as u32).to_string(),
                format!("{:.2e}", rms(&layer.keys, &keys)),
                format!("{:.2e}", rms(&layer.values, &values)),
                format!("{of_output:.2e}"),
                format!("{most:.2e}"),
            ]);
        }
    }
    println!("{table}");
}

/// Logits that are off by at most `d` have weights whose sum of differences is at most `e^2d - 1`.
fn assert_bounded(
    layer: &Layer,
    (keys, values): (&[f32], &[f32]),
    (exact, found): (&Attended, &Attended),
) {
    let logits = layer.queries().logits;
    for row in 0..Q_LEN * QUERY_HEADS {
        let head = row % QUERY_HEADS / GROUP;
        let (mut off, mut off_values, mut largest) = (0.0f64, 0.0f64, 0.0f64);
        for token in 0..TOKENS {
            let at = (token * HEADS + head) * DIM..(token * HEADS + head + 1) * DIM;
            let [a, b] = [&layer.keys, keys].map(|k| logits.of(layer.query(row), &k[at.clone()]));
            off = off.max((a - b).abs());
            let (a, b) = (&layer.values[at.clone()], &values[at]);
            off_values = off_values.max(difference(&wide(a), &wide(b)).0);
            largest = a.iter().fold(largest, |largest, v| largest.max(f64::from(v.abs())));
        }
        let at = row * DIM..(row + 1) * DIM;
        let moved = difference(&exact.o[at.clone()], &found.o[at]).0;
        let bound = (2.0 * off).exp_m1() * largest + off_values;
        assert!(moved <= bound * (1.0 + 1e-9) + 1e-12, "query {row}: {moved}, bound {bound}");
        let moved = (exact.lse[row] - found.lse[row]).abs();
        assert!(moved <= off * (1.0 + 1e-9) + 1e-9, "query {row}: lse by {moved}");
    }
}

#[test]
fn evicted_weight_bounds_what_real_outputs_move() {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header([
        "layer",
        "kept",
        "lengths",
        "weight gone, max",
        "bound, max",
        "o moved, max",
    ]);
    for layer in layers("evicted_weight") {
        let cache = layer.cache(KvElement::F16);
        let mut queries = layer.queries();
        // The newest token alone, so that every row is seen.
        (queries.q_len, queries.q) = (1, &layer.q[layer.q.len() - QUERY_HEADS * DIM..]);
        let exact = decode_attention(&queries, &cache).unwrap();
        let data: Vec<_> = (0..HEADS).map(|head| cache.head(head).unwrap()).collect();
        let of_query: Vec<Vec<f64>> = (0..QUERY_HEADS)
            .map(|h| {
                let q = &queries.q[h * DIM..(h + 1) * DIM];
                weights(q, &data[h / GROUP].keys, &queries.logits)
            })
            .collect();
        let score = |head: usize, row: usize| {
            let group = head * GROUP..(head + 1) * GROUP;
            group.map(|h| of_query[h][row]).fold(0.0, f64::max)
        };
        let mut ranked: Vec<(usize, usize)> =
            (0..HEADS).flat_map(|head| (0..TOKENS).map(move |row| (head, row))).collect();
        ranked.sort_by(|a, b| score(b.0, b.1).total_cmp(&score(a.0, a.1)));
        for tenths in [9, 5, 3, 1] {
            let kept = &ranked[..ranked.len() * tenths / 10];
            let mut lists = vec![Vec::new(); HEADS];
            kept.iter().for_each(|(head, row)| lists[*head].push(*row as u32));
            lists.iter_mut().for_each(|list| list.sort_unstable());
            let keep = KeepLists::new(&lists, &cache.layout().lengths()).unwrap();
            let evicted = cache.compact(&keep, RESERVE).unwrap();
            let found = decode_attention(&queries, &evicted).unwrap();
            let (mut gone, mut bounds, mut moves) = (0.0f64, 0.0f64, 0.0f64);
            for (h, weights) in of_query.iter().enumerate() {
                let head = h / GROUP;
                let left: f64 = lists[head].iter().map(|row| weights[*row as usize]).sum();
                let values = data[head].values.iter().map(|v| f64::from(v.abs()));
                let bound = 2.0 * (1.0 - left) * values.fold(0.0, f64::max);
                let at = h * DIM..(h + 1) * DIM;
                let moved = difference(&exact.o[at.clone()], &found.o[at]).0;
                assert!(moved <= bound + 1e-12, "query head {h}: {moved}, bound {bound}");
                (gone, bounds, moves) = (gone.max(1.0 - left), bounds.max(bound), moves.max(moved));
            }
            for planner in Planner::ALL {
                let plan = planner.plan_layout(evicted.layout(), 24).unwrap();
                let states = decode_split(&queries, &evicted, &plan).unwrap();
                let merged = decode_merge(&queries, &evicted, &plan, &states).unwrap();
                assert!(difference(&found.o, &merged.o).0 < 1e-12);
            }
            table.add_row([
                layer.name.to_owned(),
                format!("{}%", tenths * 10),
                format!("{:?}", evicted.layout().lengths()),
                format!("{gone:.2e}"),
                format!("{bounds:.2e}"),
                format!("{moves:.2e}"),
            ]);
        }
    }
    println!("{table}");
}
