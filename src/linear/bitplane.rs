//! What all kernels over bit-plane weights have in common: the format, parameters, parts, operands.
//!
//! # The format, `skew-1`
//! A layer of `rows x cols` codes of `parent_bits` bits is stored as planes
//! `[parent_bits, rows, words]` of u32, `words = ceil(cols / 32)`, plane 0 holding the most
//! significant bit of every code. The code at `b` bits is the code at `parent_bits` without its
//! last bits, so the first `b` planes are the `b`-bit model.
//!
//! *Which weights share a word.* A row is cut into chunks of 1024 weights; the last chunk may be
//! shorter. A chunk of `32 T` weights has `T` words. Word `t` holds four runs of eight: weight
//! `i = 8 r + s` of the word (`r` 0 to 3, `s` 0 to 7) is weight `8 T r + 8 t + s` of the chunk.
//! Lanes that take neighbouring words thus read neighbouring runs of activations. Where `cols` is
//! no multiple of 32 the row is padded with codes of 0, which meet activations of 0.
//!
//! *Which bit.* Weight `i` has position `p(i)`: for `t` 0 to 7, `p(2t) = 4t + 3`,
//! `p(2t + 1) = 4t + 1`, `p(16 + 2t) = 4t + 2`, `p(17 + 2t) = 4t`. Plane `j` stores it at bit
//! `(p(i) - j) mod 32`. Because of that skew, codes are assembled from planes by bit selection
//! alone: see `shaders/linear/codes_*.wgsl`. The published layout shares the words and puts weight
//! `i` at bit `31 - i` of every plane, so importing it moves bits within words only.
//!
//! *Golden vector.* 32 weights with codes `(37 i + 11) mod 256`, planes 0 to 7: `1A758E51 25694B5A
//! 98EE7118 D4B34B34 C03C3FC3 01FE01FE F0F0F0F0 99999999`; in the published layout `0E1C78F1
//! 366C9932 52B52A56 78E3871C 9B649B64 2D2D2D2D 99999999 AAAAAAAA`.
//!
//! *Tables.* For every width `b` that is shipped, `[rows, 2^b]` entries of f16 or f32: what each
//! code of that row stands for.

use super::{Activation, BitplaneLayout, TableElement};
use crate::launch::{Knobs, Lookup, Masks, Operand, Part, Shader, part};
use crate::{Caps, Error, Result};
use std::fmt::Write as _;
use std::ops::Range;

/// Mirrors `Params` of `bitplane_weights.wgsl`.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(super) struct Params {
    pub(super) rows: u32,
    pub(super) piece_row: u32,
    pub(super) matrix_row: u32,
    pub(super) cols: u32,
    pub(super) words: u32,
    pub(super) plane_words: u32,
    pub(super) stride: u32,
    pub(super) bias: u32,
    pub(super) slices: u32,
    pub(super) slice_words: u32,
    pub(super) batch: u32,
    pub(super) unused: u32,
}

impl Params {
    /// Parameters for `rows` of the matrix, which lie within `piece`; what only one kernel uses
    /// is 0.
    pub(super) fn new(
        layout: &BitplaneLayout,
        piece: &Range<usize>,
        rows: &Range<usize>,
    ) -> Result<Self> {
        Ok(Self {
            rows: count("rows", rows.len())?,
            piece_row: count("rows", rows.start - piece.start)?,
            matrix_row: count("rows", rows.start)?,
            cols: count("cols", layout.cols())?,
            words: count("words of a row", layout.words())?,
            plane_words: count("words of a plane", layout.plane_words(piece.len()))?,
            stride: 0,
            bias: 0,
            slices: 1,
            slice_words: count("words of a row", layout.words())?,
            batch: 0,
            unused: 0,
        })
    }
}

/// Number of the planes' binding.
pub const PLANES: u32 = 1;
/// Number of the tables' binding.
pub const TABLES: u32 = 2;

/// The lanes and rows of a workgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) workgroup: u32,
    pub(super) rows: u32,
}

