// y = W x + bias for bit-plane weights, one activation vector.
//
// A workgroup computes ROWS rows; its lanes split the columns, a word (32 weights) at a time. A
// lane loads the word's 32 activations once and uses them for every row. Sums are f32, in an
// order that the workgroup's shape fixes, and with subgroups the device: equal from run to run.

override WORKGROUP: u32 = 64u;

@group(0) @binding(3) var<storage, read> bias: array<f32>;

fn bias_of(row: u32) -> f32 {
    if params.bias != 0u {
        return bias[row];
    }
    return 0.0;
}

@compute @workgroup_size(WORKGROUP)
fn gemv_bitplane(
    lane: Lane,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let first = (group.y * groups.x + group.x) * ROWS;
    if first >= params.rows {
        return;
    }
    let last = params.piece_row + params.rows - 1u;
    load_tables(params.piece_row + first, last, lane);
    workgroupBarrier();

    var sums = array<f32, ROWS>();
    for (var word = lane.index; word < params.words; word += WORKGROUP) {
        let col = first_col(word);
        let run = run_distance(word);
        let x0 = activations(col);
        let x1 = activations(col + 4u);
        let x2 = activations(col + run);
        let x3 = activations(col + run + 4u);
        let x4 = activations(col + 2u * run);
        let x5 = activations(col + 2u * run + 4u);
        let x6 = activations(col + 3u * run);
        let x7 = activations(col + 3u * run + 4u);
        for (var r = 0u; r < ROWS; r += 1u) {
            let row = min(params.piece_row + first + r, last);
            let codes = assemble(fetch(row * params.words + word));
            let base = r * LEVELS;
            var sum = dot(look_up(base, quad(codes, 0u)), x0);
            sum += dot(look_up(base, quad(codes, 1u)), x1);
            sum += dot(look_up(base, quad(codes, 2u)), x2);
            sum += dot(look_up(base, quad(codes, 3u)), x3);
            sum += dot(look_up(base, quad(codes, 4u)), x4);
            sum += dot(look_up(base, quad(codes, 5u)), x5);
            sum += dot(look_up(base, quad(codes, 6u)), x6);
            sum += dot(look_up(base, quad(codes, 7u)), x7);
            sums[r] += sum;
        }
    }
    reduce_rows(sums, lane);
    store_rows(first, lane);
}
