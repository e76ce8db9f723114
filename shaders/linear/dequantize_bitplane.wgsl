// The dense matrix behind bit-plane weights, bit for bit.
//
// A workgroup takes ROWS rows; a lane takes a word (32 weights) of one of them at a time.

override WORKGROUP: u32 = 64u;

struct Lane {
    @builtin(local_invocation_index) index: u32,
}

@compute @workgroup_size(WORKGROUP)
fn dequantize_bitplane(
    lane: Lane,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let first = (group.y * groups.x + group.x) * ROWS;
    if first >= params.rows {
        return;
    }
    load_tables(params.piece_row + first, params.piece_row + params.rows - 1u, lane);
    workgroupBarrier();

    let rows = min(ROWS, params.rows - first);
    for (var i = lane.index; i < rows * params.words; i += WORKGROUP) {
        let r = i / params.words;
        let word = i % params.words;
        let row = first + r;
        let codes = assemble(fetch((params.piece_row + row) * params.words + word));
        let col = first_col(word);
        let run = run_distance(word);
        store_quad(row, col, values(r, codes, 0u));
        store_quad(row, col + 4u, values(r, codes, 1u));
        store_quad(row, col + run, values(r, codes, 2u));
        store_quad(row, col + run + 4u, values(r, codes, 3u));
        store_quad(row, col + 2u * run, values(r, codes, 4u));
        store_quad(row, col + 2u * run + 4u, values(r, codes, 5u));
        store_quad(row, col + 3u * run, values(r, codes, 6u));
        store_quad(row, col + 3u * run + 4u, values(r, codes, 7u));
    }
}
