//! `attend_rows`: attention to listed rows.
//!
//! For every list of a [search](super::sparse#lists), all query rows that the list is for at once: each
//! listed row is read once for them. A list is cut into `splits` parts of as many rows, whatever its length;
//! a workgroup has one, and writes a [state](super#partial-states-and-outputs) for each query row, which
//! [`decode_merge`](super::decode_merge) puts together, the [rest](super::sparse#the-rest) of the rows with
//! them if that is asked for ([`Listed`]). Lists are data: nothing about their lengths is planned for.
//!
//! | binding | tensor | contents |
//! |---|---|---|
//! | 0 | params | 6 words, see `shaders/attention/sparse/attend_params.wgsl` |
//! | 1 | q | `[T, H G, D]`, f32, or f16 in pairs |
//! | 2 | keys | `[rows, row_words]`, u32: [the format](super#rows) |
//! | 3 | values | the same |
//! | 4 | key_params | `[rows]`, u32; of int8 and int4 only |
//! | 5 | value_params | the same |
//! | 8 | states | f32, `[L][splits][Q][D + 4]`: `o [D], m, l, 0`, and the rows of the part |
//! | 19 | lists | `[L][capacity]`, u32: rows of the tensors |
//! | 20 | counts | `[L][4]`, u32: the first is how many a list has |
//!
//! Variants and the knob `reduce` are those of [`decode_split`](super::decode_split), whose loop this is:
//! `baseline`, `subgroup` and, with [`DecodeQueries::arithmetic`] of f16, `half`. [`Traffic`] counts the
//! given number of rows, their places, queries and states.

#[cfg(test)]
mod tests;

use super::decode::{
    self, Attend, DecodeQueries, Form, KEY_PARAMS, KEYS, LANES, Q, STATES, VALUE_PARAMS, VALUES,
};
use super::decode_merge::DecodeMerge;
use super::sparse::{COUNTS, IndexShape, LISTS, Lists, Tail};
use super::{AttendScored, CacheShape};
use crate::launch::{
    Access, Binding, Caps, Knobs, Launch, Operand, Part, Scratch, Shader, Spec, Traffic,
    linear_grid, part,
};
use crate::{Error, Result};

/// The kernel's name.
pub const NAME: &str = "attend_rows";

const PARAMS_BINDING: Binding = Binding::new(0, "params", Access::Uniform);
const Q_BINDING: Binding = Binding::new(Q, "q", Access::Read);
const KEYS_BINDING: Binding = Binding::new(KEYS, "keys", Access::Read);
const VALUES_BINDING: Binding = Binding::new(VALUES, "values", Access::Read);
const KEY_PARAMS_BINDING: Binding = Binding::new(KEY_PARAMS, "key_params", Access::Read);
const VALUE_PARAMS_BINDING: Binding = Binding::new(VALUE_PARAMS, "value_params", Access::Read);
const STATES_BINDING: Binding = Binding::new(STATES, "states", Access::ReadWrite);
const LISTS_BINDING: Binding = Binding::new(LISTS, "lists", Access::Read);
const COUNTS_BINDING: Binding = Binding::new(COUNTS, "counts", Access::Read);

/// Parameters are bound where rows have some; what is not is not declared either.
fn bindings(scaled: bool) -> &'static [Binding] {
    use self::{
        COUNTS_BINDING as C, KEY_PARAMS_BINDING as KP, KEYS_BINDING as K, LISTS_BINDING as L,
        PARAMS_BINDING as P, Q_BINDING as Q, STATES_BINDING as T, VALUE_PARAMS_BINDING as VP,
        VALUES_BINDING as V,
    };
    if scaled { &[P, Q, K, V, KP, VP, T, L, C] } else { &[P, Q, K, V, T, L, C] }
}

/// Mirrors `Params` of `shaders/attention/sparse/attend_params.wgsl`.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(super) struct Params {
    pub(super) lists: u32,
    pub(super) splits: u32,
    pub(super) capacity: u32,
    pub(super) keep: f32,
    pub(super) inner: f32,
    pub(super) outer: f32,
}

