//! `score_max`: the largest attention that every key of a chunk gets: the second of two passes.
//!
//! `score[h][p] = max exp(x - lse)` over all query rows of KV head `h`, those of every new token and of all
//! query heads that share it, for every row `p` of the chunk; `x` is the row's logit with the key and `lse`
//! the row's logarithm of a sum: [`score_lse`](super::score_lse) makes it for [`Denominator::Subset`], the
//! pass's own attention ([`prefill`](super::prefill)) for [`Denominator::Full`]. With
//! [`Denominator::None`] it is the largest `x` itself. The exponential is monotone, so the largest exponent
//! is kept and one power taken for a key; the chunk precedes all queries, so nothing is masked. Scores are
//! at most 1; one weight that is not a number makes its key's score none. No row of attention is ever
//! stored: memory is that of the scores. Source: "KVzip", Kim et al., NeurIPS 2025, arXiv 2505.23416. The
//! definition is [`reference::score_max`](super::reference::score_max).
//!
//! | binding | tensor | contents |
//! |---|---|---|
//! | 0 | params | 16 words, see `shaders/attention/tiles/params.wgsl` |
//! | 1 | q | `[q_len, H G, D]`, f32, or f16 in pairs |
//! | 2 | keys | `[rows, row_words]`, u32: [the format](super#rows) |
//! | 3, 5 | values, value_params | declared, and absent |
//! | 4 | key_params | `[rows]`, u32; of int8 and int4 only |
//! | 6 | schedule | u32: [`RowMap`], without starts |
//! | 8 | parts | `[slices, H, chunk]`, f32, best exponents; where query rows are cut. Of [`MaxAttention`] behind the sums, from a multiple of 256 bytes on |
//! | 9 | lse | `[q_len, H G]`, f32, natural logarithms; not for [`Denominator::None`], nor where they lie before the parts |
//! | 10 | score | f32: [`ScorePlace`]; where query rows are not cut |
//!
//! Variants: `baseline`, 128 lanes for 64 keys of a head, going through tiles of 64 query rows, in 16 KiB of
//! workgroup memory without any feature; and `matrix`, of what [`prefill`](super::prefill)'s needs, in 34 KiB
//! at most. Knobs: `matrix`, by default where it can be; `slices`, parts that the query rows are cut into, each of other
//! workgroups, put together by [`score_merge`](super::score_merge); by default as many as keep about
//! a thousand workgroups busy. Any number gives the same bits.
//!
//! [`Traffic`] is the chunk's rows of keys, `q` and `lse` read once, the scores, and two operations a number
//! of every pair of query row and key.

mod max_attention;
mod place;
#[cfg(test)]
mod tests;

pub use max_attention::MaxAttention;
pub use place::ScorePlace;

use super::decode::{self, DecodeQueries, LSE, STATES};
use super::score_lse::{KeySpans, check_starts};
use super::score_merge::ScoreMerge;
use super::tiles::{Beside, Form, Params, RowMap, RowMapShape, TILE, Text, Tiles};
use super::{CacheShape, Denominator, Layout};
use crate::launch::{
    Access, Binding, Caps, Knobs, Launch, Needs, Scratch, Shader, Spec, Traffic, linear_grid, part,
};
use crate::{Error, Result};

/// The kernel's name.
pub const NAME: &str = "score_max";

/// Number of the binding of partial bests.
pub const PARTS: u32 = STATES;
/// Number of the scores' binding.
pub const SCORE: u32 = 10;

/// Workgroups that are enough for large devices.
const GROUPS: u32 = 1024;
/// Tiles of query rows that a slice has at least.
const SLICE_TILES: u32 = 4;

const LSE_BINDING: Binding = Binding::new(LSE, "lse", Access::Read);
const PARTS_BINDING: Binding = Binding::new(PARTS, "parts", Access::ReadWrite);
pub(super) const SCORE_BINDING: Binding = Binding::new(SCORE, "score", Access::ReadWrite);

/// What is not bound is not declared either.
fn bindings(scaled: bool, lse: bool, cut: bool) -> &'static [Binding] {
    use self::{LSE_BINDING as L, PARTS_BINDING as T, SCORE_BINDING as S};
    use super::tiles::{
        KEY_PARAMS_BINDING as KP, KEYS_BINDING as K, PARAMS_BINDING as P, Q_BINDING as Q,
        ROW_MAP_BINDING as M, VALUE_PARAMS_BINDING as VP, VALUES_BINDING as V,
    };
    match (scaled, lse, cut) {
        (false, false, false) => &[P, Q, K, V, M, S],
        (false, false, true) => &[P, Q, K, V, M, T],
        (false, true, false) => &[P, Q, K, V, M, L, S],
        (false, true, true) => &[P, Q, K, V, M, T, L],
        (true, false, false) => &[P, Q, K, V, KP, VP, M, S],
        (true, false, true) => &[P, Q, K, V, KP, VP, M, T],
        (true, true, false) => &[P, Q, K, V, KP, VP, M, L, S],
        (true, true, true) => &[P, Q, K, V, KP, VP, M, T, L],
    }
}

