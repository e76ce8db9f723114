// Sums over a workgroup with a tree in workgroup memory. Needs no feature.
// Expects: override WORKGROUP (a power of two), const ROWS. Sibling: reduce_subgroup.wgsl.

struct Lane {
    @builtin(local_invocation_index) index: u32,
}

var<workgroup> partial: array<f32, ROWS * WORKGROUP>;

// Adds up `sums[r]` of all lanes for every r. Afterwards lane r < ROWS calls `reduced(r)`.
fn reduce_rows(sums: array<f32, ROWS>, lane: Lane) {
    // A parameter cannot be indexed by a variable; a copy can.
    var own = sums;
    for (var r = 0u; r < ROWS; r += 1u) {
        partial[r * WORKGROUP + lane.index] = own[r];
    }
    workgroupBarrier();
    for (var width = WORKGROUP / 2u; width > 0u; width /= 2u) {
        if lane.index < width {
            for (var r = 0u; r < ROWS; r += 1u) {
                let at = r * WORKGROUP + lane.index;
                partial[at] += partial[at + width];
            }
        }
        workgroupBarrier();
    }
}

fn reduced(row: u32, lane: Lane) -> f32 {
    return partial[row * WORKGROUP];
}