/// Attention to listed rows of one layer's cache, described.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttendRows {
    /// What rows are.
    pub shape: CacheShape,
    /// Rows of the tensors.
    pub tensor_rows: u32,
    /// Who asks: as many tokens and query heads as the lists are for.
    pub queries: DecodeQueries,
    /// What is listed for whom.
    pub lists: Lists,
    /// Parts that each list is cut into, 1 to 65,535: see [`AttendRows::usual_splits`].
    pub splits: u32,
    /// Rows of all lists: for [`Traffic`] only.
    pub rows: u64,
}

/// A kernel that attends to lists, and the merge, with states in scratch memory: whole outputs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Listed {
    /// The kernel that attends.
    pub attend: Attending,
    /// The rest of the rows, and the index that has their sums.
    pub rest: Option<IndexShape>,
}

/// What attends to lists.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Attending {
    /// [`AttendRows`], which makes logits.
    Rows(AttendRows),
    /// [`AttendScored`], which is given them.
    Scored(AttendScored),
}

impl AttendRows {
    /// Parts of a list where `workgroups` are wanted of all lists together, of no fewer than 64 rows each
    /// when a list is full.
    pub fn usual_splits(lists: &Lists, workgroups: u32) -> u32 {
        let most = (lists.capacity / 64).clamp(1, 0xffff);
        workgroups.div_ceil(lists.count().max(1)).clamp(1, most)
    }

    /// Elements of `states`, f32.
    pub fn states_len(&self) -> u64 {
        states_len(&self.shape, &self.lists, self.splits)
    }

    /// The query rows of a list, as those of one new token.
    fn list_queries(&self) -> DecodeQueries {
        // 16 at most.
        DecodeQueries { group: self.lists.queries() as usize, q_len: 1, ..self.queries }
    }

    fn operands(&self, caps: &Caps) -> Result<Vec<Operand>> {
        let Self { shape, queries, .. } = self;
        let rows = u64::from(self.tensor_rows);
        let words = rows * shape.row_words() as u64;
        let elements = queries.q_len_of(shape) as u64;
        let mut all = vec![
            decode::operand((Q, "q"), elements, queries.input.bytes(), caps)?,
            decode::operand((KEYS, "keys of a cache"), words, 4, caps)?,
            decode::operand((VALUES, "values of a cache"), words, 4, caps)?,
        ];
        if shape.element().scaled() {
            all.push(decode::operand((KEY_PARAMS, "parameters of keys"), rows, 4, caps)?);
            all.push(decode::operand((VALUE_PARAMS, "parameters of values"), rows, 4, caps)?);
        }
        all.extend(list_operands(shape, &self.lists, self.splits, caps)?);
        // A cache without rows has no bytes to bind: none are read.
        all.retain(|operand| operand.bytes > 0);
        Ok(all)
    }

    fn traffic(&self) -> Traffic {
        let Self { shape, queries, rows, .. } = self;
        let elements = queries.q_len_of(shape) as u64;
        let each = 8 * (shape.row_words() + shape.row_params()) as u64 + 4;
        let products = 4 * shape.head_dim() as u64 * u64::from(self.lists.queries());
        Traffic {
            read_bytes: rows * each + elements * queries.input.bytes() as u64,
            write_bytes: 4 * self.states_len(),
            flops: rows * products,
        }
    }

    fn shader(&self, attend: &Attend<'_>, form: Form) -> Shader {
        let mut preamble = attend.preamble();
        let mut parts: Vec<Part> = vec![
            part!("attention/sparse/attend_params.wgsl"),
            part!("attention/sparse/listed_rows.wgsl"),
            part!("attention/mask_none.wgsl"),
        ];
        parts.extend(attend.operand_parts(form));
        parts.extend(attend.attend_parts(form, &mut preamble));
        parts.push(part!("attention/attend_rows.wgsl"));
        Shader { entry: NAME, preamble, parts, constants: Vec::new() }
    }

    fn check(&self) -> Result<()> {
        self.queries.check()?;
        check_lists(&self.shape, &self.queries, &self.lists, self.splits)?;
        self.shape.checked_rows(self.tensor_rows.into())?;
        Ok(())
    }
}

