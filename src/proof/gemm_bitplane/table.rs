//! The rows of the case table.

use super::{DEFAULT, GemmCase};
use crate::launch::{Knobs, Lookup, Masks};
use crate::linear::{Activation, TableElement};
use crate::proof::bitplane::{Squeeze, Values};
use crate::proof::products::Input;

pub(in crate::proof) fn cases() -> Vec<GemmCase> {
    use Activation::{F16, F32};
    let mut all = Vec::new();
    // Every width meets a tail chunk, padded columns, odd rows, both activations, every tile.
    for bits in 2..=8 {
        for activation in [F32, F16] {
            for (batch, rows, cols) in [(1, 1, 1), (9, 7, 33), (17, 65, 1056), (65, 37, 160)] {
                let bias = rows == 7;
                all.push(GemmCase { batch, rows, cols, bits, activation, bias, ..DEFAULT });
            }
        }
        // A column for every vector: a weight in the wrong place shows.
        let input = Input::OneHot(1020 + usize::from(bits));
        all.push(GemmCase { bits, batch: 35, rows: 66, input, ..DEFAULT });
        let input = Input::OneHot(60);
        all.push(GemmCase { bits, batch: 40, cols: 99, input, activation: F16, ..DEFAULT });
        let table = TableElement::F32;
        all.push(GemmCase { bits, batch: 33, table, rows: 70, cols: 100, ..DEFAULT });
        // A parent no wider than the width: there is nothing above to be poisoned.
        all.push(GemmCase { bits, parent_bits: bits, rows: 3, cols: 96, ..DEFAULT });
    }
    // Layers of tables, with a tail chunk and padded columns.
    for bits in [2, 3, 4, 8] {
        let one = GemmCase { bits, parent_bits: bits, batch: 17, rows: 66, cols: 1089, ..DEFAULT };
        all.push(GemmCase { bias: true, ..one });
        let (table, activation) = (TableElement::F32, F16);
        all.push(GemmCase { table, activation, ..one });
    }
    // Around the edges of tiles.
    for (i, batch) in [2, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 129, 200].into_iter().enumerate() {
        let activation = if i % 2 == 0 { F32 } else { F16 };
        let rows = [63, 64, 65, 127, 1, 31][i % 6];
        all.push(GemmCase { batch, rows, cols: 128, activation, bias: true, ..DEFAULT });
        let activation = if i % 2 == 1 { F32 } else { F16 };
        all.push(GemmCase { batch, rows, cols: 67, activation, bits: 3, ..DEFAULT });
    }
    for (i, cols) in [31, 32, 64, 992, 1024, 2080, 4096, 11008].into_iter().enumerate() {
        let bits = 2 + (i % 7) as u8;
        all.push(GemmCase { batch: 34, rows: 9, cols, bits, ..DEFAULT });
        all.push(GemmCase { rows: 6, cols, bits, activation: F16, bias: true, ..DEFAULT });
    }
    for input in [Input::Ones, Input::Outliers, Input::Cancelling, Input::NaN, Input::Infinite] {
        all.push(GemmCase { batch: 33, input, cols: 2048, ..DEFAULT });
        all.push(GemmCase { cols: 77, input, bits: 6, activation: F16, ..DEFAULT });
    }
    for values in [Values::Subnormal, Values::Huge] {
        all.push(GemmCase { values, bits: 3, ..DEFAULT });
        let input = Input::OneHot(17);
        all.push(GemmCase { values, input, bits: 8, ..DEFAULT });
        all.push(GemmCase { values, input, bits: 2, activation: F16, ..DEFAULT });
    }
    // Sums beyond the range of f16 become infinite.
    let (values, input) = (Values::Huge, Input::Outliers);
    all.push(GemmCase { values, input, activation: F16, ..DEFAULT });
    // Grids of two dimensions, with few groups on a squeezed device and with many on any.
    let squeeze = Squeeze::Groups(6);
    all.push(GemmCase { batch: 130, rows: 643, cols: 40, squeeze, bits: 7, ..DEFAULT });
    let knobs = Knobs { rows: Some(32), ..Knobs::DEFAULT };
    let (batch, input) = (32 * 65_536 + 1, Input::OneHot(0));
    let many = GemmCase { batch, input, rows: 1, cols: 3, bits: 2, parent_bits: 2, ..DEFAULT };
    all.push(GemmCase { knobs, ..many });
    // Layers cut into pieces.
    for activation in [F32, F16] {
        let squeeze = Squeeze::Binding(140_000);
        let (rows, cols, bias) = (411, 70, true);
        all.push(GemmCase { batch: 18, rows, cols, squeeze, activation, bias, ..DEFAULT });
    }
    all.extend(knob_cases());
    all
}

/// Every way in which products can be computed.
fn knob_cases() -> Vec<GemmCase> {
    use Activation::{F16, F32};
    let mut all = Vec::new();
    let base = Knobs::DEFAULT;
    for bits in 2..=8 {
        let mut lookups = vec![Lookup::Storage];
        if bits <= 6 {
            lookups.push(Lookup::Single);
        }
        // Half the bytes, and pairs at the widths that fit a browser's workgroup memory.
        if bits <= 7 {
            lookups.push(Lookup::Half);
        }
        if bits == 2 {
            lookups.push(Lookup::Pair);
        }
        for lookup in lookups {
            let knobs = Knobs { lookup: Some(lookup), rows: Some(32), ..base };
            let knobs = Knobs { workgroup: Some(32), ..knobs };
            all.push(GemmCase { bits, batch: 19, knobs, ..DEFAULT });
            let input = Input::OneHot(37);
            let knobs = Knobs { masks: Some(Masks::Hidden), ..knobs };
            all.push(GemmCase { bits, cols: 99, input, knobs, activation: F16, ..DEFAULT });
        }
        let activation = if bits % 2 == 0 { F16 } else { F32 };
        let knobs = Knobs { slices: Some(3), ..base };
        all.push(GemmCase { bits, batch: 21, knobs, activation, bias: true, ..DEFAULT });
    }
    // Every share of a lane, and every number of runs that a step can take.
    let shapes = [
        (16, 32, 32),
        (16, 64, 64),
        (16, 128, 128),
        (32, 32, 32),
        (32, 32, 64),
        (32, 64, 64),
        (32, 64, 128),
        (32, 128, 128),
        (70, 64, 64),
        (70, 64, 128),
        (70, 64, 256),
        (70, 128, 128),
        (70, 128, 256),
    ];
    for (batch, rows, workgroup) in shapes {
        let knobs = Knobs { rows: Some(rows), workgroup: Some(workgroup), ..base };
        let knobs = Knobs { lookup: Some(Lookup::Storage), ..knobs };
        all.push(GemmCase { batch, rows: 150, cols: 1100, bits: 3, knobs, ..DEFAULT });
        let input = Input::OneHot(1000);
        all.push(GemmCase { batch, rows: 131, bits: 5, input, knobs, ..DEFAULT });
    }
    // As many slices as words, slices without words, slices of several pieces and tiles.
    for (slices, cols) in [(33, 1056), (5, 6 * 32), (2, 4096)] {
        let knobs = Knobs { slices: Some(slices), ..base };
        all.push(GemmCase { knobs, cols, rows: 21, bias: true, ..DEFAULT });
        all.push(GemmCase { knobs, cols, rows: 71, activation: F16, batch: 66, ..DEFAULT });
    }
    let (squeeze, knobs) = (Squeeze::Binding(140_000), Knobs { slices: Some(2), ..base });
    all.push(GemmCase { rows: 411, cols: 70, squeeze, knobs, bias: true, ..DEFAULT });
    all
}
