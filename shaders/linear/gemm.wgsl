// Y = X W^T + bias for dense matrices that may be blocks of larger ones.
//
// A workgroup computes ROWS rows of W with VECTORS vectors, over all columns or one slice of them.
// In a step it takes RUNS runs of eight neighbouring columns; what comes next is loaded while the
// staged columns are multiplied. Sums are f32, each added up in the order of the columns: equal
// from run to run, and on every device that fuses multiplication and addition.

override WORKGROUP: u32 = 64u;

@compute @workgroup_size(WORKGROUP)
fn gemm(
    lane: Lane,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let number = group.y * groups.x + group.x;
    let slice = number % params.slices;
    // Tiles of the same rows are neighbours: the second finds the weights in the cache.
    let tiles = (params.batch + VECTORS - 1u) / VECTORS;
    let first = number / params.slices / tiles * ROWS;
    if first >= params.rows {
        return;
    }
    let first_vector = number / params.slices % tiles * VECTORS;
    let start = slice * params.slice_cols;
    let end = min(start + params.slice_cols, params.cols);

    // What this lane stages. Rows and vectors past the last take the last one's, which nothing
    // uses; columns at and past `end` are 0 in both.
    let own = lane.index % RUNS;
    let place = lane.index / RUNS;
    let row = min(first + row_of_place(place), params.rows - 1u);
    let vector = min(first_vector + place, params.batch - 1u);

    var row_ahead: Run;
    var vector_ahead: Run;
    // Without columns there is nothing that could be loaded.
    if start < end {
        row_ahead = weights(row, start + 8u * own, end);
        if place < VECTORS {
            vector_ahead = activations(vector, start + 8u * own, end);
        }
    }
    var sums: Sums;
    for (var step = start; step < end; step += 8u * RUNS) {
        stage_row(own, place, row_ahead.low, row_ahead.high);
        if place < VECTORS {
            stage_vector(own, place, vector_ahead.low, vector_ahead.high);
        }
        workgroupBarrier();
        let next = step + 8u * (RUNS + own);
        row_ahead = weights(row, next, end);
        if place < VECTORS {
            vector_ahead = activations(vector, next, end);
        }
        sums = multiply(sums, lane);
        workgroupBarrier();
    }
    store_sums(sums, lane, slice, first, first_vector);
}
