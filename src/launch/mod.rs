//! What a kernel launch is: everything an engine needs to run one dispatch, as plain data.
//!
//! A *spec* (validated plain data, one type a kernel) turns into [`Launch`]es for a device that is
//! described by [`Caps`]. That step is pure: it needs no device and can be tested for imaginary
//! ones. A launch then names its shader text, override values, bindings, which bytes of which
//! tensor to bind, parameter bytes, grid, scratch and traffic. It says nothing about an API.

mod binding;
mod caps;
mod compose;
mod grid;
mod key;
#[cfg(feature = "naga")]
mod naga;
mod shader;
mod shard;
mod traffic;

pub use binding::{Access, Binding, Operand, Scratch};
pub use caps::{Caps, MatrixElement, MatrixShape, Needs};
pub use compose::{Dialect, Source};
pub use grid::linear_grid;
pub use key::StableHash;
#[cfg(feature = "naga")]
pub use naga::{Parsed, Target};
pub(crate) use shader::part;
pub use shader::{Part, Shader};
pub(crate) use shard::shard_rows_by;
pub use shard::{ROW_ALIGNMENT, shard_rows};
pub use traffic::Traffic;

use crate::Result;

/// One dispatch, described without a GPU API.
///
/// Launches are made by specs only and cannot be altered afterwards: hosts switch some of the
/// driver's run-time checks off because the text and the numbers are known to be the crate's own.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Launch {
    pub(crate) kernel: &'static str,
    pub(crate) variant: &'static str,
    pub(crate) shader: Shader,
    pub(crate) bindings: &'static [Binding],
    pub(crate) operands: Vec<Operand>,
    pub(crate) params: Vec<u8>,
    pub(crate) grid: [u32; 3],
    pub(crate) scratch: Vec<Scratch>,
    pub(crate) needs: Needs,
    pub(crate) traffic: Traffic,
}

impl Launch {
    /// The kernel's one name: shader file, entry point, module, host op, test and bench.
    pub fn kernel(&self) -> &'static str {
        self.kernel
    }

    /// Which implementation this is; `baseline` runs everywhere.
    pub fn variant(&self) -> &'static str {
        self.variant
    }

    /// The shader: authored parts, generated preamble, entry point, override values.
    pub fn shader(&self) -> &Shader {
        &self.shader
    }

    /// Every binding of group 0. Numbers never move between variants of a kernel.
    pub fn bindings(&self) -> &'static [Binding] {
        self.bindings
    }

    /// Which bytes of which tensor to bind. A storage binding without an operand is absent: bind
    /// any small buffer there, the kernel does not look at it.
    pub fn operands(&self) -> &[Operand] {
        &self.operands
    }

    /// Contents of the uniform binding.
    pub fn params(&self) -> &[u8] {
        &self.params
    }

    /// Workgroups in x, y, z.
    pub fn grid(&self) -> [u32; 3] {
        self.grid
    }

    /// Memory that the caller lends for the duration of the launch.
    pub fn scratch(&self) -> &[Scratch] {
        &self.scratch
    }

    /// What the device must offer.
    pub fn needs(&self) -> &Needs {
        &self.needs
    }

    /// Bytes that have to move and operations that have to happen.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// The complete shader text for one front end.
    pub fn wgsl(&self, dialect: Dialect) -> String {
        self.source(dialect).into_text()
    }

    /// The complete shader text together with the map back to the authored files.
    pub fn source(&self, dialect: Dialect) -> Source {
        compose::compose(&self.shader, &self.needs, dialect)
    }

    /// Identifies the pipeline: equal keys compile to the same thing.
    pub fn key(&self) -> u64 {
        key::pipeline_key(self)
    }
}

/// A validated description of work that a device can be asked to do.
pub trait Spec {
    /// The kernel's name.
    fn kernel(&self) -> &'static str;

    /// The launches that do the work on a device with these capabilities, in order.
    ///
    /// # Errors
    /// Whatever is wrong with the spec, or [`crate::Error::Unsupported`] when the device cannot
    /// run the variant that `knobs` asks for.
    fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>>;

