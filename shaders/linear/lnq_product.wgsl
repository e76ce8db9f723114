// pull = off H for a panel of H's columns, which are its rows: H is symmetric. Or pull += off H, where
// `off` has only what some neighbouring inputs changed by.
//
// A workgroup computes ROWS columns of the panel for VECTORS rows of the layer.
// What comes next is loaded while the staged inputs are multiplied. Every sum is one chain of
// fused multiply-adds in the order of the inputs.

override WORKGROUP: u32 = 64u;

struct Params {
    // Rows of the layer.
    rows: u32,
    // Quads of a row, padding included.
    quads: u32,
    // The panel's first input.
    first: u32,
    // Inputs of the panel, a multiple of 64.
    width: u32,
    // The first quad of inputs that `off` has, and their quads, a multiple of 16.
    start: u32,
    depth: u32,
    // 1 to add to what is there.
    added: u32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// [width, 4 * quads].
@group(0) @binding(1) var<storage, read> hessian: array<vec4<f32>>;
// [rows, 4 * depth].
@group(0) @binding(2) var<storage, read> off: array<vec4<f32>>;
// [rows, 4 * quads].
@group(0) @binding(3) var<storage, read_write> pull: array<vec4<f32>>;

// Writes the products of one row of the layer with four neighbouring inputs of the panel.
fn store_four(slice: u32, vector: u32, row: u32, sums: vec4<f32>) {
    if vector < params.rows && row < params.width {
        let at = vector * params.quads + (params.first + row) / 4u;
        var sum = sums;
        if params.added != 0u {
            sum += pull[at];
        }
        pull[at] = sum;
    }
}

@compute @workgroup_size(WORKGROUP)
fn lnq_product(
    lane: Lane,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let number = group.y * groups.x + group.x;
    // Tiles of the same rows of the layer are neighbours: the second finds them in the cache, and
    // the panel stays there throughout.
    let tiles = (params.width + ROWS - 1u) / ROWS;
    let first = number % tiles * ROWS;
    let first_vector = number / tiles * VECTORS;
    if first_vector >= params.rows {
        return;
    }

    // What this lane stages. Rows past the last take the last one's, which nothing uses.
    let own = lane.index % RUNS;
    let place = lane.index / RUNS;
    let row = min(first + row_of_place(place), params.width - 1u) * params.quads + params.start;
    let vector = min(first_vector + place, params.rows - 1u) * params.depth;

    var at = 2u * own;
    var row_low = hessian[row + at];
    var row_high = hessian[row + at + 1u];
    var low: vec4<f32>;
    var high: vec4<f32>;
    if place < VECTORS {
        low = off[vector + at];
        high = off[vector + at + 1u];
    }
    var sums: Sums;
    for (var step = 0u; step < params.depth; step += QUADS) {
        stage_row(own, place, row_low, row_high);
        if place < VECTORS {
            stage_vector(own, place, low, high);
        }
        workgroupBarrier();
        // The last step's is loaded once more.
        at = min(at + QUADS, params.depth - QUADS + 2u * own);
        row_low = hessian[row + at];
        row_high = hessian[row + at + 1u];
        if place < VECTORS {
            low = off[vector + at];
            high = off[vector + at + 1u];
        }
        sums = multiply(sums, lane);
        workgroupBarrier();
    }
    store_sums(sums, lane, 0u, first, first_vector);
}
