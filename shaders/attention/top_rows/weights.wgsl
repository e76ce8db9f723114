// Sums of powers over their largest scores: of all rows of an index, and with the other sign of those that are
// listed. A lane adds up its share of both. Siblings: weights_none.wgsl, picked.wgsl.

var<workgroup> lane_tops: array<f32, LANES>;
var<workgroup> lane_sums: array<f32, LANES>;

// Of every query row: the largest score so far, and the signed sum of weights over it.
struct Beside {
    sums: array<vec2<f32>, QUERIES>,
}

fn joined(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
    let top = max(a.x, b.x);
    return vec2<f32>(top, fma(a.y, exp2(a.x - top), b.y * exp2(b.x - top)));
}

fn nothing() -> Beside {
    var all: Beside;
    for (var i = 0u; i < QUERIES; i += 1u) {
        all.sums[i] = vec2<f32>(NO_KEY, 0.0);
    }
    return all;
}

fn listed(beside: Beside, list: u32, at: u32, row: u32) -> Beside {
    var all = beside;
    for (var i = 0u; i < QUERIES; i += 1u) {
        let query = list * QUERIES + i;
        let score = scores[(query * params.stride + row) / 4u][row % 4u];
        all.sums[i] = joined(all.sums[i], vec2<f32>(score, -1.0));
    }
    return all;
}

// Of query row `i` of a list, the lanes' sums together. To be called by all lanes.
fn sum_of_lanes(beside: Beside, i: u32, index: u32) -> vec2<f32> {
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
