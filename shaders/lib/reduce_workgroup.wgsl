// Sums over a workgroup with a tree in workgroup memory. Needs no feature.
// Expects: override WORKGROUP (a power of two), const SUMS.
// Siblings: reduce_subgroup.wgsl, reduce_scatter.wgsl.

struct Lane {
    @builtin(local_invocation_index) index: u32,
}

var<workgroup> partial_sums: array<f32, SUMS * WORKGROUP>;

// Adds up `sums[s]` of all lanes for every s. Afterwards any lane may call `reduced(s)`.
fn reduce_sums(sums: array<f32, SUMS>, lane: Lane) {
    // A parameter cannot be indexed by a variable; a copy can.
    var own = sums;
    for (var s = 0u; s < SUMS; s += 1u) {
        partial_sums[s * WORKGROUP + lane.index] = own[s];
    }
    workgroupBarrier();
    for (var width = WORKGROUP / 2u; width > 0u; width /= 2u) {
        if lane.index < width {
            for (var s = 0u; s < SUMS; s += 1u) {
                let at = s * WORKGROUP + lane.index;
                partial_sums[at] += partial_sums[at + width];
            }
        }
        workgroupBarrier();
    }
}

fn reduced(sum: u32, lane: Lane) -> f32 {
    return partial_sums[sum * WORKGROUP];
}
