// Sums of weights of all lanes through workgroup memory. Sibling: weights_subgroup.wgsl.
// Expects: weights.wgsl, lanes_plain.wgsl.

var<workgroup> lane_tops: array<f32, LANES>;
var<workgroup> lane_sums: array<f32, LANES>;

// Of query row `i` of a list, the lanes' sums together. To be called by all lanes.
fn sum_of_lanes(beside: Beside, i: u32, lane: Lane) -> vec2<f32> {
    let index = lane.index;
    var all = beside;
    lane_tops[index] = all.sums[i].x;
    lane_sums[index] = all.sums[i].y;
    for (var width = LANES / 2u; width > 0u; width /= 2u) {
        workgroupBarrier();
        if index < width {
            let own = vec2<f32>(lane_tops[index], lane_sums[index]);
            let other = vec2<f32>(lane_tops[index + width], lane_sums[index + width]);
            let both = joined(own, other);
            lane_tops[index] = both.x;
            lane_sums[index] = both.y;
        }
    }
    workgroupBarrier();
    let sum = vec2<f32>(lane_tops[0], lane_sums[0]);
    workgroupBarrier();
    return sum;
}
