//! The shader of a launch, before it is joined into one text.

/// One authored `.wgsl` file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Part {
    /// Path below `shaders/`.
    pub name: &'static str,
    /// The file's text.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub text: &'static str,
}

/// Includes a file of `shaders/` as a [`Part`].
macro_rules! part {
    ($path:literal) => {
        $crate::launch::Part {
            name: $path,
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $path)),
        }
    };
}
pub(crate) use part;

/// Authored parts in order, the preamble before them, and the override values.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Shader {
    pub(crate) entry: &'static str,
    pub(crate) preamble: String,
    pub(crate) parts: Vec<Part>,
    pub(crate) constants: Vec<(&'static str, f64)>,
}

impl Shader {
    /// The entry point.
    pub fn entry(&self) -> &'static str {
        self.entry
    }

    /// Generated `const` and `alias` lines: what WGSL does not allow as an override.
    pub fn preamble(&self) -> &str {
        &self.preamble
    }

    /// The authored files, in order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Values of the shader's `override` declarations.
    pub fn constants(&self) -> &[(&'static str, f64)] {
        &self.constants
    }
}
