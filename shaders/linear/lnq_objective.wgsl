// Each row's objective, off H off: the sum of its offsets times their products.

override WORKGROUP: u32 = 64u;

struct Params {
    // Rows of the layer.
    rows: u32,
    // Quads of a row.
    quads: u32,
    unused_0: u32,
    unused_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// [rows, 4 * quads].
@group(0) @binding(2) var<storage, read> off: array<vec4<f32>>;
// [rows, 4 * quads].
@group(0) @binding(3) var<storage, read> pull: array<vec4<f32>>;
// [rows].
@group(0) @binding(10) var<storage, read_write> objectives: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn lnq_objective(
    lane: Lane,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let row = group.y * groups.x + group.x;
    if row >= params.rows {
        return;
    }
    var sum: array<f32, SUMS>;
    for (var quad = lane.index; quad < params.quads; quad += WORKGROUP) {
        let at = row * params.quads + quad;
        sum[0] = add_products(sum[0], off[at], pull[at]);
    }
    reduce_sums(sum, lane);
    if lane.index == 0u {
        objectives[row] = reduced(0u, lane);
    }
}
