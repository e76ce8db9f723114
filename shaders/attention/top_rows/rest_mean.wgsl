// What the rows of the index that are not listed weigh: the sum over all of them less that over those that
// are. Sibling: rest_none.wgsl.
// Expects: weights.wgsl.

// [T H G][parts + 1]: the largest score and the sum of weights; last what the components that the scores do
// not know come to.
@group(0) @binding(24) var<storage, read> parts: array<vec2<f32>>;
// [T H G].
@group(0) @binding(25) var<storage, read_write> rest: array<f32>;

fn begin(list: u32, index: u32) -> Beside {
    var all = nothing();
    for (var i = 0u; i < QUERIES; i += 1u) {
        let first = (list * QUERIES + i) * (params.parts + 1u);
        for (var part = index; part < params.parts; part += LANES) {
            all.sums[i] = joined(all.sums[i], parts[first + part]);
        }
    }
    return all;
}

// To be called by all lanes; `none` says whether no row is left.
fn finish(beside: Beside, list: u32, none: bool, lane: Lane) {
    for (var i = 0u; i < QUERIES; i += 1u) {
        let query = list * QUERIES + i;
        let sum = sum_of_lanes(beside, i, lane);
        if index_of(lane) == 0u {
            let unread = parts[(query + 1u) * (params.parts + 1u) - 1u].x;
            // Rounding may leave nothing of a little.
            let some = !none && sum.y > 0.0;
            let weight = sum.x + log2(select(1.0, sum.y, some)) + unread;
            rest[query] = select(NO_KEY, weight, some);
        }
    }
}
