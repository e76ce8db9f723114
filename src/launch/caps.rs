//! What a device can do, and what a launch asks of it.

use crate::{Error, Result};

/// Element type of a cooperative matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum MatrixElement {
    /// IEEE half precision.
    F16,
    /// IEEE single precision.
    F32,
    /// Signed 32-bit integers.
    I32,
    /// Unsigned 32-bit integers.
    U32,
}

/// A product that a subgroup can do at once: `C [m, n] += A [m, k] B [k, n]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct MatrixShape {
    /// Rows of A and C.
    pub m: u32,
    /// Columns of B and C.
    pub n: u32,
    /// Columns of A, rows of B.
    pub k: u32,
    /// Element type of A and B.
    pub input: MatrixElement,
    /// Element type of C.
    pub output: MatrixElement,
}

impl MatrixShape {
    /// The one that kernels use: 16 x 16 x 16, f16 in, f32 sums.
    pub const HALVES: Self =
        Self { m: 16, n: 16, k: 16, input: MatrixElement::F16, output: MatrixElement::F32 };
}

/// A device's features and limits as plain data.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Caps {
    /// The vendor's PCI number, 0 when unknown. It chooses between forms that compute the same:
    /// what one vendor's compiler gains by costs another's time.
    pub vendor: u32,
    /// Shaders may use f16 arithmetic.
    pub f16: bool,
    /// Shaders may use subgroup operations.
    pub subgroups: bool,
    /// Smallest subgroup that a shader may meet; 0 when unknown.
    pub subgroup_min: u32,
    /// Largest subgroup that a shader may meet; 0 when unknown.
    pub subgroup_max: u32,
    /// Products of cooperative matrices that shaders may ask a subgroup for; empty where shaders
    /// may not use them.
    pub matrices: Vec<MatrixShape>,
    /// Bytes of the largest storage binding.
    pub max_binding_bytes: u64,
    /// Bytes of the largest buffer.
    pub max_buffer_bytes: u64,
    /// Storage buffers that one shader may bind.
    pub max_storage_buffers: u32,
    /// Bytes of workgroup memory.
    pub max_workgroup_bytes: u32,
    /// Invocations of one workgroup.
    pub max_invocations: u32,
    /// Workgroups in one dimension of a dispatch.
    pub max_groups: u32,
    /// Offsets of storage bindings must be multiples of this.
    pub storage_alignment: u32,
}

impl Caps {
    /// WebGPU's default limits and no feature: what every conforming device offers.
    pub const fn webgpu() -> Self {
        Self {
            vendor: 0,
            f16: false,
            subgroups: false,
            subgroup_min: 0,
            subgroup_max: 0,
            matrices: Vec::new(),
            max_binding_bytes: 128 << 20,
            max_buffer_bytes: 256 << 20,
            max_storage_buffers: 8,
            max_workgroup_bytes: 16 << 10,
            max_invocations: 256,
            max_groups: 65_535,
            storage_alignment: 256,
        }
    }

    /// Whether the kernels' cooperative matrices can be used: [`MatrixShape::HALVES`], f16
    /// arithmetic, and subgroups that always have [`Caps::MATRIX_LANES`] lanes.
    pub fn has_matrices(&self) -> bool {
        let lanes = Self::MATRIX_LANES;
        self.matrices.contains(&MatrixShape::HALVES)
            && self.f16
            && self.subgroups
            && (self.subgroup_min, self.subgroup_max) == (lanes, lanes)
    }

    /// NVIDIA's number among PCI vendors.
    pub const NVIDIA: u32 = 0x10de;

    /// Google's number among PCI vendors: SwiftShader.
    pub const GOOGLE: u32 = 0x1ae0;

    /// Lanes of the subgroups that kernels with cooperative matrices are made for.
    pub const MATRIX_LANES: u32 = 32;

    /// Bytes that fit one storage binding, whichever limit is smaller.
    ///
    /// Element indices are `u32` and drivers clamp at `2^31 - 1` bytes, so that is a limit too;
    /// the result is a multiple of 4 because binding sizes have to be.
    pub fn bindable_bytes(&self) -> u64 {
        self.max_binding_bytes.min(self.max_buffer_bytes).min((1 << 31) - 1) & !3
    }
}

