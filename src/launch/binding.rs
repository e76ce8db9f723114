//! Bindings, and which bytes go where.

/// How a kernel uses a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum Access {
    /// A uniform buffer that holds [`crate::launch::Launch::params`].
    Uniform,
    /// A storage buffer that is only read.
    Read,
    /// A storage buffer that is written.
    ReadWrite,
}

/// One binding of group 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Binding {
    /// Number within group 0; the same in every variant of a kernel.
    pub number: u32,
    /// Name of the variable in the shader.
    pub name: &'static str,
    /// What it is bound as.
    pub access: Access,
}

impl Binding {
    pub(crate) const fn new(number: u32, name: &'static str, access: Access) -> Self {
        Self { number, name, access }
    }
}

/// The bytes of one tensor that one launch binds.
///
/// A tensor that does not fit one buffer is uploaded in several pieces, a buffer each; most
/// tensors have just piece 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Operand {
    /// The binding's number.
    pub binding: u32,
    /// Which buffer of the tensor.
    pub piece: u32,
    /// First byte within that buffer; a multiple of 256.
    pub offset: u64,
    /// Bytes to bind.
    pub bytes: u64,
}

/// Memory that a launch writes and reads, and that holds nothing afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Scratch {
    /// The binding's number.
    pub binding: u32,
    /// Bytes from the start of the caller's scratch buffer, a multiple of 256.
    pub offset: u64,
    /// Bytes needed.
    pub bytes: u64,
}
