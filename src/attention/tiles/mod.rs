//! What kernels over tiles of query rows and keys have in common: parameters, the row map, and parts of
//! their texts.

mod row_map;
mod shader;
#[cfg(test)]
mod tests;

pub use row_map::{RowMap, RowMapShape};
pub(super) use shader::Text;

use super::decode::{self, KEY_PARAMS, KEYS, LSE, Q, SCHEDULE, VALUE_PARAMS, VALUES};
use super::{CacheShape, DecodeQueries, KvElement};
use crate::launch::{Access, Binding, Caps, Knobs, Needs, Operand};
use crate::linear::{Activation, Arithmetic};
use crate::{Error, Result};

/// Number of the row map's binding.
pub const ROW_MAP: u32 = SCHEDULE;

/// Query rows, and keys, of a tile.
pub(super) const TILE: u32 = 64;
/// Lanes of a workgroup.
pub(super) const LANES: u32 = 128;

pub(super) const PARAMS_BINDING: Binding = Binding::new(0, "params", Access::Uniform);
pub(super) const Q_BINDING: Binding = Binding::new(Q, "q", Access::Read);
pub(super) const KEYS_BINDING: Binding = Binding::new(KEYS, "keys", Access::Read);
pub(super) const VALUES_BINDING: Binding = Binding::new(VALUES, "values", Access::Read);
pub(super) const KEY_PARAMS_BINDING: Binding = Binding::new(KEY_PARAMS, "key_params", Access::Read);
pub(super) const VALUE_PARAMS_BINDING: Binding =
    Binding::new(VALUE_PARAMS, "value_params", Access::Read);
pub(super) const ROW_MAP_BINDING: Binding = Binding::new(ROW_MAP, "schedule", Access::Read);

/// Mirrors `Params` of `shaders/attention/tiles/params.wgsl`.
#[derive(Debug, Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(super) struct Params {
    pub(super) heads: u32,
    pub(super) group: u32,
    pub(super) q_len: u32,
    pub(super) row_tiles: u32,
    pub(super) key_tiles: u32,
    pub(super) page_rows: u32,
    pub(super) starts: u32,
    pub(super) pages: u32,
    pub(super) sink: u32,
    pub(super) chunk_first: u32,
    pub(super) chunk: u32,
    pub(super) slices: u32,
    pub(super) score_first: u32,
    pub(super) score_stride: u32,
    pub(super) inner: f32,
    pub(super) outer: f32,
}

/// How products are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// By lanes, in registers.
    Lanes,
    /// By cooperative matrices.
    Matrix,
}

impl Form {
    /// The variant.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Lanes => "baseline",
            Self::Matrix => "matrix",
        }
    }
}

/// What a kernel has in workgroup memory beside tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beside {
    /// Weights of values.
    Weights,
    /// Nothing.
    Nothing,
    /// What is taken from logits.
    Sums,
}

/// Queries of new tokens over one layer's cache.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tiles<'a> {
    pub(super) kernel: &'static str,
    pub(super) shape: &'a CacheShape,
    pub(super) tensor_rows: u32,
    pub(super) queries: &'a DecodeQueries,
    pub(super) map: &'a RowMapShape,
}

