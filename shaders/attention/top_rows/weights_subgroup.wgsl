// Sums of weights of all lanes by subgroups. Sibling: weights_plain.wgsl.
// Expects: weights.wgsl, lanes_subgroup.wgsl.

var<workgroup> subgroup_parts: array<vec2<f32>, SUBGROUPS>;

// Of a subgroup's lanes together.
fn sum_of_subgroup(own: vec2<f32>) -> vec2<f32> {
    let top = subgroupMax(own.x);
    return vec2<f32>(top, subgroupAdd(own.y * exp2(own.x - top)));
}

// Of query row `i` of a list, the lanes' sums together. To be called by all lanes.
fn sum_of_lanes(beside: Beside, i: u32, lane: Lane) -> vec2<f32> {
    var all = beside;
    let own = sum_of_subgroup(all.sums[i]);
    if lane.place == 0u {
        subgroup_parts[lane.subgroup] = own;
    }
    workgroupBarrier();
    var part = vec2<f32>(NO_KEY, 0.0);
    for (var other = lane.place; other < LANES / lane.size; other += lane.size) {
        part = joined(part, subgroup_parts[other]);
    }
    let sum = sum_of_subgroup(part);
    workgroupBarrier();
    return sum;
}
