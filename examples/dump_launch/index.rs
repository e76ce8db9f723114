//! The kernels that make an index of a cache, and lists of what a search of it found, by name.

use crate::attention::{CacheArguments, described};
use crate::kernels::{Described, boxed};
use anyhow::Result;
use fewbytes::attention::merge_columns::Runs;
use fewbytes::attention::sparse::{
    BuildIndex, IndexMap, IndexParts, IndexSource, Lists, Share, SortedPair, Tail,
};
use fewbytes::attention::{
    CacheShape, DecodeQueries, KeyColumns, ListRows, MergeColumns, RowMap, RowSums, SortColumns,
    sort_columns,
};
use fewbytes::linear::Activation;
use serde_json::json;

pub(crate) const NAMES: [&str; 6] = [
    "key_columns",
    "row_sums",
    "sort_columns",
    "merge_columns",
    // All of them, one after the other.
    "build_index",
    "list_rows",
];

/// A kernel of [`NAMES`]: over the rows before the new tokens, none of which an index has yet.
pub(crate) fn describe(kernel: &str, f16: bool, arguments: &CacheArguments) -> Result<Described> {
    let &CacheArguments { kv_heads, group, head_dim, context, kept, .. } = arguments;
    let shape = CacheShape::new(kv_heads, head_dim, arguments.element.into())?;
    let tokens = arguments.tokens.unwrap_or(1);
    let layout = arguments.layout(shape, tokens)?;
    let (row_map, tensor_rows) = (RowMap::new(&layout, &[])?, layout.rows());
    let mut index_map = IndexMap::new(head_dim, &vec![context; kv_heads])?;
    index_map.extend(&vec![context; kv_heads])?;
    let (index, map) = (*index_map.shape(), *row_map.shape());
    let at_once = index.most;
    let source = IndexSource { shape, tensor_rows, map, index, at_once };
    let spec = match kernel {
        "key_columns" => boxed(KeyColumns(source)),
        "row_sums" => boxed(RowSums(source)),
        "sort_columns" => boxed(SortColumns { index, at_once, to: SortedPair::Index }),
        "merge_columns" => {
            let (runs, to) = (Runs::Wide(sort_columns::RUN), SortedPair::Other);
            boxed(MergeColumns { index, at_once, runs, to })
        }
        "build_index" => {
            let parts = IndexParts { sums: true, sorted: true };
            boxed(BuildIndex { source, parts, grows: false })
        }
        _ => {
            let input = if f16 { Activation::F16 } else { Activation::F32 };
            let queries = DecodeQueries { input, ..DecodeQueries::new(&shape, group) };
            let lists = Lists {
                tokens,
                heads: index.heads,
                group: u32::try_from(group)?,
                share: Share::Group,
                capacity: kept.next_multiple_of(4),
                sinks: 4,
                causal: true,
            };
            boxed(ListRows {
                lists,
                queries: DecodeQueries { q_len: tokens as usize, ..queries },
                index,
                map,
                tail: Tail::Mean,
                covered: u64::from(context) * u64::from(index.heads),
                listed: u64::from(kept) * u64::from(lists.count()),
            })
        }
    };
    let layout = json!({
        "cache": described(&layout),
        "row_map": row_map.words(),
        "index_map": index_map.words(),
    });
    Described::of(&layout, spec)
}
