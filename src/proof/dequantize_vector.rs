//! The case table of `dequantize_vector`.

use super::bitplane::{Squeeze, Values, stored};
use super::vector::{Random, weight_tensors};
use super::{Case, Expected, Output, Proof, Tensor};
use crate::launch::{Caps, Knobs, Reduce, Spec as _};
use crate::linear::dequantize_vector::{DST, NAME, reference};
use crate::linear::{Activation, DequantizeVector, TableElement, VectorLayout, VectorShape};
use crate::{Error, Result};

/// One case.
#[derive(Debug, Clone, Copy)]
pub(super) struct DequantizeCase {
    rows: usize,
    cols: usize,
    code_bits: u8,
    element: Activation,
    table: TableElement,
    values: Values,
    squeeze: Squeeze,
    knobs: Knobs,
}

const DEFAULT: DequantizeCase = DequantizeCase {
    rows: 5,
    cols: 2112,
    code_bits: 4,
    element: Activation::F32,
    table: TableElement::F16,
    values: Values::Ordinary,
    squeeze: Squeeze::None,
    knobs: Knobs::DEFAULT,
};

pub(super) fn cases() -> Vec<DequantizeCase> {
    use Activation::{F16, F32};
    let mut all = Vec::new();
    for code_bits in 2..=6 {
        for element in [F32, F16] {
            for (rows, cols) in [(1, 1), (7, 33), (5, 2112)] {
                all.push(DequantizeCase { rows, cols, code_bits, element, ..DEFAULT });
            }
        }
    }
    for element in [F32, F16] {
        for values in [Values::Subnormal, Values::Huge, Values::BeyondF16] {
            // Entries beyond f16 become infinite in f16 output.
            let table = match values {
                Values::BeyondF16 => TableElement::F32,
                _ => TableElement::F16,
            };
            let (code_bits, cols) = (6, 99);
            all.push(DequantizeCase { values, table, element, code_bits, cols, ..DEFAULT });
        }
        let table = TableElement::F32;
        all.push(DequantizeCase { table, element, rows: 9, cols: 130, code_bits: 3, ..DEFAULT });
        let squeeze = Squeeze::Groups(6);
        all.push(DequantizeCase { squeeze, element, rows: 67, cols: 70, ..DEFAULT });
    }
    for (workgroup, rows) in [(8, 2), (256, 8)] {
        let knobs = Knobs { workgroup: Some(workgroup), rows: Some(rows), ..Knobs::DEFAULT };
        all.push(DequantizeCase { rows: 21, cols: 131, knobs, code_bits: 5, ..DEFAULT });
    }
    // Several pieces of weights, and several bindings of output within a piece.
    let squeeze = Squeeze::Binding(52_000);
    all.push(DequantizeCase { squeeze, rows: 1411, cols: 99, ..DEFAULT });
    all
}

impl Case for DequantizeCase {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> String {
        let Self { rows, cols, code_bits, .. } = self;
        let mut name = format!("{rows}x{cols} n{code_bits} {}", self.element.name());
        if self.table == TableElement::F32 {
            name += " table-f32";
        }
        if self.values != Values::Ordinary {
            name += &format!(" {:?}", self.values);
        }
        if self.squeeze != Squeeze::None {
            name += &format!(" {:?}", self.squeeze);
        }
        if let (Some(workgroup), Some(rows)) = (self.knobs.workgroup, self.knobs.rows) {
            name += &format!(" {workgroup}x{rows}");
        }
        name
    }

    fn variants(&self, _: &Caps) -> Vec<(&'static str, Knobs)> {
        vec![("baseline", Knobs { reduce: Some(Reduce::Workgroup), ..self.knobs })]
    }

    fn build(&self, caps: &Caps, knobs: &Knobs) -> Result<Proof> {
        let caps = self.squeeze.apply(caps);
        let Self { rows, cols, code_bits, element, table, values, .. } = *self;
        let shape = VectorShape { rows, cols, code_bits };
        let layer = Random { shape, table, bias: false, values }.layer(&self.name())?;
        let spec = DequantizeVector { layout: VectorLayout::new(&layer, &caps)?, element };
        let launches = spec.launches(&caps, knobs)?;
        let pieces = spec.layout.pieces().count();
        if matches!(self.squeeze, Squeeze::Binding(_)) && (pieces < 2 || launches.len() <= pieces) {
            return Err(Error::shape("launches of a squeezed output", "several a piece", 1));
        }
        let expected = stored(&reference(&layer, element), element);
        let mut tensors = weight_tensors(&layer, &spec.layout)?.to_vec();
        tensors.push(Tensor::output(DST, spec.dst_bytes() as usize));
        let output = Output { binding: DST, expected: Expected::Bytes(expected) };
        Ok(Proof { launches, tensors, outputs: vec![output] })
    }
}
