//! `prefill`: attention of many new tokens to the rows of a cache.
//!
//! `o` and, where asked for, `lse` of `q_len` new tokens, any number of them, as
//! [told](super#partial-states-and-outputs): the new rows have been appended before, new token `i` sees the
//! first `len[h] - q_len + i + 1` rows of head `h`, of those under a sliding window the ones from its start
//! on. Used to prefill a context, for the passes that score its pairs, and for queries of several tokens to
//! an evicted cache. Rows are told apart by their numbers, so a row that is not seen has no weight; only a
//! NaN or infinity among the *values* of a row that another new token of the tile sees reaches all rows of
//! the tile. No two query rows' sums are mixed, and memory is that of the outputs. Source:
//! "FlashAttention-2", Dao, ICLR 2024, arXiv 2307.08691. The definition is
//! [`reference::decode_attention`](super::reference::decode_attention), which has no limit of rows.
//!
//! | binding | tensor | contents |
//! |---|---|---|
//! | 0 | params | 16 words, see `shaders/attention/tiles/params.wgsl` |
//! | 1 | q | `[q_len, H G, D]`, f32, or f16 in pairs |
//! | 2 | keys | `[rows, row_words]`, u32: [the format](super#rows) |
//! | 3 | values | the same |
//! | 4 | key_params | `[rows]`, u32; of int8 and int4 only |
//! | 5 | value_params | the same |
//! | 6 | schedule | u32: [`RowMap`] |
//! | 7 | o | `[q_len, H G, D]`, f32, or f16 in pairs |
//! | 9 | lse | `[q_len, H G]`, f32, natural logarithms; where asked for |
//!
//! A workgroup has 64 of the `q_len G` query rows of a KV head, whole groups or not, and goes through keys
//! in tiles of 64: those that no row of it sees are left out, and only in tiles that some rows do not see
//! all of are logits masked. The heaviest tiles of a head come first.
//!
//! | variant | workgroup | needs |
//! |---|---|---|
//! | `baseline` | 128 lanes, 16 KiB; a lane makes 4 rows by 8 keys of logits and 4 rows by `D / 8` columns of `o` in registers | nothing |
//! | `matrix` | 128 lanes, 4 subgroups; products by cooperative matrices of f16, logits by way of workgroup memory | f16 queries, rows of f16 or int8, `D` of 128 at most; matrices of 16 x 16 x 16, f16 to f32; at most 42 KiB of workgroup memory |
//!
//! `matrix` rounds weights to f16, and values of int8 too, which have to be finite then: errors of `o` are
//! within `2^-9` of the largest value, and `2^-31` of it for every key: weights below that of the largest count
//! as 0. Sums, and so `lse`, are f32's. A row's weights are powers above a
//! base that follows the row's maximum only where that is far above it, so sums are seldom scaled.
//!
//! Knobs: `matrix`; by default where it can be and outputs are f16, or
//! [`DecodeQueries::arithmetic`](super::DecodeQueries) is f16's.
//!
//! Few query rows over many keys keep few workgroups busy: up to 16 query rows of a KV head are
//! [`decode_split`](super::decode_split)'s work. On devices that are reset when one submission takes
//! seconds, append and attend in chunks of fewer tokens.
//!
//! Masks, by which a cache that stays whole is attended to as if pairs had been evicted
//! ([`Schedule::with_mask`](super::Schedule::with_mask)), are `decode_split`'s only, up to 16 query rows of
//! a KV head at a time. A pass of more tokens under a mask is decoded in steps of up to `16 / G` tokens, the
//! rows of each step appended before it.
//!
//! [`Traffic`] is the rows read once, `q`, `o`, and four operations a number of every pair of query row and
//! key that it sees.

#[cfg(test)]
mod tests;

use super::decode::{self, DecodeQueries, LSE, O};
use super::decode_split::output_parts;
use super::tiles::{Beside, Form, RowMap, RowMapShape, Text, Tiles};
use super::{CacheShape, Layout};
use crate::Result;
use crate::launch::{
    Access, Binding, Caps, Knobs, Launch, Shader, Spec, Traffic, linear_grid, part,
};

/// The kernel's name.
pub const NAME: &str = "prefill";

const O_BINDING: Binding = Binding::new(O, "o", Access::ReadWrite);
const LSE_BINDING: Binding = Binding::new(LSE, "lse", Access::ReadWrite);

