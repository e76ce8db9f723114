// A lane's share of a tile: four rows of four vectors. Siblings: lane_8x4.wgsl, lane_8x8.wgsl.

const LANE_ROWS: u32 = 4u;
const LANE_VECTORS: u32 = 4u;

struct Sums {
    block: Block,
}

// Adds the products of the columns that are staged.
fn multiply(sums: Sums, lane: Lane) -> Sums {
    let row = lane.index % ROW_LANES;
    let vector = lane.index / ROW_LANES;
    var block = sums.block;
    for (var quad = 0u; quad < QUADS; quad += 1u) {
        block = add_block(block, four_rows(quad, row), four_vectors(quad, vector));
    }
    return Sums(block);
}

// Writes the sums of a tile that starts at row `row` of the launch and at vector `vector`.
fn store_sums(sums: Sums, lane: Lane, slice: u32, row: u32, vector: u32) {
    store_block(sums.block, slice, row + lane.index % ROW_LANES * 4u, vector + lane.index / ROW_LANES);
}
