//! `append_kv`: encodes the keys and values of new tokens and writes them behind the rows that every
//! head of a cache has.
//!
//! `keys` and `values` are `[tokens, input_heads, head_dim]`, f32 or f16, of which the cache has heads
//! `first_head .. first_head + kv_heads`; usually that is all. Token `i` of head `h` becomes row
//! `kept[h] + before + i`, where [layouts](crate::attention#layouts) say, in the cache's
//! [format](crate::attention#rows): bit by bit what [`encode_row`](crate::attention::encode_row) makes.
//! Devices that divide inexactly decide by products, which are exact. Keys may be turned by their
//! positions first ([`Rotary`]), in f32; devices may join a product and a sum, so those are equal up to
//! the roundings of two products and a sum.
//!
//! Numbers that are not finite: f32, f16 and bf16 store them as what they are (NaN of f16 become
//! quiet ones). int8 and int4 cannot, and a kernel gives no error: NaN counts as 0, an infinity as the
//! largest f32 number of its sign. Turned pairs with such numbers are not specified.
//!
//! | binding | tensor | contents |
//! |---|---|---|
//! | 0 | params | 8 words, see `shaders/attention/append/params.wgsl` |
//! | 1 | keys | `[tokens, input_heads, head_dim]`, f32, or f16 in pairs |
//! | 2 | values | the same |
//! | 3 | heads | `[kv_heads][2]`, u32: [`LayoutView::head_words`](crate::attention::LayoutView::head_words) |
//! | 4 | page table | `[entries]`, u32; absent without pages |
//! | 5 | step | 4 words: [`Step::words`] |
//! | 6, 7 | words of keys, of values | `[rows, row_words]`, u32 |
//! | 8, 9 | params of keys, of values | `[rows]`, u32; elements with a scale only |
//! | 10 | angles | `[angle_rows, dims / 2, 2]`, f32: cosine and sine; with [`Rotary`] only |
//! | 11 | positions | `[rows]`, u32; where the cache keeps them |
//!
//! Two launches, keys and then values, as one would need more than eight buffers; they may run beside
//! each other. What changes from step to step is in `step`, so one plan serves every step of as many
//! tokens until the cache is laid out anew. Nothing is written beyond the cache, whatever `step` says.
//!
//! One variant, `baseline`: no feature, default limits. Knobs: `rows`, 1, 2 or 4 new rows of a workgroup,
//! 64 lanes each; 1 for few rows, else 4. [`Traffic`] counts new rows, and what says where they go. Source:
//! the slack segments are our own; the system is "KVzip", arXiv 2505.23416.

mod bindings;
#[cfg(test)]
mod division;
mod reference;
mod rotary;
#[cfg(test)]
mod tests;

pub use bindings::{
    ANGLES, HEADS, KEY_PARAMS, KEY_WORDS, KEYS, PAGE_TABLE, POSITIONS, STEP, VALUE_PARAMS,
    VALUE_WORDS, VALUES,
};
pub use reference::{NewRow, StoredRow, reference, rotated};
pub use rotary::{Pairing, Rotary, rotary_angles};

use self::bindings::{key_bindings, value_bindings};
use super::places::{largest, whole};
use super::{CacheShape, KvElement, Places};
use crate::launch::{
    Caps, Knobs, Launch, Needs, Operand, Part, Shader, Spec, Traffic, linear_grid, part,
};
use crate::linear::Activation;
use crate::{Error, Result};

/// The kernel's name.
pub const NAME: &str = "append_kv";

/// Lanes of a row.
const SQUAD: u32 = 64;
/// From so many new rows on a workgroup makes several: fewer are better spread out.
const MANY_ROWS: u64 = 2048;

/// What changes from step to step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Step {
    /// Rows appended before: what [`Layout::append`](crate::attention::Layout::append) gives back.
    pub before: u32,
    /// The position of the first new token.
    pub position: u32,
    /// Its row of the table of angles: the position where the table is that of all positions, 0 where
    /// it is made for the step.
    pub angle_row: u32,
}

impl Step {
    /// As the kernel binds it.
    pub fn words(&self) -> [u32; 4] {
        [self.before, self.position, self.angle_row, 0]
    }
}

/// Mirrors `Params` of the shader.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Params {
    rows: u32,
    heads: u32,
    input_heads: u32,
    first_head: u32,
    cache_rows: u32,
    entries: u32,
    page_rows: u32,
    angle_rows: u32,
}

/// Steps of one kind, described.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AppendKv {
    /// Heads, their dimension, and what rows become.
    pub shape: CacheShape,
    /// Where rows may lie.
    pub places: Places,
    /// New tokens.
    pub tokens: u32,
    /// Element type of what is given.
    pub input: Activation,
    /// KV heads of what is given.
    pub input_heads: usize,
    /// Which of them is the cache's first.
    pub first_head: usize,
    /// Whether keys are turned by their positions, and how.
    pub rotary: Option<Rotary>,
    /// Whether the cache keeps positions.
    pub positions: bool,
}

