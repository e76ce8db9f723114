// Sums over either half of a workgroup of 256 lanes, through workgroup memory. Needs no feature.
// Sibling: sums_subgroup.wgsl.

struct Lane {
    @builtin(local_invocation_index) index: u32,
}

var<workgroup> sum_lanes: array<u32, 768>;
var<workgroup> sum_groups: array<u32, 48>;

// To be called by all lanes; afterwards any may ask for `total`.
fn add_up(values: vec3<u32>, lane: Lane) {
    for (var k = 0u; k < 3u; k += 1u) {
        sum_lanes[256u * k + lane.index] = values[k];
    }
    workgroupBarrier();
    if lane.index < 48u {
        var sum = 0u;
        for (var i = 0u; i < 16u; i += 1u) {
            sum += sum_lanes[16u * lane.index + i];
        }
        sum_groups[lane.index] = sum;
    }
    workgroupBarrier();
}

// The sums over a side's half of the lanes.
fn total(side: u32) -> vec3<u32> {
    var sums = vec3<u32>(0u);
    for (var k = 0u; k < 3u; k += 1u) {
        for (var i = 0u; i < 8u; i += 1u) {
            sums[k] += sum_groups[16u * k + 8u * side + i];
        }
    }
    return sums;
}
