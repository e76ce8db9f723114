//! The case table of `dequantize_bitplane`.

use super::bitplane::{Random, Squeeze, Values, stored, weight_tensors};
use super::{Case, Expected, Output, Proof, Tensor};
use crate::launch::{Caps, Knobs, Reduce, Spec as _};
use crate::linear::dequantize_bitplane::{DST, NAME, reference};
use crate::linear::{Activation, BitplaneLayout, DequantizeBitplane, TableElement};
use crate::{Error, Result};

/// One case.
#[derive(Debug, Clone, Copy)]
pub(super) struct DequantizeCase {
    rows: usize,
    cols: usize,
    bits: u8,
    parent_bits: u8,
    element: Activation,
    table: TableElement,
    values: Values,
    squeeze: Squeeze,
    knobs: Knobs,
}

const DEFAULT: DequantizeCase = DequantizeCase {
    rows: 5,
    cols: 1056,
    bits: 4,
    parent_bits: 8,
    element: Activation::F32,
    table: TableElement::F16,
    values: Values::Ordinary,
    squeeze: Squeeze::None,
    knobs: Knobs::DEFAULT,
};

pub(super) fn cases() -> Vec<DequantizeCase> {
    use Activation::{F16, F32};
    let mut all = Vec::new();
    for bits in 2..=8 {
        for element in [F32, F16] {
            for (rows, cols) in [(1, 1), (7, 33), (5, 1056), (11, 4096)] {
                all.push(DequantizeCase { rows, cols, bits, element, ..DEFAULT });
            }
        }
    }
    // Layers of tables.
    for bits in [2, 3, 4, 8] {
        for (element, table) in [(F32, TableElement::F16), (F16, TableElement::F32)] {
            let one = DequantizeCase { bits, parent_bits: bits, element, table, ..DEFAULT };
            all.push(DequantizeCase { rows: 9, cols: 1089, ..one });
        }
    }
    for element in [F32, F16] {
        // Entries beyond f16 become infinite in f16 output.
        for values in [Values::Subnormal, Values::Huge, Values::BeyondF16] {
            for table in [TableElement::F16, TableElement::F32] {
                if table == TableElement::F32 || values != Values::BeyondF16 {
                    let (bits, cols) = (6, 99);
                    all.push(DequantizeCase { values, table, element, bits, cols, ..DEFAULT });
                }
            }
        }
        let table = TableElement::F32;
        all.push(DequantizeCase { table, element, rows: 9, cols: 130, bits: 3, ..DEFAULT });
        let squeeze = Squeeze::Groups(6);
        all.push(DequantizeCase { squeeze, element, rows: 67, cols: 70, ..DEFAULT });
    }
    for (workgroup, rows) in [(8, 2), (32, 8), (128, 4), (256, 2)] {
        let knobs = Knobs { workgroup: Some(workgroup), rows: Some(rows), ..Knobs::DEFAULT };
        all.push(DequantizeCase { rows: 21, cols: 101, knobs, bits: 8, ..DEFAULT });
        all.push(DequantizeCase { rows: 21, cols: 101, knobs, bits: 2, element: F16, ..DEFAULT });
    }
    // Several pieces of weights, and several bindings of output within a piece.
    for (element, cols, bytes) in [(F32, 801, 480_000), (F16, 1500, 650_000)] {
        let squeeze = Squeeze::Binding(bytes);
        all.push(DequantizeCase { squeeze, element, rows: 411, cols, bits: 2, ..DEFAULT });
    }
    all
}

impl Case for DequantizeCase {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> String {
        let Self { rows, cols, bits, .. } = self;
        let mut name = format!("{rows}x{cols} b{bits} {}", self.element.name());
        if self.parent_bits != DEFAULT.parent_bits {
            name += &format!(" of{}", self.parent_bits);
        }
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
        let Self { rows, cols, bits, parent_bits, element, table, values, .. } = *self;
        let random = Random { rows, cols, parent_bits, table, bias: false, values };
        let layer = random.layer_at(bits, &self.name())?;
        let layout = BitplaneLayout::new(&layer, parent_bits, &caps)?;
        let spec = DequantizeBitplane { layout, bits, element };
        let launches = spec.launches(&caps, knobs)?;
        if matches!(self.squeeze, Squeeze::Binding(_))
            && launches.len() <= spec.layout.pieces().count()
        {
            return Err(Error::shape("launches of a squeezed output", "several a piece", 1));
        }
        let expected = stored(&reference(&layer, bits, element)?, element);
        let mut tensors = weight_tensors(&layer, &spec.layout, bits)?.to_vec();
        tensors.push(Tensor::output(DST, spec.dst_bytes() as usize));
        let output = Output { binding: DST, expected: Expected::Bytes(expected) };
        Ok(Proof { launches, tensors, outputs: vec![output] })
    }
}
