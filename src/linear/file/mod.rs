//! Layers in safetensors files: our packed format, the published one, and dense weights; and what
//! quantizing needs besides weights, Hessians and calibration inputs.
//!
//! A packed file holds, for each layer `NAME`, the tensors `NAME.planes` (U32
//! `[parent_bits, rows, ceil(cols / 32)]`), `NAME.table{b}` (F16 or F32 `[rows, 2^b]`) for every
//! width that is shipped, and `NAME.bias` (F32 `[rows]`) where there is one. Its metadata entry
//! `fewbytes` is a JSON object: `format` ("bitplane"), `version` (1), `layout` ("skew-1", the bit
//! order within words), `layers`, which gives every layer's shape and widths, and perhaps
//! `settings`, the writer's words on how they were made.
//!
//! Weights in pairs ([`crate::linear::vector`]) have a format of their own, so that a reader of the
//! first kind says what it has before it: `format` is "vector-2d", the rest as above. A layer `NAME`
//! is `NAME.planes` (U32 `[code_bits, rows, ceil(ceil(cols / 2) / 32)]`), `NAME.vectors` (F16 or F32
//! `[rows, 2^code_bits, 2]`), and `NAME.bias` where there is one; `layers` gives every layer's own
//! `code_bits`.
//!
//! Residuals ([`crate::linear::residual`]) lie in files of their own, format "residual", layout
//! "channel-1", described byte by byte in `docs/residual_file.md`: `NAME.residual` (U32
//! `[cols, stride]`), `NAME.scales` (F16 `[padded rows]`), and perhaps `NAME.thresholds` and
//! `NAME.norms`, for selecting channels.
//!
//! Hessians (`NAME.hessian`) and calibration inputs (`NAME.x`, `NAME.s`) have files of their own,
//! which `docs/hessian_file.md` describes byte by byte. Files come from outside: everything is
//! checked against the tensors before it is used.

mod calibration;
mod dense;
pub(crate) mod header;
mod hessian;
mod metadata;
mod packed;
mod reference;
mod residual;
mod vector;

pub use calibration::{Batch, Batches, CalibrationFile, CalibrationShape};
pub use dense::{DenseFile, DenseShape, DenseTensor};
pub use hessian::{HessianFile, HessianShape, save_hessians, write_hessians};
pub use packed::{
    LayerHeader, PackedFile, save_packed, save_packed_with, write_packed, write_packed_with,
};
pub use reference::{read_reference, save_reference, write_reference};
pub use residual::{ResidualEntry, ResidualFile, ResidualHeader, save_residuals, write_residuals};
pub use vector::{VectorFile, VectorHeader, save_vectors, write_vectors};

use super::TableElement;
use crate::{Error, Result};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::collections::HashMap;
use std::path::Path;

/// A tensor that must be there, of this type and shape.
pub(crate) fn tensor<'a>(
    file: &SafeTensors<'a>,
    name: &str,
    dtype: Dtype,
    shape: &[usize],
) -> Result<TensorView<'a>> {
    let view = file
        .tensor(name)
        .map_err(|_| Error::format(format!("tensor {name}"), "expected in the file, not found"))?;
    if view.dtype() != dtype || view.shape() != shape {
        let expected = format!("{dtype:?} {shape:?}");
        let found = format!("{:?} {:?}", view.dtype(), view.shape());
        return Err(Error::shape(format!("tensor {name}"), expected, found));
    }
    Ok(view)
}

fn open<'a>(name: &str, bytes: &'a [u8]) -> Result<SafeTensors<'a>> {
    SafeTensors::deserialize(bytes)
        .map_err(|e| Error::format(name, format!("not a safetensors file: {e}")))
}

fn dtype(table: TableElement) -> Dtype {
    match table {
        TableElement::F16 => Dtype::F16,
        TableElement::F32 => Dtype::F32,
    }
}

/// What the writer of safetensors files takes: tensors and metadata.
type Contents<'a> = (Vec<(String, TensorView<'a>)>, HashMap<String, String>);

/// Writes a whole file or nothing, straight from the memory of its tensors.
fn replace_contents(path: &Path, (tensors, metadata): Contents<'_>) -> Result<()> {
    replace_with(path, |partial| {
        safetensors::serialize_to_file(tensors, Some(metadata), partial).map_err(|e| match e {
            safetensors::SafeTensorError::IoError(error) => error,
            other => std::io::Error::other(other),
        })
    })
}

/// A tensor of numbers, little-endian, as a view for writing.
fn view<'a>(dtype: Dtype, shape: Vec<usize>, bytes: &'a [u8]) -> Result<TensorView<'a>> {
    TensorView::new(dtype, shape, bytes).map_err(|e| Error::format("tensor", e.to_string()))
}

/// Writes a whole file or nothing: what stands at `path` is replaced only by a complete file.
fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    replace_with(path, |partial| std::fs::write(partial, bytes))
}

/// The same for contents that `write` puts into the file it is given.
pub(crate) fn replace_with(
    path: &Path,
    write: impl FnOnce(&Path) -> std::io::Result<()>,
) -> Result<()> {
    let io = |error| Error::Io { path: path.to_owned(), error };
    let mut partial = path.as_os_str().to_owned();
    // The process's number keeps two writers of one file, and a file of the user's, apart.
    partial.push(format!(".{}.partial", std::process::id()));
    let partial = Path::new(&partial);
    let written = write(partial).and_then(|()| std::fs::rename(partial, path));
    written.map_err(|error| {
        // The error that matters is the first one; the leftover is removed if it can be.
        let _ = std::fs::remove_file(partial);
        io(error)
    })
}