/// Scores of one chunk of one layer's cache from given sums, described.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoreMax {
    /// What rows are.
    pub shape: CacheShape,
    /// Rows of the tensors.
    pub tensor_rows: u32,
    /// Who asks; any number of new tokens, at least one. Outputs do not matter.
    pub queries: DecodeQueries,
    /// How long the row map is.
    pub map: RowMapShape,
    /// The chunk; the other rows do not matter.
    pub spans: KeySpans,
    /// Whether sums are given: all but [`Denominator::None`].
    pub denominator: Denominator,
    /// Where scores go.
    pub place: ScorePlace,
}

impl ScoreMax {
    /// Queries over a layout by its map.
    ///
    /// # Errors
    /// As [`RowMap::check`]; [`Error::Range`] for spans that a head has not or that overlap.
    pub fn new(
        queries: DecodeQueries,
        layout: &Layout,
        map: &RowMap,
        (spans, denominator): (KeySpans, Denominator),
        place: ScorePlace,
    ) -> Result<Self> {
        map.check(layout)?;
        spans.check(layout, queries.q_len)?;
        let (shape, tensor_rows) = (*layout.shape(), layout.rows());
        Ok(Self { shape, tensor_rows, queries, map: *map.shape(), spans, denominator, place })
    }

    fn tiles(&self) -> Tiles<'_> {
        let Self { shape, tensor_rows, queries, map, .. } = self;
        Tiles { kernel: NAME, shape, tensor_rows: *tensor_rows, queries, map }
    }

    fn divides(&self) -> bool {
        self.denominator != Denominator::None
    }

    /// The parameters of a launch that cuts the query rows into so many slices.
    fn params(&self) -> Result<Params> {
        check_starts(&self.map)?;
        if self.queries.q_len == 0 {
            return Err(Error::range("queries of a scoring pass", "1..", 0));
        }
        let mut params = self.tiles().params()?;
        if !self.divides() {
            // Logits as they are, not in base 2.
            let (scale, c) = (self.queries.scale, self.queries.softcap);
            params.outer = c.unwrap_or(scale);
        }
        let KeySpans { first, rows, .. } = self.spans;
        let keys = u64::from(first) + u64::from(rows);
        if keys > u64::from(self.tensor_rows) {
            let limit = format!("0..={}, the rows there are", self.tensor_rows);
            return Err(Error::range("end of a chunk to score", limit, keys));
        }
        let (score_first, score_stride) = self.place.params(self.shape.kv_heads(), rows)?;
        let (chunk_first, key_tiles) = (first, rows.div_ceil(TILE));
        Ok(Params { chunk_first, chunk: rows, key_tiles, score_first, score_stride, ..params })
    }

    fn slices(&self, params: &Params, knobs: &Knobs) -> Result<u32> {
        let most = params.row_tiles;
        match knobs.slices {
            Some(slices) if (1..=most).contains(&slices) => Ok(slices),
            Some(slices) => {
                Err(Error::range(format!("slices of {NAME}"), format!("1..={most}"), slices))
            }
            None => {
                let groups = u64::from(params.heads) * u64::from(params.key_tiles);
                let wanted = u64::from(GROUPS).div_ceil(groups.max(1)) as u32;
                Ok(wanted.min(most.div_ceil(SLICE_TILES)))
            }
        }
    }

    fn shader(&self, tiles: &Tiles<'_>, form: Form, cut: bool, sums: Sums) -> Shader {
        Text::of(tiles, form, part!("attention/tiles/keys_chunk.wgsl"))
            .with(&[
                part!("attention/tiles/best.wgsl"),
                match sums {
                    Sums::None => part!("attention/tiles/less_none.wgsl"),
                    Sums::Scratch if cut => part!("attention/tiles/less_parts.wgsl"),
                    Sums::Given | Sums::Scratch => part!("attention/tiles/less_lse.wgsl"),
                },
                self.score_part(),
                match cut {
                    true => part!("attention/tiles/score_part.wgsl"),
                    false => part!("attention/tiles/score_whole.wgsl"),
                },
                match form {
                    Form::Lanes => part!("attention/tiles/best_lanes.wgsl"),
                    Form::Matrix => part!("attention/tiles/best_matrix.wgsl"),
                },
            ])
            .shader(NAME, part!("attention/score_max.wgsl"))
    }

    fn score_part(&self) -> crate::launch::Part {
        match self.divides() {
            true => part!("attention/tiles/score_share.wgsl"),
            false => part!("attention/tiles/score_logit.wgsl"),
        }
    }

    fn traffic(&self) -> Traffic {
        let Self { shape, queries, spans, .. } = self;
        let keys = shape.kv_heads() as u64 * u64::from(spans.rows);
        let each = 4 * (shape.row_words() + shape.row_params()) as u64;
        let elements = queries.q_len_of(shape) as u64;
        let sums = if self.divides() { 4 * self.tiles().lse_len() } else { 0 };
        Traffic {
            read_bytes: keys * each + elements * queries.input.bytes() as u64 + sums,
            write_bytes: 4 * keys,
            flops: keys * queries.rows() as u64 * 2 * shape.head_dim() as u64,
        }
    }
}

