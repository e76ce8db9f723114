//! The one error type of the house, shared by the crate and its hosts.

use std::path::PathBuf;

/// Shorthand for results of this crate and its hosts.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong, from a hostile file to a lost device.
///
/// Each variant names the thing, the limit and the value, and is returned before any work
/// reaches a GPU wherever the problem can be seen beforehand. The text of an error tells all of it,
/// causes included, so none is repeated as a `source`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The device, the build or the data lacks something that was asked for.
    #[error("{what} is not available: {why}")]
    Unsupported {
        /// What was asked for.
        what: String,
        /// What is missing, and what there is instead.
        why: String,
    },
    /// A size or a count does not fit its neighbours.
    #[error("{what}: expected {expected}, found {found}")]
    Shape {
        /// The tensor, dimension or count.
        what: String,
        /// What would have been right.
        expected: String,
        /// What was given.
        found: String,
    },
    /// A setting lies outside its range.
    #[error("{what} = {value} is outside {limit}")]
    Range {
        /// The setting.
        what: String,
        /// The values that are allowed.
        limit: String,
        /// The value that was given.
        value: String,
    },
    /// A number in the data cannot be used.
    #[error("{what} at row {row}, column {col} is {value}: {rule}")]
    Value {
        /// The tensor.
        what: String,
        /// Row of the number, from 0.
        row: usize,
        /// Column of the number, from 0.
        col: usize,
        /// The number itself.
        value: f64,
        /// What is allowed there.
        rule: &'static str,
    },
    /// An offset or size is not a multiple of what the device or format needs.
    #[error("{what} = {value} is not a multiple of {multiple}")]
    Alignment {
        /// The offset or size.
        what: String,
        /// What it must be a multiple of.
        multiple: u64,
        /// Its value.
        value: u64,
    },
    /// Memory that a kernel writes is also bound elsewhere in the same launch.
    #[error("{written} and {other} share one buffer, and {written} is written")]
    Aliasing {
        /// The operand that is written.
        written: String,
        /// The other operand.
        other: String,
    },
    /// A binding is larger than the device allows and cannot be split further.
    #[error("{what} needs {bytes} bytes in one binding, the limit is {limit}")]
    BindingTooLarge {
        /// The operand.
        what: String,
        /// Bytes that one binding would need.
        bytes: u64,
        /// The device's limit.
        limit: u64,
    },
    /// A composed shader does not compile.
    #[error("shader {part}:{line}: {message}")]
    Shader {
        /// The authored file, or `preamble`.
        part: String,
        /// Line in that file, from 1.
        line: usize,
        /// The compiler's words.
        message: String,
    },
    /// The graphics API refused a call.
    #[error("validation of {what}: {message}")]
    Validation {
        /// The object that was being made.
        what: String,
        /// The API's words.
        message: String,
    },
    /// The device or the machine ran out of memory.
    #[error("out of memory for {what}: {message}")]
    OutOfMemory {
        /// The object that was being made.
        what: String,
        /// The API's words, or how many bytes there were to be.
        message: String,
    },
    /// The device is gone; every object made on it is gone with it.
    #[error("device lost: {reason}")]
    DeviceLost {
        /// Why, in the API's words.
        reason: String,
    },
    /// Bytes could not be brought back from the device.
    #[error("read-back of {what}: {message}")]
    Readback {
        /// The buffer or view.
        what: String,
        /// What went wrong.
        message: String,
    },
    /// A file's contents are not what its format says.
    #[error("{what}: {message}")]
    Format {
        /// The file, tensor or field.
        what: String,
        /// What was expected and what was found.
        message: String,
    },
    /// The operating system refused.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: std::io::Error,
    },
    /// Another error, with the layer in which it happened.
    #[error("layer {layer}: {error}")]
    Layer {
        /// The layer's name.
        layer: String,
        /// The error itself.
        error: Box<Error>,
    },
}

impl Error {
    /// Names the layer in which this error happened.
    #[must_use]
    pub fn in_layer(self, layer: &str) -> Self {
        Self::Layer { layer: layer.to_owned(), error: Box::new(self) }
    }

    /// An [`Error::Shape`].
    pub fn shape(what: impl Into<String>, expected: impl ToString, found: impl ToString) -> Self {
        Self::Shape { what: what.into(), expected: expected.to_string(), found: found.to_string() }
    }

    /// An [`Error::Range`].
    pub fn range(what: impl Into<String>, limit: impl ToString, value: impl ToString) -> Self {
        Self::Range { what: what.into(), limit: limit.to_string(), value: value.to_string() }
    }

    /// An [`Error::Unsupported`].
    pub fn unsupported(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Unsupported { what: what.into(), why: why.into() }
    }

    /// An [`Error::Format`].
    pub fn format(what: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Format { what: what.into(), message: message.into() }
    }
}
