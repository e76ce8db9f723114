// What the rows of the index that are not listed weigh. Sibling: rest_none.wgsl.
// Expects: weights.wgsl.

// What the components that the scores do not know come to, [T H G].
@group(0) @binding(24) var<storage, read> unread: array<f32>;
// [T H G].
@group(0) @binding(25) var<storage, read_write> rest: array<f32>;

// To be called by all lanes; `none` says whether no row is left.
fn finish(beside: Beside, list: u32, none: bool, lane: Lane) {
    for (var i = 0u; i < QUERIES; i += 1u) {
        let query = list * QUERIES + i;
        let sum = sum_of_lanes(beside, i, lane);
        if index_of(lane) == 0u {
            let some = !none && sum.y > 0.0;
            let weight = sum.x + log2(select(1.0, sum.y, some)) + unread[query];
            rest[query] = select(NO_KEY, weight, some);
        }
    }
}
