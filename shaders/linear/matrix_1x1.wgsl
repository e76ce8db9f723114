// A subgroup's share of a tile: one matrix of 16 rows by 16 vectors.
// Siblings: matrix_2x1.wgsl, matrix_2x2.wgsl.

const SHARE_ROWS: u32 = 1u;
const SHARE_VECTORS: u32 = 1u;

struct Sums {
    a: coop_mat16x16<f32, C>,
}

// Adds the products of the columns that are staged.
fn multiply(sums: Sums, lane: Lane) -> Sums {
    let row = share_row(lane.subgroup) * PITCH;
    let vector = share_vector(lane.subgroup) * PITCH;
    var own = sums;
    for (var col = 0u; col < DEPTH; col += 16u) {
        let rows = coopLoadT<coop_mat16x16<f16, A>>(&row_tile[row + col], PITCH);
        let vectors = coopLoad<coop_mat16x16<f16, B>>(&vector_tile[vector + col], PITCH);
        own.a = coopMultiplyAdd(rows, vectors, own.a);
    }
    return own;
}

// Writes the sums of a tile that starts at row `row` of the launch and at vector `vector`.
fn store_sums(sums: Sums, lane: Lane, slice: u32, row: u32, vector: u32) {
    coopStore(sums.a, &finished[lane.subgroup * 256u], 16u);
    store_finished(lane, slice, row, vector, 0u, 0u);
}
