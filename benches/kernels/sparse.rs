//! Attention to few of the rows: what finds them.

use crate::{Device, row_with};
use criterion::{BenchmarkId, Criterion};
use fewbytes::Knobs;
use fewbytes::attention::score_rows::Scored;
use fewbytes::attention::score_rows::reference::image;
use fewbytes::attention::sparse::{
    Amount, COUNTS, FLAGS, INDEX_MAP, IndexMap, LISTS, Lists, Mode, PICKED, SCORES, SUMS,
    Selection, Share, SparseStep, TOPS, Tail,
};
use fewbytes::attention::{
    AttendRows, AttendScored, Attending, CacheShape, ComponentScores, DecodeQueries, KvElement,
    Layout, Listed, ROW_MAP, RowMap, ScoreRows, TopRows,
};
use fewbytes::linear::Activation;

/// A cache of 8 heads of 128, with 4 query heads each or one; 32 components, and 4096 rows a list.
const HEADS: u32 = 8;
const DIM: usize = 128;
const COMPONENTS: u32 = 32;
/// Workgroups that attend to lists.
const WORKGROUPS: u32 = 264;
/// The part of the largest weight that a row's has to be: A^3's conservative setting.
const KEEP: f32 = 0.05;

/// Logits as a head of moderate sharpness has them: of few exponents.
fn logits(len: u64) -> Vec<f32> {
    let mut state = 1u32;
    let mut draw = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..len).map(|_| 6.0 * (draw() + draw() + draw() + draw()) - 8.0).collect()
}

