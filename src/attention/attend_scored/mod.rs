//! `attend_scored`: attention to those listed rows whose known logits are near the largest.
//!
//! Post-scoring selection of "A^3", Ham et al., HPCA 2020, arXiv 2002.10941: of the rows of a list a query
//! row keeps those whose weight is at least [`AttendScored::share`] of its largest weight, and adds up
//! the values of these. With a share of 0 it keeps all of them, as exact top-k does, and so it does of a list
//! that has all rows because nothing could be searched. Logits are those that
//! [`score_rows`](super::score_rows) or [`top_rows`](super::top_rows) wrote; keys are not read. Lists, parts
//! and states are those of [`attend_rows`](super::attend_rows); a row's values are read once for all query
//! rows of a list, if one of them keeps it.
//!
//! | binding | tensor | contents |
//! |---|---|---|
//! | 0 | params | 6 words, see `shaders/attention/sparse/attend_params.wgsl` |
//! | 3 | values | `[rows, row_words]`, u32: [the format](super#rows) |
//! | 5 | value_params | `[rows]`, u32; of int8 and int4 only |
//! | 8 | states | f32, `[L][splits][Q][D + 4]`: `o [D], m, l`, the weight of what was not kept, the rows kept |
//! | 19 | lists | `[L][capacity]`, u32: rows of the tensors |
//! | 20 | counts | `[L][4]`, u32: the first is how many rows a list has, the third 1 where these are all |
//! | 22 | tops | `[L][Q]`, u32: the largest logit as an integer of the same order, 0 for none |
//! | 27 | picked | `[L][Q][capacity]`, f32: logits in base 2 |
//!
//! The weight of what was not kept counts where the merge has the [rest](super::sparse#the-rest) of the rows
//! too, with the mean value. A NaN logit is kept, and makes the output NaN, as in exact attention.
//!
//! One variant, `baseline`: 128 lanes, no feature, default limits; no knobs. [`Traffic`] counts the logits
//! and places of the given rows, and the values of those that are kept.

mod reference;

pub use reference::{Kept, reference};

use super::CacheShape;
use super::attend_rows::{Params, check_lists, list_operands, states_len};
use super::decode::{self, DecodeQueries, LANES, STATES, VALUE_PARAMS, VALUES};
use super::element::Rows;
use super::sparse::{COUNTS, LISTS, Lists, PICKED, TOPS};
use crate::launch::{
    Access, Binding, Caps, Knobs, Launch, Operand, Part, Shader, Spec, Traffic, linear_grid, part,
};
use crate::{Error, Result};

/// The kernel's name.
pub const NAME: &str = "attend_scored";

const PARAMS_BINDING: Binding = Binding::new(0, "params", Access::Uniform);
const VALUES_BINDING: Binding = Binding::new(VALUES, "values", Access::Read);
const VALUE_PARAMS_BINDING: Binding = Binding::new(VALUE_PARAMS, "value_params", Access::Read);
const STATES_BINDING: Binding = Binding::new(STATES, "states", Access::ReadWrite);
const LISTS_BINDING: Binding = Binding::new(LISTS, "lists", Access::Read);
const COUNTS_BINDING: Binding = Binding::new(COUNTS, "counts", Access::Read);
const TOPS_BINDING: Binding = Binding::new(TOPS, "tops", Access::Read);
const PICKED_BINDING: Binding = Binding::new(PICKED, "picked", Access::Read);

/// Parameters are bound where rows have some; what is not is not declared either.
fn bindings(scaled: bool) -> &'static [Binding] {
    use self::{
        COUNTS_BINDING as C, LISTS_BINDING as L, PARAMS_BINDING as P, PICKED_BINDING as X,
        STATES_BINDING as T, TOPS_BINDING as M, VALUE_PARAMS_BINDING as VP, VALUES_BINDING as V,
    };
    if scaled { &[P, V, VP, T, L, C, M, X] } else { &[P, V, T, L, C, M, X] }
}

/// Attention to listed rows of known logits, described.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttendScored {
    /// What rows are.
    pub shape: CacheShape,
    /// Rows of the tensors.
    pub tensor_rows: u32,
    /// Who asks: as many tokens and query heads as the lists are for. How logits are made does not matter.
    pub queries: DecodeQueries,
    /// What is listed for whom.
    pub lists: Lists,
    /// Parts that each list is cut into: see [`AttendRows::usual_splits`](super::AttendRows::usual_splits).
    pub splits: u32,
    /// The part of the largest weight that a row's has to be, 0 to 1: `T` of the paper.
    pub share: f32,
    /// Rows of all lists, and those of which some query row keeps: for [`Traffic`] only.
    pub rows: u64,
    /// See `rows`.
    pub kept: u64,
}

