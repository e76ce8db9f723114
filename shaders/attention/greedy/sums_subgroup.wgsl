// Sums over either half of a workgroup of 256 lanes, by subgroups of any size.
// Expects: const SUBGROUPS (the most that a workgroup can have). Sibling: sums_workgroup.wgsl.

struct Lane {
    @builtin(local_invocation_index) index: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
    @builtin(subgroup_invocation_id) place: u32,
}

var<workgroup> sum_parts: array<array<vec3<u32>, 2>, SUBGROUPS>;

// To be called by all lanes; afterwards any may ask for `total`.
fn add_up(values: vec3<u32>, lane: Lane) {
    let first = lane.index < 128u;
    let none = vec3<u32>(0u);
    let low = subgroupAdd(select(none, values, first));
    let high = subgroupAdd(select(values, none, first));
    // Others may still read what was there before.
    workgroupBarrier();
    if lane.place == 0u {
        sum_parts[lane.subgroup][0] = low;
        sum_parts[lane.subgroup][1] = high;
    }
    if lane.index == 0u {
        sum_count = lane.subgroups;
    }
    workgroupBarrier();
}

var<workgroup> sum_count: u32;

// The sums over a side's half of the lanes.
fn total(side: u32) -> vec3<u32> {
    var sums = vec3<u32>(0u);
    for (var i = 0u; i < sum_count; i += 1u) {
        sums += sum_parts[i][side];
    }
    return sums;
}
