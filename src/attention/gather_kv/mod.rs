//! `gather_kv`: copies the rows that stay of a cache into another cache, as they are stored.
//!
//! With lists `first [kv_heads + 1]` and `rows` ([`KeepLists`](crate::attention::KeepLists)), row
//! `rows[first[h] + i]` of head `h` becomes its row `i`, where the [layouts](crate::attention#layouts) of
//! both caches say: any layout becomes any other. Words and params are not looked into. Rows that no list
//! has are left out, rows of the new cache that nothing becomes stay as they are. Both caches have buffers
//! of their own.
//!
//! | binding | tensor | contents |
//! |---|---|---|
//! | 0 | params | 8 words, see `shaders/attention/gather_kv.wgsl` |
//! | 1, 3 | heads of the old cache, of the new one | `[kv_heads][2]`, u32 |
//! | 2, 4 | page tables of both | `[entries]`, u32; absent without pages |
//! | 5 | first | `[kv_heads + 1]`, u32 |
//! | 6 | rows | `[first[kv_heads]]`, u32 |
//! | 7, 8 | keys of both | `[rows, row_words]`, u32 in pieces of 16 bytes |
//! | 9, 10 | values of both | the same |
//! | 11, 12 | params of keys of both | `[rows]`, u32; elements with a scale only |
//! | 13, 14 | params of values of both | the same |
//! | 15, 16 | positions of both | `[rows]`, u32; where they are kept |
//!
//! A launch for each of these pairs, of one shader: together they would need more than eight buffers. None
//! waits for another. [`Traffic`] counts every row that stays twice, once on either side, and for each
//! launch the lists and the heads. Nothing is touched beyond the caches, whatever the lists say.
//!
//! One variant, `baseline`: no feature, default limits. Knobs: `workgroup`, lanes, and rows of the lists a
//! workgroup; 64 by default. Source: the compaction of "KVzip", arXiv 2505.23416, as this project does it.

mod reference;
#[cfg(test)]
mod tests;

pub use reference::reference;

use super::places::{largest, whole};
use super::{CacheShape, PIECE, Places};
use crate::launch::{
    Access, Binding, Caps, Knobs, Launch, Needs, Operand, Shader, Spec, Traffic, linear_grid, part,
};
use crate::{Error, Result};

/// The kernel's name.
pub const NAME: &str = "gather_kv";

/// Number of the binding of the old cache's heads.
pub const FROM_HEADS: u32 = 1;
/// Number of the binding of the old cache's page table.
pub const FROM_PAGES: u32 = 2;
/// Number of the binding of the new cache's heads.
pub const TO_HEADS: u32 = 3;
/// Number of the binding of the new cache's page table.
pub const TO_PAGES: u32 = 4;
/// Number of the binding of where lists begin.
pub const FIRST: u32 = 5;
/// Number of the lists' binding.
pub const ROWS: u32 = 6;

/// A tensor that both caches have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Gathered {
    /// The words of keys.
    Keys,
    /// The words of values.
    Values,
    /// The params of keys.
    KeyParams,
    /// The params of values.
    ValueParams,
    /// The positions.
    Positions,
}

impl Gathered {
    /// Numbers of the bindings of the old cache's tensor and of the new one's.
    pub const fn bindings(self) -> (u32, u32) {
        match self {
            Self::Keys => (7, 8),
            Self::Values => (9, 10),
            Self::KeyParams => (11, 12),
            Self::ValueParams => (13, 14),
            Self::Positions => (15, 16),
        }
    }

    const fn declared(self) -> &'static [Binding; 9] {
        const KEYS: [Binding; 9] = declared(Gathered::Keys.bindings());
        const VALUES: [Binding; 9] = declared(Gathered::Values.bindings());
        const KEY_PARAMS: [Binding; 9] = declared(Gathered::KeyParams.bindings());
        const VALUE_PARAMS: [Binding; 9] = declared(Gathered::ValueParams.bindings());
        const POSITIONS: [Binding; 9] = declared(Gathered::Positions.bindings());
        match self {
            Self::Keys => &KEYS,
            Self::Values => &VALUES,
            Self::KeyParams => &KEY_PARAMS,
            Self::ValueParams => &VALUE_PARAMS,
            Self::Positions => &POSITIONS,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Values => "values",
            Self::KeyParams => "params of keys",
            Self::ValueParams => "params of values",
            Self::Positions => "positions",
        }
    }
}

const fn declared((from, to): (u32, u32)) -> [Binding; 9] {
    [
        Binding::new(0, "params", Access::Uniform),
        Binding::new(FROM_HEADS, "from_heads", Access::Read),
        Binding::new(FROM_PAGES, "from_pages", Access::Read),
        Binding::new(TO_HEADS, "to_heads", Access::Read),
        Binding::new(TO_PAGES, "to_pages", Access::Read),
        Binding::new(FIRST, "first", Access::Read),
        Binding::new(ROWS, "rows", Access::Read),
        Binding::new(from, "src", Access::Read),
        Binding::new(to, "dst", Access::ReadWrite),
    ]
}

/// Mirrors `Params` of the shader.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Params {
    rows: u32,
    heads: u32,
    from_rows: u32,
    to_rows: u32,
    from_entries: u32,
    to_entries: u32,
    from_page_rows: u32,
    to_page_rows: u32,
}

/// One copy, described.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GatherKv {
    /// Heads, dimension and element of both caches.
    pub shape: CacheShape,
    /// Rows of all lists.
    pub rows: u32,
    /// Where rows lie in the old cache.
    pub from: Places,
    /// Where rows lie in the new one.
    pub to: Places,
    /// Whether both keep positions.
    pub positions: bool,
}