impl Shape {
    /// What the knobs say, or 64 lanes and `rows` rows.
    pub(super) fn new(kernel: &str, caps: &Caps, knobs: &Knobs, rows: u32) -> Result<Self> {
        Self { workgroup: 64, rows }.or(kernel, caps, knobs, &[2, 4, 8])
    }

    /// What the knobs say, or this; as many rows as one of `all`.
    pub(super) fn or(self, kernel: &str, caps: &Caps, knobs: &Knobs, all: &[u32]) -> Result<Self> {
        let workgroup = knobs.workgroup.unwrap_or(self.workgroup);
        // No device has more than 1024; the bound keeps sizes of workgroup memory within u32.
        let most = caps.max_invocations.min(1024);
        if !workgroup.is_power_of_two() || workgroup < 8 || workgroup > most {
            let limit = format!("the powers of two in 8..={most}");
            return Err(Error::range(format!("workgroup of {kernel}"), limit, workgroup));
        }
        let rows = knobs.rows.unwrap_or(self.rows);
        if !all.contains(&rows) {
            let all = all.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
            return Err(Error::range(format!("rows a workgroup of {kernel}"), all, rows));
        }
        Ok(Self { workgroup, rows })
    }

    /// A kernel's shader at one width; the last part is the kernel's own file.
    pub(super) fn shader(&self, entry: &'static str, bits: u8, parts: Vec<Part>) -> Shader {
        let mut preamble = String::new();
        let _ = writeln!(preamble, "const BITS: u32 = {bits}u;");
        let _ = writeln!(preamble, "const ROWS: u32 = {}u;", self.rows);
        Shader { entry, preamble, parts, constants: vec![("WORKGROUP", self.workgroup.into())] }
    }

    /// Bytes of tables of f32 in workgroup memory.
    pub(super) fn table_bytes(&self, bits: u8) -> u32 {
        (self.rows << bits) * 4
    }
}

/// Whether a layer can be multiplied with at a width, and has the bias that is asked for.
pub(super) fn check_width_and_bias(
    kernel: &str,
    layout: &BitplaneLayout,
    bits: u8,
    bias: bool,
) -> Result<()> {
    layout.check_width(bits)?;
    if bias && !layout.bias() {
        return Err(Error::unsupported(format!("{kernel} with bias"), "the layer has no bias"));
    }
    Ok(())
}

/// Whether there are such lookups in tables of this width.
pub(super) fn check_lookup(
    kernel: &str,
    lookup: Lookup,
    bits: u8,
    layout: &BitplaneLayout,
) -> Result<()> {
    let refuse =
        |why: &str| Err(Error::unsupported(format!("{lookup:?} lookups of {kernel}"), why));
    match lookup {
        Lookup::Pair if bits > 4 => refuse("pair tables are for 2 to 4 bits"),
        Lookup::Half if layout.table() != TableElement::F16 => refuse("the tables are f32"),
        _ => Ok(()),
    }
}

/// Bytes of tables in the workgroup memory of `rows` rows, for products in f32.
pub(super) fn lookup_bytes(lookup: Lookup, rows: u32, bits: u8) -> u32 {
    match lookup {
        Lookup::Single => (rows << bits) * 4,
        Lookup::Half => (rows << bits) * 2,
        Lookup::Pair => (rows << (2 * bits)) * 8,
        Lookup::Storage => 0,
    }
}

/// The parts that look weights up, for products in f32; all but half lookups need `lib/half.wgsl`.
pub(super) fn lookup_parts(lookup: Lookup, layout: &BitplaneLayout) -> Vec<Part> {
    match lookup {
        Lookup::Single => vec![table_part(layout), part!("linear/lookup_single.wgsl")],
        Lookup::Half => vec![part!("linear/lookup_half.wgsl")],
        Lookup::Pair => vec![table_part(layout), part!("linear/lookup_pair.wgsl")],
        Lookup::Storage => vec![table_part(layout), part!("linear/lookup_storage.wgsl")],
    }
}

