//! `score_lse`: what the attention of a scoring pass is divided by: the first of two passes that find the
//! largest attention to every key.
//!
//! For every query row of `q_len` new tokens, the natural logarithm of the sum of `exp(x)` over the keys of
//! [`KeySpans`]: a head's first rows, a chunk of rows, and the new rows up to its own. The causal rule cuts
//! only those last: the others precede all queries. No values are read, and memory is that of the output.
//! A row one of whose keys, or whose query, is not a number gets none; no other row does. Source: "KVzip",
//! Kim et al., NeurIPS 2025, arXiv 2505.23416, section 3. The definition is
//! [`reference::score_lse`](super::reference::score_lse).
//!
//! | binding | tensor | contents |
//! |---|---|---|
//! | 0 | params | 16 words, see `shaders/attention/tiles/params.wgsl` |
//! | 1 | q | `[q_len, H G, D]`, f32, or f16 in pairs |
//! | 2 | keys | `[rows, row_words]`, u32: [the format](super#rows) |
//! | 3, 5 | values, value_params | declared, and absent |
//! | 4 | key_params | `[rows]`, u32; of int8 and int4 only |
//! | 6 | schedule | u32: [`RowMap`], without starts |
//! | 9 | lse | `[q_len, H G]`, f32 |
//!
//! Variants: `baseline`, 128 lanes for 64 query rows of a KV head and tiles of 64 keys, as
//! [`prefill`](super::prefill) makes logits, in 16 KiB of workgroup memory without any feature; and `matrix`,
//! of what [`prefill`](super::prefill)'s needs, in 34 KiB at most. Knobs: `matrix`; by default where it can be.
//!
//! [`Traffic`] is the rows of keys read once, `q`, `lse`, and two operations a number of every pair of query
//! row and key that it sees.

use super::decode::{DecodeQueries, LSE};
use super::tiles::{Beside, Form, Params, RowMap, RowMapShape, Text, Tiles};
use super::{CacheShape, Layout};
use crate::launch::{Access, Binding, Caps, Knobs, Launch, Spec, Traffic, linear_grid, part};
use crate::{Error, Result};

/// The kernel's name.
pub const NAME: &str = "score_lse";

const LSE_BINDING: Binding = Binding::new(LSE, "lse", Access::ReadWrite);

fn bindings(scaled: bool) -> &'static [Binding] {
    use self::LSE_BINDING as L;
    use super::tiles::{
        KEY_PARAMS_BINDING as KP, KEYS_BINDING as K, PARAMS_BINDING as P, Q_BINDING as Q,
        ROW_MAP_BINDING as M, VALUE_PARAMS_BINDING as VP, VALUES_BINDING as V,
    };
    if scaled { &[P, Q, K, V, KP, VP, M, L] } else { &[P, Q, K, V, M, L] }
}

/// Rows of every head that a scoring pass looks at: `0 .. sink`, then the chunk `first .. first + rows`,
/// then as many rows at the head's end as there are new tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeySpans {
    /// Rows at the beginning.
    pub sink: u32,
    /// The first row of the chunk, none before the sink's end.
    pub first: u32,
    /// Rows of the chunk.
    pub rows: u32,
}

impl KeySpans {
    /// Whether a layout to which `q_len` new rows have been appended has these rows, each once.
    pub(super) fn check(&self, layout: &Layout, q_len: usize) -> Result<()> {
        let Self { sink, first, rows } = *self;
        let limit = |end: u32| format!("rows from {sink} to {end}");
        for head in 0..layout.shape().kv_heads() {
            let len = layout.len(head);
            let new = u32::try_from(q_len).ok().and_then(|q_len| len.checked_sub(q_len));
            let Some(end) = new else {
                return Err(Error::range(
                    format!("new rows of head {head}"),
                    format!("0..={len}"),
                    q_len,
                ));
            };
            if first < sink || first.checked_add(rows).is_none_or(|last| last > end) {
                let what = format!("chunk to score of head {head}");
                return Err(Error::range(what, limit(end), format!("{rows} rows from {first}")));
            }
        }
        Ok(())
    }
}

