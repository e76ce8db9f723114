//! Searching an index of sorted columns greedily.

use crate::{Device, row_with};
use criterion::{BenchmarkId, Criterion};
use fewbytes::Knobs;
use fewbytes::attention::decode::Q;
use fewbytes::attention::sparse::greedy::{Grid, Low};
use fewbytes::attention::sparse::{FLAGS, FOUND, INDEX_MAP, IndexMap, ORDER, RUNS, SORTED};
use fewbytes::attention::{GreedyHits, GreedyRuns};
use fewbytes::linear::Activation;
use half::f16;

/// 8 heads of 128, with 4 query heads each.
const HEADS: u32 = 8;
const GROUP: u32 = 4;
const DIM: usize = 128;

/// Columns of one curve, some wider than others: numbers near 0 are frequent.
fn column(j: usize, rows: u32) -> impl Iterator<Item = f16> {
    let wide = [1.0, 0.5, 2.0, 0.75, 1.25, 0.875, 4.0][j % 7];
    (0..rows).map(move |i| {
        let x = (2 * i + 1) as f32 / rows as f32 - 1.0;
        f16::from_f32(wide * x * (0.2 + x * x))
    })
}

/// A step of decoding: as many steps as an eighth of the rows, and as half of them.
pub(crate) fn searches(criterion: &mut Criterion) {
    let ctx = Device::open();
    // A power of two.
    let rows: u32 = if ctx.is_software() { 1024 } else { 32_768 };
    println!("{}: a search of {HEADS} x {rows} rows", ctx.describe());
    let upload = |words: &[u32]| ctx.upload(words).expect("a buffer");
    let mut map = IndexMap::new(DIM, &[rows; HEADS as usize]).expect("a map");
    map.extend(&[rows; HEADS as usize]).expect("rows");
    let columns = || (0..HEADS as usize * DIM).map(|j| j % DIM);
    let sorted: Vec<f16> = columns().flat_map(|j| column(j, rows)).collect();
    let order: Vec<u16> = columns()
        // Another order of each column.
        .flat_map(|j| {
            (0..rows)
                .map(move |i| (i.wrapping_mul(2_654_435_761).wrapping_add(j as u32) % rows) as u16)
        })
        .collect();
    let sorted = upload(bytemuck::cast_slice(&sorted));
    let order = upload(bytemuck::cast_slice(&order));
    let q: Vec<f32> = (0..(HEADS * GROUP) as usize * DIM)
        .map(|at| ((at * 37 % 101) as f32 / 50.0 - 1.0) * if at % 3 == 0 { 2.0 } else { 0.5 })
        .collect();
    let grid = Grid::of(&q[..DIM], &[4.8; DIM]).expect("a grid");
    let q = ctx.upload(&q).expect("a buffer");
    for share in [8, 2] {
        let budget = rows / share;
        map.set_budgets(&[budget; HEADS as usize]).expect("budgets");
        let words = upload(map.words());
        let shape = *map.shape();
        let search = GreedyRuns {
            index: shape,
            tokens: 1,
            group: GROUP,
            input: Activation::F32,
            low: Low::Cheap,
            budget,
        };
        let others = [
            (Q, q.clone()),
            (INDEX_MAP, words),
            (SORTED, sorted.clone()),
            (FLAGS, upload(&[0; HEADS as usize])),
        ];
        let id = BenchmarkId::new(format!("1/{share}"), rows);
        let mut group = criterion.benchmark_group("greedy_runs");
        row_with(&mut group, &ctx, id.clone(), &search, &Knobs::default(), &others);
        group.finish();

        // Of every column as much.
        let length = budget / DIM as u32;
        let runs: Vec<u32> =
            (0..search.runs_len() / 4).flat_map(|_| [rows - length, length, 0, length]).collect();
        let found: Vec<u32> = (0..search.query_rows())
            .flat_map(|_| [0, budget, grid.exponent as u32, budget])
            .collect();
        let [q, map, sorted, _] = others;
        let others = [
            q,
            map,
            sorted,
            (ORDER, order.clone()),
            (RUNS, upload(&runs)),
            (FOUND, upload(&found)),
        ];
        let mut group = criterion.benchmark_group("greedy_hits");
        let spec = GreedyHits { search };
        row_with(&mut group, &ctx, id, &spec, &Knobs::default(), &others);
        group.finish();
    }
}
