//! What `decode_split` and `decode_merge` have in common: the queries, parameters, and the schedule.

mod attend;
mod schedule;

pub(super) use attend::{Attend, Form, LANES};
pub use schedule::{Schedule, ScheduleShape};

use super::CacheShape;
use crate::launch::{Caps, Needs, Operand};
use crate::linear::{Activation, Arithmetic};
use crate::{Error, Result};

/// Number of the queries' binding; of given parts, that of their outputs.
pub const Q: u32 = 1;
/// Number of the keys' binding; of given parts, that of their sums.
pub const KEYS: u32 = 2;
/// Number of the values' binding.
pub const VALUES: u32 = 3;
/// Number of the binding of the keys' parameters.
pub const KEY_PARAMS: u32 = 4;
/// Number of the binding of the values' parameters.
pub const VALUE_PARAMS: u32 = 5;
/// Number of the schedule's binding.
pub const SCHEDULE: u32 = 6;
/// Number of the output's binding.
pub const O: u32 = 7;
/// Number of the binding of partial states.
pub const STATES: u32 = 8;
/// Number of the binding of the sums' logarithms.
pub const LSE: u32 = 9;

/// Most query rows of a KV head: query heads that share it, times new tokens.
pub const MAX_ROWS: usize = 16;

/// Mirrors `Params` of `shaders/attention/decode_params.wgsl`.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(super) struct Params {
    pub(super) heads: u32,
    pub(super) groups: u32,
    pub(super) slots: u32,
    pub(super) page_rows: u32,
    pub(super) head_rows: u32,
    pub(super) starts: u32,
    pub(super) group_first: u32,
    pub(super) head_slots: u32,
    pub(super) segments: u32,
    pub(super) pages: u32,
    pub(super) inner: f32,
    pub(super) outer: f32,
    pub(super) masks: u32,
    pub(super) mask_words: u32,
    pub(super) mask_first: u32,
    pub(super) mask_rows: u32,
}

/// Queries of the newest tokens, and what becomes of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DecodeQueries {
    /// Query heads that share a KV head.
    pub group: usize,
    /// New tokens; their rows have been appended already.
    pub q_len: usize,
    /// What dot products are multiplied by, usually `1 / sqrt(head_dim)`.
    pub scale: f32,
    /// The bound of logits, if they have one.
    pub softcap: Option<f32>,
    /// Element type of `q`.
    pub input: Activation,
    /// Element type of `o`.
    pub output: Activation,
    /// Whether `lse` is written besides.
    pub lse: bool,
    /// In what dot products are computed. [`Arithmetic::F16`] rounds queries to f16 and takes caches of
    /// f16: see [`decode_split`](super::decode_split#arithmetic).
    pub arithmetic: Arithmetic,
}

impl DecodeQueries {
    /// One token, a scale of `1 / sqrt(head_dim)`, no softcap, all of f32, no `lse`.
    pub fn new(shape: &CacheShape, group: usize) -> Self {
        // 16 at most; and the dimension is 256 at most.
        let scale = (shape.head_dim() as f32).sqrt().recip();
        let (input, output, arithmetic) = (Activation::F32, Activation::F32, Arithmetic::F32);
        Self { group, q_len: 1, scale, softcap: None, input, output, lse: false, arithmetic }
    }

    /// Query rows of a KV head.
    pub fn rows(&self) -> usize {
        self.group.saturating_mul(self.q_len)
    }

    /// Elements of `q`, and of `o`.
    pub fn q_len_of(&self, shape: &CacheShape) -> usize {
        self.lse_len(shape.kv_heads()).saturating_mul(shape.head_dim())
    }

    /// Elements of `lse`, of a cache with so many KV heads.
    pub fn lse_len(&self, kv_heads: usize) -> usize {
        self.rows().saturating_mul(kv_heads)
    }

    pub(super) fn check(&self) -> Result<()> {
        let limit = format!("1..={MAX_ROWS}");
        for (what, value) in [
            ("query heads of a KV head", self.group),
            ("new tokens", self.q_len),
            ("query rows of a KV head, query heads times new tokens,", self.rows()),
        ] {
            if !(1..=MAX_ROWS).contains(&value) {
                return Err(Error::range(what, limit, value));
            }
        }
        self.check_logits()
    }

    /// Whether logits can be made, of however many query rows.
    pub(super) fn check_logits(&self) -> Result<()> {
        if !self.scale.is_finite() {
            return Err(Error::range("attention scale", "finite numbers", self.scale));
        }
        match self.softcap {
            Some(c) if !(c.is_finite() && c > 0.0) => {
                Err(Error::range("softcap", "finite numbers above 0", c))
            }
            _ => Ok(()),
        }
    }

    /// What is within the softcap's tangent, and what a logit in base 2 is multiplied by last.
    pub(super) fn factors(&self) -> (f32, f32) {
        use std::f64::consts::LOG2_E;
        let scale = f64::from(self.scale);
        let (inner, outer) = match self.softcap.map(f64::from) {
            None => (0.0, scale * LOG2_E),
            Some(c) => (scale / c, c * LOG2_E),
        };
        // One rounding each.
        (inner as f32, outer as f32)
    }

    /// Constants of both kernels.
    pub(super) fn preamble(&self, head_dim: usize) -> String {
        let (group, q_len, rows) = (self.group, self.q_len, self.rows());
        let (quads, lse) = (head_dim / 4, self.lse);
        format!(
            "const GROUP: u32 = {group}u;\nconst Q_LEN: u32 = {q_len}u;\nconst ROWS: u32 = {rows}u;\n\
             const HEAD_QUADS: u32 = {quads}u;\nconst LSE: bool = {lse};\n"
        )
    }
}

/// A tensor that is bound whole, where it fits.
pub(super) fn operand(
    (binding, what): (u32, &str),
    elements: u64,
    each: usize,
    caps: &Caps,
) -> Result<Operand> {
    let bytes = elements.saturating_mul(each as u64);
    let limit = caps.bindable_bytes();
    match bytes.checked_next_multiple_of(4) {
        Some(bytes) if bytes <= limit => Ok(Operand { binding, piece: 0, offset: 0, bytes }),
        _ => Err(Error::BindingTooLarge { what: what.to_owned(), bytes, limit }),
    }
}

/// What a launch with these operands needs.
pub(super) fn needs(lanes: u32, workgroup_bytes: u32, bindings: usize, all: &[Operand]) -> Needs {
    Needs {
        workgroup_bytes,
        invocations: lanes,
        // A uniform buffer is among them.
        storage_buffers: bindings as u32 - 1,
        binding_bytes: all.iter().map(|operand| operand.bytes).max().unwrap_or(0),
        ..Needs::default()
    }
}
