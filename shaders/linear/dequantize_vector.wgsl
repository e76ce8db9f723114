// The dense matrix behind weights in pairs, bit for bit.
//
// A workgroup takes ROWS rows; a lane takes a word (32 codes, 64 weights) of one of them
// at a time.

override WORKGROUP: u32 = 64u;

struct Lane {
    @builtin(local_invocation_index) index: u32,
}

@compute @workgroup_size(WORKGROUP)
fn dequantize_vector(
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
        let col = 2u * first_col(word);
        let run = 2u * run_distance(word);
        for (var k = 0u; k < 8u; k += 1u) {
            let eight = values(r, codes, k);
            let at = col + k / 2u * run + k % 2u * 8u;
            store_quad(row, at, eight.low);
            store_quad(row, at + 4u, eight.high);
        }
    }
}
