//! The rows of the case table.
//!
//! Compiling is most of the time, so rows share shaders where they can: what is special about a
//! row is seldom its width.

use super::{DEFAULT, GemmCase};
use crate::launch::{Knobs, Lookup, Masks};
use crate::linear::{Activation, TableElement};
use crate::proof::bitplane::{Squeeze, Values};
use crate::proof::products::Input;

use Activation::{F16, F32};

pub(in crate::proof) fn cases() -> Vec<GemmCase> {
    let mut all = widths();
    // Layers of tables, with a tail chunk and padded columns.
    for (bits, activation) in [(2, F32), (3, F16), (4, F32)] {
        let one = GemmCase { bits, parent_bits: bits, batch: 17, rows: 66, cols: 1089, ..DEFAULT };
        all.push(GemmCase { activation, bias: true, ..one });
    }
    // Around the edges of tiles.
    let batches = [1, 8, 15, 16, 31, 33, 63, 64, 129, 257];
    for (i, batch) in batches.into_iter().enumerate() {
        let (rows, cols) = ([63, 64, 65, 127, 1, 31][i % 6], [128, 67][i / 2 % 2]);
        let activation = [F32, F16][i % 2];
        all.push(GemmCase { batch, rows, cols, activation, bias: true, ..DEFAULT });
    }
    for (i, cols) in [31, 64, 992, 1024, 2080, 11_008].into_iter().enumerate() {
        let (rows, activation) = ([5, 2][i / 5], [F32, F16][i % 2]);
        all.push(GemmCase { rows, cols, activation, bias: true, ..DEFAULT });
    }
    let inputs = [Input::Ones, Input::Outliers, Input::Cancelling, Input::NaN, Input::Infinite];
    for (i, input) in inputs.into_iter().enumerate() {
        let (batch, activation) = ([9, 33][i % 2], [F16, F32][i % 2]);
        all.push(GemmCase { batch, input, cols: [416, 77][i % 2], activation, ..DEFAULT });
    }
    for values in [Values::Subnormal, Values::Huge] {
        let input = Input::OneHot(17);
        all.push(GemmCase { values, ..DEFAULT });
        all.push(GemmCase { values, input, cols: 99, activation: F16, ..DEFAULT });
    }
    // Sums beyond the range of f16 become infinite.
    let (values, input) = (Values::Huge, Input::Outliers);
    all.push(GemmCase { values, input, activation: F16, ..DEFAULT });
    // Grids of two dimensions, as `gemv_bitplane` meets them with more groups than any device's
    // limit.
    let squeeze = Squeeze::Groups(6);
    all.push(GemmCase { batch: 130, rows: 323, cols: 40, squeeze, ..DEFAULT });
    // Layers cut into pieces, whole and sliced.
    let (squeeze, bias) = (Squeeze::Binding(140_000), true);
    let pieces = GemmCase { rows: 411, cols: 70, squeeze, bias, ..DEFAULT };
    all.push(GemmCase { batch: 18, activation: F16, ..pieces });
    all.push(GemmCase { knobs: Knobs { slices: Some(2), ..Knobs::DEFAULT }, ..pieces });
    all.extend(knob_cases());
    all
}

/// Every width meets a tail chunk, padded columns, odd rows, both activations.
fn widths() -> Vec<GemmCase> {
    let mut all = Vec::new();
    for bits in 2..=8 {
        all.push(GemmCase { bits, rows: 7, cols: 33, activation: F16, bias: true, ..DEFAULT });
        all.push(GemmCase { bits, batch: 17, rows: 65, ..DEFAULT });
        // A column for every vector: a weight in the wrong place shows.
        let input = Input::OneHot(1020 + usize::from(bits));
        all.push(GemmCase { bits, batch: 20, rows: 66, input, ..DEFAULT });
    }
    for bits in [2, 4, 8] {
        all.push(GemmCase { bits, batch: 65, cols: 160, activation: F16, ..DEFAULT });
        let input = Input::OneHot(60);
        all.push(GemmCase { bits, cols: 99, input, activation: F16, ..DEFAULT });
        let table = TableElement::F32;
        all.push(GemmCase { bits, batch: 33, table, rows: 70, cols: 100, ..DEFAULT });
        // A parent no wider than the width: there is nothing above to be poisoned.
        all.push(GemmCase { bits, batch: 17, parent_bits: bits, rows: 3, cols: 96, ..DEFAULT });
    }
    for bits in [2, 8] {
        all.push(GemmCase { bits, batch: 1, rows: 1, cols: 1, ..DEFAULT });
    }
    all
}

