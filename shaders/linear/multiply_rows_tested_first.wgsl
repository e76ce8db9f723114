// multiply_rows.wgsl with a loop that tests before every word and before loading the next: slower on
// NVIDIA's devices, and right on SwiftShader, which computes loops that test last wrongly where lanes
// leave them at different turns.

override WORKGROUP: u32 = 64u;

// A word's planes; a row past `last` takes the last one's, which nothing uses.
fn fetch_row(row: u32, last: u32, word: u32) -> Planes {
    return fetch(min(row, last) * params.words + word);
}

// `tile` counts the slices of ROWS rows, then the rows; it is the same for the whole workgroup.
fn multiply_rows(tile: u32, lane: Lane) {
    let first = tile / SLICES * ROWS;
    if first >= params.rows {
        return;
    }
    let slice = tile % SLICES;
    let end = min((slice + 1u) * params.slice_words, params.words);
    let top = params.piece_row + first;
    let last = params.piece_row + params.rows - 1u;

    var word = slice * params.slice_words + lane.index;
    var operands: Operands;
    if word < end {
        operands = load_operands(top, last, word);
    }
    load_tables(top, last, lane);
    workgroupBarrier();

    var sums = array<f32, SUMS>();
    while word < end {
        accumulate(operands, &sums);
        word += WORKGROUP;
        if word < end {
            operands = load_operands(top, last, word);
        }
    }
    reduce_sums(sums, lane);
    store_sums(first, slice, lane);
}