/// Whether lists are for the query rows of a cache's heads.
pub(super) fn check_lists(
    shape: &CacheShape,
    queries: &DecodeQueries,
    lists: &Lists,
    splits: u32,
) -> Result<()> {
    lists.check()?;
    for (what, expected, found) in [
        ("KV heads of lists", shape.kv_heads(), lists.heads),
        ("query heads of a KV head of lists", queries.group, lists.group),
        ("new tokens of lists", queries.q_len, lists.tokens),
    ] {
        if found as usize != expected {
            return Err(Error::shape(what, expected, found));
        }
    }
    if !(1..=0xffff).contains(&splits) {
        return Err(Error::range("parts of a list", "1..=65535", splits));
    }
    Ok(())
}

pub(super) fn states_len(shape: &CacheShape, lists: &Lists, splits: u32) -> u64 {
    let rows = u64::from(lists.query_rows()) * u64::from(splits);
    rows * (shape.head_dim() as u64 + 4)
}

/// Lists, their counts and states.
pub(super) fn list_operands(
    shape: &CacheShape,
    lists: &Lists,
    splits: u32,
    caps: &Caps,
) -> Result<Vec<Operand>> {
    let count = u64::from(lists.count());
    let states = states_len(shape, lists, splits);
    Ok(vec![
        decode::operand((STATES, "states of parts of lists"), states, 4, caps)?,
        decode::operand((LISTS, "lists"), count * u64::from(lists.capacity), 4, caps)?,
        decode::operand((COUNTS, "counts of lists"), 4 * count, 4, caps)?,
    ])
}

impl Spec for AttendRows {
    fn kernel(&self) -> &'static str {
        NAME
    }

    /// # Errors
    /// [`Error::Range`] and [`Error::Shape`] for queries and lists that cannot be or do not fit,
    /// [`Error::BindingTooLarge`] naming the tensor, [`Error::Unsupported`] for a variant that the device
    /// lacks.
    fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        self.check()?;
        let queries = self.list_queries();
        let attend = Attend { kernel: NAME, shape: &self.shape, queries: &queries };
        let form = attend.form(caps, knobs)?;
        let bindings = bindings(self.shape.element().scaled());
        let operands = self.operands(caps)?;
        let mut needs =
            decode::needs(LANES, attend.workgroup_bytes(form), bindings.len(), &operands);
        needs.subgroups = form != Form::Workgroup;
        needs.f16 = matches!(form, Form::Half(_));
        needs.check(NAME, caps)?;
        let (inner, outer) = self.queries.factors();
        let (lists, splits) = (self.lists.count(), self.splits);
        let params =
            Params { lists, splits, capacity: self.lists.capacity, keep: 0.0, inner, outer };
        let groups = u64::from(lists) * u64::from(splits);
        Ok(vec![Launch {
            kernel: NAME,
            variant: form.name(),
            shader: self.shader(&attend, form),
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

impl Attending {
    fn parts(&self) -> (&CacheShape, &DecodeQueries, &Lists, u32) {
        match self {
            Self::Rows(AttendRows { shape, queries, lists, splits, .. })
            | Self::Scored(AttendScored { shape, queries, lists, splits, .. }) => {
                (shape, queries, lists, *splits)
            }
        }
    }

    fn spec(&self) -> &dyn Spec {
        match self {
            Self::Rows(spec) => spec,
            Self::Scored(spec) => spec,
        }
    }
}

impl Listed {
    /// The merge of the parts.
    ///
    /// # Errors
    /// As [`DecodeMerge::of_lists`].
    pub fn merge(&self) -> Result<DecodeMerge> {
        let (shape, queries, lists, splits) = self.attend.parts();
        DecodeMerge::of_lists(shape, queries, lists, splits, self.rest)
    }

    /// [`Tail::Mean`] where the rest counts.
    pub fn tail(&self) -> Tail {
        if self.rest.is_some() { Tail::Mean } else { Tail::None }
    }
}

impl Spec for Listed {
    fn kernel(&self) -> &'static str {
        self.attend.spec().kernel()
    }

    fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        let mut launches = self.attend.spec().launches(caps, knobs)?;
        launches.extend(self.merge()?.launches(caps, knobs)?);
        for (at, launch) in launches.iter_mut().enumerate() {
            if at > 0 {
                launch.traffic = Traffic::default();
            }
            let states = launch.operands.iter().position(|operand| operand.binding == STATES);
            if let Some(Operand { binding, bytes, .. }) =
                states.map(|states| launch.operands.remove(states))
            {
                launch.scratch = vec![Scratch { binding, offset: 0, bytes }];
            }
        }
        Ok(launches)
    }
}
