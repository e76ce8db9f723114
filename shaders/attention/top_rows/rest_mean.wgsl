// What the rows of the index that are not listed weigh: the sum over all of them less that over those that
// are. Both are sums of powers over their largest scores, and a lane adds up its share of both, with signs.
// Siblings: rest_none.wgsl, picked.wgsl.

// [T H G][parts + 1]: the largest score and the sum of weights; last what the components that the scores do
// not know come to.
@group(0) @binding(24) var<storage, read> parts: array<vec2<f32>>;
// [T H G].
@group(0) @binding(25) var<storage, read_write> rest: array<f32>;

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

fn begin(list: u32, index: u32) -> Beside {
    var all: Beside;
    for (var i = 0u; i < QUERIES; i += 1u) {
        let first = (list * QUERIES + i) * (params.parts + 1u);
        var sum = vec2<f32>(NO_KEY, 0.0);
        for (var part = index; part < params.parts; part += LANES) {
            sum = joined(sum, parts[first + part]);
        }
        all.sums[i] = sum;
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

// To be called by all lanes; `none` says whether no row is left.
fn finish(beside: Beside, list: u32, none: bool, index: u32) {
    var all = beside;
    for (var i = 0u; i < QUERIES; i += 1u) {
        let query = list * QUERIES + i;
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
        if index == 0u {
            let unread = parts[(query + 1u) * (params.parts + 1u) - 1u].x;
            // Rounding may leave nothing of a little.
            let some = !none && lane_sums[0] > 0.0;
            let weight = lane_tops[0] + log2(select(1.0, lane_sums[0], some)) + unread;
            rest[query] = select(NO_KEY, weight, some);
        }
        workgroupBarrier();
    }
}