/// Every way in which products can be computed.
fn knob_cases() -> Vec<GemmCase> {
    let mut all = Vec::new();
    let base = Knobs::DEFAULT;
    // Every lookup, and both ways to write masks, with each way to assemble codes; small tables
    // that fit a browser's workgroup memory.
    let lookups = [
        (2, Lookup::Storage, Masks::Hidden),
        (3, Lookup::Storage, Masks::Constant),
        (5, Lookup::Storage, Masks::Hidden),
        (4, Lookup::Single, Masks::Hidden),
        (6, Lookup::Single, Masks::Hidden),
        (2, Lookup::Half, Masks::Constant),
        (4, Lookup::Half, Masks::Hidden),
        (7, Lookup::Half, Masks::Constant),
        (2, Lookup::Pair, Masks::Constant),
        (2, Lookup::Pair, Masks::Hidden),
    ];
    for (i, (bits, lookup, masks)) in lookups.into_iter().enumerate() {
        let knobs = Knobs { rows: Some(32), workgroup: Some(32), ..base };
        let knobs = Knobs { lookup: Some(lookup), masks: Some(masks), ..knobs };
        let case = GemmCase { bits, knobs, ..DEFAULT };
        let (input, activation) = (Input::OneHot(37), [F16, F32][i % 2]);
        all.push(GemmCase { batch: 19, ..case });
        all.push(GemmCase { batch: 20, cols: 99, input, activation, ..case });
    }
    // Every share of a lane, and every number of runs that a step can take.
    let shapes = [
        (16, 32, 32),
        (16, 64, 64),
        (32, 32, 64),
        (32, 64, 64),
        (32, 64, 128),
        (70, 64, 64),
        (70, 64, 256),
        (70, 128, 128),
        (70, 128, 256),
    ];
    for (batch, rows, workgroup) in shapes {
        let knobs = Knobs { rows: Some(rows), workgroup: Some(workgroup), ..base };
        let knobs = Knobs { lookup: Some(Lookup::Storage), ..knobs };
        all.push(GemmCase { batch, rows: 150, cols: 1100, bits: 3, knobs, ..DEFAULT });
        let input = Input::OneHot(1000);
        all.push(GemmCase { batch, rows: 131, cols: 1100, bits: 3, input, knobs, ..DEFAULT });
    }
    // Every share of a subgroup, one step's columns and twice as many.
    for (batch, rows, workgroup) in [(16, 64, 128), (32, 32, 64), (70, 128, 256), (70, 64, 256)] {
        let matrix = Some(true);
        let knobs = Knobs { rows: Some(rows), workgroup: Some(workgroup), matrix, ..base };
        all.push(GemmCase { batch, rows: 150, cols: 1100, knobs, activation: F16, ..DEFAULT });
        let (input, activation) = (Input::OneHot(1000), F16);
        all.push(GemmCase { batch, rows: 131, input, knobs, activation, ..DEFAULT });
    }
    // As many slices as words, slices without words, slices of several tiles.
    for (slices, cols) in [(33, 1056), (5, 6 * 32), (2, 1088)] {
        let knobs = Knobs { slices: Some(slices), ..base };
        all.push(GemmCase { knobs, cols, rows: 21, bias: true, ..DEFAULT });
        all.push(GemmCase { knobs, cols, rows: 71, activation: F16, batch: 66, ..DEFAULT });
    }
    for bits in [2, 7] {
        let knobs = Knobs { slices: Some(3), ..base };
        all.push(GemmCase { bits, batch: 21, knobs, bias: true, ..DEFAULT });
    }
    all
}
