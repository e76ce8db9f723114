//! The kernels of caches by name, over a ragged or paged cache of one layer whose heads have as many rows.

use crate::kernels::{Described, boxed};
use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use fewbytes::attention::{
    AppendKv, CacheShape, Decode, DecodeQueries, DecodeSplit, Denominator, GatherKv, KeySpans,
    KvElement, Layout, ListPairs, MaxAttention, Places, Planner, Prefill, RowMap, Schedule,
    ScoreLse, ScoreMax, ScorePlace, SelectPairs, score_merge,
};
use fewbytes::launch::{Caps, Knobs, Launch, Spec};
use fewbytes::linear::Activation;
use serde_json::{Value, json};

pub(crate) const NAMES: [&str; 12] = [
    "append_kv",
    "gather_kv",
    "decode_split",
    "decode_merge",
    // Both, one after the other.
    "decode",
    "prefill",
    "score_lse",
    "score_max",
    // What puts slices of the query rows together.
    "score_merge",
    // Sums and scores, one after the other.
    "max_attention",
    "select_pairs",
    "list_pairs",
];

/// A cache, and what is asked of it.
#[derive(Args)]
pub(crate) struct CacheArguments {
    /// KV heads of a cache.
    #[arg(long, default_value_t = 8)]
    pub(crate) kv_heads: usize,
    /// Query heads that share a KV head.
    #[arg(long, default_value_t = 4)]
    pub(crate) group: usize,
    /// Numbers of a row of a cache.
    #[arg(long, default_value_t = 128)]
    pub(crate) head_dim: usize,
    /// What rows of a cache are stored as.
    #[arg(long, value_enum, default_value = "f16")]
    pub(crate) element: Element,
    /// Rows of every head before the new tokens; positions that select_pairs and list_pairs choose from.
    #[arg(long, default_value_t = 4096)]
    pub(crate) context: u32,
    /// New tokens; else 1 for append_kv and the kernels of decoding, 64 for the others.
    #[arg(long)]
    pub(crate) tokens: Option<u32>,
    /// Rows of a page, for a paged cache instead of a ragged one.
    #[arg(long)]
    page_rows: Option<u32>,
    /// Workgroups that decoding is planned for.
    #[arg(long, default_value_t = 264)]
    pub(crate) workgroups: u32,
    /// Rows of every head that gather_kv copies and list_pairs lists, and of every list of list_rows,
    /// top_rows and what attends to lists; rows that sparse_step finds.
    #[arg(long, default_value_t = 1024)]
    pub(crate) kept: u32,
    /// Components of keys that component_scores reads, and sparse_step with it.
    #[arg(long, default_value_t = 32)]
    pub(crate) components: u32,
    /// How sparse_step finds rows.
    #[arg(long, value_enum, default_value = "components")]
    pub(crate) mode: Finding,
    /// Layers whose pairs select_pairs chooses from.
    #[arg(long, default_value_t = 32)]
    layers: usize,
}

/// [`KvElement`], as an argument.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Element {
    F32,
    F16,
    Bf16,
    Int8,
    Int4,
}

/// [`Selection`](fewbytes::attention::sparse::Selection), as an argument.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Finding {
    /// The best by some components, with the rest estimated.
    Components,
    /// A^3's greedy search, its conservative setting.
    Greedy,
    /// The largest logits.
    TopK,
}

impl From<Element> for KvElement {
    fn from(element: Element) -> Self {
        match element {
            Element::F32 => Self::F32,
            Element::F16 => Self::F16,
            Element::Bf16 => Self::Bf16,
            Element::Int8 => Self::Int8,
            Element::Int4 => Self::Int4,
        }
    }
}

/// [`ScoreMax`] launches it where it cuts the query rows: then it alone.
struct ScoreMerge(ScoreMax);

impl Spec for ScoreMerge {
    fn kernel(&self) -> &'static str {
        score_merge::NAME
    }

    fn launches(&self, caps: &Caps, knobs: &Knobs) -> fewbytes::Result<Vec<Launch>> {
        let knobs = Knobs { slices: knobs.slices.or(Some(2)), ..*knobs };
        let mut launches = self.0.launches(caps, &knobs)?;
        launches.retain(|launch| launch.kernel() == score_merge::NAME);
        Ok(launches)
    }
}