impl GatherKv {
    /// The tensors that are copied, in the order of the launches.
    pub fn tensors(&self) -> Vec<Gathered> {
        let mut all = vec![Gathered::Keys, Gathered::Values];
        if self.shape.element().scaled() {
            all.extend([Gathered::KeyParams, Gathered::ValueParams]);
        }
        if self.positions {
            all.push(Gathered::Positions);
        }
        all
    }

    /// Words of a row of a tensor.
    pub fn row_words(&self, tensor: Gathered) -> usize {
        match tensor {
            Gathered::Keys | Gathered::Values => self.shape.row_words(),
            Gathered::KeyParams | Gathered::ValueParams | Gathered::Positions => 1,
        }
    }

    fn operands(&self, tensor: Gathered, caps: &Caps) -> Result<Vec<Operand>> {
        let (heads, row_words) = (self.shape.kv_heads() as u64, self.row_words(tensor) as u64);
        let mut all = vec![
            whole(FROM_HEADS, "heads of the old cache", 2 * heads, caps)?,
            whole(TO_HEADS, "heads of the new cache", 2 * heads, caps)?,
            whole(FIRST, "beginnings of lists of kept rows", heads + 1, caps)?,
            whole(ROWS, "lists of kept rows", self.rows.into(), caps)?,
        ];
        let (from, to) = tensor.bindings();
        let sides = [(&self.from, "old", FROM_PAGES, from), (&self.to, "new", TO_PAGES, to)];
        for (places, cache, pages, binding) in sides {
            if places.page_rows > 0 {
                let what = format!("page table of the {cache} cache");
                all.push(whole(pages, &what, places.entries.into(), caps)?);
            }
            let what = format!("{} of the {cache} cache", tensor.name());
            all.push(whole(binding, &what, u64::from(places.rows) * row_words, caps)?);
        }
        all.sort_by_key(|operand| operand.binding);
        Ok(all)
    }

    fn launch(&self, tensor: Gathered, lanes: u32, caps: &Caps) -> Result<Launch> {
        let operands = self.operands(tensor, caps)?;
        let (rows, heads) = (u64::from(self.rows), self.shape.kv_heads() as u64);
        let row_words = self.row_words(tensor);
        let (units, unit) = match row_words {
            1 => (1, "u32"),
            words => (words / PIECE, "vec4<u32>"),
        };
        let (from, to) = tensor.bindings();
        let preamble = format!(
            "const LANES: u32 = {lanes}u;\nconst UNITS: u32 = {units}u;\nalias Unit = {unit};\n\
             const FROM: u32 = {from}u;\nconst TO: u32 = {to}u;\n"
        );
        let params = Params {
            rows: self.rows,
            // At most 65,535.
            heads: heads as u32,
            from_rows: self.from.rows,
            to_rows: self.to.rows,
            from_entries: self.from.entries,
            to_entries: self.to.entries,
            from_page_rows: self.from.page_rows,
            to_page_rows: self.to.page_rows,
        };
        let bindings = tensor.declared();
        let needs = Needs {
            workgroup_bytes: 8 * lanes,
            invocations: lanes,
            // All but the uniform one.
            storage_buffers: bindings.len() as u32 - 1,
            binding_bytes: largest(&operands),
            ..Needs::default()
        };
        needs.check(NAME, caps)?;
        // As few entries of page tables as the rows can have.
        let pages = |places: &Places| match places.page_rows {
            0 => 0,
            page_rows => 4 * rows.div_ceil(page_rows.into()),
        };
        let places = 4 * rows + 4 * (heads + 1) + 16 * heads + pages(&self.from) + pages(&self.to);
        let bytes = 4 * rows * row_words as u64;
        Ok(Launch {
            kernel: NAME,
            variant: "baseline",
            shader: Shader {
                entry: NAME,
                preamble,
                parts: vec![part!("attention/gather_kv.wgsl")],
                constants: Vec::new(),
            },
            bindings,
            operands,
            params: bytemuck::bytes_of(&params).to_vec(),
            grid: linear_grid(NAME, rows.div_ceil(lanes.into()), caps.max_groups)?,
            scratch: Vec::new(),
            needs,
            traffic: Traffic { read_bytes: bytes + places, write_bytes: bytes, flops: 0 },
        })
    }
}

impl Spec for GatherKv {
    fn kernel(&self) -> &'static str {
        NAME
    }

    /// None where no row stays.
    ///
    /// # Errors
    /// [`Error::Range`] and [`Error::Shape`] for sizes that cannot be, [`Error::BindingTooLarge`] naming
    /// the tensor.
    fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        if self.rows == 0 {
            return Ok(Vec::new());
        }
        self.from.check("the old cache")?;
        self.to.check("the new cache")?;
        let least = self.from.rows.min(self.to.rows);
        if self.rows > least {
            return Err(Error::range("rows to gather", format!("0..={least}"), self.rows));
        }
        let lanes = knobs.workgroup.unwrap_or(64);
        let most = caps.max_invocations.min(1024);
        if !lanes.is_power_of_two() || !(8..=most).contains(&lanes) {
            let limit = format!("the powers of two in 8..={most}");
            return Err(Error::range(format!("workgroup of {NAME}"), limit, lanes));
        }
        self.tensors().into_iter().map(|tensor| self.launch(tensor, lanes, caps)).collect()
    }

    fn candidates(&self, _caps: &Caps) -> Vec<Knobs> {
        let lanes = |lanes| Knobs { workgroup: Some(lanes), ..Knobs::DEFAULT };
        vec![Knobs::DEFAULT, lanes(32), lanes(128), lanes(256)]
    }
}
