//! Element type of vectors and dense matrices.

/// Element type of activations and of dense outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum Activation {
    /// IEEE single precision.
    #[default]
    F32,
    /// IEEE half precision, stored in pairs; needs no device feature.
    F16,
}

impl Activation {
    /// Bytes of one element.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }

    /// The name in tables and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
        }
    }
}
