//! What an element of a cached row is stored as.

use crate::launch::{Part, part};

/// Which rows a kernel reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rows {
    /// Keys and values.
    Both,
    /// Values alone.
    Values,
}

/// What elements of keys and values are stored as: [the format](crate::attention#rows).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "lowercase")
)]
pub enum KvElement {
    /// f32, one a word.
    F32,
    /// f16, two a word.
    F16,
    /// bf16, the upper half of an f32, two a word.
    Bf16,
    /// -127 to 127 times an f16 scale a row, four a word.
    Int8,
    /// 0 to 15 times an f16 scale a row, plus an f16 zero a row, eight a word.
    Int4,
}

impl KvElement {
    /// All of them, from the largest.
    pub const ALL: [Self; 5] = [Self::F32, Self::F16, Self::Bf16, Self::Int8, Self::Int4];

    /// Bits of an element.
    pub const fn bits(self) -> u32 {
        match self {
            Self::F32 => 32,
            Self::F16 | Self::Bf16 => 16,
            Self::Int8 => 8,
            Self::Int4 => 4,
        }
    }

    /// Elements of a word of 32 bits.
    pub const fn per_word(self) -> usize {
        32 / self.bits() as usize
    }

    /// Whether a row has a word of parameters, its scale and perhaps its zero.
    pub const fn scaled(self) -> bool {
        matches!(self, Self::Int8 | Self::Int4)
    }

    /// How messages and files name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
            Self::Int4 => "int4",
        }
    }

    /// The parts of a shader that read rows.
    pub(super) fn parts(self, rows: Rows) -> Vec<Part> {
        let codes = match self {
            Self::F32 => part!("attention/element_f32.wgsl"),
            Self::F16 => part!("attention/element_f16.wgsl"),
            Self::Bf16 => part!("attention/element_bf16.wgsl"),
            Self::Int8 => part!("attention/element_int8.wgsl"),
            Self::Int4 => part!("attention/element_int4.wgsl"),
        };
        let (keys, values) = match self {
            Self::F32 | Self::F16 | Self::Bf16 => {
                (part!("attention/keys_plain.wgsl"), part!("attention/values_plain.wgsl"))
            }
            Self::Int8 => {
                (part!("attention/keys_scale.wgsl"), part!("attention/values_scale.wgsl"))
            }
            Self::Int4 => {
                (part!("attention/keys_scale_zero.wgsl"), part!("attention/values_scale_zero.wgsl"))
            }
        };
        match rows {
            Rows::Both => vec![codes, keys, values],
            Rows::Values => vec![codes, values],
        }
    }
}