/// Sums of a scoring pass over one layer's cache, described.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoreLse {
    /// What rows are.
    pub shape: CacheShape,
    /// Rows of the tensors.
    pub tensor_rows: u32,
    /// Who asks; any number of new tokens. Outputs do not matter.
    pub queries: DecodeQueries,
    /// How long the row map is.
    pub map: RowMapShape,
    /// Of which rows keys are.
    pub spans: KeySpans,
}

impl ScoreLse {
    /// Queries over a layout by its map.
    ///
    /// # Errors
    /// As [`RowMap::check`]; [`Error::Range`] for spans that a head has not or that overlap.
    pub fn new(
        queries: DecodeQueries,
        layout: &Layout,
        map: &RowMap,
        spans: KeySpans,
    ) -> Result<Self> {
        map.check(layout)?;
        spans.check(layout, queries.q_len)?;
        let (shape, tensor_rows) = (*layout.shape(), layout.rows());
        Ok(Self { shape, tensor_rows, queries, map: *map.shape(), spans })
    }

    fn tiles(&self) -> Tiles<'_> {
        let Self { shape, tensor_rows, queries, map, .. } = self;
        Tiles { kernel: NAME, shape, tensor_rows: *tensor_rows, queries, map }
    }

    fn traffic(&self) -> Traffic {
        let Self { shape, queries, spans, .. } = self;
        let (heads, q_len) = (shape.kv_heads() as u64, queries.q_len as u64);
        let before = u64::from(spans.sink) + u64::from(spans.rows);
        let each = 4 * (shape.row_words() + shape.row_params()) as u64;
        let elements = queries.q_len_of(shape) as u64;
        // Token i sees i + 1 of the new rows.
        let pairs = queries.group as u64 * heads * (q_len * before + q_len * (q_len + 1) / 2);
        Traffic {
            read_bytes: heads * (before + q_len) * each + elements * queries.input.bytes() as u64,
            write_bytes: 4 * self.tiles().lse_len(),
            flops: pairs * 2 * shape.head_dim() as u64,
        }
    }
}

/// A pass that scores has no window: the layers that have one keep all of it.
pub(super) fn check_starts(map: &RowMapShape) -> Result<()> {
    match map.starts {
        0 => Ok(()),
        starts => Err(Error::shape("starts of a window in a scoring pass", 0, starts)),
    }
}

impl Spec for ScoreLse {
    fn kernel(&self) -> &'static str {
        NAME
    }

    /// None for no tokens.
    ///
    /// # Errors
    /// [`Error::Range`] and [`Error::Shape`] for queries that cannot be or do not fit the map,
    /// [`Error::BindingTooLarge`] naming the tensor: a cache can be split by its heads.
    fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        if self.queries.q_len == 0 {
            return Ok(Vec::new());
        }
        let tiles = self.tiles();
        check_starts(&self.map)?;
        let KeySpans { sink, first: chunk_first, rows: chunk } = self.spans;
        let params = Params { sink, chunk_first, chunk, ..tiles.params()? };
        let keys = u64::from(sink) + u64::from(chunk) + self.queries.q_len as u64;
        if keys > u64::from(self.tensor_rows) {
            let limit = format!("0..={}, the rows there are", self.tensor_rows);
            return Err(Error::range("keys of a scoring pass", limit, keys));
        }
        let mut operands = tiles.operands(false, caps)?;
        operands.push(tiles.lse(caps)?);
        let bindings = bindings(tiles.scaled());
        let form = tiles.form(Beside::Nothing, caps, knobs)?;
        let add_up = match form {
            Form::Lanes => part!("attention/tiles/sum_lanes.wgsl"),
            Form::Matrix => part!("attention/tiles/sum_matrix.wgsl"),
        };
        let needs = tiles.needs((form, Beside::Nothing), bindings.len(), &operands);
        needs.check(NAME, caps)?;
        let groups = u64::from(params.heads) * u64::from(params.row_tiles);
        Ok(vec![Launch {
            kernel: NAME,
            variant: form.name(),
            shader: Text::of(&tiles, form, part!("attention/tiles/keys_spans.wgsl"))
                .with(&[part!("attention/lse.wgsl"), add_up])
                .shader(NAME, part!("attention/score_lse.wgsl")),
            bindings,
            operands,
            params: bytemuck::bytes_of(&params).to_vec(),
            grid: linear_grid(NAME, groups, caps.max_groups)?,
            scratch: Vec::new(),
            needs,
            traffic: self.traffic(),
        }])
    }
}
