//! Element type of the per-row tables.

/// How table entries are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum TableElement {
    /// IEEE half precision: what published models ship, and half the traffic.
    #[default]
    F16,
    /// IEEE single precision, for weights beyond the range of f16.
    F32,
}

impl TableElement {
    /// Bytes of one entry.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
        }
    }

    /// The name in files and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::F32 => "f32",
        }
    }
}