    /// Knobs worth timing for this spec on such a device, the defaults first.
    ///
    /// A tuner times them and keeps the fastest; what [`Spec::launches`] refuses it skips.
    fn candidates(&self, _caps: &Caps) -> Vec<Knobs> {
        vec![Knobs::default()]
    }

    /// Names what is tuned together: specs with equal keys run at equal speed on one device, so
    /// what was learnt about one holds for the other.
    ///
    /// Stable from build to build. By default it is the kernel's name and a hash of the default
    /// launches' parameters, operand sizes and choice of shader files; not of the files' text,
    /// by whose change a tuner's cache tells that an entry is stale.
    ///
    /// # Errors
    /// As [`Spec::launches`] with default knobs.
    fn tuning_key(&self, caps: &Caps) -> Result<String> {
        Ok(key::tuning_key(self.kernel(), &self.launches(caps, &Knobs::default())?))
    }
}

/// How the lanes of a workgroup add up their partial results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Reduce {
    /// A tree in workgroup memory; runs everywhere.
    Workgroup,
    /// Subgroup additions first, then workgroup memory.
    Subgroup,
    /// A reduce-scatter by subgroup shuffles first, then workgroup memory: fewer shuffles where
    /// there are several sums. Their number has to be a power of two, at most the smallest
    /// subgroup, and no subgroup may have idle lanes.
    Scatter,
}

/// Where a table is looked up, and what a lookup finds: in workgroup memory, all but the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Lookup {
    /// One weight as f32.
    Single,
    /// One weight as f16, in half the memory banks; needs f16 arithmetic and tables of f16.
    Half,
    /// Two weights as f32, for 2 to 4 bits.
    Pair,
    /// One weight as f32, in storage memory through the cache: no table in workgroup memory.
    Storage,
}

/// How the masks of bit selections and fields are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Masks {
    /// As constants.
    Constant,
    /// So that the compiler cannot tell that they are constants: it keeps a selection one
    /// instruction, and a field that indexes a table two. NVIDIA's gains 3 to 8 % at 3 to 6 bits on
    /// an H100; others have instructions for constant fields.
    Hidden,
}

/// By which kernels any-precision weights are multiplied with vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Route {
    /// `gemv_bitplane`: each weight is decoded once; for up to 8 vectors.
    Gemv,
    /// `gemm_bitplane`: each weight is decoded once for every tile of vectors.
    Gemm,
    /// `dequantize_bitplane` into scratch memory, then `gemm`.
    Dense,
}

/// Choices that change speed and never results beyond rounding; `None` means the default.
///
/// Each kernel says in its documentation which knobs it has; it ignores the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Knobs {
    /// Invocations a workgroup; a power of two.
    pub workgroup: Option<u32>,
    /// Matrix rows that one workgroup computes.
    pub rows: Option<u32>,
    /// The reduction; the default is [`Reduce::Subgroup`] where the device has subgroups.
    pub reduce: Option<Reduce>,
    /// What a table lookup finds.
    pub lookup: Option<Lookup>,
    /// Whether rows are written out in the shader rather than left to a loop.
    pub unroll: Option<bool>,
    /// Parts that the columns are cut into, each computed by workgroups of its own (split-K).
    pub slices: Option<u32>,
    /// How the masks of bit selections and fields are written.
    pub masks: Option<Masks>,
    /// Whether products are made by cooperative matrices; by default where the device lists them.
    pub matrix: Option<bool>,
    /// By which kernels weights and vectors are multiplied.
    pub route: Option<Route>,
}

impl Knobs {
    /// Every choice left to the kernel.
    pub const DEFAULT: Self = Self {
        workgroup: None,
        rows: None,
        reduce: None,
        lookup: None,
        unroll: None,
        slices: None,
        masks: None,
        matrix: None,
        route: None,
    };

    /// The variant that every device can run.
    pub fn baseline() -> Self {
        Self {
            reduce: Some(Reduce::Workgroup),
            lookup: Some(Lookup::Single),
            masks: Some(Masks::Constant),
            matrix: Some(false),
            ..Self::DEFAULT
        }
    }
}
