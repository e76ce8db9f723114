// Sums over a workgroup: subgroup additions, then workgroup memory in a fixed order.
// Expects: override WORKGROUP, const SUMS, const SUBGROUPS (the most that a workgroup can have).
// Siblings: reduce_workgroup.wgsl, reduce_scatter.wgsl.

struct Lane {
    @builtin(local_invocation_index) index: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
    @builtin(subgroup_invocation_id) place: u32,
}

var<workgroup> partial_sums: array<f32, SUMS * SUBGROUPS>;

// Adds up `sums[s]` of all lanes for every s. Afterwards any lane may call `reduced(s)`.
fn reduce_sums(sums: array<f32, SUMS>, lane: Lane) {
    var own = sums;
    for (var s = 0u; s < SUMS; s += 1u) {
        let sum = subgroupAdd(own[s]);
        if lane.place == 0u {
            partial_sums[s * SUBGROUPS + lane.subgroup] = sum;
        }
    }
    workgroupBarrier();
}

fn reduced(sum: u32, lane: Lane) -> f32 {
    var total = 0.0;
    for (var s = 0u; s < lane.subgroups; s += 1u) {
        total += partial_sums[sum * SUBGROUPS + s];
    }
    return total;
}
