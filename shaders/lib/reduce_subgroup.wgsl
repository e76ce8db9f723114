// Sums over a workgroup: subgroup additions, then workgroup memory in a fixed order.
// Expects: override WORKGROUP, const ROWS. Sibling: reduce_workgroup.wgsl.

struct Lane {
    @builtin(local_invocation_index) index: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
    @builtin(subgroup_invocation_id) place: u32,
}

// One slot a subgroup and row; sized for subgroups of a single lane.
var<workgroup> partial: array<f32, ROWS * WORKGROUP>;

// Adds up `sums[r]` of all lanes for every r. Afterwards lane r < ROWS calls `reduced(r)`.
fn reduce_rows(sums: array<f32, ROWS>, lane: Lane) {
    var own = sums;
    for (var r = 0u; r < ROWS; r += 1u) {
        let sum = subgroupAdd(own[r]);
        if lane.place == 0u {
            partial[r * WORKGROUP + lane.subgroup] = sum;
        }
    }
    workgroupBarrier();
}

fn reduced(row: u32, lane: Lane) -> f32 {
    var sum = 0.0;
    for (var s = 0u; s < lane.subgroups; s += 1u) {
        sum += partial[row * WORKGROUP + s];
    }
    return sum;
}
