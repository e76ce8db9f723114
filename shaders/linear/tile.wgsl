// Products of a tile of weight rows and a tile of vectors that lie in workgroup memory, some
// columns at a time.
//
// Columns come in runs of eight, and RUNS of them make a step; a run is two quads. A lane stages
// one run of one row, and for the first VECTORS of the rows' places one run of one vector. Each
// lane then adds up its own LANE_ROWS x LANE_VECTORS products.
// Expects: override WORKGROUP = ROWS * RUNS; const ROWS, VECTORS, RUNS, powers of two with
// 2 * RUNS <= 16 <= VECTORS <= ROWS; a part that says what a lane's share is (lane_*.wgsl).
// Sibling: matrix_tile.wgsl.

struct Lane {
    @builtin(local_invocation_index) index: u32,
}

const QUADS: u32 = 2u * RUNS;
const ROW_LANES: u32 = ROWS / LANE_ROWS;
const VECTOR_LANES: u32 = VECTORS / LANE_VECTORS;

var<workgroup> row_tile: array<vec4<f32>, QUADS * ROWS>;
var<workgroup> vector_tile: array<vec4<f32>, QUADS * VECTORS>;

// Four quads: of four rows, or of four vectors.
struct Four {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
    d: vec4<f32>,
}

// Sums of four vectors, each of four rows.
struct Block {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
    d: vec4<f32>,
}

// Places of a tile are in the order in which lanes read them, quads of one column side by side.
// The exclusive or puts the quads that neighbouring lanes stage into different banks.
fn row_at(quad: u32, place: u32) -> u32 {
    return quad * ROWS + (place ^ quad);
}

fn vector_at(quad: u32, place: u32) -> u32 {
    return quad * VECTORS + (place ^ quad);
}

// The row of the tile at a place: a lane reads places ROW_LANES apart, and gets four neighbours.
fn row_of_place(place: u32) -> u32 {
    let within = place % (4u * ROW_LANES);
    return place - within + within % ROW_LANES * 4u + within / ROW_LANES;
}

fn stage_row(run: u32, place: u32, low: vec4<f32>, high: vec4<f32>) {
    row_tile[row_at(2u * run, place)] = low;
    row_tile[row_at(2u * run + 1u, place)] = high;
}

fn stage_vector(run: u32, place: u32, low: vec4<f32>, high: vec4<f32>) {
    vector_tile[vector_at(2u * run, place)] = low;
    vector_tile[vector_at(2u * run + 1u, place)] = high;
}

fn four_rows(quad: u32, place: u32) -> Four {
    return Four(
        row_tile[row_at(quad, place)],
        row_tile[row_at(quad, place + ROW_LANES)],
        row_tile[row_at(quad, place + 2u * ROW_LANES)],
        row_tile[row_at(quad, place + 3u * ROW_LANES)],
    );
}

fn four_vectors(quad: u32, place: u32) -> Four {
    return Four(
        vector_tile[vector_at(quad, place)],
        vector_tile[vector_at(quad, place + VECTOR_LANES)],
        vector_tile[vector_at(quad, place + 2u * VECTOR_LANES)],
        vector_tile[vector_at(quad, place + 3u * VECTOR_LANES)],
    );
}

fn add_four(sums: vec4<f32>, rows: Four, x: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(
        add_products(sums.x, rows.a, x),
        add_products(sums.y, rows.b, x),
        add_products(sums.z, rows.c, x),
        add_products(sums.w, rows.d, x),
    );
}

fn add_block(sums: Block, rows: Four, x: Four) -> Block {
    return Block(
        add_four(sums.a, rows, x.a),
        add_four(sums.b, rows, x.b),
        add_four(sums.c, rows, x.c),
        add_four(sums.d, rows, x.d),
    );
}

// Writes a block that starts at row `row` of the launch and at vector `vector`.
fn store_block(sums: Block, slice: u32, row: u32, vector: u32) {
    store_four(slice, vector, row, sums.a);
    store_four(slice, vector + VECTOR_LANES, row, sums.b);
    store_four(slice, vector + 2u * VECTOR_LANES, row, sums.c);
    store_four(slice, vector + 3u * VECTOR_LANES, row, sums.d);
}
