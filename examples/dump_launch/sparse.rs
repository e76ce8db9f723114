//! The kernels that find rows and attend to few of them, by name, and whole steps of them.

use crate::attention::{CacheArguments, Finding, described};
use crate::kernels::{Described, boxed};
use anyhow::Result;
use fewbytes::attention::score_rows::Scored;
use fewbytes::attention::sparse::greedy::Low;
use fewbytes::attention::sparse::{
    Amount, IndexMap, Lists, Mode, Selection, Share, SparseStep, Tail,
};
use fewbytes::attention::{
    AttendRows, AttendScored, CacheShape, ComponentScores, DecodeQueries, GreedyHits, GreedyRuns,
    RowMap, ScoreRows, TopRows,
};
use fewbytes::linear::Activation;
use serde_json::json;

pub(crate) const NAMES: [&str; 8] = [
    // Over an index with room for the context, searching for half of its rows.
    "greedy_runs",
    "greedy_hits",
    "component_scores",
    "top_rows",
    // Of all rows.
    "score_rows",
    "attend_rows",
    "attend_scored",
    // What finds rows and what attends to them, one after the other.
    "sparse_step",
];

/// First rows of every head that are listed whatever is found.
const SINKS: u32 = 4;
/// The part of the largest weight that attend_scored keeps rows of: A^3's conservative setting.
const SHARE: f32 = 0.05;

/// A kernel of [`NAMES`], with an index that covers all that the first token sees.
pub(crate) fn describe(kernel: &str, f16: bool, arguments: &CacheArguments) -> Result<Described> {
    let &CacheArguments { kv_heads, head_dim, context, kept, .. } = arguments;
    let shape = CacheShape::new(kv_heads, head_dim, arguments.element.into())?;
    let input = if f16 { Activation::F16 } else { Activation::F32 };
    let tokens = arguments.tokens.unwrap_or(1);
    let layout = arguments.layout(shape, tokens)?;
    let queries = DecodeQueries {
        q_len: tokens as usize,
        input,
        output: input,
        ..DecodeQueries::new(&shape, arguments.group)
    };
    let tensor_rows = layout.rows();
    let map = RowMap::new(&layout, &[])?;
    let mut index = IndexMap::new(head_dim, &vec![context; kv_heads])?;
    index.extend(&vec![context; kv_heads])?;
    let longest = layout.lengths().into_iter().max().unwrap_or(0).next_multiple_of(4);
    // A search that finds nothing lists all rows.
    let whole = kernel == "sparse_step" && !matches!(arguments.mode, Finding::Components);
    let room = if kernel == "sparse_step" { kept.saturating_add(SINKS + tokens) } else { kept };
    let capacity = if whole { longest } else { room.next_multiple_of(4) };
    let lists = Lists {
        tokens,
        heads: index.shape().heads,
        group: u32::try_from(arguments.group)?,
        share: match arguments.mode {
            Finding::TopK if kernel == "sparse_step" => Share::Query,
            _ => Share::Group,
        },
        capacity: capacity.max(4),
        sinks: SINKS,
        causal: true,
    };
    let splits = AttendRows::usual_splits(&lists, arguments.workgroups);
    let rows = layout.lengths().iter().map(|len| u64::from(*len)).sum();
    let listed = u64::from(kept) * u64::from(lists.count());
    let search = GreedyRuns {
        index: *index.shape(),
        tokens,
        group: lists.group,
        input,
        low: Low::Cheap,
        budget: context / 2,
    };
    let components = ComponentScores {
        index: *index.shape(),
        lists,
        components: arguments.components,
        scale: queries.scale,
        input,
        tail: Tail::None,
        rows,
    };
    let scored = Scored::Seen { map: *map.shape(), stride: longest };
    let step = SparseStep {
        shape,
        tensor_rows,
        queries,
        map: *map.shape(),
        index: Some(*index.shape()),
        lists,
        mode: mode(arguments),
        splits,
        rows: longest,
    };
    let budget = match kernel {
        "greedy_runs" | "greedy_hits" => Amount::Count(search.budget),
        "sparse_step" => step.budget().unwrap_or(Amount::Count(0)),
        _ => Amount::Count(kept),
    };
    index.set_budgets(&vec![u32::try_from(budget.of(context))?; kv_heads])?;
    let spec = match kernel {
        "greedy_runs" => boxed(search),
        "greedy_hits" => boxed(GreedyHits { search }),
        "component_scores" => boxed(components),
        "top_rows" => boxed(TopRows::of_components(&components, *map.shape())),
        "score_rows" => boxed(ScoreRows { shape, tensor_rows, queries, lists, scored, rows }),
        "attend_rows" => {
            boxed(AttendRows { shape, tensor_rows, queries, lists, splits, rows: listed })
        }
        "attend_scored" => {
            let (share, rows, kept) = (SHARE, listed, listed);
            boxed(AttendScored { shape, tensor_rows, queries, lists, splits, share, rows, kept })
        }
        _ => boxed(step),
    };
    let layout = json!({
        "cache": described(&layout),
        "row_map": map.words(),
        "index_map": index.words(),
    });
    Described::of(&layout, spec)
}

/// How a whole step finds rows.
fn mode(arguments: &CacheArguments) -> Mode {
    let k = Amount::Count(arguments.kept);
    match arguments.mode {
        Finding::Components => {
            let selection = Selection::ComponentTopR { r: arguments.components, k };
            Mode { selection, tail: Tail::Mean }
        }
        Finding::Greedy => Mode::conservative(),
        Finding::TopK => Mode::new(Selection::TopK { k }),
    }
}
