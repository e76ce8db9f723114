//! The rows of the case table.

use super::{DEFAULT, GemvCase};
use crate::launch::{Knobs, Lookup, Masks};
use crate::linear::{Activation, Arithmetic, TableElement};
use crate::proof::bitplane::{Squeeze, Values};
use crate::proof::products::Input;

pub(in crate::proof) fn cases() -> Vec<GemvCase> {
    use Activation::{F16, F32};
    let mut all = Vec::new();
    // Every width meets a tail chunk, padded columns, odd rows, both activations.
    for bits in 2..=8 {
        for activation in [F32, F16] {
            for (rows, cols) in [(1, 1), (7, 33), (5, 1056), (37, 4096)] {
                let bias = rows == 7;
                all.push(GemvCase { rows, cols, bits, activation, bias, ..DEFAULT });
            }
        }
        let input = Input::OneHot(1030 + usize::from(bits));
        all.push(GemvCase { bits, input, ..DEFAULT });
        all.push(GemvCase { bits, input, activation: F16, rows: 9, ..DEFAULT });
        all.push(GemvCase { bits, table: TableElement::F32, rows: 6, cols: 1000, ..DEFAULT });
        // A parent no wider than the width: there is nothing above to be poisoned.
        all.push(GemvCase { bits, parent_bits: bits, rows: 3, cols: 96, ..DEFAULT });
        all.push(GemvCase { bits, rows: 3, cols: 11008, ..DEFAULT });
    }
    // Layers of tables, with a tail chunk and padded columns.
    for bits in [2, 3, 4, 8] {
        let one = GemvCase { bits, parent_bits: bits, rows: 9, cols: 1089, ..DEFAULT };
        all.push(GemvCase { bias: true, ..one });
        all.push(GemvCase { activation: F16, table: TableElement::F32, batch: 3, ..one });
    }
    let shapes = [(2, 31), (3, 32), (4, 64), (9, 992), (6, 1024), (13, 2048 + 32), (3, 28672)];
    for (i, (rows, cols)) in shapes.into_iter().enumerate() {
        let bits = 2 + (i % 7) as u8;
        all.push(GemvCase { rows, cols, bits, bias: true, ..DEFAULT });
        all.push(GemvCase { rows, cols, bits: 10 - bits, activation: F16, ..DEFAULT });
    }
    for input in [Input::Ones, Input::Outliers, Input::Cancelling, Input::NaN, Input::Infinite] {
        all.push(GemvCase { rows: 10, input, ..DEFAULT });
        all.push(GemvCase { rows: 10, cols: 77, input, bits: 6, activation: F16, ..DEFAULT });
    }
    for values in [Values::Subnormal, Values::Huge] {
        all.push(GemvCase { values, bits: 3, ..DEFAULT });
        let input = Input::OneHot(17);
        all.push(GemvCase { values, input, bits: 8, ..DEFAULT });
        all.push(GemvCase { values, input, bits: 2, activation: F16, ..DEFAULT });
    }
    for (workgroup, rows) in [(8, 2), (32, 8), (128, 4), (256, 2)] {
        let knobs = Knobs { workgroup: Some(workgroup), rows: Some(rows), ..Knobs::DEFAULT };
        all.push(GemvCase { rows: 21, knobs, bits: 5, ..DEFAULT });
        all.push(GemvCase { rows: 21, knobs, bits: 2, activation: F16, bias: true, ..DEFAULT });
    }
    // Sums beyond the range of f16 become infinite.
    let (values, input) = (Values::Huge, Input::Outliers);
    all.push(GemvCase { rows: 24, values, input, activation: F16, ..DEFAULT });
    // Grids of two dimensions, with few groups on a squeezed device and with many on any.
    let squeeze = Squeeze::Groups(6);
    all.push(GemvCase { rows: 43, squeeze, bits: 7, bias: true, ..DEFAULT });
    let knobs = Knobs { rows: Some(2), ..Knobs::default() };
    all.push(GemvCase { rows: 131_077, cols: 32, bits: 3, parent_bits: 3, knobs, ..DEFAULT });
    // Layers cut into pieces.
    for activation in [F32, F16] {
        let squeeze = Squeeze::Binding(140_000);
        all.push(GemvCase { rows: 411, cols: 70, squeeze, activation, bias: true, ..DEFAULT });
    }
    // Another vendor's loop, left by lanes at different turns and at once.
    let squeeze = Squeeze::Nvidia;
    for bits in 2..=8 {
        let activation = if bits % 2 == 0 { F16 } else { F32 };
        all.push(GemvCase { bits, rows: 13, cols: 2080, squeeze, activation, ..DEFAULT });
        let batch = usize::from(bits);
        all.push(GemvCase { bits, batch, rows: 9, cols: 2144, squeeze, activation, ..DEFAULT });
    }
    let arithmetic = Arithmetic::F16;
    for bits in 2..=4 {
        all.push(GemvCase { bits, arithmetic, activation: F16, cols: 2080, squeeze, ..DEFAULT });
    }
    all.extend(knob_cases());
    all.extend(batch_cases());
    all.extend(f16_cases());
    all
}