impl Default for Caps {
    fn default() -> Self {
        Self::webgpu()
    }
}

/// What one launch asks of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Needs {
    /// f16 arithmetic.
    pub f16: bool,
    /// Subgroup operations.
    pub subgroups: bool,
    /// Cooperative matrices, see [`Caps::has_matrices`].
    pub matrix: bool,
    /// Bytes of workgroup memory.
    pub workgroup_bytes: u32,
    /// Invocations of one workgroup.
    pub invocations: u32,
    /// Storage buffers bound at once.
    pub storage_buffers: u32,
    /// Bytes of the largest storage binding.
    pub binding_bytes: u64,
}

impl Needs {
    /// Whether a device offers all of this.
    ///
    /// # Errors
    /// [`Error::Unsupported`] naming the first thing that is missing, or
    /// [`Error::BindingTooLarge`].
    pub fn check(&self, kernel: &str, caps: &Caps) -> Result<()> {
        let flags = [
            (self.f16 && !caps.f16, "f16 arithmetic"),
            (self.subgroups && !caps.subgroups, "subgroup operations"),
            (
                self.matrix && !caps.has_matrices(),
                "cooperative matrices of 16 x 16 x 16, f16 to f32, by subgroups of 32 lanes",
            ),
        ];
        if let Some((_, name)) = flags.iter().find(|(missing, _)| *missing) {
            return Err(Error::unsupported(kernel, format!("the device has no {name}")));
        }
        let counts = [
            (self.workgroup_bytes, caps.max_workgroup_bytes, "bytes of workgroup memory"),
            (self.invocations, caps.max_invocations, "invocations a workgroup"),
            (self.storage_buffers, caps.max_storage_buffers, "storage buffers"),
        ];
        if let Some((need, have, name)) = counts.iter().find(|(need, have, _)| need > have) {
            let why = format!("it needs {need} {name}, the device has {have}");
            return Err(Error::unsupported(kernel, why));
        }
        if self.binding_bytes > caps.bindable_bytes() {
            return Err(Error::BindingTooLarge {
                what: kernel.to_owned(),
                bytes: self.binding_bytes,
                limit: caps.bindable_bytes(),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_feature_and_a_low_limit_are_named() {
        let caps = Caps::webgpu();
        let fits = Needs { workgroup_bytes: 16 << 10, invocations: 256, ..Needs::default() };
        fits.check("k", &caps).unwrap();
        let message = |needs: Needs| needs.check("k", &caps).unwrap_err().to_string();
        assert!(message(Needs { f16: true, ..fits }).contains("no f16"));
        assert!(message(Needs { subgroups: true, ..fits }).contains("no subgroup"));
        assert!(message(Needs { matrix: true, ..fits }).contains("no cooperative matrices"));
        assert!(message(Needs { invocations: 257, ..fits }).contains("257 invocations"));
        let large = Needs { binding_bytes: (128 << 20) + 4, ..fits };
        assert!(matches!(large.check("k", &caps), Err(Error::BindingTooLarge { .. })));
    }

    #[test]
    fn matrices_need_their_shape_and_their_subgroups() {
        let caps = Caps {
            f16: true,
            subgroups: true,
            subgroup_min: 32,
            subgroup_max: 32,
            matrices: vec![MatrixShape { n: 8, ..MatrixShape::HALVES }, MatrixShape::HALVES],
            ..Caps::webgpu()
        };
        assert!(caps.has_matrices());
        let without = [
            Caps { matrices: vec![caps.matrices[0]], ..caps.clone() },
            Caps { f16: false, ..caps.clone() },
            Caps { subgroups: false, ..caps.clone() },
            Caps { subgroup_min: 16, ..caps.clone() },
            Caps { subgroup_max: 64, ..caps.clone() },
        ];
        assert!(!without.iter().any(Caps::has_matrices));
    }

    #[test]
    fn bindings_stay_below_two_gibibytes_and_whole_words() {
        let caps =
            Caps { max_binding_bytes: u64::MAX, max_buffer_bytes: u64::MAX, ..Caps::webgpu() };
        assert_eq!(caps.bindable_bytes(), (1 << 31) - 4);
    }
}
