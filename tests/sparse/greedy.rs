//! Greedy search through the host's operations, on the adapter that `FEWBYTES_ADAPTER` names.

use crate::device;

use fewbytes::attention::greedy_runs::reference;
use fewbytes::attention::sparse::greedy::Low;
use fewbytes::attention::sparse::{HeadColumns, IndexMap};
use fewbytes::attention::{GreedyHits, GreedyRuns};
use fewbytes::linear::Activation;
use fewbytes::{Error, Knobs};
use fewbytes_wgpu::ops::greedy_runs::{Index, Outputs};
use fewbytes_wgpu::ops::{greedy_hits, greedy_runs};
use fewbytes_wgpu::{Context, Features, View};
use half::f16;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

const ROWS: usize = 512;
/// The row that every component of the query points at.
const NEEDLE: usize = 137;

/// Keys of one head among which is the query, larger; sorted by columns, with their rows.
fn planted(q: &[f32], rng: &mut StdRng) -> (Vec<f16>, Vec<u16>) {
    let (mut sorted, mut order) = (Vec::new(), Vec::new());
    for q in q {
        let number = |row| {
            let key = if row == NEEDLE { 2.0 * q } else { rng.random_range(-0.25..0.25) };
            f16::from_f32(key)
        };
        let mut column: Vec<_> = (0..ROWS).map(number).zip(0u16..).collect();
        column.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        sorted.extend(column.iter().map(|(number, _)| *number));
        order.extend(column.iter().map(|(_, row)| *row));
    }
    (sorted, order)
}

fn words<T: bytemuck::NoUninit>(ctx: &Context, elements: &[T]) -> View {
    ctx.upload(&bytemuck::pod_collect_to_vec::<T, u32>(elements)).unwrap()
}

fn spec(map: &IndexMap, budget: u32, low: Low) -> GreedyRuns {
    GreedyRuns { index: *map.shape(), tokens: 1, group: 1, input: Activation::F32, low, budget }
}

#[test]
fn a_planted_row_is_found_again_and_again() {
    let ctx = device::open(Features::Full);
    let mut rng = StdRng::seed_from_u64(9);
    for dim in [32, 64, 128, 256] {
        // No component is small.
        let component = |_| rng.random_range(0.5f32..1.0) * [1.0, -1.0][rng.random_range(0..2)];
        let q: Vec<f32> = (0..dim).map(component).collect();
        let (sorted, order) = planted(&q, &mut rng);
        let mut map = IndexMap::new(dim, &[ROWS as u32]).unwrap();
        map.extend(&[ROWS as u32]).unwrap();
        map.set_budgets(&[dim as u32]).unwrap();
        let index = Index {
            map: words(&ctx, map.words()),
            sorted: words(&ctx, &sorted),
            flags: words(&ctx, &[0u32]),
        };
        let (on_device, order_words) = (ctx.upload(&q).unwrap(), words(&ctx, &order));
        let wide: Vec<u32> = order.iter().map(|row| u32::from(*row)).collect();
        for low in [Low::Cheap, Low::Exact, Low::All] {
            let spec = spec(&map, dim as u32, low);
            let heads: &[HeadColumns] = map.heads();
            let expected = reference(&spec, heads, &q, (&sorted, &wide), &[0]);
            assert_eq!(expected.hits[0].iter().max(), Some(&expected.hits[0][NEEDLE]));
            assert!(expected.hits[0][NEEDLE] > 0, "{dim} {low:?}");
            let outputs = Outputs::new(&ctx, &spec).unwrap();
            for knobs in [Knobs::DEFAULT, Knobs::baseline()] {
                let runs = greedy_runs::plan(&ctx, &spec, &knobs).unwrap();
                let scratch = ctx.alloc::<u8>(runs.scratch_bytes() as usize).unwrap();
                let search = runs.bind(&on_device, &index, &outputs, Some(&scratch)).unwrap();
                let hits = GreedyHits { search: spec };
                let hits = greedy_hits::plan(&ctx, &hits, &Knobs::DEFAULT).unwrap();
                let hits = hits.bind(&on_device, &index, &order_words, &outputs).unwrap();
                let both = search.then(hits);
                for repeat in 0..10 {
                    ctx.submit(|pass| both.record(pass)).unwrap();
                    let read = |view| ctx.block_on(ctx.read::<u32>(view)).unwrap();
                    let name = format!("{dim} {low:?} {knobs:?} {repeat}");
                    assert_eq!(read(&outputs.runs), expected.runs, "{name}");
                    assert_eq!(read(&outputs.found), expected.found, "{name}");
                    let sums = read(&outputs.hits).into_iter().map(|hit| i64::from(hit as i32));
                    assert_eq!(sums.collect::<Vec<_>>(), expected.hits[0], "{name}");
                }
            }
        }
    }
}

#[test]
fn views_that_do_not_fit_are_named() {
    let ctx = device::open(Features::Full);
    let mut map = IndexMap::new(32, &[ROWS as u32]).unwrap();
    map.extend(&[ROWS as u32]).unwrap();
    let spec = spec(&map, 10, Low::Cheap);
    let shape = map.shape();
    let index = Index {
        map: words(&ctx, map.words()),
        sorted: ctx.alloc::<u32>(shape.words() as usize).unwrap(),
        flags: ctx.alloc::<u32>(1).unwrap(),
    };
    let q = ctx.alloc::<f32>(32).unwrap();
    let outputs = Outputs::new(&ctx, &spec).unwrap();
    let runs = greedy_runs::plan(&ctx, &spec, &Knobs::DEFAULT).unwrap();
    let hits = greedy_hits::plan(&ctx, &GreedyHits { search: spec }, &Knobs::DEFAULT).unwrap();
    runs.bind(&q, &index, &outputs, None).unwrap();
    let order = ctx.alloc::<u32>(shape.order_words() as usize).unwrap();
    hits.bind(&q, &index, &order, &outputs).unwrap();

    let named = |error: Error, what: &str| {
        assert!(matches!(error, Error::Shape { .. }), "{error}");
        assert!(error.to_string().contains(what), "{error}");
    };
    let halves = ctx.alloc::<f16>(32).unwrap();
    let short = ctx.alloc::<u32>(3).unwrap();
    named(runs.bind(&halves, &index, &outputs, None).err().unwrap(), "queries");
    named(hits.bind(&q, &index, &short, &outputs).err().unwrap(), "rows of sorted columns");
    let wrong = Index { sorted: short.clone(), ..index.clone() };
    named(runs.bind(&q, &wrong, &outputs, None).err().unwrap(), "sorted columns");
    let wrong = Outputs { hits: short, ..outputs };
    named(runs.bind(&q, &index, &wrong, None).err().unwrap(), "hits");
    let exact = GreedyRuns { low: Low::Exact, ..spec };
    let runs = greedy_runs::plan(&ctx, &exact, &Knobs::DEFAULT).unwrap();
    let outputs = Outputs::new(&ctx, &exact).unwrap();
    named(runs.bind(&q, &index, &outputs, None).err().unwrap(), "scratch memory");
}