impl AttendScored {
    /// Elements of `states`, f32.
    pub fn states_len(&self) -> u64 {
        states_len(&self.shape, &self.lists, self.splits)
    }

    /// By how much a logit in base 2 may be below the largest: f32's largest number where all are kept.
    pub fn keep(&self) -> f32 {
        // One rounding.
        if self.share == 0.0 { f32::MAX } else { (-f64::from(self.share).log2()) as f32 }
    }

    fn check(&self) -> Result<()> {
        check_lists(&self.shape, &self.queries, &self.lists, self.splits)?;
        self.shape.checked_rows(self.tensor_rows.into())?;
        if !(0.0..=1.0).contains(&self.share) {
            return Err(Error::range("share of the largest weight", "0..=1", self.share));
        }
        Ok(())
    }

    fn operands(&self, caps: &Caps) -> Result<Vec<Operand>> {
        let Self { shape, lists, .. } = self;
        let rows = u64::from(self.tensor_rows);
        let words = rows * shape.row_words() as u64;
        let mut all = vec![decode::operand((VALUES, "values of a cache"), words, 4, caps)?];
        if shape.element().scaled() {
            all.push(decode::operand((VALUE_PARAMS, "parameters of values"), rows, 4, caps)?);
        }
        all.extend(list_operands(shape, lists, self.splits, caps)?);
        let queries = u64::from(lists.query_rows());
        let picked = queries * u64::from(lists.capacity);
        all.push(decode::operand((TOPS, "largest logits of lists"), queries, 4, caps)?);
        all.push(decode::operand((PICKED, "logits of lists"), picked, 4, caps)?);
        all.retain(|operand| operand.bytes > 0);
        Ok(all)
    }

    fn shader(&self) -> Shader {
        let Self { shape, lists, .. } = self;
        let (quads, pieces) = (shape.head_dim() / 4, shape.row_words() / 4);
        let preamble = format!(
            "const ROWS: u32 = {}u;\nconst HEAD_QUADS: u32 = {quads}u;\nconst LANES: u32 = {LANES}u;\n\
             const ROW_PIECES: u32 = {pieces}u;\n",
            lists.queries()
        );
        let mut parts: Vec<Part> = vec![part!("attention/sparse/attend_params.wgsl")];
        parts.extend(shape.element().parts(Rows::Values));
        parts.push(part!("attention/attend_scored.wgsl"));
        Shader { entry: NAME, preamble, parts, constants: Vec::new() }
    }

    fn traffic(&self) -> Traffic {
        let Self { shape, lists, rows, kept, .. } = self;
        let value = 4 * (shape.row_words() + shape.row_params()) as u64;
        let queries = u64::from(lists.queries());
        Traffic {
            read_bytes: rows * (4 + 4 * queries) + kept * value,
            write_bytes: 4 * self.states_len(),
            flops: kept * 2 * shape.head_dim() as u64 * queries,
        }
    }
}

impl Spec for AttendScored {
    fn kernel(&self) -> &'static str {
        NAME
    }

    /// # Errors
    /// [`Error::Range`] and [`Error::Shape`] for a share and lists that cannot be or do not fit,
    /// [`Error::BindingTooLarge`] naming the tensor.
    fn launches(&self, caps: &Caps, _knobs: &Knobs) -> Result<Vec<Launch>> {
        self.check()?;
        let bindings = bindings(self.shape.element().scaled());
        let operands = self.operands(caps)?;
        let rows = self.lists.queries();
        let bytes = 4 * (LANES + rows * LANES + LANES + LANES / 16) + 16 * LANES;
        let needs = decode::needs(LANES, bytes, bindings.len(), &operands);
        needs.check(NAME, caps)?;
        let (lists, splits, keep) = (self.lists.count(), self.splits, self.keep());
        let capacity = self.lists.capacity;
        let params = Params { lists, splits, capacity, keep, inner: 0.0, outer: 0.0 };
        let groups = u64::from(lists) * u64::from(splits);
        Ok(vec![Launch {
            kernel: NAME,
            variant: "baseline",
            shader: self.shader(),
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
