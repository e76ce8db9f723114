// A subgroup's share of a tile: four matrices, 32 rows by 32 vectors.
// Siblings: matrix_1x1.wgsl, matrix_2x1.wgsl.

const SHARE_ROWS: u32 = 2u;
const SHARE_VECTORS: u32 = 2u;

struct Sums {
    upper_left: coop_mat16x16<f32, C>,
    upper_right: coop_mat16x16<f32, C>,
    lower_left: coop_mat16x16<f32, C>,
    lower_right: coop_mat16x16<f32, C>,
}

// Adds the products of the columns that are staged.
fn multiply(sums: Sums, lane: Lane) -> Sums {
    let row = share_row(lane.subgroup) * PITCH;
    let vector = share_vector(lane.subgroup) * PITCH;
    var own = sums;
    for (var col = 0u; col < DEPTH; col += 16u) {
        let upper = coopLoadT<coop_mat16x16<f16, A>>(&row_tile[row + col], PITCH);
        let lower = coopLoadT<coop_mat16x16<f16, A>>(&row_tile[row + 16u * PITCH + col], PITCH);
        let left = coopLoad<coop_mat16x16<f16, B>>(&vector_tile[vector + col], PITCH);
        let right = coopLoad<coop_mat16x16<f16, B>>(&vector_tile[vector + 16u * PITCH + col], PITCH);
        own.upper_left = coopMultiplyAdd(upper, left, own.upper_left);
        own.upper_right = coopMultiplyAdd(upper, right, own.upper_right);
        own.lower_left = coopMultiplyAdd(lower, left, own.lower_left);
        own.lower_right = coopMultiplyAdd(lower, right, own.lower_right);
    }
    return own;
}

// Writes the sums of a tile that starts at row `row` of the launch and at vector `vector`.
fn store_sums(sums: Sums, lane: Lane, slice: u32, row: u32, vector: u32) {
    coopStore(sums.upper_left, &finished[lane.subgroup * 256u], 16u);
    store_finished(lane, slice, row, vector, 0u, 0u);
    coopStore(sums.upper_right, &finished[lane.subgroup * 256u], 16u);
    store_finished(lane, slice, row, vector, 0u, 1u);
    coopStore(sums.lower_left, &finished[lane.subgroup * 256u], 16u);
    store_finished(lane, slice, row, vector, 1u, 0u);
    coopStore(sums.lower_right, &finished[lane.subgroup * 256u], 16u);
    store_finished(lane, slice, row, vector, 1u, 1u);
}
