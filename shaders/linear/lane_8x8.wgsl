// A lane's share of a tile: eight rows of eight vectors, four in each half of the tile.
// Siblings: lane_4x4.wgsl, lane_8x4.wgsl.

const LANE_ROWS: u32 = 8u;
const LANE_VECTORS: u32 = 8u;

struct Sums {
    upper_left: Block,
    upper_right: Block,
    lower_left: Block,
    lower_right: Block,
}

// Adds the products of the columns that are staged.
fn multiply(sums: Sums, lane: Lane) -> Sums {
    let row = lane.index % ROW_LANES;
    let vector = lane.index / ROW_LANES;
    var own = sums;
    for (var quad = 0u; quad < QUADS; quad += 1u) {
        let left = four_vectors(quad, vector);
        let right = four_vectors(quad, vector + VECTORS / 2u);
        let upper = four_rows(quad, row);
        let lower = four_rows(quad, row + ROWS / 2u);
        own.upper_left = add_block(own.upper_left, upper, left);
        own.upper_right = add_block(own.upper_right, upper, right);
        own.lower_left = add_block(own.lower_left, lower, left);
        own.lower_right = add_block(own.lower_right, lower, right);
    }
    return own;
}

// Writes the sums of a tile that starts at row `row` of the launch and at vector `vector`.
fn store_sums(sums: Sums, lane: Lane, slice: u32, row: u32, vector: u32) {
    let top = row + lane.index % ROW_LANES * 4u;
    let left = vector + lane.index / ROW_LANES;
    store_block(sums.upper_left, slice, top, left);
    store_block(sums.upper_right, slice, top, left + VECTORS / 2u);
    store_block(sums.lower_left, slice, top + ROWS / 2u, left);
    store_block(sums.lower_right, slice, top + ROWS / 2u, left + VECTORS / 2u);
}