impl AppendKv {
    /// Keys and values of f32 of exactly the cache's heads, not turned, without positions.
    pub fn new(shape: CacheShape, places: Places, tokens: u32) -> Self {
        let (input, input_heads) = (Activation::F32, shape.kv_heads());
        let (first_head, rotary, positions) = (0, None, false);
        Self { shape, places, tokens, input, input_heads, first_head, rotary, positions }
    }

    /// Numbers of `keys` and of `values`.
    pub fn input_len(&self) -> usize {
        (self.tokens as usize).saturating_mul(self.input_heads * self.shape.head_dim())
    }

    fn check(&self) -> Result<()> {
        let heads = self.shape.kv_heads();
        let most = Error::range("KV heads of the input", "1..=65535", self.input_heads);
        if !(1..=0xffff).contains(&self.input_heads) {
            return Err(most);
        }
        let first = self.input_heads.checked_sub(heads).filter(|most| self.first_head <= *most);
        if first.is_none() {
            let (expected, found) = (
                format!("heads of 0..{}, those of the input", self.input_heads),
                format!("{heads} heads from {}", self.first_head),
            );
            return Err(Error::shape("KV heads of the cache", expected, found));
        }
        if let Some(rotary) = self.rotary {
            let dim = self.shape.head_dim();
            if !rotary.dims.is_multiple_of(2) || !(2..=dim).contains(&rotary.dims) {
                let limit = format!("the even numbers in 2..={dim}");
                return Err(Error::range("rotated dimensions", limit, rotary.dims));
            }
            if rotary.angle_rows < self.tokens {
                let limit = format!("{}.., one a token", self.tokens);
                return Err(Error::range("rows of angles", limit, rotary.angle_rows));
            }
        }
        self.places.check("a cache")
    }

    /// New rows of a workgroup.
    fn rows(&self, caps: &Caps, knobs: &Knobs, all: u64) -> Result<u32> {
        let Some(rows) = knobs.rows else {
            let fits = 4 * SQUAD <= caps.max_invocations;
            return Ok(if all >= MANY_ROWS && fits { 4 } else { 1 });
        };
        match rows {
            1 | 2 | 4 => Ok(rows),
            _ => Err(Error::range(format!("rows a workgroup of {NAME}"), "1, 2, 4", rows)),
        }
    }

    fn operands(&self, side: Side, caps: &Caps) -> Result<Vec<Operand>> {
        let numbers = self.input_len() as u64;
        let words = match self.input {
            Activation::F32 => numbers,
            Activation::F16 => numbers.div_ceil(2),
        };
        let rows = u64::from(self.places.rows);
        let (inputs, stored, params) = match side {
            Side::Keys => (KEYS, KEY_WORDS, KEY_PARAMS),
            Side::Values => (VALUES, VALUE_WORDS, VALUE_PARAMS),
        };
        let what = side.name();
        let mut all = vec![
            whole(inputs, &format!("new {what}"), words, caps)?,
            whole(HEADS, "heads of the cache", 2 * self.shape.kv_heads() as u64, caps)?,
            whole(STEP, "step", 4, caps)?,
        ];
        if self.places.page_rows > 0 {
            let entries = self.places.entries.into();
            all.push(whole(PAGE_TABLE, "page table of the cache", entries, caps)?);
        }
        let stored_words = rows * self.shape.row_words() as u64;
        all.push(whole(stored, &format!("{what} of the cache"), stored_words, caps)?);
        if self.shape.element().scaled() {
            all.push(whole(params, &format!("params of {what} of the cache"), rows, caps)?);
        }
        if side == Side::Keys {
            if let Some(rotary) = self.rotary {
                all.push(whole(ANGLES, "angles", rotary.angles_len() as u64, caps)?);
            }
            if self.positions {
                all.push(whole(POSITIONS, "positions of the cache", rows, caps)?);
            }
        }
        all.sort_by_key(|operand| operand.binding);
        Ok(all)
    }

