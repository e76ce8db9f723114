// Products of a tile of weight rows and a tile of vectors by cooperative matrices of 16 x 16, f16
// in and f32 sums. Not run on any device yet: the index arithmetic is tested by a copy of it in
// Rust (src/linear/tile/tests.rs), and that the text loads and stores as the copy does, by naga.
//
// Sibling of tile.wgsl, with the same functions; columns are staged in the same runs of eight, an
// even number of them a step. Weight rows are the rows of A; the vectors, which lie with their
// columns side by side as rows do, are the columns of B; C holds weight rows by vectors. Values are
// f16 already where this is used, so staging them loses nothing.
// Expects: override WORKGROUP = 32 * SUBGROUPS; const ROWS, VECTORS, multiples of 16, and RUNS,
// even; a part that says what a subgroup's share is (matrix_*.wgsl).

struct Lane {
    @builtin(local_invocation_index) index: u32,
    @builtin(subgroup_id) subgroup: u32,
}

// Columns that are staged, and from place to place: 16 bytes more keep neighbours out of each
// other's banks and matrices aligned.
const DEPTH: u32 = 8u * RUNS;
const PITCH: u32 = DEPTH + 8u;
// Subgroups side by side that share vectors.
const ROW_SUBGROUPS: u32 = ROWS / (16u * SHARE_ROWS);

var<workgroup> row_tile: array<f16, ROWS * PITCH>;
var<workgroup> vector_tile: array<f16, VECTORS * PITCH>;
// A finished matrix of each subgroup: 16 vectors of 16 rows.
var<workgroup> finished: array<f32, SUBGROUPS * 256u>;

// The first row and vector of a subgroup's share.
fn share_row(subgroup: u32) -> u32 {
    return subgroup % ROW_SUBGROUPS * 16u * SHARE_ROWS;
}

fn share_vector(subgroup: u32) -> u32 {
    return subgroup / ROW_SUBGROUPS * 16u * SHARE_VECTORS;
}

fn row_of_place(place: u32) -> u32 {
    return place;
}

fn stage_row(run: u32, place: u32, low: vec4<f32>, high: vec4<f32>) {
    let at = place * PITCH + 8u * run;
    let a = vec4<f16>(low);
    let b = vec4<f16>(high);
    row_tile[at] = a.x;
    row_tile[at + 1u] = a.y;
    row_tile[at + 2u] = a.z;
    row_tile[at + 3u] = a.w;
    row_tile[at + 4u] = b.x;
    row_tile[at + 5u] = b.y;
    row_tile[at + 6u] = b.z;
    row_tile[at + 7u] = b.w;
}

fn stage_vector(run: u32, place: u32, low: vec4<f32>, high: vec4<f32>) {
    let at = place * PITCH + 8u * run;
    let a = vec4<f16>(low);
    let b = vec4<f16>(high);
    vector_tile[at] = a.x;
    vector_tile[at + 1u] = a.y;
    vector_tile[at + 2u] = a.z;
    vector_tile[at + 3u] = a.w;
    vector_tile[at + 4u] = b.x;
    vector_tile[at + 5u] = b.y;
    vector_tile[at + 6u] = b.z;
    vector_tile[at + 7u] = b.w;
}

// Writes the matrices in `finished`: those at `right` and `down` matrices from the start of every
// subgroup's share. Which lane writes what has nothing to do with subgroups any more.
fn store_finished(lane: Lane, slice: u32, row: u32, vector: u32, down: u32, right: u32) {
    workgroupBarrier();
    let subgroup = lane.index / 32u;
    let of_vector = lane.index % 32u / 2u;
    let of_row = lane.index % 2u * 8u;
    let at = subgroup * 256u + of_vector * 16u + of_row;
    let left = vector + share_vector(subgroup) + 16u * right + of_vector;
    let top = row + share_row(subgroup) + 16u * down + of_row;
    let upper = vec4<f32>(finished[at], finished[at + 1u], finished[at + 2u], finished[at + 3u]);
    let lower = vec4<f32>(finished[at + 4u], finished[at + 5u], finished[at + 6u], finished[at + 7u]);
    store_four(slice, left, top, upper);
    store_four(slice, left, top + 4u, lower);
    workgroupBarrier();
}