/// One step of each kernel over a long cache.
pub(crate) fn choosing(criterion: &mut Criterion) {
    let ctx = Device::open();
    let (context, capacity) = if ctx.is_software() { (2048, 256) } else { (65_536, 4096) };
    println!("{}: a token behind {context}, lists of {capacity}", ctx.describe());
    let upload = |words: &[u32]| ctx.upload(words).expect("a buffer");
    let shape = CacheShape::new(HEADS as usize, DIM, KvElement::F16).expect("a shape");
    let kept = [context; HEADS as usize];
    let layout = Layout::ragged(shape, &kept, 16, context).expect("a layout");
    let map = RowMap::new(&layout, &[]).expect("a map");
    let mut index = IndexMap::new(DIM, &kept).expect("an index");
    index.extend(&kept).expect("room");
    index.set_budgets(&[capacity - 8; HEADS as usize]).expect("budgets");
    let words = [
        (ROW_MAP, upload(map.words())),
        (INDEX_MAP, upload(index.words())),
        (FLAGS, upload(&[0; HEADS as usize])),
    ];
    for group in [1, 4] {
        let (share, sinks, causal) = (Share::Group, 4, true);
        let lists = Lists { tokens: 1, heads: HEADS, group, share, capacity, sinks, causal };
        let queries =
            DecodeQueries { input: Activation::F16, ..DecodeQueries::new(&shape, group as usize) };
        let rows = u64::from(HEADS) * u64::from(context);
        let components = ComponentScores {
            index: *index.shape(),
            lists,
            components: COMPONENTS,
            scale: queries.scale,
            input: Activation::F16,
            tail: Tail::Mean,
            rows,
        };
        let id = BenchmarkId::new(format!("G{group}"), context);
        let knobs = Knobs::default();
        let mut benches = criterion.benchmark_group("component_scores");
        row_with(&mut benches, &ctx, id.clone(), &components, &knobs, &words[1..2]);
        benches.finish();

        let top = TopRows::of_components(&components, *map.shape());
        let scores = ctx.upload(&logits(top.scores_len())).expect("a buffer");
        let others = [&words[..], &[(SCORES, scores)]].concat();
        let mut benches = criterion.benchmark_group("top_rows");
        row_with(&mut benches, &ctx, id.clone(), &top, &knobs, &others);
        benches.finish();

        let scored = Scored::Seen { map: *map.shape(), stride: context };
        let tensor_rows = layout.rows();
        let all = ScoreRows { shape, tensor_rows, queries, lists, scored, rows };
        let mut benches = criterion.benchmark_group("score_rows");
        row_with(&mut benches, &ctx, id.clone(), &all, &knobs, &words[..1]);
        // Every sixteenth row.
        let listed: Vec<u32> = (0..HEADS * capacity).map(|at| at * (context / capacity)).collect();
        let counts = [capacity, 0, 0, 0].repeat(HEADS as usize);
        let rows = u64::from(HEADS) * u64::from(capacity);
        let some = ScoreRows { scored: Scored::Listed, rows, ..all };
        let others = [(LISTS, upload(&listed)), (COUNTS, upload(&counts))];
        let id_of_lists = BenchmarkId::new(format!("G{group} listed"), capacity);
        row_with(&mut benches, &ctx, id_of_lists.clone(), &some, &knobs, &others);
        benches.finish();

        // Whole outputs: the merge of the parts is in both.
        let splits = AttendRows::usual_splits(&lists, WORKGROUPS);
        let attend = AttendRows { shape, tensor_rows, queries, lists, splits, rows };
        let listed = Listed { attend: Attending::Rows(attend), rest: None };
        let mut benches = criterion.benchmark_group("attend_rows");
        row_with(&mut benches, &ctx, id_of_lists.clone(), &listed, &knobs, &others);
        benches.finish();

        let picked = logits(u64::from(lists.query_rows()) * u64::from(capacity));
        let (tops, kept) = keeping(&picked, &lists);
        let share = KEEP;
        let attend = AttendScored { shape, tensor_rows, queries, lists, splits, share, rows, kept };
        let listed = Listed { attend: Attending::Scored(attend), rest: None };
        let picked = ctx.upload(&picked).expect("a buffer");
        let others = [&others[..], &[(TOPS, upload(&tops)), (PICKED, picked)]].concat();
        let mut benches = criterion.benchmark_group("attend_scored");
        row_with(&mut benches, &ctx, id_of_lists, &listed, &knobs, &others);
        benches.finish();

        // As many rows are found as lists had above; what finds them leaves the lists.
        let (r, k) = (COMPONENTS, Amount::Count(capacity - 8));
        let step = SparseStep {
            shape,
            tensor_rows,
            queries,
            map: *map.shape(),
            index: Some(*index.shape()),
            lists,
            mode: Mode { selection: Selection::ComponentTopR { r, k }, tail: Tail::Mean },
            splits,
            rows: context,
        };
        let sums = vec![0.0f32; usize::try_from(index.shape().sums_len()).expect("a length")];
        let sums = ctx.upload(&sums).expect("a buffer");
        let others = [&words[..], &[(SUMS, sums)]].concat();
        let mut benches = criterion.benchmark_group("sparse_step");
        let id = BenchmarkId::new(format!("G{group} components"), context);
        row_with(&mut benches, &ctx, id, &step, &knobs, &others);
        benches.finish();
    }
}

/// The largest logit of each query row as an integer of the same order, and how many listed rows some query row
/// keeps.
fn keeping(picked: &[f32], lists: &Lists) -> (Vec<u32>, u64) {
    let capacity = lists.capacity as usize;
    let below = -KEEP.log2();
    let largest = |row: &[f32]| row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let tops: Vec<f32> = picked.chunks_exact(capacity).map(largest).collect();
    let queries = lists.queries() as usize;
    let of_lists = picked.chunks_exact(queries * capacity).zip(tops.chunks_exact(queries));
    let kept = of_lists.map(|(list, tops)| {
        let keeps = |at: usize| {
            let mut logits = list.chunks_exact(capacity).map(|row| row[at]).zip(tops);
            logits.any(|(x, top)| x >= top - below)
        };
        (0..capacity).filter(|at| keeps(*at)).count() as u64
    });
    let kept = kept.sum();
    (tops.into_iter().map(image).collect(), kept)
}
