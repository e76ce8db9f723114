//! Every kernel by name, on a layer of the shape that was asked for.

use crate::{Arguments, attention, index, sparse};
use anyhow::{Result, bail};
use fewbytes::launch::{Caps, Spec};
use fewbytes::linear::compensate::Source;
use fewbytes::linear::gemm::Block;
use fewbytes::linear::residual::{ResidualElement, ResidualLayout};
use fewbytes::linear::select::Budget;
use fewbytes::linear::select_channels::Method;
use fewbytes::linear::{
    Activation, Add, BitplaneLayout, BitplaneShape, Compensate, DequantizeBitplane,
    DequantizeVector, Gemm, GemmBitplane, GemvBitplane, GemvVector, HessianLayout, HessianUpdate,
    LnqDescent, LnqGram, LnqLayout, LnqObjective, LnqProduct, LnqTable, MatmulBitplane, Panel,
    SelectChannels, TableElement, VectorLayout, VectorShape,
};
use serde::Serialize;

/// Of weights; those of caches are [`attention::NAMES`], [`index::NAMES`] and [`sparse::NAMES`].
const LINEAR: [&str; 16] = [
    "gemv_bitplane",
    "gemm_bitplane",
    "gemm",
    // Whichever of them suit the batch.
    "matmul_bitplane",
    "dequantize_bitplane",
    "gemv_vector",
    "dequantize_vector",
    "hessian_update",
    "lnq_product",
    "lnq_descent",
    "lnq_gram",
    "lnq_table",
    "lnq_objective",
    "select_channels",
    "compensate",
    "add",
];

/// Every kernel.
pub(crate) fn names() -> Vec<&'static str> {
    let caches = attention::NAMES.into_iter().chain(index::NAMES).chain(sparse::NAMES);
    LINEAR.into_iter().chain(caches).collect()
}

/// What is written of a kernel.
pub(crate) struct Described {
    /// How tensors lie in buffers, where that is not plain.
    pub(crate) layout: Option<String>,
    pub(crate) specs: Vec<Box<dyn Spec>>,
}

impl Described {
    pub(crate) fn new(layout: &impl Serialize, spec: impl Spec + 'static) -> Result<Self> {
        Self::of(layout, boxed(spec))
    }

    pub(crate) fn of(layout: &impl Serialize, spec: Box<dyn Spec>) -> Result<Self> {
        let layout = serde_json::to_string_pretty(layout)? + "\n";
        Ok(Self { layout: Some(layout), specs: vec![spec] })
    }

    pub(crate) fn plain(spec: impl Spec + 'static) -> Self {
        Self { layout: None, specs: vec![boxed(spec)] }
    }
}

pub(crate) fn describe(arguments: &Arguments, caps: &Caps) -> Result<Described> {
    let &Arguments { rows, cols, bits, batch, groups, .. } = arguments;
    let activation = if arguments.f16 { Activation::F16 } else { Activation::F32 };
    let weights = || {
        let shape = BitplaneShape { rows, cols, seed_bits: 2, parent_bits: 8 };
        BitplaneLayout::for_shape(shape, &[bits], TableElement::F16, false, bits, caps)
    };
    let pairs = || {
        let shape = VectorShape { rows, cols, code_bits: bits };
        VectorLayout::for_shape(shape, TableElement::F16, false, caps)
    };
    match arguments.kernel.as_str() {
        kernel if kernel.starts_with("lnq_") => {
            let specs = lnq(kernel, LnqLayout { rows, cols, bits }, caps)?;
            Ok(Described { layout: None, specs })
        }
        "gemm_bitplane" => {
            let layout = weights()?;
            let spec = GemmBitplane::new(layout.clone(), bits, batch);
            Described::new(&layout, GemmBitplane { activation, ..spec })
        }
        "gemm" => {
            let (w, y) = (Block::packed(activation, cols), Block::packed(activation, rows));
            let spec = Gemm { w, x: w, y, ..Gemm::new(batch, rows, cols) };
            Ok(Described::plain(spec))
        }
        "matmul_bitplane" => {
            let layout = weights()?;
            let spec = MatmulBitplane::new(layout.clone(), bits, batch);
            Described::new(&layout, MatmulBitplane { activation, ..spec })
        }
        "dequantize_bitplane" => {
            let layout = weights()?;
            let spec = DequantizeBitplane { layout: layout.clone(), bits, element: activation };
            Described::new(&layout, spec)
        }
        "gemv_vector" => {
            let layout = pairs()?;
            let spec = GemvVector::new(layout.clone());
            Described::new(&layout, GemvVector { activation, ..spec })
        }
        "dequantize_vector" => {
            let layout = pairs()?;
            let spec = DequantizeVector { layout: layout.clone(), element: activation };
            Described::new(&layout, spec)
        }
        "hessian_update" => {
            let layout = HessianLayout::new(cols, groups, caps)?;
            let spec = HessianUpdate::new(layout.clone(), batch);
            Described::new(&layout, HessianUpdate { activation, ..spec })
        }
        "select_channels" => {
            let spec = SelectChannels::new(Budget::new(cols, arguments.k_chunk)?);
            Ok(Described::plain(SelectChannels { activation, ..spec }))
        }
        "compensate" => {
            let element = ResidualElement::ALL.into_iter().find(|e| e.bits() == u32::from(bits));
            let Some(element) = element else { bail!("residuals are of 2, 4, 8 or 16 bits") };
            let layout = ResidualLayout::new(rows, cols, element)?;
            let source = match arguments.own {
                true => Source::Own { method: Method::ChunkRadix, weighted: false },
                false => Source::List,
            };
            let spec = Compensate::new(layout, Budget::new(cols, arguments.k_chunk)?);
            Ok(Described::plain(Compensate { activation, output: activation, source, ..spec }))
        }
        "add" => Ok(Described::plain(Add { len: rows * batch, activation })),
        kernel if index::NAMES.contains(&kernel) => {
            index::describe(kernel, arguments.f16, &arguments.cache)
        }
        kernel if sparse::NAMES.contains(&kernel) => {
            sparse::describe(kernel, arguments.f16, &arguments.cache)
        }
        kernel if attention::NAMES.contains(&kernel) => {
            attention::describe(kernel, arguments.f16, &arguments.cache)
        }
        // The first of the names.
        _ => {
            let layout = weights()?;
            let spec = GemvBitplane::new(layout.clone(), bits);
            Described::new(&layout, GemvBitplane { activation, ..spec })
        }
    }
}

/// A kernel of LNQ over all inputs and all rows.
fn lnq(kernel: &str, layout: LnqLayout, caps: &Caps) -> Result<Vec<Box<dyn Spec>>> {
    let pieces = layout.pieces(caps)?;
    let panels = Panel::all(&pieces, 512);
    let rows = 0..layout.rows;
    Ok(match kernel {
        "lnq_product" => {
            let of = |&panel| boxed(LnqProduct { layout, panel, changed: None });
            panels.iter().map(of).collect()
        }
        "lnq_descent" => panels.iter().map(|&panel| boxed(LnqDescent { layout, panel })).collect(),
        "lnq_gram" => {
            let of = |&piece| boxed(LnqGram { layout, piece, rows: rows.clone() });
            pieces.iter().map(of).collect()
        }
        "lnq_table" => vec![boxed(LnqTable { layout })],
        _ => vec![boxed(LnqObjective { layout })],
    })
}

pub(crate) fn boxed(spec: impl Spec + 'static) -> Box<dyn Spec> {
    Box::new(spec)
}
