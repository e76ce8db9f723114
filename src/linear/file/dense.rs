//! Dense weights from safetensors files: F32, F16 or BF16 matrices.

use super::open;
use crate::{Error, Result};
use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};

/// A safetensors file of dense tensors, in memory or mapped into it.
pub struct DenseFile<'a> {
    tensors: SafeTensors<'a>,
}

/// Name and shape of a matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DenseShape {
    /// The tensor's name.
    pub name: String,
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub cols: usize,
}

/// Any tensor of a file, of whatever rank and type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DenseTensor {
    /// The tensor's name.
    pub name: String,
    /// Its element type in the words of the format: `F32`, `BF16`, `I64`.
    pub dtype: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
}

impl<'a> DenseFile<'a> {
    /// Reads the header; `name` stands for the file in errors.
    ///
    /// # Errors
    /// [`Error::Format`] when the file is not safetensors.
    pub fn parse(name: &str, bytes: &'a [u8]) -> Result<Self> {
        Ok(Self { tensors: open(name, bytes)? })
    }

    /// Every tensor, by name: what there is besides [`DenseFile::matrices`].
    pub fn tensors(&self) -> Vec<DenseTensor> {
        let mut found: Vec<_> = self
            .tensors
            .iter()
            .map(|(name, view)| DenseTensor {
                name: name.to_owned(),
                dtype: format!("{:?}", view.dtype()),
                shape: view.shape().to_vec(),
            })
            .collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    /// Every matrix `[rows, cols]` of floating-point numbers, by name. Tensors of another rank or
    /// type are left out.
    pub fn matrices(&self) -> Vec<DenseShape> {
        let mut found: Vec<_> = self
            .tensors
            .iter()
            .filter(|(_, view)| matches!(view.dtype(), Dtype::F32 | Dtype::F16 | Dtype::BF16))
            .filter_map(|(name, view)| match *view.shape() {
                [rows, cols] if rows > 0 && cols > 0 => {
                    Some(DenseShape { name: name.to_owned(), rows, cols })
                }
                _ => None,
            })
            .collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    /// The numbers of one tensor, row-major, widened to f32.
    ///
    /// # Errors
    /// [`Error::Format`] when there is no such tensor, [`Error::Unsupported`] for another type
    /// than F32, F16 or BF16.
    pub fn values(&self, name: &str) -> Result<Vec<f32>> {
        let view = self
            .tensors
            .tensor(name)
            .map_err(|_| Error::format(format!("tensor {name}"), "not in the file"))?;
        let bytes = view.data();
        match view.dtype() {
            Dtype::F32 => Ok(bytemuck::pod_collect_to_vec(bytes)),
            Dtype::F16 => Ok(bytemuck::pod_collect_to_vec::<u8, f16>(bytes)
                .into_iter()
                .map(f16::to_f32)
                .collect()),
            Dtype::BF16 => Ok(bytemuck::pod_collect_to_vec::<u8, bf16>(bytes)
                .into_iter()
                .map(bf16::to_f32)
                .collect()),
            other => Err(Error::unsupported(
                format!("tensor {name} of type {other:?}"),
                "F32, F16 and BF16 are read",
            )),
        }
    }
}