/// Every way in which a product can be computed, at every width.
fn knob_cases() -> Vec<GemvCase> {
    use Activation::{F16, F32};
    let mut all = Vec::new();
    let base = Knobs::DEFAULT;
    for bits in 2..=8 {
        let lookups: &[_] = if bits <= 4 {
            &[Lookup::Single, Lookup::Pair]
        } else {
            &[Lookup::Single, Lookup::Half]
        };
        for (i, &lookup) in lookups.iter().enumerate() {
            let knobs = Knobs { lookup: Some(lookup), ..base };
            // Two rows of four-bit pairs: eight would not fit a browser's workgroup memory.
            let knobs = Knobs { rows: Some([4, 2, 8][usize::from(bits) % 3]), ..knobs };
            let cols = if i == 0 { 1056 } else { 3 * 1024 };
            all.push(GemvCase { bits, rows: 9, cols, knobs, ..DEFAULT });
            // One column at a time: a table entry in the wrong place shows.
            let knobs = Knobs { masks: Some(Masks::Hidden), ..knobs };
            let input = Input::OneHot(37);
            all.push(GemvCase {
                bits,
                rows: 11,
                cols: 99,
                input,
                knobs,
                activation: F16,
                ..DEFAULT
            });
        }
        let activation = if bits % 2 == 0 { F16 } else { F32 };
        let knobs = Knobs { masks: Some(Masks::Hidden), ..base };
        all.push(GemvCase { bits, rows: 9, knobs, activation, ..DEFAULT });
        let knobs = Knobs { unroll: Some(false), rows: Some(4), ..base };
        all.push(GemvCase { bits, rows: 9, knobs, activation, ..DEFAULT });
        let knobs = Knobs { slices: Some(3), ..base };
        all.push(GemvCase { bits, rows: 7, knobs, activation, bias: true, ..DEFAULT });
    }
    // As many slices as words, slices without words, slices of several pieces.
    for (slices, cols) in [(33, 1056), (5, 6 * 32), (2, 4096)] {
        let knobs = Knobs { slices: Some(slices), ..base };
        all.push(GemvCase { knobs, cols, rows: 21, bias: true, ..DEFAULT });
        all.push(GemvCase { knobs, cols, rows: 21, activation: F16, batch: 3, ..DEFAULT });
    }
    let (squeeze, knobs) = (Squeeze::Binding(140_000), Knobs { slices: Some(2), ..base });
    all.push(GemvCase { rows: 411, cols: 70, squeeze, knobs, bias: true, ..DEFAULT });
    // Sums of a power of two over lanes enough for every subgroup.
    for (rows, workgroup) in [(2, 128), (4, 128), (8, 256)] {
        let knobs = Knobs { rows: Some(rows), workgroup: Some(workgroup), ..base };
        all.push(GemvCase { rows: 19, cols: 8192, bits: 3, knobs, ..DEFAULT });
    }
    all
}

/// Several vectors at once.
fn batch_cases() -> Vec<GemvCase> {
    use Activation::{F16, F32};
    let mut all = Vec::new();
    for bits in 2..=8 {
        let batch = usize::from(bits);
        all.push(GemvCase { bits, batch, rows: 7, bias: true, ..DEFAULT });
        all.push(GemvCase {
            bits,
            batch: 10 - batch,
            rows: 9,
            cols: 97,
            activation: F16,
            ..DEFAULT
        });
        let input = Input::OneHot(65);
        all.push(GemvCase { bits, batch: 2, rows: 6, cols: 160, input, ..DEFAULT });
    }
    for batch in 2..=8 {
        let activation = if batch % 2 == 0 { F32 } else { F16 };
        all.push(GemvCase { batch, rows: 13, cols: 2048, activation, ..DEFAULT });
    }
    for rows in [2, 8] {
        let knobs = Knobs { rows: Some(rows), workgroup: Some(32), ..Knobs::DEFAULT };
        all.push(GemvCase { batch: 8, bits: 5, rows: 21, knobs, ..DEFAULT });
        all.push(GemvCase { batch: 5, bits: 2, rows: 21, knobs, activation: F16, ..DEFAULT });
    }
    // Rows written out and as a loop, with masks of either kind.
    for (rows, bits, unroll, masks) in [
        (2, 7, true, Masks::Hidden),
        (4, 4, true, Masks::Constant),
        (8, 3, true, Masks::Hidden),
        (2, 5, false, Masks::Hidden),
        (4, 4, false, Masks::Constant),
    ] {
        let (unroll, masks) = (Some(unroll), Some(masks));
        let knobs = Knobs { rows: Some(rows), unroll, masks, ..Knobs::DEFAULT };
        all.push(GemvCase { batch: 6, bits, rows: 11, cols: 1120, knobs, ..DEFAULT });
    }
    let squeeze = Squeeze::Binding(140_000);
    all.push(GemvCase { batch: 3, rows: 411, cols: 70, squeeze, bias: true, ..DEFAULT });
    for input in [Input::Outliers, Input::Cancelling, Input::NaN, Input::Infinite] {
        all.push(GemvCase { batch: 4, rows: 10, input, ..DEFAULT });
    }
    all
}

/// Products in f16.
fn f16_cases() -> Vec<GemvCase> {
    let (activation, arithmetic) = (Activation::F16, Arithmetic::F16);
    let default = GemvCase { activation, arithmetic, ..DEFAULT };
    let mut all = Vec::new();
    for bits in 2..=4 {
        for rows in [2, 4, 8] {
            let knobs = Knobs { rows: Some(rows), ..Knobs::DEFAULT };
            all.push(GemvCase { bits, rows: 13, knobs, ..default });
        }
        all.push(GemvCase { bits, input: Input::OneHot(70), cols: 96, ..default });
        all.push(GemvCase { bits, rows: 9, cols: 11008, bias: true, ..default });
        let knobs = Knobs { slices: Some(2), unroll: Some(false), ..Knobs::DEFAULT };
        all.push(GemvCase { bits, rows: 9, cols: 4096, knobs, ..default });
    }
    for input in [Input::NaN, Input::Infinite, Input::Ones] {
        all.push(GemvCase { rows: 10, input, bits: 2, ..default });
    }
    all
}