/// The part that loads activations, for products in f32.
pub(super) fn activation_part(activation: Activation, cols: usize) -> Part {
    whole_or_cut(activation, cols.is_multiple_of(32))
}

/// The part that loads activations, where every word's columns are whole or not.
pub(super) fn whole_or_cut(activation: Activation, whole: bool) -> Part {
    match (activation, whole) {
        (Activation::F32, true) => part!("linear/activations_f32_quads.wgsl"),
        (Activation::F32, false) => part!("linear/activations_f32.wgsl"),
        (Activation::F16, true) => part!("linear/activations_f16_quads.wgsl"),
        (Activation::F16, false) => part!("linear/activations_f16.wgsl"),
    }
}

/// The parts that the columns of a product are cut into, and words of a row in each.
pub(super) fn slices(kernel: &str, layout: &BitplaneLayout, knobs: &Knobs) -> Result<(u32, u32)> {
    let words = count("words of a row", layout.words())?;
    let slices = knobs.slices.unwrap_or(1);
    if slices == 0 || slices > words {
        let limit = format!("1..={words}, the words of a row");
        return Err(Error::range(format!("slices of {kernel}"), limit, slices));
    }
    Ok((slices, words.div_ceil(slices)))
}

/// The parts that turn planes into codes, for a width.
pub(super) fn code_parts(bits: u8, masks: Masks) -> [Part; 3] {
    [
        match masks {
            Masks::Constant => part!("lib/bits.wgsl"),
            Masks::Hidden => part!("lib/bits_hidden.wgsl"),
        },
        part!("linear/bitplane_weights.wgsl"),
        match bits {
            2 => part!("linear/codes_pairs.wgsl"),
            3 | 4 => part!("linear/codes_nibbles.wgsl"),
            _ => part!("linear/codes_bytes.wgsl"),
        },
    ]
}

/// The part that reads tables as f32; it needs `lib/half.wgsl`.
pub(super) fn table_part(layout: &BitplaneLayout) -> Part {
    match layout.table() {
        TableElement::F16 => part!("linear/table_f16.wgsl"),
        TableElement::F32 => part!("linear/table_f32.wgsl"),
    }
}

/// The planes and tables of one piece at one width.
pub(super) fn weight_operands(
    layout: &BitplaneLayout,
    piece: u32,
    rows: usize,
    bits: u8,
) -> [Operand; 2] {
    let (offset, bytes) = layout.table_span(rows, bits);
    let planes = layout.plane_bytes(rows, bits);
    [
        Operand { binding: PLANES, piece, offset: 0, bytes: planes },
        Operand { binding: TABLES, piece, offset, bytes },
    ]
}

/// Bytes of planes and tables that `rows` rows need at one width, without padding.
pub(super) fn weight_bytes(layout: &BitplaneLayout, rows: usize, bits: u8) -> u64 {
    let (_, tables) = layout.table_span(rows, bits);
    rows as u64 * u64::from(bits) * 4 * layout.words() as u64 + tables
}

/// Bytes of the largest binding.
pub(super) fn largest(operands: &[Operand]) -> u64 {
    operands.iter().map(|operand| operand.bytes).max().unwrap_or(0)
}

/// Bytes of a tensor that is bound whole; binding sizes are multiples of 4.
pub(super) fn whole(what: &str, elements: usize, bytes_each: usize, caps: &Caps) -> Result<u64> {
    let bytes = (elements as u64).saturating_mul(bytes_each as u64);
    let bytes = bytes.checked_next_multiple_of(4).unwrap_or(u64::MAX);
    let limit = caps.bindable_bytes();
    if bytes > limit {
        return Err(Error::BindingTooLarge { what: what.to_owned(), bytes, limit });
    }
    Ok(bytes)
}

/// A size as the shaders count it.
pub(super) fn count(what: &str, value: usize) -> Result<u32> {
    u32::try_from(value).map_err(|_| Error::range(what, format!("0..={}", u32::MAX), value))
}
