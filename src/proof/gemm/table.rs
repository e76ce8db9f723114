//! The rows of the case table.

use super::GemmCase;
use crate::launch::Knobs;
use crate::linear::gemm::Block;
use crate::linear::{Activation, Gemm};
use crate::proof::bitplane::Squeeze;
use crate::proof::products::Input;

use Activation::{F16, F32};

/// Matrices that are all there is in their tensors.
fn packed(batch: usize, rows: usize, cols: usize, elements: [Activation; 3]) -> GemmCase {
    let [w, x, y] = elements;
    let spec = Gemm {
        w: Block::packed(w, cols),
        x: Block::packed(x, cols),
        y: Block::packed(y, rows),
        ..Gemm::new(batch, rows, cols)
    };
    GemmCase { spec, input: Input::Random, squeeze: Squeeze::None, knobs: Knobs::DEFAULT }
}

fn plain(batch: usize, rows: usize, cols: usize) -> GemmCase {
    packed(batch, rows, cols, [F32; 3])
}

fn with(case: GemmCase, change: impl FnOnce(&mut Gemm)) -> GemmCase {
    let mut case = case;
    change(&mut case.spec);
    case
}

pub(in crate::proof) fn cases() -> Vec<GemmCase> {
    let mut all = Vec::new();
    // Every element of each matrix with every other's, by quads and one by one.
    let mixtures = [[F32, F32, F32], [F32, F16, F16], [F16, F32, F16], [F16, F16, F32]];
    for (cols, elements) in [72, 67].into_iter().flat_map(|cols| mixtures.map(|e| (cols, e))) {
        all.push(with(packed(17, 35, cols, elements), |spec| spec.bias = cols == 67));
    }
    // Around the edges of tiles and of steps.
    let batches = [1, 2, 15, 16, 31, 32, 33, 63, 64, 65, 129, 257];
    let cols = [1, 7, 8, 9, 15, 16, 17, 31, 33, 130];
    for (i, batch) in batches.into_iter().enumerate() {
        let rows = [63, 64, 65, 1, 128, 131][i % 6];
        all.push(plain(batch, rows, cols[i % cols.len()]));
        all.push(packed(batch, rows, 8 * cols[(i + 3) % cols.len()], [F16; 3]));
    }
    all.push(plain(3, 5, 11_008));
    // A column for every vector: an element in the wrong place shows.
    for (batch, rows, cols) in [(70, 130, 99), (40, 66, 104)] {
        for elements in [[F32; 3], [F16, F16, F32]] {
            let case = packed(batch, rows, cols, elements);
            all.push(GemmCase { input: Input::OneHot(60), ..case });
        }
    }
    for input in [Input::Ones, Input::Outliers, Input::Cancelling, Input::NaN, Input::Infinite] {
        all.push(GemmCase { input, ..packed(9, 37, 500, [F32, F16, F16]) });
    }
    // No column is no product; the bias, and what is added to, stay.
    all.push(plain(3, 5, 0));
    all.push(with(packed(18, 67, 0, [F32, F32, F16]), |spec| spec.bias = true));
    all.push(with(plain(2, 70, 0), |spec| (spec.bias, spec.accumulate) = (true, true)));
    // Grids of two dimensions.
    all.push(GemmCase { squeeze: Squeeze::Groups(6), ..plain(130, 643, 24) });
    all.extend(blocks());
    all.extend(knobs());
    all
}

/// Matrices within larger ones, added to and cut.
fn blocks() -> Vec<GemmCase> {
    let mut all = Vec::new();
    let block = |element, offset, stride| Block { element, offset, stride };
    for accumulate in [false, true] {
        let case = with(plain(19, 33, 40), |spec| spec.accumulate = accumulate);
        // Loaded one by one, by quads; the last columns of a matrix; a triangle's row.
        all.push(with(case, |spec| {
            (spec.w, spec.x) = (block(F32, 131, 43), block(F16, 77, 51));
            (spec.y, spec.bias) = (block(F32, 1001, 37), true);
        }));
        all.push(with(case, |spec| {
            (spec.w, spec.x) = (block(F16, 136, 48), block(F32, 68, 52));
            spec.y = block(F32, 3, 33);
        }));
        all.push(with(case, |spec| {
            (spec.batch, spec.y) = (1, block(F32, 7, 0));
            spec.w = block(F32, 1, 41);
        }));
    }
    // What lies beside an odd number of f16 products stays; the stride of one vector is not used.
    let mixed = packed(19, 33, 40, [F32, F32, F16]);
    all.push(with(mixed, |spec| spec.y = block(F16, 0, 40)));
    for (offset, stride) in [(30, 0), (0, 33), (0, 0)] {
        let y = block(F16, offset, stride);
        all.push(with(mixed, |spec| (spec.y, spec.batch) = (y, 1)));
    }
    all.push(with(mixed, |spec| (spec.y, spec.bias) = (block(F16, 258, 34), true)));
    // Matrices past one binding, whose cuts begin between aligned bytes.
    for (element, stride, bytes) in [(F32, 70, 60_000), (F16, 71, 30_000), (F16, 72, 30_000)] {
        let case = with(packed(9, 411, 70, [element, F32, F32]), |spec| {
            (spec.w, spec.bias) = (block(element, 93, stride), true);
        });
        all.push(GemmCase { squeeze: Squeeze::Binding(bytes), ..case });
    }
    // Rows so long that a cut holds few.
    for element in [F32, F16] {
        let case = with(packed(3, 35, 700, [F32, F32, element]), |spec| spec.bias = true);
        all.push(GemmCase { squeeze: Squeeze::Binding(20_000), ..case });
    }
    all
}

/// Every share of a lane, every number of runs that a step can take, slices.
fn knobs() -> Vec<GemmCase> {
    let mut all = Vec::new();
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
    let base = Knobs::DEFAULT;
    for (batch, rows, workgroup) in shapes {
        let knobs = Knobs { rows: Some(rows), workgroup: Some(workgroup), ..base };
        all.push(GemmCase { knobs, ..plain(batch, 150, 104) });
        all.push(GemmCase { knobs, input: Input::OneHot(70), ..plain(batch, 131, 104) });
    }
    // Every share of a subgroup, one step's columns and twice as many.
    for (batch, rows, workgroup) in [(16, 64, 128), (32, 32, 64), (70, 128, 256), (70, 64, 256)] {
        let matrix = Some(true);
        let knobs = Knobs { rows: Some(rows), workgroup: Some(workgroup), matrix, ..base };
        all.push(GemmCase { knobs, ..packed(batch, 150, 104, [F16, F16, F32]) });
        let case = packed(batch, 131, 99, [F16; 3]);
        all.push(GemmCase { knobs, input: Input::OneHot(70), ..case });
    }
    // As many slices as runs, slices without columns, cuts and tiles.
    for (slices, cols) in [(9, 72), (6, 67), (2, 1000)] {
        let knobs = Knobs { slices: Some(slices), ..base };
        all.push(GemmCase { knobs, ..with(plain(9, 21, cols), |spec| spec.bias = true) });
        all.push(GemmCase { knobs, ..packed(66, 71, cols, [F16; 3]) });
    }
    let (squeeze, knobs) = (Squeeze::Binding(60_000), Knobs { slices: Some(2), ..base });
    all.push(GemmCase { squeeze, knobs, ..with(plain(9, 411, 70), |spec| spec.bias = true) });
    // An odd number of f16 products of one vector.
    all.push(GemmCase { knobs, ..packed(1, 35, 64, [F16; 3]) });
    all
}
