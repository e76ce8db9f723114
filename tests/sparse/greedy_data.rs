//! Greedy search of real keys: SmolLM2-135M, 4096 tokens, layers 9 and 29.
//!
//! `FEWBYTES_DATA` names the folder of real data; `../shared/data` beside this package by default. A file
//! that is missing is named. `--nocapture` shows the table.

use crate::smollm_trace;

use comfy_table::{Table, presets};
use fewbytes::attention::sparse::greedy::{Found, Grid, Low, plan, search};
use half::f16;
use smollm_trace::{AFTER, DIM, HEADS, QUERY_HEADS, layers};
use std::collections::BTreeSet;

const GROUP: usize = QUERY_HEADS / HEADS;
/// Tokens that ask, the last ones.
const ASKED: usize = 2;

/// A head's columns as an index has them: numbers ascending, with their rows.
fn columns(keys: &[f32]) -> Vec<Vec<(f32, u32)>> {
    let number = |key: &f32| {
        let key = f16::from_f32(*key);
        if key.to_f32().abs() < f16::MIN_POSITIVE.to_f32() { 0.0 } else { key.to_f32() }
    };
    let column = |j: usize| {
        let numbers = keys.iter().skip(j).step_by(DIM).map(number);
        let mut column: Vec<_> = numbers.zip(0u32..).collect();
        column.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        column
    };
    (0..DIM).map(column).collect()
}

/// Products of every column, from the largest.
fn products(columns: &[Vec<(f32, u32)>], q: &[f32]) -> Vec<Vec<(i64, u32)>> {
    let largest: Vec<f32> = columns
        .iter()
        .map(|column| column.iter().fold(0.0f32, |largest, (k, _)| largest.max(k.abs())))
        .collect();
    let grid = Grid::of(q, &largest).expect("finite queries and keys");
    let of = |j: usize| {
        let factor = grid.factor(q[j], largest[j]);
        let product = |&(k, row): &(f32, u32)| (i64::from(Grid::product(factor, k)), row);
        let mut all: Vec<_> = columns[j].iter().map(product).collect();
        if factor >= 0.0 {
            all.reverse();
        }
        all
    };
    (0..DIM).map(of).collect()
}

#[test]
fn thresholds_find_what_the_queue_finds_of_real_keys() {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["layer", "steps", "searches", "candidates", "cheap alike", "overlap"]);
    let test = "greedy::thresholds_find_what_the_queue_finds_of_real_keys";
    for (layer, name) in layers(AFTER, test).iter().zip(["9", "29"]) {
        let asked = &layer.q[layer.q.len() - ASKED * QUERY_HEADS * DIM..];
        let heads: Vec<_> = (0..HEADS)
            .map(|head| {
                let keys = layer.cache.head(head).unwrap().keys;
                (keys.len() / DIM, columns(&keys))
            })
            .collect();
        for share in [2, 8] {
            let (mut searches, mut candidates, mut alike) = (0, 0.0, 0);
            let (mut common, mut all) = (0, 0);
            for (row, q) in asked.chunks(DIM).enumerate() {
                let (rows, columns) = &heads[row % QUERY_HEADS / GROUP];
                let products = products(columns, q);
                let steps = (rows / share) as u64;
                let expected = search(&products, *rows, steps);
                let found = |low| plan(&products, steps, low).found(&products, *rows);
                assert_eq!(found(Low::Exact), expected, "layer {name}, query {row}");
                let cheap = found(Low::Cheap);
                assert!(cheap.low_steps >= expected.low_steps, "layer {name}, query {row}");
                let set = |found: &Found| found.candidates().into_iter().collect::<BTreeSet<_>>();
                let [exact, cheap_set] = [set(&expected), set(&cheap)];
                searches += 1;
                candidates += exact.len() as f64 / *rows as f64;
                alike += usize::from(cheap == expected);
                common += exact.intersection(&cheap_set).count();
                all += exact.union(&cheap_set).count();
            }
            let overlap = common as f64 / all as f64;
            assert!(overlap >= 0.999, "layer {name}, {share}: {common} of {all}");
            table.add_row([
                name.to_owned(),
                format!("rows / {share}"),
                searches.to_string(),
                format!("{:.3}", candidates / f64::from(searches)),
                alike.to_string(),
                format!("{overlap:.5}"),
            ]);
        }
    }
    println!("{table}");
}
