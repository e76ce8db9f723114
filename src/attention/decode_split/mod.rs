//! `decode_split`: attention of the newest tokens to the rows of a cache, as a plan spreads them.
//!
//! For every segment of a [`Plan`](super::Plan), all `R = q_len G` query rows of its KV head at once: each
//! byte of keys and values is read once. A segment that is all of its head writes `o`; the others write
//! [states](super#partial-states-and-outputs), which [`decode_merge`](super::decode_merge) puts together.
//! What a query row sees is told [there](super#partial-states-and-outputs) too: rows are told apart by
//! their numbers, so a row that is not seen has no weight; only a NaN or infinity among the *values* of
//! a row that some other new token sees reaches all rows of its head. Sources: "FlashInfer", Ye et al.,
//! MLSys 2025, arXiv 2501.01005; "FlashAttention-2", Dao, ICLR 2024, arXiv 2307.08691.
//!
//! | binding | tensor | contents |
//! |---|---|---|
//! | 0 | params | 16 words, see `shaders/attention/decode_params.wgsl` |
//! | 1 | q | `[q_len, H G, D]`, f32, or f16 in pairs |
//! | 2 | keys | `[rows, row_words]`, u32: [the format](super#rows) |
//! | 3 | values | the same |
//! | 4 | key_params | `[rows]`, u32; of int8 and int4 only |
//! | 5 | value_params | the same |
//! | 6 | schedule | u32: [`Schedule`] |
//! | 7 | o | `[q_len, H G, D]`, f32, or f16 in pairs; heads written directly only |
//! | 8 | states | f32, `[slots, R, D + 4]`: `o [D], m, l, 0, 0`; then `[H, R, 4]`: `m, l, 0, 0` of heads written directly, where `lse` is asked for |
//!
//! `m` is to base 2: the largest logit times `log2(e)`. Under a sliding window, starts are data of the
//! schedule, a start for each new token and head, so a plan made earlier serves as the window moves on.
//! Where the schedule has a mask ([`Schedule::with_mask`]), rows without a bit are not seen either.
//! `R` is at most [`MAX_ROWS`](super::decode::MAX_ROWS): more query rows are the work of a prefill kernel. Keys
//! and values have to fit one binding each.
//!
//! | variant | workgroup | needs |
//! |---|---|---|
//! | `baseline` | 128 lanes; tiles of 128 keys through workgroup memory | nothing |
//! | `subgroup` | 128 lanes; a lane has 16 numbers of a row in registers, and the lanes of a row add up by shuffles | subgroups of at least the lanes of a row: 4, 8, 8, 8, 16 for `D` = 64, 80, 96, 128, 256 |
//! | `half` | as `subgroup`, dot products in f16 | the same, and f16 arithmetic |
//!
//! Knobs: `reduce`, of which [`Reduce::Workgroup`](crate::launch::Reduce) is `baseline` and the others are `subgroup`, the
//! default where the device has it.
//!
//! # Arithmetic
//! All is f32 but under [`Arithmetic::F16`](crate::linear::Arithmetic), which takes caches of f16: there queries are rounded to f16,
//! and so are their products with keys and the sums of four of those, a relative error of 2^-11 each time;
//! sums beyond 65,504 are infinite. Weights, values and all other sums stay f32. A device needs
//! subgroups and f16 arithmetic for it: there is no baseline.
//!
//! [`Traffic`] is the rows read, with their parameters, and `q` and `o`.

mod shader;
#[cfg(test)]
mod tests;

pub(in crate::attention) use shader::output_parts;

use super::decode::{
    self, Attend, DecodeQueries, Form, KEY_PARAMS, KEYS, LANES, O, Q, SCHEDULE, STATES,
    VALUE_PARAMS, VALUES,
};
use super::{CacheShape, DecodeMerge, Layout, Schedule, ScheduleShape};
use crate::launch::{
    Access, Binding, Caps, Knobs, Launch, Operand, Scratch, Spec, Traffic, linear_grid,
};
use crate::{Error, Result};

/// The kernel's name.
pub const NAME: &str = "decode_split";

const PARAMS_BINDING: Binding = Binding::new(0, "params", Access::Uniform);
const Q_BINDING: Binding = Binding::new(Q, "q", Access::Read);
const KEYS_BINDING: Binding = Binding::new(KEYS, "keys", Access::Read);
const VALUES_BINDING: Binding = Binding::new(VALUES, "values", Access::Read);
const KEY_PARAMS_BINDING: Binding = Binding::new(KEY_PARAMS, "key_params", Access::Read);
const VALUE_PARAMS_BINDING: Binding = Binding::new(VALUE_PARAMS, "value_params", Access::Read);
const SCHEDULE_BINDING: Binding = Binding::new(SCHEDULE, "schedule", Access::Read);
const O_BINDING: Binding = Binding::new(O, "o", Access::ReadWrite);
const STATES_BINDING: Binding = Binding::new(STATES, "states", Access::ReadWrite);

