//! Every kernel by name, on a layer of the shape that was asked for.

use crate::Arguments;
use anyhow::Result;
use fewbytes::launch::{Caps, Spec};
use fewbytes::linear::{
    Activation, BitplaneLayout, BitplaneShape, DequantizeBitplane, DequantizeVector, GemmBitplane,
    GemvBitplane, GemvVector, HessianLayout, HessianUpdate, TableElement, VectorLayout,
    VectorShape,
};

pub(crate) const NAMES: [&str; 6] = [
    "gemv_bitplane",
    "gemm_bitplane",
    "dequantize_bitplane",
    "gemv_vector",
    "dequantize_vector",
    "hessian_update",
];

/// What is written of a kernel.
pub(crate) struct Described {
    /// How tensors lie in buffers, where that is not plain.
    pub(crate) layout: Option<String>,
    pub(crate) specs: Vec<Box<dyn Spec>>,
}

impl Described {
    fn new(layout: &impl serde::Serialize, spec: impl Spec + 'static) -> Result<Self> {
        let layout = serde_json::to_string_pretty(layout)? + "\n";
        Ok(Self { layout: Some(layout), specs: vec![Box::new(spec)] })
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
        "gemm_bitplane" => {
            let layout = weights()?;
            let spec = GemmBitplane::new(layout.clone(), bits, batch);
            Described::new(&layout, GemmBitplane { activation, ..spec })
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
        // The first of the names.
        _ => {
            let layout = weights()?;
            let spec = GemvBitplane::new(layout.clone(), bits);
            Described::new(&layout, GemvBitplane { activation, ..spec })
        }
    }
}