impl Tiles<'_> {
    /// The parameters, once everything fits together; at least one new token.
    pub(super) fn params(&self) -> Result<Params> {
        let Self { shape, queries, map, .. } = self;
        queries.check_logits()?;
        let heads = shape.kv_heads();
        if map.heads as usize != heads {
            return Err(Error::shape("KV heads of the row map", heads, map.heads));
        }
        let starts = map.starts as usize;
        if starts != 0 && starts != queries.q_len {
            return Err(Error::shape("new tokens with starts of a window", queries.q_len, starts));
        }
        shape.checked_rows(self.tensor_rows.into())?;
        // Rows are counted by u32, with a tile to spare, and so are the words of the map.
        let most = (u32::MAX - TILE) as usize;
        if !(1..=most).contains(&queries.group) {
            let what = "query heads of a KV head";
            return Err(Error::range(what, format!("1..={most}"), queries.group));
        }
        let limit = most / queries.group;
        if !(1..=limit).contains(&queries.q_len) {
            return Err(Error::range("new tokens", format!("1..={limit}"), queries.q_len));
        }
        let rows = queries.rows() as u32;
        let (inner, outer) = queries.factors();
        let [starts, pages] = map.places()?;
        Ok(Params {
            // At most 65,535.
            heads: heads as u32,
            group: queries.group as u32,
            q_len: queries.q_len as u32,
            row_tiles: rows.div_ceil(TILE),
            page_rows: map.page_rows,
            starts,
            pages,
            inner,
            outer,
            ..Params::default()
        })
    }

    /// Queries, keys and the row map, and values where they are read.
    pub(super) fn operands(&self, values: bool, caps: &Caps) -> Result<Vec<Operand>> {
        let Self { shape, queries, .. } = self;
        let rows = u64::from(self.tensor_rows);
        let words = rows * shape.row_words() as u64;
        let elements = queries.q_len_of(shape) as u64;
        let scaled = shape.element().scaled();
        let mut all = vec![
            decode::operand((Q, "q"), elements, queries.input.bytes(), caps)?,
            decode::operand((KEYS, "keys of a cache"), words, 4, caps)?,
        ];
        if values {
            all.push(decode::operand((VALUES, "values of a cache"), words, 4, caps)?);
        }
        if scaled {
            all.push(decode::operand((KEY_PARAMS, "parameters of keys"), rows, 4, caps)?);
        }
        if scaled && values {
            all.push(decode::operand((VALUE_PARAMS, "parameters of values"), rows, 4, caps)?);
        }
        all.push(decode::operand((ROW_MAP, "row map"), self.map.words(), 4, caps)?);
        // A cache without rows has no bytes to bind: none are read.
        all.retain(|operand| operand.bytes > 0);
        Ok(all)
    }

    /// `lse [q_len, H G]`.
    pub(super) fn lse(&self, caps: &Caps) -> Result<Operand> {
        decode::operand((LSE, "lse"), self.lse_len(), 4, caps)
    }

    pub(super) fn lse_len(&self) -> u64 {
        self.queries.lse_len(self.shape.kv_heads()) as u64
    }

    /// Whether rows have parameters.
    pub(super) fn scaled(&self) -> bool {
        self.shape.element().scaled()
    }

    /// How products are made: what the knobs say, or by matrices where the device has them, their numbers
    /// are f16's, and workgroup memory suffices. Weights are rounded to f16 unasked only where outputs are
    /// so too.
    pub(super) fn form(&self, beside: Beside, caps: &Caps, knobs: &Knobs) -> Result<Form> {
        let halves = self.queries.input == Activation::F16
            && matches!(self.shape.element(), KvElement::F16 | KvElement::Int8)
            && self.shape.head_dim() <= 128;
        let rounds = beside != Beside::Weights
            || self.queries.output == Activation::F16
            || self.queries.arithmetic == Arithmetic::F16;
        let fits = self.workgroup_bytes(Form::Matrix, beside) <= caps.max_workgroup_bytes;
        match knobs.matrix {
            Some(true) if !halves => {
                let what = format!("{} with cooperative matrices", self.kernel);
                let why =
                    "queries have to be f16, rows f16 or int8, and their dimension 128 at most";
                Err(Error::unsupported(what, why))
            }
            Some(true) => Ok(Form::Matrix),
            None if halves && rounds && fits && caps.has_matrices() => Ok(Form::Matrix),
            None | Some(false) => Ok(Form::Lanes),
        }
    }

    fn workgroup_bytes(&self, form: Form, beside: Beside) -> u32 {
        // 256 numbers at most.
        let dim = self.shape.head_dim() as u32;
        if form == Form::Lanes {
            return 16 << 10;
        }
        let factors = if self.scaled() { 4 * TILE } else { 0 };
        let beside = match beside {
            Beside::Weights => 2 * TILE * TILE + 16,
            Beside::Nothing => 0,
            // Of three tiles, and where rows begin.
            Beside::Sums => 16 * TILE,
        };
        2 * TILE * (dim + 8) + 4 * TILE * TILE + factors + beside
    }

    /// What a launch with these operands needs.
    pub(super) fn needs(
        &self,
        (form, beside): (Form, Beside),
        bindings: usize,
        operands: &[Operand],
    ) -> Needs {
        let matrix = form == Form::Matrix;
        let bytes = self.workgroup_bytes(form, beside);
        let needs = decode::needs(LANES, bytes, bindings, operands);
        Needs { matrix, f16: matrix, subgroups: matrix, ..needs }
    }

    /// Quads of a row of numbers, and those that are staged at a time.
    fn quads(&self) -> (u32, u32) {
        // 256 numbers at most.
        let quads = self.shape.head_dim() as u32 / 4;
        let whole = quads.is_multiple_of(8) || self.shape.element() == KvElement::Int4;
        (quads, if whole { 8 } else { 4 })
    }
}