/// Parameters are bound where rows have some; what is not is not declared either.
fn bindings(scaled: bool) -> &'static [Binding] {
    use self::{
        KEY_PARAMS_BINDING as KP, KEYS_BINDING as K, O_BINDING as O, PARAMS_BINDING as P,
        Q_BINDING as Q, SCHEDULE_BINDING as S, STATES_BINDING as T, VALUE_PARAMS_BINDING as VP,
        VALUES_BINDING as V,
    };
    if scaled { &[P, Q, K, V, KP, VP, S, O, T] } else { &[P, Q, K, V, S, O, T] }
}

/// One step of decoding over one layer's cache, described: its first kernel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DecodeSplit {
    /// What rows are.
    pub shape: CacheShape,
    /// Rows of the tensors.
    pub tensor_rows: u32,
    /// Who asks.
    pub queries: DecodeQueries,
    /// Who reads what.
    pub schedule: ScheduleShape,
    /// Rows of all heads that are read: for [`Traffic`] only.
    pub rows: u64,
}

/// Both kernels, one after the other, with states in scratch memory: whole outputs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decode(pub DecodeSplit);

impl DecodeSplit {
    /// Queries over a layout by a schedule that was made for it.
    ///
    /// # Errors
    /// As [`Schedule::check`].
    pub fn new(queries: DecodeQueries, layout: &Layout, schedule: &Schedule) -> Result<Self> {
        schedule.check(layout)?;
        let (shape, tensor_rows) = (*layout.shape(), layout.rows());
        Ok(Self { shape, tensor_rows, queries, schedule: *schedule.shape(), rows: schedule.rows() })
    }

    /// The kernel that puts the states together.
    pub fn merge(&self) -> DecodeMerge {
        DecodeMerge::of_slots(self.shape, self.queries, self.schedule)
    }

    /// Elements of `states`, f32; 0 where none is written.
    pub fn states_len(&self) -> u64 {
        let (rows, dim) = (self.queries.rows() as u64, self.shape.head_dim() as u64);
        let direct = if self.queries.lse { 4 * u64::from(self.schedule.heads) * rows } else { 0 };
        u64::from(self.schedule.slots) * rows * (dim + 4) + direct
    }

    fn check(&self) -> Result<()> {
        self.queries.check()?;
        let heads = self.shape.kv_heads();
        if self.schedule.heads as usize != heads {
            return Err(Error::shape("KV heads of the schedule", heads, self.schedule.heads));
        }
        let (starts, q_len) = (self.schedule.starts as usize, self.queries.q_len);
        if starts != 0 && starts != q_len {
            return Err(Error::shape("new tokens with starts of a window", q_len, starts));
        }
        self.shape.checked_rows(self.tensor_rows.into())?;
        Ok(())
    }

    fn attend(&self) -> Attend<'_> {
        Attend { kernel: NAME, shape: &self.shape, queries: &self.queries }
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
        all.push(decode::operand((SCHEDULE, "schedule"), self.schedule.words(), 4, caps)?);
        all.push(decode::operand((O, "o"), elements, queries.output.bytes(), caps)?);
        if self.states_len() > 0 {
            all.push(decode::operand((STATES, "states"), self.states_len(), 4, caps)?);
        }
        // A cache without rows has no bytes to bind: none are read.
        all.retain(|operand| operand.bytes > 0);
        Ok(all)
    }

    /// The rows read, queries and outputs; states are an artifact of the plan.
    fn traffic(&self) -> Traffic {
        let Self { shape, queries, rows, .. } = self;
        let elements = queries.q_len_of(shape) as u64;
        let each = 8 * (shape.row_words() + shape.row_params()) as u64;
        let products = 4 * (shape.head_dim() * queries.rows()) as u64;
        Traffic {
            read_bytes: rows * each + elements * queries.input.bytes() as u64,
            write_bytes: elements * queries.output.bytes() as u64,
            flops: rows * products,
        }
    }

    fn launch(&self, caps: &Caps, knobs: &Knobs) -> Result<Launch> {
        self.check()?;
        let form = self.attend().form(caps, knobs)?;
        let (operands, bindings) = (self.operands(caps)?, bindings(self.shape.element().scaled()));
        let mut needs =
            decode::needs(LANES, self.attend().workgroup_bytes(form), bindings.len(), &operands);
        needs.subgroups = form != Form::Workgroup;
        needs.f16 = matches!(form, Form::Half(_));
        needs.check(NAME, caps)?;
        let (inner, outer) = self.queries.factors();
        let params = decode::Params { inner, outer, ..self.schedule.params()? };
        Ok(Launch {
            kernel: NAME,
            variant: form.name(),
            shader: self.shader(form),
            bindings,
            operands,
            params: bytemuck::bytes_of(&params).to_vec(),
            grid: linear_grid(NAME, self.schedule.groups.into(), caps.max_groups)?,
            scratch: Vec::new(),
            needs,
            traffic: self.traffic(),
        })
    }
}

impl Spec for DecodeSplit {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        Ok(vec![self.launch(caps, knobs)?])
    }
}

impl Spec for Decode {
    fn kernel(&self) -> &'static str {
        NAME
    }

    /// The first kernel, and where there are slots or `lse` is asked for the second.
    fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        let mut launches = self.0.launches(caps, knobs)?;
        launches.extend(self.0.merge().launches(caps, knobs)?);
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