/// What is not bound is not declared either.
fn bindings(scaled: bool, lse: bool) -> &'static [Binding] {
    use self::{LSE_BINDING as L, O_BINDING as O};
    use super::tiles::{
        KEY_PARAMS_BINDING as KP, KEYS_BINDING as K, PARAMS_BINDING as P, Q_BINDING as Q,
        ROW_MAP_BINDING as M, VALUE_PARAMS_BINDING as VP, VALUES_BINDING as V,
    };
    match (scaled, lse) {
        (false, false) => &[P, Q, K, V, M, O],
        (false, true) => &[P, Q, K, V, M, O, L],
        (true, false) => &[P, Q, K, V, KP, VP, M, O],
        (true, true) => &[P, Q, K, V, KP, VP, M, O, L],
    }
}

/// Attention of new tokens to one layer's cache, described.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prefill {
    /// What rows are.
    pub shape: CacheShape,
    /// Rows of the tensors.
    pub tensor_rows: u32,
    /// Who asks; any number of new tokens.
    pub queries: DecodeQueries,
    /// How long the row map is.
    pub map: RowMapShape,
    /// Rows of all heads that are read, and pairs of query row and key: for [`Traffic`] only.
    pub rows: u64,
    /// Pairs of a query row and a key that it sees.
    pub pairs: u64,
}

impl Prefill {
    /// Queries over a layout by its map.
    ///
    /// # Errors
    /// As [`RowMap::check`].
    pub fn new(queries: DecodeQueries, layout: &Layout, map: &RowMap) -> Result<Self> {
        map.check(layout)?;
        let (shape, tensor_rows) = (*layout.shape(), layout.rows());
        let (mut rows, mut pairs) = (0, 0);
        for head in 0..shape.kv_heads() {
            let seen = |token| map.seen(head, token, queries.q_len);
            let count = |of: std::ops::Range<u64>| of.end.saturating_sub(of.start);
            pairs += (0..queries.q_len).map(|token| count(seen(token))).sum::<u64>();
            if let Some(last) = queries.q_len.checked_sub(1) {
                rows += count(seen(0).start..seen(last).end);
            }
        }
        pairs *= queries.group as u64;
        Ok(Self { shape, tensor_rows, queries, map: *map.shape(), rows, pairs })
    }

    fn tiles(&self) -> Tiles<'_> {
        let Self { shape, tensor_rows, queries, map, .. } = self;
        Tiles { kernel: NAME, shape, tensor_rows: *tensor_rows, queries, map }
    }

    fn shader(&self, tiles: &Tiles<'_>, form: Form) -> Shader {
        let lse = match self.queries.lse {
            true => part!("attention/lse.wgsl"),
            false => part!("attention/lse_none.wgsl"),
        };
        let attend = match form {
            Form::Lanes => part!("attention/tiles/attend_lanes.wgsl"),
            Form::Matrix => part!("attention/tiles/attend_matrix.wgsl"),
        };
        Text::of(tiles, form, part!("attention/tiles/keys_all.wgsl"))
            .with(&output_parts(self.queries.output))
            .with_values(tiles, form)
            .with(&[lse, attend])
            .shader(NAME, part!("attention/prefill.wgsl"))
    }

    fn traffic(&self) -> Traffic {
        let Self { shape, queries, rows, pairs, .. } = self;
        let elements = queries.q_len_of(shape) as u64;
        let each = 8 * (shape.row_words() + shape.row_params()) as u64;
        Traffic {
            read_bytes: rows * each + elements * queries.input.bytes() as u64,
            write_bytes: elements * queries.output.bytes() as u64,
            flops: pairs * 4 * shape.head_dim() as u64,
        }
    }
}

impl Spec for Prefill {
    fn kernel(&self) -> &'static str {
        NAME
    }

    /// None for no tokens.
    ///
    /// # Errors
    /// [`Error::Range`](crate::Error::Range) and [`Error::Shape`](crate::Error::Shape) for queries that
    /// cannot be or do not fit the map, [`Error::BindingTooLarge`](crate::Error::BindingTooLarge) naming
    /// the tensor: a cache can be split by its heads.
    fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        if self.queries.q_len == 0 {
            return Ok(Vec::new());
        }
        let tiles = self.tiles();
        let params = tiles.params()?;
        let mut operands = tiles.operands(true, caps)?;
        let elements = self.queries.q_len_of(&self.shape) as u64;
        let each = self.queries.output.bytes();
        operands.push(decode::operand((O, "o"), elements, each, caps)?);
        if self.queries.lse {
            operands.push(tiles.lse(caps)?);
        }
        let bindings = bindings(tiles.scaled(), self.queries.lse);
        let form = tiles.form(Beside::Weights, caps, knobs)?;
        let needs = tiles.needs((form, Beside::Weights), bindings.len(), &operands);
        needs.check(NAME, caps)?;
        let groups = u64::from(params.heads) * u64::from(params.row_tiles);
        Ok(vec![Launch {
            kernel: NAME,
            variant: form.name(),
            shader: self.shader(&tiles, form),
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