/// A kernel of [`NAMES`].
pub(crate) fn describe(kernel: &str, f16: bool, arguments: &CacheArguments) -> Result<Described> {
    let &CacheArguments { kv_heads, context, kept, layers, .. } = arguments;
    let shape = CacheShape::new(kv_heads, arguments.head_dim, arguments.element.into())?;
    let input = if f16 { Activation::F16 } else { Activation::F32 };
    let one = kernel.starts_with("decode") || kernel == "append_kv";
    let tokens = arguments.tokens.unwrap_or(if one { 1 } else { 64 });
    let layout = arguments.layout(shape, tokens)?;
    let queries = DecodeQueries {
        q_len: tokens as usize,
        input,
        output: input,
        ..DecodeQueries::new(&shape, arguments.group)
    };
    match kernel {
        "select_pairs" => {
            return Ok(Described::plain(SelectPairs::new(layers, kv_heads, context as usize)));
        }
        "list_pairs" => {
            let rows = arguments.listed()?;
            let (n, mask_rows, heads) = (context as usize, layers * kv_heads, kv_heads);
            let spec =
                ListPairs { n, mask_rows, first_row: 0, heads, prefix: 0, appended: 0, rows };
            return Ok(Described::plain(spec));
        }
        "append_kv" => {
            let spec = AppendKv::new(shape, Places::of(&layout), tokens);
            return Described::new(&described(&layout), AppendKv { input, ..spec });
        }
        "gather_kv" => {
            ensure!(kept <= context, "{kept} rows cannot be kept of {context}");
            let to = Layout::ragged(shape, &vec![kept; kv_heads], 512, context)?;
            let places = [&layout, &to].map(Places::of);
            let ([from, to_places], rows) = (places, arguments.listed()?);
            let spec = GatherKv { shape, rows, from, to: to_places, positions: false };
            let both = json!({ "from": described(&layout), "to": described(&to) });
            return Described::new(&both, spec);
        }
        _ => {}
    }
    if kernel.starts_with("decode") {
        let plan = Planner::Stream.plan_layout(&layout, arguments.workgroups)?;
        let schedule = Schedule::new(&plan, &layout, &[])?;
        let spec = DecodeSplit::new(queries, &layout, &schedule)?;
        let spec = match kernel {
            "decode_split" => boxed(spec),
            "decode_merge" => boxed(spec.merge()),
            _ => boxed(Decode(spec)),
        };
        let layout = json!({ "cache": described(&layout), "schedule": schedule.words() });
        return Described::of(&layout, spec);
    }
    let map = RowMap::new(&layout, &[])?;
    let spans = KeySpans { sink: 0, first: 0, rows: context };
    let what = (spans, Denominator::Subset);
    let place = ScorePlace::of_layer(kv_heads, context as usize);
    let max = || ScoreMax::new(queries, &layout, &map, what, place);
    let spec = match kernel {
        "prefill" => boxed(Prefill::new(queries, &layout, &map)?),
        "score_lse" => boxed(ScoreLse::new(queries, &layout, &map, spans)?),
        "score_max" => boxed(max()?),
        "score_merge" => boxed(ScoreMerge(max()?)),
        _ => boxed(MaxAttention(max()?)),
    };
    Described::of(&json!({ "cache": described(&layout), "row_map": map.words() }), spec)
}

impl CacheArguments {
    /// Rows of all lists.
    fn listed(&self) -> Result<u32> {
        Ok(u32::try_from(self.kv_heads as u64 * u64::from(self.kept))?)
    }

    /// As it is once the new tokens' rows have been appended.
    pub(crate) fn layout(&self, shape: CacheShape, tokens: u32) -> Result<Layout> {
        let kept = vec![self.context; shape.kv_heads()];
        let mut layout = match self.page_rows {
            None => Layout::ragged(shape, &kept, tokens.max(1), self.context)?,
            Some(page_rows) => {
                // What is appended is rounded up to whole pages.
                let page = page_rows.max(1);
                let pages =
                    u64::from(self.context.div_ceil(page)) + u64::from(tokens.div_ceil(page));
                let pages = u32::try_from(pages * shape.kv_heads() as u64)?;
                Layout::paged(shape, &kept, page_rows, pages, self.context)?
            }
        };
        layout.append(tokens)?;
        Ok(layout)
    }
}

/// What a kernel is told of where rows lie.
pub(crate) fn described(layout: &Layout) -> Value {
    let view = layout.view();
    json!({
        "rows": layout.rows(),
        "row_words": layout.shape().row_words(),
        "heads": view.head_words(),
        "page_table": view.page_table,
        "page_rows": view.page_rows,
        "appended": view.appended,
    })
}