    fn shader(&self, side: Side, rows: u32) -> Shader {
        let (element, keys) = (self.shape.element(), side == Side::Keys);
        let rotary = self.rotary.filter(|_| keys);
        let mut parts: Vec<Part> =
            vec![part!("lib/half.wgsl"), part!("attention/append/params.wgsl")];
        parts.push(match self.input {
            Activation::F32 => part!("attention/append/input_f32.wgsl"),
            Activation::F16 => part!("attention/append/input_f16.wgsl"),
        });
        parts.push(match rotary {
            None => part!("attention/append/as_given.wgsl"),
            Some(_) => part!("attention/append/rotated.wgsl"),
        });
        if element.scaled() {
            parts.push(part!("attention/append/scaled.wgsl"));
        }
        parts.push(match element {
            KvElement::F32 => part!("attention/append/store_f32.wgsl"),
            KvElement::F16 => part!("attention/append/store_f16.wgsl"),
            KvElement::Bf16 => part!("attention/append/store_bf16.wgsl"),
            KvElement::Int8 => part!("attention/append/store_int8.wgsl"),
            KvElement::Int4 => part!("attention/append/store_int4.wgsl"),
        });
        parts.push(match self.positions && keys {
            true => part!("attention/append/positions.wgsl"),
            false => part!("attention/append/no_positions.wgsl"),
        });
        parts.push(part!("attention/append_kv.wgsl"));
        let (inputs, words, params) = match side {
            Side::Keys => (KEYS, KEY_WORDS, KEY_PARAMS),
            Side::Values => (VALUES, VALUE_WORDS, VALUE_PARAMS),
        };
        let mut preamble = String::new();
        for (name, value) in [
            ("INPUT", inputs as usize),
            ("WORDS", words as usize),
            ("STORED_PARAMS", params as usize),
            ("ROWS", rows as usize),
            ("DIM", self.shape.head_dim()),
            ("ROW_WORDS", self.shape.row_words()),
            ("USED_WORDS", self.shape.used_words()),
            ("PER_WORD", element.per_word()),
            ("HALF", rotary.map_or(0, |rotary| rotary.dims / 2)),
        ] {
            preamble += &format!("const {name}: u32 = {value}u;\n");
        }
        let interleaved = rotary.is_some_and(|rotary| rotary.pairing == Pairing::Interleaved);
        preamble += &format!("const INTERLEAVED: bool = {interleaved};\n");
        Shader { entry: NAME, preamble, parts, constants: Vec::new() }
    }

    fn traffic(&self, side: Side) -> Traffic {
        let (tokens, heads) = (u64::from(self.tokens), self.shape.kv_heads() as u64);
        let rows = tokens * heads;
        // Heads and step; as few entries of the page table as the rows can have.
        let pages = match self.places.page_rows {
            0 => 0,
            page_rows => 4 * heads * tokens.div_ceil(page_rows.into()),
        };
        let rotary = self.rotary.filter(|_| side == Side::Keys);
        let dims = rotary.map_or(0, |rotary| rotary.dims as u64);
        let positions = u64::from(self.positions && side == Side::Keys);
        let stored = (self.shape.row_words() + self.shape.row_params()) as u64 + positions;
        Traffic {
            read_bytes: rows * (self.shape.head_dim() * self.input.bytes()) as u64
                + 4 * tokens * dims
                + 8 * heads
                + 16
                + pages,
            write_bytes: 4 * rows * stored,
            flops: 3 * rows * dims,
        }
    }

    fn launch(&self, side: Side, caps: &Caps, knobs: &Knobs) -> Result<Launch> {
        let heads = self.shape.kv_heads() as u64;
        let all = u64::from(self.tokens) * heads;
        let rows = self.rows(caps, knobs, all)?;
        let operands = self.operands(side, caps)?;
        let most = || Error::range("new rows", format!("0..={}", u32::MAX), all);
        let params = Params {
            rows: u32::try_from(all).map_err(|_| most())?,
            // Both at most 65,535.
            heads: heads as u32,
            input_heads: self.input_heads as u32,
            first_head: self.first_head as u32,
            cache_rows: self.places.rows,
            entries: self.places.entries,
            page_rows: self.places.page_rows,
            angle_rows: self.rotary.map_or(0, |rotary| rotary.angle_rows),
        };
        let scaled = self.shape.element().scaled();
        let extremes = if scaled { 8 * SQUAD } else { 0 };
        let bindings = match side {
            Side::Keys => key_bindings(scaled, self.rotary.is_some(), self.positions),
            Side::Values => value_bindings(scaled),
        };
        let needs = Needs {
            // At most 256 numbers of 4 bytes.
            workgroup_bytes: rows * (4 * self.shape.head_dim() as u32 + extremes),
            invocations: rows * SQUAD,
            // All but the uniform one.
            storage_buffers: bindings.len() as u32 - 1,
            binding_bytes: largest(&operands),
            ..Needs::default()
        };
        needs.check(NAME, caps)?;
        Ok(Launch {
            kernel: NAME,
            variant: "baseline",
            shader: self.shader(side, rows),
            bindings,
            operands,
            params: bytemuck::bytes_of(&params).to_vec(),
            grid: linear_grid(NAME, all.div_ceil(rows.into()), caps.max_groups)?,
            scratch: Vec::new(),
            needs,
            traffic: self.traffic(side),
        })
    }
}

/// Which tensor a launch writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Keys,
    Values,
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Values => "values",
        }
    }
}

impl Spec for AppendKv {
    fn kernel(&self) -> &'static str {
        NAME
    }

    /// None for no tokens.
    ///
    /// # Errors
    /// [`Error::Range`] and [`Error::Shape`] for sizes that cannot be, [`Error::BindingTooLarge`] naming
    /// the tensor: a cache can be split by its heads.
    fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        if self.tokens == 0 {
            return Ok(Vec::new());
        }
        self.check()?;
        [Side::Keys, Side::Values].into_iter().map(|side| self.launch(side, caps, knobs)).collect()
    }

    fn candidates(&self, _caps: &Caps) -> Vec<Knobs> {
        let rows = |rows| Knobs { rows: Some(rows), ..Knobs::DEFAULT };
        vec![Knobs::DEFAULT, rows(1), rows(2), rows(4)]
    }
}
