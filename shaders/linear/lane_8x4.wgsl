// A lane's share of a tile: eight rows, four in each half of the tile, of four vectors.
// Siblings: lane_4x4.wgsl, lane_8x8.wgsl.

const LANE_ROWS: u32 = 8u;
const LANE_VECTORS: u32 = 4u;

struct Sums {
    upper: Block,
    lower: Block,
}

// Adds the products of the columns that are staged.
fn multiply(sums: Sums, lane: Lane) -> Sums {
    let row = lane.index % ROW_LANES;
    let vector = lane.index / ROW_LANES;
    var upper = sums.upper;
    var lower = sums.lower;
    for (var quad = 0u; quad < QUADS; quad += 1u) {
        let x = four_vectors(quad, vector);
        upper = add_block(upper, four_rows(quad, row), x);
        lower = add_block(lower, four_rows(quad, row + ROWS / 2u), x);
    }
    return Sums(upper, lower);
}

// Writes the sums of a tile that starts at row `row` of the launch and at vector `vector`.
fn store_sums(sums: Sums, lane: Lane, slice: u32, row: u32, vector: u32) {
    let top = row + lane.index % ROW_LANES * 4u;
    let left = vector + lane.index / ROW_LANES;
    store_block(sums.upper, slice, top, left);
    store_block(sums.lower, slice, top + ROWS / 2u, left);
}