/// Where sums are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sums {
    None,
    Given,
    /// At the start of scratch memory.
    Scratch,
}

impl ScoreMax {
    /// The kernel and the merge, if there is one. Scratch memory is one buffer, which one launch cannot
    /// both read and write as two: so sums that lie there are bound with the parts.
    fn launches_with(&self, sums: Sums, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        if self.spans.rows == 0 {
            return Ok(Vec::new());
        }
        let tiles = self.tiles();
        let params = self.params()?;
        let slices = self.slices(&params, knobs)?;
        let params = Params { slices, ..params };
        let cut = slices > 1;
        let mut operands = tiles.operands(false, caps)?;
        let mut scratch = Vec::new();
        let lse = tiles.lse(caps)?;
        let before = match sums {
            Sums::Scratch => lse.bytes.next_multiple_of(256),
            Sums::None | Sums::Given => 0,
        };
        match sums {
            Sums::None => {}
            Sums::Given => operands.push(lse),
            Sums::Scratch if cut => {}
            Sums::Scratch => scratch.push(Scratch { binding: LSE, offset: 0, bytes: lse.bytes }),
        }
        let score = self.place.operand(self.shape.kv_heads(), self.spans.rows, caps)?;
        let mut merge = None;
        if cut {
            let bests = u64::from(params.heads) * u64::from(params.chunk) * u64::from(slices);
            let whole = decode::operand((PARTS, "parts"), before / 4 + bests, 4, caps)?.bytes;
            scratch.push(Scratch { binding: PARTS, offset: 0, bytes: whole });
            let parts = Scratch { binding: PARTS, offset: before, bytes: whole - before };
            let part = self.score_part();
            merge = Some(ScoreMerge { params, score, scratch: parts, part }.launch(caps)?);
        } else {
            operands.push(score);
        }
        let bound = sums == Sums::Given || (sums == Sums::Scratch && !cut);
        let bindings = bindings(tiles.scaled(), bound, cut);
        let form = tiles.form(Beside::Sums, caps, knobs)?;
        let needs = tiles.needs((form, Beside::Sums), bindings.len(), &operands);
        let largest = scratch.iter().map(|part| part.bytes).max().unwrap_or(0);
        let needs = Needs { binding_bytes: needs.binding_bytes.max(largest), ..needs };
        needs.check(NAME, caps)?;
        let groups = [params.heads, params.key_tiles, slices].map(u64::from).iter().product();
        let launch = Launch {
            kernel: NAME,
            variant: form.name(),
            shader: self.shader(&tiles, form, cut, sums),
            bindings,
            operands,
            params: bytemuck::bytes_of(&params).to_vec(),
            grid: linear_grid(NAME, groups, caps.max_groups)?,
            scratch,
            needs,
            traffic: self.traffic(),
        };
        Ok([launch].into_iter().chain(merge).collect())
    }
}

impl Spec for ScoreMax {
    fn kernel(&self) -> &'static str {
        NAME
    }

    /// The kernel, and where query rows are cut [`score_merge`](super::score_merge) with scratch memory
    /// between the two; none for a chunk without rows.
    ///
    /// # Errors
    /// [`Error::Range`] and [`Error::Shape`] for queries, a chunk or a place that cannot be or do not fit
    /// each other, [`Error::BindingTooLarge`] naming the tensor.
    fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        let sums = if self.divides() { Sums::Given } else { Sums::None };
        self.launches_with(sums, caps, knobs)
    }

    fn candidates(&self, _caps: &Caps) -> Vec<Knobs> {
        let slices = |slices| Knobs { slices: Some(slices), ..Knobs::DEFAULT };
        vec![Knobs::DEFAULT, slices(1), slices(2), slices(4), slices(8), slices(16)]
    }
}
